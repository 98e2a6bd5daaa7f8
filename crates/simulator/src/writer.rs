//! What the disk threads do, in steps: take what waits and write it; later, when the sync is over, tell the origins; and when it
//! takes long, write and sync what came meanwhile beside it. When and in which order is decided by the same code as in a process
//! ([`Rounds`], [`Commits`]); as in `server/src/engine/disk_threads.rs`, what finds the disk full is parked in its order.

use std::collections::VecDeque;

use everack_cluster::{Commit as _, CommitLog, Standalone};
use everack_node::alarms::Resource;
use everack_node::append::{AppendJob, JobId, Lane, Origin, Share, Written};
use everack_node::commits::Commits;
use everack_node::pace::Pace;
use everack_node::rounds::Rounds;
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

/// Rounds in which a segment ended that are remembered; more of them do not fit into the time of a settlement.
const LONG_WRITES_KEPT: usize = 64;

/// See the module documentation.
pub struct Writer {
    log: Option<Standalone<Watched>>,
    waiting: Vec<AppendJob>,
    rounds: Rounds,
    /// Jobs that found the disk full, in their order.
    parked: Vec<AppendJob>,
    retry_at: u64,
    /// Written in this round.
    written: Vec<Written>,
    commits: Commits,
    pace: Pace,
    /// Syncs under way, as they were begun.
    syncs: VecDeque<UnderWay>,
    /// When the writes of the last rounds in which a segment ended were over, and how long they took.
    long_writes: VecDeque<(u64, u64)>,
    /// With the bug that tears transactions: those of which a part is written.
    torn: Vec<AppendJob>,
    marked: bool,
    busy_at: u64,
    /// What it has been through.
    pub tally: Tally,
}

/// A sync under way.
struct UnderWay {
    number: u64,
    commit: <Standalone<Watched> as CommitLog>::Commit,
    /// The changes of the disk that it covers.
    changes: u64,
    until: u64,
}

/// Counts of what a writer has been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Times that jobs were written and synced.
    pub rounds: u64,
    /// Rounds that were begun while another's sync was under way.
    pub overtaking: u64,
    /// Syncs that ended before one that was begun before them.
    pub overtaken: u64,
    /// The longest round, in simulated microseconds, from taking the jobs to their sync's end.
    pub longest_us: u64,
    /// The longest sync.
    pub longest_sync_us: u64,
    /// So many syncs were under way that a round had to wait for one of them.
    pub crowded: bool,
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
    /// While jobs are parked: settlements that were taken in since then may be among them.
    pub waits_from_us: Option<u64>,
    /// Until when the last ones were parked.
    pub full_until_us: Option<u64>,
}

impl Writer {
    pub(crate) fn new(log: Standalone<Watched>) -> Self {
        Self {
            log: Some(log),
            waiting: Vec::new(),
            rounds: Rounds::default(),
            parked: Vec::new(),
            retry_at: 0,
            written: Vec::new(),
            commits: Commits::default(),
            pace: Pace::default(),
            syncs: VecDeque::new(),
            long_writes: VecDeque::new(),
            torn: Vec::new(),
            marked: true,
            busy_at: 0,
            tally: Tally::default(),
        }
    }

    pub(crate) fn push_all(&mut self, jobs: impl IntoIterator<Item = AppendJob>, now_us: u64) {
        for job in jobs {
            self.rounds.job_came(job.urgent, now_us);
            self.waiting.push(job);
        }
        self.tally.crowded |= self.rounds.is_full() && !self.waiting.is_empty();
    }

    /// A settlement that was received longer before a crash at `now_us` than this is durable: 10 ms and the longest sync. Where
    /// the log went on to another segment meanwhile, the syncs of that come on top; and where more syncs were under way than may
    /// be, the wait for one of them.
    pub fn settled_within_us(&self, now_us: u64) -> u64 {
        let crowd_us = if self.tally.crowded {
            self.tally.longest_us
        } else {
            0
        };
        let bound_us = 10_000 + self.tally.longest_sync_us + crowd_us;
        // From the last one back: each that ended within the time that a settlement may wait makes that time longer.
        let wait = |bound_us: u64, (end_us, write_us): &(u64, u64)| {
            let counts = end_us + bound_us >= now_us;
            bound_us + if counts { *write_us } else { 0 }
        };
        self.long_writes.iter().rev().fold(bound_us, wait)
    }

