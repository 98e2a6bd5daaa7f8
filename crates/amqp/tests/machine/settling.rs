//! Numbers on both sides of a channel: delivery tags that are settled, publishes that are confirmed.

use everack_amqp::confirms::ConfirmId;
use everack_amqp::deliveries::{Deliveries, DeliveryRange};
use everack_amqp::event::{Event, Outcome};
use everack_amqp::wire::method::{Method, basic, channel, confirm, tx};
use proptest::prelude::*;

use crate::peer::{Peer, call, publish};

/// Settlements as `outcome source:first+count`.
fn settled(events: &[Event]) -> Vec<String> {
    let show = |ranges: &[DeliveryRange]| {
        let ranges: Vec<String> = ranges
            .iter()
            .map(|range| format!("{}:{}+{}", range.source, range.first, range.count))
            .collect();
        ranges.join(" ")
    };
    let lines = events.iter().map(|event| match event {
        Event::Settle { outcome, settled, .. } => format!("{outcome:?} {}", show(settled)),
        Event::Recover { unsettled, .. } => format!("recover {}", show(unsettled)),
        Event::ChannelFailed { error, .. } => error.to_string(),
        other => format!("{other:?}"),
    });
    lines.collect()
}

/// Five deliveries of consumer 7 (numbers 10 to 14, tags 1 to 5) and three of consumer 8 (numbers 0 to 2,
/// tags 6 to 8), then these calls.
#[track_caller]
fn check(calls: Vec<Method>, expected: &[&str]) {
    let mut peer = Peer::running();
    peer.deliver(7, 10, 5);
    peer.deliver(8, 0, 3);
    let bytes: Vec<u8> = calls.into_iter().flat_map(|method| call(1, method)).collect();
    assert_eq!(settled(&peer.send(&bytes)), expected);
}

fn ack(delivery_tag: u64, multiple: bool) -> Method {
    basic::Ack {
        delivery_tag,
        multiple,
    }
    .into()
}

#[test]
fn settlements_are_resolved() {
    check(vec![ack(1, false)], &["Ack 7:10+1"]);
    check(vec![ack(7, true)], &["Ack 7:10+5 8:0+2"]);
    check(vec![ack(0, true)], &["Ack 7:10+5 8:0+3"]);
    check(vec![ack(0, true), ack(0, true)], &["Ack 7:10+5 8:0+3"]);
    let nack = basic::Nack {
        delivery_tag: 6,
        multiple: true,
        requeue: true,
    };
    check(
        vec![ack(2, false), nack.into()],
        &["Ack 7:11+1", "Nack { requeue: true } 7:10+1 7:12+3 8:0+1"],
    );
    let reject = basic::Reject {
        delivery_tag: 3,
        requeue: false,
    };
    check(vec![reject.into()], &["Reject { requeue: false } 7:12+1"]);
}

#[test]
fn acks_in_a_row_are_one_event() {
    check(
        (1..=8).map(|tag| ack(tag, false)).collect(),
        &["Ack 7:10+5 8:0+3"],
    );
    check(
        vec![ack(3, false), ack(2, false), ack(6, true)],
        &["Ack 7:12+1 7:11+1 7:10+1 7:13+2 8:0+1"],
    );
}

#[test]
fn an_unknown_tag_does_not_undo_what_was_acked_before() {
    let unknown = "406 PRECONDITION_FAILED - unknown delivery tag 1";
    check(
        vec![ack(1, false), ack(2, false), ack(1, false), ack(3, false)],
        &["Ack 7:10+2", unknown],
    );
    check(vec![ack(1, false), ack(1, true)], &["Ack 7:10+1", unknown]);
    check(
        vec![ack(9, true)],
        &["406 PRECONDITION_FAILED - unknown delivery tag 9"],
    );
    check(
        vec![ack(u64::MAX, false)],
        &["406 PRECONDITION_FAILED - unknown delivery tag 18446744073709551615"],
    );
}

#[test]
fn recover_takes_everything_and_answers() {
    let recover = basic::Recover { requeue: true };
    check(
        vec![ack(2, false), recover.clone().into()],
        &["Ack 7:11+1", "recover 7:10+1 7:12+3 8:0+3"],
    );
    let mut peer = Peer::running();
    peer.deliver(7, 10, 1);
    peer.send(&[call(1, basic::RecoverAsync { requeue: true }), call(1, recover)].concat());
    assert_eq!(peer.sent(), ["1 basic.recover-ok"]);
    assert_eq!(
        settled(&peer.send(&call(1, ack(1, false)))).len(),
        1,
        "its tag is gone"
    );
}

