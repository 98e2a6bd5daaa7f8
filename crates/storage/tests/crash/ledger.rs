//! What the outside knows of a log: what it was given, what it promised, and whether a recovery keeps to that.

use crate::workload::options;
use everack_storage::{
    Checkpoints, Found, Frames, Log, Position, SegmentNumber, checkpoint,
    disk::{Disk, Memory},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The outside's book of one data directory, through all its crashes.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    /// Everything handed to the log, by the position it was given.
    pub(crate) appended: BTreeMap<Position, Vec<u8>>,
    /// Payloads of the append under way, in order: whether and where they are is not known.
    pub(crate) in_flight: Vec<Vec<u8>>,
    /// What was promised: a sync has covered it, or a recovery has shown it.
    pub(crate) durable: BTreeSet<Position>,
    /// What a recovery did not show: never promised, cut off, and not to come back.
    pub(crate) gone: BTreeSet<Position>,
    /// Segments whose retirement has begun: their records may be there or not.
    pub(crate) retiring: BTreeSet<SegmentNumber>,
    /// Segments whose retirement was completed: their records must not come back.
    pub(crate) retired: BTreeSet<SegmentNumber>,
    /// The checkpoint that was reported written last.
    pub(crate) checkpoint: Option<u64>,
    /// The checkpoint being written.
    pub(crate) checkpoint_begun: Option<u64>,
}

/// How a recovery broke the promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    Refused(String),
    Lost(Position),
    /// It was never appended, or not like this.
    Phantom(Position),
    Resurrected(Position),
    /// There before a record that is missing: the log is not a prefix of what was appended.
    Gap(Position),
    FalseDamage(String),
    PositionReused(Position),
    Unread(Position),
    CheckpointLost,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Why a recovery did not end: the machine went off again, or it is wrong.
#[derive(Debug)]
pub(crate) enum Stop {
    Crash,
    Violation(Violation),
}

impl Ledger {
    /// Recover from `disk` as a node does, append and sync one record more, and check everything.
    pub(crate) fn recover(&mut self, disk: &Memory) -> Result<(), Stop> {
        let stop = |violation: Violation| match disk.crashed() {
            true => Stop::Crash,
            false => Stop::Violation(violation),
        };
        let (mut log, _) = Log::open(disk.clone(), options())
            .map_err(|error| stop(Violation::Refused(error.to_string())))?;
        let mut checkpoints = Checkpoints::open(disk.clone(), 0)
            .map_err(|error| stop(Violation::Refused(error.to_string())))?;
        self.check_checkpoint(&mut checkpoints).map_err(stop)?;
        let shown = self.check_records(&log).map_err(stop)?;
        self.durable.extend(shown);
        self.append(&mut log, 700).map_err(stop)?;
        log.sync()
            .map_err(|error| stop(Violation::Refused(error.to_string())))?;
        self.durable.insert(self.newest());
        Ok(())
    }

    /// Append one record whose bytes follow from its number, and write it down.
    pub(crate) fn append(&mut self, log: &mut Log<Memory>, bytes: usize) -> Result<(), Violation> {
        let number = self.appended.len() as u64;
        let payload: Vec<u8> = (0..bytes)
            .map(|at| (number.wrapping_mul(31) + at as u64 * 7) as u8)
            .collect();
        self.append_group(log, vec![payload])
    }

    /// Append records in one group.
    pub(crate) fn append_group(
        &mut self,
        log: &mut Log<Memory>,
        payloads: Vec<Vec<u8>>,
    ) -> Result<(), Violation> {
        let mut frames = Frames::new();
        let offsets: Vec<u32> = payloads.iter().map(|payload| frames.push(payload)).collect();
        self.in_flight = payloads;
        let base = log
            .append(&mut frames)
            .map_err(|error| Violation::Refused(error.to_string()))?;
        let payloads = std::mem::take(&mut self.in_flight);
        for (offset, payload) in offsets.into_iter().zip(payloads) {
            let position = base.forward(offset);
            if position <= self.newest() {
                return Err(Violation::PositionReused(position));
            }
            self.appended.insert(position, payload);
        }
        Ok(())
    }

