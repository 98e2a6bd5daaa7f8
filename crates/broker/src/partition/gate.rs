//! Back-pressure from a connection: how much has been delivered to it and is not written yet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Unsent bytes of one connection, shared by its consumers in all partitions.
///
/// Partitions charge what they deliver and stop once the limit is passed; the connection takes off what it has
/// written. Whoever closed the gate left a mark, so that the connection knows whether somebody waits:
///
/// ```text
/// partition    gate shut? ── set `awaited` ── shut still? ── then wait for Command::Resume
/// connection   take off what was written ── under half the limit and `awaited` taken? ── then post Resume
/// ```
///
/// One of the two always sees the other, as both orders are sequentially consistent.
#[derive(Debug)]
pub struct Gate {
    unsent: AtomicU64,
    awaited: AtomicBool,
    limit: u64,
}

impl Gate {
    /// A gate that shuts at `limit` unsent bytes (about 1 MiB for a socket). One run may pass beyond it.
    pub fn new(limit: u64) -> Self {
        Self {
            unsent: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            limit,
        }
    }

    /// The connection has written `weight` of what was delivered to it ([`super::Run::weight`]). Returns true if consumers
    /// wait for that: post [`super::Command::Resume`] for one consumer of the connection to each partition that has any.
    #[must_use = "consumers that wait must be resumed"]
    pub fn sent(&self, weight: u64) -> bool {
        let before = self.unsent.fetch_sub(weight, SeqCst);
        debug_assert!(before >= weight, "more was sent than delivered");
        before.saturating_sub(weight) <= self.limit / 2 && self.awaited.swap(false, SeqCst)
    }

    /// Bytes delivered and not yet written.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(SeqCst)
    }

    /// How much may still pass; 0 if the gate is shut, and then the connection knows that somebody waits.
    pub(super) fn room(&self) -> u64 {
        let room = self.limit.saturating_sub(self.unsent());
        if room > 0 {
            return room;
        }
        self.awaited.store(true, SeqCst);
        self.limit.saturating_sub(self.unsent())
    }

    pub(super) fn charge(&self, weight: u64) {
        self.unsent.fetch_add(weight, SeqCst);
    }
}
