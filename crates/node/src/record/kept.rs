//! What records say of messages that do not stay for ever: when they expire; and what they say of sizes, for queues that count bytes.

use everack_broker::ids::{Millis, PartitionId, QueueId};
use everack_storage::Frames;

use super::{
    Cursor, FORMAT_NONE, KIND_EXPIRING, Placement, RecordError, Target, encode_placed, frame, head, pieces,
    take_addresses, take_head, take_targets,
};
use crate::messages::Messages;
use crate::partition::admission::Deadline;

/// What a deadline takes.
pub const DEADLINE_BYTES: usize = 28;

/// Frames messages that enter queues, and in front of them when they expire, so that a torn end never leaves one without its deadline.
/// Returns the offset of their record; 0 if they enter none. There may be [`super::ITEMS_MAX`] targets.
pub fn encode_entering(
    frames: &mut Frames,
    partition: PartitionId,
    transaction: Option<u64>,
    messages: &Messages,
    targets: &[Target],
    deadlines: &[Deadline],
) -> u32 {
    if !deadlines.is_empty() {
        encode_expiring(frames, partition, transaction, deadlines);
    }
    if targets.is_empty() {
        return 0;
    }
    encode_placed(
        frames,
        Placement::Enqueued,
        partition,
        transaction,
        messages,
        targets,
    )
}

/// Frames when messages expire; more than [`super::ITEMS_MAX`] deadlines become several records.
pub fn encode_expiring(
    frames: &mut Frames,
    partition: PartitionId,
    transaction: Option<u64>,
    deadlines: &[Deadline],
) {
    for deadlines in pieces(deadlines) {
        frame(frames, |out| {
            head(out, KIND_EXPIRING, FORMAT_NONE, partition, transaction);
            out.extend_from_slice(&(deadlines.len() as u32).to_le_bytes());
            for deadline in deadlines {
                out.extend_from_slice(&deadline.queue.0.to_le_bytes());
                out.extend_from_slice(&deadline.first.0.to_le_bytes());
                out.extend_from_slice(&deadline.count.to_le_bytes());
                out.extend_from_slice(&deadline.at.0.to_le_bytes());
            }
        });
    }
}

/// The ranges of an Expiring record.
pub(super) fn take_deadlines(cursor: &mut Cursor<'_>) -> Result<Vec<Deadline>, RecordError> {
    let count = cursor.u32()? as usize;
    if count > cursor.rest().len() / DEADLINE_BYTES {
        return Err(RecordError::Malformed);
    }
    let mut deadlines = Vec::with_capacity(count);
    for _ in 0..count {
        deadlines.push(Deadline {
            queue: QueueId(cursor.u64()?),
            first: cursor.seq()?,
            count: cursor.u32()?,
            at: Millis(cursor.u64()?),
        });
    }
    Ok(deadlines)
}

/// Bytes of the entries `from..to` of an Enqueued or Moved record, one by one: of their bodies, or of all that they take.
///
/// # Errors
/// A record whose fields do not add up.
pub fn sizes(payload: &[u8], from: u16, to: u16, all: bool) -> Result<Vec<u32>, RecordError> {
    let mut cursor = Cursor {
        bytes: payload,
        at: 0,
    };
    take_head(&mut cursor)?;
    take_targets(&mut cursor)?;
    let (groups, addresses) = take_addresses(&mut cursor)?;
    let entries = cursor.u16()?;
    if from > to || to > entries {
        return Err(RecordError::Malformed);
    }
    let mut sizes = Vec::with_capacity(usize::from(to - from));
    for index in 0..to {
        let (header, body) = (cursor.varint()?, cursor.varint()?);
        cursor.varint()?;
        if index >= from {
            sizes.push(if all { header.saturating_add(body) } else { body });
        }
    }
    let groups = groups.iter().zip(&addresses).filter(|_| all);
    for (group, &(_, address)) in groups {
        for index in group.from.max(from)..group.to.min(to) {
            let size: &mut u32 = &mut sizes[usize::from(index - from)];
            *size = size.saturating_add(u32::from(address));
        }
    }
    Ok(sizes)
}
