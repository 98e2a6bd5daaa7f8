//! The log through its public face: what it keeps, what it refuses, and how it says so.

mod direct;

use everack_storage::{
    AppendError, Cut, Found, Frames, Log, OpenError, Options, Position, Prepared, ReadError, Reader,
    RecoveryReport, RetireError, Retired, SegmentNumber,
    disk::{Disk, Fault, File, Memory, Os, Outcome},
    segment,
};
use std::convert::Infallible;

fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    }
}

fn open<D: Disk>(disk: D) -> (Log<D>, RecoveryReport) {
    Log::open(disk, options()).expect("the log opens")
}

fn try_append<D: Disk>(log: &mut Log<D>, payload: &[u8]) -> Result<Position, AppendError> {
    let mut frames = Frames::new();
    let offset = frames.push(payload);
    Ok(log.append(&mut frames)?.forward(offset))
}

fn append<D: Disk>(log: &mut Log<D>, payload: &[u8]) -> Position {
    try_append(log, payload).expect("the log takes a record")
}

fn replay<D: Disk>(reader: &Reader<D>) -> Vec<(Position, Vec<u8>)> {
    let mut records = Vec::new();
    let replayed = reader.replay(Position::ZERO, |found| match found {
        Found::Record { position, payload } => {
            records.push((position, payload.to_vec()));
            Ok(())
        }
        Found::Damage(damage) => Err(damage.to_string()),
    });
    replayed.expect("nothing is damaged");
    records
}

fn refusal<D: Disk>(disk: D) -> String {
    match Log::open(disk, options()) {
        Ok(_) => panic!("the log must not open"),
        Err(error) => error.to_string(),
    }
}

/// A killed process leaves a segment of which most was never written.
#[test]
fn a_start_does_not_read_what_was_never_written() {
    let calls = |segment_bytes: u32| {
        let options = Options {
            segment_bytes,
            prewrite: false,
            ..Options::default()
        };
        let disk = Memory::new(1);
        let (mut log, _) = Log::open(disk.clone(), options.clone()).expect("the log opens");
        append(&mut log, b"a record");
        log.sync().expect("it is synced");
        let (disk, before) = (disk.kill(), disk.calls());
        let (log, _) = Log::open(disk.clone(), options).expect("it opens again");
        assert_eq!(replay(&log.reader()).len(), 1);
        disk.calls() - before
    };
    assert_eq!(calls(64 << 20), calls(1 << 20));
}

#[test]
fn a_disk_knows_how_far_a_file_was_written() {
    fn check(disk: impl Disk) {
        let file = disk.create("file").expect("it is created");
        file.allocate(8 << 20).expect("there is room");
        file.write_at(b"here", 1 << 20).expect("it is written");
        file.write_at(b"there", 5 << 20).expect("it is written");
        file.sync_all().expect("it is synced");
        file.forget_cached().expect("it is forgotten");
        let written = file.written_bytes().expect("it can be told");
        assert!(((5 << 20) + 5..=8 << 20).contains(&written), "{written}");
    }
    check(Memory::new(1));
    let directory = tempfile::tempdir().expect("a directory");
    check(Os::open(directory.path()).expect("it opens"));
}

#[test]
fn what_was_synced_is_there_after_a_restart() {
    let disk = Memory::new(1);
    let (mut log, report) = open(disk.clone());
    assert!(report.fresh);
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
        assert_eq!(
            reader.read(*position, 4000).expect("the record is there"),
            payload
        );
        assert_eq!(
            reader.read(*position, 0).expect("a wrong guess does no harm"),
            payload
        );
    }
    disk.crash();
    for outcome in Outcome::ALL {
        let (log, report) = open(disk.restart(outcome, 7));
        assert_eq!(replay(&log.reader()), written);
        assert!(!report.clean);
        assert_eq!(report.cut, None);
        assert!(written.iter().all(|(position, _)| *position < report.end));
    }
}

