//! The session by what a client sees: bytes in, bytes out.

use everack_amqp::wire::method::{basic, channel, exchange, queue, tx};
use everack_broker::catalog::Command;
use everack_broker::name::Name;

use crate::desk::Desk;
use crate::talk::{Talk, short};

fn declare(name: &str) -> queue::Declare {
    queue::Declare {
        queue: short(name),
        durable: true,
        ..queue::Declare::default()
    }
}

fn bind(name: &str, key: &str) -> queue::Bind {
    let (queue, exchange, routing_key) = (short(name), short("amq.direct"), short(key));
    queue::Bind {
        queue,
        exchange,
        routing_key,
        ..queue::Bind::default()
    }
}

fn get(name: &str) -> basic::Get {
    basic::Get {
        queue: short(name),
        ..basic::Get::default()
    }
}

#[test]
fn pipelined_commands_are_answered_in_their_order() {
    let desk = Desk::new();
    desk.declare("there");
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, declare("a"));
    talk.say(1, bind("a", "k"));
    talk.say(1, declare("there"));
    talk.say(1, bind("a", "l"));
    talk.say(1, get("there"));
    talk.settle();
    let expected = [
        "1 declared a 0",
        "1 QueueBindOk",
        "1 declared there 0",
        "1 QueueBindOk",
        "1 BasicGetEmpty",
    ];
    assert_eq!(talk.heard(), expected);
}

#[test]
fn who_asks_for_contents_finds_what_it_has_published() {
    let purge = queue::Purge {
        queue: short("q"),
        ..queue::Purge::default()
    };
    let delete = queue::Delete {
        queue: short("q"),
        ..queue::Delete::default()
    };
    let desk = Desk::new();
    desk.declare("q");
    let mut talk = Talk::begin(&desk, "guest");
    talk.publish(1, "q", b"got");
    talk.say(1, get("q"));
    talk.turn();
    assert!(talk.heard().is_empty(), "it is not durable yet");
    talk.settle();
    assert_eq!(talk.heard(), ["1 got 1", "got"]);

    talk.publish(1, "q", b"purged");
    talk.say(1, purge);
    talk.settle();
    assert_eq!(talk.heard(), ["1 purged 1"]);
    talk.publish(1, "q", b"deleted");
    talk.say(1, delete);
    talk.settle();
    assert_eq!(talk.heard(), ["1 deleted 1"]);
}

#[test]
fn an_empty_name_is_the_queue_declared_right_before() {
    let desk = Desk::new();
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, declare("first"));
    talk.settle();
    talk.say(1, declare("second"));
    talk.say(1, bind("", "k"));
    talk.settle();
    assert_eq!(
        talk.heard(),
        ["1 declared first 0", "1 declared second 0", "1 QueueBindOk"]
    );
    let snapshot = desk.shared.snapshot();
    let route = snapshot
        .vhost(b"/")
        .unwrap()
        .route(b"amq.direct", b"k", &everack_broker::routing::NoHeaders)
        .unwrap();
    assert_eq!(route.targets[0].queue, desk.queue("second").unwrap().id);
}

#[test]
fn a_refusal_waits_for_the_answers_before_it() {
    let desk = Desk::new();
    let (user, vhost) = (Name::from("poor"), Name::from("/"));
    desk.command(Command::DeclareUser {
        user: user.clone(),
        password_hash: "x".to_owned(),
        tags: Vec::new(),
    });
    let (configure, all) = ("^q".to_owned(), ".*".to_owned());
    desk.command(Command::SetPermissions {
        user,
        vhost,
        configure,
        write: all.clone(),
        read: all,
    });
    desk.commit();
    let mut talk = Talk::begin(&desk, "poor");
    talk.say(1, declare("q"));
    talk.say(
        1,
        exchange::Declare {
            exchange: short("x"),
            kind: short("fanout"),
            ..exchange::Declare::default()
        },
    );
    talk.say(1, declare("q2"));
    talk.turn();
    assert_eq!(talk.heard(), [""; 0], "the first answer is not durable yet");
    talk.settle();
    assert_eq!(talk.heard(), ["1 declared q 0", "1 close 403"]);
    assert!(desk.queue("q2").is_none(), "behind the refusal");
    talk.say(1, channel::CloseOk {});
    talk.say(1, channel::Open {});
    talk.say(1, declare("q"));
    talk.settle();
    assert_eq!(talk.heard(), ["1 ChannelOpenOk", "1 declared q 0"]);
}

#[test]
fn a_channel_may_fail_while_its_transaction_is_on_its_way() {
    let desk = Desk::new();
    for index in 0..8 {
        desk.declare(&format!("q{index}"));
    }
    let in_partition = |partition| {
        let queues = (0..8).filter_map(|index| desk.queue(&format!("q{index}")));
        let queue = queues.into_iter().find(|queue| queue.partition.0 == partition);
        queue.map(|queue| queue.name.to_string()).unwrap()
    };
    let (left, right) = (in_partition(0), in_partition(1));
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, tx::Select {});
    talk.publish(1, &left, b"left");
    talk.publish(1, &right, b"right");
    talk.say(1, tx::Commit {});
    talk.say(
        1,
        basic::Ack {
            delivery_tag: 99,
            multiple: false,
        },
    );
    talk.say(2, declare("new"));
    talk.turn();
    assert_eq!(talk.heard(), ["1 TxSelectOk", "1 close 406"]);
    desk.write(1);
    desk.tell_some(1);
    talk.turn();
    desk.tell();
    talk.settle();
    talk.say(2, get(&left));
    talk.say(2, get(&right));
    talk.settle();
    assert_eq!(
        talk.heard(),
        ["2 declared new 0", "2 got 1", "left", "2 got 2", "right"]
    );
}

#[test]
fn recovered_are_the_messages_that_the_client_has_seen() {
    let desk = Desk::new();
    desk.declare("q");
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(
        1,
        basic::Consume {
            queue: short("q"),
            consumer_tag: short("c"),
            ..basic::Consume::default()
        },
    );
    talk.settle();
    talk.heard();
    let mut other = Talk::begin(&desk, "guest");
    for body in ["one", "two", "three"] {
        other.publish(1, "q", body.as_bytes());
    }
    other.settle();
    talk.turn_within(1);
    assert_eq!(talk.heard(), ["1 deliver 1", "one"], "the socket is slow");
    talk.say(1, basic::Recover { requeue: true });
    talk.settle();
    let mut heard = talk.heard();
    heard.retain(|word| !word.contains("deliver"));
    assert_eq!(heard.iter().filter(|word| *word == "two").count(), 1, "{heard:?}");
    assert_eq!(heard.iter().filter(|word| *word == "one").count(), 1, "{heard:?}");
}

#[test]
fn a_rollback_forgets() {
    let desk = Desk::new();
    let queue = desk.declare("q");
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, tx::Select {});
    talk.publish(1, "q", b"one");
    talk.say(1, tx::Rollback {});
    talk.publish(1, "q", b"two");
    talk.say(1, tx::Commit {});
    talk.settle();
    assert_eq!(talk.heard(), ["1 TxSelectOk", "1 TxRollbackOk", "1 TxCommitOk"]);
    assert_eq!(desk.ready(&queue), 1);
    talk.say(1, get("q"));
    talk.settle();
    talk.say(
        1,
        basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    talk.say(1, tx::Rollback {});
    talk.say(
        1,
        basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    talk.say(1, tx::Commit {});
    talk.settle();
    assert_eq!(talk.heard(), ["1 got 1", "two", "1 TxRollbackOk", "1 TxCommitOk"]);
    assert_eq!(desk.restart().ready(&queue), 0);
}
