//! The facts that a node writes to its log, byte by byte. All integers are little endian; `varint` is unsigned LEB128.
//!
//! ```text
//! head          kind u8 | version u8 = 1 | flags u8 | format u8 | partition u16 | zero u16 | [transaction u64 if flags & 1]
//!
//! 1 Enqueued    head | targets | addresses | entries | data     messages entered queues (format 1 = AMQP 0-9-1 content)
//! 2 Settled     head | count u32 | count x (queue u64 | first u64 | count u32)         done with, or discarded by order
//! 3 Returned    head | count u32 | count x (queue u64 | first u64 | count u32)         handed out and came back
//! 4 Moved       as Enqueued: survivors of a segment that is to go, under the numbers they have had all along
//! 5 Topology    head | postcard of Vec<broker::catalog::Fact>
//! 6 Whole       head with transaction: every record of that transaction has been read, it counts
//! 7 Quarantined head | count u32 | count x (queue u64 | first u64 | count u32)         unreadable content, set aside
//! 8 Expiring    head | count u32 | count x (queue u64 | first u64 | count u32 | at u64) they expire at this time, in
//!                                                                                      milliseconds since 1970
//! 9 Failed      as Returned: and that counts as a failed delivery
//! 10 Parked     as Returned: failed too often, set aside within the queue
//! 11 Unparked   as Returned: back from there, failures forgotten
//! 12 Counted    head | count u32 | count x (queue u64 | first u64 | count u32 | deliveries u32 | failures u16)
//!                                                          handed out and came back: so often by now
//! 13 Aside      head | count u32 | count x (queue u64 | first u64 | count u32 | place u8 | until u64)
//!                                                          set aside, or back again: see [`aside`]
//!               place 0 back, failures forgotten; parked since: 1 delivered too often, 2 rejected, 3 expired, 4 no room; 5 retained
//!               until, in milliseconds since 1970: retained, or expires; 2^64-1 never
//! 14 Rejected   as Settled, but not yet: rejected by a client, and to go through the dead-letter exchange of their queue
//!
//! 3, 9, 10 and 11 are read, and no longer written.
//!
//! targets       count u32 | count x (queue u64 | first u64 | from u16 | to u16)        entries from..to are first.. of queue
//! addresses     count u16 | count x (from u16 | to u16 | length u16 | exchange shortstr, routing key shortstr)
//! entries       count u16 | count x (varint header length | varint body length | varint flags)   header length 0: not stored
//! data          for each stored entry: header payload, body
//! ```
//!
//! A message's number (`first`) is explicit, so that a damaged record leaves a gap that can be named, and nothing behind it
//! shifts. Version 1 readers refuse other versions and kinds: a newer log is refused as a whole by the directory's identity.

mod aside;
mod kept;
mod lists;

use bytes::Bytes;
use everack_amqp::content::{Batch, Entry, Group, flags};
use everack_amqp::wire::frame::ContentHeader;
use everack_amqp::wire::properties::View;
use everack_broker::catalog::Fact;
use everack_broker::ids::{PartitionId, QueueId, Seq};
use everack_storage::Frames;

use crate::partition::admission::Deadline;
pub use aside::{Counted, SetAside, aside_code, aside_of, encode_aside, encode_counted};
pub use kept::{DEADLINE_BYTES, encode_entering, encode_expiring, sizes};
pub use lists::{
    WHOLE_BYTES_MAX, encode_failed, encode_packed, encode_parked, encode_quarantined, encode_rejected,
    encode_returned, encode_settled, encode_topology, encode_unparked, pack_facts, pack_whole, pieces,
};

const VERSION: u8 = 1;
const FLAG_TRANSACTION: u8 = 1;
const FORMAT_NONE: u8 = 0;
const FORMAT_AMQP_0_9_1: u8 = 1;