#[test]
fn a_torn_tail_is_cut_and_its_space_given_back() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    let whole = append(&mut log, b"whole");
    log.sync().expect("the disk syncs");
    let torn = append(&mut log, &[1; 3000]);
    append(&mut log, b"behind the tear");
    disk.crash();
    let disk = disk.restart(Outcome::Everything, 1);
    let name = segment::file_name(SegmentNumber(1));
    disk.corrupt(&name, |bytes| {
        bytes[torn.offset() as usize + 600..][..512].fill(0)
    });
    let (log, report) = open(disk.clone());
    assert_eq!(
        report.cut,
        Some(Cut {
            position: torn,
            records_discarded: 1
        })
    );
    assert_eq!(replay(&log.reader()), [(whole, b"whole".to_vec())]);
    // Header, group, end: and no group of the torn tail behind that could turn up one day.
    assert_eq!(
        disk.contents(&name).expect("it exists").len(),
        torn.offset().next_multiple_of(512) as usize + 512
    );
}

#[test]
fn the_real_disk_keeps_it_too() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let disk = || Os::open(directory.path().join("data")).expect("the directory opens");
    let (mut log, _) = open(disk());
    let written: Vec<_> = (0..100u8)
        .map(|number| (append(&mut log, &[number; 777]), vec![number; 777]))
        .collect();
    log.sync().expect("the disk syncs");
    assert!(matches!(
        Log::open(disk(), options()),
        Err(OpenError::InUse { .. })
    ));
    let first = log.maintenance().segments()[0].number;
    drop(log);
    let (mut log, report) = open(disk());
    assert!(!report.clean);
    assert_eq!(replay(&log.reader()), written);
    assert_eq!(
        log.maintenance().prepare().expect("the disk works"),
        Prepared::Ready
    );
    log.maintenance().retire(first).expect("it is retired");
    append(&mut log, b"last");
    log.close().expect("it closes");
    let (log, report) = open(disk());
    assert!(report.clean);
    let kept = written
        .iter()
        .filter(|(position, _)| position.segment() != first)
        .count();
    assert_eq!(replay(&log.reader()).len(), kept + 1);
}

#[test]
fn a_place_without_a_record_is_missing() {
    let (mut log, _) = open(Memory::new(1));
    let position = append(&mut log, b"one");
    let reader = log.reader();
    for place in [
        position.forward(512),
        Position::ZERO,
        Position::new(SegmentNumber(9), 4096),
    ] {
        assert!(matches!(reader.read(place, 4000), Err(ReadError::Missing(missing)) if missing == place));
    }
}

/// Found by a seed of the simulator: one EIO had a good record called damaged, and its messages set aside for good.
#[test]
fn a_read_that_fails_once_is_no_damage() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    let position = append(&mut log, b"still there");
    log.sync().expect("the disk syncs");
    let reader = log.reader();
    disk.fail_at(disk.calls() + 1, Fault::Io);
    assert_eq!(
        reader.read(position, 64).expect("the second try succeeds"),
        b"still there"[..]
    );
    disk.fail_at(disk.calls() + 1, Fault::Io);
    disk.fail_at(disk.calls() + 2, Fault::Io);
    assert!(matches!(reader.read(position, 64), Err(ReadError::Damaged(_))));
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    let small = append(&mut log, b"small");
    let large = append(&mut log, &[7; 50_000]);
    let behind = append(&mut log, b"behind");
    log.sync().expect("the disk syncs");
    assert!(large.segment() > small.segment());
    assert_eq!(
        log.reader().read(large, 4000).expect("it is there"),
        [7u8; 50_000].as_slice()
    );
    disk.crash();
    let (mut log, _) = open(disk.restart(Outcome::Nothing, 1));
    let positions: Vec<_> = replay(&log.reader())
        .into_iter()
        .map(|(position, _)| position)
        .collect();
    assert_eq!(positions, [small, large, behind]);
    append(&mut log, b"more");
    // Its file does not fit anything else.
    assert_eq!(
        log.maintenance().retire(large.segment()).expect("it is retired"),
        Retired::Removed
    );
}

