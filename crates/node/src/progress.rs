//! How far the log has come, in cursors whose order is the promise.
//!
//! ```text
//! trimmed <= checkpointed <= applied <= committed <= appended          and confirmed <= committed
//! ```
//!
//! The order is asserted whenever a cursor moves, in production too: stopping is cheaper than a wrong confirm.

use std::sync::atomic::{AtomicU64, Ordering};

use everack_storage::Position;

/// See the module documentation. Each cursor only moves forward.
#[derive(Debug, Default)]
pub struct Progress {
    trimmed: AtomicU64,
    checkpointed: AtomicU64,
    applied: AtomicU64,
    committed: AtomicU64,
    appended: AtomicU64,
    appended_bytes: AtomicU64,
}

impl Progress {
    /// After recovery everything up to `end` is applied and durable.
    pub fn recovered(end: Position) -> Self {
        let progress = Self::default();
        progress.appended(end, 0);
        progress.committed(end);
        progress.applied(end);
        progress
    }

    /// Everything before `to` has been written, `bytes` of it just now, and may be lost still.
    pub fn appended(&self, to: Position, bytes: u64) {
        advance(&self.appended, to);
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes appended since the start.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// Everything before `to` is durable.
    pub fn committed(&self, to: Position) {
        check(to, "committed", &self.appended, "appended");
        advance(&self.committed, to);
    }

    /// Everything before `to` has taken effect.
    pub fn applied(&self, to: Position) {
        check(to, "applied", &self.committed, "committed");
        advance(&self.applied, to);
    }

    /// A checkpoint holds the effect of everything before `to`.
    pub fn checkpointed(&self, to: Position) {
        check(to, "checkpointed", &self.applied, "applied");
        advance(&self.checkpointed, to);
    }

    /// Nothing before `to` is needed any more.
    pub fn trimmed(&self, to: Position) {
        check(to, "trimmed", &self.checkpointed, "checkpointed");
        advance(&self.trimmed, to);
    }

    /// How far the log is durable.
    pub fn committed_position(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }
}

fn advance(cursor: &AtomicU64, to: Position) {
    cursor.fetch_max(to.0, Ordering::AcqRel);
}

fn check(to: Position, name: &str, bound: &AtomicU64, bound_name: &str) {
    let bound = bound.load(Ordering::Acquire);
    assert!(
        to.0 <= bound,
        "{name} would be {:#x}, ahead of {bound_name} at {bound:#x}",
        to.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_follow_each_other() {
        let progress = Progress::recovered(Position(10));
        progress.appended(Position(20), 10);
        progress.committed(Position(20));
        progress.applied(Position(15));
        progress.checkpointed(Position(15));
        progress.trimmed(Position(15));
        assert_eq!(progress.committed_position(), Position(20));
    }

    #[test]
    #[should_panic(expected = "committed would be 0xb, ahead of appended at 0xa")]
    fn nothing_is_committed_before_it_is_appended() {
        Progress::recovered(Position(10)).committed(Position(11));
    }
}
