//! Checkpoints and retirement while messages are on their way, and what recovery makes of it.

use everack_broker::arguments::Arguments;
use everack_broker::catalog::{Catalog, Fact, Options, Queue};
use everack_broker::ids::{ConsumerId, PartitionId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::SettleOutcome;
use everack_node::opening::Plan;
use everack_node::record::{self, Placement, Range, Target};
use everack_node::recovery::Recovery;
use everack_node::recovery::checkpoint::{self, Checkpoint};
use everack_node::request::{Request, Settle};
use everack_storage::{Found, Frames, Position};

use crate::desk::{Desk, PLAN, batch};

#[test]
fn messages_that_become_durable_while_a_queue_is_captured_are_there_once() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    desk.publish(batch(&[b"one", b"two"]), &[&queue]);
    desk.commit();
    desk.publish(batch(&[b"three", b"four"]), &[&queue]);
    let partition = &desk.partitions[usize::from(queue.partition.0)];
    let cut = partition.borrow().cut(queue.id, desk.committed()).unwrap();
    desk.commit();
    let mut runs = Vec::new();
    assert_eq!(partition.borrow().slice(cut, Seq(0), 100, &mut runs), None);
    let facts: Vec<_> = desk.catalog.borrow().catalog().facts().collect();
    let mut checkpoint = Checkpoint::default();
    checkpoint
        .take(&checkpoint::encode_topology(desk.committed(), &facts)[0])
        .unwrap();
    checkpoint
        .take(&checkpoint::encode_queue(queue.id, cut.next, cut.applied, &runs))
        .unwrap();
    let mut recovery = Recovery::load(
        Some(checkpoint),
        Catalog::new(Options {
            partitions: 2,
            hash_key: 1,
        }),
    );
    let replayed = desk.reader.replay(cut.applied, |found| {
        if let Found::Record { position, payload } = found {
            recovery.visit(position, payload);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    replayed.unwrap();
    let recovered = recovery.finish();
    let numbers: Vec<u64> = recovered
        .queues
        .into_iter()
        .flat_map(|(_, _, image)| image.into_live_runs())
        .flat_map(|run| run.first.0..run.first.0 + u64::from(run.to - run.from))
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[test]
fn a_segment_with_messages_on_their_way_into_a_queue_is_not_retired() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    let large = vec![b'x'; 60 << 10];
    for _ in 0..3 {
        desk.publish(batch(&[&large]), &[&queue]);
    }
    // All three are durable, in three segments; the partition learns of it while a checkpoint is taken.
    desk.write(3);
    assert!(desk.look_after(Desk::tell));
    assert_eq!(desk.ready(&queue), 3);
    let again = desk.restart();
    let consumer = again.consumer(&queue);
    for _ in 0..3 {
        assert_eq!(again.get(&queue, consumer).map(|body| body.len()), Some(60 << 10));
    }
}

/// Seed 40316, and half of those that found something among the first 50,000. The bytes of a batch went to those of its messages that left
/// first, so that the last of them weighed nothing; and a segment that held nothing but such a message went as if it held none.
#[test]
fn a_segment_with_the_last_message_of_a_batch_is_not_retired() {
    let desk = Desk::begin(&Plan {
        resident_bytes_max: 1 << 20,
        ..PLAN
    });
    let names = ["a", "b", "c", "d", "e"];
    let queues: Vec<_> = names.iter().map(|name| desk.declare(name)).collect();
    let together: Vec<&Queue> = queues.iter().map(|queue| &**queue).collect();
    let together: Vec<&Queue> = together
        .into_iter()
        .filter(|queue| queue.partition == queues[0].partition)
        .collect();
    assert!(together.len() > 1, "the batch is shared");
    desk.publish(batch(&[b"one", b"two", b"three", b"four"]), &together);
    desk.commit();
    for queue in &together {
        let consumer = desk.consumer(queue);
        for first in 0..3 {
            assert!(desk.get(queue, consumer).is_some());
            desk.ask_of(queue, settle(consumer, first));
        }
    }
    desk.commit();
    let filling = desk.declare("filling");
    (0..3).for_each(|_| desk.publish(batch(&[&[b'x'; 60 << 10]]), &[&filling]));
    desk.commit();
    assert!(desk.look_after(|_| ()));
    let again = desk.restart();
    for queue in together {
        let body = again.get(queue, again.consumer(queue));
        assert_eq!(body.as_deref(), Some(&b"four"[..]), "of {}", queue.name);
    }
}

fn settle(consumer: ConsumerId, first: u64) -> Request {
    Request::Settle(Settle {
        consumer,
        first,
        count: 1,
        outcome: SettleOutcome::Done,
    })
}

#[test]
fn numbers_that_come_late_are_no_gap() {
    use everack_node::request::{RoutedRun, TransactionPart};
    use everack_node::transaction::Assembly;
    use std::sync::Arc;

    let desk = Desk::new();
    let queue = desk.declare("q");
    desk.publish(batch(&[b"one"]), &[&queue]);
    // A transaction of two parts is numbered now and written when its other part is there.
    let target = everack_broker::routing::Target {
        partition: queue.partition,
        queue: queue.id,
        durable: true,
    };
    let route = Arc::new(everack_broker::routing::Route {
        targets: Box::new([target]),
        by_headers: false,
    });
    let runs: Arc<[RoutedRun]> = Arc::new([RoutedRun {
        route,
        from: 0,
        to: 1,
    }]);
    let assembly = Arc::new(Assembly::new(desk.shared.next_transaction(), 2));
    let publishes = vec![(everack_node::messages::Messages::new(batch(&[b"two"])), runs)];
    let part = TransactionPart {
        traced: Vec::new(),
        assembly: assembly.clone(),
        publishes,
        settles: Vec::new(),
        reply: desk.reply(),
    };
    desk.ask_of(&queue, Request::Transaction(part));
    desk.publish(batch(&[b"three"]), &[&queue]);
    desk.commit();
    let other = TransactionPart {
        traced: Vec::new(),
        assembly,
        publishes: Vec::new(),
        settles: Vec::new(),
        reply: desk.reply(),
    };
    desk.ask(1 - usize::from(queue.partition.0), Request::Transaction(other));
    desk.commit();
    let again = desk.restart();
    assert_eq!(again.report.gaps, []);
    let consumer = again.consumer(&queue);
    for body in [&b"one"[..], b"two", b"three"] {
        assert_eq!(again.get(&queue, consumer).unwrap(), body);
    }
}

fn payload(encode: impl FnOnce(&mut Frames)) -> Vec<u8> {
    let mut frames = Frames::default();
    encode(&mut frames);
    let (_, range) = frames.payloads().next().expect("one record");
    frames.group()[range].to_vec()
}

fn recovery_of(facts: &[Fact]) -> Recovery {
    let options = Options {
        partitions: 1,
        hash_key: 1,
    };
    let mut recovery = Recovery::load(None, Catalog::new(options));
    recovery.visit(
        Position(4096),
        &payload(|frames| record::encode_topology(frames, facts)),
    );
    recovery
}

fn queue_in(partition: u16) -> [Fact; 2] {
    let vhost = Name::from("/");
    let declared = Fact::QueueDeclared {
        vhost: vhost.clone(),
        name: Name::from("q"),
        queue: QueueId(1),
        partition: PartitionId(partition),
        auto_delete: false,
        arguments: Arguments::default(),
    };
    [Fact::VhostDeclared { vhost }, declared]
}

/// Twenty bytes may name four billion messages; what recovery keeps of them is a range. (Found by the fuzzer of records.)
#[test]
fn a_return_of_four_billion_messages_takes_no_memory() {
    let mut recovery = recovery_of(&queue_in(0));
    let targets = [Target {
        queue: QueueId(1),
        first: Seq(1),
        from: 0,
        to: 2,
    }];
    let messages = batch(&[b"one", b"two"]);
    let enqueued = payload(|frames| {
        record::encode_placed(
            frames,
            Placement::Enqueued,
            PartitionId(0),
            None,
            &messages,
            &targets,
        );
    });
    recovery.visit(Position(8192), &enqueued);
    let all = Range {
        queue: QueueId(1),
        first: Seq(2),
        count: u32::MAX,
    };
    let returned = payload(|frames| record::encode_returned(frames, PartitionId(0), &[all]));
    for number in 0..1000 {
        recovery.visit(Position(16384 + number), &returned);
    }
    let mut queues = recovery.finish().queues;
    let (_, _, image) = queues.pop().expect("the queue is there");
    let runs: Vec<_> = image
        .into_live_runs()
        .map(|run| (run.first.0, run.to - run.from, run.marks.deliveries))
        .collect();
    assert_eq!(runs, [(1, 1, 0), (2, 1, 1000)]);
}

/// A start builds every partition up to the last one that a queue is in. (Found by reading, before the fuzzer could.)
#[test]
fn a_queue_in_a_partition_that_cannot_be_is_a_contradiction() {
    let recovered = recovery_of(&queue_in(u16::MAX)).finish();
    assert_eq!(recovered.report.contradictions.len(), 1);
    assert!(recovered.catalog.queue(QueueId(1)).is_none());
    assert!(
        recovery_of(&queue_in(1023))
            .finish()
            .report
            .contradictions
            .is_empty()
    );
}