const KIND_ENQUEUED: u8 = 1;
const KIND_SETTLED: u8 = 2;
const KIND_RETURNED: u8 = 3;
const KIND_MOVED: u8 = 4;
const KIND_TOPOLOGY: u8 = 5;
const KIND_WHOLE: u8 = 6;
const KIND_QUARANTINED: u8 = 7;
const KIND_EXPIRING: u8 = 8;
const KIND_FAILED: u8 = 9;
const KIND_PARKED: u8 = 10;
const KIND_UNPARKED: u8 = 11;
const KIND_COUNTED: u8 = 12;
const KIND_ASIDE: u8 = 13;
const KIND_REJECTED: u8 = 14;

/// Entries `from..to` of a record are the messages `first..` of `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueId,
    /// The number of its first message here.
    pub first: Seq,
    /// The first entry.
    pub from: u16,
    /// The one behind the last entry.
    pub to: u16,
}

/// Messages `first..first + count` of `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The queue.
    pub queue: QueueId,
    /// The first message.
    pub first: Seq,
    /// How many.
    pub count: u32,
}

/// A decoded record, but for the messages themselves ([`decode_messages`]).
#[derive(Debug, PartialEq)]
pub struct Record {
    /// Whose it is; zero for the catalog.
    pub partition: PartitionId,
    /// The transaction that it is part of.
    pub transaction: Option<u64>,
    /// What it says.
    pub fact: RecordFact,
}

/// What a record says.
#[derive(Debug, PartialEq)]
pub enum RecordFact {
    /// Messages entered queues.
    Enqueued(Vec<Placed>),
    /// Survivors were written again.
    Moved(Vec<Placed>),
    /// Messages are done with.
    Settled(Vec<Range>),
    /// Messages were handed out and came back.
    Returned(Vec<Range>),
    /// Content could not be read and was set aside.
    Quarantined(Vec<Range>),
    /// Messages expire at a time. Stands before the messages themselves.
    Expiring(Vec<Deadline>),
    /// Messages were handed out and came back, and that was a failure.
    Failed(Vec<Range>),
    /// Messages have failed too often and are set aside within their queue.
    Parked(Vec<Range>),
    /// Parked messages are back in their places, their failures forgotten.
    Unparked(Vec<Range>),
    /// Messages were handed out and came back, so often by now.
    Counted(Vec<Counted>),
    /// Messages are set aside within their queue, or are back in their places.
    Aside(Vec<SetAside>),
    /// Messages were rejected: their queue has them until they are through its dead-letter exchange.
    Rejected(Vec<Range>),
    /// The topology changed.
    Topology(Vec<Fact>),
    /// The record's transaction is whole.
    Whole,
}

/// A target, and what its messages take on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which messages of which queue.
    pub target: Target,
    /// Their share of the record's bytes.
    pub bytes: u32,
}

/// Why a record with a good checksum cannot be understood: a bug, or a version of the format that this build does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record ends too early or carries an impossible length.
    #[error("the record's fields do not add up")]
    Malformed,
    /// Another kind or version than this build knows.
    #[error("a record of kind {kind}, version {version}: written by a newer Everack, upgrade to read it")]
    Unknown {
        /// The kind byte.
        kind: u8,
        /// The version byte.
        version: u8,
    },
}

/// Messages are numbered from 1 upwards: a number as large as this was never given to one, and arithmetic with it would fail.
pub const SEQ_END: u64 = 1 << 62;

/// Most targets of one record, and most ranges or deadlines: some 30 MiB of them. A record of both as many targets and the
/// largest message is still well below what the log takes ([`everack_storage`] refuses more than 256 MiB, and with it the process).
/// What is more goes into several records.
pub const ITEMS_MAX: usize = 1 << 20;

/// What a target takes.
pub const TARGET_BYTES: usize = 20;

/// What a range takes.
pub const RANGE_BYTES: usize = 20;

/// Bytes that a message takes in a record besides its header and body, rounded up: lengths and flags.
const ENTRY_OVERHEAD_BYTES: u64 = 6;

