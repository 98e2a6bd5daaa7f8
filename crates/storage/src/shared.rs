//! What the three kinds of handle share: the directory, the table of segments, the spare files, the poison.
//!
//! The locks in here guard tables and are held for a look-up, never while bytes are read, written or synced.

use crate::{
    Fatal, Options, Position, SegmentNumber,
    disk::{Disk, File, is_full},
    record::Mask,
    segment::{self, Segment},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

/// Kept back for settlements when the disk is full.
pub(crate) const RESERVE_NAME: &str = "reserve.log";

pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: D,
    pub(crate) options: Options,
    pub(crate) identity: u64,
    pub(crate) segments: RwLock<BTreeMap<SegmentNumber, Arc<Segment<D::File>>>>,
    /// A `Position`: everything before it has been written, and may be read.
    pub(crate) appended: AtomicU64,
    /// Names of files with space of one segment, ready to become one.
    pub(crate) spares: Mutex<Vec<String>>,
    pub(crate) spare_next: AtomicU32,
    /// Whether the reserve file exists.
    pub(crate) reserve: AtomicBool,
    fatal: OnceLock<Fatal>,
    clock: AtomicU64,
    _lock: D::Lock,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(disk: D, options: Options, identity: u64, lock: D::Lock) -> Shared<D> {
        Shared {
            disk,
            options,
            identity,
            segments: RwLock::default(),
            appended: AtomicU64::new(0),
            spares: Mutex::default(),
            spare_next: AtomicU32::new(1),
            reserve: AtomicBool::new(false),
            fatal: OnceLock::new(),
            clock: AtomicU64::new(1),
            _lock: lock,
        }
    }

    /// Poison the log: whatever comes after answers with the first fatal error.
    pub(crate) fn poison(&self, doing: &'static str, error: io::Error) -> Fatal {
        self.fatal.get_or_init(|| Fatal::new(doing, error)).clone()
    }

    pub(crate) fn check(&self) -> Result<(), Fatal> {
        match self.fatal.get() {
            Some(fatal) => Err(fatal.clone()),
            None => Ok(()),
        }
    }

    pub(crate) fn mask(&self, number: SegmentNumber) -> Mask {
        Mask::new(self.identity, number)
    }

    pub(crate) fn appended(&self) -> Position {
        Position(self.appended.load(Ordering::Acquire))
    }

    pub(crate) fn segment(&self, number: SegmentNumber) -> Option<Arc<Segment<D::File>>> {
        self.segments.read().get(&number).cloned()
    }

    pub(crate) fn insert(&self, segment: Segment<D::File>) {
        self.segments.write().insert(segment.number, Arc::new(segment));
    }

    /// The file of a segment, opened if it is not; closes the one unused for longest when too many are open.
    pub(crate) fn file(&self, segment: &Segment<D::File>) -> io::Result<Arc<D::File>> {
        segment
            .used
            .store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(file) = segment.file.lock().as_ref() {
            return Ok(file.clone());
        }
        let file = Arc::new(self.disk.open(&segment::file_name(segment.number))?);
        *segment.file.lock() = Some(file.clone());
        self.close_unused(segment.number);
        Ok(file)
    }

    fn close_unused(&self, opened: SegmentNumber) {
        let segments = self.segments.read();
        let open: Vec<_> = segments
            .values()
            .filter(|segment| segment.file.lock().is_some())
            .collect();
        if open.len() <= self.options.files_open_max {
            return;
        }
        let others = open.into_iter().filter(|segment| segment.number != opened);
        if let Some(oldest) = others.min_by_key(|segment| segment.used.load(Ordering::Relaxed)) {
            *oldest.file.lock() = None;
        }
    }

    /// Make a file with the space of `length` bytes. `None`: the disk is full, and nothing is left of the attempt.
    pub(crate) fn make_file(&self, name: &str, length: u64) -> io::Result<Option<D::File>> {
        let made = self
            .disk
            .create(name)
            .and_then(|file| file.allocate(length).map(|()| file));
        match made {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_full(&error) => match self.disk.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    pub(crate) fn spare_name(&self) -> String {
        format!("spare-{:05}.log", self.spare_next.fetch_add(1, Ordering::Relaxed))
    }

    /// Make the reserve if it is missing; `false` when there is no space for it.
    pub(crate) fn make_reserve(&self) -> io::Result<bool> {
        if self.reserve.load(Ordering::Acquire) {
            return Ok(true);
        }
        let made = self
            .make_file(RESERVE_NAME, u64::from(self.options.segment_bytes))?
            .is_some();
        if made {
            self.reserve.store(true, Ordering::Release);
        }
        Ok(made)
    }
}
