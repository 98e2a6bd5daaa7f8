//! Whatever is appended comes back, in any grouping, and whatever is written over it is never taken for a record.

use everack_storage::{
    Found, Frames, Log, Options, Position, SegmentNumber,
    disk::{Memory, Outcome},
    segment,
};
use proptest::{collection::vec, prelude::*};

fn open(disk: &Memory) -> Log<Memory> {
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    Log::open(disk.clone(), options).expect("the log opens").0
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 0..20_000)]
}

/// Records shown, damaged places aside.
fn replay(log: &Log<Memory>) -> Vec<(Position, Vec<u8>)> {
    let mut records = Vec::new();
    let replayed = log.reader().replay(Position::ZERO, |found| {
        if let Found::Record { position, payload } = found {
            records.push((position, payload.to_vec()));
        }
        Ok::<(), std::convert::Infallible>(())
    });
    replayed.expect("the disk reads");
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_appended_comes_back(groups in vec((vec(payload(), 1..8), any::<bool>()), 1..12), seed: u64) {
        let disk = Memory::new(seed);
        let mut log = open(&disk);
        let mut frames = Frames::new();
        let mut written = Vec::new();
        let mut synced = 0;
        for (payloads, sync) in groups {
            let offsets: Vec<u32> = payloads.iter().map(|payload| frames.push(payload)).collect();
            let base = log.append(&mut frames).expect("there is space");
            frames.clear();
            written.extend(offsets.into_iter().map(|offset| base.forward(offset)).zip(payloads));
            if sync {
                log.sync().expect("the disk syncs");
                synced = written.len();
            }
        }
        prop_assert_eq!(&replay(&log), &written);
        disk.crash();
        for outcome in Outcome::ALL {
            let shown = replay(&open(&disk.restart(outcome, seed)));
            prop_assert!(shown.len() >= synced);
            prop_assert_eq!(&shown[..], &written[..shown.len()]);
        }
    }

    #[test]
    fn nothing_but_what_was_appended_is_shown(
        payloads in vec(payload(), 1..8),
        harm in vec((0usize..16384, vec(any::<u8>(), 1..600)), 1..6),
        seed: u64,
    ) {
        let disk = Memory::new(seed);
        let mut log = open(&disk);
        let mut written = Vec::new();
        for payload in &payloads {
            let mut frames = Frames::new();
            let offset = frames.push(payload);
            written.push((log.append(&mut frames).expect("there is space").forward(offset), payload.clone()));
        }
        log.sync().expect("the disk syncs");
        drop(log);
        let disk = disk.kill();
        disk.corrupt(&segment::file_name(SegmentNumber(1)), |bytes| {
            for (at, garbage) in &harm {
                let end = (at + garbage.len()).min(bytes.len());
                bytes[*at..end].copy_from_slice(&garbage[..end - at]);
            }
        });
        for record in replay(&open(&disk)) {
            prop_assert!(written.contains(&record));
        }
    }

    #[test]
    fn a_copied_frame_is_no_frame_elsewhere(payload in vec(any::<u8>(), 0..400), to in 8u32..60) {
        // A body that holds the very bytes of a frame, as a publisher could send who has read the disk.
        let disk = Memory::new(5);
        let mut log = open(&disk);
        let mut frames = Frames::new();
        let offset = frames.push(&payload);
        let base = log.append(&mut frames).expect("there is space");
        log.sync().expect("the disk syncs");
        drop(log);
        let disk = disk.kill();
        let from = base.forward(offset).offset() as usize;
        let frame_bytes = (12 + payload.len()).next_multiple_of(8);
        disk.corrupt(&segment::file_name(SegmentNumber(1)), |bytes| {
            let to = 4096 + to as usize * 128;
            bytes.copy_within(from..from + frame_bytes, to);
        });
        for (position, _) in replay(&open(&disk)) {
            prop_assert_eq!(position, base.forward(offset));
        }
    }
}