#[test]
fn a_rollback_brings_tags_back() {
    let mut peer = Peer::running();
    peer.deliver(7, 10, 5);
    peer.send(&call(1, tx::Select {}));
    let events = peer.send(&[call(1, ack(2, false)), call(1, ack(4, true))].concat());
    let ranges: Vec<DeliveryRange> = events
        .into_iter()
        .flat_map(|event| match event {
            Event::Settle {
                settled,
                transactional: true,
                outcome: Outcome::Ack,
                ..
            } => settled,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(
        peer.send(&call(1, tx::Rollback {}))[..],
        [Event::TxRollback { channel: 1 }]
    ));
    peer.connection.unsettle(1, &ranges);
    peer.deliver(7, 15, 1);
    assert_eq!(settled(&peer.send(&call(1, ack(0, true)))), ["Ack 7:10+6"]);
}

#[test]
fn a_stuck_delivery_does_not_hold_on_to_the_rest() {
    let mut deliveries = Deliveries::new();
    for number in 0..10_000 {
        deliveries.push(number % 3, number, 1);
    }
    for tag in 2..=10_000 {
        deliveries.settle_one(tag).unwrap();
        deliveries.validate();
    }
    assert_eq!(
        deliveries.take_all(),
        [DeliveryRange {
            source: 0,
            first: 0,
            count: 1,
            tag: 1
        }]
    );
}

#[derive(Debug, Clone)]
enum Step {
    Push { source: u64, count: u32, no_ack: bool },
    One(u64),
    Through(u64),
    TakeAll,
    Rollback,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..4u64, 1..150u32, any::<bool>())
            .prop_map(|(source, count, no_ack)| Step::Push { source, count, no_ack: no_ack && count < 20 }),
        12 => (1..600u64).prop_map(Step::One),
        2 => (0..600u64).prop_map(Step::Through),
        1 => Just(Step::TakeAll),
        1 => Just(Step::Rollback),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    /// The window behaves as a plain list of (tag, source, number) would.
    #[test]
    fn deliveries_are_a_list(steps in steps()) {
        let mut deliveries = Deliveries::new();
        let mut model: Vec<(u64, u64, u64)> = Vec::new();
        let (mut next_tag, mut next_number) = (1, [0u64; 4]);
        let mut undone: Vec<DeliveryRange> = Vec::new();
        let list = |ranges: &[DeliveryRange]| -> Vec<(u64, u64, u64)> {
            ranges
                .iter()
                .flat_map(|it| (0..u64::from(it.count)).map(|index| (it.tag + index, it.source, it.first + index)))
                .collect()
        };
        for step in steps {
            match step {
                Step::Push { source, count, no_ack } => {
                    let first = next_number[source as usize];
                    let tag = if no_ack { deliveries.push_settled(count) } else { deliveries.push(source, first, count) };
                    prop_assert_eq!(tag, next_tag);
                    if !no_ack {
                        model.extend((0..u64::from(count)).map(|index| (tag + index, source, first + index)));
                        next_number[source as usize] += u64::from(count);
                    }
                    next_tag += u64::from(count);
                }
                Step::One(tag) => {
                    let expected = model.iter().position(|entry| entry.0 == tag).map(|index| model.remove(index));
                    let found = deliveries.settle_one(tag).ok();
                    prop_assert_eq!(found.map(|range| list(&[range])), expected.map(|entry| vec![entry]));
                    undone.extend(found);
                }
                Step::Through(tag) => {
                    let mut found = Vec::new();
                    let known = tag == 0 || model.iter().any(|entry| entry.0 == tag);
                    prop_assert_eq!(deliveries.settle_through(tag, &mut found).is_ok(), known);
                    if known {
                        let (taken, kept) = model.iter().partition(|entry| tag == 0 || entry.0 <= tag);
                        model = kept;
                        prop_assert_eq!(list(&found), taken);
                    }
                    undone.extend(found);
                }
                Step::TakeAll => {
                    prop_assert_eq!(list(&deliveries.take_all()), std::mem::take(&mut model));
                    undone.clear();
                }
                Step::Rollback => {
                    deliveries.unsettle(&undone);
                    model.extend(list(&undone));
                    model.sort_unstable();
                    undone.clear();
                }
            }
            prop_assert_eq!(deliveries.unsettled(), model.len() as u64);
            deliveries.validate();
        }
        prop_assert_eq!(list(&deliveries.take_all()), model);
    }
}

