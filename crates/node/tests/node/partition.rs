//! The partition's pipeline: requests in, jobs and notices out, and what a restart makes of the jobs.

use std::sync::Arc;

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConsumerId, Seq};
use everack_broker::partition::SettleOutcome;
use everack_node::request::{Consume, Request, Rescue, RescueTarget, Settle, TransactionPart};
use everack_node::transaction::Assembly;

use crate::desk::{Desk, Told, batch};

fn transaction(desk: &Desk, queue: &Queue, settles: Vec<Settle>) {
    let assembly = Arc::new(Assembly::new(desk.shared.next_transaction(), 1));
    let part = TransactionPart {
        traced: Vec::new(),
        assembly,
        publishes: Vec::new(),
        settles,
        reply: desk.reply(),
    };
    desk.ask_of(queue, Request::Transaction(part));
}

fn settle(consumer: ConsumerId, outcome: SettleOutcome) -> Settle {
    Settle {
        consumer,
        first: 0,
        count: 1,
        outcome,
    }
}

#[test]
fn a_message_is_there_when_it_is_durable_and_stays() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    desk.publish(batch(&[b"one", b"two"]), &[&queue]);
    assert_eq!(desk.ready(&queue), 0, "handed to the log, not durable");
    desk.write(1);
    assert_eq!(desk.ready(&queue), 0, "durable, not told");
    desk.tell();
    assert_eq!(desk.ready(&queue), 2);
    let again = desk.restart();
    assert_eq!(again.ready(&queue), 2);
    let consumer = again.consumer(&queue);
    assert_eq!(again.get(&queue, consumer).unwrap(), b"one");
    assert_eq!(again.get(&queue, consumer).unwrap(), b"two");
    assert_eq!(again.get(&queue, consumer), None);
}

#[test]
fn what_a_transaction_does_with_a_message_survives_a_restart() {
    check(SettleOutcome::Done, 0);
    check(SettleOutcome::Discard, 0);
    check(SettleOutcome::Requeue, 1);

    fn check(outcome: SettleOutcome, left: u64) {
        let desk = Desk::new();
        let queue = desk.declare("q");
        desk.publish(batch(&[b"work"]), &[&queue]);
        desk.commit();
        let consumer = desk.consumer(&queue);
        assert!(desk.get(&queue, consumer).is_some());
        transaction(&desk, &queue, vec![settle(consumer, outcome)]);
        desk.commit();
        assert_eq!(desk.ready(&queue), left, "{outcome:?}");
        assert_eq!(desk.restart().ready(&queue), left, "{outcome:?}, after a restart");
    }
}

#[test]
fn a_transaction_settles_also_when_its_connection_is_gone_before_it_is_durable() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    desk.publish(batch(&[b"work", b"more"]), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    assert!(desk.get(&queue, consumer).is_some());
    transaction(&desk, &queue, vec![settle(consumer, SettleOutcome::Done)]);
    desk.ask_of(&queue, Request::Gone { consumer });
    desk.commit();
    assert_eq!(desk.ready(&queue), 1, "the transaction is durable, all of it");
    assert_eq!(desk.restart().ready(&queue), 1);
}

#[test]
fn a_batch_with_very_many_targets_is_all_there_after_a_restart() {
    let desk = Desk::new();
    let queues: Vec<_> = (0..40).map(|index| desk.declare(&format!("q{index}"))).collect();
    let queues: Vec<&Queue> = queues
        .iter()
        .map(|queue| &**queue)
        .filter(|queue| queue.partition.0 == 0)
        .collect();
    assert!(
        queues.len() >= 17,
        "{} queues in the first partition",
        queues.len()
    );
    let bodies = vec![&b"x"[..]; 4096];
    let spans: Vec<(u16, u16)> = (0..4096).map(|index| (index, index + 1)).collect();
    desk.publish_runs(batch(&bodies), &spans, &queues);
    desk.commit();
    let again = desk.restart();
    for queue in queues {
        assert_eq!(
            (desk.ready(queue), again.ready(queue)),
            (4096, 4096),
            "{}",
            queue.name
        );
    }
    assert_eq!(again.report.unreadable, []);
}

#[test]
fn a_refused_consumer_is_not_remembered() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    let consume = |exclusive| {
        let reply = desk.reply();
        let link = reply.link.clone();
        let consume = Consume {
            consumer: desk.consumer(&queue),
            queue: queue.id,
            no_ack: false,
            exclusive,
            priority: 0,
            prefetch: 0,
            patience_millis: None,
            limit: None,
            reply,
        };
        desk.ask_of(&queue, Request::Consume(consume));
        link.take(&mut Vec::new());
        Arc::strong_count(&link) - 1
    };
    assert!(consume(true) > 0, "the consumer is known");
    assert_eq!(consume(true), 0, "the refused one is not");
}

#[test]
fn rescued_messages_are_where_they_were_written_again() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    desk.publish(batch(&[b"one", b"two", b"three"]), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    assert_eq!(desk.get(&queue, consumer).unwrap(), b"one");
    desk.ask_of(&queue, Request::Settle(settle(consumer, SettleOutcome::Done)));
    assert_eq!(desk.get(&queue, consumer).unwrap(), b"two");
    desk.commit();
    let told = Arc::new(Told::default());
    let partition = &desk.partitions[usize::from(queue.partition.0)];
    let cut = partition.borrow().cut(queue.id, desk.committed()).unwrap();
    let mut runs = Vec::new();
    partition.borrow().slice(cut, Seq(0), 10, &mut runs);
    let found = runs[0].location;
    let rescue = Rescue {
        location: everack_storage::Position(found.0),
        messages: desk.recall.messages(found).unwrap(),
        targets: vec![RescueTarget {
            queue: queue.id,
            first: Seq(1),
            from: 0,
            to: 3,
        }],
        done: told.clone(),
    };
    desk.ask_of(&queue, Request::Rescue(rescue));
    assert_eq!(
        told.0.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "not durable yet"
    );
    desk.ask_of(&queue, Request::Gone { consumer });
    desk.commit();
    assert_eq!(told.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    for desk in [desk.clone(), desk.restart()] {
        let consumer = desk.consumer(&queue);
        assert_eq!(desk.get(&queue, consumer).unwrap(), b"two");
        assert_eq!(desk.get(&queue, consumer).unwrap(), b"three");
        assert_eq!(desk.get(&queue, consumer), None);
    }
}
