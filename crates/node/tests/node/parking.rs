//! Messages that were delivered too often: what is kept of that through a restart, and what operators do with them.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::{Command, DeclareQueue, Guard, NoAckGuard, Queue};
use everack_broker::ids::{ConsumerId, Millis, Seq};
use everack_broker::partition::{
    Aside, Cursor, Death, Depth, Marks, ParkedFate, Place, SettleOutcome, Store,
};
use everack_broker::terms::Retention;
use everack_node::notice::Answer;
use everack_node::report::{Inquirer, Report};
use everack_node::request::{List, Request, Settle, Unpark};

use crate::desk::{Desk, batch, declare_queue};

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Report>>);

impl Inquirer for Ear {
    fn told(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

fn ask(desk: &Desk, queue: &Queue, request: impl FnOnce(Arc<dyn Inquirer>) -> Request) -> Report {
    let ear = Arc::new(Ear::default());
    desk.ask_of(queue, request(ear.clone()));
    let report = ear.0.lock().unwrap().pop();
    report.expect("a partition answers at once")
}

pub(crate) fn depth(desk: &Desk, queue: &Queue) -> Depth {
    let report = ask(desk, queue, |inquirer| Request::Report {
        queues: vec![queue.id],
        inquirer,
    });
    match report {
        Report::Partition(report) => report.queues[0].1,
        other => panic!("a partition tells {other:?}"),
    }
}

/// Bodies and marks of what is parked, asked for one run at a time.
fn parked(desk: &Desk, queue: &Queue) -> Vec<(Vec<u8>, u32, u16)> {
    let (mut listed, mut next) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = next {
        let report = ask(desk, queue, |inquirer| {
            Request::List(List {
                queue: queue.id,
                place: Place::Aside(Store::Parked),
                from,
                most: 1,
                inquirer,
            })
        });
        let Report::Listed(report) = report else {
            panic!("{report:?}")
        };
        for run in report.runs.iter().map(|listed| &listed.looked) {
            assert_eq!(run.why, Some(Aside::Parked(Death::DeliveryLimit)));
            let messages = desk.recall.messages(run.run.location).expect("the log has it");
            for index in run.run.from..run.run.to {
                let body = messages.body(usize::from(index)).to_vec();
                listed.push((body, run.marks.deliveries, run.marks.failures));
            }
        }
        next = report.next;
    }
    listed
}

/// The answer comes with the commit of what was done.
fn unpark(desk: &Desk, queue: &Queue, fate: ParkedFate) -> u64 {
    order(desk, queue, Store::Parked, fate, false)
}

fn order(desk: &Desk, queue: &Queue, store: Store, fate: ParkedFate, preview: bool) -> u64 {
    let ear = Arc::new(Ear::default());
    let unpark = Unpark {
        queue: queue.id,
        store,
        first: Seq(0),
        end: Seq(u64::MAX),
        fate,
        preview,
        inquirer: ear.clone(),
    };
    desk.ask_of(queue, Request::Unpark(unpark));
    let done = !desk.jobs.borrow().is_empty();
    assert_eq!(ear.0.lock().unwrap().is_empty(), done, "told once it is durable");
    desk.commit();
    let report = ear.0.lock().unwrap().pop();
    match report {
        Some(Report::Unparked(report)) => report.weighed.messages,
        other => panic!("{other:?}"),
    }
}

/// Takes the first message and rejects it, so that it comes back.
fn fail(desk: &Desk, queue: &Queue, consumer: ConsumerId, delivery: u64) {
    assert!(desk.get(queue, consumer).is_some());
    settle(desk, queue, consumer, delivery, SettleOutcome::RequeueFailed);
}

fn settle(desk: &Desk, queue: &Queue, consumer: ConsumerId, first: u64, outcome: SettleOutcome) {
    let settle = Settle {
        consumer,
        first,
        count: 1,
        outcome,
    };
    desk.ask_of(queue, Request::Settle(settle));
}

/// What is remembered of the first message.
fn marks(desk: &Desk, queue: &Queue) -> Marks {
    let consumer = desk.consumer(queue);
    let answer = desk.answer(queue, |reply| Request::Get {
        consumer,
        queue: queue.id,
        no_ack: false,
        reply,
    });
    match answer {
        Answer::Got { delivery, .. } => delivery.delivery.marks,
        other => panic!("{other:?}"),
    }
}

fn declare(desk: &Desk, limit: i32) -> Arc<Queue> {
    declare_as(desk, &[("x-delivery-limit", limit)])
}

fn declare_as(desk: &Desk, arguments: &[(&str, i32)]) -> Arc<Queue> {
    let Command::DeclareQueue(declaration) = declare_queue("q") else {
        unreachable!("that is what it declares")
    };
    let arguments = arguments.iter().map(|(name, value)| (*name, Value::from(*value)));
    let arguments: Arguments = arguments.collect();
    desk.command(Command::DeclareQueue(DeclareQueue {
        arguments,
        ..declaration
    }));
    desk.commit();
    desk.queue("q").expect("just declared")
}

/// Message `bad` has failed once too often, `good` not at all.
fn scene() -> (Rc<Desk>, Arc<Queue>) {
    let desk = Desk::new();
    let queue = declare(&desk, 1);
    desk.publish(batch(&[b"bad", b"good"]), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    fail(&desk, &queue, consumer, 0);
    fail(&desk, &queue, consumer, 1);
    (desk, queue)
}

fn after_a_restart(desk: &Rc<Desk>, with_checkpoint: bool) -> Rc<Desk> {
    desk.commit();
    if with_checkpoint {
        assert!(desk.look_after(Desk::tell), "a checkpoint is written");
    }
    desk.restart()
}

#[test]
fn a_message_over_its_limit_is_parked_through_restarts() {
    for with_checkpoint in [false, true] {
        let (desk, queue) = scene();
        let again = after_a_restart(&desk, with_checkpoint);
        for desk in [&desk, &again] {
            let depth = depth(desk, &queue);
            assert_eq!((depth.ready, depth.parked, depth.unsettled), (1, 1, 0));
            assert_eq!(depth.counters.live(), 2);
            assert_eq!(parked(desk, &queue), [(b"bad".to_vec(), 2, 2)]);
        }
        let consumer = again.consumer(&queue);
        assert_eq!(again.get(&queue, consumer).unwrap(), b"good");
        assert_eq!(again.get(&queue, consumer), None);
    }
}

#[test]
fn counts_survive_a_restart() {
    for with_checkpoint in [false, true] {
        let desk = Desk::new();
        let queue = declare(&desk, 5);
        desk.publish(batch(&[b"m"]), &[&queue]);
        desk.commit();
        let consumer = desk.consumer(&queue);
        fail(&desk, &queue, consumer, 0);
        assert!(desk.get(&queue, consumer).is_some());
        settle(&desk, &queue, consumer, 1, SettleOutcome::Requeue);
        fail(&desk, &queue, consumer, 2);
        let again = after_a_restart(&desk, with_checkpoint);
        let expected = Marks {
            deliveries: 3,
            failures: 2,
            rank: 0,
        };
        assert_eq!(marks(&again, &queue), expected);
    }
}

/// A checkpoint that is cut while records are on their way holds already what they say. It counts once.
#[test]
fn what_a_checkpoint_holds_is_not_counted_again() {
    let desk = Desk::new();
    let queue = declare(&desk, 5);
    desk.publish(batch(&[b"m"]), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    fail(&desk, &queue, consumer, 0);
    assert!(desk.get(&queue, consumer).is_some());
    settle(&desk, &queue, consumer, 1, SettleOutcome::Requeue);
    assert!(desk.look_after(|_| ()), "a checkpoint is written");
    desk.commit();
    let expected = Marks {
        deliveries: 2,
        failures: 1,
        rank: 0,
    };
    assert_eq!(marks(&desk.restart(), &queue), expected);
}

#[test]
fn the_brokers_own_death_charges_nobody() {
    let (desk, queue) = scene();
    desk.commit();
    let again = desk.restart();
    let consumer = again.consumer(&queue);
    assert!(again.get(&queue, consumer).is_some());
    let third = again.restart();
    assert_eq!(marks(&third, &queue), Marks::default());
}

#[test]
fn what_is_redriven_starts_anew() {
    for with_checkpoint in [false, true] {
        let (desk, queue) = scene();
        desk.commit();
        assert_eq!(unpark(&desk, &queue, ParkedFate::Redrive), 1);
        assert_eq!(unpark(&desk, &queue, ParkedFate::Redrive), 0);
        let again = after_a_restart(&desk, with_checkpoint);
        assert_eq!(parked(&again, &queue), []);
        assert_eq!(again.ready(&queue), 2);
        let expected = Marks {
            deliveries: 2,
            failures: 0,
            rank: 0,
        };
        assert_eq!(marks(&again, &queue), expected);
    }
}

/// A message that comes back has its time to live before it again, also after a restart.
#[test]
fn what_is_redriven_lives_anew() {
    for with_checkpoint in [false, true] {
        let desk = Desk::new();
        let queue = declare_as(&desk, &[("x-delivery-limit", 0), ("x-message-ttl", 1000)]);
        desk.publish(batch(&[b"bad"]), &[&queue]);
        desk.commit();
        let consumer = desk.consumer(&queue);
        fail(&desk, &queue, consumer, 0);
        desk.pass(5000);
        desk.commit();
        assert_eq!(unpark(&desk, &queue, ParkedFate::Redrive), 1);
        desk.pass(900);
        assert_eq!(depth(&desk, &queue).ready, 1, "it is 900 ms old");
        let again = after_a_restart(&desk, with_checkpoint);
        again.now.set(Millis(5999));
        again.pass(0);
        assert_eq!(depth(&again, &queue).ready, 1, "it is 999 ms old");
        again.pass(2);
        let depth = depth(&again, &queue);
        assert_eq!((depth.ready, depth.counters.expired), (0, 1));
    }
}

#[test]
fn what_is_discarded_is_gone_and_counted() {
    let (desk, queue) = scene();
    desk.commit();
    assert_eq!(unpark(&desk, &queue, ParkedFate::Discard), 1);
    let counters = depth(&desk, &queue).counters;
    assert_eq!((counters.parked_discarded, counters.live()), (1, 1));
    desk.commit();
    let again = desk.restart();
    assert_eq!((depth(&again, &queue).parked, again.ready(&queue)), (0, 1));
}

#[test]
fn a_deleted_queue_takes_what_is_parked_along() {
    let (desk, queue) = scene();
    desk.commit();
    desk.ask_of(&queue, Request::DeleteQueue { queue: queue.id });
    assert_eq!(unpark(&desk, &queue, ParkedFate::Redrive), 0);
}

#[test]
fn a_quorum_queue_gives_up_after_twenty_failures_unless_told_otherwise() {
    check(&[], 21, 1);
    check(&[], 20, 0);
    check(&[("x-delivery-limit", Value::from(-1))], 30, 0);
    check(&[("x-delivery-limit", Value::from(0))], 1, 1);

    fn check(more: &[(&str, Value)], failures: u64, expected: u64) {
        let desk = Desk::new();
        let kind = [("x-queue-type", Value::from("quorum"))];
        let Command::DeclareQueue(declaration) = declare_queue("q") else {
            unreachable!("that is what it declares")
        };
        desk.command(Command::DeclareQueue(DeclareQueue {
            arguments: kind.iter().chain(more).cloned().collect(),
            ..declaration
        }));
        desk.commit();
        let queue = desk.queue("q").expect("just declared");
        desk.publish(batch(&[b"m"]), &[&queue]);
        desk.commit();
        let consumer = desk.consumer(&queue);
        (0..failures).for_each(|delivery| fail(&desk, &queue, consumer, delivery));
        assert_eq!(depth(&desk, &queue).parked, expected);
    }
}

/// A queue that retains what is handed over, with one message that was; its body is `one`.
fn retaining(desk: &Desk) -> Arc<Queue> {
    desk.declare("q");
    desk.command(Command::GuardNoAck {
        vhost: "/".into(),
        guard: NoAckGuard {
            guard: Guard::Retain,
            retention: Retention {
                millis: 10_000,
                messages_max: 10,
                bytes_max: 10_000,
            },
        },
    });
    desk.commit();
    let queue = desk.queue("q").expect("just declared");
    desk.publish(batch(&[b"one"]), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    let answer = desk.answer(&queue, |reply| Request::Get {
        consumer,
        queue: queue.id,
        no_ack: true,
        reply,
    });
    assert!(matches!(answer, Answer::Got { .. }));
    desk.commit();
    queue
}

#[test]
fn what_is_retained_is_so_through_a_restart() {
    for with_checkpoint in [false, true] {
        let desk = Desk::new();
        let queue = retaining(&desk);
        let again = after_a_restart(&desk, with_checkpoint);
        for desk in [&desk, &again] {
            let depth = depth(desk, &queue);
            assert_eq!((depth.ready, depth.retained, depth.parked), (0, 1, 0));
        }
        // Nothing happens in a preview.
        let redeliver = |preview| order(&again, &queue, Store::Retained, ParkedFate::Redrive, preview);
        assert_eq!(redeliver(true), 1);
        assert_eq!(depth(&again, &queue).retained, 1);
        assert_eq!(redeliver(false), 1);
        let third = after_a_restart(&again, with_checkpoint);
        let known = marks(&third, &queue);
        assert_eq!((known.deliveries, known.failures), (1, 0));
    }
}

#[test]
fn what_is_retained_ends_in_time_also_after_a_restart() {
    for with_checkpoint in [false, true] {
        let desk = Desk::new();
        let queue = retaining(&desk);
        let again = after_a_restart(&desk, with_checkpoint);
        again.now.set(Millis(9_999));
        again.pass(0);
        assert_eq!(depth(&again, &queue).retained, 1);
        again.pass(1);
        let counted = depth(&again, &queue);
        assert_eq!((counted.retained, counted.counters.no_ack), (0, 1));
        again.commit();
        assert_eq!(depth(&again.restart(), &queue).counters.live(), 0);
    }
}
