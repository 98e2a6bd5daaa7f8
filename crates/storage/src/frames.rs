//! Building the records of one append. Knows how frames look, not where they will lie.

use crate::{
    SegmentNumber,
    record::{self, HEAD_FRAME_BYTES, HEADER_BYTES, Head, Header, Kind, Mask, PAGE_BYTES},
};
use std::ops::Range;

/// What a buffer needs besides frames: the head in front, and what the log pads to a page behind.
const ROOM_AROUND: usize = HEAD_FRAME_BYTES + PAGE_BYTES as usize;

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
    /// Room for the group head, then the frames.
    bytes: Vec<u8>,
    records: u32,
    /// Where the frame under construction starts.
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
        let mut frames = Frames {
            bytes: Vec::with_capacity(bytes + ROOM_AROUND),
            records: 0,
            open: None,
        };
        frames.bytes.resize(HEAD_FRAME_BYTES, 0);
        frames
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
        start as u32
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
        self.bytes.len()
    }

    /// How many bytes there is room for before the buffer has to grow.
    pub fn room_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The group as it stands: room for the head, then the frames. For commit logs that keep no files.
    pub fn group(&self) -> &[u8] {
        &self.bytes
    }

    /// The offset of every record, as `begin` returned it, and the range of its payload in `group()`.
    pub fn payloads(&self) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        let mut at = HEAD_FRAME_BYTES;
        std::iter::from_fn(move || {
            let payload_bytes = record::payload_bytes(self.bytes.get(at..at + HEADER_BYTES)?);
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
        self.open = None;
        self.records = 0;
        self.bytes.truncate(HEAD_FRAME_BYTES);
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.bytes.shrink_to(BUFFER_BYTES_KEPT);
        }
    }

    /// Seal every frame for its place: a group starting at `offset` of `segment`. Returns the group as it goes to the
    /// disk; may be called again for another place.
    pub(crate) fn seal(
        &mut self,
        identity: u64,
        segment: SegmentNumber,
        offset: u32,
        head: Head,
    ) -> &mut Vec<u8> {
        assert!(self.open.is_none(), "every record has ended before the append");
        let mask = Mask::new(identity, segment);
        self.bytes[..HEAD_FRAME_BYTES].copy_from_slice(&head.encode());
        let mut at = 0;
        while at < self.bytes.len() {
            at += mask.seal(&mut self.bytes[at..], offset as u64 + at as u64);
        }
        assert_eq!(at, self.bytes.len(), "frames fill their buffer exactly");
        &mut self.bytes
    }
}