#[test]
fn a_retired_segment_is_written_over_and_never_read_again() {
    let (mut log, _) = open(Memory::new(1));
    let old: Vec<Position> = (0..60).map(|number| append(&mut log, &[number; 500])).collect();
    let maintenance = log.maintenance();
    let active = log.end().segment();
    assert!(matches!(maintenance.retire(active), Err(RetireError::Active(_))));
    for segment in maintenance.segments().iter().filter(|segment| !segment.active) {
        maintenance.retire(segment.number).expect("it is retired");
    }
    assert!(matches!(
        maintenance.retire(SegmentNumber(1)),
        Err(RetireError::Missing(_))
    ));
    let new: Vec<Position> = (0..60).map(|number| append(&mut log, &[number; 500])).collect();
    let reader = log.reader();
    for position in old.iter().filter(|position| position.segment() < active) {
        assert!(matches!(reader.read(*position, 4000), Err(ReadError::Missing(_))));
    }
    let kept = old
        .into_iter()
        .filter(|position| position.segment() == active)
        .chain(new);
    assert_eq!(
        replay(&reader)
            .into_iter()
            .map(|(position, _)| position)
            .collect::<Vec<_>>(),
        kept.collect::<Vec<_>>()
    );
}

#[test]
fn numbers_grow_even_if_all_segments_were_removed() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    let mut checkpoints = everack_storage::Checkpoints::open(disk.clone(), 0).expect("they open");
    append(&mut log, &[1; 9000]);
    append(&mut log, &[1; 9000]);
    let covers = log.sync().expect("the disk syncs");
    checkpoints.write(covers, |_| Ok(())).expect("there is space");
    let newest = log.end().segment();
    log.close().expect("it closes");
    for entry in disk.list().expect("it lists") {
        if segment::parse_name(&entry.name).is_some() {
            disk.remove(&entry.name).expect("it is removed");
        }
    }
    let (log, _) = open(disk.kill());
    assert!(log.end().segment() > newest);
}

/// Appends a segment's worth of records, each synced; those that were promised.
fn promised<D: Disk>(log: &mut Log<D>) -> Vec<Position> {
    let synced = |_| {
        let position = try_append(log, &[7; 9000]).ok()?;
        log.sync().ok().map(|_| position)
    };
    (0..3).map_while(synced).collect()
}

fn positions<D: Disk>(log: &Log<D>) -> Vec<Position> {
    let records = replay(&log.reader()).into_iter();
    records.map(|(position, _)| position).collect()
}

/// Seeds 25203, 29865, 34818 and 41236: the name of a segment was lost with a sync that failed for a checkpoint, and the log went on.
#[test]
fn names_that_a_checkpoint_failed_to_sync_carry_no_promise() {
    let mut stopped = 0;
    for call in 1..40 {
        let disk = Memory::new(1);
        let (mut log, _) = open(disk.clone());
        let maintenance = log.maintenance();
        let mut checkpoints = maintenance.checkpoints(0).expect("they open");
        // A spare whose name is not durable yet.
        assert_eq!(maintenance.prepare().expect("there is space"), Prepared::Ready);
        disk.fail_at(disk.calls() + call, Fault::Io);
        let _ = checkpoints.write(log.durable(), |_| Ok(()));
        let promised = promised(&mut log);
        stopped += usize::from(promised.is_empty());
        let (log, _) = open(disk.restart(Outcome::Nothing, call));
        assert_eq!(positions(&log), promised, "call {call} failed");
    }
    assert!(
        stopped >= 3,
        "syncs of the directory failed in {stopped} of the cases"
    );
}

