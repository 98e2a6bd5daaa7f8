//! Keeps a backlog: counts what is confirmed and not acked, holds consumers back below the floor and publishers above the ceiling.

use crate::workload::Backlog;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long somebody who is held back waits before he looks again.
const HOLD: Duration = Duration::from_millis(2);

/// The backlog of one plan.
pub(crate) struct Gate {
    limits: Backlog,
    waiting: AtomicU64,
    /// The floor was reached once: from then on consumers keep it, a batch more or less.
    filled: AtomicBool,
}

impl Gate {
    pub(crate) fn new(limits: Backlog) -> Self {
        Self {
            limits,
            waiting: AtomicU64::new(0),
            filled: AtomicBool::new(limits.floor == 0),
        }
    }

    /// Messages, or copies of them, that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the floor was reached.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    pub(crate) fn confirmed(&self, copies: u64) {
        let before = self.waiting.fetch_add(copies, Ordering::Relaxed);
        if before + copies >= self.limits.floor {
            self.filled.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn acked(&self, copies: u64) {
        // An unknown publish that came all the same was never counted.
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                Some(count.saturating_sub(copies))
            });
    }

    /// What the broker itself counts, after a start: unknown publishes and forgotten acks make our own count drift.
    pub(crate) fn correct(&self, messages: u64) {
        self.waiting.store(messages, Ordering::Relaxed);
    }

    /// Waits until there is room for more.
    pub(crate) async fn room(&self) {
        while self.waiting() >= self.limits.ceiling {
            tokio::time::sleep(HOLD).await;
        }
    }

    /// Waits until there is something above the floor.
    pub(crate) async fn above_floor(&self) {
        while self.waiting() < self.limits.floor {
            tokio::time::sleep(HOLD).await;
        }
    }
}
