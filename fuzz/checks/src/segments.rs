//! Recovery of a log whose files were harmed in any way, by rot or by somebody who can forge checksums.
//!
//! What must hold: no panic; a record is shown only where a frame with good checksums lies, as our own reading of the file
//! says; looking shows what opening shows; what was shown once is shown again by the next start, behind a record that is
//! appended in between; and a segment that nobody touched loses nothing to the rot of another.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::OnceLock;

use everack_storage::disk::{Memory, Outcome};
use everack_storage::{
    Found, Frames, Log, OpenError, Options, Position, Reader, SegmentNumber, inspect, segment,
};

use crate::directory::{Directory, Harm, Seal, sector, segment_header};
use crate::script::Script;

/// More changes than this find nothing new.
const CHANGES_MAX: usize = 24;

type Records = BTreeMap<Position, Vec<u8>>;

/// The script: changes, each a byte that says which file, a byte that says what, and what that needs.
pub fn check(input: &[u8]) {
    let (written, disk) = written();
    let mut directory = Directory::copy_of(disk, &[".log", "MANIFEST"]);
    let mut script = Script::new(input);
    for _ in 0..CHANGES_MAX {
        if script.is_over() {
            break;
        }
        change(&mut directory, &mut script);
    }
    recover(&directory, written);
}

fn options() -> Options {
    Options {
        segment_bytes: 8 << 10,
        ..Options::default()
    }
}

/// Records in two full segments and a third that the log itself says is durable, as a power failure leaves them.
fn written() -> &'static (Records, Memory) {
    static WRITTEN: OnceLock<(Records, Memory)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let disk = Memory::new(3);
        let (mut log, _) = Log::open(disk.clone(), options()).expect("an empty directory opens");
        let mut records = Records::new();
        let mut number = 0usize;
        while log.end() < Position::new(SegmentNumber(3), 6000) {
            let mut frames = Frames::new();
            let payloads: Vec<Vec<u8>> = (0..1 + number % 3)
                .map(|at| vec![(number * 3 + at) as u8; (number * 311 + at * 97) % 700])
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
        disk.crash();
        (records, disk.restart(Outcome::Everything, 0))
    })
}

fn change(directory: &mut Directory, script: &mut Script<'_>) {
    let name = directory.name(script.octet());
    let number = segment::parse_name(&name).unwrap_or_default().0;
    let seal = Seal {
        identity: directory.identity,
        segment: number,
    };
    match script.octet() % 8 {
        0..=2 => directory.rot(&name, script),
        3 => {
            let offset = usize::from(script.short()) & !7;
            let payload = script.block();
            let mut frame = seal.frame(1, payload, offset as u64);
            // A word that says more than there is, or a payload that is not what was sealed.
            if let Some(lie) = frame.get_mut(12 + usize::from(script.octet())) {
                *lie ^= script.octet();
            }
            directory.put(&name, Harm::Forged, offset, &frame);
        }
        4 => {
            let (offset, mut payload) = (sector(script.short()), Vec::new());
            payload.extend(script.long_long().to_le_bytes());
            payload.extend(script.long().to_le_bytes());
            payload.extend(script.long().to_le_bytes());
            directory.put(
                &name,
                Harm::Forged,
                offset,
                &seal.frame(2, &payload, offset as u64),
            );
        }
        5 => {
            let (offset, mut payload) = (sector(script.short()), Vec::new());
            payload.extend(script.long_long().to_le_bytes());
            payload.extend(script.long().to_le_bytes());
            payload.extend(u32::from(script.octet()).to_le_bytes());
            directory.put(
                &name,
                Harm::Forged,
                offset,
                &seal.frame(3, &payload, offset as u64),
            );
        }
        6 => {
            let (version, durable) = (u32::from(script.octet()), script.long_long());
            let length = script.long_long();
            let header = segment_header(seal.identity, version, number, durable, length);
            directory.put(&name, Harm::Forged, 0, &header);
        }
        _ => {
            let number = script.long();
            let mut bytes = segment_header(seal.identity, 1, number, script.long_long(), script.long_long());
            bytes.resize(4096, 0);
            bytes.extend(script.block());
            directory.create(&segment::file_name(SegmentNumber(number)), &bytes);
        }
    }
}

fn recover(directory: &Directory, written: &Records) {
    let looked = inspect(directory.disk.kill()).map(|(reader, _)| replay(&reader, directory));
    let disk = directory.disk.kill();
    let Ok((mut log, report)) = Log::open(disk.clone(), options()) else {
        return;
    };
    let shown = replay(&log.reader(), directory);
    if let Ok(looked) = looked {
        assert_eq!(looked, shown, "looking shows what opening shows");
    }
    if directory.harm == Harm::Rotten {
        check_untouched(directory, written, &shown);
    }
    let end = log.end();
    assert!(report.end <= end, "the log goes on behind its end");
    let mut frames = Frames::new();
    let offset = frames.push(b"behind it all");
    let position = match log.append(&mut frames) {
        Ok(base) => base.forward(offset),
        // The reserve is missing: nothing can be appended, and nothing was.
        Err(_) => return,
    };
    log.sync().expect("the disk syncs");
    assert_eq!(
        log.reader().read(position, 16).expect("it was just written"),
        &b"behind it all"[..]
    );
    drop(log);
    disk.crash();
    let (log, _) = match Log::open(disk.restart(Outcome::Nothing, 1), options()) {
        // A forged segment may have had the last number but one.
        Err(OpenError::Exhausted { .. }) => return,
        opened => opened.expect("what opened once opens again"),
    };
    let mut again = replay_as_shown(&log.reader());
    assert_eq!(again.remove(&position).as_deref(), Some(&b"behind it all"[..]));
    assert_eq!(again, shown, "the next start shows the same");
}

/// Everything the log shows; each record has to lie in its file as it is shown.
fn replay(reader: &Reader<Memory>, directory: &Directory) -> Records {
    let shown = replay_as_shown(reader);
    for (position, payload) in &shown {
        let number = position.segment();
        let seal = Seal {
            identity: directory.identity,
            segment: number.0,
        };
        let contents = directory.contents(&segment::file_name(number));
        assert!(
            seal.holds(&contents, position.offset() as usize, payload),
            "the record at {position} is shown, and no intact frame lies there"
        );
    }
    shown
}

fn replay_as_shown(reader: &Reader<Memory>) -> Records {
    let mut shown = Records::new();
    let mut last = Position::ZERO;
    let replayed = reader.replay(Position::ZERO, |found| {
        if let Found::Record { position, payload } = found {
            assert!(position > last, "records come in order");
            last = position;
            shown.insert(position, payload.to_vec());
        }
        Ok::<(), Infallible>(())
    });
    // An unreadable place is damage, not an error; the memory has no others.
    assert!(replayed.is_ok(), "the replay goes past all harm");
    shown
}

fn check_untouched(directory: &Directory, written: &Records, shown: &Records) {
    for (position, payload) in written {
        let name = segment::file_name(position.segment());
        if !directory.harmed.contains(&name) {
            assert_eq!(
                shown.get(position),
                Some(payload),
                "{position} lies in a segment that nobody touched"
            );
        }
    }
}
