//! What waits for its job to become durable.

use std::sync::Arc;

use everack_broker::ids::{Location, PartitionId};
use everack_storage::Frames;

use super::admission::{Deadline, Reserved};
use super::numbering::Numbered;
use crate::append::JobId;
use crate::charge::Charge;
use crate::few::Few;
use crate::messages::Messages;
use crate::record::{self, Range, Target};
use crate::report::{Inquirer, Report};
use crate::request::{Order, Reply, RescueDone, Settle};
use crate::traces::TracedBatch;

/// A job on its way, and what it will bring about.
#[derive(Debug)]
pub(super) struct StagedJob {
    pub(super) job: JobId,
    pub(super) staged: Vec<Staged>,
}

/// One thing that takes effect when its job is durable. Offsets are within the job.
#[derive(Debug)]
pub(super) enum Staged {
    /// Messages of durable queues.
    Publish {
        offset: u32,
        targets: Few<Target>,
        messages: Messages,
        accept: Option<Accept>,
        extras: Option<Box<Extras>>,
    },
    /// Messages of transient queues that wait for their transaction.
    Transient {
        targets: Vec<Target>,
        messages: Messages,
        deadlines: Vec<Deadline>,
        traced: Option<TracedBatch>,
    },
    /// The rest of a transaction: its settlements, and who is told.
    TransactionEnd { settles: Vec<Settle>, reply: Reply },
    /// The rest of a move: what the queues of this partition are rid of, and what a publisher is charged until then.
    Moved {
        source: Vec<Range>,
        charge: Option<Arc<Charge>>,
        /// Who has ordered it; with the source.
        order: Option<Order>,
    },
    /// Whoever gave an order is told once it is durable.
    Told {
        inquirer: Arc<dyn Inquirer>,
        report: Report,
    },
    /// Survivors of an old segment, written again.
    Rescued {
        offset: u32,
        targets: Vec<Target>,
        /// With the last part of a record's survivors.
        done: Option<Arc<dyn RescueDone>>,
    },
}

/// What a publisher is owed once its messages are where they have to be.
#[derive(Debug)]
pub(super) struct Accept {
    pub(super) reply: Reply,
    pub(super) confirm: Option<u64>,
    pub(super) bytes: usize,
    /// Spans of the batch that a queue had no room for.
    pub(super) refused: Box<[(u16, u16)]>,
}

/// What only messages for queues with terms, with an expiration of their own, or that are followed, bring along.
#[derive(Debug)]
pub(super) struct Extras {
    pub(super) deadlines: Vec<Deadline>,
    pub(super) reserved: Vec<Reserved>,
    /// Those of the batch that are followed.
    pub(super) traced: Option<TracedBatch>,
}

impl Extras {
    pub(super) fn of(
        deadlines: Vec<Deadline>,
        reserved: Vec<Reserved>,
        traced: Option<TracedBatch>,
    ) -> Option<Box<Self>> {
        let any = !deadlines.is_empty() || !reserved.is_empty() || traced.is_some();
        any.then(|| {
            Box::new(Self {
                deadlines,
                reserved,
                traced,
            })
        })
    }
}

/// Where messages that are to enter queues are framed, and where they wait until that is durable.
pub(super) struct Framing<'a> {
    pub(super) partition: PartitionId,
    pub(super) transaction: Option<u64>,
    pub(super) frames: &'a mut Frames,
    pub(super) staged: &'a mut Vec<Staged>,
}

impl<'a> Framing<'a> {
    pub(super) fn within(
        frames: &'a mut Frames,
        staged: &'a mut Vec<Staged>,
        partition: PartitionId,
        transaction: Option<u64>,
    ) -> Self {
        Self {
            partition,
            transaction,
            frames,
            staged,
        }
    }

    /// Messages for durable queues, in as many records as it takes: their deadlines with the first, whom to tell with the
    /// last, who is followed with all.
    pub(super) fn enter(
        &mut self,
        messages: &Messages,
        targets: &[Target],
        mut accept: Option<Accept>,
        mut extras: Option<Box<Extras>>,
    ) {
        let mut pieces = record::pieces(targets).peekable();
        let traced = extras.as_ref().and_then(|extras| extras.traced.clone());
        while let Some(piece) = pieces.next() {
            let (partition, transaction) = (self.partition, self.transaction);
            let extras = extras
                .take()
                .or_else(|| Extras::of(Vec::new(), Vec::new(), traced.clone()));
            let deadlines = extras.as_ref().map_or(&[][..], |extras| &extras.deadlines);
            let offset =
                record::encode_entering(self.frames, partition, transaction, messages, piece, deadlines);
            let accept = if pieces.peek().is_none() {
                accept.take()
            } else {
                None
            };
            self.staged.push(Staged::Publish {
                offset,
                targets: piece.iter().copied().collect(),
                messages: messages.clone(),
                accept,
                extras,
            });
        }
    }

    /// All messages of a batch that have their numbers. Those for transient queues wait for the others.
    pub(super) fn enter_together(
        &mut self,
        messages: &Messages,
        numbered: Numbered,
        traced: Option<TracedBatch>,
    ) {
        let Numbered {
            durable,
            transient,
            deadlines,
            fleeting,
            reserved,
            ..
        } = numbered;
        let followed = traced.clone().filter(|_| !durable.is_empty());
        let extras = Extras::of(deadlines, reserved, followed);
        if !durable.is_empty() || extras.is_some() {
            self.enter(messages, &durable, None, extras);
        }
        if !transient.is_empty() {
            self.staged.push(Staged::Transient {
                targets: transient,
                messages: messages.clone(),
                deadlines: fleeting,
                traced,
            });
        }
    }
}

/// The record at `offset` of a share that begins at `base`.
pub(super) fn location(base: everack_storage::Position, offset: u32) -> Location {
    Location(base.0 + u64::from(offset))
}
