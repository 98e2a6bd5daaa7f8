//! The jobs that wait for the disk thread.
//!
//! Group commit without a timer: the thread takes all that is there, writes and syncs it, and finds what came meanwhile. Only
//! what nobody waits for (settlements) is let lie for a few milliseconds, to ride along with a sync that somebody does wait for.

use std::time::{Duration, Instant};

use everack_node::append::{AppendJob, LAZY_WAIT_MILLIS_MAX};
use parking_lot::{Condvar, Mutex};

/// See the module documentation.
#[derive(Default)]
pub(crate) struct DiskQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<AppendJob>,
    urgent: bool,
    lazy_since: Option<Instant>,
    sleeping: bool,
    stopping: bool,
}

/// What the disk thread is to do next.
pub(crate) enum Work {
    /// The jobs are in the vector that was passed in.
    Jobs,
    /// Nothing came within the time given.
    Idle,
    /// The process stops and everything has been taken.
    Stop,
}

impl DiskQueue {
    pub(crate) fn push_all(&self, jobs: impl IntoIterator<Item = AppendJob>) {
        let mut state = self.state.lock();
        for job in jobs {
            state.urgent |= job.urgent;
            if state.jobs.is_empty() {
                state.lazy_since = Some(Instant::now());
            }
            state.jobs.push(job);
        }
        let wake = state.sleeping;
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    /// Lets the disk thread end once it has taken what is there.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_one();
    }

    /// Waits for work, at most `idle` long; swaps the jobs into `into`, which has to be empty.
    pub(crate) fn take(&self, into: &mut Vec<AppendJob>, idle: Duration) -> Work {
        let give_up = Instant::now() + idle;
        let mut state = self.state.lock();
        loop {
            if state.ripe() {
                state.urgent = false;
                std::mem::swap(&mut state.jobs, into);
                return Work::Jobs;
            }
            if state.stopping {
                return Work::Stop;
            }
            let until = state.lazy_deadline().unwrap_or(give_up).min(give_up);
            state.sleeping = true;
            let timed_out = self.changed.wait_until(&mut state, until).timed_out();
            state.sleeping = false;
            if timed_out && state.jobs.is_empty() {
                return Work::Idle;
            }
        }
    }
}

impl State {
    fn ripe(&self) -> bool {
        !self.jobs.is_empty()
            && (self.urgent || self.stopping || self.lazy_deadline().is_some_and(|at| at <= Instant::now()))
    }

    fn lazy_deadline(&self) -> Option<Instant> {
        if self.jobs.is_empty() {
            None
        } else {
            self.lazy_since.map(|since| since + LAZY_WAIT)
        }
    }
}

const LAZY_WAIT: Duration = Duration::from_millis(LAZY_WAIT_MILLIS_MAX);
