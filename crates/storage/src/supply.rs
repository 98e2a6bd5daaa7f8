//! Where segment files come from: spares left by retired segments, new files, and a reserve for when the disk is full.
//!
//! A file in here has its space allocated, so that running out of space shows before anything is half written. The
//! lock guards a list of names and is never held while the disk works.

use crate::{
    directory::Directory,
    disk::{Disk, Entry, File, is_full, is_out_of_files},
};
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

const RESERVE_NAME: &str = "reserve.log";
/// Zeros are written in pieces of this size, in bytes, each synced, so that a sync of the log never waits for more.
const PREWRITE_BYTES: usize = 1 << 20;

/// Which space may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Common,
    Reserved,
}

/// The files of one directory that are no segments yet.
pub(crate) struct Supply<D: Disk> {
    disk: D,
    directory: Arc<Directory<D>>,
    segment_bytes: u64,
    spares_max: usize,
    spares: Mutex<Vec<String>>,
    next: AtomicU32,
    reserve: AtomicBool,
}

impl<D: Disk> Supply<D> {
    pub(crate) fn new(
        disk: D,
        directory: Arc<Directory<D>>,
        segment_bytes: u64,
        spares_max: usize,
    ) -> Supply<D> {
        Supply {
            disk,
            directory,
            segment_bytes,
            spares_max,
            spares: Mutex::default(),
            next: AtomicU32::new(1),
            reserve: AtomicBool::new(false),
        }
    }

