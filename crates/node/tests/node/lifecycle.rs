//! Expiry, limits and dead letters through the pipeline, the log and a restart.

use std::rc::Rc;
use std::sync::Arc;

use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::Queue;
use everack_broker::partition::SettleOutcome;
use everack_node::notice::Notice;
use everack_node::request::{Publish, Request, RoutedRun, Settle};

use crate::desk::{Desk, arguments, batch};

fn text(text: &str) -> Value {
    Value::LongString(text.as_bytes().into())
}

/// A queue whose dead letters go to a queue of the other partition.
fn apart(desk: &Rc<Desk>) -> (Arc<Queue>, Arc<Queue>) {
    apart_with(desk, Arguments::default())
}

fn apart_with(desk: &Rc<Desk>, target: Arguments) -> (Arc<Queue>, Arc<Queue>) {
    let target = desk.declare_with("target", target);
    for number in 0.. {
        let name = format!("source{number}");
        let letters = [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("target")),
        ];
        let source = desk.declare_with(&name, arguments(&letters));
        if source.partition != target.partition {
            return (source, target);
        }
    }
    unreachable!("queues go to both partitions");
}

fn publish(desk: &Desk, bodies: &[&[u8]], queue: &Queue) {
    desk.publish(batch(bodies), &[queue]);
}

/// Takes a message and rejects it.
fn reject(desk: &Desk, queue: &Queue) {
    let consumer = desk.consumer(queue);
    desk.get(queue, consumer).expect("there is one");
    let settle = Settle {
        consumer,
        first: 0,
        count: 1,
        outcome: SettleOutcome::Discard,
    };
    desk.ask_of(queue, Request::Settle(settle));
}

fn again(desk: &Desk, queue: &Queue) -> (Rc<Desk>, u64) {
    let desk = desk.restart();
    let ready = desk.ready(queue);
    (desk, ready)
}

#[test]
fn a_dead_letter_is_in_one_place_at_any_time() {
    let desk = Desk::new();
    let (source, target) = apart(&desk);
    publish(&desk, &[b"one", b"two"], &source);
    desk.commit();
    reject(&desk, &source);
    // The move is framed, and nobody has seen it: after a crash it never was.
    assert_eq!(desk.jobs.borrow().len(), 1, "one append for both partitions");
    assert_eq!((desk.ready(&source), desk.ready(&target)), (1, 0));
    assert_eq!((again(&desk, &source).1, again(&desk, &target).1), (2, 0));
    // It is written, and nobody has been told.
    desk.write(1);
    assert_eq!((desk.ready(&source), desk.ready(&target)), (1, 0));
    assert_eq!((again(&desk, &source).1, again(&desk, &target).1), (1, 1));
    // One partition has been told, the other has not.
    desk.tell_some(1);
    assert_eq!((again(&desk, &source).1, again(&desk, &target).1), (1, 1));
    desk.commit();
    assert_eq!((desk.ready(&source), desk.ready(&target)), (1, 1));
    assert!(desk.look_after(|_| ()));
    for desk in [desk.clone(), desk.restart()] {
        let consumer = desk.consumer(&target);
        assert_eq!(desk.get(&target, consumer).expect("it has come"), b"one");
    }
}

#[test]
fn a_full_target_keeps_all_of_a_move_from_happening() {
    let desk = Desk::new();
    let narrow = [
        ("x-max-length", Value::Long(1)),
        ("x-overflow", text("reject-publish")),
    ];
    let (source, target) = apart_with(&desk, arguments(&narrow));
    publish(&desk, &[b"there"], &target);
    publish(&desk, &[b"one"], &source);
    desk.commit();
    reject(&desk, &source);
    desk.commit();
    assert_eq!((desk.ready(&source), desk.ready(&target)), (0, 1));
    assert_eq!(again(&desk, &source).1, 1, "it is still the source's");
    desk.pass(1000);
    desk.commit();
    assert_eq!(desk.ready(&target), 1, "there is no room yet");
    let consumer = desk.consumer(&target);
    desk.get(&target, consumer);
    desk.pass(1000);
    desk.commit();
    assert_eq!(desk.ready(&target), 1);
    let (again, ready) = again(&desk, &source);
    assert_eq!(ready, 0);
    assert_eq!(again.ready(&target), 2, "the one that was taken is back too");
}

#[test]
fn what_is_dead_survives_a_checkpoint_in_its_queue() {
    let desk = Desk::new();
    let letters = [("x-dead-letter-exchange", text("nowhere"))];
    let queue = desk.declare_with("queue", arguments(&letters));
    publish(&desk, &[b"one", b"two"], &queue);
    desk.commit();
    reject(&desk, &queue);
    desk.commit();
    assert_eq!(desk.ready(&queue), 1);
    assert!(desk.look_after(|_| ()));
    assert_eq!(again(&desk, &queue).1, 2);
}

