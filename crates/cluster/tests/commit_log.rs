//! What a node may rely on, whichever commit log it was given.

use everack_cluster::{
    Commit as _, CommitLog, Found, Frames, LogReader, LogUpkeep, Position, ReadError, Standalone, Volatile,
};
use everack_storage::{
    Log, Options,
    disk::{Fault, Memory, Outcome},
};
use std::convert::Infallible;

fn standalone(disk: &Memory) -> Standalone<Memory> {
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    Standalone::new(Log::open(disk.clone(), options).expect("the log opens").0)
}

fn append(log: &mut impl CommitLog, payload: &[u8]) -> Position {
    let mut frames = Frames::new();
    frames.push(b"in front");
    let offset = frames.push(payload);
    log.append(&mut frames).expect("there is space").forward(offset)
}

fn replay(reader: &impl LogReader, from: Position) -> Vec<(Position, Vec<u8>)> {
    let mut records = Vec::new();
    let replayed = reader.replay(from, |found| {
        match found {
            Found::Record { position, payload } => records.push((position, payload.to_vec())),
            Found::Damage(damage) => panic!("{damage}"),
        }
        Ok::<(), Infallible>(())
    });
    assert_eq!(replayed.expect("it can be read").records as usize, records.len());
    records
}

/// Everything in here holds for every commit log.
fn check(mut log: impl CommitLog) {
    let start = log.committed();
    let written: Vec<(Position, Vec<u8>)> = (0..200u8)
        .map(|number| {
            let payload = vec![number; 600_000 * usize::from(number % 50 == 49) + usize::from(number)];
            (append(&mut log, &payload), payload)
        })
        .collect();
    assert!(
        written.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "positions grow"
    );
    let committed = log.commit().expect("it commits");
    assert!(start <= written[0].0);
    assert!(written.iter().all(|(position, _)| *position < committed));
    assert_eq!(log.committed(), committed);
    assert_eq!(log.commit().expect("there is nothing to commit"), committed);

    let reader = log.reader();
    for (position, payload) in &written {
        assert_eq!(reader.read(*position, 100).expect("it is there"), payload);
    }
    let replayed = replay(&reader, Position::ZERO);
    assert_eq!(replayed.len(), 400);
    assert!(written.iter().all(|record| replayed.contains(record)));
    let middle = written[100].0;
    assert_eq!(replay(&reader, middle).len(), 199);

    log.idle().expect("it is idle");
    let upkeep = log.upkeep();
    upkeep.prepare().expect("it prepares");
    let segments = upkeep.segments();
    assert!(segments.len() > 1, "the test means more than one segment");
    let (active, oldest) = (segments[segments.len() - 1], segments[0]);
    assert!(active.active && !oldest.active);
    assert!(upkeep.retire(active.number).is_err());
    upkeep.retire(oldest.number).expect("it is retired");
    assert!(matches!(reader.read(written[0].0, 0), Err(ReadError::Missing(_))));
    let kept = written
        .iter()
        .filter(|(position, _)| position.segment() != oldest.number)
        .count();
    assert!(kept > 0 && kept < 200);
    assert_eq!(replay(&reader, Position::ZERO).len(), kept * 2);
    let newer = append(&mut log, b"newer");
    assert!(newer > written[199].0);
    log.close().expect("it closes");
    assert_eq!(reader.read(newer, 0).expect("it is there"), b"newer".as_slice());
}

#[test]
fn volatile() {
    check(Volatile::new());
}

#[test]
fn standalone_on_memory() {
    check(standalone(&Memory::new(1)));
}

/// Commits may be waited for in any order, by anybody, while records are appended behind them.
fn check_overlapping(mut log: impl CommitLog) {
    let start = log.committed();
    let first = append(&mut log, b"first");
    let first_commit = log.begin_commit().expect("the disk works");
    let second = append(&mut log, b"second");
    let second_commit = log.begin_commit().expect("the disk works");
    let third = append(&mut log, b"third");
    let nothing_new = log.begin_commit().expect("the disk works");
    assert!(start <= first);
    let committed = std::thread::spawn(move || second_commit.wait()).join();
    let committed = committed.expect("no panic").expect("it commits");
    assert!(
        second < committed && committed <= third,
        "what it covers, and no more"
    );
    assert_eq!(log.committed(), committed);
    assert_eq!(
        first_commit.wait().expect("it commits"),
        committed,
        "it never moves back"
    );
    assert!(third < nothing_new.wait().expect("it commits"));
}

#[test]
fn standalone_commits_overlap() {
    check_overlapping(standalone(&Memory::new(1)));
}

#[test]
fn standalone_commits_that_overlap_fail_together() {
    let disk = Memory::new(1);
    let mut log = standalone(&disk);
    append(&mut log, b"first");
    let first = log.begin_commit().expect("the disk works");
    append(&mut log, b"second");
    let second = log.begin_commit().expect("the disk works");
    disk.fail_at(disk.calls() + 1, Fault::Io);
    first.wait().expect_err("the disk fails");
    second
        .wait()
        .expect_err("what the first was to cover is lost, and so is nothing promised");
}

#[test]
fn standalone_commits_survive_a_power_failure() {
    let disk = Memory::new(1);
    let mut log = standalone(&disk);
    let position = append(&mut log, b"confirmed");
    log.commit().expect("it commits");
    append(&mut log, b"not confirmed");
    disk.crash();
    let log = standalone(&disk.restart(Outcome::Nothing, 1));
    assert_eq!(
        log.reader().read(position, 0).expect("it is there"),
        b"confirmed".as_slice()
    );
    assert_eq!(replay(&log.reader(), Position::ZERO).len(), 2);
    assert!(log.committed() > position);
}
