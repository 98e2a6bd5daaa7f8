//! What the threads of a run share: the phase they are in, the clock, the counters, and the first failure.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

/// Where a run is. Phases only move forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connected; nobody publishes yet.
    Ready = 0,
    /// Everything runs, nothing is timed.
    WarmUp = 1,
    /// Everything runs and is timed.
    Measure = 2,
    /// Nobody publishes any more; confirms and deliveries still come in.
    Drain = 3,
    /// Say goodbye and end.
    Stop = 4,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What happened so far. Plain numbers that only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals { $($(#[$doc])* pub $name: u64,)+ }

        #[derive(Default)]
        struct Cells { $($name: AtomicU64,)+ }

        impl Totals {
            /// Adds another thread's numbers.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }

            /// What happened since `earlier`.
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.wrapping_sub(earlier.$name),)+ }
            }
        }

        impl Cells {
            fn store(&self, totals: &Totals) {
                $(self.$name.store(totals.$name, Ordering::Relaxed);)+
            }

            fn load(&self) -> Totals {
                Totals { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Messages handed to the kernel.
    published,
    /// Their body bytes.
    published_bytes,
    /// The sum of their ids, wrapping.
    published_ids,
    /// Publishes that the broker acked.
    confirmed,
    /// Publishes that the broker nacked.
    nacked,
    /// Messages that came back as unroutable.
    returned,
    /// Messages delivered to consumers.
    received,
    /// Their body bytes.
    received_bytes,
    /// The sum of their ids, wrapping.
    received_ids,
    /// Deliveries flagged as redelivered.
    redelivered,
    /// Deliveries not flagged, whose id is the one before or an older one: duplicates, or out of order.
    out_of_order,
    /// Deliveries acknowledged.
    acked,
    /// Nanoseconds that publishers spent under connection.blocked, all added up.
    blocked_ns,
}

/// One worker's place on the board, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Place {
    cells: Cells,
    thread_id: AtomicU64,
    publishing_done: AtomicBool,
}

/// The shared state of one run.
pub struct Board {
    epoch: Instant,
    phase: AtomicU8,
    places: Vec<Place>,
    failure: Mutex<Option<String>>,
    failed: AtomicBool,
}

impl Board {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            epoch: Instant::now(),
            phase: AtomicU8::new(Phase::Ready as u8),
            places: (0..workers).map(|_| Place::default()).collect(),
            failure: Mutex::new(None),
            failed: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the run began: the one clock of a run.
    #[inline]
    pub fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// The phase that the run is in.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Ready,
            1 => Phase::WarmUp,
            2 => Phase::Measure,
            3 => Phase::Drain,
            _ => Phase::Stop,
        }
    }

    /// Moves on to the next phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Worker `index` tells where it is. `publishing_done`: nothing of it waits to be sent or confirmed.
    pub fn tell(&self, index: usize, totals: &Totals, publishing_done: bool) {
        self.places[index].cells.store(totals);
        self.places[index]
            .publishing_done
            .store(publishing_done, Ordering::Release);
    }

    /// Worker `index` runs as the thread `thread_id`.
    pub fn introduce(&self, index: usize, thread_id: u32) {
        self.places[index]
            .thread_id
            .store(u64::from(thread_id), Ordering::Relaxed);
    }

    /// The kernel's ids of the worker threads, for reading their CPU time.
    pub fn thread_ids(&self) -> Vec<u32> {
        self.places
            .iter()
            .map(|place| place.thread_id.load(Ordering::Relaxed) as u32)
            .collect()
    }

    /// All workers' numbers together.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for place in &self.places {
            totals.add(&place.cells.load());
        }
        totals
    }

    /// True when every publish is sent and confirmed.
    pub fn publishing_done(&self) -> bool {
        self.places
            .iter()
            .all(|place| place.publishing_done.load(Ordering::Acquire))
    }

    /// Ends the run with a reason; the first reason is kept.
    pub fn fail(&self, reason: String) {
        let mut failure = self
            .failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.get_or_insert(reason);
        self.failed.store(true, Ordering::Release);
    }

    /// Why the run has failed, if it has.
    pub fn failure(&self) -> Option<String> {
        if !self.failed.load(Ordering::Acquire) {
            return None;
        }
        self.failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_the_first_failure_counts() {
        let board = Board::new(2);
        let totals = Totals {
            published: 3,
            received_ids: u64::MAX,
            ..Totals::default()
        };
        board.tell(0, &totals, true);
        assert!(!board.publishing_done());
        board.tell(
            1,
            &Totals {
                published: 4,
                received_ids: 2,
                ..Totals::default()
            },
            true,
        );
        assert!(board.publishing_done());
        assert_eq!((board.totals().published, board.totals().received_ids), (7, 1));
        assert_eq!(board.failure(), None);
        board.fail("first".to_owned());
        board.fail("second".to_owned());
        assert_eq!(board.failure().as_deref(), Some("first"));
    }
}
