//! What the process knows of each connection's socket, for those who look: addresses, encryption, bytes.
//!
//! The list is touched when a connection comes and goes. The counters belong to the connection's task alone; others read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use everack_broker::ids::ConnectionId;
use parking_lot::Mutex;

use super::stream::{Peer, TlsPeer};

/// All connections' sockets, by connection.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<std::collections::HashMap<ConnectionId, Arc<Socket>>>);

/// One connection's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Our own.
    pub(crate) local: SocketAddr,
    /// The encryption, if there is one.
    pub(crate) tls: Option<TlsPeer>,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) connected_at_ms: u64,
    /// What was read.
    pub(crate) received: Traffic,
    /// What was written.
    pub(crate) sent: Traffic,
}

/// Bytes one way. Written by one task, so that counting is a plain addition.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    bytes: AtomicU64,
    calls: AtomicU64,
}

impl Sockets {
    /// Enters a connection that was just accepted.
    pub(crate) fn enter(&self, connection: ConnectionId, peer: &Peer) -> Arc<Socket> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let socket = Arc::new(Socket {
            peer: peer.address,
            local: peer.local,
            tls: peer.tls.clone(),
            connected_at_ms: since_1970.as_millis() as u64,
            received: Traffic::default(),
            sent: Traffic::default(),
        });
        self.0.lock().insert(connection, socket.clone());
        socket
    }

    /// Forgets a connection.
    pub(crate) fn leave(&self, connection: ConnectionId) {
        self.0.lock().remove(&connection);
    }

    /// A connection's socket, if it is still there.
    pub(crate) fn get(&self, connection: ConnectionId) -> Option<Arc<Socket>> {
        self.0.lock().get(&connection).cloned()
    }
}

impl Socket {
    /// RabbitMQ's name of a connection.
    pub(crate) fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

impl Traffic {
    /// So much went through in one call. For the one task whose socket it is.
    pub(crate) fn count(&self, bytes: usize) {
        let add = |counter: &AtomicU64, more| {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.bytes, bytes as u64);
        add(&self.calls, 1);
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}
