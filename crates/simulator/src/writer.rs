//! What the disk thread does, in two steps: take what waits and write it; later, when the sync is over, tell the origins. What comes
//! meanwhile waits for the next time, as in `server/src/engine/disk_thread.rs` and `disk_queue.rs`, whose rules are repeated here: urgent
//! work at once, what nobody waits for after [`LAZY_WAIT_MILLIS_MAX`], and what finds the disk full is parked in its order.

use everack_cluster::{CommitLog, Standalone};
use everack_node::alarms::Resource;
use everack_node::append::{AppendJob, JobId, LAZY_WAIT_MILLIS_MAX, Lane, Origin, Share};
use everack_storage::{AppendError, Position};

use crate::disk::Watched;
use crate::flaw::Flaw;
use crate::flawed;
use crate::node::Core;

/// How long before a full disk is tried again, in microseconds.
const FULL_RETRY_US: u64 = 200_000;
/// With the bug that tears transactions: how long after the first part the rest follows, in microseconds.
const TORN_US: u64 = 5_000;
/// How long without work before the log is marked as quiet, in microseconds.
const IDLE_US: u64 = 1_000_000;

/// See the module documentation.
pub struct Writer {
    log: Option<Standalone<Watched>>,
    waiting: Vec<AppendJob>,
    urgent: bool,
    lazy_since: u64,
    /// Jobs that found the disk full, in their order.
    parked: Vec<AppendJob>,
    retry_at: u64,
    /// Written, and not synced yet.
    committed: Vec<(Share, Position, Position)>,
    syncing_until: Option<u64>,
    /// With the bug that tears transactions: those of which a part is written.
    torn: Vec<AppendJob>,
    marked: bool,
    busy_at: u64,
    /// What it has been through.
    pub tally: Tally,
}

/// Counts of what a writer has been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Times that jobs were written and synced.
    pub rounds: u64,
    /// The longest of them, in simulated microseconds, from taking the jobs to telling their origins.
    pub longest_us: u64,
    /// Jobs that found the disk full.
    pub parked: u64,
    /// Times that all parked jobs found room again.
    pub resumed: u64,
    /// Jobs that hold survivors of a dying segment.
    pub rescues: u64,
    /// Transactions that several machines have a share in.
    pub shared_transactions: u64,
    /// Marks of an idle log.
    pub marks: u64,
    /// Since when jobs are parked, and until when the last ones were.
    pub full_from_us: Option<u64>,
    /// See above.
    pub full_until_us: Option<u64>,
}

impl Writer {
    pub(crate) fn new(log: Standalone<Watched>) -> Self {
        Self {
            log: Some(log),
            waiting: Vec::new(),
            urgent: false,
            lazy_since: 0,
            parked: Vec::new(),
            retry_at: 0,
            committed: Vec::new(),
            syncing_until: None,
            torn: Vec::new(),
            marked: true,
            busy_at: 0,
            tally: Tally::default(),
        }
    }

    pub(crate) fn push_all(&mut self, jobs: impl IntoIterator<Item = AppendJob>, now_us: u64) {
        for job in jobs {
            self.urgent |= job.urgent;
            if self.waiting.is_empty() {
                self.lazy_since = now_us;
            }
            self.waiting.push(job);
        }
    }

    /// With the bug that answers topology early: takes the catalog's shares away from the jobs that wait.
    pub(crate) fn take_topology_shares(&mut self) -> Vec<JobId> {
        let mut taken = Vec::new();
        for job in &mut self.waiting {
            job.shares.retain(|share| {
                let topology = share.origin == Origin::Catalog;
                if topology {
                    taken.push(share.job);
                }
                !topology
            });
        }
        taken
    }

    /// Whether jobs wait for room.
    pub fn is_full(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Whether a sync is under way.
    pub fn is_syncing(&self) -> bool {
        self.syncing_until.is_some()
    }

    /// When it has something to do next, in simulated microseconds.
    pub fn due(&self, flaw: Flaw) -> u64 {
        if let Some(until) = self.syncing_until {
            return until;
        }
        let lazy = self.lazy_since + LAZY_WAIT_MILLIS_MAX * 1000;
        let jobs = match (self.waiting.is_empty(), self.urgent) {
            (true, _) => u64::MAX,
            (_, true) => 0,
            _ if flaw == Flaw::DelaysSettlements => u64::MAX,
            _ => lazy,
        };
        let torn = if self.torn.is_empty() {
            u64::MAX
        } else {
            self.busy_at + TORN_US
        };
        let retry = if self.parked.is_empty() {
            u64::MAX
        } else {
            self.retry_at
        };
        let mark = if self.marked {
            u64::MAX
        } else {
            self.busy_at + IDLE_US
        };
        jobs.min(torn).min(retry).min(mark)
    }
}

impl Core {
    /// Writes, syncs and tells all at once, lazy or not; says whether anything moved.
    pub(crate) fn write_at_once(&self) -> bool {
        if self.is_dead() || self.writer.borrow().nothing_waits() {
            return false;
        }
        self.begin_round();
        self.end_round()
    }

    /// The next step of the disk thread, once it is due.
    pub fn write(&self) {
        if self.is_dead() {
            return;
        }
        if self.writer.borrow().is_syncing() {
            self.end_round();
        } else if self.writer.borrow().nothing_waits() {
            self.mark();
        } else {
            self.begin_round();
        }
    }

