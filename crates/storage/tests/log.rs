//! The log through its public face, on a disk in memory.

use everack_storage::{
    Found, Frames, Log, Options, Position, ReadError, Reader,
    disk::{Disk, Memory, Outcome},
};

fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    }
}

fn open(disk: &Memory) -> Log<Memory> {
    Log::open(disk.clone(), options()).expect("the log opens").0
}

fn append(log: &mut Log<Memory>, payload: &[u8]) -> Position {
    let mut frames = Frames::new();
    let offset = frames.begin();
    frames.buffer().extend_from_slice(payload);
    frames.end();
    log.append(&mut frames)
        .expect("the log takes a record")
        .forward(offset)
}

fn replay<D: Disk>(reader: &Reader<D>) -> Vec<(Position, Vec<u8>)> {
    let mut records = Vec::new();
    reader
        .replay(Position::ZERO, |found| match found {
            Found::Record { position, payload } => {
                records.push((position, payload.to_vec()));
                Ok(())
            }
            Found::Damage(damage) => Err(damage.to_string()),
        })
        .expect("nothing is damaged");
    records
}

#[test]
fn what_was_synced_is_there_after_a_restart() {
    let disk = Memory::new(1);
    let mut log = open(&disk);
    let mut written = Vec::new();
    for number in 0..200u32 {
        let payload = vec![number as u8; (number * 7 % 900) as usize];
        written.push((append(&mut log, &payload), payload));
        if number % 3 == 0 {
            log.sync().expect("the disk syncs");
        }
    }
    log.sync().expect("the disk syncs");
    let reader = log.reader();
    for (position, payload) in &written {
        assert_eq!(reader.read(*position).expect("the record is there"), payload);
    }
    disk.crash();
    for outcome in Outcome::ALL {
        let log = open(&disk.restart(outcome, 7));
        assert_eq!(replay(&log.reader()), written);
    }
}

#[test]
fn a_place_without_a_record_is_missing() {
    let disk = Memory::new(1);
    let mut log = open(&disk);
    let position = append(&mut log, b"one");
    let reader = log.reader();
    assert!(matches!(
        reader.read(position.forward(512)),
        Err(ReadError::Missing(_))
    ));
    assert!(matches!(reader.read(Position::ZERO), Err(ReadError::Missing(_))));
}
