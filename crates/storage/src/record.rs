//! The format of frames and groups: how records lie within a segment.
//!
//! All numbers are little endian. A **frame** is a multiple of 8 bytes long:
//!
//! ```text
//!  0      4       8       12                 12+n
//!  +------+-------+-------+------------------+- - - - - - -+
//!  | word | check | crc   | payload, n bytes | zeros to 8  |
//!  +------+-------+-------+------------------+- - - - - - -+
//!
//!  word   kind (upper 3 bits: 1 data, 2 group head, 3 end) and n (lower 29 bits)
//!  crc    CRC-32 of the payload
//!  check  hash(word, crc) XOR segment number XOR hash(identity of the log, offset of the frame)
//! ```
//!
//! `check` says that this is a frame of *this* log, *this* segment and *this* offset:
//! - The segment number enters by XOR alone, so a frame that an earlier segment left in a recycled file fails always,
//!   not just almost always.
//! - The identity of the log is random and secret, so nobody can publish a body that a search for frames behind a
//!   damaged place would take for a frame.
//! - It covers the header only, so a damaged payload is told from a damaged header: in the first case the length can
//!   be trusted and the next frame is found without a search. A search costs one hash for every 8 bytes.
//!
//! A **group** is what one append writes. It begins at a multiple of 512 bytes, so that no sector that was synced is
//! ever written again: a power failure may turn a sector that is being written into garbage.
//!
//! ```text
//!  +------------+------------+-----+------------+- - - - - - - -+
//!  | group head | data frame | ... | data frame | zeros to 512  |
//!  +------------+------------+-----+------------+- - - - - - - -+
//!
//!  payload of a group head (a frame of 32 bytes)
//!   0  8  position up to which the log was known durable when this group was written
//!   8  4  bytes of the group: head and data frames, without the zeros behind
//!  12  4  data frames in the group
//! ```
//!
//! The position in a group head is what tells damage from a torn tail: what a later head calls durable was synced, so
//! if it is unreadable now, the medium has lost it. A head without data frames is a *mark*: written after idling, to
//! say just that.
//!
//! Where a segment ends for good there is an **end**, at a multiple of 512 bytes:
//!
//! ```text
//!  payload of an end (a frame of 32 bytes)
//!   0  8  position up to which the log was known durable when the end was written
//!   8  4  offset where the last data frame ends. Within a group whose rest was torn this lies before the group's end.
//!  12  4  why: 1 the next segment took over, 2 closed, 3 cut: by recovery, or because the disk was full
//! ```
//!
//! An end alone does not prove that what lies before it was ever durable: only the segment behind it does, which is
//! begun after the end was synced.

use crate::{Position, SegmentNumber};

/// The largest payload of one record, in bytes. The node refuses what would be larger (bodies are limited to 128 MiB).
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// The largest group, in bytes: positions have 32-bit offsets.
pub const GROUP_BYTES_MAX: usize = 1 << 30;

pub(crate) const HEADER_BYTES: usize = 12;
pub(crate) const HEAD_FRAME_BYTES: usize = 32;
pub(crate) const END_FRAME_BYTES: usize = 32;
pub(crate) const SECTOR_BYTES: u64 = 512;
/// Writes are padded with zeros to pages, so that a recycled file whose pages are not cached need not be read first.
pub(crate) const PAGE_BYTES: u64 = 4096;

const LENGTH_BITS: u32 = 29;
const HEAD_PAYLOAD_BYTES: usize = 16;
const END_PAYLOAD_BYTES: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Head,
    End,
}

impl Kind {
    const fn bits(self) -> u32 {
        match self {
            Kind::Data => 1,
            Kind::Head => 2,
            Kind::End => 3,
        }
    }

    fn from_word(word: u32) -> Option<Kind> {
        match word >> LENGTH_BITS {
            1 => Some(Kind::Data),
            2 => Some(Kind::Head),
            3 => Some(Kind::End),
            _ => None,
        }
    }
}

/// The header of a frame, as far as it can be trusted without having read the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) payload_bytes: usize,
    pub(crate) crc: u32,
}

