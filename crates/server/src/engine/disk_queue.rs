//! The jobs that wait for the log, and the threads that wait for jobs. When a round may begin is decided by
//! [`everack_node::rounds`]; here is who begins it, and who is woken.
//!
//! One thread, the first, takes whatever comes while no sync is under way; it alone is woken by those who bring jobs, and only if it
//! would not be back in time by itself. While it waits
//! for its sync, one of the others keeps watch: it looks every few milliseconds whether jobs have waited too long for that
//! sync, and then writes and syncs them beside it. So a usual round costs no wake-up more, and when nothing moves, nobody looks.

use std::time::{Duration, Instant};

use everack_node::append::AppendJob;
use everack_node::rounds::{LAZY_WAIT_MILLIS_MAX, OVERTAKE_MILLIS, Rounds};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// See the module documentation.
pub(crate) struct DiskQueue {
    start: Instant,
    state: Mutex<State>,
    first: Condvar,
    watcher: Condvar,
    /// Those who will keep watch after the present watcher.
    reserves: Condvar,
}

#[derive(Default)]
struct State {
    rounds: Rounds,
    jobs: Vec<AppendJob>,
    /// Until when the first thread sleeps if nobody wakes it, in microseconds since the start; `None` while it is awake.
    first_sleeps_until_us: Option<u64>,
    /// Jobs came since the first thread lay down last.
    moves: bool,
    /// One of the others keeps watch.
    watched: bool,
    /// The watcher wants to be told when something moves.
    watcher_sleeps: bool,
    /// Rounds that were begun, so that the watcher sees whether anything moves.
    begun: u64,
    stopping: bool,
}

/// What a thread is to do next. All but `Stop` give it the log to itself, until it says [`DiskQueue::written`] or
/// [`DiskQueue::nothing_written`].
pub(crate) enum Work {
    /// The jobs are in the vector that was passed in.
    Jobs,
    /// Nothing came within the time given, and no sync is under way.
    Idle,
    /// The process stops; for the first thread: everything has been taken, and no sync is under way.
    Stop,
}

const OVERTAKE: Duration = Duration::from_millis(OVERTAKE_MILLIS);
/// How long the first thread sleeps while things move: by itself it is back in time for what nobody waits for, so that settlements
/// between two rounds do not wake it.
const NAP: Duration = Duration::from_millis(LAZY_WAIT_MILLIS_MAX);