/// What entries `from..to` of `batch` are charged when `fanout` queues share them.
pub fn charged_bytes(batch: &Batch, from: u16, to: u16, fanout: u32) -> u32 {
    let count = u64::from(to - from);
    let bytes: u64 = batch.entries[usize::from(from)..usize::from(to)]
        .iter()
        .map(stored_bytes)
        .sum();
    u32::try_from((bytes / u64::from(fanout.max(1))).max(count)).unwrap_or(u32::MAX)
}

fn stored_bytes(entry: &Entry) -> u64 {
    u64::from(entry.header_len) + u64::from(entry.body_len) + ENTRY_OVERHEAD_BYTES
}

/// How many queues hold a message of the record on average, rounded up: the divisor of [`charged_bytes`].
pub fn fanout(targets: &[Target]) -> u32 {
    let references: u32 = targets
        .iter()
        .map(|target| u32::from(target.to - target.from))
        .sum();
    let from = targets.iter().map(|target| target.from).min().unwrap_or(0);
    let to = targets.iter().map(|target| target.to).max().unwrap_or(0);
    references.div_ceil(u32::from(to - from).max(1)).max(1)
}

/// What kind of placement [`encode_placed`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// They are new.
    Enqueued,
    /// They were there before, elsewhere.
    Moved,
}

/// Frames the messages of `batch` that `targets` name; returns the frame's offset within `frames`.
pub fn encode_placed(
    frames: &mut Frames,
    placement: Placement,
    partition: PartitionId,
    transaction: Option<u64>,
    batch: &Batch,
    targets: &[Target],
) -> u32 {
    let kind = if placement == Placement::Enqueued {
        KIND_ENQUEUED
    } else {
        KIND_MOVED
    };
    frame(frames, |out| {
        head(out, kind, FORMAT_AMQP_0_9_1, partition, transaction);
        put_targets(out, targets);
        let stored = Stored::of(batch, targets);
        put_addresses(out, batch, &stored);
        put_entries(out, batch, &stored);
    })
}

/// Which entries a record stores: all below `end`, or only the marked ones.
struct Stored {
    end: u16,
    marked: Option<Vec<bool>>,
}

impl Stored {
    fn of(batch: &Batch, targets: &[Target]) -> Self {
        let all = batch.entries.len() as u16;
        if targets.iter().any(|target| target.from == 0 && target.to == all) {
            return Self {
                end: all,
                marked: None,
            };
        }
        let end = targets.iter().map(|target| target.to).max().unwrap_or(0);
        let mut marked = vec![false; usize::from(end)];
        for target in targets {
            marked[usize::from(target.from)..usize::from(target.to)].fill(true);
        }
        Self {
            end,
            marked: Some(marked),
        }
    }

    fn has(&self, index: u16) -> bool {
        self.marked
            .as_ref()
            .is_none_or(|marked| marked[usize::from(index)])
    }
}

fn put_targets(out: &mut Vec<u8>, targets: &[Target]) {
    out.extend_from_slice(&(targets.len() as u32).to_le_bytes());
    for target in targets {
        out.extend_from_slice(&target.queue.0.to_le_bytes());
        out.extend_from_slice(&target.first.0.to_le_bytes());
        out.extend_from_slice(&target.from.to_le_bytes());
        out.extend_from_slice(&target.to.to_le_bytes());
    }
}

fn put_addresses(out: &mut Vec<u8>, batch: &Batch, stored: &Stored) {
    let groups = batch.groups.iter().filter(|group| group.from < stored.end);
    out.extend_from_slice(&(groups.clone().count() as u16).to_le_bytes());
    for group in groups {
        let address = batch.address(usize::from(group.from));
        out.extend_from_slice(&group.from.to_le_bytes());
        out.extend_from_slice(&group.to.min(stored.end).to_le_bytes());
        out.extend_from_slice(&(address.len() as u16).to_le_bytes());
        out.extend_from_slice(address);
    }
}

