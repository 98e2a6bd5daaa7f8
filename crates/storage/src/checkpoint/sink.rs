//! What takes the records of a checkpoint while it is written.

use super::format::{BLOCK_BYTES_MAX, Block};
use crate::disk::File;
use std::io;

/// A block is written when it has reached this size, in bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// Takes records and writes them in blocks.
pub struct Sink<'a, F: File> {
    file: &'a F,
    offset: u64,
    contents: Vec<u8>,
    count: u32,
    blocks: u64,
    records: u64,
}

impl<'a, F: File> Sink<'a, F> {
    pub(super) fn new(file: &'a F, offset: u64) -> Sink<'a, F> {
        Sink {
            file,
            offset,
            contents: Vec::new(),
            count: 0,
            blocks: 0,
            records: 0,
        }
    }

    /// Add a record.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.contents
            .extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.contents.extend_from_slice(record);
        self.count += 1;
        self.records += 1;
        if self.contents.len() >= BLOCK_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.write(&Block::encode_last(self.blocks, self.records))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        assert!(
            self.contents.len() <= BLOCK_BYTES_MAX,
            "a checkpoint record is not larger than a log record"
        );
        self.write(&Block::encode(self.count, &self.contents))?;
        self.blocks += 1;
        self.count = 0;
        self.contents.clear();
        Ok(())
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.file.write_at(block, self.offset)?;
        self.offset += block.len() as u64;
        Ok(())
    }
}