#[test]
fn what_has_expired_stays_dead_after_a_restart() {
    let desk = Desk::new();
    let letters = [
        ("x-dead-letter-exchange", text("nowhere")),
        ("x-message-ttl", Value::Long(100)),
    ];
    let queue = desk.declare_with("queue", arguments(&letters));
    publish(&desk, &[b"one"], &queue);
    desk.commit();
    desk.pass(100);
    desk.commit();
    assert_eq!(desk.ready(&queue), 0);
    for _ in 0..2 {
        let again = desk.restart();
        again.now.set(desk.now.get());
        again.pass(0);
        assert_eq!(again.ready(&queue), 0, "it is not delivered to anybody");
        // Once from the log, once from a checkpoint.
        assert!(desk.look_after(|_| ()));
    }
}

#[test]
fn a_queue_that_goes_takes_its_dead_along() {
    let desk = Desk::new();
    let (source, target) = apart(&desk);
    publish(&desk, &[b"one"], &source);
    desk.commit();
    reject(&desk, &source);
    desk.ask_of(&source, Request::DeleteQueue { queue: source.id });
    desk.commit();
    // The move was on its way when the queue went.
    assert_eq!(desk.ready(&target), 1);
}

#[test]
fn deadlines_mean_the_same_after_a_restart() {
    let desk = Desk::new();
    let mortal = [("x-message-ttl", Value::Long(5000))];
    let queue = desk.declare_with("queue", arguments(&mortal));
    publish(&desk, &[b"one"], &queue);
    desk.commit();
    desk.pass(2000);
    publish(&desk, &[b"two"], &queue);
    desk.commit();
    let after = |desk: &Desk, millis: u64| {
        let desk = desk.restart();
        desk.now.set(everack_broker::ids::Millis(0));
        desk.pass(millis);
        desk.ready(&queue)
    };
    for _ in 0..2 {
        assert_eq!(after(&desk, 4999), 2);
        assert_eq!(after(&desk, 5000), 1);
        assert_eq!(after(&desk, 6999), 1);
        assert_eq!(after(&desk, 7000), 0);
        // Once from the log, once from a checkpoint.
        assert!(desk.look_after(|_| ()));
    }
}

#[test]
fn bytes_of_bodies_are_known_after_a_restart() {
    let desk = Desk::new();
    let narrow = [("x-max-length-bytes", Value::Long(9))];
    let queue = desk.declare_with("queue", arguments(&narrow));
    publish(&desk, &[b"gone", b"four", b"five5"], &queue);
    desk.commit();
    assert_eq!(desk.ready(&queue), 2);
    for _ in 0..2 {
        let (again, ready) = again(&desk, &queue);
        assert_eq!(ready, 2);
        again.pass(1);
        assert_eq!(
            again.ready(&queue),
            2,
            "nothing is beyond the limit that was not before"
        );
        publish(&again, &[b"six666"], &queue);
        again.commit();
        assert_eq!(again.ready(&queue), 1, "one byte too many for two of them");
        assert!(desk.look_after(|_| ()));
    }
}

/// What a publisher of these bodies is told: nothing yet, that all is well, or what was refused.
fn confirmed(desk: &Desk, bodies: &[&[u8]], queue: &Queue) -> Option<Vec<(u16, u16)>> {
    let reply = desk.reply();
    let link = reply.link.clone();
    let messages = everack_node::messages::Messages::new(batch(bodies));
    let route = everack_broker::routing::Route {
        targets: Box::new([queue.target()]),
        by_headers: false,
    };
    let run = RoutedRun {
        route: Arc::new(route),
        from: 0,
        to: bodies.len() as u16,
    };
    let publish = Publish {
        messages,
        runs: Arc::new([run]),
        reply,
        confirm: Some(1),
        bytes: 0,
    };
    desk.ask_of(queue, Request::Publish(publish));
    let mut notices = Vec::new();
    link.take(&mut notices);
    match notices.pop()? {
        Notice::Confirm { .. } => Some(Vec::new()),
        Notice::Refused { refused, .. } => Some(refused.into()),
        other => panic!("no confirm but {other:?}"),
    }
}

#[test]
fn what_is_on_its_way_takes_room() {
    let desk = Desk::new();
    let narrow = [
        ("x-max-length", Value::Long(3)),
        ("x-overflow", text("reject-publish")),
    ];
    let queue = desk.declare_with("queue", arguments(&narrow));
    publish(&desk, &[b"one", b"two"], &queue);
    assert_eq!(
        confirmed(&desk, &[b"three", b"four", b"five"], &queue),
        None,
        "not durable yet"
    );
    assert_eq!(confirmed(&desk, &[b"six"], &queue), Some(vec![(0, 1)]));
    desk.commit();
    assert_eq!(desk.ready(&queue), 3);
    let consumer = desk.consumer(&queue);
    desk.get(&queue, consumer);
    assert_eq!(confirmed(&desk, &[b"seven"], &queue), None, "there is room again");
    desk.commit();
    assert_eq!(desk.ready(&queue), 3);
}

#[test]
fn a_queue_that_nobody_uses_is_gone_for_good() {
    let desk = Desk::new();
    let leased = [("x-expires", Value::Long(3000))];
    let queue = desk.declare_with("queue", arguments(&leased));
    publish(&desk, &[b"one"], &queue);
    desk.commit();
    desk.pass(2999);
    assert!(desk.queue("queue").is_some());
    desk.pass(1);
    desk.commit();
    assert!(desk.queue("queue").is_none());
    assert!(desk.restart().queue("queue").is_none());
}
