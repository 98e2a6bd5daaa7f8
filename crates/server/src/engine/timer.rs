//! Wakes the partitions when one of their queues wants to be looked at: one timer for all, set to the earliest time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use everack_broker::ids::Millis;
use everack_node::request::Request;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Engine;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Timer {
    at: AtomicU64,
    earlier: Notify,
}

const NEVER: u64 = u64::MAX;
/// How far ahead the timer looks at most; it is set again then. Some platforms cannot sleep until the end of time.
const LOOK_AHEAD_MILLIS: u64 = 3_600_000;

impl Timer {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            at: AtomicU64::new(NEVER),
            earlier: Notify::new(),
        })
    }

    /// Has the partitions woken at `at`, unless they will be before.
    pub(super) fn wake_at(&self, at: Millis) {
        if self.at.fetch_min(at.0, Ordering::AcqRel) > at.0 {
            self.earlier.notify_one();
        }
    }

    /// Waits and wakes as long as there is an engine.
    pub(super) async fn run(self: Arc<Self>, engine: Weak<Engine>) {
        loop {
            let Some(now) = engine.upgrade().map(|engine| engine.clock.now()) else {
                return;
            };
            let at = self.at.load(Ordering::Acquire);
            if at <= now.0 {
                // Each partition says anew what it wants.
                self.at.store(NEVER, Ordering::Release);
                let Some(engine) = engine.upgrade() else { return };
                for partition in &engine.partitions {
                    partition.post(Request::Tick);
                }
                engine.run_all();
                continue;
            }
            let until = at.min(now.0 + LOOK_AHEAD_MILLIS);
            let Some(instant) = engine.upgrade().map(|engine| engine.clock.instant(Millis(until))) else {
                return;
            };
            tokio::select! {
                () = sleep_until(Instant::from_std(instant)) => (),
                () = self.earlier.notified() => (),
            }
        }
    }
}