/// Seed 37330: the file was a spare for the next process, and still a segment for the directory that the power failure left.
#[test]
fn a_segment_whose_removal_failed_is_not_written_over() {
    for call in 1..8 {
        let disk = Memory::new(1);
        let (mut log, _) = open(disk.clone());
        let first = log.end().segment();
        for _ in 0..3 {
            append(&mut log, &[1; 9000]);
        }
        log.sync().expect("the disk syncs");
        disk.fail_at(disk.calls() + call, Fault::Io);
        let retired = log.maintenance().retire(first);
        let disk = disk.kill();
        let (mut log, _) = open(disk.clone());
        let promised = promised(&mut log);
        assert_eq!(promised.len(), 3);
        let (log, _) = open(disk.restart(Outcome::Nothing, call));
        let found = positions(&log);
        assert!(
            promised.iter().all(|position| found.contains(position)),
            "call {call} failed, {retired:?}"
        );
    }
}

/// Seed 1537: a spare whose name was lost with a failed sync is still there for the next process, and its own syncs succeed.
#[test]
fn names_that_an_earlier_process_failed_to_sync_carry_no_promise() {
    for call in 1..40 {
        let disk = Memory::new(1);
        let (log, _) = open(disk.clone());
        let maintenance = log.maintenance();
        let mut checkpoints = maintenance.checkpoints(0).expect("they open");
        assert_eq!(maintenance.prepare().expect("there is space"), Prepared::Ready);
        disk.fail_at(disk.calls() + call, Fault::Io);
        let _ = checkpoints.write(log.durable(), |_| Ok(()));
        let disk = disk.kill();
        let (mut log, _) = open(disk.clone());
        let promised = promised(&mut log);
        assert_eq!(promised.len(), 3);
        let (log, _) = open(disk.restart(Outcome::Nothing, call));
        assert_eq!(positions(&log), promised, "call {call} failed");
    }
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    append(&mut log, b"promised");
    log.sync().expect("the disk syncs");
    append(&mut log, b"not promised");
    let durable = log.durable();
    disk.fail_at(disk.calls() + 1, Fault::Io);
    let fatal = log.sync().expect_err("the disk has failed");
    assert!(
        fatal.to_string().starts_with("the log stopped while syncing: "),
        "{fatal}"
    );
    assert!(
        log.sync().is_err(),
        "a second sync would succeed on Linux, and lie"
    );
    assert!(matches!(
        try_append(&mut log, b"more"),
        Err(AppendError::Fatal(_))
    ));
    assert!(log.mark().is_err());
    assert!(matches!(
        log.maintenance().retire(SegmentNumber(1)),
        Err(RetireError::Fatal(_))
    ));
    assert_eq!(log.durable(), durable);
    drop(log);
    // The page cache still shows the lost record; the recovery must not believe it.
    let (log, _) = open(disk.kill());
    let records: Vec<_> = replay(&log.reader())
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(records, [b"promised".to_vec()]);
}

#[test]
fn a_failed_write_poisons_the_log() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    disk.fail_at(disk.calls() + 1, Fault::Io);
    assert!(matches!(try_append(&mut log, b"one"), Err(AppendError::Fatal(_))));
    assert!(log.sync().is_err());
}

