//! Records: what is written is read, and what is damaged is refused.

use everack_amqp::content::Batch;
use everack_broker::catalog::Fact;
use everack_broker::ids::{Millis, PartitionId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::{Aside, Death};
use everack_node::partition::admission::Deadline;
use everack_node::record::{
    self, Counted, ITEMS_MAX, Placed, Placement, Range, Record, RecordError, RecordFact, SetAside, Target,
    charged_bytes, fanout,
};
use everack_storage::Frames;

use crate::desk::batch;

fn payload(encode: impl FnOnce(&mut Frames)) -> Vec<u8> {
    let mut frames = Frames::default();
    encode(&mut frames);
    let (_, range) = frames.payloads().next().expect("one record");
    frames.group()[range].to_vec()
}

fn target(queue: u64, first: u64, from: u16, to: u16) -> Target {
    Target {
        queue: QueueId(queue),
        first: Seq(first),
        from,
        to,
    }
}

const BODIES: [&[u8]; 5] = [b"", b"one", b"two two", b"3", b"the last of them"];

/// The bodies of a record with these targets; None for entries that it does not store.
fn check(placement: Placement, transaction: Option<u64>, targets: &[Target], stored: &[Option<&str>]) {
    let messages: Batch = batch(&BODIES);
    let bytes = payload(|frames| {
        record::encode_placed(frames, placement, PartitionId(3), transaction, &messages, targets);
    });
    let share = |target: &Target| charged_bytes(&messages, target.from, target.to, fanout(targets));
    let placed: Vec<Placed> = targets
        .iter()
        .map(|target| Placed {
            target: *target,
            bytes: share(target),
        })
        .collect();
    let fact = match placement {
        Placement::Enqueued => RecordFact::Enqueued(placed),
        Placement::Moved => RecordFact::Moved(placed),
    };
    let expected = Record {
        partition: PartitionId(3),
        transaction,
        fact,
    };
    assert_eq!(record::decode(&bytes), Ok(expected));
    let (read, read_targets) = record::decode_messages(bytes.clone().into()).unwrap();
    assert_eq!(read_targets, targets);
    let bodies: Vec<_> = (0..read.len())
        .map(|index| {
            (read.entries[index].header_len > 0)
                .then(|| String::from_utf8_lossy(read.body(index)).into_owned())
        })
        .collect();
    assert_eq!(
        bodies,
        stored
            .iter()
            .map(|body| body.map(str::to_owned))
            .collect::<Vec<_>>()
    );
    for index in (0..read.len()).filter(|index| stored[*index].is_some()) {
        assert_eq!(read.properties(index), messages.properties(index));
        assert_eq!(
            (read.exchange(index), read.routing_key(index)),
            (&b""[..], &b"k"[..])
        );
    }
    never_panics(&bytes);
}

/// Cut anywhere, or with any byte changed, a record is read or refused.
fn never_panics(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        let _ = record::decode(bytes);
        if let Ok((messages, _)) = record::decode_messages(bytes.to_vec().into()) {
            let _ = (0..messages.len())
                .map(|index| messages.body(index).len())
                .sum::<usize>();
        }
    };
    for cut in 0..bytes.len() {
        read(&bytes[..cut]);
        for change in [1, 0x80, 0xff] {
            let mut damaged = bytes.to_vec();
            damaged[cut] ^= change;
            read(&damaged);
        }
    }
}

