//! Facts: what survives a restart, and in which form it is kept.

use super::harness::{Harness, OWNER, bind, binding, delete_queue, exchange, queue};
use crate::arguments::{Arguments, Value};
use crate::catalog::{Command, DeclareExchange, DeclareQueue, ExchangeKind, Fact};
use crate::ids::{PartitionId, QueueId};

#[test]
fn what_is_not_durable_makes_no_facts() {
    let mut harness = Harness::new();
    harness.queue("durable");
    harness.exchange("x", "direct");
    let transient_exchange = DeclareExchange {
        durable: false,
        ..exchange("t", "direct")
    };
    let transient_queue = DeclareQueue {
        durable: false,
        ..queue("transient")
    };
    let exclusive_queue = DeclareQueue {
        exclusive: true,
        ..queue("exclusive")
    };
    let commands = [
        Command::DeclareExchange(transient_exchange),
        Command::DeclareQueue(transient_queue),
        Command::DeclareQueue(exclusive_queue),
        bind(binding("t", "k", "durable")),
        bind(binding("x", "k", "transient")),
        bind(binding("x", "k", "x:t")),
        delete_queue("exclusive", OWNER),
    ];
    for command in commands {
        let outcome = harness.done(command.clone());
        assert!(outcome.changed);
        assert_eq!(outcome.facts, [], "{command:?}");
    }
    let restarted = Harness::restarted(harness.catalog.facts());
    assert!(restarted.view().exchange(b"t").is_none());
    assert!(restarted.view().queue(b"transient").is_none());
    assert!(restarted.view().exchange(b"x").expect("durable").is_unused());
}

#[test]
fn a_durable_queue_that_goes_with_its_consumers_survives() {
    let mut harness = Harness::new();
    let declared = harness.done(Command::DeclareQueue(DeclareQueue {
        auto_delete: true,
        ..queue("q")
    }));
    let restarted = Harness::restarted(harness.catalog.facts());
    let view = restarted.view();
    let queue = view.queue(b"q").expect("durable");
    assert!(queue.auto_delete);
    assert_eq!(Some(queue.id), declared.queue.map(|queue| queue.id));
}

#[test]
fn an_exchange_is_kept_by_a_binding_that_does_not_survive() {
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(DeclareExchange {
        auto_delete: true,
        ..exchange("p", "direct")
    }));
    harness.queue("q");
    harness.done(Command::DeclareQueue(DeclareQueue {
        durable: false,
        ..queue("t")
    }));
    let mut facts: Vec<Fact> = harness.catalog.facts().collect();
    facts.extend(harness.bind("p", "k", "q").facts);
    facts.extend(harness.bind("p", "k", "t").facts);
    facts.extend(harness.unbind("p", "k", "q").facts);
    // Replay sees the only durable binding go; the exchange was in use nevertheless.
    assert!(Harness::restarted(facts).view().exchange(b"p").is_some());
}

#[test]
fn contradictions_are_found() {
    fn check(facts: &[Fact], expected: &str) {
        let mut harness = Harness::new();
        harness.queue("q");
        let before = harness.dump();
        let (last, rest) = facts.split_last().expect("facts");
        for fact in rest {
            harness.catalog.replay(fact.clone()).expect("the last is the one");
        }
        let error = harness
            .catalog
            .replay(last.clone())
            .expect_err("a contradiction")
            .to_string();
        assert_eq!(
            error,
            format!("the catalog's facts contradict each other: {expected}")
        );
        assert_eq!(harness.dump(), before);
        harness.catalog.validate().expect("as it was");
    }
    let declared = |name: &str, queue| Fact::QueueDeclared {
        vhost: "/".into(),
        name: name.into(),
        queue: QueueId(queue),
        partition: PartitionId(0),
        auto_delete: false,
        arguments: Arguments::default(),
    };
    check(&[declared("q", 7)], "queue 'q' in vhost '/' is 1, not 7");
    check(&[declared("r", 1)], "1 is queue 'q' in vhost '/' already");
    check(
        &[
            declared("q", 1),
            Fact::VhostDeleted { vhost: "no".into() },
            declared("r", 1),
        ],
        "1 is queue 'q' in vhost '/' already",
    );
    let deleted = Fact::ExchangeDeleted {
        vhost: "no".into(),
        name: "x".into(),
    };
    check(&[deleted], "there is no virtual host 'no'");
    check(
        &[declared("r", u64::MAX)],
        "18446744073709551615 cannot be the id of a queue",
    );
    check(
        &[Fact::QueueIds {
            below: QueueId(u64::MAX),
        }],
        "18446744073709551615 cannot be the id of a queue",
    );
}

