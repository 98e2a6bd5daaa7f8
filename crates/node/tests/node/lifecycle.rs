//! Expiry, limits and dead letters through the pipeline, the log and a restart.

use std::rc::Rc;
use std::sync::Arc;

use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::Queue;
use everack_broker::ids::ConsumerId;
use everack_broker::partition::SettleOutcome;
use everack_node::few::Few;
use everack_node::notice::Notice;
use everack_node::request::{Publish, Request, RoutedRun, Settle, TransactionPart};
use everack_node::transaction::Assembly;

use crate::desk::{Desk, arguments, batch};
use crate::parking::depth;

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
    // The rejection and the move are framed, and nobody has seen them: after a crash they never were.
    assert_eq!(desk.jobs.borrow().len(), 2, "one append for both partitions");
    assert_eq!((desk.ready(&source), desk.ready(&target)), (1, 0));
    assert_eq!((again(&desk, &source).1, again(&desk, &target).1), (2, 0));
    // The rejection is written: it is still the source's, and nobody gets it.
    desk.write(1);
    let (rejected, ready) = again(&desk, &source);
    assert_eq!(
        (ready, dead(&rejected, &source), rejected.ready(&target)),
        (1, 1, 0)
    );
    desk.tell();
    // The move is written, and nobody has been told.
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
    let (again_there, ready) = again(&desk, &source);
    assert_eq!(
        (ready, dead(&again_there, &source)),
        (0, 1),
        "it is still the source's"
    );
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

/// How many messages of a queue are dead and not elsewhere.
fn dead(desk: &Desk, queue: &Queue) -> u64 {
    depth(desk, queue).dead
}

/// A rejection is a settlement: it is durable within milliseconds, and no consumer sees the message again, also if nobody is there
/// to take it.
#[test]
fn what_was_rejected_stays_so_without_a_target() {
    let desk = Desk::new();
    let letters = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("late")),
    ];
    let queue = desk.declare_with("queue", arguments(&letters));
    publish(&desk, &[b"one", b"two"], &queue);
    desk.commit();
    reject(&desk, &queue);
    assert_eq!(again(&desk, &queue).1, 2, "not durable yet");
    desk.commit();
    assert_eq!((desk.ready(&queue), dead(&desk, &queue)), (1, 1));
    // Once from the log, once from a checkpoint, once from a checkpoint of what came from a checkpoint.
    let mut desk = desk;
    for _ in 0..3 {
        let (again, ready) = again(&desk, &queue);
        assert_eq!((ready, dead(&again, &queue)), (1, 1));
        assert!(again.look_after(|_| ()));
        desk = again;
    }
    let target = desk.declare("late");
    desk.pass(2000);
    desk.commit();
    assert_eq!((dead(&desk, &queue), desk.ready(&target)), (0, 1));
    let (again, ready) = again(&desk, &queue);
    assert_eq!((ready, dead(&again, &queue), again.ready(&target)), (1, 0, 1));
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
        runs: Few::One(run),
        reply,
        confirm: Some(1),
        bytes: 0,
        traced: None,
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

/// One write has a bound, however much dies at once.
#[test]
fn many_dead_letters_move_in_parts() {
    let desk = Desk::new();
    let (source, target) = apart_with(&desk, Arguments::default());
    let body = vec![7; 100_000];
    publish(&desk, &vec![&body[..]; 40], &source);
    desk.commit();
    let consumer = desk.consumer(&source);
    while desk.get(&source, consumer).is_some() {}
    let settle = Settle {
        consumer,
        first: 0,
        count: 40,
        outcome: SettleOutcome::Discard,
    };
    desk.ask_of(&source, Request::Settle(settle));
    let sizes: Vec<usize> = desk.jobs.borrow().iter().map(|job| job.frames.bytes()).collect();
    assert!(sizes.iter().all(|bytes| *bytes < 1_200_000), "{sizes:?}");
    desk.commit();
    assert_eq!((desk.ready(&source), desk.ready(&target)), (0, 40));
    let (again, ready) = again(&desk, &source);
    assert_eq!((ready, again.ready(&target)), (0, 40));
}

