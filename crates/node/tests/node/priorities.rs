//! Messages with priorities, in order through restarts.

use std::rc::Rc;
use std::sync::Arc;

use everack_amqp::content::{Batch, flags};
use everack_broker::arguments::Value;
use everack_broker::catalog::Queue;
use everack_broker::partition::SettleOutcome;
use everack_node::request::{Request, Settle};

use crate::desk::{Desk, arguments, batch};

/// Messages that are known by their bodies, with a priority or none.
fn prioritised(messages: &[(&str, Option<u8>)]) -> Batch {
    let bodies: Vec<&[u8]> = messages.iter().map(|(body, _)| body.as_bytes()).collect();
    let mut plain = batch(&bodies);
    let mut chunk = Vec::new();
    for (index, (_, priority)) in messages.iter().enumerate() {
        let (address, body) = (plain.address(index).to_vec(), plain.body(index).to_vec());
        let mut header = plain.header(index)[..12].to_vec();
        match priority {
            Some(priority) => header.extend_from_slice(&[0x18, 0, 2, *priority]),
            None => header.extend_from_slice(&[0x10, 0, 2]),
        }
        let entry = &mut plain.entries[index];
        entry.address_off = chunk.len() as u32;
        chunk.extend_from_slice(&address);
        (entry.header_off, entry.header_len) = (chunk.len() as u32, header.len() as u32);
        chunk.extend_from_slice(&header);
        entry.body_off = chunk.len() as u32;
        chunk.extend_from_slice(&body);
        if priority.is_some() {
            entry.flags |= flags::HAS_PRIORITY;
        }
    }
    plain.chunk = chunk.into();
    plain
}

/// Everything that is ready, in order.
fn drained(desk: &Desk, queue: &Queue) -> String {
    let consumer = desk.consumer(queue);
    let bodies = std::iter::from_fn(|| desk.get(queue, consumer));
    let bodies: Vec<String> = bodies.map(|body| String::from_utf8(body).unwrap()).collect();
    bodies.join(" ")
}

/// How the same messages come out at once, after a replay of the log, and after a checkpoint.
fn check(rules: &[(&str, Value)], expected: &str) {
    let messages = [
        ("none", None),
        ("zero", Some(0)),
        ("three", Some(3)),
        ("five", Some(5)),
        ("many", Some(200)),
        ("three-again", Some(3)),
        ("four", Some(4)),
    ];
    let scene = || -> (Rc<Desk>, Arc<Queue>) {
        let desk = Desk::new();
        let queue = desk.declare_with("q", arguments(rules));
        desk.publish(prioritised(&messages), &[&queue]);
        desk.commit();
        (desk, queue)
    };
    let (desk, queue) = scene();
    assert_eq!(drained(&desk, &queue), expected, "at once");
    let (desk, queue) = scene();
    assert_eq!(drained(&desk.restart(), &queue), expected, "replayed");
    let (desk, queue) = scene();
    assert!(desk.look_after(Desk::tell));
    assert_eq!(drained(&desk.restart(), &queue), expected, "from a checkpoint");
}

#[test]
fn a_classic_queue_has_the_levels_that_it_asked_for() {
    check(&[], "none zero three five many three-again four");
    let max = |max: i32| [("x-max-priority", Value::from(max))];
    check(&max(0), "none zero three five many three-again four");
    check(&max(3), "three five many three-again four none zero");
    check(&max(10), "many five four three three-again none zero");
    check(&max(255), "many five four three three-again none zero");
}

#[test]
fn a_quorum_queue_has_thirty_two_and_most_messages_are_in_the_fifth() {
    let quorum = [("x-queue-type", Value::from("quorum"))];
    check(&quorum, "many five none four three three-again zero");
}

#[test]
fn what_was_acknowledged_does_not_come_back_and_what_came_back_keeps_its_rank() {
    let desk = Desk::new();
    let queue = desk.declare_with("q", arguments(&[("x-max-priority", Value::from(9))]));
    let messages = [
        ("low", None),
        ("high", Some(9)),
        ("higher", Some(9)),
        ("low-too", Some(0)),
    ];
    desk.publish(prioritised(&messages), &[&queue]);
    desk.commit();
    let consumer = desk.consumer(&queue);
    let settle = |first, outcome| {
        let settle = Settle {
            consumer,
            first,
            count: 1,
            outcome,
        };
        desk.ask_of(&queue, Request::Settle(settle));
    };
    assert_eq!(desk.get(&queue, consumer).unwrap(), b"high");
    assert_eq!(desk.get(&queue, consumer).unwrap(), b"higher");
    settle(0, SettleOutcome::Requeue);
    settle(1, SettleOutcome::Done);
    desk.commit();
    assert_eq!(drained(&desk.restart(), &queue), "high low low-too");
    assert_eq!(drained(&desk, &queue), "high low low-too");
}
