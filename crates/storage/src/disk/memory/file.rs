//! An open file of the disk in memory.

use super::{Change, Fault, Memory, SECTOR, error_of};
use crate::disk::File;
use std::{io, ops::Range};

/// A file of [`Memory`].
#[derive(Debug)]
pub struct MemoryFile {
    pub(super) disk: Memory,
    pub(super) file: usize,
    /// Opened by `open_direct`.
    pub(super) direct: bool,
}

impl MemoryFile {
    /// What Linux answers to a write past the cache that is not in whole sectors, or not in one place.
    fn check_sectors(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        const EINVAL: i32 = 22;
        let whole = |number: usize| (number as u64).is_multiple_of(SECTOR);
        let fits = |part: &&[u8]| whole(part.len()) && whole(part.as_ptr().addr());
        if self.direct && !(offset.is_multiple_of(SECTOR) && parts.iter().all(fits)) {
            return Err(io::Error::from_raw_os_error(EINVAL));
        }
        Ok(())
    }
}

impl File for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state.lock();
        state.plain_call()?;
        Ok(state.inodes[self.file].seen.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(!self.direct, "a file to be written past the cache is not read");
        let mut state = self.disk.state.lock();
        state.plain_call()?;
        let wanted = offset..offset + buffer.len() as u64;
        let bad = |(file, range): &(usize, Range<u64>)| {
            *file == self.file && range.start < wanted.end && wanted.start < range.end
        };
        if state.unreadable.iter().any(bad) {
            return Err(error_of(Fault::Io));
        }
        Ok(state.inodes[self.file].seen.read(buffer, offset))
    }

    fn written_bytes(&self) -> io::Result<u64> {
        let mut state = self.disk.state.lock();
        state.plain_call()?;
        let unreadable = state.unreadable.iter().filter(|(file, _)| *file == self.file);
        let ends = unreadable.map(|(_, range)| range.end);
        let written = state.inodes[self.file].seen.written_bytes();
        Ok(ends.fold(written, u64::max))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_sectors(&[bytes], offset)?;
        let change = Change::Write {
            file: self.file,
            offset,
            bytes: bytes.to_vec(),
        };
        self.disk.state.lock().change(change)
    }

    fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.check_sectors(parts, offset)?;
        let change = Change::Write {
            file: self.file,
            offset,
            bytes: parts.concat(),
        };
        self.disk.state.lock().change(change)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk
            .state
            .lock()
            .sync(|change| change.file() == Some(self.file))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.state.lock().change(Change::Resize {
            file: self.file,
            length,
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let length = length.max(state.inodes[self.file].seen.len());
        state.change(Change::Resize {
            file: self.file,
            length,
        })
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.plain_call()?;
        let mut contents = state.inodes[self.file].durable.clone();
        for (_, change) in &state.pending {
            match change {
                Change::Write { file, offset, bytes } if *file == self.file => contents.write(*offset, bytes),
                Change::Resize { file, length } if *file == self.file => contents.resize(*length),
                _ => {}
            }
        }
        state.inodes[self.file].seen = contents;
        Ok(())
    }
}
