//! Checkpoint files that were harmed, by rot or with good checksums, and what a node makes of their contents.
//!
//! What must hold: no panic; a record is shown only from a file that our own reading calls whole; the node takes the records
//! or says that it cannot; what it takes comes out as messages in the order of their numbers, each once; and a new
//! checkpoint can be written and read beside whatever is there.

use std::sync::OnceLock;

use everack_broker::catalog::{Catalog, Options as CatalogOptions};
use everack_node::recovery::checkpoint::{self as contents, Checkpoint};
use everack_node::recovery::queue_image::QueueImage;
use everack_node::recovery::{Recovered, Recovery};
use everack_storage::disk::Memory;
use everack_storage::{Checkpoints, Frames, Log, Options, Position, checkpoint};

use crate::directory::{Directory, Harm, checkpoint_block, checkpoint_header};
use crate::script::Script;

/// More changes than this find nothing new.
const CHANGES_MAX: usize = 16;

/// The script: an even byte, then changes of the files; or an odd one, then the contents of a checkpoint, record by record.
pub fn check(input: &[u8]) {
    let mut directory = Directory::copy_of(written(), &[".ckp", ".copy"]);
    let mut script = Script::new(input);
    if script.octet().is_multiple_of(2) {
        for _ in 0..CHANGES_MAX {
            if script.is_over() {
                break;
            }
            change(&mut directory, &mut script);
        }
    } else {
        replace_contents(&mut directory, &mut script);
    }
    load(&directory);
}

fn options() -> Options {
    Options {
        segment_bytes: 8 << 10,
        ..Options::default()
    }
}

/// A directory with a short log and a checkpoint with its copy.
fn written() -> &'static Memory {
    static WRITTEN: OnceLock<Memory> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let disk = Memory::new(5);
        let (mut log, _) = Log::open(disk.clone(), options()).expect("an empty directory opens");
        let mut frames = Frames::new();
        frames.push(b"a record");
        log.append(&mut frames).expect("there is space");
        log.sync().expect("the disk syncs");
        let mut checkpoints = Checkpoints::open(disk.clone(), 0).expect("the directory is good");
        let records = crate::records::samples::checkpoint();
        let written = checkpoints.write(log.durable(), |sink| {
            records.iter().try_for_each(|record| sink.push(record))
        });
        written.expect("there is space");
        log.close().expect("the disk works");
        disk
    })
}

fn change(directory: &mut Directory, script: &mut Script<'_>) {
    let name = directory.name(script.octet());
    let identity = directory.identity;
    match script.octet() % 6 {
        0 | 1 => directory.rot(&name, script),
        2 => {
            let (version, number) = (u32::from(script.octet()), script.long());
            let header = checkpoint_header(identity, version, number, script.long_long());
            directory.put(&name, Harm::Forged, 0, &header);
        }
        3 => {
            let (offset, count) = (usize::from(script.short()), script.long());
            let block = checkpoint_block(count, script.block());
            directory.put(&name, Harm::Forged, offset, &block);
        }
        4 => {
            let (offset, count) = (usize::from(script.short()), script.long());
            let mut contents = Vec::new();
            contents.extend(script.long_long().to_le_bytes());
            contents.extend(script.long_long().to_le_bytes());
            directory.put(
                &name,
                Harm::Forged,
                offset,
                &checkpoint_block(count % 2, &contents),
            );
        }
        _ => {
            let number = script.long();
            let mut bytes = checkpoint_header(identity, 1, number, script.long_long());
            bytes.extend(script.block());
            directory.create(&format!("checkpoint-{number:010}.ckp"), &bytes);
        }
    }
}

/// One checkpoint, whole, whose records are the script's blocks.
fn replace_contents(directory: &mut Directory, script: &mut Script<'_>) {
    let mut records = Vec::new();
    while !script.is_over() {
        records.push(script.block());
    }
    for name in directory.names.clone() {
        directory.create(&name, &file(directory.identity, 1, &records));
    }
}

fn file(identity: u64, number: u32, records: &[&[u8]]) -> Vec<u8> {
    let mut bytes = checkpoint_header(identity, 1, number, Position::ZERO.0);
    let mut contents = Vec::new();
    for record in records {
        contents.extend((record.len() as u32).to_le_bytes());
        contents.extend_from_slice(record);
    }
    let blocks = u64::from(!records.is_empty());
    if blocks > 0 {
        bytes.extend(checkpoint_block(records.len() as u32, &contents));
    }
    let totals = [blocks.to_le_bytes(), (records.len() as u64).to_le_bytes()].concat();
    bytes.extend(checkpoint_block(0, &totals));
    bytes
}

