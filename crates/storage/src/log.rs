//! The appending side of the log: one thread at a time, one sync for all that waits.
//!
//! ```text
//!  durable <= written <= end
//!     |          |        `- given to `append`: promised to nobody
//!     |          `- in the file: may be read
//!     `- covered by a sync that returned
//! ```
//!
//! A segment is written through the page cache, each group when it is appended; or past it, all groups together when their sync begins
//! ([`pending`](crate::pending)), which costs half the CPU and is durable earlier. Past it goes what nobody is going to read soon, on a disk that is quick:
//!
//! - from the first time that somebody reads from the segment on, the rest of it goes through the cache ([`gate`](crate::gate));
//! - a segment is begun past the cache if nobody has read a record from the log while the one before was written: who reads lags, and finds what he
//!   will come to in the cache;
//! - and if [`Log::disk_is_quick`] has not been told otherwise.

use crate::{
    AppendError, Fatal, Frames, LogSync, Maintenance, OpenError, Position, Reader, RecoveryReport,
    SegmentNumber,
    disk::{Disk, File, is_full, is_out_of_files},
    pending::Pending,
    record::{self, EndReason, HEAD_FRAME_BYTES, Head, PAGE_BYTES, SECTOR_BYTES, sector_up},
    recovery,
    segment::{self, FORMAT_VERSION, GROUPS_START, Header, Segment},
    shared::Shared,
    supply::Space,
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// How a log behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of a segment file, in bytes; rounded up to pages. A record that needs more gets a file of its own size.
    pub segment_bytes: u32,
    /// Retired segments kept as files to write over: syncing those costs half of syncing fresh space.
    pub spares_max: usize,
    /// Segment files kept open for reading.
    pub files_open_max: usize,
    /// `Maintenance::prepare` writes zeros over a new spare once, so that it is as fast as a retired one.
    pub prewrite: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            spares_max: 2,
            files_open_max: 256,
            prewrite: true,
        }
    }
}

impl Options {
    const SEGMENT_BYTES_MIN: u32 = 8 << 10;
    const SEGMENT_BYTES_MAX: u32 = 1 << 30;

    /// With every value in its bounds.
    fn rounded(mut self) -> Options {
        let bytes = self
            .segment_bytes
            .clamp(Self::SEGMENT_BYTES_MIN, Self::SEGMENT_BYTES_MAX);
        self.segment_bytes = bytes.next_multiple_of(PAGE_BYTES as u32);
        self.files_open_max = self.files_open_max.max(1);
        self
    }
}

/// The log, as the one thread that appends to it holds it. Dropping it without `close` is what a crash does.
pub struct Log<D: Disk> {
    shared: Arc<Shared<D>>,
    active: Active<D::File>,
    /// What the last group head in the log says of `durable`.
    told: Position,
    quick: bool,
    /// Records read when the active segment was begun.
    reads: u64,
}

/// The segment that is written to.
struct Active<F> {
    number: SegmentNumber,
    segment: Arc<Segment<F>>,
    files: Files<F>,
    /// What is to be written past the page cache.
    pending: Pending,
    /// Where the next group starts.
    end: u64,
    length: u64,
    /// Something was appended since the last sync.
    dirty: bool,
    /// It has its end already: the next append starts another one.
    ended: bool,
}

/// Syncs that have an open file of their own. The kernel tells each open file once of a failed write-back: of two syncs of one
/// open file only one would hear of it, and the other would report success.
const SYNCS_APART: usize = 8;

/// The active segment's file, opened several times.
struct Files<F> {
    /// For writing through the page cache, and for the syncs of whoever writes.
    common: Arc<F>,
    /// For writing past it, as long as the segment's gate is open.
    direct: Option<F>,
    /// For syncs beside each other, one at a time each.
    for_syncs: Vec<Arc<F>>,
}

impl<F> Files<F> {
    /// An open file that no sync uses now, and that was opened before anything was written.
    fn file_to_sync(&self) -> Arc<F> {
        let mut idle = self.for_syncs.iter();
        let idle = idle.find(|file| Arc::strong_count(file) == 1);
        idle.unwrap_or(&self.common).clone()
    }
}

