//! What a checkpoint takes of a partition, a slice at a time, while messages flow.
//!
//! A queue's image names the position from which on the log says what has changed since. Numbers beyond the cut are left to the log;
//! what is settled or moved between two slices is in the log as well, and replaying it twice changes nothing.

use everack_broker::ids::{QueueId, Seq};
use everack_broker::partition::{Kept, LiveRun};
use everack_storage::Position;

use super::Partition;

/// Where a queue was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The queue.
    pub queue: QueueId,
    /// The number that its next message would get.
    pub next: Seq,
    /// Records of this queue before this position are part of the image.
    pub applied: Position,
}

impl Partition {
    /// The durable queues.
    pub fn durable_queues(&self) -> Vec<QueueId> {
        let durable = self.queues.iter().filter(|(_, stage)| stage.durable);
        durable.map(|(queue, _)| *queue).collect()
    }

    /// Everything of this partition before this position has taken effect; `committed` is how far the log is durable, looked at before.
    pub fn applied(&self, committed: Position) -> Position {
        // Without jobs on their way everything that this partition has written so far has taken effect.
        if self.jobs.is_empty() {
            committed.max(self.applied)
        } else {
            self.applied
        }
    }

    /// Begins the image of a queue; `committed` is how far the log is durable. None if the queue is gone.
    pub fn cut(&self, queue: QueueId, committed: Position) -> Option<Cut> {
        let stage = self.queues.get(&queue)?;
        let applied = self.applied(committed);
        Some(Cut {
            queue,
            next: stage.next,
            applied,
        })
    }

    /// What is kept of `cut`'s queue besides its runs, for messages from `first` up to where the next slice begins.
    pub fn kept(&self, cut: Cut, first: Seq, next: Option<Seq>) -> Kept {
        self.machine.kept(cut.queue, first, next.unwrap_or(cut.next))
    }

    /// Live runs of `cut`'s queue from `first` on; returns where to go on.
    pub fn slice(&self, cut: Cut, first: Seq, runs_max: usize, runs: &mut Vec<LiveRun>) -> Option<Seq> {
        self.machine.live(cut.queue, first, cut.next, runs_max, runs)
    }
}