#[test]
fn placed_messages_are_read_as_they_were_written() {
    let all = [
        Some(""),
        Some("one"),
        Some("two two"),
        Some("3"),
        Some("the last of them"),
    ];
    check(Placement::Enqueued, None, &[target(1, 1, 0, 5)], &all);
    check(Placement::Enqueued, Some(9), &[target(1, 7, 0, 5)], &all);
    check(
        Placement::Moved,
        None,
        &[target(1, 1, 0, 5), target(2, 90, 0, 5)],
        &all,
    );
    check(Placement::Moved, None, &[target(1, 1, 0, 2)], &all[..2]);
    check(
        Placement::Moved,
        None,
        &[target(1, 2, 1, 2)],
        &[None, Some("one")],
    );
    let some = [None, Some("one"), None, Some("3")];
    check(
        Placement::Moved,
        None,
        &[target(1, 2, 1, 2), target(1, 4, 3, 4)],
        &some,
    );
    check(
        Placement::Enqueued,
        None,
        &[target(1, 2, 1, 3), target(2, 1, 2, 4)],
        &[None, all[1], all[2], all[3]],
    );
}

#[test]
fn ranges_are_read_as_they_were_written() {
    let ranges = [
        Range {
            queue: QueueId(1),
            first: Seq(5),
            count: 3,
        },
        Range {
            queue: QueueId(2),
            first: Seq(1),
            count: 1,
        },
    ];
    let check = |bytes: Vec<u8>, transaction, fact| {
        assert_eq!(
            record::decode(&bytes),
            Ok(Record {
                partition: PartitionId(2),
                transaction,
                fact
            })
        );
        never_panics(&bytes);
    };
    for ranges in [&ranges[..], &ranges[..1], &[]] {
        let partition = PartitionId(2);
        let settled = payload(|frames| record::encode_settled(frames, partition, Some(4), ranges));
        check(settled, Some(4), RecordFact::Settled(ranges.to_vec()));
        let returned = payload(|frames| record::encode_returned(frames, partition, ranges));
        check(returned, None, RecordFact::Returned(ranges.to_vec()));
        let failed = payload(|frames| record::encode_failed(frames, partition, ranges));
        check(failed, None, RecordFact::Failed(ranges.to_vec()));
        let parked = payload(|frames| record::encode_parked(frames, partition, ranges));
        check(parked, None, RecordFact::Parked(ranges.to_vec()));
        let unparked = payload(|frames| record::encode_unparked(frames, partition, ranges));
        check(unparked, None, RecordFact::Unparked(ranges.to_vec()));
        let counted = ranges.iter().map(|range| Counted {
            queue: range.queue,
            first: range.first,
            count: range.count,
            deliveries: 7,
            failures: 3,
        });
        let counted: Vec<_> = counted.collect();
        let bytes = payload(|frames| record::encode_counted(frames, partition, &counted));
        check(bytes, None, RecordFact::Counted(counted));
        for (aside, until) in [
            (None, None),
            (None, Some(Millis(7))),
            (Some(Aside::Retained), Some(Millis(1 << 41))),
            (Some(Aside::Parked(Death::Expired)), None),
        ] {
            let asides = ranges.iter().map(|range| SetAside {
                queue: range.queue,
                first: range.first,
                count: range.count,
                aside,
                until,
            });
            let asides: Vec<_> = asides.collect();
            let bytes = payload(|frames| record::encode_aside(frames, partition, &asides));
            check(bytes, None, RecordFact::Aside(asides));
        }
        let rejected = payload(|frames| record::encode_rejected(frames, partition, Some(4), ranges));
        check(rejected, Some(4), RecordFact::Rejected(ranges.to_vec()));
        let quarantined = payload(|frames| record::encode_quarantined(frames, partition, ranges));
        check(quarantined, None, RecordFact::Quarantined(ranges.to_vec()));
    }
    let end = payload(|frames| record::encode_transaction_end(frames, 4));
    let whole = Record {
        partition: PartitionId(0),
        transaction: Some(4),
        fact: RecordFact::Whole,
    };
    assert_eq!(record::decode(&end), Ok(whole));
}

