//! A small history that goes through everything a log does: fill, sync, roll, mark, retire, recycle, set a checkpoint,
//! close, open again. Small, so that every crash in it can be tried.

use crate::ledger::{Ledger, Stop, Violation};
use everack_storage::{Checkpoints, Log, Options, disk::Memory};

/// Three pages for groups: a segment is full after a few records.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        spares_max: 1,
        ..Options::default()
    }
}

/// When the outside takes a record for promised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    AfterSync,
    /// The bug that the harness must find.
    AfterAppend,
}

/// Run the history until it ends or the machine goes off.
pub(crate) fn run(disk: &Memory, ledger: &mut Ledger, promise: Promise) -> Result<(), Stop> {
    let mut session = Session::open(disk, ledger, promise)?;
    for round in 0..3 {
        session.round(round)?;
    }
    // Larger than a segment, then something small behind it.
    session.append(20_000)?;
    session.append(10)?;
    session.sync()?;
    session.append(77)?;
    session.close()?;
    let mut session = Session::open(disk, ledger, promise)?;
    session.append(1200)?;
    session.sync()?;
    session.append(3000)?;
    session.append(3000)?;
    Ok(())
}

/// What a later process does with the directory: it goes through everything once more.
pub(crate) fn go_on(disk: &Memory, ledger: &mut Ledger) -> Result<(), Stop> {
    let mut session = Session::open(disk, ledger, Promise::AfterSync)?;
    session.round(3)
}

struct Session<'a> {
    disk: &'a Memory,
    ledger: &'a mut Ledger,
    log: Log<Memory>,
    checkpoints: Checkpoints<Memory>,
    promise: Promise,
}

impl<'a> Session<'a> {
    fn open(disk: &'a Memory, ledger: &'a mut Ledger, promise: Promise) -> Result<Session<'a>, Stop> {
        let (log, _) = Log::open(disk.clone(), options()).map_err(|error| stop(disk, error))?;
        let checkpoints = Checkpoints::open(disk.clone(), 0).map_err(|error| stop(disk, error))?;
        Ok(Session {
            disk,
            ledger,
            log,
            checkpoints,
            promise,
        })
    }

    /// Once through everything.
    fn round(&mut self, number: u64) -> Result<(), Stop> {
        self.append(900)?;
        self.sync()?;
        self.append_group(&[300, 0, 1500])?;
        self.append(5000)?;
        self.sync()?;
        self.log_mark()?;
        self.sync()?;
        self.append(2600)?;
        // The name of a spare that is made now is synced by the checkpoint.
        self.prepare()?;
        self.checkpoint(number)?;
        self.append(40)?;
        self.sync()?;
        self.retire_oldest()
    }

    fn append(&mut self, bytes: usize) -> Result<(), Stop> {
        let appended = self.ledger.append(&mut self.log, bytes);
        self.appended(appended)
    }

    /// Several records in one append.
    fn append_group(&mut self, lengths: &[usize]) -> Result<(), Stop> {
        let first = self.ledger.appended.len();
        let payloads = lengths
            .iter()
            .enumerate()
            .map(|(at, bytes)| vec![(first + at) as u8; *bytes])
            .collect();
        let appended = self.ledger.append_group(&mut self.log, payloads);
        self.appended(appended)
    }

    fn appended(&mut self, appended: Result<(), Violation>) -> Result<(), Stop> {
        self.promise_early();
        appended.map_err(|violation| match self.disk.crashed() {
            true => Stop::Crash,
            false => Stop::Violation(violation),
        })
    }

    fn promise_early(&mut self) {
        if self.promise == Promise::AfterAppend {
            self.ledger.durable.extend(self.ledger.appended.keys().copied());
        }
    }

    fn sync(&mut self) -> Result<(), Stop> {
        let durable = self.log.sync().map_err(|error| stop(self.disk, error))?;
        self.ledger.promise(durable);
        Ok(())
    }

    fn log_mark(&mut self) -> Result<(), Stop> {
        self.log.mark().map_err(|error| stop(self.disk, error))
    }

    fn checkpoint(&mut self, number: u64) -> Result<(), Stop> {
        self.ledger.checkpoint_begun = Some(number);
        let covers = self.log.durable();
        let written = self.checkpoints.write(covers, |sink| {
            (0..=number).try_for_each(|number| sink.push(&number.to_le_bytes()))
        });
        written.map_err(|error| stop(self.disk, error))?;
        self.ledger.checkpoint = self.ledger.checkpoint_begun.take();
        Ok(())
    }

    fn retire_oldest(&mut self) -> Result<(), Stop> {
        let maintenance = self.log.maintenance();
        let Some(oldest) = maintenance.segments().into_iter().find(|segment| !segment.active) else {
            return Ok(());
        };
        self.ledger.retiring.insert(oldest.number);
        maintenance
            .retire(oldest.number)
            .map_err(|error| stop(self.disk, error))?;
        self.ledger.retired.insert(oldest.number);
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Stop> {
        self.log
            .maintenance()
            .prepare()
            .map_err(|error| stop(self.disk, error))?;
        Ok(())
    }

    fn close(self) -> Result<(), Stop> {
        self.log.close().map_err(|error| stop(self.disk, error))?;
        self.ledger.durable.extend(self.ledger.appended.keys().copied());
        Ok(())
    }
}

fn stop(disk: &Memory, error: impl std::fmt::Display) -> Stop {
    match disk.crashed() {
        true => Stop::Crash,
        false => Stop::Violation(Violation::Refused(error.to_string())),
    }
}
