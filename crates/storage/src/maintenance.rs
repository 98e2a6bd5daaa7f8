//! The housekeeping side of the log, for a thread that may wait for the disk: retire segments, prepare the next one.

use crate::{
    Checkpoints, Fatal, SegmentNumber, checkpoint,
    disk::Disk,
    segment::{self, Segment},
    shared::Shared,
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Retires and prepares segments. Clones are the same handle.
pub struct Maintenance<D: Disk> {
    shared: Arc<Shared<D>>,
}

impl<D: Disk> Clone for Maintenance<D> {
    fn clone(&self) -> Maintenance<D> {
        Maintenance {
            shared: self.shared.clone(),
        }
    }
}

/// A segment as the caller's book-keeping needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: SegmentNumber,
    /// Length of its file, in bytes.
    pub bytes: u64,
    /// It is the one being appended to and cannot be retired.
    pub active: bool,
    /// Damage was found in it.
    pub damaged: bool,
}

/// What became of a retired segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retired {
    /// Its file will be written over.
    Recycled,
    /// Its file is gone.
    Removed,
    /// It holds damage, so it was kept under this name for a person to look at.
    SetAside(String),
}

/// Why a segment was not retired.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RetireError {
    /// It is being appended to.
    #[error("segment {0} is being appended to")]
    Active(SegmentNumber),
    /// There is no such segment.
    #[error("there is no segment {0}")]
    Missing(SegmentNumber),
    /// The log is poisoned now.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// What `prepare` achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// Reserve and spare are there.
    Ready,
    /// The reserve is there; there was no space for a spare.
    NoSpare,
    /// There was no space for the reserve: appends are refused.
    Full,
}

impl<D: Disk> Maintenance<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Maintenance<D> {
        Maintenance { shared }
    }

    /// The checkpoints beside this log. Their troubles with the directory stop the log. See [`Checkpoints::open`].
    pub fn checkpoints(&self, reserve_bytes: u64) -> Result<Checkpoints<D>, checkpoint::Error> {
        Checkpoints::beside(
            self.shared.disk.clone(),
            self.shared.directory.clone(),
            reserve_bytes,
        )
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let active = self.shared.appended().segment();
        let info = |segment: &Arc<Segment<D::File>>| SegmentInfo {
            number: segment.number,
            bytes: segment.length,
            active: segment.number == active,
            damaged: segment.damaged.load(Ordering::Relaxed),
        };
        self.shared.segments.read().values().map(info).collect()
    }

    /// The error that has stopped the log, if one has.
    pub fn check(&self) -> Result<(), Fatal> {
        self.shared.check()
    }

    /// Whether appends are refused for want of a reserve.
    pub fn reserve_missing(&self) -> bool {
        !self.shared.supply.has_reserve()
    }

    /// Bytes free on the file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.shared.disk.free_bytes()
    }

    /// Have a segment set aside when it is retired, neither recycled nor removed: something in it is for a person to look at. Nothing
    /// happens when there is no such segment.
    pub fn keep(&self, number: SegmentNumber) {
        if let Some(segment) = self.shared.segment(number) {
            segment.damaged.store(true, Ordering::Relaxed);
        }
    }

    /// Give up a segment of which nothing is needed any more. Its records are `Missing` from now on; the removal is
    /// durable when this returns.
    pub fn retire(&self, number: SegmentNumber) -> Result<Retired, RetireError> {
        self.shared.check()?;
        if number >= self.shared.appended().segment() {
            return Err(RetireError::Active(number));
        }
        let segment = self
            .shared
            .segments
            .write()
            .remove(&number)
            .ok_or(RetireError::Missing(number))?;
        let retired = self.dispose(segment);
        retired.map_err(|error| self.shared.poison("retiring a segment", error).into())
    }

    fn dispose(&self, segment: Arc<Segment<D::File>>) -> io::Result<Retired> {
        let disk = &self.shared.disk;
        let name = segment::file_name(segment.number);
        if segment.damaged.load(Ordering::Relaxed) {
            let aside = segment::damaged_name(segment.number);
            disk.rename(&name, &aside)?;
            self.shared.directory.sync()?;
            return Ok(Retired::SetAside(aside));
        }
        let length = segment.length;
        // A reader in the middle of a read keeps its file; then it must not be written over.
        let unread = Arc::into_inner(segment).is_some();
        if unread && self.shared.supply.recycle(&name, length)? {
            return Ok(Retired::Recycled);
        }
        disk.remove(&name)?;
        self.shared.directory.sync()?;
        Ok(Retired::Removed)
    }

    /// Have the reserve and one spare ready, so that the log never waits for a file to be made. To be called now and
    /// then, and after space has returned.
    pub fn prepare(&self) -> Result<Prepared, Fatal> {
        self.shared.check()?;
        self.make_ready()
            .map_err(|error| self.shared.poison("preparing a segment", error))
    }

    fn make_ready(&self) -> io::Result<Prepared> {
        let supply = &self.shared.supply;
        if !supply.make_reserve()? {
            return Ok(Prepared::Full);
        }
        let ready = supply.has_spare() || supply.make_spare(self.shared.options.prewrite)?;
        Ok(if ready { Prepared::Ready } else { Prepared::NoSpare })
    }
}
