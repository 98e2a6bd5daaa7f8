//! One node: committed is what our own disk has synced.

use crate::{Commit, CommitLog, LogReader, LogUpkeep};
use bytes::Bytes;
use everack_storage::{
    AppendError, Fatal, Found, Frames, Log, LogSync, Maintenance, Position, Prepared, ReadError, Reader,
    ReplayError, Replayed, RetireError, Retired, SegmentInfo, SegmentNumber, disk::Disk,
};

/// Commits by fdatasync.
pub struct Standalone<D: Disk> {
    log: Log<D>,
}

impl<D: Disk> Standalone<D> {
    /// Commit to `log`.
    pub fn new(log: Log<D>) -> Standalone<D> {
        Standalone { log }
    }
}

impl<D: Disk> CommitLog for Standalone<D> {
    type Reader = Reader<D>;
    type Upkeep = Maintenance<D>;
    type Commit = LogSync<D>;

    fn append(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        self.log.append(frames)
    }

    fn append_reserved(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        self.log.append_reserved(frames)
    }

    fn begin_commit(&mut self) -> Result<LogSync<D>, Fatal> {
        self.log.begin_sync()
    }

    fn disk_is_quick(&mut self, quick: bool) {
        self.log.disk_is_quick(quick);
    }

    fn idle(&mut self) -> Result<(), Fatal> {
        self.log.mark()
    }

    fn close(self) -> Result<(), Fatal> {
        self.log.close()
    }

    fn appended(&self) -> Position {
        self.log.end()
    }

    fn committed(&self) -> Position {
        self.log.durable()
    }

    fn reader(&self) -> Reader<D> {
        self.log.reader()
    }

    fn upkeep(&self) -> Maintenance<D> {
        self.log.maintenance()
    }
}

impl<D: Disk> Commit for LogSync<D> {
    fn wait(self) -> Result<Position, Fatal> {
        self.run()
    }
}

impl<D: Disk> LogReader for Reader<D> {
    fn read(&self, position: Position, payload_bytes: usize) -> Result<Bytes, ReadError> {
        Reader::read(self, position, payload_bytes)
    }

    fn replay<E>(
        &self,
        from: Position,
        visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        Reader::replay(self, from, visit)
    }

    fn replay_one<E>(
        &self,
        segment: SegmentNumber,
        visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        Reader::replay_one(self, segment, visit)
    }
}

impl<D: Disk> LogUpkeep for Maintenance<D> {
    fn segments(&self) -> Vec<SegmentInfo> {
        Maintenance::segments(self)
    }

    fn retire(&self, segment: SegmentNumber) -> Result<Retired, RetireError> {
        Maintenance::retire(self, segment)
    }

    fn prepare(&self) -> Result<Prepared, Fatal> {
        Maintenance::prepare(self)
    }

    fn free_bytes(&self) -> std::io::Result<u64> {
        Maintenance::free_bytes(self)
    }
}
