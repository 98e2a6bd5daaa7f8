//! What a checkpoint holds, record by record (the storage layer adds magic, version, blocks and checksums around them).
//!
//! ```text
//! 1 topology    kind u8 = 1 | catalog_applied u64 | postcard of Vec<broker::catalog::Fact>          first, as often as its facts need
//! 2 queue       kind u8 = 2 | id u64 | next u64 | applied u64 | run*                                as often as its runs need
//! 3 kept        kind u8 = 3 | id u64 | count u32 | deadline* | size*                       for queues that have any
//! deadline      first u64 | count u32 | at u64           they expire at this time, in milliseconds since 1970
//! size          first u64 | count u32 | bytes u32        of each body, where the queue's terms count them
//! 4 marked      as queue, for a piece in which messages have failed, are set aside, rejected or have a priority; each run goes on:
//!               | varint failures | varint place, as records write it, or 64: rejected | zigzag varint rank
//! run           varint first - end of the run before in the record | zigzag varint location - location before
//!               | varint bytes | varint from | varint count | varint returns
//! ```
//!
//! All integers are little endian. Runs are in the order of their numbers, so that a long backlog takes about ten bytes a run.

use everack_broker::catalog::Fact;
use everack_broker::ids::{Location, Millis, QueueId, Seq};
use everack_broker::partition::{Kept, LiveRun};
use everack_storage::Position;
use rustc_hash::FxHashMap;

use super::queue_image::{ImageRun, QueueImage};
use crate::record::{self, ITEMS_MAX, SEQ_END};

/// A checkpoint, read back.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// Topology records before this position are part of `facts`.
    pub catalog_applied: Position,
    /// The durable topology.
    pub facts: Vec<Fact>,
    /// The durable queues' contents.
    pub queues: FxHashMap<QueueId, QueueImage>,
}

/// Why a checkpoint with good checksums cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record of the checkpoint does not add up at byte {at}: written by a newer Everack, or by a faulty one"
)]
pub struct CheckpointError {
    /// Where in the record.
    pub at: usize,
}

const KIND_TOPOLOGY: u8 = 1;
const KIND_QUEUE: u8 = 2;
const KIND_KEPT: u8 = 3;
const KIND_MARKED: u8 = 4;

/// Stands for the place of what was rejected, and is not through the dead-letter exchange.
const PLACE_REJECTED: u64 = 64;

/// The records of the topology: a checkpoint's record has a largest size too.
pub fn encode_topology(catalog_applied: Position, facts: &[Fact]) -> Vec<Vec<u8>> {
    let record = |facts: Vec<u8>| {
        let mut out = vec![KIND_TOPOLOGY];
        out.extend_from_slice(&catalog_applied.0.to_le_bytes());
        out.extend(facts);
        out
    };
    let mut records: Vec<_> = record::pack_facts(facts).map(record).collect();
    if records.is_empty() {
        // An empty list.
        records.push(record(vec![0]));
    }
    records
}

