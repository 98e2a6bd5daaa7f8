//! How the known bugs of [`Flaw`] are put into a driver. Without a flaw everything in here hands on what it gets.

use std::cell::RefCell;

use bytes::Bytes;
use everack_broker::partition::Rules;
use everack_broker::terms::Overflow;
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
const EXPIRING: u8 = 8;
const COUNTED: u8 = 12;
const ASIDE: u8 = 13;

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
        (Flaw::ForgetsDeadConsumers, Request::Gone { .. })
        | (Flaw::StrandsMessages, Request::Keep { .. } | Request::Abandoned { .. })
        | (Flaw::LosesResumes, Request::Resume { .. }) => return None,
        (Flaw::DeliversBeyondPrefetch, Request::Consume(consume)) => {
            consume.prefetch = 0;
            consume.limit = None;
        }
        (_, Request::CreateQueue { rules, .. } | Request::Amend { rules, .. }) => bend(flaw, rules),
        _ => (),
    }
    Some(request)
}

/// Whether queues have other rules with this flaw.
pub(crate) fn bends(flaw: Flaw) -> bool {
    matches!(
        flaw,
        Flaw::DropsDeadLetters
            | Flaw::DropsNewest
            | Flaw::ExpiresEarly
            | Flaw::RefusesTooSoon
            | Flaw::ServesAll
            | Flaw::RetriesAtOnce
    )
}

/// What a queue would do with a flaw.
fn bend(flaw: Flaw, rules: &mut Rules) {
    let terms = &mut rules.terms;
    match flaw {
        Flaw::DropsDeadLetters => terms.dead_letters = false,
        Flaw::DropsNewest if !terms.dead_letters => terms.overflow = Overflow::RejectPublish,
        Flaw::ExpiresEarly => terms.message_ttl_millis = terms.message_ttl_millis.map(|ttl| ttl / 2),
        Flaw::RefusesTooSoon if terms.refuses() => {
            terms.messages_max = terms.messages_max.map(|max| max - 1);
        }
        Flaw::IgnoresPriorities => rules.ranks = None,
        Flaw::ServesAll => rules.single_active = None,
        Flaw::RetriesAtOnce => rules.retry = None,
        _ => (),
    }
}

/// Whether a node with this flaw writes other records than it should.
pub(crate) fn falsifies(flaw: Flaw) -> bool {
    matches!(
        flaw,
        Flaw::ForgetsDeadlines | Flaw::ForgetsFailures | Flaw::ForgetsParked | Flaw::MovesTwice
    )
}

/// A job as a node with this flaw writes it. Every record is as long as it was, as others are found by their distance.
pub(crate) fn falsified(flaw: Flaw, job: &mut AppendJob, is_move: bool) {
    let group = job.frames.group();
    let mut written = Frames::default();
    for (_, payload) in job.frames.payloads() {
        let mut record = group[payload].to_vec();
        let counts = if record[2] & 1 == 1 { 16 } else { 8 };
        match (flaw, record[0]) {
            // At the end of time.
            (Flaw::ForgetsDeadlines, EXPIRING) => {
                let deadlines = record[counts + 4..].chunks_exact_mut(28);
                deadlines.for_each(|deadline| deadline[20..].copy_from_slice(&(u64::MAX >> 8).to_le_bytes()));
            }
            // Handed out, and never failed.
            (Flaw::ForgetsFailures, COUNTED) => {
                let ranges = record[counts + 4..].chunks_exact_mut(26);
                ranges.for_each(|range| range[24..].fill(0));
            }
            // Back in the queue.
            (Flaw::ForgetsParked, ASIDE) => {
                let ranges = record[counts + 4..].chunks_exact_mut(29);
                ranges.for_each(|range| range[20] = 0);
            }
            // Nothing, from there on.
            (Flaw::MovesTwice, SETTLED) if is_move => {
                let ranges = record[counts + 4..].chunks_exact_mut(20);
                ranges.for_each(|range| range[16..].fill(0));
            }
            _ => (),
        }
        written.push(&record);
    }
    job.frames = written.into();
}

/// The transaction that a job closes.
pub(crate) fn transaction(job: &AppendJob) -> Option<u64> {
    let group = job.frames.group();
    let (_, last) = job.frames.payloads().last()?;
    let number = group[last.clone()].get(8..16)?.try_into().ok()?;
    (group[last.start] == WHOLE).then(|| u64::from_le_bytes(number))
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

/// The first record of a transaction of several, with an end of its own; of a move, that which says what has left. None for everything
/// else, and for one that has been torn already: that is marked by its lack of urgency.
pub(crate) fn first_part(job: &mut AppendJob, is_move: bool) -> Option<Frames> {
    let group = job.frames.group();
    let payloads: Vec<_> = job.frames.payloads().map(|(_, payload)| payload).collect();
    let mut payloads_of_part = payloads.iter();
    let first = payloads_of_part.find(|payload| !is_move || group[payload.start] == SETTLED)?;
    let last = payloads.last()?;
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