/// `published` batches of so many messages, then reports on them as (batch, failed), flushed after each.
#[track_caller]
fn check_confirms(published: &[(u64, u32)], reports: &[(usize, bool)], expected: &[&str]) {
    let mut peer = Peer::running();
    peer.send(&call(1, confirm::Select { nowait: true }));
    let mut ids = Vec::new();
    for &(count, parts) in published {
        let bytes = publish(1, "q", b"x").repeat(count as usize);
        let events = peer.send(&bytes);
        let [Event::Publish { first_number, .. }] = events[..] else {
            panic!("{events:?}")
        };
        ids.push(
            peer.connection
                .expect_confirm(1, first_number + count - 1, parts)
                .unwrap(),
        );
    }
    peer.connection.flush_confirms();
    let mut sent = peer.sent();
    for &(batch, failed) in reports {
        match failed {
            false => peer.connection.confirm(1, ids[batch]),
            true => peer.connection.confirm_failed(1, ids[batch]),
        }
        peer.connection.flush_confirms();
        sent.extend(peer.sent());
    }
    assert_eq!(sent, expected);
}

#[test]
fn confirms_are_coalesced_and_in_order() {
    check_confirms(&[(1, 0)], &[], &["1 basic.ack 1 false"]);
    check_confirms(&[(3, 0)], &[], &["1 basic.ack 3 true"]);
    check_confirms(
        &[(1, 1), (1, 1)],
        &[(1, false), (0, false)],
        &["1 basic.ack 2 true"],
    );
    check_confirms(&[(1, 2)], &[(0, false), (0, false)], &["1 basic.ack 1 false"]);
    check_confirms(
        &[(1, 1), (5, 0), (1, 1)],
        &[(0, false), (2, false)],
        &["1 basic.ack 6 true", "1 basic.ack 7 false"],
    );
    check_confirms(
        &[(1, 1), (2, 1), (1, 1), (1, 1)],
        &[(3, false), (2, true), (1, true), (0, false)],
        &[
            "1 basic.ack 1 false",
            "1 basic.nack 4 true",
            "1 basic.ack 5 false",
        ],
    );
    // A batch of which one part failed is refused as a whole, once all parts are known.
    check_confirms(&[(2, 2)], &[(0, true), (0, false)], &["1 basic.nack 2 true"]);
}

#[test]
fn news_for_a_channel_that_was_closed_are_ignored() {
    let mut peer = Peer::running();
    let old = {
        peer.send(&[call(1, confirm::Select { nowait: true }), publish(1, "q", b"x")].concat());
        peer.connection.expect_confirm(1, 1, 1).unwrap()
    };
    peer.send(&call(1, channel::Close::default()));
    peer.connection.channel_closed(1);
    peer.send(
        &[
            call(1, channel::Open {}),
            call(1, confirm::Select { nowait: true }),
        ]
        .concat(),
    );
    peer.send(&publish(1, "q", b"x"));
    let new = peer.connection.expect_confirm(1, 1, 1).unwrap();
    assert_ne!(old, new);
    peer.sent();
    peer.connection.confirm(1, old);
    peer.connection.confirm(1, ConfirmId(u64::MAX));
    peer.connection.confirm(9, new);
    peer.connection.flush_confirms();
    assert!(peer.sent().is_empty());
    peer.connection.confirm(1, new);
    peer.connection.flush_confirms();
    assert_eq!(peer.sent(), ["1 basic.ack 1 false"]);
}

#[test]
fn a_return_is_before_its_ack() {
    let mut peer = Peer::running();
    let events = peer.send(
        &[
            call(1, confirm::Select { nowait: true }),
            publish(1, "nowhere", b"x"),
        ]
        .concat(),
    );
    let [Event::Publish { ref batch, .. }] = events[..] else {
        panic!("{events:?}")
    };
    peer.connection.expect_confirm(1, 1, 0);
    peer.connection.return_message(1, batch, 0, 312, "NO_ROUTE");
    peer.connection.flush_confirms();
    let expected = [
        "1 basic.return 312 NO_ROUTE nowhere",
        "1 header 1",
        "1 body 1",
        "1 basic.ack 1 false",
    ];
    assert_eq!(peer.sent(), expected);
}
