//! Large messages on their way to clients. Each is encoded as a whole into its connection's output, so a client that does not read
//! holds a copy of it, whatever the queues share: a hundred of them would hold a hundred copies of one message. They are given room
//! out of one budget for all connections.
//!
//! Who finds no room waits, and is woken when somebody has written what it had. Whoever has room and writes nothing of it for
//! [`STUCK_MS`] while others wait is closed (`crates/node/src/session/large.rs`).

use std::sync::{Arc, Weak};

use everack_broker::ids::ConnectionId;
use parking_lot::Mutex;

use crate::link::Link;

/// Larger messages take room, smaller ones are within what every connection may have in its output, in bytes.
pub const LARGE_BYTES: usize = 1 << 20;
/// How long a client may read nothing of a large message while others wait for room, in milliseconds.
pub const STUCK_MS: u64 = 10_000;
/// The budget of a node that nobody configured, in bytes: two of the largest messages.
const BYTES_MAX: usize = 256 << 20;

/// See the module documentation.
#[derive(Debug)]
pub struct LargeOutput(Mutex<State>);

#[derive(Debug)]
struct State {
    max: usize,
    taken: usize,
    waiting: Vec<(ConnectionId, Weak<Link>)>,
}

/// Whether there is room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is, and it is taken.
    Taken,
    /// There is none; the link is woken when there is more.
    None {
        /// Nobody waited before, so those who have room do not know yet that somebody does.
        first: bool,
    },
}

impl Default for LargeOutput {
    fn default() -> Self {
        Self(Mutex::new(State {
            max: BYTES_MAX,
            taken: 0,
            waiting: Vec::new(),
        }))
    }
}

impl LargeOutput {
    /// Sets the budget, in bytes.
    pub fn set_max(&self, bytes: u64) {
        self.0.lock().max = usize::try_from(bytes).unwrap_or(usize::MAX);
    }

    /// Takes room for a message, if there is some. One message alone has always room, however large it is.
    pub(crate) fn take(&self, bytes: usize, link: &Arc<Link>) -> Room {
        let mut state = self.0.lock();
        if state.has_room(bytes) {
            state.taken += bytes;
            return Room::Taken;
        }
        let first = state.waiting.is_empty();
        if state
            .waiting
            .iter()
            .all(|(waiting, _)| *waiting != link.connection)
        {
            state.waiting.push((link.connection, Arc::downgrade(link)));
        }
        Room::None { first }
    }

    /// Gives room back, and wakes everybody who waits for some.
    pub(crate) fn give_back(&self, bytes: usize) {
        let waiting = {
            let mut state = self.0.lock();
            assert!(state.taken >= bytes, "more room came back than was taken");
            state.taken -= bytes;
            std::mem::take(&mut state.waiting)
        };
        for link in waiting.iter().filter_map(|(_, link)| link.upgrade()) {
            link.wake();
        }
    }

    /// A connection waits no longer: it is over.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.0
            .lock()
            .waiting
            .retain(|(waiting, _)| *waiting != connection);
    }

    /// Whether anybody waits for room.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.0.lock().waiting.is_empty()
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.taken == 0 || self.taken.saturating_add(bytes) <= self.max
    }
}
