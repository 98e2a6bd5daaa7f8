//! What may run short and how much of it is left, as the upkeep thread saw it last.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    memory_used: AtomicU64,
    memory_max: AtomicU64,
    disk_free: AtomicU64,
    disk_free_min: AtomicU64,
    log_total: AtomicU64,
    log_live: AtomicU64,
}

/// All of them at one moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readings {
    /// Memory that the process takes.
    pub(crate) memory_used: u64,
    /// Beyond this, publishers are blocked.
    pub(crate) memory_max: u64,
    /// Space left for the log.
    pub(crate) disk_free: u64,
    /// Below this, publishers are blocked.
    pub(crate) disk_free_min: u64,
    /// What the log takes.
    pub(crate) log_total: u64,
    /// What of it is messages that are still there.
    pub(crate) log_live: u64,
}

impl Gauges {
    pub(crate) fn limits(&self, memory_max: u64, disk_free_min: u64) {
        self.memory_max.store(memory_max, Ordering::Relaxed);
        self.disk_free_min.store(disk_free_min, Ordering::Relaxed);
    }

    pub(crate) fn memory_used(&self, bytes: u64) {
        self.memory_used.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn disk_free(&self, bytes: u64) {
        self.disk_free.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn log(&self, total: u64, live: u64) {
        self.log_total.store(total, Ordering::Relaxed);
        self.log_live.store(live, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Readings {
        Readings {
            memory_used: self.memory_used.load(Ordering::Relaxed),
            memory_max: self.memory_max.load(Ordering::Relaxed),
            disk_free: self.disk_free.load(Ordering::Relaxed),
            disk_free_min: self.disk_free_min.load(Ordering::Relaxed),
            log_total: self.log_total.load(Ordering::Relaxed),
            log_live: self.log_live.load(Ordering::Relaxed),
        }
    }
}
