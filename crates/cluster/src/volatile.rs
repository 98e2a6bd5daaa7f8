//! No disk: everything is committed at once and gone with the process. For brokers that need not remember, and tests.

use crate::{Commit, CommitLog, LogReader, LogUpkeep};
use bytes::Bytes;
use everack_storage::{
    AppendError, Fatal, Found, Frames, Position, Prepared, ReadError, ReplayError, Replayed, RetireError,
    Retired, SegmentInfo, SegmentNumber,
};
use parking_lot::RwLock;
use std::{collections::BTreeMap, sync::Arc};

/// Groups in a segment together have about this many bytes.
const SEGMENT_BYTES: u64 = 1 << 20;

/// Keeps records in memory until their segment is retired, so that it can be read as any other log.
pub struct Volatile {
    segments: Segments,
    end: Position,
}

/// Reads from a [`Volatile`].
#[derive(Clone)]
pub struct VolatileReader {
    segments: Segments,
}

/// Retires segments of a [`Volatile`].
#[derive(Clone)]
pub struct VolatileUpkeep {
    segments: Segments,
}

type Segments = Arc<RwLock<BTreeMap<SegmentNumber, Segment>>>;

#[derive(Default)]
struct Segment {
    /// Payloads by position.
    records: BTreeMap<Position, Bytes>,
    bytes: u64,
}

impl Default for Volatile {
    fn default() -> Volatile {
        Volatile::new()
    }
}

impl Volatile {
    /// An empty log.
    pub fn new() -> Volatile {
        let first = SegmentNumber(1);
        let segments = BTreeMap::from([(first, Segment::default())]);
        Volatile {
            segments: Arc::new(RwLock::new(segments)),
            end: Position::new(first, 0),
        }
    }
}

impl CommitLog for Volatile {
    type Reader = VolatileReader;
    type Upkeep = VolatileUpkeep;
    type Commit = VolatileCommit;

    fn append(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        let bytes = frames.bytes() as u64;
        let mut segments = self.segments.write();
        if self.end.offset() > 0 && u64::from(self.end.offset()) + bytes > SEGMENT_BYTES {
            self.end = Position::new(SegmentNumber(self.end.segment().0 + 1), 0);
        }
        let base = self.end;
        let segment = segments.entry(base.segment()).or_default();
        // One copy for the whole group; the records are slices of it.
        let group = Bytes::copy_from_slice(frames.group());
        for (offset, range) in frames.payloads() {
            segment.records.insert(base.forward(offset), group.slice(range));
        }
        segment.bytes += bytes;
        frames.clear();
        self.end = base.forward(bytes as u32);
        Ok(base)
    }

    fn append_reserved(&mut self, frames: &mut Frames) -> Result<Position, AppendError> {
        self.append(frames)
    }

    fn begin_commit(&mut self) -> Result<VolatileCommit, Fatal> {
        Ok(VolatileCommit(self.end))
    }

    fn idle(&mut self) -> Result<(), Fatal> {
        Ok(())
    }

    fn close(self) -> Result<(), Fatal> {
        Ok(())
    }

    fn appended(&self) -> Position {
        self.end
    }

    fn committed(&self) -> Position {
        self.end
    }

    fn reader(&self) -> VolatileReader {
        VolatileReader {
            segments: self.segments.clone(),
        }
    }

    fn upkeep(&self) -> VolatileUpkeep {
        VolatileUpkeep {
            segments: self.segments.clone(),
        }
    }
}

/// A commit of [`Volatile`]: there is nothing to wait for.
#[derive(Debug, Clone, Copy)]
pub struct VolatileCommit(Position);

impl Commit for VolatileCommit {
    fn wait(self) -> Result<Position, Fatal> {
        Ok(self.0)
    }
}

impl VolatileReader {
    fn visit<E>(
        records: Vec<(Position, Bytes)>,
        mut visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        let mut replayed = Replayed::default();
        for (position, payload) in records {
            visit(Found::Record {
                position,
                payload: &payload,
            })
            .map_err(ReplayError::Visit)?;
            replayed.records += 1;
            replayed.bytes += payload.len() as u64;
        }
        Ok(replayed)
    }
}

impl LogReader for VolatileReader {
    fn read(&self, position: Position, _payload_bytes: usize) -> Result<Bytes, ReadError> {
        let segments = self.segments.read();
        let record = segments
            .get(&position.segment())
            .and_then(|segment| segment.records.get(&position));
        record.cloned().ok_or(ReadError::Missing(position))
    }

    fn replay<E>(
        &self,
        from: Position,
        visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        let segments = self.segments.read();
        let records = segments
            .values()
            .flat_map(|segment| segment.records.range(from..));
        let records = records
            .map(|(position, payload)| (*position, payload.clone()))
            .collect();
        drop(segments);
        VolatileReader::visit(records, visit)
    }

    fn replay_one<E>(
        &self,
        segment: SegmentNumber,
        visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        let segments = self.segments.read();
        let records = segments
            .get(&segment)
            .into_iter()
            .flat_map(|segment| &segment.records);
        let records = records
            .map(|(position, payload)| (*position, payload.clone()))
            .collect();
        drop(segments);
        VolatileReader::visit(records, visit)
    }
}

impl LogUpkeep for VolatileUpkeep {
    fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.segments.read();
        let active = segments.keys().next_back().copied();
        let info = |(number, segment): (&SegmentNumber, &Segment)| SegmentInfo {
            number: *number,
            bytes: segment.bytes,
            active: Some(*number) == active,
            damaged: false,
        };
        segments.iter().map(info).collect()
    }

    fn retire(&self, segment: SegmentNumber) -> Result<Retired, RetireError> {
        let mut segments = self.segments.write();
        if segments
            .keys()
            .next_back()
            .is_some_and(|active| segment >= *active)
        {
            return Err(RetireError::Active(segment));
        }
        match segments.remove(&segment) {
            Some(_) => Ok(Retired::Removed),
            None => Err(RetireError::Missing(segment)),
        }
    }

    fn prepare(&self) -> Result<Prepared, Fatal> {
        Ok(Prepared::Ready)
    }

    fn free_bytes(&self) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }
}
