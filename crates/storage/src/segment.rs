//! A segment file: its name, its header, and the one handle through which it is read.
//!
//! ```text
//!  name   segment-NNNNNNNNNN.log, its number in ten decimal digits
//!
//!  offset  size
//!       0     8  magic "EVERACK\x01"
//!       8     4  version of the format: 1
//!      12     4  segment number
//!      16     8  identity of the log
//!      24     8  position where the data before this segment ended; all of it was durable when this one was made
//!      32     8  length of the file when it was made: a shorter one without an end was truncated by somebody else
//!      40     4  CRC-32 of bytes 0..40
//!    4096     -  groups (see `record`), each at a multiple of 512
//! ```
//!
//! The header is synced before the file gets its name, so a file with a segment's name has had a valid header once.
//! Frames are recognised without it: a damaged header costs nothing but a line in the report.

use crate::{
    Position, SegmentNumber,
    disk::File,
    gate::Gate,
    record::{long, number},
};
use parking_lot::Mutex;
use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

/// The version of all file formats that this build writes and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Where the first group starts. A page of its own, so that the header's page is never written again.
pub(crate) const GROUPS_START: u64 = 4096;

const MAGIC: [u8; 8] = *b"EVERACK\x01";
const HEADER_BYTES: usize = 44;

/// The file name of a segment.
pub fn file_name(number: SegmentNumber) -> String {
    format!("segment-{:010}.log", number.0)
}

/// The name a damaged segment is set aside under when it is retired.
pub(crate) fn damaged_name(number: SegmentNumber) -> String {
    format!("damaged-{:010}.log", number.0)
}

/// The segment number in a file name, `None` for any other file.
pub fn parse_name(name: &str) -> Option<SegmentNumber> {
    parse_numbered(name, "segment-")
}

pub(crate) fn parse_damaged_name(name: &str) -> Option<SegmentNumber> {
    parse_numbered(name, "damaged-")
}

fn parse_numbered(name: &str, prefix: &str) -> Option<SegmentNumber> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(".log")?;
    if digits.len() != 10 {
        return None;
    }
    digits.parse().ok().map(SegmentNumber)
}

/// The first bytes of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) number: SegmentNumber,
    pub(crate) identity: u64,
    pub(crate) durable: Position,
    pub(crate) length: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are not a whole header.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..40]) != number(bytes, 40) {
            return None;
        }
        Some(Header {
            version: number(bytes, 8),
            number: SegmentNumber(number(bytes, 12)),
            identity: long(bytes, 16),
            durable: Position(long(bytes, 24)),
            length: long(bytes, 32),
        })
    }

    /// `None` when it is damaged; an error only when the disk gives one that is not about these bytes.
    pub(crate) fn read(file: &impl File) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        match file.read_at(&mut bytes, 0) {
            Ok(filled) => Ok(Header::decode(&bytes[..filled])),
            Err(error) if is_unreadable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the error says that the medium has lost these bytes (EIO), rather than that this call failed.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
}

/// A segment as all handles of a log see it.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) number: SegmentNumber,
    /// Length of the file, in bytes.
    pub(crate) length: u64,
    /// A read or the replay found damage: the file is set aside rather than recycled.
    pub(crate) damaged: AtomicBool,
    /// Opened when first read, closed again when too many are open.
    pub(crate) file: Mutex<Option<Arc<F>>>,
    /// Shut before the file is read.
    pub(crate) gate: Gate,
}

impl<F> Segment<F> {
    pub(crate) fn new(number: SegmentNumber, length: u64, file: Option<Arc<F>>) -> Segment<F> {
        Segment {
            number,
            length,
            damaged: AtomicBool::new(false),
            file: Mutex::new(file),
            gate: Gate::new(false),
        }
    }

    /// As `new`, for a segment that is going to be written past the page cache.
    pub(crate) fn past_cache(number: SegmentNumber, length: u64, file: Option<Arc<F>>) -> Segment<F> {
        Segment {
            gate: Gate::new(true),
            ..Segment::new(number, length, file)
        }
    }
}
