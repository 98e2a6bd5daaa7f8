//! Leads a run through its phases and looks at broker, generator and machine before and after what is measured.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};

use super::Plan;
use crate::board::{Board, Phase, Totals};
use crate::process::{self, Machine, Usage};
use crate::report::Ending;
use crate::workload::Workload;

/// A drain in which nothing comes for so long, or for half the time it has, is given up.
const STALLS_AFTER: Duration = Duration::from_secs(10);
/// The broker's memory is looked at this often.
const MEMORY_EVERY: Duration = Duration::from_millis(250);

/// What happened between the start and the end of the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch {
    /// How long it was.
    pub seconds: f64,
    /// What the clients did in it.
    pub totals: Totals,
    /// What the broker used in it, if its process is known; memory is what it had at the end.
    pub broker: Option<Usage>,
    /// The most memory the broker was seen with, in bytes.
    pub resident_bytes_max: u64,
    /// CPU-seconds of the generator's threads.
    pub generator_cpu_seconds: f64,
    /// What the whole machine did.
    pub machine: Machine,
    /// Messages published and not received at the end, copies counted.
    pub backlog: i64,
}

impl Stretch {
    /// This one and another one after it, taken as one. Memory is that of the later one.
    pub(super) fn then(&self, later: &Self) -> Self {
        let mut totals = self.totals;
        totals.add(&later.totals);
        Self {
            seconds: self.seconds + later.seconds,
            totals,
            broker: self
                .broker
                .zip(later.broker)
                .map(|(earlier, later)| earlier.plus(&later)),
            resident_bytes_max: self.resident_bytes_max.max(later.resident_bytes_max),
            generator_cpu_seconds: self.generator_cpu_seconds + later.generator_cpu_seconds,
            machine: self.machine.plus(&later.machine),
            backlog: self.backlog + later.backlog,
        }
    }
}

pub(super) struct Watch<'a> {
    pub(super) workload: &'a Workload,
    pub(super) plan: &'a Plan,
    pub(super) board: &'a Board,
}

pub(super) struct Snapshot {
    at: Instant,
    totals: Totals,
    pub(super) broker: Option<Usage>,
    generator_cpu_seconds: f64,
    machine: Machine,
}

impl Watch<'_> {
    /// Leads the run through its phases; answers what was measured and how it ended.
    pub(super) fn phases(&self) -> anyhow::Result<(Stretch, Ending)> {
        self.board.enter(Phase::WarmUp);
        self.wait(self.plan.warm_up)?;
        self.board.enter(Phase::Measure);
        let before = self.look()?;
        let resident_bytes_max = self.wait(self.plan.duration)?;
        let after = self.look()?;
        self.board.enter(Phase::Drain);
        let ending = self.drain()?;
        Ok((self.stretch(&before, &after, resident_bytes_max), ending))
    }

    /// Waits, unless the run fails. Answers the most memory the broker was seen with.
    fn wait(&self, duration: Duration) -> anyhow::Result<u64> {
        let until = Instant::now() + duration;
        let mut resident_max = 0;
        loop {
            if let Some(reason) = self.board.failure() {
                bail!(reason);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(resident_max);
            }
            thread::sleep(left.min(MEMORY_EVERY));
            if let Some(pid) = self.plan.broker_pid {
                resident_max = resident_max.max(process::resident(pid));
            }
        }
    }

    pub(super) fn look(&self) -> anyhow::Result<Snapshot> {
        let broker = match self.plan.broker_pid {
            Some(pid) => Some(process::usage(pid).ok_or_else(|| anyhow!("there is no process {pid}"))?),
            None => None,
        };
        Ok(Snapshot {
            at: Instant::now(),
            totals: self.board.totals(),
            broker,
            generator_cpu_seconds: process::threads_cpu_seconds(&self.board.thread_ids()),
            machine: process::machine(),
        })
    }

    pub(super) fn stretch(&self, before: &Snapshot, after: &Snapshot, resident_bytes_max: u64) -> Stretch {
        let published = after.totals.published * self.workload.copies();
        Stretch {
            seconds: (after.at - before.at).as_secs_f64(),
            totals: after.totals.since(&before.totals),
            broker: after
                .broker
                .zip(before.broker)
                .map(|(after, before)| after.since(&before)),
            resident_bytes_max,
            generator_cpu_seconds: after.generator_cpu_seconds - before.generator_cpu_seconds,
            machine: after.machine.since(&before.machine),
            backlog: published as i64 - after.totals.received as i64,
        }
    }

    /// Waits until everything is confirmed and received, or no longer.
    fn drain(&self) -> anyhow::Result<Ending> {
        let start = Instant::now();
        let stalls_after = STALLS_AFTER.min(self.plan.drain / 2);
        let mut moved = (Totals::default(), start);
        loop {
            if let Some(reason) = self.board.failure() {
                bail!(reason);
            }
            let done = self.board.publishing_done();
            let totals = self.board.totals();
            if done && self.all_received(&totals) {
                return Ok(Ending::Drained);
            }
            if (moved.0.confirmed, moved.0.received) != (totals.confirmed, totals.received) {
                moved = (totals, Instant::now());
            }
            if self.plan.drain.is_zero() {
                return Ok(Ending::Cut);
            }
            if moved.1.elapsed() > stalls_after {
                return Ok(Ending::Stalled);
            }
            if start.elapsed() >= self.plan.drain {
                return Ok(Ending::TimeUp);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn all_received(&self, totals: &Totals) -> bool {
        let accepted = totals.published - totals.returned - totals.nacked;
        self.workload.consumers == 0 || totals.received >= accepted * self.workload.copies()
    }
}
