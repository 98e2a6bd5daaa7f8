//! Building the records of one append. Knows how frames look, not where they will lie.
//!
//! ```text
//!  the buffer     | lead | room for the group head | frame | ... | frame |  room to fill up a page
//!                        `- at a multiple of 512 in memory: as it stands it can be written past the page cache
//! ```

use crate::{
    SegmentNumber,
    record::{self, HEAD_FRAME_BYTES, HEADER_BYTES, Head, Header, Kind, Mask, PAGE_BYTES, SECTOR_BYTES},
};
use std::ops::Range;

/// Where a group begins in memory: at a multiple of this.
const ALIGNMENT: usize = SECTOR_BYTES as usize;

/// What a buffer needs besides frames: lead and head in front, and what the log pads to a page behind.
const ROOM_AROUND: usize = ALIGNMENT + HEAD_FRAME_BYTES + PAGE_BYTES as usize;

/// A buffer kept for reuse is given back to the allocator beyond this size, in bytes.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// Records for one append, framed one after the other in one contiguous buffer.
///
/// ```
/// # use everack_storage::Frames;
/// let mut frames = Frames::new();
/// let offset = frames.begin();
/// frames.buffer().extend_from_slice(b"a record");
/// frames.end();
/// // After `let base = log.append(&mut frames)?` the record lies at `base.forward(offset)`.
/// # assert_eq!(frames.records(), 1);
/// ```
#[derive(Debug)]
pub struct Frames {
    /// See the module documentation.
    bytes: Vec<u8>,
    /// Bytes in front of the group.
    lead: usize,
    records: u32,
    /// Where in `bytes` the frame under construction starts.
    open: Option<usize>,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames::new()
    }
}

impl Frames {
    /// No records.
    pub fn new() -> Frames {
        Frames::with_capacity(4096)
    }

    /// No records, with room for about `bytes` of them.
    pub fn with_capacity(bytes: usize) -> Frames {
        Frames::within(Vec::with_capacity(bytes + ROOM_AROUND))
    }

    /// No records, in a buffer that was used before.
    fn within(mut bytes: Vec<u8>) -> Frames {
        bytes.clear();
        bytes.reserve(ROOM_AROUND);
        let lead = lead_of(&bytes);
        bytes.resize(lead + HEAD_FRAME_BYTES, 0);
        Frames {
            bytes,
            lead,
            records: 0,
            open: None,
        }
    }

    /// Start a record; its payload is then pushed into `buffer()`. Returns its offset from what `append` will return.
    ///
    /// # Panics
    /// When the record before was not ended.
    pub fn begin(&mut self) -> u32 {
        assert!(
            self.open.is_none(),
            "a record is begun when the one before has ended"
        );
        let start = self.bytes.len();
        self.open = Some(start);
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        (start - self.lead) as u32
    }