/// A publisher whose messages are refused into a dead-letter exchange gets its window back when they are in the log, not before.
#[test]
fn what_is_refused_is_charged_until_it_is_elsewhere() {
    for target in ["target", "nobody"] {
        let desk = Desk::new();
        desk.declare("target");
        let narrow = [
            ("x-max-length", Value::Long(1)),
            ("x-overflow", text("reject-publish-dlx")),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(target)),
        ];
        let queue = desk.declare_with("narrow", arguments(&narrow));
        publish(&desk, &[b"there"], &queue);
        desk.commit();
        let reply = desk.reply();
        let link = reply.link.clone();
        let messages = everack_node::messages::Messages::new(batch(&[&vec![7; 2 << 20]]));
        let bytes = messages.chunk.len();
        link.publish_begins(bytes);
        let route = everack_broker::routing::Route {
            targets: Box::new([queue.target()]),
            by_headers: false,
        };
        let (route, from, to) = (Arc::new(route), 0, 1);
        let publish = Publish {
            messages,
            runs: Few::One(RoutedRun { route, from, to }),
            reply,
            confirm: Some(1),
            bytes,
            traced: None,
        };
        desk.ask_of(&queue, Request::Publish(publish));
        assert_eq!(
            link.may_publish(),
            target == "nobody",
            "what nobody wants is forgotten at once"
        );
        let jobs = desk.jobs.borrow().len();
        desk.write(jobs);
        assert_eq!(link.may_publish(), target == "nobody");
        desk.commit();
        assert!(link.may_publish(), "it is durable elsewhere");
    }
}

/// Takes a message and settles it in a transaction that is framed, and not written.
fn settle_in_transaction(desk: &Desk, queue: &Queue, outcome: SettleOutcome) -> ConsumerId {
    let consumer = desk.consumer(queue);
    desk.get(queue, consumer).expect("there is one");
    let part = TransactionPart {
        traced: Vec::new(),
        assembly: Arc::new(Assembly::new(desk.shared.next_transaction(), 1)),
        publishes: Vec::new(),
        settles: vec![Settle {
            consumer,
            first: 0,
            count: 1,
            outcome,
        }],
        reply: desk.reply(),
    };
    desk.ask_of(queue, Request::Transaction(part));
    consumer
}

/// What a transaction has settled is not dead-lettered too, whatever becomes of its connection meanwhile.
#[test]
fn what_a_transaction_settles_is_settled_once() {
    for (outcome, arrived) in [(SettleOutcome::Done, 0), (SettleOutcome::Discard, 1)] {
        let desk = Desk::new();
        let target = desk.declare("target");
        let mortal = [
            ("x-message-ttl", Value::Long(100)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("target")),
        ];
        let source = desk.declare_with("source", arguments(&mortal));
        publish(&desk, &[b"one"], &source);
        desk.commit();
        let consumer = settle_in_transaction(&desk, &source, outcome);
        desk.ask_of(&source, Request::Gone { consumer });
        desk.pass(1000);
        assert_eq!(desk.ready(&source), 0, "nobody else gets it");
        desk.write(1);
        // The transaction is durable, and nobody knows.
        let again = desk.restart();
        again.now.set(desk.now.get());
        for desk in [desk, again] {
            desk.commit();
            desk.pass(1000);
            desk.commit();
            assert_eq!((desk.ready(&source), dead(&desk, &source)), (0, 0), "{outcome:?}");
            assert_eq!(desk.ready(&target), arrived, "{outcome:?}");
        }
    }
}

/// `tx.commit-ok` says that rejections are durable as well, also those that have not been moved yet.
#[test]
fn a_rejection_is_as_durable_as_its_transaction() {
    let desk = Desk::new();
    let (source, target) = apart(&desk);
    publish(&desk, &[b"one"], &source);
    desk.commit();
    settle_in_transaction(&desk, &source, SettleOutcome::Discard);
    assert_eq!(again(&desk, &source).1, 1, "nothing of it is durable");
    desk.write(1);
    let crashed = desk.restart();
    desk.tell();
    // The commit has been answered; the move is framed, and not written.
    assert!(!desk.jobs.borrow().is_empty());
    for again in [crashed, desk.restart()] {
        assert_eq!(again.ready(&source), 0, "it does not come back");
        again.commit();
        assert_eq!((dead(&again, &source), again.ready(&target)), (0, 1));
    }
}

#[test]
fn what_was_rejected_is_parked_if_the_dead_letter_exchange_is_gone_after_a_restart() {
    let desk = Desk::new();
    let queue = desk.declare("queue");
    let policy = |desk: &Desk, exchange: &str| {
        let rules = desk.queue("queue").expect("it is there").rules();
        let mut rules = rules;
        rules.terms.dead_letters = !exchange.is_empty();
        desk.ask_of(
            &queue,
            Request::Amend {
                queue: queue.id,
                rules,
            },
        );
    };
    policy(&desk, "nowhere");
    publish(&desk, &[b"one", b"two"], &queue);
    desk.commit();
    reject(&desk, &queue);
    desk.commit();
    let (again, ready) = again(&desk, &queue);
    again.commit();
    for desk in [again.clone(), again.restart()] {
        let depth = depth(&desk, &queue);
        assert_eq!((ready, depth.ready, depth.parked, depth.dead), (1, 1, 1, 0));
        assert_eq!(depth.counters.live(), 2);
    }
}
