//! Checkpoints through their public face.

use everack_storage::{
    Checkpoints, Log, Options, Position, SegmentNumber,
    checkpoint::{Error, Summary},
    disk::{Disk, Memory, Outcome},
};

fn disk_with_log() -> Memory {
    let disk = Memory::new(1);
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    Log::open(disk.clone(), options)
        .expect("the log opens")
        .0
        .close()
        .expect("it closes");
    disk
}

fn open(disk: &Memory) -> Checkpoints<Memory> {
    Checkpoints::open(disk.clone(), 0).expect("they open")
}

fn covers(segment: u32) -> Position {
    Position::new(SegmentNumber(segment), 4096)
}

fn write(checkpoints: &mut Checkpoints<Memory>, segment: u32, records: &[&[u8]]) -> Summary {
    let written = checkpoints.write(covers(segment), |sink| {
        records.iter().try_for_each(|record| sink.push(record))
    });
    written.expect("there is space")
}

type Loaded = (Summary, Vec<Vec<u8>>);

fn load(checkpoints: &Checkpoints<Memory>) -> Result<Option<Loaded>, Error> {
    let mut records = Vec::new();
    let summary = checkpoints.load(|record| {
        records.push(record.to_vec());
        Ok::<(), Error>(())
    })?;
    Ok(summary.map(|summary| (summary, records)))
}

#[test]
fn there_is_none_at_first() {
    assert!(load(&open(&disk_with_log())).expect("nothing is wrong").is_none());
}

#[test]
fn the_newest_is_loaded_and_the_one_before_removed() {
    let disk = disk_with_log();
    let mut checkpoints = open(&disk);
    write(&mut checkpoints, 1, &[b"old"]);
    let records: Vec<Vec<u8>> = (0..3000u32)
        .map(|number| vec![number as u8; number as usize % 600])
        .collect();
    let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let summary = write(&mut checkpoints, 2, &slices);
    assert_eq!(
        (summary.number, summary.covers, summary.records),
        (2, covers(2), 3000)
    );
    disk.crash();
    let disk = disk.restart(Outcome::Nothing, 1);
    assert_eq!(
        load(&open(&disk)).expect("nothing is wrong"),
        Some((summary, records))
    );
    let names: Vec<String> = disk
        .list()
        .expect("it lists")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let kept: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("checkpoint"))
        .collect();
    assert_eq!(kept, ["checkpoint-0000000002.ckp", "checkpoint-0000000002.copy"]);
}

#[test]
fn every_flipped_bit_is_found_and_the_copy_used() {
    let disk = disk_with_log();
    let summary = write(&mut open(&disk), 1, &[b"one", b"", b"three"]);
    let disk = disk.kill();
    for at in 0..summary.bytes as usize {
        let disk = disk.kill();
        disk.corrupt("checkpoint-0000000001.ckp", |bytes| bytes[at] ^= 1 << (at % 8));
        let (_, records) = load(&open(&disk))
            .expect("the copy is whole")
            .expect("there is one");
        assert_eq!(records, [b"one".to_vec(), Vec::new(), b"three".to_vec()]);
        assert!(open(&disk).check().expect("it lists")[0].summary.is_err());
        disk.corrupt("checkpoint-0000000001.copy", |bytes| bytes.truncate(at));
        let error = load(&open(&disk)).expect_err("both are damaged");
        assert!(
            error
                .to_string()
                .contains("restore the data directory from a backup"),
            "{error}"
        );
    }
}

#[test]
fn a_newer_format_is_refused() {
    let disk = disk_with_log();
    write(&mut open(&disk), 1, &[]);
    let disk = disk.kill();
    disk.corrupt("checkpoint-0000000001.ckp", |bytes| {
        bytes[8] = 7;
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    });
    let error = load(&open(&disk)).expect_err("it is newer");
    assert!(
        matches!(
            error,
            Error::Newer {
                found: 7,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_full_disk_gives_up_the_reserve_before_the_checkpoint() {
    let disk = disk_with_log();
    let mut checkpoints = Checkpoints::open(disk.clone(), 8192).expect("they open");
    write(&mut checkpoints, 1, &[b"before"]);
    let used: u64 = disk
        .list()
        .expect("it lists")
        .iter()
        .map(|entry| entry.length)
        .sum();
    disk.set_capacity(Some(used));
    let record = [5; 5000];
    let summary = write(&mut checkpoints, 2, &[&record]);
    assert_eq!(summary.number, 2);
    let error = checkpoints
        .write(covers(3), |sink| sink.push(&[6; 9000]))
        .expect_err("there is no space at all");
    assert!(matches!(error, Error::Full), "{error}");
    let disk = disk.kill();
    let (summary, records) = load(&open(&disk))
        .expect("nothing is wrong")
        .expect("there is one");
    assert_eq!((summary.number, records), (2, vec![record.to_vec()]));
}

/// A file with the last number that there is: looking and loading go past it, and nothing is written over it. (Found by the fuzzer of
/// checkpoints, as an overflow.)
#[test]
fn a_file_with_the_last_number_is_no_overflow() {
    let disk = disk_with_log();
    let written = write(&mut open(&disk), 1, &[b"kept"]);
    disk.create("checkpoint-4294967295.ckp")
        .expect("the name is free");
    assert_eq!(
        Checkpoints::inspect(disk.clone())
            .expect("it looks")
            .check()
            .expect("it checks")
            .len(),
        3
    );
    let mut checkpoints = open(&disk);
    let (summary, records) = load(&checkpoints)
        .expect("the file is damaged, the one before is not")
        .expect("it is there");
    assert_eq!((summary, records), (written, vec![b"kept".to_vec()]));
    let refused = checkpoints.write(covers(2), |_| Ok(()));
    assert!(matches!(refused, Err(Error::Exhausted { .. })), "{refused:?}");
}
