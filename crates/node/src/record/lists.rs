//! Records that are lists: ranges of messages of which something is said, and facts of the topology. What is too long for one record
//! goes into several.

use everack_broker::catalog::Fact;
use everack_broker::ids::PartitionId;
use everack_storage::Frames;

use super::{
    FORMAT_NONE, ITEMS_MAX, KIND_FAILED, KIND_PARKED, KIND_QUARANTINED, KIND_REJECTED, KIND_RETURNED,
    KIND_SETTLED, KIND_TOPOLOGY, KIND_UNPARKED, Range, frame, head, put_varint,
};

/// Facts of the topology that are beyond this, in bytes, go into a further record.
const TOPOLOGY_BYTES: usize = 16 << 20;

/// These in pieces of which each fits a record; one piece if there are none.
pub fn pieces<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = Some(items);
    std::iter::from_fn(move || {
        let (piece, more) = rest?.split_at_checked(ITEMS_MAX).unwrap_or((rest?, &[]));
        rest = Some(more).filter(|more| !more.is_empty());
        Some(piece)
    })
}

/// Frames ranges of settled messages. As all that frames ranges: more than [`ITEMS_MAX`] of them become several records.
pub fn encode_settled(
    frames: &mut Frames,
    partition: PartitionId,
    transaction: Option<u64>,
    ranges: &[Range],
) {
    encode_ranges(frames, KIND_SETTLED, partition, transaction, ranges);
}

/// Frames ranges of returned messages. As earlier builds did, for tests of what is read.
pub fn encode_returned(frames: &mut Frames, partition: PartitionId, ranges: &[Range]) {
    encode_ranges(frames, KIND_RETURNED, partition, None, ranges);
}

/// Frames ranges of messages that were returned, and that counts as a failed delivery. As earlier builds did, for tests of what is read.
pub fn encode_failed(frames: &mut Frames, partition: PartitionId, ranges: &[Range]) {
    encode_ranges(frames, KIND_FAILED, partition, None, ranges);
}

/// Frames ranges of messages that are parked. As earlier builds did, for tests of what is read.
pub fn encode_parked(frames: &mut Frames, partition: PartitionId, ranges: &[Range]) {
    encode_ranges(frames, KIND_PARKED, partition, None, ranges);
}

/// Frames ranges of messages that are parked no more. As earlier builds did, for tests of what is read.
pub fn encode_unparked(frames: &mut Frames, partition: PartitionId, ranges: &[Range]) {
    encode_ranges(frames, KIND_UNPARKED, partition, None, ranges);
}

/// Frames ranges of messages that were rejected and are not through the dead-letter exchange of their queue.
pub fn encode_rejected(
    frames: &mut Frames,
    partition: PartitionId,
    transaction: Option<u64>,
    ranges: &[Range],
) {
    encode_ranges(frames, KIND_REJECTED, partition, transaction, ranges);
}

/// Frames ranges of messages whose content cannot be read.
pub fn encode_quarantined(frames: &mut Frames, partition: PartitionId, ranges: &[Range]) {
    encode_ranges(frames, KIND_QUARANTINED, partition, None, ranges);
}

fn encode_ranges(
    frames: &mut Frames,
    kind: u8,
    partition: PartitionId,
    transaction: Option<u64>,
    ranges: &[Range],
) {
    for ranges in pieces(ranges) {
        frame(frames, |out| {
            head(out, kind, FORMAT_NONE, partition, transaction);
            out.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
            for range in ranges {
                out.extend_from_slice(&range.queue.0.to_le_bytes());
                out.extend_from_slice(&range.first.0.to_le_bytes());
                out.extend_from_slice(&range.count.to_le_bytes());
            }
        });
    }
}

/// The most bytes of facts that stand or fall together: half of what a record holds.
pub const WHOLE_BYTES_MAX: usize = 128 << 20;

/// Facts that stand or fall together, as one list of postcard; none if they are too many for one record.
pub fn pack_whole(facts: &[Fact]) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    put_varint(&mut packed, u32::try_from(facts.len()).ok()?);
    for fact in facts {
        packed = postcard::to_extend(fact, packed).expect("facts are plain data");
        if packed.len() > WHOLE_BYTES_MAX {
            return None;
        }
    }
    Some(packed)
}

/// Frames what [`pack_whole`] or [`pack_facts`] has packed, as one record.
pub fn encode_packed(frames: &mut Frames, packed: &[u8]) {
    frame(frames, |out| {
        head(out, KIND_TOPOLOGY, FORMAT_NONE, PartitionId(0), None);
        out.extend_from_slice(packed);
    });
}

/// Frames changes of the topology. Very many become several records: should the last of them be torn off, those before count, and
/// nobody has been told of any.
pub fn encode_topology(frames: &mut Frames, facts: &[Fact]) {
    for facts in pack_facts(facts) {
        encode_packed(frames, &facts);
    }
}

/// Facts as lists of postcard, each of some 16 MiB at the most.
pub fn pack_facts(facts: &[Fact]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = facts;
    std::iter::from_fn(move || {
        let (all, mut packed) = (rest, Vec::new());
        while let Some((fact, others)) = rest.split_first().filter(|_| packed.len() < TOPOLOGY_BYTES) {
            packed = postcard::to_extend(fact, packed).expect("facts are plain data");
            rest = others;
        }
        let count = all.len() - rest.len();
        let mut list = Vec::with_capacity(packed.len() + 5);
        // As postcard begins a list.
        put_varint(&mut list, count as u32);
        list.append(&mut packed);
        (count > 0).then_some(list)
    })
}
