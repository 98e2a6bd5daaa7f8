//! Checkpoints: the state at a position of the log, so that a start need not replay everything.
//!
//! What a checkpoint says is the caller's affair: it is a list of records. It is written beside the one before it,
//! synced, renamed, the directory synced, read back and copied; only then is the one before removed. The copy is there
//! because a checkpoint concentrates: one flipped bit in the log costs a record, in the only checkpoint it would cost
//! every queue.
//!
//! Format: `docs/formats/checkpoint.md` and the `format` module beside this one.

mod format;
mod sink;

pub use sink::Sink;

use crate::{
    Position,
    directory::Directory,
    disk::{Disk, Entry, File, is_full},
    manifest::Manifest,
    segment::FORMAT_VERSION,
};
use format::{Block, HEADER_BYTES, Header, Kind, is_ours};
use std::{io, sync::Arc};

const NAME_NEW: &str = "checkpoint.new";
const RESERVE_NAME: &str = "checkpoint.reserve";
const COPY_BYTES: usize = 1 << 20;

/// Why a checkpoint could not be written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No space. The checkpoint before is still there, nothing is lost; try again when space has returned.
    #[error("the disk is full: no room for a checkpoint")]
    Full,
    /// A damaged checkpoint and no other one to use.
    #[error(
        "{place}: {name} is damaged at byte {offset} and no other checkpoint is whole; restore the data directory \
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
    /// All four billion numbers are used, or a file has the name of the last.
    #[error("{place}: every checkpoint number has been used; move the contents to a new data directory")]
    Exhausted {
        /// The directory.
        place: String,
    },
    /// The disk gave an error. The checkpoint before still holds; the log beside it may be on the same broken disk.
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

/// A checkpoint file that was looked at.
#[derive(Debug)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// What it says, or what is wrong with it.
    pub summary: Result<Summary, Error>,
}

/// The checkpoints of one log. Used by one thread; it is the `Log` that holds the directory's lock.
pub struct Checkpoints<D: Disk> {
    disk: D,
    directory: Arc<Directory<D>>,
    identity: u64,
    reserve_bytes: u64,
    next: u32,
}

impl<D: Disk> Checkpoints<D> {
    /// The checkpoints in `disk`, whose log must have been opened before. `reserve_bytes` of space are kept back, so
    /// that a checkpoint can be written when the disk is full: it is what lets segments go.
    ///
    /// Beside a log that goes on being written, take [`Maintenance::checkpoints`](crate::Maintenance::checkpoints).
    pub fn open(disk: D, reserve_bytes: u64) -> Result<Checkpoints<D>, Error> {
        let directory = Arc::new(Directory::new(disk.clone()));
        Checkpoints::beside(disk, directory, reserve_bytes)
    }

    /// As `open`, in a directory that others write to as well.
    pub(crate) fn beside(
        disk: D,
        directory: Arc<Directory<D>>,
        reserve_bytes: u64,
    ) -> Result<Checkpoints<D>, Error> {
        let checkpoints = Checkpoints::inspect(disk)?;
        let checkpoints = Checkpoints {
            directory,
            reserve_bytes,
            ..checkpoints
        };
        checkpoints.remove_if_present(NAME_NEW)?;
        checkpoints.keep_reserve()?;
        Ok(checkpoints)
    }

    /// The checkpoints of a stopped broker, for looking only: nothing is changed.
    pub fn inspect(disk: D) -> Result<Checkpoints<D>, Error> {
        let entries = disk.list()?;
        let (manifest, _) = Manifest::find(&disk, &entries).map_err(io::Error::other)?;
        let last = entries
            .iter()
            .filter_map(|entry| format::parse_name(&entry.name))
            .max();
        let next = last.map_or(0, |(number, _)| number).saturating_add(1);
        Ok(Checkpoints {
            directory: Arc::new(Directory::new(disk.clone())),
            disk,
            identity: manifest.identity,
            reserve_bytes: 0,
            next,
        })
    }