    /// A sync has covered everything before `end` that was still there.
    pub(crate) fn promise(&mut self, end: Position) {
        let covered = self.appended.range(..end).map(|(position, _)| *position);
        self.durable
            .extend(covered.filter(|position| !self.gone.contains(position)));
    }

    /// The highest position that was given to anybody.
    pub(crate) fn newest(&self) -> Position {
        self.appended.keys().next_back().copied().unwrap_or_default()
    }

    /// A record of the append that the crash interrupted has turned up: now its position is known.
    fn adopt(&mut self, position: Position, payload: &[u8]) {
        if position > self.newest() && self.in_flight.first().is_some_and(|expected| expected == payload) {
            self.appended.insert(position, self.in_flight.remove(0));
        }
    }

    fn check_checkpoint<D: Disk>(&self, checkpoints: &mut Checkpoints<D>) -> Result<(), Violation> {
        let mut loaded = None;
        let summary = checkpoints.load(|record| {
            loaded = record.try_into().ok().map(u64::from_le_bytes);
            Ok::<(), checkpoint::Error>(())
        });
        summary.map_err(|error| Violation::Refused(error.to_string()))?;
        let allowed = [self.checkpoint, self.checkpoint_begun.or(self.checkpoint)];
        if allowed.contains(&loaded) {
            Ok(())
        } else {
            Err(Violation::CheckpointLost)
        }
    }

    fn check_records(&mut self, log: &Log<Memory>) -> Result<Vec<Position>, Violation> {
        let reader = log.reader();
        let mut shown = Vec::new();
        let visited = reader.replay(Position::ZERO, |found| match found {
            Found::Record { position, payload } => {
                shown.push(position);
                self.adopt(position, payload);
                self.check_record(position, payload)
            }
            Found::Damage(damage) => Err(Violation::FalseDamage(damage.to_string())),
        });
        visited.map_err(|error| match error {
            everack_storage::ReplayError::Visit(violation) => violation,
            everack_storage::ReplayError::Io(error) => Violation::Refused(error.to_string()),
        })?;
        for position in &shown {
            match reader.read(*position, 4000) {
                Ok(payload) if payload == self.appended[position] => {}
                _ => return Err(Violation::Unread(*position)),
            }
        }
        self.check_complete(&shown)?;
        // What did not turn up now never may.
        self.in_flight.clear();
        let missing = self.appended.keys().filter(|position| !shown.contains(position));
        self.gone
            .extend(missing.filter(|position| !self.retiring.contains(&position.segment())));
        Ok(shown)
    }

    fn check_record(&self, position: Position, payload: &[u8]) -> Result<(), Violation> {
        if self.appended.get(&position).map(Vec::as_slice) != Some(payload) {
            return Err(Violation::Phantom(position));
        }
        if self.retired.contains(&position.segment()) || self.gone.contains(&position) {
            return Err(Violation::Resurrected(position));
        }
        Ok(())
    }

    fn check_complete(&self, shown: &[Position]) -> Result<(), Violation> {
        let shown: BTreeSet<Position> = shown.iter().copied().collect();
        let expected = self
            .appended
            .keys()
            .filter(|position| !self.retiring.contains(&position.segment()));
        let mut missing = None;
        for position in expected {
            match (shown.contains(position), missing) {
                (false, _) if self.durable.contains(position) => return Err(Violation::Lost(*position)),
                (false, _) => missing = Some(*position),
                // What a recovery did not show is gone for good; only what follows it in the same life counts.
                (true, Some(gap)) if gap.segment() == position.segment() => return Err(Violation::Gap(gap)),
                (true, _) => {}
            }
        }
        Ok(())
    }
}