impl Header {
    /// A header for a payload, its check still missing: only the log knows where the frame will lie.
    pub(crate) fn unsealed(kind: Kind, payload: &[u8]) -> [u8; HEADER_BYTES] {
        let word = kind.bits() << LENGTH_BITS | payload.len() as u32;
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&word.to_le_bytes());
        bytes[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        bytes
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes)
    }

    pub(crate) fn payload_is_intact(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes && crc32fast::hash(payload) == self.crc
    }

    /// Heads and ends have one size and stand at the start of a sector.
    fn is_plausible(&self, offset: u64) -> bool {
        match self.kind {
            Kind::Data => self.payload_bytes <= RECORD_BYTES_MAX,
            Kind::Head => self.payload_bytes == HEAD_PAYLOAD_BYTES && offset.is_multiple_of(SECTOR_BYTES),
            Kind::End => self.payload_bytes == END_PAYLOAD_BYTES && offset.is_multiple_of(SECTOR_BYTES),
        }
    }
}

/// What makes the frames of one segment recognisable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mask {
    identity: u64,
    segment: SegmentNumber,
}

impl Mask {
    pub(crate) fn new(identity: u64, segment: SegmentNumber) -> Mask {
        Mask { identity, segment }
    }

    fn check(self, word: u32, crc: u32, offset: u64) -> u32 {
        let content = mix((word as u64) << 32 | crc as u64) as u32;
        let place = mix(self.identity ^ offset.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as u32;
        content ^ place ^ self.segment.0
    }

    /// Fill in the check of the frame that starts `bytes` and will lie at `offset`; returns the bytes of the frame.
    pub(crate) fn seal(self, bytes: &mut [u8], offset: u64) -> usize {
        let (word, crc) = (number(bytes, 0), number(bytes, 8));
        bytes[4..8].copy_from_slice(&self.check(word, crc, offset).to_le_bytes());
        frame_bytes(length_in(word))
    }

    /// The header in the first 12 of `bytes`, which lie at `offset`, if it is one of this segment and this place.
    pub(crate) fn open(self, bytes: &[u8], offset: u64) -> Option<Header> {
        let header = bytes.get(..HEADER_BYTES)?;
        let (word, check, crc) = (number(header, 0), number(header, 4), number(header, 8));
        let kind = Kind::from_word(word)?;
        if check != self.check(word, crc, offset) {
            return None;
        }
        let header = Header {
            kind,
            payload_bytes: length_in(word),
            crc,
        };
        header.is_plausible(offset).then_some(header)
    }
}

/// The payload of a group head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) durable: Position,
    pub(crate) group_bytes: u32,
    pub(crate) records: u32,
}

impl Head {
    /// The whole frame, its check still missing.
    pub(crate) fn encode(self) -> [u8; HEAD_FRAME_BYTES] {
        let mut payload = [0; HEAD_PAYLOAD_BYTES];
        payload[0..8].copy_from_slice(&self.durable.0.to_le_bytes());
        payload[8..12].copy_from_slice(&self.group_bytes.to_le_bytes());
        payload[12..16].copy_from_slice(&self.records.to_le_bytes());
        let mut frame = [0; HEAD_FRAME_BYTES];
        frame[..HEADER_BYTES].copy_from_slice(&Header::unsealed(Kind::Head, &payload));
        frame[HEADER_BYTES..HEADER_BYTES + HEAD_PAYLOAD_BYTES].copy_from_slice(&payload);
        frame
    }

    pub(crate) fn decode(payload: &[u8]) -> Head {
        let durable = Position(long(payload, 0));
        Head {
            durable,
            group_bytes: number(payload, 8),
            records: number(payload, 12),
        }
    }
}

/// Why a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    Rolled,
    Closed,
    Cut,
}

/// The payload of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) durable: Position,
    pub(crate) data_end: u32,
    pub(crate) reason: EndReason,
}