impl<D: Disk> Log<D> {
    /// Open the log in `disk`, or start one in an empty directory.
    ///
    /// Everything that a `sync` ever covered is there afterwards, or is told of as damage, by the report or the
    /// replay; a torn tail is cut; new positions are above every old one.
    pub fn open(disk: D, options: Options) -> Result<(Log<D>, RecoveryReport), OpenError> {
        let (shared, number, report) = recovery::recover(disk, options.rounded())?;
        let shared = Arc::new(shared);
        let full = || OpenError::Full {
            place: shared.disk.place(),
            bytes: u64::from(shared.options.segment_bytes),
        };
        let length = u64::from(shared.options.segment_bytes);
        let name = shared.supply.obtain(length, Space::Reserved)?.ok_or_else(full)?;
        let active = start_segment(&shared, (name, length), number, report.end, true)?.ok_or_else(full)?;
        shared
            .appended
            .store(Position::new(number, active.end as u32).0, Ordering::Release);
        let durable = shared.appended();
        shared.made_durable(durable);
        Ok((
            Log {
                shared,
                active,
                told: durable,
                quick: true,
                reads: 0,
            },
            report,
        ))
    }

    /// Append records; they are durable after the next `sync`, and may be read then, or before. Returns the position that the offsets given
    /// by `frames` count from. `frames` is empty then.
    ///
    /// `Full` leaves everything as it was, `frames` too. It is also the answer while the reserve is missing.
    ///
    /// # Panics
    /// When `frames` is larger than [`record::GROUP_BYTES_MAX`].
    pub fn append(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        self.append_within(frames, Space::Common)
    }

    /// As `append`, for what frees space (settlements, deletions, checkpoint marks): may use the reserve.
    pub fn append_reserved(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        self.append_within(frames, Space::Reserved)
    }

    /// Make everything appended durable. Returns the position before which every record is.
    pub fn sync(&mut self) -> Result<Position, Fatal> {
        self.begin_sync()?.run()
    }

    /// Begin to make everything appended durable; another thread may carry it out while this one appends. What goes past the page cache is written here, and
    /// an error of that has poisoned the log.
    pub fn begin_sync(&mut self) -> Result<LogSync<D>, Fatal> {
        self.write_pending()?;
        let dirty = std::mem::replace(&mut self.active.dirty, false);
        Ok(LogSync::new(
            self.shared.clone(),
            dirty.then(|| self.active.files.file_to_sync()),
            self.end(),
        ))
    }

    /// Note in the log how far it is durable, if it does not say so yet; to be called when nothing has come for a
    /// while. Until then the group synced last is the one place where bit rot would pass for a torn write. Not synced:
    /// the note comes too late for nobody.
    pub fn mark(&mut self) -> Result<(), Fatal> {
        self.shared.check()?;
        let room = self.active.end + 2 * SECTOR_BYTES <= self.active.length;
        if self.told >= self.durable() || self.active.ended || !room {
            return Ok(());
        }
        let mut frames = Frames::with_capacity(0);
        let dirty = self.active.dirty;
        match self.write(&mut frames) {
            Ok(_) | Err(AppendError::Full) => {}
            Err(AppendError::Fatal(fatal)) => return Err(fatal),
        }
        self.write_pending()?;
        self.active.pending.shrink();
        self.active.dirty = dirty;
        Ok(())
    }

    /// Whether the next segment may be written past the page cache as far as the disk is concerned. A slow disk keeps whoever writes past the cache
    /// waiting, and what could be written and synced beside it too.
    pub fn disk_is_quick(&mut self, quick: bool) {
        self.quick = quick;
    }

    /// Make everything durable and end the log, so that the next start knows it was stopped in order.
    pub fn close(mut self) -> Result<(), Fatal> {
        self.sync()?;
        if !self.active.ended {
            self.end_segment(EndReason::Closed)?;
        }
        Ok(())
    }

    /// Everything before this position is durable.
    pub fn durable(&self) -> Position {
        self.shared.durable()
    }

    /// Where the next group will start, if it fits.
    pub fn end(&self) -> Position {
        Position::new(self.active.number, self.active.end as u32)
    }

    /// A handle for reading. Cheap; clone it for every thread.
    pub fn reader(&self) -> Reader<D> {
        Reader::new(self.shared.clone())
    }

    /// A handle for retiring segments and preparing new ones, for a thread that may wait.
    pub fn maintenance(&self) -> Maintenance<D> {
        Maintenance::new(self.shared.clone())
    }

