//! Several queues at once: who moves which, how fast, and what is said meanwhile.

use std::collections::{HashMap, VecDeque};
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::address;
use crate::journal::Journals;
use crate::link::{self, Ends};
use crate::mover::Mover;
use crate::plan::Task;
use crate::report::Row;

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long a source may take until acknowledgements are on its disk: RabbitMQ's queues write them once they have been idle for 200 ms.
const SETTLED: Duration = Duration::from_millis(500);
/// What a message is taken to be large if the source does not say it, in bytes.
const MESSAGE_BYTES: u64 = 4096;

/// What all movers share.
pub(crate) struct Shared {
    pub(crate) ends: Ends,
    pub(crate) journals: Journals,
    pub(crate) patience: Duration,
    pub(crate) adds: bool,
    pub(crate) accepts_duplicates: bool,
    pub(crate) window: u16,
    pub(crate) window_bytes: u64,
    /// Messages a second; `None` is as fast as it goes.
    pub(crate) rate: Option<u64>,
    /// When the next message may go, if there is a rate.
    pub(crate) slot: Mutex<Instant>,
    pub(crate) moved: AtomicU64,
}

impl Shared {
    /// How many messages of a queue may be on their way.
    pub(crate) fn window(&self, task: &Task) -> u16 {
        if task.may_refuse {
            // With one at a time nothing can be taken behind what was refused.
            return 1;
        }
        let bytes = task.message_bytes.unwrap_or(MESSAGE_BYTES).max(1);
        let by_bytes = u16::try_from(self.window_bytes / bytes).unwrap_or(u16::MAX);
        self.window.min(by_bytes).max(1)
    }

    /// How many messages may be published together, of `most`.
    pub(crate) fn batch(&self, most: usize) -> usize {
        let tenth = self.rate.map_or(u64::MAX, |rate| rate / 10);
        usize::try_from(tenth).unwrap_or(most).clamp(1, most)
    }

    /// Waits until so many more messages may go.
    pub(crate) async fn pace(&self, messages: usize) {
        let Some(rate) = self.rate else { return };
        let takes = Duration::from_secs_f64(messages as f64 / rate as f64);
        let slot = {
            let mut next = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = (*next).max(Instant::now());
            *next = slot + takes;
            slot
        };
        sleep_until(slot).await;
    }

    pub(crate) fn moved(&self, count: u64) {
        self.moved.fetch_add(count, Ordering::Relaxed);
    }

    /// Where it goes from and to, for the journals.
    pub(crate) fn places(&self) -> (String, String) {
        (address::shown(&self.ends.from), address::shown(&self.ends.to))
    }

    /// A line for people; standard output is the report's.
    pub(crate) fn say(&self, line: &str) {
        eprintln!("everack migrate: {line}");
    }
}

/// Moves all queues, `parallel` at a time, the largest first.
pub(crate) async fn work(shared: Arc<Shared>, tasks: Vec<Task>, parallel: usize) -> Vec<Row> {
    let total: u64 = tasks.iter().map(|task| task.messages).sum();
    let all = tasks.clone();
    let left: Arc<Mutex<VecDeque<Task>>> = Arc::new(Mutex::new(tasks.into()));
    let progress = tokio::spawn(tell_progress(Arc::clone(&shared), total));
    let mut movers = Vec::new();
    for _ in 0..parallel {
        let (shared, left) = (Arc::clone(&shared), Arc::clone(&left));
        movers.push(tokio::spawn(async move {
            let mut mover = Mover::new(shared);
            let mut rows = Vec::new();
            let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(task) = next() {
                rows.push(mover.work(&task).await);
            }
            rows
        }));
    }
    let mut rows = Vec::new();
    for mover in movers {
        rows.extend(mover.await.expect("a mover does not panic"));
    }
    look_again(&shared, &all, &mut rows).await;
    progress.abort();
    rows.sort_by(|one, other| (&one.vhost, &one.queue).cmp(&(&other.vhost, &other.queue)));
    rows
}

/// A source that was killed has queues again that had been empty: acknowledgements which were not yet on its disk. What it brings back is
/// taken away from it once more, and not published a second time.
async fn look_again(shared: &Arc<Shared>, tasks: &[Task], rows: &mut [Row]) {
    sleep(SETTLED).await;
    let places: HashMap<_, _> = tasks
        .iter()
        .map(|task| ((&*task.vhost, &*task.queue), task))
        .collect();
    let mut mover = Mover::new(Arc::clone(shared));
    for row in rows.iter_mut().filter(|row| row.problem.is_none()) {
        let task = places[&(&*row.vhost, &*row.queue)];
        if let Err(error) = mover.look_again(task, row).await {
            // What was moved was counted then.
            shared.say(&format!(
                "{}: not looked at again: {}",
                task.shown(),
                link::told(&error)
            ));
            break;
        }
    }
}

async fn tell_progress(shared: Arc<Shared>, total: u64) {
    let is_watched = std::io::stderr().is_terminal();
    let mut before = 0;
    loop {
        sleep(PROGRESS).await;
        let moved = shared.moved.load(Ordering::Relaxed);
        let rate = (moved - before) / PROGRESS.as_secs();
        if is_watched || moved > before {
            shared.say(&format!("{moved} of about {total} messages moved, {rate}/s"));
        }
        before = moved;
    }
}
