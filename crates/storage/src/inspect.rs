//! Looking into the files of a stopped broker without changing them.

use crate::{
    OpenError, Options, Position, Reader, RecoveryReport,
    disk::Disk,
    manifest::{Manifest, Origin},
    recovery::{self, Tail},
    segment,
    shared::Shared,
};
use std::sync::{Arc, atomic::Ordering};

/// A reader on a log that nobody has open, and what recovery would report. Writes nothing but the lock file.
pub fn inspect<D: Disk>(disk: D) -> Result<(Reader<D>, RecoveryReport), OpenError> {
    let lock = disk
        .lock()?
        .ok_or_else(|| OpenError::InUse { place: disk.place() })?;
    let entries = disk.list()?;
    let (manifest, origin) = Manifest::find(&disk, &entries)?;
    let shared = Shared::new(disk, Options::default(), manifest.identity, lock);
    let mut report = RecoveryReport {
        fresh: origin == Origin::Fresh,
        manifest_restored: origin == Origin::Restored,
        ..RecoveryReport::default()
    };
    recovery::find_segments(&shared, &entries, &mut report)?;
    if let Some(last) = report.segments.last().copied() {
        let file = shared.disk.open(&segment::file_name(last))?;
        let tail = Tail::examine(&file, shared.mask(last), last)?;
        report.damage = tail.damage();
        report.clean = tail.is_closed();
        report.cut = tail.cut();
        report.end = Position::new(last, tail.cut_offset() as u32);
        shared.appended.store(report.end.0, Ordering::Release);
    }
    Ok((Reader::new(Arc::new(shared)), report))
}
