//! The directory's names, and the poison: once it could not be synced, nobody in this process believes in it any more.
//!
//! A sync of the directory covers the names that others have made at the same time, as `fsync` of a file covers others' writes; and one that
//! fails may have lost theirs. So whoever's sync it was (the log's, the checkpoints', the housekeeping's), it stops the log: the next sync
//! might report success for names that are gone.

use crate::{Fatal, disk::Disk};
use std::{io, sync::OnceLock};

/// See the module documentation.
pub(crate) struct Directory<D: Disk> {
    disk: D,
    fatal: OnceLock<Fatal>,
}

impl<D: Disk> Directory<D> {
    pub(crate) fn new(disk: D) -> Directory<D> {
        Directory {
            disk,
            fatal: OnceLock::new(),
        }
    }

    /// Make all names durable. No lock is held meanwhile, so that the log does not wait for the housekeeping; somebody else's failure is looked
    /// for when the own sync is over, and again by whoever syncs what is written under the name.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let synced = self.disk.sync_directory();
        if let Err(error) = &synced {
            let same = match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            self.poison("syncing the directory", same);
        }
        synced.and_then(|()| self.check().map_err(io::Error::other))
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
}