impl End {
    /// The whole frame, its check still missing.
    pub(crate) fn encode(self) -> [u8; END_FRAME_BYTES] {
        let reason: u32 = match self.reason {
            EndReason::Rolled => 1,
            EndReason::Closed => 2,
            EndReason::Cut => 3,
        };
        let mut payload = [0; END_PAYLOAD_BYTES];
        payload[0..8].copy_from_slice(&self.durable.0.to_le_bytes());
        payload[8..12].copy_from_slice(&self.data_end.to_le_bytes());
        payload[12..16].copy_from_slice(&reason.to_le_bytes());
        let mut frame = [0; END_FRAME_BYTES];
        frame[..HEADER_BYTES].copy_from_slice(&Header::unsealed(Kind::End, &payload));
        frame[HEADER_BYTES..HEADER_BYTES + END_PAYLOAD_BYTES].copy_from_slice(&payload);
        frame
    }

    pub(crate) fn decode(payload: &[u8]) -> End {
        let reason = match number(payload, 12) {
            1 => EndReason::Rolled,
            2 => EndReason::Closed,
            _ => EndReason::Cut,
        };
        End {
            durable: Position(long(payload, 0)),
            data_end: number(payload, 8),
            reason,
        }
    }
}

pub(crate) const fn frame_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes + 7) & !7
}

const fn length_in(word: u32) -> usize {
    (word & ((1 << LENGTH_BITS) - 1)) as usize
}

/// The length that a header we have written ourselves names; nothing read from a disk may be trusted like this.
pub(crate) fn payload_bytes(header: &[u8]) -> usize {
    length_in(number(header, 0))
}

/// The start of the first sector at or behind `offset`.
pub(crate) const fn sector_up(offset: u64) -> u64 {
    (offset + SECTOR_BYTES - 1) & !(SECTOR_BYTES - 1)
}

/// The little-endian number at `at`.
pub(crate) fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The little-endian number of eight bytes at `at`.
pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(number(bytes, at)) | u64::from(number(bytes, at + 4)) << 32
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of the input.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(segment: u32, offset: u64, payload: &[u8]) -> Vec<u8> {
        let mut frame = Header::unsealed(Kind::Data, payload).to_vec();
        frame.extend_from_slice(payload);
        frame.resize(frame_bytes(payload.len()), 0);
        assert_eq!(
            Mask::new(42, SegmentNumber(segment)).seal(&mut frame, offset),
            frame.len()
        );
        frame
    }

    #[test]
    fn a_frame_is_valid_in_its_place_only() {
        let frame = sealed(7, 4128, b"payload");
        let open =
            |identity, segment, offset| Mask::new(identity, SegmentNumber(segment)).open(&frame, offset);
        let header = open(42, 7, 4128).expect("it is valid where it was sealed");
        assert!(header.payload_is_intact(b"payload"));
        assert!(!header.payload_is_intact(b"payloae"));
        assert_eq!(open(42, 7, 4136), None);
        assert_eq!(open(43, 7, 4128), None);
        // The number of the segment enters by XOR: no other number can ever pass.
        for segment in (0..100_000)
            .chain(u32::MAX - 1000..u32::MAX)
            .filter(|segment| *segment != 7)
        {
            assert_eq!(open(42, segment, 4128), None);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut frame = sealed(7, 4128, b"payload");
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Mask::new(42, SegmentNumber(7)).open(&frame, 4128),
                None,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        for offset in (0..1 << 20).step_by(8) {
            assert_eq!(Mask::new(42, SegmentNumber(1)).open(&[0; 64], offset), None);
        }
    }

    #[test]
    fn heads_and_ends_come_back() {
        let head = Head {
            durable: Position(0x0102_0304_0506_0708),
            group_bytes: 77,
            records: 3,
        };
        assert_eq!(Head::decode(&head.encode()[HEADER_BYTES..]), head);
        for reason in [EndReason::Rolled, EndReason::Closed, EndReason::Cut] {
            let end = End {
                durable: Position(9),
                data_end: 4711,
                reason,
            };
            assert_eq!(End::decode(&end.encode()[HEADER_BYTES..]), end);
        }
    }
}
