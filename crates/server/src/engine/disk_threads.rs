//! The threads that write and sync the log: group commit.
//!
//! ```text
//! take all jobs ──> write them ───> one fdatasync ──> tell every origin what is durable ──> run the partitions inline
//!  └ one thread at a time ───────┘   └ several may be at it, so that none waits long for another's
//! ```
//!
//! An error of a write or a sync ends the process before a wrong confirm can leave it: the kernel may have dropped the
//! dirty pages, so a second sync that succeeds proves nothing. What was confirmed is in the log; the next start recovers it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use everack_cluster::{Commit as _, CommitLog};
use everack_node::alarms::Resource;
use everack_node::append::{AppendJob, Lane, Origin, Share, Written};
use everack_node::catalog_service::CatalogRequest;
use everack_node::commits::Commits;
use everack_node::pace::Pace;
use everack_node::request::Request;
use everack_node::rounds::ROUNDS_MAX;
use everack_storage::{AppendError, Position};
use parking_lot::Mutex;

use super::Engine;
use super::disk_queue::Work;
use crate::abort::abort_soon;

/// How long before it is looked whether a full disk has room again.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// How long without work before the log is marked as quiet.
const IDLE: Duration = Duration::from_secs(1);
/// How long before it is looked again at a log that is marked so. Whoever brings a job wakes the thread.
const QUIET: Duration = Duration::from_secs(3600);

/// See the module documentation.
pub(crate) struct DiskThreads<L> {
    /// Of the thread that writes.
    desk: Mutex<Desk<L>>,
    commits: Mutex<Commits>,
    pace: Mutex<Pace>,
    engine: Arc<Engine>,
}

/// The log and what waits in front of it.
struct Desk<L> {
    log: L,
    /// Jobs that found the disk full, in their order.
    parked: Vec<AppendJob>,
    written: Vec<Written>,
    marked: bool,
}

impl<L: CommitLog> DiskThreads<L> {
    pub(crate) fn new(log: L, engine: Arc<Engine>) -> Self {
        let desk = Desk {
            log,
            parked: Vec::new(),
            written: Vec::new(),
            marked: true,
        };
        Self {
            desk: Mutex::new(desk),
            commits: Mutex::default(),
            pace: Mutex::default(),
            engine,
        }
    }

    /// Works until the queue is stopped, then closes the log politely. The thread that calls this is the first of them.
    pub(crate) fn run(self) {
        std::thread::scope(|scope| {
            for index in 1..ROUNDS_MAX {
                let other = std::thread::Builder::new().name(format!("disk-{index}"));
                if let Err(error) = other.spawn_scoped(scope, || self.other()) {
                    tracing::warn!(%error, "a thread for the disk could not be started: slow syncs are waited for longer");
                }
            }
            self.first();
        });
        self.desk.into_inner().close();
    }

    /// Takes whatever comes while no sync is under way.
    fn first(&self) {
        let mut jobs = Vec::new();
        // The other threads write only what comes while this one's sync is under way.
        let mut marked = false;
        loop {
            let full = self.engine.log_is_full.load(Ordering::Acquire);
            let idle = match (full, marked) {
                (true, _) => FULL_RETRY,
                (false, false) => IDLE,
                (false, true) => QUIET,
            };
            let work = self.engine.disk.take(&mut jobs, idle);
            marked = matches!(work, Work::Idle) && !full;
            match work {
                Work::Idle if marked => self.mark(),
                Work::Jobs | Work::Idle => self.round(&mut jobs),
                Work::Stop => break,
            }
        }
    }

    /// Takes what would wait too long for another's sync.
    fn other(&self) {
        let mut jobs = Vec::new();
        while let Work::Jobs = self.engine.disk.overtake(&mut jobs) {
            self.round(&mut jobs);
        }
    }

    fn round(&self, jobs: &mut Vec<AppendJob>) {
        let round_begun = Instant::now();
        let Some((number, commit)) = self.write(jobs) else {
            self.engine.disk.nothing_written();
            return;
        };
        self.engine.disk.written();
        let begun = Instant::now();
        let durable = commit.wait().unwrap_or_else(|error| die("sync", &error));
        self.engine.disk_figures.synced(begun.elapsed());
        self.pace.lock().round_took(micros(round_begun.elapsed()));
        if let Some(recorder) = &self.engine.recorder {
            recorder.synced(begun, durable);
        }
        self.tell_origins(number, durable);
        self.engine.run_all();
        self.engine.disk.ended();
    }