#[test]
fn the_log_may_know_more_partitions_than_there_are() {
    let fact = Fact::QueueDeclared {
        vhost: "/".into(),
        name: "q".into(),
        queue: QueueId(5),
        partition: PartitionId(9),
        auto_delete: false,
        arguments: Arguments::default(),
    };
    let mut harness = Harness::restarted([Fact::VhostDeclared { vhost: "/".into() }, fact]);
    assert_eq!(harness.queue("r").partition, PartitionId(0));
    assert_eq!(harness.view().queue(b"r").expect("declared").id, QueueId(6));
}

/// The bytes in the log. A change here is a change of the format: append, never alter.
#[test]
fn the_format_of_facts() {
    fn check(fact: Fact, expected: &[u8]) {
        let bytes = postcard::to_allocvec(&fact).expect("facts are encoded");
        assert_eq!(bytes, expected, "{fact:?}");
        assert_eq!(
            postcard::from_bytes::<Fact>(&bytes).expect("facts are decoded"),
            fact
        );
    }
    let arguments: Arguments = [("n", Value::from(-1)), ("s", "x".into())].into_iter().collect();
    let vhost = || "/".into();
    check(Fact::QueueIds { below: QueueId(300) }, &[0, 0xac, 2]);
    check(Fact::VhostDeclared { vhost: vhost() }, b"\x01\x01/");
    check(Fact::VhostDeleted { vhost: vhost() }, b"\x02\x01/");
    let tags = vec!["t".to_owned()];
    check(
        Fact::UserDeclared {
            user: "u".into(),
            password_hash: "h".into(),
            tags,
        },
        b"\x03\x01u\x01h\x01\x01t",
    );
    check(Fact::UserDeleted { user: "u".into() }, b"\x04\x01u");
    check(
        Fact::PermissionsSet {
            user: "u".into(),
            vhost: vhost(),
            configure: String::new(),
            write: "w".into(),
            read: "r".into(),
        },
        b"\x05\x01u\x01/\x00\x01w\x01r",
    );
    check(
        Fact::PermissionsCleared {
            user: "u".into(),
            vhost: vhost(),
        },
        b"\x06\x01u\x01/",
    );
    check(
        Fact::ExchangeDeclared {
            vhost: vhost(),
            name: "x".into(),
            kind: ExchangeKind::Topic,
            auto_delete: false,
            internal: true,
            arguments: Arguments::default(),
        },
        b"\x07\x01/\x01x\x02\x00\x01\x00",
    );
    check(
        Fact::ExchangeDeleted {
            vhost: vhost(),
            name: "x".into(),
        },
        b"\x08\x01/\x01x",
    );
    check(
        Fact::QueueDeclared {
            vhost: vhost(),
            name: "q".into(),
            queue: QueueId(7),
            partition: PartitionId(2),
            auto_delete: true,
            arguments,
        },
        b"\x09\x01/\x01q\x07\x02\x01\x02\x01n\x06\x01\x01s\x0c\x01x",
    );
    check(
        Fact::QueueDeleted {
            vhost: vhost(),
            name: "q".into(),
            queue: QueueId(7),
        },
        b"\x0a\x01/\x01q\x07",
    );
    check(
        Fact::Bound {
            vhost: vhost(),
            binding: binding("x", "k", "q"),
        },
        b"\x0b\x01/\x01x\x00\x01q\x01k\x00",
    );
    check(
        Fact::Unbound {
            vhost: vhost(),
            binding: binding("x", "k", "x:y"),
        },
        b"\x0c\x01/\x01x\x01\x01y\x01k\x00",
    );
}
