//! How the known bugs of [`Flaw`] are put into a driver. Without a flaw everything in here hands on what it gets.

use std::cell::RefCell;

use bytes::Bytes;
use everack_node::append::{AppendJob, JobId, Origin, Share};
use everack_node::opening::{Opened, Plan};
use everack_node::partition::Partition;
use everack_node::recall::{ReadRecord, Recall};
use everack_node::request::Request;
use everack_node::shared::Shared;
use everack_storage::{Frames, Maintenance, Position, ReadError, Reader};
use std::sync::Arc;

use crate::disk::Watched;
use crate::flaw::Flaw;

/// Kinds of records (`everack_node::record`): settlements, survivors, the end of a transaction.
const SETTLED: u8 = 2;
pub(crate) const MOVED: u8 = 4;
const WHOLE: u8 = 6;

/// What recovery gives back, as a node with this flaw would have it.
pub(crate) fn opened(mut opened: Opened<Watched>, plan: &Plan, flaw: Flaw) -> Opened<Watched> {
    match flaw {
        Flaw::ReusesTransactionNumbers => {
            let snapshot = opened.catalog.catalog().snapshot();
            opened.shared = Arc::new(Shared::new(snapshot, plan.name_key, 0));
        }
        Flaw::TurnsBits => opened.recall = Arc::new(Recall::new(Box::new(TurnedBits(opened.reader.clone())))),
        _ => (),
    }
    opened
}

struct TurnedBits(Reader<Watched>);

impl ReadRecord for TurnedBits {
    fn read(&self, position: Position) -> Result<Bytes, ReadError> {
        let mut bytes = self.0.read(position, 4096)?.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 4;
        }
        Ok(bytes.into())
    }
}

/// A request on its way to its partition; none if it is lost there.
pub(crate) fn request(flaw: Flaw, mut request: Request) -> Option<Request> {
    match (flaw, &mut request) {
        (Flaw::ForgetsDeadConsumers, Request::Gone { .. }) => return None,
        (Flaw::DeliversBeyondPrefetch, Request::Consume(consume)) => {
            consume.prefetch = 0;
            consume.limit = None;
        }
        _ => (),
    }
    Some(request)
}

/// Retires every segment without live messages, whatever the last checkpoint says.
pub(crate) fn retire_early(maintenance: &Maintenance<Watched>, partitions: &[RefCell<Partition>]) {
    let segments = maintenance.segments().into_iter();
    for segment in segments.filter(|segment| !segment.active) {
        let live = |partition: &RefCell<Partition>| {
            let usage = partition.borrow_mut().space().usage(segment.number.0);
            usage.messages
        };
        if partitions.iter().map(live).sum::<u64>() == 0 {
            // The disk may crash here as anywhere.
            let _ = maintenance.retire(segment.number);
        }
    }
}

/// The kinds of a job's records.
pub(crate) fn kinds(job: &AppendJob) -> impl Iterator<Item = u8> + '_ {
    let group = job.frames.group();
    job.frames
        .payloads()
        .map(move |(_, payload)| group[payload.start])
}

/// Whether a job holds nothing but settlements.
pub(crate) fn only_settles(job: &AppendJob) -> bool {
    kinds(job).all(|kind| kind == SETTLED)
}

/// The first record of a transaction of several, with an end of its own. None for everything else, and for one that has been torn already:
/// that is marked by its lack of urgency.
pub(crate) fn first_part(job: &mut AppendJob) -> Option<Frames> {
    let group = job.frames.group();
    let payloads: Vec<_> = job.frames.payloads().map(|(_, payload)| payload).collect();
    let (first, last) = (payloads.first()?, payloads.last()?);
    if group[last.start] != WHOLE || payloads.len() < 3 || !job.urgent {
        return None;
    }
    let mut part = Frames::default();
    part.push(&group[first.clone()]);
    part.push(&group[last.clone()]);
    job.urgent = false;
    Some(part)
}

/// Stands for a write that nobody asked for and nobody is told of.
pub(crate) fn nobody(end: Position) -> (Share, Position, Position) {
    let share = Share {
        origin: Origin::Catalog,
        job: JobId(u64::MAX),
    };
    (share, end, end)
}

/// Whether this is [`nobody`]'s share.
pub(crate) fn is_nobody(share: Share) -> bool {
    share.job == JobId(u64::MAX)
}
