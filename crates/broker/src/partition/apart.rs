//! What is different about some deliveries of a consumer. Few consumers ever have any, so they pay for it with one look.

use std::collections::{BTreeSet, VecDeque};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// Deliveries, first and behind the last, that a transaction on its way to the log settles.
    committing: VecDeque<(u64, u64)>,
    /// Deliveries that were taken away, and that the client counts as its own until it settles them.
    taken: BTreeSet<u64>,
}

impl Apart {
    /// A transaction that settles these deliveries is on its way.
    pub(super) fn begin_commit(&mut self, first: u64, end: u64) {
        self.committing.push_back((first, end));
    }

    /// What transactions on their way settle.
    pub(super) fn committing(&self) -> impl Iterator<Item = (u64, u64)> {
        self.committing.iter().copied()
    }

    /// Whether a transaction on its way settles this delivery.
    pub(super) fn is_committing(&self, delivery: u64) -> bool {
        self.committing()
            .any(|(first, end)| (first..end).contains(&delivery))
    }

    /// A delivery is taken away.
    pub(super) fn take_away(&mut self, delivery: u64) {
        self.taken.insert(delivery);
    }

    /// How many were taken away and are not settled by the client.
    pub(super) fn taken(&self) -> u64 {
        self.taken.len() as u64
    }

    /// The client settles deliveries `first..end`, perhaps by a transaction that was on its way; says how many of them had been taken away.
    pub(super) fn settled(&mut self, first: u64, end: u64) -> u64 {
        if self.committing.front() == Some(&(first, end)) {
            self.committing.pop_front();
        } else if !self.committing.is_empty() {
            self.committing.retain(|span| *span != (first, end));
        }
        let mut settled = 0;
        while let Some(&delivery) = self.taken.range(first..end).next() {
            self.taken.remove(&delivery);
            settled += 1;
        }
        settled
    }

    /// The client is gone; says how many had been taken away.
    pub(super) fn forget_taken(&mut self) -> u64 {
        std::mem::take(&mut self.taken).len() as u64
    }

    /// Whether nothing is different any more.
    pub(super) fn is_empty(&self) -> bool {
        self.committing.is_empty() && self.taken.is_empty()
    }
}
