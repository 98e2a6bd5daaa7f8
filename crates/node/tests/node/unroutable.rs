//! What becomes of messages that no queue wants.

use std::rc::Rc;

use everack_amqp::wire::method::{basic, confirm, tx};
use everack_amqp::wire::properties::Properties;
use everack_broker::catalog::{Command, UNROUTABLE_STORE, Unroutable};

use crate::desk::Desk;
use crate::talk::{Talk, short};

const KEEP: Unroutable = Unroutable::Keep {
    messages_max: 100,
    bytes_max: 1 << 20,
};

/// A desk with one queue, `q`, and a client on a confirming channel.
fn scene(fate: Unroutable) -> (Rc<Desk>, Talk) {
    let desk = Desk::new();
    desk.declare("q");
    desk.command(Command::SetUnroutable {
        vhost: "/".into(),
        fate,
    });
    desk.commit();
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, confirm::Select { nowait: true });
    (desk, talk)
}

fn kept(desk: &Desk) -> Option<u64> {
    desk.queue(UNROUTABLE_STORE).map(|store| desk.ready(&store))
}

#[test]
fn kept_messages_are_durable_before_they_are_confirmed() {
    let (desk, mut talk) = scene(KEEP);
    talk.publish(1, "nowhere", b"one");
    talk.turn();
    assert_eq!(talk.heard(), [""; 0], "not durable yet");
    talk.publish(1, "q", b"routed");
    talk.publish(1, "elsewhere", b"two");
    talk.settle();
    assert_eq!(talk.heard().last().map(String::as_str), Some("1 ack 3"));
    assert_eq!((kept(&desk), desk.ready(&desk.queue("q").unwrap())), (Some(2), 1));

    let desk = desk.restart();
    assert_eq!(kept(&desk), Some(2));
    let mut talk = Talk::begin(&desk, "guest");
    for body in ["one", "two"] {
        talk.say(
            1,
            basic::Get {
                queue: short(UNROUTABLE_STORE),
                no_ack: true,
            },
        );
        talk.settle();
        assert_eq!(talk.heard().last().map(String::as_str), Some(body));
    }
}

#[test]
fn mandatory_messages_go_back_and_are_not_kept() {
    let (desk, mut talk) = scene(KEEP);
    let mandatory = basic::Publish {
        routing_key: short("nowhere"),
        mandatory: true,
        ..basic::Publish::default()
    };
    talk.publish_as(1, mandatory, &Properties::default(), b"back");
    talk.settle();
    assert_eq!(talk.heard(), ["1 BasicReturn", "back", "1 ack 1"]);
    assert_eq!(kept(&desk), Some(0));
}

#[test]
fn refused_messages_are_told_in_their_turn() {
    let (desk, mut talk) = scene(Unroutable::Nack);
    for key in ["q", "nowhere", "elsewhere", "q", "q", "nowhere"] {
        talk.publish(1, key, key.as_bytes());
    }
    talk.settle();
    let expected = ["1 ack 1", "1 nack 3", "1 ack 5", "1 nack 6"];
    assert_eq!(talk.heard(), expected);
    assert_eq!(desk.ready(&desk.queue("q").unwrap()), 3);
    assert_eq!(kept(&desk), None);
}

#[test]
fn dropped_messages_are_confirmed() {
    let (desk, mut talk) = scene(Unroutable::Drop);
    talk.publish(1, "nowhere", b"gone");
    talk.settle();
    assert_eq!(talk.heard(), ["1 ack 1"]);
    assert_eq!(kept(&desk), None);
}

#[test]
fn a_transaction_keeps_or_fails() {
    let check = |fate, expected: &[&str], stored| {
        let (desk, mut talk) = scene(fate);
        talk.say(2, tx::Select {});
        talk.publish(2, "nowhere", b"x");
        talk.say(2, tx::Commit {});
        talk.settle();
        assert_eq!(talk.heard(), expected, "{fate:?}");
        assert_eq!(kept(&desk), stored, "{fate:?}");
    };
    check(KEEP, &["2 TxSelectOk", "2 TxCommitOk"], Some(1));
    check(Unroutable::Drop, &["2 TxSelectOk", "2 TxCommitOk"], None);
    check(Unroutable::Nack, &["2 TxSelectOk", "2 close 406"], None);
}

/// A store bounded to `bytes_max`, and what `publish` says of messages to nowhere with bodies of these sizes, one after the other.
fn fill(bytes_max: u64, bodies: &[usize]) -> (Vec<String>, Option<u64>) {
    let fate = Unroutable::Keep {
        messages_max: 100,
        bytes_max,
    };
    let (desk, mut talk) = scene(fate);
    for size in bodies {
        talk.publish(1, "nowhere", &vec![b'x'; *size]);
        talk.settle();
    }
    (talk.heard(), kept(&desk))
}

#[test]
fn what_no_store_can_hold_is_refused_and_displaces_nobody() {
    let (heard, kept) = fill(1000, &[200, 200, 2000, 200]);
    assert_eq!(heard, ["1 ack 1", "1 ack 2", "1 nack 3", "1 ack 4"]);
    assert_eq!(kept, Some(3));
}

#[test]
fn the_store_counts_all_that_a_message_takes() {
    // No body, but each has an address and a header.
    let (heard, kept) = fill(200, &[0; 100]);
    assert_eq!(heard.len(), 100);
    assert!(kept < Some(15), "{kept:?} messages in 200 bytes");
}
