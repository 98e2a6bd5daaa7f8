//! What the three kinds of handle share: the directory, the table of segments, the supply of files, the poison.
//!
//! The locks in here guard tables and are held for a look-up, never while bytes are read, written or synced.

use crate::{
    Fatal, Options, Position, SegmentNumber,
    directory::Directory,
    disk::Disk,
    record::Mask,
    segment::{self, Segment},
    supply::Supply,
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: D,
    pub(crate) directory: Arc<Directory<D>>,
    pub(crate) options: Options,
    pub(crate) identity: u64,
    pub(crate) segments: RwLock<BTreeMap<SegmentNumber, Arc<Segment<D::File>>>>,
    /// A `Position`: everything before it has been written, and may be read.
    pub(crate) appended: AtomicU64,
    /// A `Position`: everything before it is on the medium.
    durable: AtomicU64,
    pub(crate) supply: Supply<D>,
    /// Records read by position so far.
    pub(crate) reads: AtomicU64,
    /// Sealed segments whose files are open, in the order they were opened.
    open: Mutex<VecDeque<SegmentNumber>>,
    _lock: D::Lock,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(disk: D, options: Options, identity: u64, lock: D::Lock) -> Shared<D> {
        let directory = Arc::new(Directory::new(disk.clone()));
        let supply = Supply::new(
            disk.clone(),
            directory.clone(),
            u64::from(options.segment_bytes),
            options.spares_max,
        );
        Shared {
            disk,
            directory,
            options,
            identity,
            segments: RwLock::default(),
            appended: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            supply,
            reads: AtomicU64::new(0),
            open: Mutex::default(),
            _lock: lock,
        }
    }

    /// Poison the log: whatever comes after answers with the first fatal error.
    pub(crate) fn poison(&self, doing: &'static str, error: io::Error) -> Fatal {
        self.directory.poison(doing, error)
    }

    pub(crate) fn check(&self) -> Result<(), Fatal> {
        self.directory.check()
    }

    pub(crate) fn mask(&self, number: SegmentNumber) -> Mask {
        Mask::new(self.identity, number)
    }

    pub(crate) fn appended(&self) -> Position {
        Position(self.appended.load(Ordering::Acquire))
    }

    pub(crate) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Everything before `end` is on the medium. Never moves back.
    pub(crate) fn made_durable(&self, end: Position) {
        self.durable.fetch_max(end.0, Ordering::AcqRel);
    }

    pub(crate) fn segment(&self, number: SegmentNumber) -> Option<Arc<Segment<D::File>>> {
        self.segments.read().get(&number).cloned()
    }

    pub(crate) fn insert(&self, segment: Segment<D::File>) -> Arc<Segment<D::File>> {
        let segment = Arc::new(segment);
        self.segments.write().insert(segment.number, segment.clone());
        segment
    }

    /// The file of a segment to read from, opened if it is not; closes the one opened longest ago when too many are open.
    pub(crate) fn file(&self, segment: &Segment<D::File>) -> io::Result<Arc<D::File>> {
        segment.gate.shut();
        if let Some(file) = segment.file.lock().as_ref() {
            return Ok(file.clone());
        }
        let file = Arc::new(self.disk.open(&segment::file_name(segment.number))?);
        *segment.file.lock() = Some(file.clone());
        let surplus = {
            let mut open = self.open.lock();
            open.push_back(segment.number);
            if open.len() > self.options.files_open_max {
                open.pop_front()
            } else {
                None
            }
        };
        // Whoever is reading from it right now holds it open until done.
        if let Some(segment) = surplus.and_then(|number| self.segment(number)) {
            *segment.file.lock() = None;
        }
        Ok(file)
    }
}