    /// Where the payload of the record under construction goes. Only ever push: what is there belongs to others.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        assert!(self.open.is_some(), "a record is begun before bytes are pushed");
        &mut self.bytes
    }

    /// Complete the record begun last.
    ///
    /// # Panics
    /// When none was begun, or it is larger than [`record::RECORD_BYTES_MAX`]: its maker has to refuse such a thing.
    pub fn end(&mut self) {
        let start = self.open.take().expect("a record is begun before it ends");
        let payload = &self.bytes[start + HEADER_BYTES..];
        assert!(
            payload.len() <= record::RECORD_BYTES_MAX,
            "a record is not larger than its limit"
        );
        let header = Header::unsealed(Kind::Data, payload);
        let length = start + record::frame_bytes(payload.len());
        self.bytes[start..start + HEADER_BYTES].copy_from_slice(&header);
        self.bytes.resize(length, 0);
        self.records += 1;
    }

    /// Drop the record begun last.
    pub fn cancel(&mut self) {
        if let Some(start) = self.open.take() {
            self.bytes.truncate(start);
        }
    }

    /// A whole record at once; returns its offset as `begin` does.
    pub fn push(&mut self, payload: &[u8]) -> u32 {
        let offset = self.begin();
        self.bytes.extend_from_slice(payload);
        self.end();
        offset
    }

    /// Records completed.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes the log will write, without padding.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.lead
    }

    /// How many bytes there is room for before the buffer has to grow.
    pub fn room_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The group as it stands: room for the head, then the frames. For commit logs that keep no files.
    pub fn group(&self) -> &[u8] {
        &self.bytes[self.lead..]
    }

    /// The offset of every record, as `begin` returned it, and the range of its payload in `group()`.
    pub fn payloads(&self) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        let group = self.group();
        let mut at = HEAD_FRAME_BYTES;
        std::iter::from_fn(move || {
            let payload_bytes = record::payload_bytes(group.get(at..at + HEADER_BYTES)?);
            let start = at;
            at += record::frame_bytes(payload_bytes);
            Some((
                start as u32,
                start + HEADER_BYTES..start + HEADER_BYTES + payload_bytes,
            ))
        })
    }

    /// Forget all records and keep the buffer for the next.
    pub fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        if bytes.capacity() > BUFFER_BYTES_KEPT {
            bytes.shrink_to(BUFFER_BYTES_KEPT);
        }
        *self = Frames::within(bytes);
    }

    /// Seal every frame for its place: a group starting at `offset` of `segment`; may be called again for another place.
    pub(crate) fn seal(&mut self, identity: u64, segment: SegmentNumber, offset: u32, head: Head) {
        assert!(self.open.is_none(), "every record has ended before the append");
        let mask = Mask::new(identity, segment);
        let group = &mut self.bytes[self.lead..];
        group[..HEAD_FRAME_BYTES].copy_from_slice(&head.encode());
        let mut at = 0;
        while at < group.len() {
            at += mask.seal(&mut group[at..], offset as u64 + at as u64);
        }
        assert_eq!(at, group.len(), "frames fill their buffer exactly");
    }

    /// What goes to the disk: the group, and zeros behind it up to `bytes` in all. [`Frames::unpad`] takes them away again.
    pub(crate) fn padded(&mut self, bytes: usize) -> &[u8] {
        self.bytes.resize(self.lead + bytes, 0);
        self.group()
    }

    /// See [`Frames::padded`]; `bytes`: of the group without zeros.
    pub(crate) fn unpad(&mut self, bytes: usize) {
        self.bytes.truncate(self.lead + bytes);
    }

    /// Take the group out, padded to `bytes`, and go on without records in the buffer `spare`. The group begins at a multiple of 512 in memory.
    pub(crate) fn take_padded(&mut self, bytes: usize, spare: Vec<u8>) -> Group {
        self.align();
        self.padded(bytes);
        let taken = std::mem::replace(self, Frames::within(spare));
        Group {
            bytes: taken.bytes,
            lead: taken.lead,
        }
    }

    /// A buffer that has grown lies elsewhere: the group is moved to where it has to begin.
    fn align(&mut self) {
        // First of all, as it may move the buffer itself.
        self.bytes.reserve(ROOM_AROUND);
        let (from, lead) = (self.lead, lead_of(&self.bytes));
        if lead == from {
            return;
        }
        let end = self.bytes.len();
        self.bytes.resize(end + ALIGNMENT, 0);
        self.bytes.copy_within(from..end, lead);
        self.bytes.truncate(end - from + lead);
        self.lead = lead;
    }
}

/// A group as it goes to the disk, apart from the frames it was built in.
#[derive(Debug)]
pub(crate) struct Group {
    bytes: Vec<u8>,
    lead: usize,
}

impl Group {
    /// Begins at a multiple of 512 in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.lead..]
    }

    /// The buffer, to be used again.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// How far behind the start of the buffer a multiple of `ALIGNMENT` lies in memory.
fn lead_of(buffer: &[u8]) -> usize {
    let over = buffer.as_ptr().addr() % ALIGNMENT;
    (ALIGNMENT - over) % ALIGNMENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        durable: crate::Position::ZERO,
        group_bytes: 0,
        records: 0,
    };

    /// Whatever buffer the records were built in, and however it has grown.
    #[test]
    fn a_group_is_taken_out_at_a_multiple_of_512_in_memory() {
        let mut frames = Frames::with_capacity(0);
        let mut spare = Vec::new();
        for bytes in [0, 1, 500, 4_000, 100_000, 12, 2_000_000, 3] {
            let payload = vec![bytes as u8; bytes];
            frames.push(&payload);
            frames.push(&payload);
            frames.seal(1, SegmentNumber(1), 0, HEAD);
            let (sealed, length) = (
                frames.group().to_vec(),
                frames.bytes().next_multiple_of(ALIGNMENT),
            );
            let group = frames.take_padded(length, spare);
            assert!(frames.is_empty());
            assert_eq!(group.bytes().as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(group.bytes().len(), length);
            assert_eq!(group.bytes()[..sealed.len()], sealed);
            assert!(group.bytes()[sealed.len()..].iter().all(|byte| *byte == 0));
            spare = group.into_buffer();
        }
    }
}
