//! Bit rot, truncation and unreadable blocks in what was durable: reported by position, never shown, and everything
//! behind it still there.

use everack_storage::{
    Damage, Fault, Found, Frames, Log, Maintenance, Options, Position, ReadError, RecoveryReport, Retired,
    SegmentNumber,
    disk::{Disk, File, Memory, Outcome},
    segment,
};
use std::{collections::BTreeMap, convert::Infallible, ops::Range};

const FRAME_HEADER_BYTES: usize = 12;
const LAST: SegmentNumber = SegmentNumber(3);

fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    }
}

fn open(disk: &Memory) -> (Log<Memory>, RecoveryReport) {
    Log::open(disk.clone(), options()).expect("a damaged log opens")
}

/// Records by position, all durable, in two full segments and a third that the log itself says is durable.
struct Written {
    disk: Memory,
    records: BTreeMap<Position, Vec<u8>>,
    /// Where the third segment ends, behind the mark.
    end: u64,
}

fn written() -> Written {
    let disk = Memory::new(3);
    let (mut log, _) = open(&disk);
    let mut records = BTreeMap::new();
    let mut number = 0;
    while log.end() < Position::new(SegmentNumber(3), 9000) {
        let mut frames = Frames::new();
        let payloads: Vec<Vec<u8>> = (0..1 + number % 3)
            .map(|at| vec![(number * 3 + at) as u8; (number * 311 + at * 97) % 1400])
            .collect();
        let offsets: Vec<u32> = payloads.iter().map(|payload| frames.push(payload)).collect();
        let base = log.append(&mut frames).expect("there is space");
        records.extend(
            offsets
                .into_iter()
                .map(|offset| base.forward(offset))
                .zip(payloads),
        );
        log.sync().expect("the disk syncs");
        number += 1;
    }
    log.mark().expect("the disk works");
    assert_eq!(
        log.end().segment(),
        SegmentNumber(3),
        "the test means three segments"
    );
    let end = u64::from(log.end().offset());
    disk.crash();
    Written {
        disk: disk.restart(Outcome::Everything, 0),
        records,
        end,
    }
}