    /// Appends the jobs and begins their commit, if there is anything to commit.
    fn write(&self, jobs: &mut Vec<AppendJob>) -> Option<(u64, L::Commit)> {
        let desk = &mut *self.desk.lock();
        if !desk.parked.is_empty() {
            desk.retry_parked(&self.engine);
        }
        for job in jobs.drain(..) {
            desk.append(job, &self.engine);
        }
        if desk.written.is_empty() {
            return None;
        }
        desk.marked = false;
        desk.log.disk_is_quick(self.pace.lock().is_quick());
        let commit = desk.log.begin_commit();
        let commit = commit.unwrap_or_else(|error| die("write", &error));
        let mut commits = self.commits.lock();
        let written = std::mem::replace(&mut desk.written, commits.list());
        self.engine.disk_figures.grouped(written.len() as u64);
        Some((commits.begin(written), commit))
    }

    /// Commit `number` has ended: it is told of now, or by the thread that ends the oldest one under way.
    fn tell_origins(&self, number: u64, durable: Position) {
        // Held until all are told, so that nobody is told of a later one first.
        let mut commits = self.commits.lock();
        commits.ended(number, durable);
        while let Some((durable, written)) = commits.next_ended() {
            self.engine.progress.committed(durable);
            for &(share, base, end) in &written {
                self.engine.committed(share, base, end);
            }
            commits.take_back(written);
        }
    }

    fn mark(&self) {
        let desk = &mut *self.desk.lock();
        if !desk.marked {
            desk.marked = true;
            desk.log.idle().unwrap_or_else(|error| die("write", &error));
        }
        self.engine.disk.nothing_written();
    }
}

impl<L: CommitLog> Desk<L> {
    fn append(&mut self, mut job: AppendJob, engine: &Engine) {
        if job.lane == Lane::Publish && !self.parked.is_empty() {
            self.parked.push(job);
            return;
        }
        let bytes = job.frames.bytes() as u64;
        let appended = match job.lane {
            Lane::Publish => self.log.append(&mut job.frames),
            Lane::Settle => self.log.append_reserved(&mut job.frames),
        };
        match appended {
            Ok(base) => self.appended(&job, (base, bytes), engine),
            Err(AppendError::Full) => self.park(job, engine),
            Err(error) => die("write", &error),
        }
    }

    fn appended(&mut self, job: &AppendJob, (base, bytes): (Position, u64), engine: &Engine) {
        let end = self.log.appended();
        engine.progress.appended(end, bytes);
        self.written
            .extend(job.shares.iter().map(|share| (*share, base, end)));
    }

    /// The disk is full: publishers are blocked, nothing of this is confirmed, and it is tried again when there is room.
    fn park(&mut self, job: AppendJob, engine: &Engine) {
        engine.log_is_full.store(true, Ordering::Release);
        if engine.raise(Resource::Disk, true) {
            tracing::error!(
                "the disk is full, or no more files can be opened: publishers are blocked until there is room again, consumers go on"
            );
        }
        self.parked.push(job);
    }

    fn retry_parked(&mut self, engine: &Engine) {
        let parked = std::mem::take(&mut self.parked);
        for job in parked {
            self.append(job, engine);
        }
        if self.parked.is_empty() {
            tracing::info!("the disk has room again: everything that waited is being written");
            engine.log_is_full.store(false, Ordering::Release);
        }
    }

    fn close(self) {
        let jobs_left = self.parked.len();
        if jobs_left > 0 {
            tracing::warn!(
                jobs_left,
                "the disk is full: what waited for room was never confirmed, and is not kept"
            );
        }
        if let Err(error) = self.log.close() {
            tracing::error!(%error, "the log could not be closed cleanly; the next start recovers it");
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Ends the process: nothing may be confirmed any more.
pub(crate) fn die(what: &str, error: &dyn std::fmt::Display) -> ! {
    abort_soon();
    tracing::error!(
        "the {what} of the log failed: {error}. Everack stops now, so that nothing is confirmed that may not be on disk; \
         check the disk and start again, what was confirmed is recovered from the log"
    );
    std::process::abort()
}

impl Engine {
    fn committed(&self, share: Share, base: Position, end: Position) {
        let job = share.job;
        match share.origin {
            Origin::Partition(partition) => {
                self.partitions[usize::from(partition.0)].post(Request::Committed { job, base, end });
            }
            Origin::Catalog => self.catalog.post(CatalogRequest::Committed { job, end }),
        }
    }
}
