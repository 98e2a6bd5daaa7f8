//! The reading side of the log: one record by position, or all of them in order.

use crate::{
    Damage, Fault, Position, Proof, SegmentNumber,
    disk::{Disk, File},
    record::{HEADER_BYTES, Kind},
    recovery::header_damage,
    segment::{GROUPS_START, Header, Segment, is_unreadable},
    shared::Shared,
    walk::{Step, Walk},
};
use bytes::Bytes;
use std::{
    io,
    ops::Bound,
    sync::{Arc, atomic::Ordering},
};

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is nothing: the segment has been retired, or nothing was written there yet.
    #[error("there is no record at {0}")]
    Missing(Position),
    /// What is there is not what was written. Its segment will be set aside, not recycled, when it is retired.
    #[error("the record at {0} is damaged")]
    Damaged(Position),
    /// The call failed; the record may be all right (say, too many open files).
    #[error("the record at {position} cannot be read: {source}")]
    Io {
        /// Of the record.
        position: Position,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What a replay comes across, in log order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record.
    Record {
        /// The same that `append` gave it.
        position: Position,
        /// As it was appended.
        payload: &'a [u8],
    },
    /// A place that cannot be read; the replay goes on behind it.
    Damage(Damage),
}

/// Why a replay stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError<E> {
    /// The disk gave an error that is not about the contents.
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The visitor's own.
    #[error("the log cannot be replayed: {0}")]
    Visit(E),
}

/// What a replay has gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Records visited.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Damaged places visited.
    pub damages: u64,
}

/// Reads records. Clones share one table of open files; reads of different threads do not wait for one another.
pub struct Reader<D: Disk> {
    shared: Arc<Shared<D>>,
}

impl<D: Disk> Clone for Reader<D> {
    fn clone(&self) -> Reader<D> {
        Reader {
            shared: self.shared.clone(),
        }
    }
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Reader<D> {
        Reader { shared }
    }

    /// The payload of the record at `position`, in one disk access when it has no more than `payload_bytes`.
    pub fn read(&self, position: Position, payload_bytes: usize) -> Result<Bytes, ReadError> {
        let missing = || ReadError::Missing(position);
        let segment = self.shared.segment(position.segment()).ok_or_else(missing)?;
        if position >= self.shared.appended() {
            return Err(missing());
        }
        self.shared.reads.fetch_add(1, Ordering::Relaxed);
        let mut read = self.read_from(&segment, position, payload_bytes);
        if matches!(&read, Err(error) if is_unreadable(error)) {
            // A block that has gone bad stays so; a bus that was reset does not. What is called damaged here is set aside for good.
            read = self.read_from(&segment, position, payload_bytes);
        }
        match read {
            Ok(Some(payload)) => Ok(payload),
            // Retired in the meantime, and perhaps written over already.
            _ if self.shared.segment(position.segment()).is_none() => Err(missing()),
            Err(source) if !is_unreadable(&source) => Err(ReadError::Io { position, source }),
            Ok(None) | Err(_) => {
                segment.damaged.store(true, Ordering::Relaxed);
                Err(ReadError::Damaged(position))
            }
        }
    }

    /// `None` when no intact record is there.
    fn read_from(
        &self,
        segment: &Segment<D::File>,
        position: Position,
        payload_bytes: usize,
    ) -> io::Result<Option<Bytes>> {
        let file = self.shared.file(segment)?;
        let offset = u64::from(position.offset());
        let room = segment.length.saturating_sub(offset) as usize;
        let mut bytes = vec![0; HEADER_BYTES.saturating_add(payload_bytes).min(room)];
        let mut filled = file.read_at(&mut bytes, offset)?;
        let header = self.shared.mask(segment.number).open(&bytes[..filled], offset);
        let Some(header) = header.filter(|header| header.kind == Kind::Data) else {
            return Ok(None);
        };
        let whole = HEADER_BYTES + header.payload_bytes;
        if whole > room {
            return Ok(None);
        }
        if filled < whole {
            bytes.resize(whole, 0);
            filled += file.read_at(&mut bytes[filled..], offset + filled as u64)?;
        }
        let payload = Bytes::from(bytes).slice(HEADER_BYTES.min(filled)..whole.min(filled));
        Ok(header.payload_is_intact(&payload).then_some(payload))
    }