fn put_entries(out: &mut Vec<u8>, batch: &Batch, stored: &Stored) {
    out.extend_from_slice(&stored.end.to_le_bytes());
    let mut data_bytes = 0;
    for (index, entry) in batch.entries[..usize::from(stored.end)].iter().enumerate() {
        let kept = stored.has(index as u16);
        put_varint(out, if kept { entry.header_len } else { 0 });
        put_varint(out, if kept { entry.body_len } else { 0 });
        put_varint(out, if kept { u32::from(entry.flags) } else { 0 });
        data_bytes += if kept {
            (entry.header_len + entry.body_len) as usize
        } else {
            0
        };
    }
    out.reserve(data_bytes);
    for (index, entry) in batch.entries[..usize::from(stored.end)].iter().enumerate() {
        if stored.has(index as u16) {
            out.extend_from_slice(slice(&batch.chunk, entry.header_off, entry.header_len));
            out.extend_from_slice(slice(&batch.chunk, entry.body_off, entry.body_len));
        }
    }
}

fn slice(chunk: &[u8], from: u32, length: u32) -> &[u8] {
    &chunk[from as usize..from as usize + length as usize]
}

/// Frames the record that makes a transaction count.
pub fn encode_transaction_end(frames: &mut Frames, transaction: u64) {
    frame(frames, |out| {
        head(out, KIND_WHOLE, FORMAT_NONE, PartitionId(0), Some(transaction))
    });
}

fn frame(frames: &mut Frames, encode: impl FnOnce(&mut Vec<u8>)) -> u32 {
    let offset = frames.begin();
    encode(frames.buffer());
    frames.end();
    offset
}

