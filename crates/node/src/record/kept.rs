//! What records say of messages that do not stay for ever: when they expire; and what they say of sizes, for queues that count bytes.

use everack_broker::ids::{Millis, PartitionId, QueueId};
use everack_storage::Frames;

use super::{
    Cursor, FORMAT_NONE, KIND_EXPIRING, RecordError, frame, head, skip_addresses, take_head, take_targets,
};
use crate::partition::admission::Deadline;

/// What a deadline takes.
const DEADLINE_BYTES: usize = 28;

/// Frames when messages expire.
pub fn encode_expiring(
    frames: &mut Frames,
    partition: PartitionId,
    transaction: Option<u64>,
    deadlines: &[Deadline],
) {
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

/// Bytes of the bodies of entries `from..to` of an Enqueued or Moved record, one by one.
pub fn body_sizes(payload: &[u8], from: u16, to: u16) -> Result<Vec<u32>, RecordError> {
    let mut cursor = Cursor {
        bytes: payload,
        at: 0,
    };
    take_head(&mut cursor)?;
    take_targets(&mut cursor)?;
    skip_addresses(&mut cursor)?;
    let entries = cursor.u16()?;
    if from > to || to > entries {
        return Err(RecordError::Malformed);
    }
    let mut sizes = Vec::with_capacity(usize::from(to - from));
    for index in 0..to {
        cursor.varint()?;
        let body = cursor.varint()?;
        cursor.varint()?;
        if index >= from {
            sizes.push(body);
        }
    }
    Ok(sizes)
}