    /// Visit every record at or behind `from` in log order, and every damaged place. Ends at what was appended when
    /// the segment in question was reached, so it may run beside appends.
    pub fn replay<E>(
        &self,
        from: Position,
        mut visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        let segments: Vec<_> = self.shared.segments.read().values().cloned().collect();
        let mut replayed = Replayed::default();
        for segment in segments.iter().filter(|segment| segment.number >= from.segment()) {
            self.replay_segment(segment, from, &mut replayed, &mut visit)?;
        }
        Ok(replayed)
    }

    /// As `replay`, of one segment. Nothing is visited when it does not exist.
    pub fn replay_one<E>(
        &self,
        number: SegmentNumber,
        mut visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<Replayed, ReplayError<E>> {
        let mut replayed = Replayed::default();
        if let Some(segment) = self.shared.segment(number) {
            self.replay_segment(&segment, Position::ZERO, &mut replayed, &mut visit)?;
        }
        Ok(replayed)
    }

    fn replay_segment<E>(
        &self,
        segment: &Segment<D::File>,
        from: Position,
        replayed: &mut Replayed,
        visit: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), ReplayError<E>> {
        let number = segment.number;
        let file = self.shared.file(segment)?;
        let is_active = self.shared.appended().segment() == number;
        let proof = if is_active { Proof::Written } else { Proof::Ended };
        let mut seen = |found: Found<'_>| {
            match found {
                Found::Record { position, payload } if position >= from => {
                    replayed.records += 1;
                    replayed.bytes += payload.len() as u64;
                }
                Found::Damage(damage) if damage.position.forward(damage.bytes as u32) > from => {
                    segment.damaged.store(true, Ordering::Relaxed);
                    replayed.damages += 1;
                }
                _ => return Ok(()),
            }
            visit(found).map_err(ReplayError::Visit)
        };
        let header = Header::read(&*file)?;
        if header.is_none() {
            seen(Found::Damage(header_damage(number)))?;
        }
        let length = file.length()?;
        let data_end = self.data_end(number)?;
        let mut walk = Walk::new(
            &*file,
            self.shared.mask(number),
            data_end.unwrap_or(length).min(length),
        );
        loop {
            let position = |offset: u64| Position::new(number, offset as u32);
            match walk.next()? {
                Step::Head { .. } => {}
                Step::Record { offset, payload } => seen(Found::Record {
                    position: position(offset),
                    payload,
                })?,
                Step::Invalid { from, to, record } => {
                    let fault = if record { Fault::Record } else { Fault::Region };
                    seen(Found::Damage(Damage {
                        position: position(from),
                        bytes: to - from,
                        fault,
                        proof,
                    }))?;
                }
                Step::End { .. } => return Ok(()),
                Step::Finished { .. } if data_end.is_some_and(|data_end| data_end <= length) => return Ok(()),
                Step::Finished { offset } => {
                    // How much is missing at most: up to where the data ended, or the file when it was made.
                    let usual = u64::from(self.shared.options.segment_bytes).max(segment.length);
                    let made = header.map_or(usual, |header| header.length);
                    let bytes = data_end.unwrap_or(made).saturating_sub(offset);
                    let fault = Fault::Truncated;
                    return seen(Found::Damage(Damage {
                        position: position(offset),
                        bytes,
                        fault,
                        proof,
                    }));
                }
            }
        }
    }

    /// Where the data of a segment ends, if that is known from elsewhere: from the appending side, or from the header
    /// of the next segment.
    fn data_end(&self, number: SegmentNumber) -> io::Result<Option<u64>> {
        let appended = self.shared.appended();
        if appended.segment() == number {
            return Ok(Some(u64::from(appended.offset())));
        }
        let next = {
            let segments = self.shared.segments.read();
            segments
                .range((Bound::Excluded(number), Bound::Unbounded))
                .next()
                .map(|(_, segment)| segment.clone())
        };
        let Some(next) = next else { return Ok(None) };
        let header = Header::read(&*self.shared.file(&next)?)?;
        let durable = header
            .map(|header| header.durable)
            .filter(|durable| durable.segment() == number);
        Ok(durable.map(|durable| u64::from(durable.offset())))
    }
}

// Positions below the first group are never records.
const _: () = assert!(GROUPS_START > 0);
