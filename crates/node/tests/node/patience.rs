//! Time passes: consumers that hold a message for too long, and messages that wait before they are delivered again.

use everack_amqp::wire::method::basic;
use everack_broker::arguments::Value;
use everack_broker::catalog::Queue;
use everack_broker::ids::Millis;
use everack_broker::partition::SettleOutcome;
use everack_node::request::{Request, Settle};

use crate::desk::{Desk, arguments, batch};
use crate::talk::{Talk, short};

/// The time is so many milliseconds, and the partition is told.
fn tick(desk: &Desk, queue: &Queue, now: u64) {
    desk.now.set(Millis(now));
    desk.ask_of(queue, Request::Tick);
}

/// A client that takes messages from `q`, unsettled.
fn consuming(desk: &std::rc::Rc<Desk>) -> Talk {
    let mut talk = Talk::begin(desk, "guest");
    let consume = basic::Consume {
        queue: short("q"),
        consumer_tag: short("slow"),
        ..basic::Consume::default()
    };
    talk.say(1, consume);
    talk.settle();
    talk
}

/// This client does not say that it understands when the broker cancels, so its channel pays, as in RabbitMQ.
#[test]
fn a_client_that_understands_no_cancel_loses_the_channel_of_a_slow_consumer() {
    let check = |rules: &[(&str, Value)], patience: u64| {
        let desk = Desk::new();
        let queue = desk.declare_with("q", arguments(rules));
        desk.publish(batch(&[b"work"]), &[&queue]);
        desk.commit();
        let mut talk = consuming(&desk);
        assert_eq!(talk.heard(), ["1 BasicConsumeOk", "1 deliver 1", "work"]);
        tick(&desk, &queue, patience);
        talk.settle();
        assert_eq!(talk.heard(), [""; 0]);
        assert_eq!(desk.ready(&queue), 0);
        tick(&desk, &queue, patience + patience / 64);
        talk.settle();
        assert_eq!(talk.heard(), ["1 close 406"]);
        assert_eq!(desk.ready(&queue), 1);
    };
    check(&[("x-consumer-timeout", Value::from(640))], 640);
    check(&[("x-queue-type", Value::from("quorum"))], 1_800_000);
}

#[test]
fn without_a_timeout_a_consumer_has_all_the_time_in_the_world() {
    let check = |rules: &[(&str, Value)]| {
        let desk = Desk::new();
        let queue = desk.declare_with("q", arguments(rules));
        desk.publish(batch(&[b"work"]), &[&queue]);
        desk.commit();
        let mut talk = consuming(&desk);
        tick(&desk, &queue, u64::MAX / 2);
        talk.settle();
        assert_eq!(talk.heard().len(), 3);
    };
    check(&[]);
    check(&[
        ("x-queue-type", Value::from("quorum")),
        ("x-consumer-timeout", Value::from(0)),
    ]);
}

#[test]
fn a_message_waits_after_a_failure_and_not_after_a_restart() {
    let desk = Desk::new();
    let rules = [
        ("x-delayed-retry-type", Value::from("all")),
        ("x-delayed-retry-min", Value::from(1000)),
    ];
    let queue = desk.declare_with("q", arguments(&rules));
    desk.publish(batch(&[b"work"]), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    assert!(desk.get(&queue, consumer).is_some());
    let settle = Settle {
        consumer,
        first: 0,
        count: 1,
        outcome: SettleOutcome::Requeue,
    };
    desk.ask_of(&queue, Request::Settle(settle));
    assert_eq!(desk.ready(&queue), 0);
    tick(&desk, &queue, 999);
    assert_eq!(desk.ready(&queue), 0);
    tick(&desk, &queue, 1000);
    assert_eq!(desk.ready(&queue), 1);
    assert!(desk.get(&queue, consumer).is_some());
    desk.ask_of(&queue, Request::Settle(Settle { first: 1, ..settle }));
    desk.commit();
    assert_eq!(desk.ready(&queue), 0);
    assert_eq!(
        desk.restart().ready(&queue),
        1,
        "it is there, and has waited long enough"
    );
}
