//! The one thread that writes and syncs the log: group commit.
//!
//! ```text
//! take all jobs ──> append each ──> one fdatasync ──> tell every origin what is durable ──> run the partitions inline
//! ```
//!
//! An error of a write or a sync ends the process before a wrong confirm can leave it: the kernel may have dropped the
//! dirty pages, so a second sync that succeeds proves nothing. What was confirmed is in the log; the next start recovers it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everack_cluster::CommitLog;
use everack_node::alarms::Resource;
use everack_node::append::{AppendJob, Lane, Origin, Share};
use everack_node::catalog_service::CatalogRequest;
use everack_node::request::Request;
use everack_storage::{AppendError, Position};

use super::Engine;
use super::disk_queue::Work;

/// How long the thread waits before it looks whether a full disk has room again.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// How long without work before the log is marked as quiet.
const IDLE: Duration = Duration::from_secs(1);

/// See the module documentation.
pub(crate) struct DiskThread<L> {
    log: L,
    engine: Arc<Engine>,
    /// Jobs that found the disk full, in their order.
    parked: Vec<AppendJob>,
    committed: Vec<(Share, Position, Position)>,
    marked: bool,
}

impl<L: CommitLog> DiskThread<L> {
    pub(crate) fn new(log: L, engine: Arc<Engine>) -> Self {
        Self {
            log,
            engine,
            parked: Vec::new(),
            committed: Vec::new(),
            marked: true,
        }
    }

    /// Works until the queue is stopped, then closes the log politely.
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::new();
        loop {
            let idle = if self.parked.is_empty() { IDLE } else { FULL_RETRY };
            match self.engine.disk.take(&mut jobs, idle) {
                Work::Jobs => self.round(&mut jobs),
                Work::Idle if self.parked.is_empty() => self.mark(),
                Work::Idle => self.round(&mut jobs),
                Work::Stop => break,
            }
        }
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

    fn round(&mut self, jobs: &mut Vec<AppendJob>) {
        let full = !self.parked.is_empty();
        if full {
            self.retry_parked();
        }
        for job in jobs.drain(..) {
            self.append(job);
        }
        if self.committed.is_empty() {
            return;
        }
        let durable = self.log.commit().unwrap_or_else(|error| die("sync", &error));
        self.marked = false;
        self.engine.progress.committed(durable);
        self.tell_origins();
    }

    fn append(&mut self, mut job: AppendJob) {
        if job.lane == Lane::Publish && !self.parked.is_empty() {
            self.parked.push(job);
            return;
        }
        let appended = match job.lane {
            Lane::Publish => self.log.append(&mut job.frames),
            Lane::Settle => self.log.append_reserved(&mut job.frames),
        };
        match appended {
            Ok(base) => self.appended(&job, base),
            Err(AppendError::Full) => self.park(job),
            Err(error) => die("write", &error),
        }
    }

    fn appended(&mut self, job: &AppendJob, base: Position) {
        let end = self.log.appended();
        self.engine.progress.appended(end, job.frames.bytes() as u64);
        self.committed
            .extend(job.shares.iter().map(|share| (*share, base, end)));
    }

    /// The disk is full: publishers are blocked, nothing of this is confirmed, and it is tried again when there is room.
    fn park(&mut self, job: AppendJob) {
        self.engine.log_is_full.store(true, Ordering::Release);
        if self.engine.raise(Resource::Disk, true) {
            tracing::error!(
                "the disk is full: publishers are blocked until there is room again, consumers go on"
            );
        }
        self.parked.push(job);
    }

    fn retry_parked(&mut self) {
        let parked = std::mem::take(&mut self.parked);
        for job in parked {
            self.append(job);
        }
        if self.parked.is_empty() {
            tracing::info!("the disk has room again: everything that waited is being written");
            self.engine.log_is_full.store(false, Ordering::Release);
        }
    }

    fn tell_origins(&mut self) {
        for (share, base, end) in self.committed.drain(..) {
            self.engine.committed(share, base, end);
        }
        self.engine.run_all();
    }

    fn mark(&mut self) {
        if !self.marked {
            self.marked = true;
            self.log.idle().unwrap_or_else(|error| die("write", &error));
        }
    }
}

/// Ends the process: nothing may be confirmed any more.
fn die(what: &str, error: &dyn std::fmt::Display) -> ! {
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