fn head(out: &mut Vec<u8>, kind: u8, format: u8, partition: PartitionId, transaction: Option<u64>) {
    let flags = if transaction.is_some() {
        FLAG_TRANSACTION
    } else {
        0
    };
    out.extend_from_slice(&[kind, VERSION, flags, format]);
    out.extend_from_slice(&partition.0.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    if let Some(transaction) = transaction {
        out.extend_from_slice(&transaction.to_le_bytes());
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a record, without touching the messages' bytes.
pub fn decode(payload: &[u8]) -> Result<Record, RecordError> {
    let mut cursor = Cursor {
        bytes: payload,
        at: 0,
    };
    let (kind, partition, transaction) = take_head(&mut cursor)?;
    let fact = match kind {
        KIND_ENQUEUED => RecordFact::Enqueued(take_placed(&mut cursor)?),
        KIND_MOVED => RecordFact::Moved(take_placed(&mut cursor)?),
        KIND_SETTLED => RecordFact::Settled(take_ranges(&mut cursor)?),
        KIND_RETURNED => RecordFact::Returned(take_ranges(&mut cursor)?),
        KIND_QUARANTINED => RecordFact::Quarantined(take_ranges(&mut cursor)?),
        KIND_EXPIRING => RecordFact::Expiring(kept::take_deadlines(&mut cursor)?),
        KIND_FAILED => RecordFact::Failed(take_ranges(&mut cursor)?),
        KIND_PARKED => RecordFact::Parked(take_ranges(&mut cursor)?),
        KIND_UNPARKED => RecordFact::Unparked(take_ranges(&mut cursor)?),
        KIND_COUNTED => RecordFact::Counted(aside::take_counted(&mut cursor)?),
        KIND_ASIDE => RecordFact::Aside(aside::take_asides(&mut cursor)?),
        KIND_REJECTED => RecordFact::Rejected(take_ranges(&mut cursor)?),
        KIND_TOPOLOGY => {
            let facts = postcard::from_bytes(cursor.rest()).map_err(|_| RecordError::Malformed)?;
            RecordFact::Topology(facts)
        }
        KIND_WHOLE => RecordFact::Whole,
        kind => {
            return Err(RecordError::Unknown {
                kind,
                version: VERSION,
            });
        }
    };
    Ok(Record {
        partition,
        transaction,
        fact,
    })
}

fn take_head(cursor: &mut Cursor<'_>) -> Result<(u8, PartitionId, Option<u64>), RecordError> {
    let [kind, version, flags, _format] = cursor.array()?;
    if version != VERSION {
        return Err(RecordError::Unknown { kind, version });
    }
    let partition = PartitionId(cursor.u16()?);
    cursor.u16()?;
    let transaction = if flags & FLAG_TRANSACTION != 0 {
        Some(cursor.u64()?)
    } else {
        None
    };
    Ok((kind, partition, transaction))
}

fn take_ranges(cursor: &mut Cursor<'_>) -> Result<Vec<Range>, RecordError> {
    let count = cursor.u32()? as usize;
    if count > cursor.rest().len() / RANGE_BYTES {
        return Err(RecordError::Malformed);
    }
    let mut ranges = Vec::with_capacity(count);
    for _ in 0..count {
        let (queue, first, count) = (QueueId(cursor.u64()?), cursor.seq()?, cursor.u32()?);
        ranges.push(Range { queue, first, count });
    }
    Ok(ranges)
}

fn take_targets(cursor: &mut Cursor<'_>) -> Result<Vec<Target>, RecordError> {
    let count = cursor.u32()? as usize;
    if count > cursor.rest().len() / TARGET_BYTES {
        return Err(RecordError::Malformed);
    }
    let mut targets = Vec::with_capacity(count);
    for _ in 0..count {
        let target = Target {
            queue: QueueId(cursor.u64()?),
            first: cursor.seq()?,
            from: cursor.u16()?,
            to: cursor.u16()?,
        };
        if target.from >= target.to {
            return Err(RecordError::Malformed);
        }
        targets.push(target);
    }
    Ok(targets)
}

fn take_placed(cursor: &mut Cursor<'_>) -> Result<Vec<Placed>, RecordError> {
    let targets = take_targets(cursor)?;
    skip_addresses(cursor)?;
    let entries = usize::from(cursor.u16()?);
    // Sums of the stored bytes before each entry, so that each target's share costs one subtraction.
    let mut before = Vec::with_capacity(entries + 1);
    let mut sum = 0u64;
    before.push(0);
    for _ in 0..entries {
        let (header, body) = (cursor.varint()?, cursor.varint()?);
        cursor.varint()?;
        sum += u64::from(header) + u64::from(body) + ENTRY_OVERHEAD_BYTES;
        before.push(sum);
    }
    if targets.iter().any(|target| usize::from(target.to) > entries) {
        return Err(RecordError::Malformed);
    }
    let fanout = u64::from(fanout(&targets));
    Ok(targets
        .into_iter()
        .map(|target| {
            let (from, to) = (usize::from(target.from), usize::from(target.to));
            let share = ((before[to] - before[from]) / fanout).max((to - from) as u64);
            Placed {
                target,
                bytes: u32::try_from(share).unwrap_or(u32::MAX),
            }
        })
        .collect())
}

/// A cursor at the entries of an Enqueued or Moved record.
fn entries_of(payload: &[u8]) -> Result<Cursor<'_>, RecordError> {
    let mut cursor = Cursor {
        bytes: payload,
        at: 0,
    };
    take_head(&mut cursor)?;
    take_targets(&mut cursor)?;
    skip_addresses(&mut cursor)?;
    Ok(cursor)
}

fn skip_addresses(cursor: &mut Cursor<'_>) -> Result<(), RecordError> {
    for _ in 0..cursor.u16()? {
        cursor.u32()?;
        let length = usize::from(cursor.u16()?);
        cursor.take(length)?;
    }
    Ok(())
}

/// The priorities of an Enqueued record's messages, by the entries that have one.
///
/// # Errors
/// A record whose fields do not add up; properties that cannot be read are as if they were not there.
pub fn priorities(payload: &[u8]) -> Result<Vec<(u16, u8)>, RecordError> {
    let entries = take_entries(&mut entries_of(payload)?)?;
    let mut priorities = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.flags & flags::HAS_PRIORITY == 0 {
            continue;
        }
        let properties = slice(payload, entry.header_off, entry.header_len).get(ContentHeader::FIXED_BYTES..);
        let view = properties.and_then(|properties| View::parse(properties).ok());
        priorities.extend(view.and_then(|view| Some((index as u16, view.priority?))));
    }
    Ok(priorities)
}

/// Reads the messages of an Enqueued or Moved record; entries that the record does not store are empty.
pub fn decode_messages(payload: Bytes) -> Result<(Batch, Vec<Target>), RecordError> {
    let mut cursor = Cursor {
        bytes: &payload,
        at: 0,
    };
    let (kind, _, _) = take_head(&mut cursor)?;
    if kind != KIND_ENQUEUED && kind != KIND_MOVED {
        return Err(RecordError::Malformed);
    }
    let targets = take_targets(&mut cursor)?;
    let (groups, addresses) = take_addresses(&mut cursor)?;
    let mut entries = take_entries(&mut cursor)?;
    for (group, &(offset, length)) in groups.iter().zip(&addresses) {
        let span = usize::from(group.from)..usize::from(group.to);
        for entry in entries.get_mut(span).ok_or(RecordError::Malformed)? {
            (entry.address_off, entry.address_len) = (offset, length);
        }
    }
    let batch = Batch::from_stored(payload.clone(), entries.into(), groups.into())
        .map_err(|_| RecordError::Malformed)?;
    Ok((batch, targets))
}

type Addresses = (Vec<Group>, Vec<(u32, u16)>);

fn take_addresses(cursor: &mut Cursor<'_>) -> Result<Addresses, RecordError> {
    let count = usize::from(cursor.u16()?);
    let (mut groups, mut addresses) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let (from, to, length) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
        addresses.push((cursor.at as u32, length));
        check_address(cursor.take(usize::from(length))?)?;
        groups.push(Group {
            from,
            to,
            mandatory: false,
        });
    }
    Ok((groups, addresses))
}

