//! Checkpoints: the state at a position of the log, so that a start need not replay everything.
//!
//! What a checkpoint says is the caller's affair: it is a list of records. It is written beside the one before it,
//! synced, renamed, the directory synced, read back, and only then the one before is removed.
//!
//! ```text
//!  name   checkpoint-NNNNNNNNNN.ckp, its number in ten decimal digits; checkpoint.new while it is written
//!
//!  header, 40 bytes                                   block
//!   0  8  magic "EVERCKP\x01"                          0  4  n, bytes of the records
//!   8  4  version of the format: 1                     4  4  records in the block
//!  12  4  number                                       8  4  CRC-32 of bytes 0..8 and the records
//!  16  8  identity of the log                         12  n  records, each: length (4), payload
//!  24  8  position it covers the log up to
//!  32  4  zero                                        The last block has no records and n = 16: the number of
//!  36  4  CRC-32 of bytes 0..36                       blocks (8) and of records (8) before it.
//! ```
//!
//! All numbers are little endian. A file without its last block was never finished, or was truncated.

use crate::{
    Position,
    disk::{Disk, File, is_full},
    manifest::Manifest,
    record::number,
    segment::{FORMAT_VERSION, is_unreadable},
};
use std::io;

const MAGIC: [u8; 8] = *b"EVERCKP\x01";
const HEADER_BYTES: usize = 40;
const BLOCK_HEADER_BYTES: usize = 12;
const LAST_BLOCK_BYTES: usize = 16;
/// A block is written when it has reached this size, in bytes.
const BLOCK_BYTES: usize = 256 * 1024;
/// No block is larger: one record of the largest size behind an almost full block.
const BLOCK_BYTES_MAX: usize = 1 << 30;
const NAME_NEW: &str = "checkpoint.new";
const RESERVE_NAME: &str = "checkpoint.reserve";

/// Why a checkpoint could not be written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No space. The checkpoint before is still there, nothing is lost; try again when space has returned.
    #[error("the disk is full: no room for a checkpoint")]
    Full,
    /// A damaged checkpoint and no other one to use.
    #[error(
        "{place}: {name} is damaged at byte {offset} and there is no other checkpoint; restore the data directory \
         from a backup (nothing was changed)"
    )]
    Damaged {
        /// The directory.
        place: String,
        /// The file.
        name: String,
        /// Where reading stopped.
        offset: u64,
    },
    /// Written by a newer version.
    #[error(
        "{place}: {name} has format version {found}, this build knows versions up to {known}; start the newer \
         version of everack that wrote it (nothing was changed)"
    )]
    Newer {
        /// The directory.
        place: String,
        /// The file.
        name: String,
        /// The version found.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
    /// Written for another data directory.
    #[error("{place}: {name} belongs to another data directory; move it back there (nothing was changed)")]
    Foreign {
        /// The directory.
        place: String,
        /// The file.
        name: String,
    },
    /// The disk gave an error. After one of a write or sync the checkpoint before still holds.
    #[error("checkpoint: {0}")]
    Io(#[from] io::Error),
}

/// A checkpoint that is on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its number: 1 for the first of a data directory.
    pub number: u32,
    /// The log is needed from here on only.
    pub covers: Position,
    /// Records in it.
    pub records: u64,
    /// Length of its file, in bytes.
    pub bytes: u64,
}

/// The checkpoints of one log. Used by one thread; `Log` holds the directory's lock.
pub struct Checkpoints<D: Disk> {
    disk: D,
    identity: u64,
    reserve_bytes: u64,
    next: u32,
}

/// Takes the records of a checkpoint while it is written.
pub struct Sink<'a, F: File> {
    file: &'a F,
    offset: u64,
    block: Vec<u8>,
    block_records: u32,
    blocks: u64,
    records: u64,
}

impl<D: Disk> Checkpoints<D> {
    /// The checkpoints beside the log in `disk`, which must have been opened before. `reserve_bytes` of space are kept
    /// back, so that a checkpoint can be written when the disk is full: it is what lets segments go.
    pub fn open(disk: D, reserve_bytes: u64) -> Result<Checkpoints<D>, Error> {
        let entries = disk.list()?;
        let (manifest, _) = Manifest::find(&disk, &entries).map_err(io::Error::other)?;
        let last = entries
            .iter()
            .filter_map(|entry| parse_name(&entry.name))
            .max()
            .unwrap_or(0);
        let mut checkpoints = Checkpoints {
            disk,
            identity: manifest.identity,
            reserve_bytes,
            next: last + 1,
        };
        if entries.iter().any(|entry| entry.name == NAME_NEW) {
            checkpoints.disk.remove(NAME_NEW)?;
        }
        checkpoints.keep_reserve()?;
        Ok(checkpoints)
    }