/// A record of some of a queue's messages, in rising order.
pub fn encode_queue(queue: QueueId, next: Seq, applied: Position, runs: &[LiveRun]) -> Vec<u8> {
    let mut out = Vec::with_capacity(25 + runs.len() * 12);
    let marked = runs.iter().any(is_marked);
    out.push(if marked { KIND_MARKED } else { KIND_QUEUE });
    for field in [queue.0, next.0, applied.0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    let (mut end, mut location) = (0u64, 0u64);
    for run in runs {
        let count = u64::from(run.to - run.from);
        put_varint(&mut out, run.first.0 - end);
        put_varint(&mut out, zigzag(run.location.0.wrapping_sub(location) as i64));
        put_varint(&mut out, u64::from(run.bytes));
        put_varint(&mut out, u64::from(run.from));
        put_varint(&mut out, count);
        put_varint(&mut out, u64::from(run.marks.deliveries));
        if marked {
            put_varint(&mut out, u64::from(run.marks.failures));
            put_varint(&mut out, place_code(run));
            put_varint(&mut out, zigzag(i64::from(run.marks.rank)));
        }
        (end, location) = (run.first.0 + count, run.location.0);
    }
    out
}

/// Records of what is kept of a queue besides its messages; none if there is nothing.
pub fn encode_kept(queue: QueueId, kept: &Kept) -> Vec<Vec<u8>> {
    let deadlines: Vec<_> = kept.deadlines.iter().collect();
    let sizes: Vec<_> = kept.body_sizes.iter().collect();
    let begin = |deadlines: usize| {
        let mut out = vec![KIND_KEPT];
        out.extend_from_slice(&queue.0.to_le_bytes());
        out.extend_from_slice(&(deadlines as u32).to_le_bytes());
        out
    };
    let deadlines = deadlines.chunks(ITEMS_MAX).map(|deadlines| {
        let mut out = begin(deadlines.len());
        for &(low, high, at) in deadlines {
            put_span(&mut out, low, high);
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        out
    });
    let sizes = sizes.chunks(ITEMS_MAX).map(|sizes| {
        let mut out = begin(0);
        for &(low, high, size) in sizes {
            put_span(&mut out, low, high);
            out.extend_from_slice(&size.to_le_bytes());
        }
        out
    });
    deadlines.chain(sizes).collect()
}

fn put_span(out: &mut Vec<u8>, low: u64, high: u64) {
    out.extend_from_slice(&low.to_le_bytes());
    // One slice of a queue has no more messages than that.
    out.extend_from_slice(&u32::try_from(high - low).unwrap_or(u32::MAX).to_le_bytes());
}

impl Checkpoint {
    /// Takes the next record.
    ///
    /// # Errors
    /// A record that is not what this build writes; nothing after it can be trusted.
    pub fn take(&mut self, record: &[u8]) -> Result<(), CheckpointError> {
        let mut cursor = Cursor { bytes: record, at: 0 };
        match cursor.take(1)?[0] {
            KIND_TOPOLOGY => {
                self.catalog_applied = Position(cursor.u64()?);
                let facts: Vec<Fact> =
                    postcard::from_bytes(&record[cursor.at..]).map_err(|_| cursor.error())?;
                self.facts.extend(facts);
                Ok(())
            }
            KIND_QUEUE => self.take_queue(&mut cursor, false),
            KIND_MARKED => self.take_queue(&mut cursor, true),
            KIND_KEPT => self.take_kept(&mut cursor),
            _ => Err(cursor.error()),
        }
    }

    fn take_kept(&mut self, cursor: &mut Cursor<'_>) -> Result<(), CheckpointError> {
        let (queue, deadlines) = (QueueId(cursor.u64()?), cursor.u32()?);
        let kept = &mut self.queues.entry(queue).or_default().kept;
        for _ in 0..deadlines {
            let (low, high) = cursor.span()?;
            kept.deadlines.set(low, high, Millis(cursor.u64()?));
        }
        while cursor.at < cursor.bytes.len() {
            let (low, high) = cursor.span()?;
            kept.body_sizes.set(low, high, cursor.u32()?);
        }
        Ok(())
    }

    fn take_queue(&mut self, cursor: &mut Cursor<'_>, marked: bool) -> Result<(), CheckpointError> {
        let (queue, next, applied) = (QueueId(cursor.u64()?), Seq(cursor.u64()?), cursor.u64()?);
        if next.0 >= 2 * SEQ_END {
            return Err(cursor.error());
        }
        let image = self.queues.entry(queue).or_default();
        // A piece before this one may have had messages with higher numbers: those are not to be given again.
        image.next = image.next.max(next);
        image.applied = applied;
        let (mut number, mut location) = (0u64, 0u64);
        while cursor.at < cursor.bytes.len() {
            let first = number
                .checked_add(cursor.varint()?)
                .filter(|first| *first < SEQ_END)
                .ok_or_else(|| cursor.error())?;
            location = location.wrapping_add(unzigzag(cursor.varint()?) as u64);
            let bytes = cursor.narrow()?;
            let from: u16 = cursor.narrow()?;
            let count: u16 = cursor.narrow()?;
            let returns: u32 = cursor.narrow()?;
            let to = from.checked_add(count).ok_or_else(|| cursor.error())?;
            let end = first + u64::from(count);
            image.enqueue(ImageRun {
                first: Seq(first),
                location: Location(location),
                bytes,
                from,
                to,
            });
            if returns > 0 {
                image.count_returns(Seq(first), u32::from(count), returns);
            }
            if marked {
                take_marks(cursor, image, Seq(first), u32::from(count))?;
            }
            number = end;
        }
        Ok(())
    }
}

/// Whether there is more to say of a run than where it is and how often it came back.
fn is_marked(run: &LiveRun) -> bool {
    run.aside.is_some() || run.rejected || run.marks.failures > 0 || run.marks.rank != 0
}

fn place_code(run: &LiveRun) -> u64 {
    if run.rejected {
        PLACE_REJECTED
    } else {
        u64::from(record::aside_code(run.aside))
    }
}

fn take_marks(
    cursor: &mut Cursor<'_>,
    image: &mut QueueImage,
    first: Seq,
    count: u32,
) -> Result<(), CheckpointError> {
    let failures: u16 = cursor.narrow()?;
    if failures > 0 {
        image.count_failures(first, count, u32::from(failures));
    }
    match cursor.varint()? {
        PLACE_REJECTED => image.reject(first, count),
        code => {
            let place = record::aside_of(code).ok_or_else(|| cursor.error())?;
            if place.is_some() {
                image.place(first, count, place);
            }
        }
    }
    let rank = unzigzag(cursor.varint()?);
    image.rank(first, count, i16::try_from(rank).map_err(|_| cursor.error())?);
    Ok(())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn error(&self) -> CheckpointError {
        CheckpointError { at: self.at }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CheckpointError> {
        let taken = self.bytes[self.at..].get(..length).ok_or_else(|| self.error())?;
        self.at += length;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, CheckpointError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn u32(&mut self) -> Result<u32, CheckpointError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    /// First number and the one behind the last.
    fn span(&mut self) -> Result<(u64, u64), CheckpointError> {
        let first = self.u64()?;
        if first >= SEQ_END {
            return Err(self.error());
        }
        Ok((first, first + u64::from(self.u32()?)))
    }

    fn varint(&mut self) -> Result<u64, CheckpointError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error())
    }

    fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, CheckpointError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.error())
    }
}