    /// Write a checkpoint that covers the log up to `covers`, with the records that `fill` gives. The checkpoint
    /// before is removed when this one is durable and has been read back. `fill` is called a second time when the
    /// reserve has to be given up first.
    pub fn write(
        &mut self,
        covers: Position,
        mut fill: impl FnMut(&mut Sink<'_, D::File>) -> io::Result<()>,
    ) -> Result<Summary, Error> {
        if self.next == u32::MAX {
            return Err(Error::Exhausted {
                place: self.disk.place(),
            });
        }
        let written = match self.write_new(covers, &mut fill) {
            Err(error) if is_full(&error) && self.remove_if_present(RESERVE_NAME)? => {
                self.write_new(covers, &mut fill)
            }
            other => other,
        };
        match written {
            Err(error) if is_full(&error) => return Err(Error::Full),
            other => other?,
        }
        let number = self.next;
        let summary = self.verify(number, Kind::Original)?;
        self.next += 1;
        self.copy(number)?;
        self.remove_before(number)?;
        self.keep_reserve()?;
        Ok(summary)
    }

    /// The newest checkpoint that is whole, its records given to `visit` in the order they were written; `None` when
    /// there has never been one. A checkpoint is checked to its end before its first record is shown.
    pub fn load<E: From<Error>>(
        &self,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<Summary>, E> {
        let mut damaged = None;
        for (number, kind) in self.newest_first()? {
            match self.verify(number, kind) {
                Ok(_) => return self.read(number, kind, &mut visit).map(Some),
                Err(error @ Error::Damaged { .. }) => damaged = damaged.or(Some(error)),
                Err(error) => return Err(error.into()),
            }
        }
        match damaged {
            Some(error) => Err(error.into()),
            None => Ok(None),
        }
    }

    /// Every checkpoint file there is, newest first, the original before its copy, and whether it is whole.
    pub fn check(&self) -> Result<Vec<Checked>, Error> {
        let files = self.newest_first()?.into_iter();
        let check = |(number, kind)| Checked {
            name: format::file_name(number, kind),
            summary: self.verify(number, kind),
        };
        Ok(files.map(check).collect())
    }

    fn newest_first(&self) -> Result<Vec<(u32, Kind)>, Error> {
        let entries = self.disk.list()?;
        let mut files: Vec<_> = entries
            .iter()
            .filter_map(|entry| format::parse_name(&entry.name))
            .collect();
        files.sort_unstable_by_key(|(number, kind)| (u32::MAX - number, *kind));
        Ok(files)
    }

    fn write_new(
        &self,
        covers: Position,
        fill: &mut impl FnMut(&mut Sink<'_, D::File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let written = self.write_file(covers, fill);
        if written.is_err() {
            // Unfinished it is of no use and takes space. Should this fail too, the next start does it.
            let _ = self.disk.remove(NAME_NEW);
            return written;
        }
        self.disk
            .rename(NAME_NEW, &format::file_name(self.next, Kind::Original))?;
        self.directory.sync()
    }

    fn write_file(
        &self,
        covers: Position,
        fill: &mut impl FnMut(&mut Sink<'_, D::File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.remove_if_present(NAME_NEW)?;
        let file = self.disk.create(NAME_NEW)?;
        let header = Header {
            version: FORMAT_VERSION,
            number: self.next,
            identity: self.identity,
            covers,
        };
        file.write_at(&header.encode(), 0)?;
        let mut sink = Sink::new(&file, HEADER_BYTES as u64);
        fill(&mut sink)?;
        sink.finish()?;
        file.sync_all()
    }

    /// Copy a checkpoint that is durable. Does without when there is no space.
    fn copy(&self, number: u32) -> io::Result<()> {
        let copied = self.copy_file(number);
        match copied {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                self.remove_if_present(NAME_NEW)?;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.disk
            .rename(NAME_NEW, &format::file_name(number, Kind::Copy))?;
        self.directory.sync()
    }

    fn copy_file(&self, number: u32) -> io::Result<()> {
        let original = self.disk.open(&format::file_name(number, Kind::Original))?;
        let copy = self.disk.create(NAME_NEW)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        loop {
            let filled = original.read_at(&mut buffer, offset)?;
            if filled == 0 {
                return copy.sync_all();
            }
            copy.write_at(&buffer[..filled], offset)?;
            offset += filled as u64;
        }
    }

    /// Read a checkpoint to its end, showing nothing.
    fn verify(&self, number: u32, kind: Kind) -> Result<Summary, Error> {
        self.read(number, kind, &mut |_| Ok(()))
    }

    fn read<E: From<Error>>(
        &self,
        number: u32,
        kind: Kind,
        visit: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Summary, E> {
        let name = format::file_name(number, kind);
        let damaged = |offset: u64| Error::Damaged {
            place: self.disk.place(),
            name: format::file_name(number, kind),
            offset,
        };
        let file = self.disk.open(&name).map_err(Error::Io)?;
        let bytes = file.length().map_err(Error::Io)?;
        let header = Header::read(&file)
            .map_err(Error::Io)?
            .ok_or_else(|| damaged(0))?;
        self.refuse_foreign(name, number, header)?;
        let (mut offset, mut blocks, mut records) = (HEADER_BYTES as u64, 0, 0);
        loop {
            let block = Block::read(&file, offset, bytes)
                .map_err(Error::Io)?
                .ok_or_else(|| damaged(offset))?;
            if block.is_last() {
                let whole = block.totals() == Some((blocks, records));
                let summary = Summary {
                    number,
                    covers: header.covers,
                    records,
                    bytes,
                };
                return if whole {
                    Ok(summary)
                } else {
                    Err(damaged(offset).into())
                };
            }
            for record in block.records() {
                visit(record.ok_or_else(|| damaged(offset))?)?;
            }
            offset += block.file_bytes();
            blocks += 1;
            records += u64::from(block.count);
        }
    }

    fn refuse_foreign(&self, name: String, number: u32, header: Header) -> Result<(), Error> {
        let place = self.disk.place();
        if header.version > FORMAT_VERSION {
            return Err(Error::Newer {
                place,
                name,
                found: header.version,
                known: FORMAT_VERSION,
            });
        }
        if header.identity != self.identity || header.number != number {
            return Err(Error::Foreign { place, name });
        }
        Ok(())
    }

    fn remove_before(&self, number: u32) -> io::Result<()> {
        for entry in self.disk.list()? {
            if format::parse_name(&entry.name).is_some_and(|(other, _)| other < number) {
                self.disk.remove(&entry.name)?;
            }
        }
        self.directory.sync()
    }

    /// `false` when there is no such file.
    fn remove_if_present(&self, name: &str) -> io::Result<bool> {
        match self.disk.remove(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Make the reserve if it is missing and there is space.
    fn keep_reserve(&self) -> io::Result<()> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let file = match self.disk.open(RESERVE_NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(RESERVE_NAME),
            other => other,
        };
        match file.and_then(|file| file.allocate(self.reserve_bytes)) {
            Err(error) if is_full(&error) => self.remove_if_present(RESERVE_NAME).map(|_| ()),
            other => other,
        }
    }
}

/// The highest position that any checkpoint in the directory says it covers, its blocks unread.
pub(crate) fn newest_covered(disk: &impl Disk, entries: &[Entry]) -> io::Result<Position> {
    let mut newest = Position::ZERO;
    for entry in entries.iter().filter(|entry| is_ours(&entry.name)) {
        if let Some(header) = Header::read(&disk.open(&entry.name)?)? {
            newest = newest.max(header.covers);
        }
    }
    Ok(newest)
}