    /// Write a checkpoint that covers the log up to `covers`, with the records that `fill` gives. The checkpoint
    /// before is removed when this one is durable and has been read back.
    pub fn write(
        &mut self,
        covers: Position,
        mut fill: impl FnMut(&mut Sink<'_, D::File>) -> io::Result<()>,
    ) -> Result<Summary, Error> {
        let summary = match self.write_new(covers, &mut fill) {
            Err(Error::Full) if self.release_reserve()? => self.write_new(covers, &mut fill)?,
            other => other?,
        };
        self.next += 1;
        self.remove_before(summary.number)?;
        self.keep_reserve()?;
        Ok(summary)
    }

    fn write_new(
        &mut self,
        covers: Position,
        fill: &mut impl FnMut(&mut Sink<'_, D::File>) -> io::Result<()>,
    ) -> Result<Summary, Error> {
        let number = self.next;
        let written = self.write_file(number, covers, fill);
        if written.is_err() {
            // An unfinished one is of no use and takes space; it would be removed at the next start anyway.
            let _ = self.disk.remove(NAME_NEW);
        }
        match written {
            Err(error) if is_full(&error) => return Err(Error::Full),
            other => other?,
        }
        self.disk.rename(NAME_NEW, &file_name(number))?;
        self.disk.sync_directory()?;
        self.verify(number)
    }

    fn write_file(
        &self,
        number: u32,
        covers: Position,
        fill: &mut impl FnMut(&mut Sink<'_, D::File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.disk.create(NAME_NEW)?;
        file.write_at(&self.header(number, covers), 0)?;
        let mut sink = Sink {
            file: &file,
            offset: HEADER_BYTES as u64,
            block: Vec::new(),
            block_records: 0,
            blocks: 0,
            records: 0,
        };
        fill(&mut sink)?;
        sink.finish()?;
        file.sync_all()
    }

    fn header(&self, number: u32, covers: Position) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.to_le_bytes());
        bytes[24..32].copy_from_slice(&covers.0.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The newest checkpoint that is whole, its records given to `visit` in the order they were written; `None` when
    /// there has never been one. A checkpoint is checked to its end before the first record is shown.
    pub fn load<E: From<Error>>(
        &self,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<Summary>, E> {
        let mut numbers: Vec<u32> = self
            .disk
            .list()
            .map_err(Error::Io)?
            .iter()
            .filter_map(|entry| parse_name(&entry.name))
            .collect();
        numbers.sort_unstable();
        let mut damaged = None;
        for number in numbers.into_iter().rev() {
            match self.verify(number) {
                Ok(summary) => {
                    self.read(number, &mut visit)?;
                    return Ok(Some(summary));
                }
                Err(error @ Error::Damaged { .. }) => damaged = damaged.or(Some(error)),
                Err(error) => return Err(error.into()),
            }
        }
        match damaged {
            Some(error) => Err(error.into()),
            None => Ok(None),
        }
    }

    /// Read a checkpoint to its end, showing nothing.
    fn verify(&self, number: u32) -> Result<Summary, Error> {
        self.read(number, &mut |_| Ok(()))
    }

    fn read<E: From<Error>>(
        &self,
        number: u32,
        visit: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Summary, E> {
        let name = file_name(number);
        let place = || self.disk.place();
        let damaged = |offset: u64| Error::Damaged {
            place: place(),
            name: file_name(number),
            offset,
        };
        let file = self.disk.open(&name).map_err(Error::Io)?;
        let bytes = file.length().map_err(Error::Io)?;
        let mut header = [0; HEADER_BYTES];
        fill_from(&file, &mut header, 0)
            .map_err(Error::Io)?
            .ok_or_else(|| damaged(0))?;
        if header[..8] != MAGIC || crc32fast::hash(&header[..36]) != number_at(&header, 36) {
            return Err(damaged(0).into());
        }
        let version = number_at(&header, 8);
        if version > FORMAT_VERSION {
            return Err(Error::Newer {
                place: place(),
                name,
                found: version,
                known: FORMAT_VERSION,
            }
            .into());
        }
        if long_at(&header, 16) != self.identity || number_at(&header, 12) != number {
            return Err(Error::Foreign { place: place(), name }.into());
        }
        let covers = Position(long_at(&header, 24));
        let (mut offset, mut blocks, mut records) = (HEADER_BYTES as u64, 0u64, 0u64);
        let mut block = Vec::new();
        loop {
            let count = read_block(&file, offset, bytes, &mut block).map_err(Error::Io)?;
            let count = count.ok_or_else(|| damaged(offset))?;
            if count == 0 {
                let whole = block.len() == LAST_BLOCK_BYTES
                    && long_at(&block, 0) == blocks
                    && long_at(&block, 8) == records;
                if !whole {
                    return Err(damaged(offset).into());
                }
                return Ok(Summary {
                    number,
                    covers,
                    records,
                    bytes,
                });
            }
            visit_block(&block, count, visit)?.ok_or_else(|| damaged(offset))?;
            offset += (BLOCK_HEADER_BYTES + block.len()) as u64;
            blocks += 1;
            records += u64::from(count);
        }
    }

    fn remove_before(&self, number: u32) -> io::Result<()> {
        let entries = self.disk.list()?;
        let old = entries
            .iter()
            .filter(|entry| parse_name(&entry.name).is_some_and(|other| other < number));
        for entry in old {
            self.disk.remove(&entry.name)?;
        }
        self.disk.sync_directory()
    }

    /// Give the reserved space back to the disk; `false` when there was none.
    fn release_reserve(&mut self) -> io::Result<bool> {
        match self.disk.remove(RESERVE_NAME) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Make the reserve if it is missing and there is space.
    fn keep_reserve(&mut self) -> io::Result<()> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let file = match self.disk.open(RESERVE_NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(RESERVE_NAME),
            other => other,
        };
        match file.and_then(|file| file.allocate(self.reserve_bytes)) {
            Err(error) if is_full(&error) => self.release_reserve().map(|_| ()),
            other => other,
        }
    }
}

impl<F: File> Sink<'_, F> {
    /// Add a record.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.block.extend_from_slice(record);
        self.block_records += 1;
        self.records += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block_records == 0 {
            return Ok(());
        }
        assert!(
            self.block.len() <= BLOCK_BYTES_MAX,
            "a checkpoint record is not larger than a log record"
        );
        write_block(self.file, self.offset, self.block_records, &self.block)?;
        self.offset += (BLOCK_HEADER_BYTES + self.block.len()) as u64;
        self.blocks += 1;
        self.block_records = 0;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        let mut last = [0; LAST_BLOCK_BYTES];
        last[..8].copy_from_slice(&self.blocks.to_le_bytes());
        last[8..].copy_from_slice(&self.records.to_le_bytes());
        write_block(self.file, self.offset, 0, &last)
    }
}

fn write_block(file: &impl File, offset: u64, records: u32, contents: &[u8]) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK_HEADER_BYTES + contents.len());
    block.extend_from_slice(&(contents.len() as u32).to_le_bytes());
    block.extend_from_slice(&records.to_le_bytes());
    block.extend_from_slice(&block_crc(&block, contents).to_le_bytes());
    block.extend_from_slice(contents);
    file.write_at(&block, offset)
}

fn block_crc(header: &[u8], contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(contents);
    hasher.finalize()
}

/// Read the block at `offset` into `block`; returns its records, `None` when it is damaged.
fn read_block(file: &impl File, offset: u64, length: u64, block: &mut Vec<u8>) -> io::Result<Option<u32>> {
    let mut header = [0; BLOCK_HEADER_BYTES];
    if fill_from(file, &mut header, offset)?.is_none() {
        return Ok(None);
    }
    let bytes = number_at(&header, 0) as usize;
    let room = length.saturating_sub(offset + BLOCK_HEADER_BYTES as u64);
    if bytes > BLOCK_BYTES_MAX || bytes as u64 > room {
        return Ok(None);
    }
    block.resize(bytes, 0);
    let whole = fill_from(file, block, offset + BLOCK_HEADER_BYTES as u64)?.is_some();
    let intact = whole && block_crc(&header[..8], block) == number_at(&header, 8);
    Ok(intact.then(|| number_at(&header, 4)))
}

/// `None` when the records do not fill the block exactly.
fn visit_block<E>(
    block: &[u8],
    count: u32,
    visit: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<()>, E> {
    let mut rest = block;
    for _ in 0..count {
        let Some((length, behind)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((record, behind)) = behind.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            return Ok(None);
        };
        visit(record)?;
        rest = behind;
    }
    Ok(rest.is_empty().then_some(()))
}

/// `None` when the file ends before the buffer is full, or the medium has lost the place.
fn fill_from(file: &impl File, buffer: &mut [u8], offset: u64) -> io::Result<Option<()>> {
    match file.read_at(buffer, offset) {
        Ok(filled) => Ok((filled == buffer.len()).then_some(())),
        Err(error) if is_unreadable(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    number(bytes, at)
}

fn long_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(number(bytes, at)) | u64::from(number(bytes, at + 4)) << 32
}

fn file_name(number: u32) -> String {
    format!("checkpoint-{number:010}.ckp")
}

fn parse_name(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("checkpoint-")?.strip_suffix(".ckp")?;
    if digits.len() == 10 {
        digits.parse().ok()
    } else {
        None
    }
}