#[cfg(test)]
mod tests {
    use everack_broker::partition::{Aside, Marks};

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let run = |first, location, bytes, from, to, deliveries| LiveRun {
            first: Seq(first),
            location: Location(location),
            bytes,
            from,
            to,
            marks: Marks {
                deliveries,
                ..Marks::default()
            },
            aside: None,
            rejected: false,
        };
        let mut runs = [
            run(5, 1 << 32, 700, 0, 7, 0),
            run(40, 1 << 32 | 4096, 9, 3, 4, 2),
            run(41, 64, 1, 0, 1, 0),
            run(42, 640, 1, 0, 1, 3),
        ];
        (runs[2].marks.failures, runs[3].aside) = (2, Some(Aside::Retained));
        runs[1].rejected = true;
        (runs[2].marks.rank, runs[3].marks.rank) = (-4, 255);
        let mut read = Checkpoint::default();
        read.take(&encode_topology(Position(77), &[])[0]).unwrap();
        read.take(&encode_queue(QueueId(3), Seq(90), Position(78), &runs[..2]))
            .unwrap();
        read.take(&encode_queue(QueueId(3), Seq(90), Position(78), &runs[2..]))
            .unwrap();
        read.take(&encode_queue(QueueId(4), Seq(1), Position(79), &[]))
            .unwrap();
        assert_eq!(read.catalog_applied, Position(77));
        let image = read.queues[&QueueId(3)].clone();
        assert_eq!((image.next, image.applied), (Seq(90), 78));
        assert_eq!(image.into_live_runs().collect::<Vec<_>>(), runs);
        assert_eq!(read.queues[&QueueId(4)].next, Seq(1));
        let whole = encode_queue(QueueId(3), Seq(90), Position(78), &runs[..1]);
        for cut in (0..25).chain(26..whole.len()) {
            assert!(Checkpoint::default().take(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_kept_besides_is_read() {
        let mut kept = Kept::default();
        kept.deadlines.set(3, 7, Millis(1 << 41));
        kept.deadlines.set(9, 10, Millis(5));
        kept.body_sizes.set(3, 10, 800);
        let records = encode_kept(QueueId(3), &kept);
        let mut read = Checkpoint::default();
        records.iter().for_each(|record| read.take(record).unwrap());
        let image = &read.queues[&QueueId(3)].kept;
        assert!(image.deadlines.iter().eq(kept.deadlines.iter()));
        assert!(image.body_sizes.iter().eq(kept.body_sizes.iter()));
        assert!(encode_kept(QueueId(3), &Kept::default()).is_empty());
        for record in &records {
            for cut in [1, 8, 12, 20, record.len() - 1] {
                let cut = Checkpoint::default().take(&record[..cut]);
                assert!(cut.is_err());
            }
        }
    }

    /// (Found by the fuzzer of checkpoints: a piece that says less than the one before.)
    #[test]
    fn a_number_that_a_live_message_has_is_not_given_again() {
        let run = LiveRun {
            first: Seq(40),
            location: Location(64),
            bytes: 9,
            from: 0,
            to: 2,
            marks: Marks::default(),
            aside: None,
            rejected: false,
        };
        let mut read = Checkpoint::default();
        read.take(&encode_queue(QueueId(3), Seq(10), Position(78), &[run]))
            .unwrap();
        read.take(&encode_queue(QueueId(3), Seq(10), Position(78), &[]))
            .unwrap();
        assert_eq!(read.queues[&QueueId(3)].next, Seq(42));
    }
}
