//! What a round leaves for the log, and when it is handed out: one job a round, or several if it is much.

use everack_broker::ids::PartitionId;
use everack_storage::Frames;

use super::Partition;
use super::staged::{Staged, StagedJob};
use crate::append::{AppendJob, JobId, Lane, Origin, Share};
use crate::few::Few;
use crate::outbox::Outbox;
use crate::record::{self, Range};

/// A job that has grown beyond this is handed out before the round ends; one segment has to hold it, and the log takes up to
/// 1 GiB at once.
pub(super) const JOB_BYTES_MAX: usize = 32 << 20;

/// How ranges of one kind are framed.
type Encode = fn(&mut Frames, PartitionId, &[Range]);

impl Partition {
    pub(super) fn next_job(&mut self) -> JobId {
        let job = self.job_next;
        self.job_next = JobId(job.0 + 1);
        job
    }

    /// Closes this round's job, if it has anything for the log.
    pub(super) fn seal_job(&mut self, outbox: &mut Outbox) {
        if !self.settled.is_empty() {
            let encode: Encode = |frames, id, ranges| record::encode_settled(frames, id, None, ranges);
            self.frame_ranges(|partition| &mut partition.settled, encode, outbox);
        }
        if !self.rejected.is_empty() {
            let encode: Encode = |frames, id, ranges| record::encode_rejected(frames, id, None, ranges);
            self.frame_ranges(|partition| &mut partition.rejected, encode, outbox);
        }
        self.frame_returns();
        if !self.quarantined.is_empty() {
            let encode = record::encode_quarantined;
            self.frame_ranges(|partition| &mut partition.quarantined, encode, outbox);
        }
        self.hand_out(outbox);
    }

    /// How often messages came back, then what is set aside or is so no more: whoever would write it the other way round calls this
    /// in between.
    pub(super) fn frame_returns(&mut self) {
        if !self.counted.is_empty() {
            record::encode_counted(&mut self.frames, self.id, &self.counted);
            self.counted.clear();
        }
        if !self.asides.is_empty() {
            record::encode_aside(&mut self.frames, self.id, &self.asides);
            self.asides.clear();
        }
    }

    /// Frames all ranges of a list and empties it.
    fn frame_ranges(&mut self, list: fn(&mut Self) -> &mut Vec<Range>, encode: Encode, outbox: &mut Outbox) {
        let mut ranges = std::mem::take(list(self));
        for piece in record::pieces(&ranges) {
            self.hand_out_if_large(outbox);
            encode(&mut self.frames, self.id, piece);
        }
        ranges.clear();
        *list(self) = ranges;
    }

    /// Hands out what has been framed so far if it is as much as one job should have. Whoever is told of what this round does is
    /// told when the last of it is durable.
    pub(super) fn hand_out_if_large(&mut self, outbox: &mut Outbox) {
        if self.frames.bytes() > JOB_BYTES_MAX {
            let staged = std::mem::take(&mut self.staged).into_iter();
            let (told, staged) = staged.partition(|staged| matches!(staged, Staged::Told { .. }));
            self.staged = staged;
            self.hand_out(outbox);
            self.staged = told;
        }
    }

    fn hand_out(&mut self, outbox: &mut Outbox) {
        if self.frames.is_empty() {
            return;
        }
        let job = self.next_job();
        let lane = if self.urgent { Lane::Publish } else { Lane::Settle };
        outbox.jobs.push(AppendJob {
            frames: std::mem::replace(&mut self.frames, self.buffers.lend()),
            shares: Few::One(Share {
                origin: Origin::Partition(self.id),
                job,
            }),
            lane,
            urgent: std::mem::take(&mut self.urgent),
        });
        self.jobs.push_back(StagedJob {
            job,
            staged: std::mem::replace(&mut self.staged, self.staged_spares.pop().unwrap_or_default()),
        });
    }
}