    /// Stops the log politely, as at the end of a process that was asked to. False if the disk failed.
    pub fn close_log(&self) -> bool {
        while !self.is_dead()
            && (self.writer.borrow().is_syncing() || !self.writer.borrow().waiting.is_empty())
        {
            self.write_at_once();
        }
        let log = self.writer.borrow_mut().log.take();
        !self.is_dead() && log.is_some_and(|log| log.close().is_ok())
    }

    fn begin_round(&self) {
        let writer = &mut *self.writer.borrow_mut();
        let now = self.now_us();
        self.disk.take_elapsed();
        writer.urgent = false;
        let jobs = std::mem::take(&mut writer.waiting);
        let halves = std::mem::take(&mut writer.torn);
        let parked = std::mem::take(&mut writer.parked);
        let was_full = !parked.is_empty();
        if self.flaw == Flaw::ConfirmsEarly && writer.log().commit().is_err() {
            self.die();
        }
        for job in halves.into_iter().chain(parked).chain(jobs) {
            self.append(writer, job);
        }
        if was_full && writer.parked.is_empty() {
            writer.tally.resumed += 1;
            writer.tally.full_until_us = Some(now);
            writer.tally.full_from_us = None;
        }
        if !writer.committed.is_empty() && !self.is_dead() {
            let micros = self.disk.take_elapsed() + self.disk.sync_micros();
            writer.syncing_until = Some(now + micros);
            writer.tally.rounds += 1;
            writer.tally.longest_us = writer.tally.longest_us.max(micros);
        }
    }

    fn append(&self, writer: &mut Writer, mut job: AppendJob) {
        if self.is_dead() {
            return;
        }
        if job.lane == Lane::Publish && !writer.parked.is_empty() {
            writer.parked.push(job);
            return;
        }
        if self.flaw == Flaw::ForgetsSettlements && flawed::only_settles(&job) {
            let end = writer.log().appended();
            writer
                .committed
                .extend(job.shares.into_iter().map(|share| (share, end, end)));
            return;
        }
        if self.flaw == Flaw::TearsTransactions
            && let Some(mut first) = flawed::first_part(&mut job)
        {
            if writer.log().append(&mut first).is_ok() {
                let end = writer.log().appended();
                self.progress.appended(end, first.bytes() as u64);
                writer.committed.push(flawed::nobody(end));
            }
            writer.torn.push(job);
            return;
        }
        let appended = match job.lane {
            Lane::Publish => writer.log().append(&mut job.frames),
            Lane::Settle => writer.log().append_reserved(&mut job.frames),
        };
        match appended {
            Ok(base) => self.appended(writer, &job, base),
            Err(AppendError::Full) if self.flaw == Flaw::ConfirmsWithoutRoom => {
                let end = writer.log().appended();
                writer
                    .committed
                    .extend(job.shares.into_iter().map(|share| (share, end, end)));
            }
            Err(AppendError::Full) => self.park(writer, job),
            Err(_) => self.die(),
        }
    }

    fn appended(&self, writer: &mut Writer, job: &AppendJob, base: Position) {
        let end = writer.log().appended();
        self.progress.appended(end, job.frames.bytes() as u64);
        let tally = &mut writer.tally;
        tally.rescues += u64::from(flawed::kinds(job).any(|kind| kind == flawed::MOVED));
        tally.shared_transactions += u64::from(job.shares.len() > 1);
        writer
            .committed
            .extend(job.shares.iter().map(|share| (*share, base, end)));
        if job.shares.is_empty() {
            writer.committed.push(flawed::nobody(end));
        }
    }

    fn park(&self, writer: &mut Writer, job: AppendJob) {
        writer.tally.parked += 1;
        writer.tally.full_from_us.get_or_insert(self.now_us());
        writer.retry_at = self.now_us() + FULL_RETRY_US;
        self.raise(Resource::Disk, true);
        writer.parked.push(job);
    }

    /// The sync is over. Says whether anybody was told of anything.
    fn end_round(&self) -> bool {
        let mut writer = self.writer.borrow_mut();
        writer.syncing_until = None;
        writer.busy_at = self.now_us();
        writer.marked = false;
        if writer.committed.is_empty() || self.is_dead() {
            return false;
        }
        let durable = match self.flaw {
            Flaw::ConfirmsEarly => Ok(writer.log().appended()),
            _ => writer.log().commit(),
        };
        match durable {
            Ok(durable) => self.progress.committed(durable),
            Err(_) if self.flaw == Flaw::IgnoresSyncErrors && !self.is_dead() => {
                let appended = writer.log().appended();
                self.progress.committed(appended);
            }
            Err(_) => {
                // A process ends here, and nothing is confirmed any more.
                self.die();
                return false;
            }
        }
        let told = std::mem::take(&mut writer.committed);
        drop(writer);
        for (share, base, end) in told {
            if !flawed::is_nobody(share) {
                self.tell(share, base, end);
            }
        }
        true
    }

    fn mark(&self) {
        let writer = &mut *self.writer.borrow_mut();
        writer.marked = true;
        writer.tally.marks += 1;
        if writer.log().idle().is_err() {
            self.die();
        }
    }
}

impl Writer {
    fn log(&mut self) -> &mut Standalone<Watched> {
        self.log.as_mut().expect("the log is there until it is closed")
    }

    fn nothing_waits(&self) -> bool {
        self.waiting.is_empty() && self.parked.is_empty() && self.torn.is_empty() && self.committed.is_empty()
    }
}
