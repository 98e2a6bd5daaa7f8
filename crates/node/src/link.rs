//! The partition's end of one connection: an inbox for notices, a wake-up, and the counters of back-pressure.
//!
//! Partitions never touch a connection's state. They push [`Notice`]s into its link, mark it dirty, and whoever runs
//! the partition wakes the dirty links once at the end of the round. A wake-up costs more than the work of a whole
//! batch (docs/decisions/0001), so a link that is already scheduled is not woken again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use everack_broker::ids::ConnectionId;
use everack_broker::partition::Gate;
use parking_lot::Mutex;

use crate::notice::Notice;

/// Wakes the task that serves a connection; the process supplies it.
pub trait Wake: Send + Sync {
    /// Makes the connection's task run soon. May be called from any thread.
    fn wake(&self);
}

/// Bytes a publisher may have handed to partitions and not yet seen accepted, before its socket is no longer read.
pub const PUBLISH_WINDOW_BYTES: usize = 1 << 20;
/// Bytes of direct replies that may wait for a connection to read them. What comes beyond finds nobody there.
pub const REPLY_WINDOW_BYTES: usize = 16 << 20;

/// See the module documentation.
pub struct Link {
    /// The connection behind this link.
    pub connection: ConnectionId,
    /// Unsent bytes of deliveries; partitions stop delivering to a connection whose gate is shut.
    pub gate: Arc<Gate>,
    inbox: Mutex<Vec<Notice>>,
    scheduled: AtomicBool,
    dirty: AtomicBool,
    publish_bytes: AtomicUsize,
    publisher_waits: AtomicBool,
    asker_waits: AtomicBool,
    reply_bytes: AtomicUsize,
    wake: Box<dyn Wake>,
}

impl Link {
    /// A link for `connection`, whose task `wake` wakes and whose deliveries `gate` holds back.
    pub fn new(connection: ConnectionId, gate: Arc<Gate>, wake: Box<dyn Wake>) -> Self {
        Self {
            connection,
            gate,
            inbox: Mutex::new(Vec::new()),
            scheduled: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            publish_bytes: AtomicUsize::new(0),
            publisher_waits: AtomicBool::new(false),
            asker_waits: AtomicBool::new(false),
            reply_bytes: AtomicUsize::new(0),
            wake,
        }
    }

    /// Leaves a notice; the sender marks the link dirty and wakes it at the end of its round.
    pub fn push(&self, notice: Notice) {
        self.inbox.lock().push(notice);
    }

    /// Swaps the inbox with `empty`, so that both buffers keep their capacity.
    pub fn take(&self, empty: &mut Vec<Notice>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *self.inbox.lock(), empty);
    }

    /// True for the first caller since the last [`Link::clean`]: it puts the link on its dirty list.
    pub fn mark_dirty(&self) -> bool {
        !self.dirty.swap(true, Ordering::AcqRel)
    }

    /// Ends the round in which the link was dirty, and wakes its task unless it is awake already.
    pub fn clean_and_wake(&self) {
        self.dirty.swap(false, Ordering::AcqRel);
        self.wake();
    }

    /// Wakes the connection's task unless a wake-up is already under way.
    pub fn wake(&self) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// Called by the connection's task before it takes the inbox: from here on a push wakes it again.
    /// Returns whether anybody had asked for this turn.
    pub fn begin_turn(&self) -> bool {
        self.scheduled.swap(false, Ordering::AcqRel)
    }

    /// Whether somebody asked for another turn since [`Link::begin_turn`].
    pub fn is_scheduled(&self) -> bool {
        self.scheduled.load(Ordering::Acquire)
    }

    /// Counts bytes that go to one partition.
    pub fn publish_begins(&self, bytes: usize) {
        self.publish_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Counts bytes that a partition has accepted; true if the connection waits for that and has to be woken.
    pub fn publish_ends(&self, bytes: usize) -> bool {
        let before = self.publish_bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "more publish bytes came back than went out");
        let left = before - bytes;
        let has_room = left < PUBLISH_WINDOW_BYTES && self.publisher_waits.swap(false, Ordering::AcqRel);
        let has_arrived = left == 0 && self.asker_waits.swap(false, Ordering::AcqRel);
        has_room || has_arrived
    }

    /// Whether a direct reply would be taken.
    pub fn has_room_for_replies(&self) -> bool {
        self.reply_bytes.load(Ordering::Acquire) < REPLY_WINDOW_BYTES
    }

    /// Counts bytes of direct replies that are about to be left here; `false`, and nothing is counted, if there is no room.
    pub fn reply_begins(&self, bytes: usize) -> bool {
        let before = self.reply_bytes.fetch_add(bytes, Ordering::AcqRel);
        let room = before < REPLY_WINDOW_BYTES;
        if !room {
            self.reply_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        room
    }

    /// Counts bytes of direct replies that are written, or dropped.
    pub fn reply_ends(&self, bytes: usize) {
        let before = self.reply_bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "more reply bytes were written than left here");
    }

    /// Whether the publisher may read on; if not, the next accepted batch that makes room wakes it.
    pub fn may_publish(&self) -> bool {
        if self.publish_bytes.load(Ordering::Acquire) < PUBLISH_WINDOW_BYTES {
            return true;
        }
        // Looked at again, as the room may have been made meanwhile. Both sides swap, so that one of them sees what the other did: behind a
        // plain store the processor may look at the bytes first.
        self.publisher_waits.swap(true, Ordering::AcqRel);
        self.publish_bytes.load(Ordering::Acquire) < PUBLISH_WINDOW_BYTES
    }

    /// Whether everything that was handed to partitions has been accepted; if not, the connection is woken when it is.
    pub fn has_arrived(&self) -> bool {
        if self.publish_bytes.load(Ordering::Acquire) == 0 {
            return true;
        }
        // As above.
        self.asker_waits.swap(true, Ordering::AcqRel);
        self.publish_bytes.load(Ordering::Acquire) == 0
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Link")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
