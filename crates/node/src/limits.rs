//! How many of a thing there may be, and how long a shortage is put up with, as the operator has set it. RabbitMQ has the same limits, with the same texts, and none of them
//! set; here they are set high, because what has no bound is one that a client finds.

use std::sync::atomic::{AtomicU64, Ordering};

/// The limits in force. They may change while connections are open; what is over a lower one stays.
#[derive(Debug)]
pub struct Limits {
    queues: AtomicU64,
    exchanges: AtomicU64,
    consumers: AtomicU64,
    patience_ms: AtomicU64,
}

impl Limits {
    /// Sets how many there may be: queues over all virtual hosts, exchanges likewise, consumers of one channel.
    pub fn set_counts(&self, queues: u64, exchanges: u64, consumers: u64) {
        self.queues.store(queues, Ordering::Relaxed);
        self.exchanges.store(exchanges, Ordering::Relaxed);
        self.consumers.store(consumers, Ordering::Relaxed);
    }

    /// Sets for how long a connection may hold on to memory that only itself can free while there is too little of it.
    pub fn set_patience_ms(&self, patience_ms: u64) {
        self.patience_ms.store(patience_ms, Ordering::Relaxed);
    }

    /// See [`Limits::set_patience_ms`].
    pub fn patience_ms(&self) -> u64 {
        self.patience_ms.load(Ordering::Relaxed)
    }

    /// Queues, over all virtual hosts.
    pub fn queues(&self) -> u64 {
        self.queues.load(Ordering::Relaxed)
    }

    /// Exchanges, over all virtual hosts; those that every virtual host has are not counted.
    pub fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Consumers of one channel.
    pub fn consumers(&self) -> u64 {
        self.consumers.load(Ordering::Relaxed)
    }
}

impl Default for Limits {
    /// No limits, for a node that nobody configured.
    fn default() -> Self {
        let none = || AtomicU64::new(u64::MAX);
        Self {
            queues: none(),
            exchanges: none(),
            consumers: none(),
            patience_ms: none(),
        }
    }
}
