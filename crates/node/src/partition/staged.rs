//! What waits for its job to become durable.

use everack_broker::ids::Location;
use everack_broker::partition::SeqRange;

use super::admission::{Deadline, Reserved};
use crate::append::JobId;
use crate::messages::Messages;
use crate::record::{Range, Target};
use crate::report::{Inquirer, Report};
use crate::request::{Reply, RescueDone, Settle};
use std::sync::Arc;

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
        targets: Box<[Target]>,
        messages: Messages,
        accept: Option<Accept>,
        extras: Option<Box<Extras>>,
    },
    /// Messages of transient queues that wait for their transaction.
    Transient {
        targets: Vec<Target>,
        messages: Messages,
        deadlines: Vec<Deadline>,
    },
    /// The rest of a transaction: its settlements, the messages that its records say are done with, and who is told.
    TransactionEnd {
        settles: Vec<Settle>,
        settled: Vec<SeqRange>,
        reply: Reply,
    },
    /// The rest of a move: what the queues of this partition are rid of.
    Moved { source: Vec<Range> },
    /// Whoever gave an order is told once it is durable.
    Told {
        inquirer: Arc<dyn Inquirer>,
        report: Report,
    },
    /// Survivors of an old segment, written again.
    Rescued {
        offset: u32,
        targets: Vec<Target>,
        done: Arc<dyn RescueDone>,
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

/// What only messages for queues with terms, or with an expiration of their own, bring along.
#[derive(Debug)]
pub(super) struct Extras {
    pub(super) deadlines: Vec<Deadline>,
    pub(super) reserved: Vec<Reserved>,
}

impl Extras {
    pub(super) fn of(deadlines: Vec<Deadline>, reserved: Vec<Reserved>) -> Option<Box<Self>> {
        let any = !deadlines.is_empty() || !reserved.is_empty();
        any.then(|| Box::new(Self { deadlines, reserved }))
    }
}

/// The record at `offset` of a share that begins at `base`.
pub(super) fn location(base: everack_storage::Position, offset: u32) -> Location {
    Location(base.0 + u64::from(offset))
}