#[test]
fn a_full_disk_refuses_common_records_and_takes_what_frees_space() {
    let disk = Memory::new(1);
    disk.set_capacity(Some(5 * (16 << 10)));
    let (mut log, _) = open(disk.clone());
    let mut written = Vec::new();
    while let Ok(position) = try_append(&mut log, &[1; 1000]) {
        written.push(position);
    }
    let end = log.end();
    assert!(matches!(try_append(&mut log, &[1; 1000]), Err(AppendError::Full)));
    assert_eq!(log.end(), end, "a refused append leaves no trace");
    for _ in 0..7 {
        let mut settlements = Frames::new();
        let offset = settlements.push(&[2; 1000]);
        written.push(
            log.append_reserved(&mut settlements)
                .expect("the reserve is there")
                .forward(offset),
        );
    }
    log.sync().expect("the disk syncs");
    assert!(
        matches!(try_append(&mut log, b"x"), Err(AppendError::Full)),
        "the reserve is for settlements only"
    );
    assert!(log.maintenance().reserve_missing());
    assert_eq!(
        log.maintenance().prepare().expect("the disk works"),
        Prepared::Full
    );
    // Consumers have drained the first segment.
    log.maintenance().retire(SegmentNumber(1)).expect("it is retired");
    assert!(!log.maintenance().reserve_missing());
    written.push(try_append(&mut log, b"again").expect("there is space again"));
    log.sync().expect("the disk syncs");
    disk.crash();
    let (log, _) = open(disk.restart(Outcome::Nothing, 1));
    let kept: Vec<_> = written
        .into_iter()
        .filter(|position| position.segment() != SegmentNumber(1))
        .collect();
    assert_eq!(
        replay(&log.reader())
            .into_iter()
            .map(|(position, _)| position)
            .collect::<Vec<_>>(),
        kept
    );
}

#[test]
fn a_write_that_runs_out_of_space_leaves_nothing_behind() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    let before = append(&mut log, b"before");
    log.sync().expect("the disk syncs");
    let mut frames = Frames::new();
    frames.push(&[3; 100]);
    frames.push(&[4; 2000]);
    disk.fail_at(disk.calls() + 1, Fault::Full);
    assert!(matches!(log.append(&mut frames), Err(AppendError::Full)));
    // The same frames go elsewhere; half of the first attempt is never seen.
    let base = log.append(&mut frames).expect("there is space again");
    assert!(base.segment() > before.segment());
    // Its file was cut short, so it must not become a spare.
    assert_eq!(
        log.reader().read(before, 10).expect("it is there"),
        b"before".as_slice()
    );
    assert_eq!(
        log.maintenance().retire(before.segment()).expect("it is retired"),
        Retired::Removed
    );
    log.sync().expect("the disk syncs");
    disk.crash();
    let (mut log, _) = open(disk.restart(Outcome::Everything, 1));
    assert_eq!(replay(&log.reader()).len(), 2);
    append(&mut log, b"behind");
}

#[test]
fn a_start_on_a_full_disk_uses_the_reserve_or_says_what_to_do() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    while log.end().segment() == SegmentNumber(1) {
        append(&mut log, &[1; 1000]);
    }
    log.sync().expect("the disk syncs");
    drop(log);
    let used: u64 = disk
        .list()
        .expect("it lists")
        .iter()
        .map(|entry| entry.length)
        .sum();
    let disk = disk.kill();
    disk.set_capacity(Some(used));
    let (log, report) = open(disk.clone());
    assert!(!report.reserve_missing);
    assert!(
        log.maintenance().reserve_missing(),
        "it went into the new segment"
    );
    drop(log);
    let tiny = Memory::new(1);
    tiny.set_capacity(Some(2000));
    assert_eq!(
        refusal(tiny),
        "memory: the disk is full; the log needs 16384 bytes to start. Free some space and start again"
    );
}

#[test]
fn a_directory_in_use_is_refused() {
    let disk = Memory::new(1);
    let (log, _) = open(disk.clone());
    assert_eq!(
        refusal(disk.clone()),
        "memory is in use by another process; stop that one first, or give this one its own data directory"
    );
    drop(log);
    open(disk);
}

fn closed() -> Memory {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    append(&mut log, b"one");
    log.close().expect("it closes");
    disk.kill()
}

