//! What records say of messages that came back, or are set aside: states, not changes, so that whoever reads them twice knows the same.

use everack_broker::ids::{Millis, PartitionId, QueueId, Seq};
use everack_broker::partition::{Aside, Death};
use everack_storage::Frames;

use super::{Cursor, FORMAT_NONE, KIND_ASIDE, KIND_COUNTED, RecordError, frame, head, pieces};

/// Messages `first..first + count` of `queue` have been handed out and came back, so often by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The queue.
    pub queue: QueueId,
    /// The first message.
    pub first: Seq,
    /// How many.
    pub count: u32,
    /// How often each came back.
    pub deliveries: u32,
    /// How often that counts as a failure.
    pub failures: u16,
}

/// Messages `first..first + count` of `queue` are in this place from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The queue.
    pub queue: QueueId,
    /// The first message.
    pub first: Seq,
    /// How many.
    pub count: u32,
    /// Where they are set aside; none if they are back in their places, their failures forgotten.
    pub aside: Option<Aside>,
    /// Until when they are retained, or when they expire from here on.
    pub until: Option<Millis>,
}

/// What a range of counted messages takes.
const COUNTED_BYTES: usize = 26;
/// What a range of messages that are set aside takes.
const ASIDE_BYTES: usize = 29;
/// Stands for no time at all.
const NEVER: u64 = u64::MAX;

/// How records and checkpoints write a place.
pub fn aside_code(aside: Option<Aside>) -> u8 {
    match aside {
        None => 0,
        Some(Aside::Parked(Death::DeliveryLimit)) => 1,
        Some(Aside::Parked(Death::Rejected)) => 2,
        Some(Aside::Parked(Death::Expired)) => 3,
        Some(Aside::Parked(Death::Overflow)) => 4,
        Some(Aside::Retained) => 5,
        Some(Aside::Parked(Death::Due)) => 6,
    }
}

/// The place that is written so; none if there is no such place.
pub fn aside_of(code: u64) -> Option<Option<Aside>> {
    Some(match code {
        0 => None,
        1 => Some(Aside::Parked(Death::DeliveryLimit)),
        2 => Some(Aside::Parked(Death::Rejected)),
        3 => Some(Aside::Parked(Death::Expired)),
        4 => Some(Aside::Parked(Death::Overflow)),
        5 => Some(Aside::Retained),
        6 => Some(Aside::Parked(Death::Due)),
        _ => return None,
    })
}

impl Counted {
    /// Whether both are one range.
    pub(crate) fn is_followed_by(&self, next: &Self) -> bool {
        let end = self.first.plus(u64::from(self.count));
        let alike =
            (self.queue, self.deliveries, self.failures) == (next.queue, next.deliveries, next.failures);
        alike && end == next.first && self.count.checked_add(next.count).is_some()
    }
}

impl SetAside {
    /// Whether both are one range.
    pub(crate) fn is_followed_by(&self, next: &Self) -> bool {
        let end = self.first.plus(u64::from(self.count));
        let alike = (self.queue, self.aside, self.until) == (next.queue, next.aside, next.until);
        alike && end == next.first && self.count.checked_add(next.count).is_some()
    }
}

/// Frames how often messages came back.
pub fn encode_counted(frames: &mut Frames, partition: PartitionId, counted: &[Counted]) {
    for counted in pieces(counted) {
        frame(frames, |out| {
            head(out, KIND_COUNTED, FORMAT_NONE, partition, None);
            out.extend_from_slice(&(counted.len() as u32).to_le_bytes());
            for counted in counted {
                put_range(out, counted.queue, counted.first, counted.count);
                out.extend_from_slice(&counted.deliveries.to_le_bytes());
                out.extend_from_slice(&counted.failures.to_le_bytes());
            }
        });
    }
}

/// Frames which messages are set aside, or are so no more. The order counts.
pub fn encode_aside(frames: &mut Frames, partition: PartitionId, asides: &[SetAside]) {
    for asides in pieces(asides) {
        frame(frames, |out| {
            head(out, KIND_ASIDE, FORMAT_NONE, partition, None);
            out.extend_from_slice(&(asides.len() as u32).to_le_bytes());
            for aside in asides {
                put_range(out, aside.queue, aside.first, aside.count);
                out.push(aside_code(aside.aside));
                let until = aside.until.map_or(NEVER, |until| until.0);
                out.extend_from_slice(&until.to_le_bytes());
            }
        });
    }
}

fn put_range(out: &mut Vec<u8>, queue: QueueId, first: Seq, count: u32) {
    out.extend_from_slice(&queue.0.to_le_bytes());
    out.extend_from_slice(&first.0.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
}

/// The ranges of a Counted record.
pub(super) fn take_counted(cursor: &mut Cursor<'_>) -> Result<Vec<Counted>, RecordError> {
    let count = take_count(cursor, COUNTED_BYTES)?;
    let mut counted = Vec::with_capacity(count);
    for _ in 0..count {
        counted.push(Counted {
            queue: QueueId(cursor.u64()?),
            first: cursor.seq()?,
            count: cursor.u32()?,
            deliveries: cursor.u32()?,
            failures: cursor.u16()?,
        });
    }
    Ok(counted)
}

/// The ranges of an Aside record.
pub(super) fn take_asides(cursor: &mut Cursor<'_>) -> Result<Vec<SetAside>, RecordError> {
    let count = take_count(cursor, ASIDE_BYTES)?;
    let mut asides = Vec::with_capacity(count);
    for _ in 0..count {
        let (queue, first, count) = (QueueId(cursor.u64()?), cursor.seq()?, cursor.u32()?);
        let [code] = cursor.array()?;
        let until = cursor.u64()?;
        asides.push(SetAside {
            queue,
            first,
            count,
            aside: aside_of(u64::from(code)).ok_or(RecordError::Malformed)?,
            until: (until != NEVER).then_some(Millis(until)),
        });
    }
    Ok(asides)
}

fn take_count(cursor: &mut Cursor<'_>, each_bytes: usize) -> Result<usize, RecordError> {
    let count = cursor.u32()? as usize;
    if count > cursor.rest().len() / each_bytes {
        return Err(RecordError::Malformed);
    }
    Ok(count)
}
