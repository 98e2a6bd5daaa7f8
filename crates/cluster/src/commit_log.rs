//! The three traits between a node and whatever makes its facts last.

use bytes::Bytes;
use everack_storage::{
    AppendError, Fatal, Found, Frames, Position, Prepared, ReadError, ReplayError, Replayed, RetireError,
    Retired, SegmentInfo, SegmentNumber,
};

/// Where facts are written. Held by one thread at a time.
pub trait CommitLog: Send + 'static {
    /// For reading from any thread.
    type Reader: LogReader;
    /// For the thread that retires segments.
    type Upkeep: LogUpkeep;
    /// A commit that was begun, for whoever waits for it.
    type Commit: Commit;

    /// Append records; they are promised to nobody, and may not be there to be read, before they are committed. Returns the position that the
    /// offsets given by `frames` count from; `frames` is empty then. `Full` leaves the log and the frames as they were.
    fn append(&mut self, frames: &mut Frames) -> Result<Position, AppendError>;

    /// As `append`, for facts that free space: settlements, deletions.
    fn append_reserved(&mut self, frames: &mut Frames) -> Result<Position, AppendError>;

    /// Begin to commit everything appended. Records may be appended, and further commits begun, before it has ended. An error is one of writing what
    /// was appended.
    fn begin_commit(&mut self) -> Result<Self::Commit, Fatal>;

    /// Wait until everything appended is committed. Returns the position before which every record is.
    fn commit(&mut self) -> Result<Position, Fatal> {
        self.begin_commit()?.wait()
    }

    /// Whether the disk answers as quickly as it should: on a slow one it may be better to write in another way.
    fn disk_is_quick(&mut self, _quick: bool) {}

    /// To be called when nothing has come for a while.
    fn idle(&mut self) -> Result<(), Fatal>;

    /// Commit, and note that the log was stopped in order.
    fn close(self) -> Result<(), Fatal>;

    /// Everything before this position has been appended.
    fn appended(&self) -> Position;

    /// Everything before this position is committed.
    fn committed(&self) -> Position;

    /// A handle for reading.
    fn reader(&self) -> Self::Reader;

    /// A handle for retiring segments.
    fn upkeep(&self) -> Self::Upkeep;
}

/// A commit under way. What it covers may be promised when it has succeeded, and every one begun before it has too.
pub trait Commit: Send + 'static {
    /// Wait for it. Returns the position before which every record is committed.
    fn wait(self) -> Result<Position, Fatal>;
}

/// Reads records by position.
pub trait LogReader: Clone + Send + Sync + 'static {
    /// The payload of the record at `position`, in one disk access when it has no more than `payload_bytes`.
    fn read(&self, position: Position, payload_bytes: usize) -> Result<Bytes, ReadError>;

    /// Visit every record at or behind `from` in log order, and every damaged place.
    fn replay<E>(
        &self,
        from: Position,
        visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>>;

    /// As `replay`, of one segment.
    fn replay_one<E>(
        &self,
        segment: SegmentNumber,
        visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>>;
}

/// Retires segments and prepares new ones.
pub trait LogUpkeep: Clone + Send + Sync + 'static {
    /// All segments, oldest first.
    fn segments(&self) -> Vec<SegmentInfo>;
    /// Give up a segment of which nothing is needed any more.
    fn retire(&self, segment: SegmentNumber) -> Result<Retired, RetireError>;
    /// Have the next segment's file ready.
    fn prepare(&self) -> Result<Prepared, Fatal>;
    /// Bytes free for more segments.
    fn free_bytes(&self) -> std::io::Result<u64>;
}