/// The bytes a record's frame takes in its segment, its padding aside.
fn extent(position: Position, payload: &[u8]) -> Range<u64> {
    let from = u64::from(position.offset());
    from..from + (FRAME_HEADER_BYTES + payload.len()) as u64
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn replay(log: &Log<Memory>) -> (BTreeMap<Position, Vec<u8>>, Vec<Damage>) {
    let mut records = BTreeMap::new();
    let mut damages = Vec::new();
    let replayed = log.reader().replay(Position::ZERO, |found| {
        match found {
            Found::Record { position, payload } => drop(records.insert(position, payload.to_vec())),
            Found::Damage(damage) => damages.push(damage),
        }
        Ok::<(), Infallible>(())
    });
    replayed.expect("the disk reads");
    (records, damages)
}

/// Open what `harmed` bytes of `segment` have been harmed in, and compare with what was written.
fn check(written: &Written, disk: &Memory, segment: SegmentNumber, harmed: Range<u64>) -> Vec<Damage> {
    let (log, report) = open(disk);
    let (found, mut damages) = replay(&log);
    damages.extend(report.damage);
    for (position, payload) in &found {
        assert_eq!(
            written.records.get(position),
            Some(payload),
            "{position} is shown as it was written"
        );
    }
    for (position, payload) in written
        .records
        .iter()
        .filter(|(position, _)| !found.contains_key(position))
    {
        let extent = extent(*position, payload);
        assert!(
            position.segment() == segment && overlap(&extent, &harmed),
            "{position} is missing although only {harmed:?} of {segment} was harmed"
        );
        // When everything up to the end is harmed, the mark included, nothing is left that could prove it was synced.
        if segment == LAST && harmed.start < extent.end && harmed.end >= written.end - 512 {
            continue;
        }
        let told = |damage: &Damage| {
            let from = u64::from(damage.position.offset());
            damage.position.segment() == segment && overlap(&(from..from + damage.bytes), &extent)
        };
        assert!(
            damages.iter().any(told),
            "{position} is missing and not reported: {damages:?}"
        );
    }
    damages
}

fn last_segment_length(disk: &Memory, segment: SegmentNumber) -> u64 {
    disk.contents(&segment::file_name(segment))
        .expect("the segment exists")
        .len() as u64
}

#[test]
fn every_flipped_bit_is_reported_and_costs_only_its_record() {
    let written = written();
    for number in 1..=3 {
        let segment = SegmentNumber(number);
        let name = segment::file_name(segment);
        for at in (0..last_segment_length(&written.disk, segment)).step_by(3) {
            let disk = written.disk.kill();
            disk.corrupt(&name, |bytes| bytes[at as usize] ^= 1 << (at % 8));
            check(&written, &disk, segment, at..at + 1);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_payload_names_its_record() {
    let written = written();
    for (position, payload) in written.records.iter().filter(|(_, payload)| !payload.is_empty()) {
        let at = extent(*position, payload).end - 1;
        let disk = written.disk.kill();
        disk.corrupt(&segment::file_name(position.segment()), |bytes| {
            bytes[at as usize] ^= 0x10
        });
        let damages = check(&written, &disk, position.segment(), at..at + 1);
        assert!(!damages.is_empty());
        for damage in damages {
            assert_eq!((damage.position, damage.fault), (*position, Fault::Record));
        }
    }
}

#[test]
fn a_truncated_segment_is_reported() {
    let written = written();
    for number in 1..=3 {
        let segment = SegmentNumber(number);
        let length = last_segment_length(&written.disk, segment);
        for at in (0..length).step_by(97).chain((4096..length).step_by(512)) {
            let disk = written.disk.kill();
            disk.corrupt(&segment::file_name(segment), |bytes| bytes.truncate(at as usize));
            let damages = check(&written, &disk, segment, at..u64::MAX);
            let lost = written.records.iter().any(|(position, payload)| {
                position.segment() == segment && extent(*position, payload).end > at
            });
            assert!(
                !lost || !damages.is_empty(),
                "truncation of {segment} at {at} is reported"
            );
        }
    }
}

#[test]
fn larger_harm_costs_only_what_it_touches() {
    let written = written();
    let mut random = 1u64;
    for round in 0..1500 {
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let segment = SegmentNumber(1 + (next() % 3) as u32);
        let length = last_segment_length(&written.disk, segment);
        let from = next() % length;
        let to = (from + 1 + next() % 5000).min(length);
        let disk = written.disk.kill();
        disk.corrupt(&segment::file_name(segment), |bytes| {
            for byte in &mut bytes[from as usize..to as usize] {
                *byte = if round % 2 == 0 { 0 } else { next() as u8 };
            }
        });
        check(&written, &disk, segment, from..to);
    }
}

#[test]
fn an_unreadable_block_is_reported_and_the_rest_is_read() {
    let written = written();
    for number in 1..=3 {
        let segment = SegmentNumber(number);
        for from in (0..16384).step_by(4096) {
            let disk = written.disk.kill();
            disk.make_unreadable(&segment::file_name(segment), from..from + 4096);
            let damages = check(&written, &disk, segment, from..from + 4096);
            let touches = |(position, payload): (&Position, &Vec<u8>)| {
                position.segment() == segment && overlap(&extent(*position, payload), &(from..from + 4096))
            };
            assert!(!damages.is_empty() || !written.records.iter().any(touches));
        }
    }
}

#[test]
fn a_damaged_record_is_refused_by_position_and_its_segment_set_aside() {
    let written = written();
    let (position, payload) = written
        .records
        .iter()
        .find(|(_, payload)| payload.len() > 100)
        .expect("one is long");
    let disk = written.disk.kill();
    let at = extent(*position, payload).start as usize + 50;
    disk.corrupt(&segment::file_name(position.segment()), |bytes| bytes[at] ^= 1);
    let (log, _) = open(&disk);
    let error = log.reader().read(*position, 4000).expect_err("it is damaged");
    assert!(matches!(error, ReadError::Damaged(damaged) if damaged == *position));
    let maintenance: Maintenance<Memory> = log.maintenance();
    let retired = maintenance.retire(position.segment()).expect("it is retired");
    assert_eq!(retired, Retired::SetAside("damaged-0000000001.log".to_owned()));
    let newest = log.end().segment();
    drop(log);
    let (log, report) = open(&disk.kill());
    assert_eq!(report.set_aside, ["damaged-0000000001.log"]);
    assert!(log.end().segment() > newest);
    assert!(matches!(
        log.reader().read(*position, 4000),
        Err(ReadError::Missing(_))
    ));
}

#[test]
fn damage_is_reported_again_at_every_start() {
    let written = written();
    let (position, payload) = written.records.iter().next_back().expect("there are records");
    let disk = written.disk.kill();
    let at = extent(*position, payload).end as usize - 1;
    disk.corrupt(&segment::file_name(position.segment()), |bytes| bytes[at] ^= 1);
    let first = replay(&open(&disk).0);
    let second = replay(&open(&disk.kill()).0);
    assert_eq!(first.1.len(), 1);
    assert_eq!(first.0, second.0);
    assert_eq!(first.1[0].position, second.1[0].position);
}

#[test]
fn what_was_written_last_stays_when_something_older_is_damaged() {
    let disk = Memory::new(3);
    let (mut log, _) = open(&disk);
    let mut append = |sync: bool| {
        let mut frames = Frames::new();
        let offset = frames.push(&[7; 300]);
        let position = log.append(&mut frames).expect("there is space").forward(offset);
        if sync {
            log.sync().expect("the disk syncs");
        }
        position
    };
    let (damaged, proof, last) = (append(true), append(true), append(false));
    disk.crash();
    let disk = disk.restart(Outcome::Everything, 1);
    disk.corrupt(&segment::file_name(SegmentNumber(1)), |bytes| {
        bytes[damaged.offset() as usize + 100] ^= 1
    });
    let (log, report) = open(&disk);
    let (found, damages) = replay(&log);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [proof, last]);
    assert_eq!((damages.len(), report.cut), (1, None));
}

#[test]
fn foreign_bytes_of_any_kind_do_no_harm() {
    let mut random = 7u64;
    for _ in 0..200 {
        let written = written_small();
        written.corrupt(&segment::file_name(SegmentNumber(1)), |bytes| {
            for byte in &mut bytes[4096..] {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (random >> 56) as u8;
            }
        });
        let (log, _) = open(&written);
        assert_eq!(replay(&log).0.len(), 0);
    }
}

fn written_small() -> Memory {
    let disk = Memory::new(9);
    let (mut log, _) = open(&disk);
    let mut frames = Frames::new();
    frames.push(b"one");
    log.append(&mut frames).expect("there is space");
    log.sync().expect("the disk syncs");
    drop(log);
    disk.kill()
}

#[test]
fn inspecting_changes_nothing() {
    let disk = written_small();
    let name = segment::file_name(SegmentNumber(1));
    let before = disk.contents(&name);
    let (reader, report) = everack_storage::inspect(disk.clone()).expect("it can be inspected");
    let mut records = 0;
    reader
        .replay(Position::ZERO, |_| {
            records += 1;
            Ok::<(), Infallible>(())
        })
        .expect("it can be read");
    assert_eq!((records, report.clean, report.cut), (1, false, None));
    drop(reader);
    assert_eq!(disk.contents(&name), before);
    assert_eq!(
        disk.list()
            .expect("the disk lists")
            .iter()
            .filter(|entry| entry.name.starts_with("segment"))
            .count(),
        1
    );
    assert!(
        disk.open(&name)
            .expect("it opens")
            .length()
            .expect("it has a length")
            > 0
    );
}