impl DiskQueue {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::default(),
            first: Condvar::new(),
            watcher: Condvar::new(),
            reserves: Condvar::new(),
        }
    }

    pub(crate) fn push_all(&self, jobs: impl IntoIterator<Item = AppendJob>) {
        let now_us = self.now_us();
        let mut state = self.state.lock();
        for job in jobs {
            state.rounds.job_came(job.urgent, now_us);
            state.jobs.push(job);
        }
        state.moves = true;
        let wake = state.sleeps_too_long();
        drop(state);
        if wake {
            self.first.notify_one();
        }
    }

    /// Lets the threads end, the first one once everything that is there has been taken.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.first.notify_one();
        self.watcher.notify_one();
        self.reserves.notify_all();
    }

    /// For the first thread: waits for jobs while no sync is under way, at most `idle` long; swaps them into `into`, which has to
    /// be empty.
    pub(crate) fn take(&self, into: &mut Vec<AppendJob>, idle: Duration) -> Work {
        let give_up = Instant::now() + idle;
        let mut state = self.state.lock();
        loop {
            let due = self.due(&state);
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                state.begin(into);
                return Work::Jobs;
            }
            if !state.rounds.is_busy() && !state.rounds.jobs_wait() {
                if state.stopping {
                    return Work::Stop;
                }
                if now >= give_up {
                    state.begin(into);
                    return Work::Idle;
                }
            }
            // Whoever ends a round that stood in the way wakes us.
            let rest = due.unwrap_or(give_up.max(now + OVERTAKE));
            let moves = std::mem::take(&mut state.moves);
            let until = if moves { rest.min(now + NAP) } else { rest };
            state.first_sleeps_until_us = Some(self.us_at(until));
            self.first.wait_until(&mut state, until);
            state.first_sleeps_until_us = None;
        }
    }

    /// For the other threads: waits until jobs have waited long enough for a sync that is under way, then as [`DiskQueue::take`].
    pub(crate) fn overtake(&self, into: &mut Vec<AppendJob>) -> Work {
        let mut state = self.state.lock();
        while state.watched && !state.stopping {
            self.reserves.wait(&mut state);
        }
        state.watched = true;
        let work = self.watch(&mut state, into);
        state.watched = false;
        drop(state);
        self.reserves.notify_one();
        work
    }

    fn watch(&self, state: &mut MutexGuard<'_, State>, into: &mut Vec<AppendJob>) -> Work {
        let mut seen = state.begun;
        loop {
            if state.stopping {
                return Work::Stop;
            }
            let now = Instant::now();
            let due = self.due(state).filter(|_| state.rounds.is_busy());
            if due.is_some_and(|due| due <= now) {
                state.begin(into);
                return Work::Jobs;
            }
            let moves = state.rounds.is_busy() || std::mem::replace(&mut seen, state.begun) != state.begun;
            if moves {
                self.watcher.wait_until(state, due.unwrap_or(now + OVERTAKE));
            } else {
                state.watcher_sleeps = true;
                self.watcher.wait(state);
                state.watcher_sleeps = false;
            }
        }
    }

    /// The round has written its jobs, and its sync begins: others may write.
    pub(crate) fn written(&self) {
        let now_us = self.now_us();
        let mut state = self.state.lock();
        state.rounds.written(now_us);
        if std::mem::take(&mut state.watcher_sleeps) {
            self.watcher.notify_one();
        }
        // All the others may be waiting for syncs.
        self.wake_first(state);
    }

    /// The round had nothing to write, or no room.
    pub(crate) fn nothing_written(&self) {
        let mut state = self.state.lock();
        state.rounds.nothing_written();
        self.wake_first(state);
    }

    /// What the round wrote is durable, and those whom it concerns have been told.
    pub(crate) fn ended(&self) {
        let mut state = self.state.lock();
        state.rounds.ended();
        self.wake_first(state);
    }

    /// What stood in the first thread's way may be over.
    fn wake_first(&self, state: MutexGuard<'_, State>) {
        let wake = state.sleeps_too_long() || state.first_sleeps_until_us.is_some() && state.stopping;
        drop(state);
        if wake {
            self.first.notify_one();
        }
    }

    fn due(&self, state: &State) -> Option<Instant> {
        if state.stopping && !state.rounds.is_busy() && state.rounds.jobs_wait() {
            return Some(self.start);
        }
        let due_us = state.rounds.due_us()?;
        Some(self.start + Duration::from_micros(due_us))
    }

    fn now_us(&self) -> u64 {
        self.us_at(Instant::now())
    }

    fn us_at(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.start).as_micros() as u64
    }
}

impl State {
    /// Whether the first thread would sleep past the time at which a round may begin.
    fn sleeps_too_long(&self) -> bool {
        let (until_us, due_us) = (self.first_sleeps_until_us, self.rounds.due_us());
        until_us
            .zip(due_us)
            .is_some_and(|(until_us, due_us)| due_us < until_us)
    }

