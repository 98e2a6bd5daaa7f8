//! The format of a checkpoint file. All numbers are little endian.
//!
//! ```text
//!  name   checkpoint-NNNNNNNNNN.ckp, its number in ten decimal digits, and checkpoint-NNNNNNNNNN.copy;
//!         checkpoint.new while one is written; checkpoint.reserve: space kept back
//!
//!  header, 40 bytes                                   block
//!   0  8  magic "EVERCKP\x01"                          0  4  n, bytes of the contents
//!   8  4  version of the format: 1                     4  4  records in the block
//!  12  4  number                                       8  4  CRC-32 of bytes 0..8 and the contents
//!  16  8  identity of the log                         12  n  records, each: length (4), payload
//!  24  8  position it covers the log up to
//!  32  4  zero                                        The last block has no records and n = 16: the number of
//!  36  4  CRC-32 of bytes 0..36                       blocks (8) and of records (8) before it.
//! ```
//!
//! A file without its last block was never finished, or was truncated.

use crate::{
    Position,
    disk::File,
    record::{long, number},
    segment::is_unreadable,
};
use std::io;

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const BLOCK_HEADER_BYTES: usize = 12;
/// No block is larger: one record of the largest size behind an almost full block.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << 30;

const MAGIC: [u8; 8] = *b"EVERCKP\x01";
const TOTALS_BYTES: usize = 16;

/// Which of the two files of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Original,
    Copy,
}

pub(super) fn file_name(number: u32, kind: Kind) -> String {
    match kind {
        Kind::Original => format!("checkpoint-{number:010}.ckp"),
        Kind::Copy => format!("checkpoint-{number:010}.copy"),
    }
}

pub(super) fn parse_name(name: &str) -> Option<(u32, Kind)> {
    let (digits, ending) = name.strip_prefix("checkpoint-")?.split_at_checked(10)?;
    let kind = match ending {
        ".ckp" => Kind::Original,
        ".copy" => Kind::Copy,
        _ => return None,
    };
    Some((digits.parse().ok()?, kind))
}

pub(super) fn is_ours(name: &str) -> bool {
    parse_name(name).is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) number: u32,
    pub(super) identity: u64,
    pub(super) covers: Position,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.covers.0.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when it is damaged.
    pub(super) fn read(file: &impl File) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        let whole = fill(file, &mut bytes, 0)?;
        if !whole || bytes[..8] != MAGIC || crc32fast::hash(&bytes[..36]) != number(&bytes, 36) {
            return Ok(None);
        }
        Ok(Some(Header {
            version: number(&bytes, 8),
            number: number(&bytes, 12),
            identity: long(&bytes, 16),
            covers: Position(long(&bytes, 24)),
        }))
    }
}

/// One block, its checksum verified.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) count: u32,
    contents: Vec<u8>,
}

impl Block {
    /// The block at `offset` of a file of `length` bytes; `None` when it is damaged.
    pub(super) fn read(file: &impl File, offset: u64, length: u64) -> io::Result<Option<Block>> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        if !fill(file, &mut header, offset)? {
            return Ok(None);
        }
        let bytes = number(&header, 0) as usize;
        let room = length.saturating_sub(offset + BLOCK_HEADER_BYTES as u64);
        if bytes > BLOCK_BYTES_MAX || bytes as u64 > room {
            return Ok(None);
        }
        let mut contents = vec![0; bytes];
        let whole = fill(file, &mut contents, offset + BLOCK_HEADER_BYTES as u64)?;
        let intact = whole && crc(&header[..8], &contents) == number(&header, 8);
        Ok(intact.then(|| Block {
            count: number(&header, 4),
            contents,
        }))
    }

    /// A block as it goes to the file.
    pub(super) fn encode(count: u32, contents: &[u8]) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_HEADER_BYTES + contents.len());
        block.extend_from_slice(&(contents.len() as u32).to_le_bytes());
        block.extend_from_slice(&count.to_le_bytes());
        block.extend_from_slice(&crc(&block, contents).to_le_bytes());
        block.extend_from_slice(contents);
        block
    }

    /// The last block of a file with so many blocks and records.
    pub(super) fn encode_last(blocks: u64, records: u64) -> Vec<u8> {
        let mut totals = [0; TOTALS_BYTES];
        totals[..8].copy_from_slice(&blocks.to_le_bytes());
        totals[8..].copy_from_slice(&records.to_le_bytes());
        Block::encode(0, &totals)
    }

    pub(super) fn is_last(&self) -> bool {
        self.count == 0
    }

    /// Blocks and records before this block, if it is a last one.
    pub(super) fn totals(&self) -> Option<(u64, u64)> {
        (self.contents.len() == TOTALS_BYTES).then(|| (long(&self.contents, 0), long(&self.contents, 8)))
    }

    /// Bytes it takes in the file.
    pub(super) fn file_bytes(&self) -> u64 {
        (BLOCK_HEADER_BYTES + self.contents.len()) as u64
    }

    /// The payloads; a `None` among them where the lengths do not add up.
    pub(super) fn records(&self) -> impl Iterator<Item = Option<&[u8]>> + '_ {
        let mut rest = self.contents.as_slice();
        (0..self.count).map(move |_| {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (record, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(record)
        })
    }
}

fn crc(header: &[u8], contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(contents);
    hasher.finalize()
}

/// `false` when the file ends before the buffer is full, or the medium has lost the place.
fn fill(file: &impl File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_at(buffer, offset) {
        Ok(filled) => Ok(filled == buffer.len()),
        Err(error) if is_unreadable(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