fn load(directory: &Directory) {
    if let Ok(checkpoints) = Checkpoints::inspect(directory.disk.kill()) {
        for checked in checkpoints.check().unwrap_or_default() {
            let whole = read(&directory.contents(&checked.name)).is_some();
            assert!(
                whole || checked.summary.is_err(),
                "{} is called whole and is not",
                checked.name
            );
        }
    }
    let disk = directory.disk.kill();
    let Ok((log, _)) = Log::open(disk.clone(), options()) else {
        return;
    };
    let Ok(mut checkpoints) = Checkpoints::open(disk, 4096) else {
        return;
    };
    let mut records = Vec::new();
    let loaded = checkpoints.load::<checkpoint::Error>(|record| {
        records.push(record.to_vec());
        Ok(())
    });
    match loaded {
        Ok(Some(_)) => {
            let shown = directory
                .names
                .iter()
                .any(|name| read(&directory.contents(name)).as_ref() == Some(&records));
            assert!(shown, "what is loaded is the contents of a whole file");
            take(&records);
        }
        _ => assert!(records.is_empty(), "nothing is shown of what is not whole"),
    }
    let next = checkpoints.write(log.durable(), |sink| sink.push(b"the next"));
    if let Ok(next) = next {
        let mut seen = Vec::new();
        let again = checkpoints.load::<checkpoint::Error>(|record| {
            seen.push(record.to_vec());
            Ok(())
        });
        assert_eq!(again.expect("the newest is whole"), Some(next));
        assert_eq!(seen, [b"the next"]);
    }
}

/// The records of a checkpoint file, read from its drawing; `None` when it is not whole.
fn read(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let field = |at: usize| bytes.get(at..at + 4).map(little);
    if bytes.get(..8)? != b"EVERCKP\x01" || crc32fast::hash(bytes.get(..36)?) != field(36)? {
        return None;
    }
    let (mut at, mut records, mut blocks) = (40, Vec::new(), 0u64);
    loop {
        let (length, count, crc) = (field(at)? as usize, field(at + 4)?, field(at + 8)?);
        let contents = bytes.get(at + 12..(at + 12).checked_add(length)?)?;
        if crc32fast::hash(&[bytes.get(at..at + 8)?, contents].concat()) != crc {
            return None;
        }
        if count == 0 {
            let totals = [blocks.to_le_bytes(), (records.len() as u64).to_le_bytes()].concat();
            return (contents == totals).then_some(records);
        }
        let mut rest = contents;
        for _ in 0..count {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (record, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            records.push(record.to_vec());
            rest = behind;
        }
        at += 12 + length;
        blocks += 1;
    }
}

fn little(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The node's side: takes the records as far as it understands them, and builds from them what a start builds.
fn take(records: &[Vec<u8>]) {
    let mut checkpoint = Checkpoint::default();
    if records.iter().any(|record| checkpoint.take(record).is_err()) {
        return;
    }
    let queues: Vec<_> = checkpoint
        .queues
        .iter()
        .map(|(id, image)| (*id, image.clone()))
        .collect();
    for (queue, image) in queues {
        check_image(image.clone());
        let (next, applied) = (image.next, Position(image.applied));
        let runs: Vec<_> = image.into_live_runs().collect();
        let mut again = Checkpoint::default();
        again
            .take(&contents::encode_queue(queue, next, applied, &runs))
            .expect("what we write we read");
        let read: Vec<_> = again.queues[&queue].clone().into_live_runs().collect();
        assert_eq!(read, runs, "a queue is written as it was read");
    }
    let Recovered { queues, .. } = Recovery::load(Some(checkpoint), catalog()).finish();
    queues.into_iter().for_each(|(_, _, image)| check_image(image));
}

/// An empty catalog for a node with one partition.
pub(crate) fn catalog() -> Catalog {
    Catalog::new(CatalogOptions {
        partitions: 1,
        hash_key: 1,
    })
}

/// Live messages are in the order of their numbers, each once, and as many as the image says.
pub(crate) fn check_image(image: QueueImage) {
    let (live, next) = (image.live(), image.next.0);
    let (mut end, mut count) = (0, 0);
    for run in image.into_live_runs() {
        assert!(run.first.0 >= end, "runs are in order and apart");
        assert!(run.from < run.to, "a run has messages");
        count += u64::from(run.to - run.from);
        end = run.first.0 + u64::from(run.to - run.from);
        assert!(
            end <= next,
            "no live message has a number that is still to be given"
        );
    }
    assert_eq!(count, live);
}
