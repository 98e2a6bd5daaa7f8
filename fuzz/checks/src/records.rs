//! Payloads of log records: what a node makes of them when their checksums are good, whatever they say.
//!
//! What must hold: decoding never panics and never takes more memory than the record suggests; a record that is understood
//! has messages that lie within it; and a node opens on a log that holds the records, with or without a checkpoint.

pub mod samples;

use bytes::Bytes;
use everack_broker::catalog::DelayBounds;
use everack_node::names::NameKey;
use everack_node::opening::{self, Opened, Plan};
use everack_node::record::{self, RecordFact};
use everack_node::recovery::{Recovered, Recovery};
use everack_storage::disk::Memory;
use everack_storage::{Checkpoints, Frames, Log, Options, Position, SegmentNumber};

use crate::checkpoints::{catalog, check_image};
use crate::script::Script;

/// More records than this find nothing new.
const RECORDS_MAX: usize = 64;

/// The script: a byte that says whether the sample topology comes first (bit 0) and whether some of the records are a
/// checkpoint's (bit 1); then records, each a length of two bytes and a payload.
pub fn check(input: &[u8]) {
    let mut script = Script::new(input);
    let choice = script.octet();
    let mut records: Vec<Vec<u8>> = Vec::new();
    if choice & 1 != 0 {
        records.push(samples::topology());
    }
    while !script.is_over() && records.len() < RECORDS_MAX {
        records.push(script.block().to_vec());
    }
    records.iter().for_each(|payload| decode(payload));
    replay(&records);
    open(&records, choice & 2 != 0);
}

fn decode(payload: &[u8]) {
    let decoded = record::decode(payload);
    let messages = record::decode_messages(Bytes::copy_from_slice(payload));
    let Ok((batch, targets)) = messages else { return };
    for index in 0..batch.len() {
        let parts = batch.header(index).len() + batch.body(index).len();
        assert!(parts <= payload.len(), "a message lies within its record");
        let address = batch.exchange(index).len() + batch.routing_key(index).len() + 2;
        assert!(address <= payload.len(), "an address lies within its record");
    }
    if let Ok(record) = decoded {
        let (RecordFact::Enqueued(placed) | RecordFact::Moved(placed)) = record.fact else {
            panic!("only these two hold messages");
        };
        let places: Vec<_> = placed.iter().map(|placed| placed.target).collect();
        assert_eq!(places, targets, "both readings name the same targets");
    }
}

/// Recovery by itself, at positions as a log gives them.
fn replay(records: &[Vec<u8>]) {
    let mut recovery = Recovery::load(None, catalog());
    for (number, payload) in records.iter().enumerate() {
        let position = Position::new(SegmentNumber(1), 4096 + 512 * number as u32);
        recovery.visit(position, payload);
    }
    let Recovered { queues, report, .. } = recovery.finish();
    let live = queues.iter().map(|(_, _, image)| image.live()).sum::<u64>();
    assert_eq!(live, report.live);
    queues.into_iter().for_each(|(_, _, image)| check_image(image));
}

/// A whole node on a log that holds the records.
fn open(records: &[Vec<u8>], with_checkpoint: bool) {
    let disk = Memory::new(7);
    let options = Options {
        segment_bytes: 64 << 10,
        ..Options::default()
    };
    let (mut log, _) = Log::open(disk.clone(), options).expect("an empty directory opens");
    let (checkpointed, logged) = records.split_at(if with_checkpoint { records.len() / 2 } else { 0 });
    for payload in logged {
        let mut frames = Frames::new();
        frames.push(payload);
        log.append(&mut frames).expect("there is space");
    }
    log.close().expect("the disk works");
    if with_checkpoint {
        let mut checkpoints = Checkpoints::open(disk.clone(), 0).expect("the directory is good");
        let written = checkpoints.write(Position::ZERO, |sink| {
            checkpointed.iter().try_for_each(|record| sink.push(record))
        });
        written.expect("there is space");
    }
    let plan = Plan {
        segment_bytes: 64 << 10,
        partitions: 1,
        resident_bytes_max: 1 << 20,
        hash_key: 1,
        name_key: NameKey([0, 1]),
        delay_bounds: DelayBounds {
            messages_max: 1_000,
            bytes_max: 1 << 20,
        },
    };
    if let Ok(opened) = opening::open(disk, &plan) {
        let Opened {
            partitions, report, ..
        } = &opened;
        assert!(!partitions.is_empty());
        assert!(
            report.unreadable.len() <= records.len(),
            "a record is reported once"
        );
    }
}