    fn begin(&mut self, into: &mut Vec<AppendJob>) {
        self.rounds.begin();
        self.begun += 1;
        std::mem::swap(&mut self.jobs, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everack_node::append::Lane;
    use everack_node::rounds::{LAZY_WAIT_MILLIS_MAX, ROUNDS_MAX};
    use everack_storage::Frames;
    use std::thread::scope;

    fn job(urgent: bool) -> AppendJob {
        AppendJob {
            frames: Frames::with_capacity(0).into(),
            shares: [].into_iter().collect(),
            lane: Lane::Settle,
            urgent,
        }
    }

    /// How many jobs a thread gets, and after how long; none when it is told to stop.
    fn waited(take: impl FnOnce(&mut Vec<AppendJob>) -> Work) -> (usize, Duration) {
        let (mut jobs, start) = (Vec::new(), Instant::now());
        match take(&mut jobs) {
            Work::Jobs => (jobs.len(), start.elapsed()),
            Work::Idle => panic!("nothing is idle here"),
            Work::Stop => (0, start.elapsed()),
        }
    }

    fn first(queue: &DiskQueue) -> (usize, Duration) {
        waited(|jobs| queue.take(jobs, Duration::from_secs(10)))
    }

    fn other(queue: &DiskQueue) -> (usize, Duration) {
        waited(|jobs| queue.overtake(jobs))
    }

    /// Whether the first thread, asleep until then, is woken by a job that comes at 1000 us.
    #[track_caller]
    fn check_wakes(sleeps_until_us: Option<u64>, urgent: bool, expected: bool) {
        let mut state = State {
            first_sleeps_until_us: sleeps_until_us,
            ..State::default()
        };
        state.rounds.job_came(urgent, 1000);
        assert_eq!(
            state.sleeps_too_long(),
            expected,
            "{sleeps_until_us:?}, urgent: {urgent}"
        );
    }

    #[test]
    fn the_first_thread_is_woken_only_if_it_would_come_too_late_by_itself() {
        check_wakes(None, true, false);
        check_wakes(Some(1000), true, false);
        check_wakes(Some(1001), true, true);
        check_wakes(Some(6000), false, false);
        check_wakes(Some(6001), false, true);
        check_wakes(Some(1_000_000), false, true);
    }

    #[test]
    fn the_first_thread_takes_what_is_urgent_at_once_and_the_rest_a_little_later() {
        let queue = DiskQueue::new();
        queue.push_all([job(true), job(false)]);
        assert_eq!(first(&queue).0, 2);
        queue.nothing_written();
        queue.push_all([job(false)]);
        let (jobs, after) = first(&queue);
        assert_eq!(jobs, 1);
        // The clock of the queue started a little earlier, in whole microseconds.
        assert!(after + Duration::from_millis(1) >= Duration::from_millis(LAZY_WAIT_MILLIS_MAX));
    }

    #[test]
    fn a_long_sync_is_overtaken_by_one_thread_after_the_other() {
        let queue = DiskQueue::new();
        queue.push_all([job(true)]);
        assert_eq!(first(&queue).0, 1);
        let start = Instant::now();
        queue.written();
        let overtake = || {
            let (jobs, _) = other(&queue);
            let after = start.elapsed();
            queue.written();
            queue.push_all([job(true)]);
            (jobs, after)
        };
        scope(|scope| {
            let others: Vec<_> = (1..ROUNDS_MAX).map(|_| scope.spawn(overtake)).collect();
            queue.push_all([job(true)]);
            let mut waits: Vec<_> = others
                .into_iter()
                .map(|other| other.join().expect("no panic"))
                .collect();
            waits.sort_by_key(|(_, after)| *after);
            for (index, (jobs, after)) in waits.into_iter().enumerate() {
                assert_eq!(jobs, 1);
                assert!(after + Duration::from_millis(1) >= OVERTAKE * (index as u32 + 1));
            }
            // As many syncs are under way as may be: the last job waits for one of them to end.
            scope.spawn(|| {
                std::thread::sleep(OVERTAKE);
                queue.ended();
            });
            let (jobs, after) = first(&queue);
            assert_eq!(jobs, 1);
            assert!(after >= OVERTAKE);
        });
    }

    #[test]
    fn all_threads_end_and_the_first_one_with_everything_taken() {
        let queue = DiskQueue::new();
        scope(|scope| {
            let others: Vec<_> = (1..ROUNDS_MAX).map(|_| scope.spawn(|| other(&queue).0)).collect();
            queue.push_all([job(false)]);
            queue.stop();
            assert_eq!(first(&queue).0, 1);
            queue.written();
            scope.spawn(|| {
                std::thread::sleep(OVERTAKE);
                queue.ended();
            });
            let (jobs, after) = first(&queue);
            assert_eq!(jobs, 0, "it is told to stop");
            assert!(after >= OVERTAKE, "when the sync has ended");
            let others = others.into_iter().map(|other| other.join().expect("no panic"));
            assert_eq!(others.sum::<usize>(), 0);
        });
    }
}