    /// Remove what an earlier process left; its space is there for new files. A sync may have failed in that process, of a file or of the
    /// directory, and what it has lost is still to be seen on the same kernel: a segment in such a file would be gone with the next power
    /// failure, although this process synced both with success.
    pub(crate) fn clear(&self, entries: &[Entry]) -> io::Result<()> {
        for Entry { name, .. } in entries {
            let digits = name
                .strip_prefix("spare-")
                .and_then(|rest| rest.strip_suffix(".log"));
            if digits.is_none() && name != RESERVE_NAME {
                continue;
            }
            // A name in doubt is not given again.
            let number = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0u32);
            self.next.fetch_max(number.saturating_add(1), Ordering::Relaxed);
            self.disk.remove(name)?;
        }
        Ok(())
    }

    /// The name of a file with space of `length` bytes. `None`: the disk is full.
    pub(crate) fn obtain(&self, length: u64, space: Space) -> io::Result<Option<String>> {
        let common = length == self.segment_bytes;
        if common && let Some(spare) = self.spares.lock().pop() {
            return Ok(Some(spare));
        }
        let name = self.spare_name();
        if self.make(&name, length)?.is_some() {
            return Ok(Some(name));
        }
        if common && space == Space::Reserved && self.has_reserve() {
            return self.lend_reserve(name);
        }
        Ok(None)
    }

    /// The reserve gets the name of a spare before anybody may think that it is missing: while the log makes a segment of it, the
    /// housekeeping may put another in its place. Only the log lends it, so nobody else can have done so meanwhile.
    fn lend_reserve(&self, name: String) -> io::Result<Option<String>> {
        match self.disk.rename(RESERVE_NAME, &name) {
            Err(error) if is_full(&error) => return Ok(None),
            other => other?,
        }
        self.reserve.store(false, Ordering::Release);
        Ok(Some(name))
    }

    /// Give back what `obtain` gave and could not be used.
    pub(crate) fn give_back(&self, name: String, length: u64) -> io::Result<()> {
        if length == self.segment_bytes {
            self.spares.lock().push(name);
        } else {
            self.disk.remove(&name)?;
        }
        Ok(())
    }

    /// Take the file of a retired segment; `false` when there is no use for it.
    pub(crate) fn recycle(&self, name: &str, length: u64) -> io::Result<bool> {
        if length != self.segment_bytes {
            return Ok(false);
        }
        let place = match self.has_reserve() {
            false => RESERVE_NAME.to_owned(),
            true if self.spares.lock().len() < self.spares_max => self.spare_name(),
            true => return Ok(false),
        };
        match self.disk.rename(name, &place) {
            Err(error) if is_full(&error) => return Ok(false),
            other => other?,
        }
        // Only when the old name is gone for certain may the file be written over. Otherwise the next process must not find it among the
        // spares: the old name may come back with the next power failure.
        if let Err(error) = self.directory.sync() {
            let _ = self.disk.rename(&place, name);
            return Err(error);
        }
        if place == RESERVE_NAME {
            self.reserve.store(true, Ordering::Release);
        } else {
            self.spares.lock().push(place);
        }
        Ok(true)
    }

    pub(crate) fn has_reserve(&self) -> bool {
        self.reserve.load(Ordering::Acquire)
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.spares_max == 0 || !self.spares.lock().is_empty()
    }

    /// Make the reserve if it is missing, of a spare if there is one; `false` when there is no space for it.
    pub(crate) fn make_reserve(&self) -> io::Result<bool> {
        if self.has_reserve() {
            return Ok(true);
        }
        let spare = self.spares.lock().pop();
        let made = match spare {
            Some(spare) => self.promote(spare)?,
            None => self.make(RESERVE_NAME, self.segment_bytes)?.is_some(),
        };
        if made {
            self.reserve.store(true, Ordering::Release);
        }
        Ok(made)
    }

    fn promote(&self, spare: String) -> io::Result<bool> {
        match self.disk.rename(&spare, RESERVE_NAME) {
            Err(error) if is_full(&error) => {
                self.spares.lock().push(spare);
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Make a spare, written over with zeros once if `prewrite`; `false` when there is no space for it.
    pub(crate) fn make_spare(&self, prewrite: bool) -> io::Result<bool> {
        let name = self.spare_name();
        let Some(file) = self.make(&name, self.segment_bytes)? else {
            return Ok(false);
        };
        if prewrite {
            match write_zeros(&file, self.segment_bytes) {
                Err(error) if is_full(&error) => {
                    self.disk.remove(&name)?;
                    return Ok(false);
                }
                other => other?,
            }
        }
        self.spares.lock().push(name);
        Ok(true)
    }

    /// Make a file with the space of `length` bytes. `None`: the disk is full, or no more files can be opened, and nothing is left of the attempt.
    fn make(&self, name: &str, length: u64) -> io::Result<Option<D::File>> {
        let made = self
            .disk
            .create(name)
            .and_then(|file| file.allocate(length).map(|()| file));
        match made {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_full(&error) || is_out_of_files(&error) => match self.disk.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    fn spare_name(&self) -> String {
        format!("spare-{:05}.log", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn write_zeros(file: &impl File, length: u64) -> io::Result<()> {
    let zeros = vec![0; PREWRITE_BYTES.min(length as usize)];
    let mut offset = 0;
    while offset < length {
        let bytes = zeros.len().min((length - offset) as usize);
        file.write_at(&zeros[..bytes], offset)?;
        file.sync_data()?;
        offset += bytes as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Memory;

    const SEGMENT_BYTES: u64 = 8192;

    /// A full disk with nothing but a reserve, and what the log obtained from it.
    fn lent() -> (Memory, Supply<Memory>, String) {
        let disk = Memory::new(1);
        let directory = Arc::new(Directory::new(disk.clone()));
        let supply = Supply::new(disk.clone(), directory, SEGMENT_BYTES, 1);
        assert!(supply.make_reserve().expect("there is room"));
        disk.set_capacity(Some(disk.used_bytes()));
        let lent = supply.obtain(SEGMENT_BYTES, Space::Reserved);
        let name = lent.expect("a reserve is there").expect("it may be used");
        (disk, supply, name)
    }

    #[test]
    fn a_full_disk_without_a_reserve_lends_nothing() {
        let (_, supply, _) = lent();
        let again = supply.obtain(SEGMENT_BYTES, Space::Reserved);
        assert_eq!(again.expect("a full disk is no failure"), None);
    }

    #[test]
    fn a_reserve_cannot_be_made_while_the_log_makes_a_segment_of_it() {
        let (_, supply, _) = lent();
        assert!(!supply.make_reserve().expect("a full disk is no failure"));
    }

    #[test]
    fn a_retired_segment_does_not_take_the_place_of_the_reserve_that_was_lent() {
        let (disk, supply, name) = lent();
        disk.set_capacity(None);
        let retired = disk.create("retired").expect("there is room");
        retired.allocate(SEGMENT_BYTES).expect("there is room");
        retired.write_at(b"old", 0).expect("there is room");
        let file = disk.open(&name).expect("it was lent");
        file.write_at(b"new", 0).expect("there is room");
        assert!(supply.recycle("retired", SEGMENT_BYTES).expect("it is there"));
        disk.rename(&name, "segment").expect("it is still there");
        let segment = disk.contents("segment").expect("it was renamed");
        assert_eq!(&segment[..3], b"new");
        assert!(supply.has_reserve());
    }

    #[test]
    fn what_was_given_back_is_lent_again() {
        let (disk, supply, name) = lent();
        supply
            .give_back(name.clone(), SEGMENT_BYTES)
            .expect("nothing is written");
        assert!(disk.contents(&name).is_some());
        let again = supply.obtain(SEGMENT_BYTES, Space::Reserved);
        assert_eq!(again.expect("it is there"), Some(name));
    }

    #[test]
    fn what_was_given_back_is_the_reserve_again() {
        let (_, supply, name) = lent();
        supply.give_back(name, SEGMENT_BYTES).expect("nothing is written");
        assert!(supply.make_reserve().expect("nothing is written"));
        assert!(supply.has_reserve());
        assert!(!supply.has_spare());
    }
}
