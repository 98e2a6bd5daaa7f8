//! Where everybody tells what happens to messages that are followed. It gives the time, keeps the book, and holds what has ended until
//! the exporter takes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everack_node::shared::Shared;
use everack_node::traces::Event;
use everack_storage::Position;
use parking_lot::{Condvar, Mutex};

use super::book::{Book, Ended, Nanos};

/// See the module documentation.
pub(crate) struct Recorder {
    desk: Mutex<Desk>,
    /// Told when there is a batch, or the end.
    news: Condvar,
    start: Instant,
    start_nanos: Nanos,
    bounds: Bounds,
    stopping: AtomicBool,
    pub(super) figures: Figures,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Publishes that are followed at one time; and copies in queues.
    pub(crate) followed_max: usize,
    /// Spans that wait to be sent.
    pub(crate) waiting_max: usize,
    /// Spans that are sent together.
    pub(crate) batch_max: usize,
}

struct Desk {
    book: Book,
    waiting: Vec<Ended>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) exported: AtomicU64,
    /// There was no room for them.
    pub(super) overflowed: AtomicU64,
    /// The collector did not take them.
    pub(super) refused: AtomicU64,
}

/// All of it at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readings {
    /// Spans that a collector has taken.
    pub(crate) exported: u64,
    /// Spans that were let go while their message was under way, for others.
    pub(crate) forgotten: u64,
    /// Spans that found no room among those that wait to be sent.
    pub(crate) overflowed: u64,
    /// Spans that no collector took.
    pub(crate) refused: u64,
    /// Spans that wait to be sent.
    pub(crate) waiting: u64,
    /// Publishes under way and copies in queues that are followed.
    pub(crate) followed: u64,
}

impl Recorder {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            desk: Mutex::new(Desk {
                book: Book::new(bounds.followed_max),
                waiting: Vec::new(),
            }),
            news: Condvar::new(),
            start: Instant::now(),
            start_nanos: nanos(since),
            bounds,
            stopping: AtomicBool::new(false),
            figures: Figures::default(),
        }
    }

    /// All this has happened just now, in this order. The names of queues are those of `shared`.
    pub(crate) fn hear(&self, events: impl IntoIterator<Item = Event>, shared: &Shared) {
        let snapshot = shared.snapshot();
        let name = |queue| {
            let queue = snapshot.queue(queue);
            queue.map(|queue| queue.name.clone()).unwrap_or_default()
        };
        let desk = &mut *self.desk.lock();
        // Under the lock, so that time never goes back from one stretch to the next.
        let now = self.nanos(Instant::now());
        for event in events {
            desk.book.hear(event, now, name);
        }
        let before = desk.waiting.len();
        let room = self.bounds.waiting_max.saturating_sub(before);
        let mut ended = desk.book.take();
        desk.waiting.extend(ended.by_ref().take(room));
        let overflowed = ended.count() as u64;
        if overflowed > 0 {
            self.figures.overflowed.fetch_add(overflowed, Ordering::Relaxed);
        }
        // Whoever waits for a batch began to when there was none.
        if before < self.bounds.batch_max && desk.waiting.len() >= self.bounds.batch_max {
            self.news.notify_one();
        }
    }

    /// A sync that began at `begun` has just made everything before `durable` so.
    pub(crate) fn synced(&self, begun: Instant, durable: Position) {
        let desk = &mut *self.desk.lock();
        let ended = self.nanos(Instant::now());
        desk.book.synced(self.nanos(begun), ended, durable);
    }

    pub(crate) fn read(&self) -> Readings {
        let desk = self.desk.lock();
        let figures = &self.figures;
        Readings {
            exported: figures.exported.load(Ordering::Relaxed),
            forgotten: desk.book.forgotten,
            overflowed: figures.overflowed.load(Ordering::Relaxed),
            refused: figures.refused.load(Ordering::Relaxed),
            waiting: desk.waiting.len() as u64,
            followed: desk.book.open() as u64,
        }
    }

    /// A batch: as soon as it is full, or whatever there is after `delay`; at once when everything ends.
    pub(super) fn batch(&self, delay: Duration) -> Vec<Ended> {
        let until = Instant::now() + delay;
        let mut desk = self.desk.lock();
        while desk.waiting.len() < self.bounds.batch_max && !self.is_stopping() {
            if self.news.wait_until(&mut desk, until).timed_out() {
                break;
            }
        }
        let count = desk.waiting.len().min(self.bounds.batch_max);
        let rest = desk.waiting.split_off(count);
        std::mem::replace(&mut desk.waiting, rest)
    }

    /// Waits, or less if everything ends.
    pub(super) fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut desk = self.desk.lock();
        while !self.is_stopping() {
            if self.news.wait_until(&mut desk, until).timed_out() {
                break;
            }
        }
    }

    /// What waits is sent once more, and then no more.
    pub(crate) fn stop(&self) {
        let desk = self.desk.lock();
        self.stopping.store(true, Ordering::Release);
        drop(desk);
        self.news.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn nanos(&self, at: Instant) -> Nanos {
        self.start_nanos + nanos(at.saturating_duration_since(self.start))
    }
}

fn nanos(since: Duration) -> Nanos {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