    fn note_write(&mut self, end_us: u64, write_us: u64) {
        if write_us > 0 {
            self.long_writes.push_back((end_us, write_us));
            if self.long_writes.len() > LONG_WRITES_KEPT {
                self.long_writes.pop_front();
            }
        }
    }

    /// With the bug that answers topology early: takes the catalog's shares away from the jobs that wait.
    pub(crate) fn take_topology_shares(&mut self) -> Vec<JobId> {
        let mut taken = Vec::new();
        for job in &mut self.waiting {
            let (topology, others): (Vec<Share>, Vec<Share>) = job
                .shares
                .iter()
                .copied()
                .partition(|share| share.origin == Origin::Catalog);
            taken.extend(topology.iter().map(|share| share.job));
            job.shares = others.into_iter().collect();
        }
        taken
    }

    /// Whether nothing is being written, and nothing waits for that.
    pub fn is_idle(&self) -> bool {
        !self.is_syncing() && self.nothing_waits()
    }

    /// Whether jobs wait for room.
    pub fn is_full(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Whether a sync is under way.
    pub fn is_syncing(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// When it has something to do next, in simulated microseconds.
    pub fn due(&self, flaw: Flaw) -> u64 {
        let ends = self.syncs.iter().map(|sync| sync.until).min();
        let jobs = match self.rounds.due_us() {
            Some(_) if flaw == Flaw::DelaysSettlements && !self.rounds.is_urgent() => u64::MAX,
            Some(_) if flaw == Flaw::WaitsForLongSyncs && self.is_syncing() => u64::MAX,
            due_us => due_us.unwrap_or(u64::MAX),
        };
        let busy = self.rounds.is_busy();
        let unless = |never: bool, at: u64| if never { u64::MAX } else { at };
        let torn = unless(busy || self.torn.is_empty(), self.busy_at + TORN_US);
        let retry = unless(busy || self.parked.is_empty(), self.retry_at);
        let mark = unless(busy || self.marked, self.busy_at + IDLE_US);
        let rounds = torn.min(retry).min(mark).min(jobs);
        rounds.min(ends.unwrap_or(u64::MAX))
    }
}

impl Core {
    /// Writes, syncs and tells all at once, lazy or not; says whether anything moved.
    pub(crate) fn write_at_once(&self) -> bool {
        let mut moved = self.end_syncs();
        if self.is_dead() || self.writer.borrow().nothing_waits() {
            return moved;
        }
        self.begin_round();
        moved |= self.end_syncs();
        moved
    }

    /// Waits for all syncs that are under way; says whether anybody was told of anything.
    fn end_syncs(&self) -> bool {
        let mut told = false;
        while !self.is_dead() && self.writer.borrow().is_syncing() {
            told |= self.end_sync();
        }
        told
    }

    /// The next step of the disk threads, once it is due.
    pub fn write(&self) {
        if self.is_dead() {
            return;
        }
        if self.writer.borrow().sync_ends(self.now_us()) {
            self.end_sync();
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
        writer.rounds.begin();
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
            writer.tally.waits_from_us = None;
        }
        if writer.written.is_empty() || self.is_dead() {
            writer.rounds.nothing_written();
        } else {
            self.begin_sync(writer, now);
        }
    }

    fn begin_sync(&self, writer: &mut Writer, now: u64) {
        let (write_us, sync_us) = (self.disk.take_elapsed(), self.disk.sync_micros());
        let quick = writer.pace.is_quick();
        writer.log().disk_is_quick(quick);
        let Ok(commit) = writer.log().begin_commit() else {
            writer.rounds.nothing_written();
            return self.die();
        };
        let tally = &mut writer.tally;
        tally.rounds += 1;
        tally.overtaking += u64::from(!writer.syncs.is_empty());
        tally.longest_us = tally.longest_us.max(write_us + sync_us);
        tally.longest_sync_us = tally.longest_sync_us.max(sync_us);
        writer.note_write(now + write_us, write_us);
        writer.pace.round_took(write_us + sync_us);
        writer.rounds.written(now + write_us);
        let number = writer.commits.begin(std::mem::take(&mut writer.written));
        writer.syncs.push_back(UnderWay {
            number,
            commit,
            changes: self.disk.memory().changes(),
            until: now + write_us + sync_us,
        });
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
                .written
                .extend(job.shares.iter().map(|share| (*share, end, end)));
            return;
        }
        let is_move = self.is_move(&job);
        if flawed::falsifies(self.flaw) {
            flawed::falsified(self.flaw, &mut job, is_move);
        }
        let tears = match self.flaw {
            Flaw::TearsTransactions => !is_move,
            Flaw::MovesInTwoWrites | Flaw::SendsInTwoWrites => is_move,
            _ => false,
        };
        if tears && let Some(mut first) = flawed::first_part(&mut job, is_move) {
            let bytes = first.bytes() as u64;
            if writer.log().append(&mut first).is_ok() {
                let end = writer.log().appended();
                self.progress.appended(end, bytes);
                writer.written.push(flawed::nobody(end));
            }
            writer.torn.push(job);
            return;
        }
        let bytes = job.frames.bytes() as u64;
        let rescues = flawed::kinds(&job).any(|kind| kind == flawed::MOVED);
        let appended = match job.lane {
            Lane::Publish => writer.log().append(&mut job.frames),
            Lane::Settle => writer.log().append_reserved(&mut job.frames),
        };
        match appended {
            Ok(base) => {
                self.progress.appended(writer.log().appended(), bytes);
                writer.tally.rescues += u64::from(rescues);
                Self::appended(writer, &job, base);
            }
            Err(AppendError::Full) if self.flaw == Flaw::ConfirmsWithoutRoom => {
                let end = writer.log().appended();
                writer
                    .written
                    .extend(job.shares.iter().map(|share| (*share, end, end)));
            }
            Err(AppendError::Full) => self.park(writer, job),
            Err(_) => self.die(),
        }
    }

    fn appended(writer: &mut Writer, job: &AppendJob, base: Position) {
        let end = writer.log().appended();
        let tally = &mut writer.tally;
        tally.shared_transactions += u64::from(job.shares.len() > 1);
        writer
            .written
            .extend(job.shares.iter().map(|share| (*share, base, end)));
        if job.shares.is_empty() {
            writer.written.push(flawed::nobody(end));
        }
    }

    fn park(&self, writer: &mut Writer, job: AppendJob) {
        writer.tally.parked += 1;
        if writer.tally.waits_from_us.is_none() {
            let waited_us = writer.settled_within_us(self.now_us());
            writer.tally.waits_from_us = Some(self.now_us().saturating_sub(waited_us));
        }
        writer.retry_at = self.now_us() + FULL_RETRY_US;
        self.raise(Resource::Disk, true);
        writer.parked.push(job);
    }

    /// The next sync is over. Says whether anybody was told of anything.
    fn end_sync(&self) -> bool {
        let mut writer = self.writer.borrow_mut();
        let sync = writer.take_sync();
        writer.rounds.ended();
        writer.busy_at = self.now_us();
        writer.marked = false;
        if self.is_dead() {
            return false;
        }
        let memory = self.disk.memory();
        memory.set_horizon(Some(sync.changes));
        let durable = match self.flaw {
            Flaw::ConfirmsEarly => Ok(writer.log().appended()),
            _ => sync.commit.wait(),
        };
        memory.set_horizon(None);
        let durable = match durable {
            Ok(durable) => durable,
            Err(_) if self.flaw == Flaw::IgnoresSyncErrors && !self.is_dead() => writer.log().appended(),
            Err(_) => {
                // A process ends here, and nothing is confirmed any more.
                self.die();
                return false;
            }
        };
        writer.commits.ended(sync.number, durable);
        let told: Vec<_> = std::iter::from_fn(|| writer.commits.next_ended()).collect();
        drop(writer);
        for (durable, written) in &told {
            self.progress.committed(*durable);
            for (share, base, end) in written {
                if !flawed::is_nobody(*share) {
                    self.tell(*share, *base, *end);
                }
            }
        }
        !told.is_empty()
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

    /// Whether a sync is over by now.
    fn sync_ends(&self, now: u64) -> bool {
        self.syncs.iter().any(|sync| sync.until <= now)
    }

    /// The sync that ends first.
    fn take_sync(&mut self) -> UnderWay {
        let ends = self.syncs.iter().enumerate().min_by_key(|(_, sync)| sync.until);
        let index = ends.expect("a sync is under way").0;
        self.tally.overtaken += u64::from(index > 0);
        self.syncs.remove(index).expect("it is under way")
    }

    /// Nothing waits to be written.
    fn nothing_waits(&self) -> bool {
        self.waiting.is_empty() && self.parked.is_empty() && self.torn.is_empty()
    }
}