    fn append_within(&mut self, frames: &mut Frames, space: Space) -> Result<Position, AppendError> {
        self.shared.check()?;
        assert!(
            frames.bytes() <= record::GROUP_BYTES_MAX,
            "a group is not larger than its limit"
        );
        if frames.is_empty() {
            return Ok(self.end());
        }
        if space == Space::Common && !self.shared.supply.has_reserve() {
            return Err(AppendError::Full);
        }
        let group = sector_up(frames.bytes() as u64);
        // Behind the group there must be room for the end.
        if self.active.ended || self.active.end + group + SECTOR_BYTES > self.active.length {
            self.roll(group, space)?;
        }
        self.write(frames)
    }

    /// Add the group at the end of the active segment, where it fits.
    fn write(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        let base = self.end();
        let head = Head {
            durable: self.durable(),
            group_bytes: frames.bytes() as u32,
            records: frames.records(),
        };
        let end = sector_up(self.active.end + frames.bytes() as u64);
        frames.seal(self.shared.identity, self.active.number, base.offset(), head);
        if self.active.files.direct.is_some() && self.active.segment.gate.is_open() {
            self.gather(frames, end);
            if self.active.pending.is_full() {
                self.write_pending()?;
            }
        } else {
            self.write_pending()?;
            self.write_through(frames)?;
            self.active.end = end;
            self.shared.appended.store(self.end().0, Ordering::Release);
        }
        self.told = head.durable;
        self.active.dirty = true;
        Ok(base)
    }

    /// The group, which ends at `end`, will be written past the page cache with others.
    fn gather(&mut self, frames: &mut Frames, end: u64) {
        let active = &mut self.active;
        let spare = active.pending.spare();
        let group = frames.take_padded((end - active.end) as usize, spare);
        active.pending.push(active.end, group);
        active.end = end;
    }

    /// Write the group through the page cache, in whole pages, so that none has to be read for that.
    fn write_through(&mut self, frames: &mut Frames) -> Result<(), AppendError> {
        let unpadded = frames.bytes();
        let page_end = (self.active.end + unpadded as u64).next_multiple_of(PAGE_BYTES);
        let bytes = frames.padded((page_end - self.active.end) as usize);
        let written = self.active.files.common.write_at(bytes, self.active.end);
        frames.unpad(unpadded);
        match written {
            Ok(()) => {
                frames.clear();
                Ok(())
            }
            Err(error) if is_full(&error) => Err(self.abandon_segment()),
            Err(error) => Err(self.shared.poison("writing", error).into()),
        }
    }

    /// Write what was to be written past the page cache; through it, if somebody has come to read from the segment meanwhile. The space for it is
    /// allocated, on a file system that keeps it, so even a full disk is a failed disk here.
    fn write_pending(&mut self) -> Result<(), Fatal> {
        let active = &mut self.active;
        if active.pending.is_empty() {
            return Ok(());
        }
        let (start, parts) = (active.pending.start(), active.pending.parts());
        let parts = &parts[..active.pending.len()];
        let written = match (active.segment.gate.enter(), &active.files.direct) {
            (Some(_nobody_reads), Some(direct)) => direct.write_parts_at(parts, start),
            _ => active.files.common.write_parts_at(parts, start),
        };
        written.map_err(|error| self.shared.poison("writing", error))?;
        active.pending.clear();
        self.shared.appended.store(self.end().0, Ordering::Release);
        Ok(())
    }

    /// A write ran out of space although the space was allocated (some file systems cannot promise it). A part of the
    /// group may be there; the place must not be used for another, or records of both might be found one day.
    fn abandon_segment(&mut self) -> AppendError {
        match self.end_segment(EndReason::Cut) {
            Ok(()) => AppendError::Full,
            Err(fatal) => fatal.into(),
        }
    }

    /// End the active segment and start another with room for a group of `group` bytes.
    fn roll(&mut self, group: u64, space: Space) -> Result<(), AppendError> {
        let needed = (GROUPS_START + group + SECTOR_BYTES).next_multiple_of(PAGE_BYTES);
        let length = needed.max(u64::from(self.shared.options.segment_bytes));
        let failed = |error| self.shared.poison("making a segment", error);
        let Some(next) = self.active.number.0.checked_add(1).map(SegmentNumber) else {
            return Err(failed(io::Error::other("every segment number has been used")).into());
        };
        let name = self
            .shared
            .supply
            .obtain(length, space)
            .map_err(failed)?
            .ok_or(AppendError::Full)?;
        // The old segment is complete and durable before the new one has its name: recovery relies on it.
        if !self.active.ended {
            self.end_segment(EndReason::Rolled)?;
        }
        let past_cache = self.quick && self.nobody_has_read();
        let started = start_segment(&self.shared, (name, length), next, self.durable(), past_cache);
        let failed = |error| self.shared.poison("starting a segment", error);
        self.active = started.map_err(failed)?.ok_or(AppendError::Full)?;
        self.shared.appended.store(self.end().0, Ordering::Release);
        Ok(())
    }