/// Two short strings that fill the address exactly, so that later readers need no checks.
fn check_address(address: &[u8]) -> Result<(), RecordError> {
    let exchange = usize::from(*address.first().ok_or(RecordError::Malformed)?);
    let key = usize::from(*address.get(1 + exchange).ok_or(RecordError::Malformed)?);
    if address.len() == 2 + exchange + key {
        Ok(())
    } else {
        Err(RecordError::Malformed)
    }
}

fn take_entries(cursor: &mut Cursor<'_>) -> Result<Vec<Entry>, RecordError> {
    let count = usize::from(cursor.u16()?);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let (header_len, body_len) = (cursor.varint()?, cursor.varint()?);
        let flags = u16::try_from(cursor.varint()?).map_err(|_| RecordError::Malformed)?;
        entries.push(Entry {
            header_len,
            body_len,
            flags,
            ..Entry::default()
        });
    }
    for entry in &mut entries {
        entry.header_off = cursor.at as u32;
        cursor.take(entry.header_len as usize)?;
        entry.body_off = cursor.at as u32;
        cursor.take(entry.body_len as usize)?;
    }
    Ok(entries)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let taken = self.rest().get(..length).ok_or(RecordError::Malformed)?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        Ok(self
            .take(N)?
            .try_into()
            .expect("the slice has the length asked for"))
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn seq(&mut self) -> Result<Seq, RecordError> {
        let number = self.u64()?;
        if number < SEQ_END {
            Ok(Seq(number))
        } else {
            Err(RecordError::Malformed)
        }
    }

    fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f)
                .checked_shl(shift)
                .ok_or(RecordError::Malformed)?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed)
    }
}