#[test]
fn a_newer_format_is_refused() {
    let disk = closed();
    disk.corrupt("MANIFEST", |text| {
        let lines = String::from_utf8(text.clone())
            .expect("it is text")
            .replace("format = 1", "format = 2");
        let lines = lines
            .split_at(lines.find("crc").expect("it has a crc"))
            .0
            .to_owned();
        *text = format!("{lines}crc = {:08x}\n", crc32fast::hash(lines.as_bytes())).into_bytes();
    });
    assert_eq!(
        refusal(disk),
        "memory has format version 2, this build knows versions up to 1; start the newer version of everack that \
         wrote it (nothing was changed)"
    );
    let disk = closed();
    disk.corrupt(&segment::file_name(SegmentNumber(1)), |bytes| {
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(refusal(disk).starts_with("memory has format version 9"));
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let disk = closed();
    disk.rename(
        &segment::file_name(SegmentNumber(1)),
        &segment::file_name(SegmentNumber(5)),
    )
    .expect("it is renamed");
    assert_eq!(
        refusal(disk),
        "memory: segment-0000000005.log belongs to another data directory; move it back there (nothing was changed)"
    );
}

#[test]
fn a_lost_manifest_is_restored_from_the_segments() {
    for harm in [
        |text: &mut Vec<u8>| text.clear(),
        |text: &mut Vec<u8>| text[30] ^= 1,
    ] {
        let disk = closed();
        disk.corrupt("MANIFEST", harm);
        let (log, report) = open(disk.clone());
        assert!(report.manifest_restored);
        assert_eq!(replay(&log.reader()).len(), 1);
        drop(log);
        assert!(!open(disk.kill()).1.manifest_restored);
    }
    let disk = closed();
    disk.remove("MANIFEST").expect("it is removed");
    disk.corrupt(&segment::file_name(SegmentNumber(1)), |bytes| bytes[0] ^= 1);
    assert!(refusal(disk).contains("restore MANIFEST from a backup"));
}

#[test]
fn marks_and_empty_appends_do_no_harm() {
    let disk = Memory::new(1);
    let (mut log, _) = open(disk.clone());
    for number in 0..100 {
        log.mark().expect("the disk works");
        let calls = disk.calls();
        log.sync().expect("nothing is to be synced");
        assert_eq!(disk.calls(), calls, "a sync of nothing costs nothing");
        append(&mut log, &[number; 100]);
        log.append(&mut Frames::new()).expect("nothing is no trouble");
        log.sync().expect("the disk syncs");
    }
    log.mark().expect("the disk works");
    let end = log.end();
    log.mark().expect("the disk works");
    assert_eq!(log.end(), end, "a mark is written once");
    assert_eq!(replay(&log.reader()).len(), 100);
}

#[test]
fn readers_and_maintenance_work_beside_the_log() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let few_open = Options {
        files_open_max: 2,
        ..options()
    };
    let (mut log, _) =
        Log::open(Os::open(directory.path()).expect("it opens"), few_open).expect("the log opens");
    let (reader, maintenance) = (log.reader(), log.maintenance());
    let (send, receive) = std::sync::mpsc::channel::<(Position, u8)>();
    let reading = std::thread::spawn(move || {
        let mut recent = std::collections::VecDeque::new();
        for (position, byte) in receive {
            recent.push_back((position, byte));
            if recent.len() > 40 {
                recent.pop_front();
            }
            for (position, byte) in &recent {
                match reader.read(*position, 4000) {
                    Ok(payload) => assert_eq!(payload, [*byte; 700].as_slice()),
                    Err(ReadError::Missing(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    for number in 0..2000u32 {
        send.send((append(&mut log, &[number as u8; 700]), number as u8))
            .expect("the reader lives");
        if number % 64 == 0 {
            for segment in maintenance.segments().iter().rev().skip(3) {
                maintenance.retire(segment.number).expect("it is retired");
            }
        }
    }
    drop(send);
    reading.join().expect("every read was right");
    let count = |found: Found<'_>| match found {
        Found::Record { .. } => Ok::<(), Infallible>(()),
        Found::Damage(damage) => panic!("{damage}"),
    };
    assert!(
        log.reader()
            .replay(Position::ZERO, count)
            .expect("it is read")
            .records
            > 0
    );
}