/// The charged bytes of all targets never exceed what is stored, however unevenly queues share a record.
#[test]
fn queues_are_charged_no_more_than_is_stored() {
    let messages = batch(&BODIES);
    for targets in [
        &[target(1, 1, 0, 5)][..],
        &[target(1, 1, 0, 5), target(2, 1, 0, 5), target(3, 1, 0, 5)],
        &[target(1, 1, 0, 5), target(2, 1, 4, 5)],
        &[target(1, 1, 0, 1), target(2, 1, 1, 5)],
    ] {
        let charged: u64 = targets
            .iter()
            .map(|target| u64::from(charged_bytes(&messages, target.from, target.to, fanout(targets))))
            .sum();
        let stored = u64::from(charged_bytes(&messages, 0, 5, 1));
        assert!(charged <= stored, "{targets:?} are charged {charged} of {stored}");
    }
}

/// Numbers are counted up from 1; arithmetic with one from the end of the range would fail.
#[test]
fn numbers_that_were_never_given_are_refused() {
    let number = record::SEQ_END;
    let messages: Batch = batch(&BODIES);
    let range = Range {
        queue: QueueId(1),
        first: Seq(number),
        count: u32::MAX,
    };
    let records = [
        payload(|frames| record::encode_settled(frames, PartitionId(0), None, &[range])),
        payload(|frames| record::encode_returned(frames, PartitionId(0), &[range])),
        payload(|frames| {
            let targets = [target(1, number, 0, 5)];
            record::encode_placed(
                frames,
                Placement::Enqueued,
                PartitionId(0),
                None,
                &messages,
                &targets,
            );
        }),
    ];
    for bytes in records {
        assert_eq!(record::decode(&bytes), Err(RecordError::Malformed));
    }
}

/// What the records of `frames` say.
fn facts(frames: &Frames) -> Vec<RecordFact> {
    let payloads = frames.payloads();
    let records =
        payloads.map(|(_, range)| record::decode(&frames.group()[range]).expect("it was just framed"));
    records.map(|record| record.fact).collect()
}

/// A record has a largest size, and who passes it ends the process: so there is a bound on what goes into one.
#[test]
fn very_many_items_become_several_records() {
    let range = |number: usize| Range {
        queue: QueueId(1),
        first: Seq(1 + 2 * number as u64),
        count: 1,
    };
    let deadline = |number: usize| Deadline {
        queue: QueueId(1),
        first: Seq(1 + number as u64),
        count: 1,
        at: Millis(number as u64),
    };
    let all = ITEMS_MAX + 1;
    let (ranges, deadlines): (Vec<_>, Vec<_>) =
        (0..all).map(|number| (range(number), deadline(number))).unzip();
    let mut frames = Frames::new();
    record::encode_settled(&mut frames, PartitionId(0), None, &ranges);
    record::encode_expiring(&mut frames, PartitionId(0), None, &deadlines);
    let (mut settled, mut expiring) = (Vec::new(), Vec::new());
    for fact in facts(&frames) {
        match fact {
            RecordFact::Settled(ranges) if ranges.len() <= ITEMS_MAX => settled.extend(ranges),
            RecordFact::Expiring(deadlines) if deadlines.len() <= ITEMS_MAX => expiring.extend(deadlines),
            _ => panic!("a record is too large, or not what was framed"),
        }
    }
    assert_eq!((settled, expiring), (ranges, deadlines));
}

#[test]
fn a_long_list_of_facts_becomes_several_records() {
    let user = |number: usize| Fact::UserDeleted {
        user: Name::from(format!("{number:0>200}").as_str()),
    };
    for count in [1, 3, 200_000] {
        let all: Vec<Fact> = (0..count).map(user).collect();
        let mut frames = Frames::new();
        record::encode_topology(&mut frames, &all);
        let records = facts(&frames);
        assert_eq!(records.len(), if count == 200_000 { 3 } else { 1 });
        let read = records.into_iter().flat_map(|fact| match fact {
            RecordFact::Topology(facts) => facts,
            other => panic!("{other:?}"),
        });
        assert_eq!(read.collect::<Vec<_>>(), all);
    }
}