    /// Whether nobody has read a record since this was last asked.
    fn nobody_has_read(&mut self) -> bool {
        let reads = self.shared.reads.load(Ordering::Relaxed);
        std::mem::replace(&mut self.reads, reads) == reads
    }

    fn end_segment(&mut self, reason: EndReason) -> Result<(), Fatal> {
        self.write_pending()?;
        // The end is written through the page cache.
        self.active.segment.gate.shut();
        let failed = |error| self.shared.poison("ending a segment", error);
        let mask = self.shared.mask(self.active.number);
        let file = &self.active.files.common;
        let end =
            recovery::write_end(&**file, mask, self.active.end, self.durable(), reason).map_err(failed)?;
        self.active.ended = true;
        self.active.dirty = false;
        self.shared.made_durable(self.end());
        if reason != EndReason::Rolled {
            let length = end + SECTOR_BYTES;
            file.truncate(length)
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
            // It has not the length of a segment any more, so its file is of no use as a spare.
            self.shared
                .insert(Segment::new(self.active.number, length, Some(file.clone())));
        }
        Ok(())
    }
}

/// Make the file `name`, of `length` bytes, segment `number`: header, sync, then the name. `None`: the disk is full, or no more files can be
/// opened; the file is kept. `past_cache`: to be written past the page cache, where the disk can.
fn start_segment<D: Disk>(
    shared: &Shared<D>,
    (name, length): (String, u64),
    number: SegmentNumber,
    durable: Position,
    past_cache: bool,
) -> io::Result<Option<Active<D::File>>> {
    let files = match open_files(&shared.disk, &name, past_cache) {
        Err(error) if is_out_of_files(&error) => {
            return shared.supply.give_back(name, length).map(|()| None);
        }
        opened => opened?,
    };
    let header = Header {
        version: FORMAT_VERSION,
        number,
        identity: shared.identity,
        durable,
        length,
    };
    match files.common.write_at(&header.encode(), 0) {
        Err(error) if is_full(&error) => return shared.supply.give_back(name, length).map(|()| None),
        other => other?,
    }
    files.common.sync_all()?;
    match shared.disk.rename(&name, &segment::file_name(number)) {
        Err(error) if is_full(&error) => return shared.supply.give_back(name, length).map(|()| None),
        other => other?,
    }
    shared.directory.sync()?;
    let make = match files.direct {
        Some(_) => Segment::past_cache,
        None => Segment::new,
    };
    Ok(Some(Active {
        number,
        segment: shared.insert(make(number, length, Some(files.common.clone()))),
        files,
        pending: Pending::default(),
        end: GROUPS_START,
        length,
        dirty: false,
        ended: false,
    }))
}

fn open_files<D: Disk>(disk: &D, name: &str, past_cache: bool) -> io::Result<Files<D::File>> {
    let direct = if past_cache { disk.open_direct(name)? } else { None };
    let for_syncs = (0..SYNCS_APART).map(|_| disk.open(name).map(Arc::new));
    let files = Files {
        for_syncs: for_syncs.collect::<io::Result<_>>()?,
        common: Arc::new(disk.open(name)?),
        direct,
    };
    if files.direct.is_some() {
        // Otherwise each write would have to look for the pages of what the file once held, and drop them.
        files.common.forget_cached()?;
    }
    Ok(files)
}

// A group head is written even when there is nothing but it.
const _: () = assert!(HEAD_FRAME_BYTES as u64 <= SECTOR_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_beside_each_other_have_open_files_of_their_own() {
        let files = Files {
            common: Arc::new(0),
            direct: None,
            for_syncs: (1..=SYNCS_APART).map(Arc::new).collect(),
        };
        let mut syncs: Vec<_> = (0..SYNCS_APART).map(|_| files.file_to_sync()).collect();
        let used: Vec<usize> = syncs.iter().map(|file| **file).collect();
        assert_eq!(used, (1..=SYNCS_APART).collect::<Vec<_>>());
        assert_eq!(*files.file_to_sync(), 0, "there is always one");
        drop(syncs.remove(4));
        assert_eq!(*files.file_to_sync(), 5, "it is free again");
    }
}
