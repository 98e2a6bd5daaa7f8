//! The type of queues that are declared without one.

use super::harness::{Harness, arguments, queue};
use crate::arguments::Value;
use crate::catalog::{Command, DeclareQueue, QueueKind, RefusalKind};

fn set(kind: QueueKind) -> Command {
    Command::SetDefaultQueueType {
        vhost: "/".into(),
        kind,
    }
}

fn typed(name: &str, kind: &str) -> DeclareQueue {
    DeclareQueue {
        arguments: arguments(&[("x-queue-type", kind.into())]),
        ..queue(name)
    }
}

fn quorum_by_default() -> Harness {
    let mut harness = Harness::new();
    assert!(harness.done(set(QueueKind::Quorum)).changed);
    assert!(!harness.done(set(QueueKind::Quorum)).changed);
    harness
}

fn inequivalent(what: &str) -> String {
    format!("inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': {what}")
}

#[test]
fn what_becomes_of_a_declaration() {
    fn check(declare: DeclareQueue, expected: QueueKind) {
        let shown = format!("{declare:?}");
        let mut harness = quorum_by_default();
        let declared = harness.done(Command::DeclareQueue(declare.clone()));
        let queue = declared.queue.expect("it is there");
        assert_eq!(queue.kind(), expected, "{shown}");
        let again = harness.done(Command::DeclareQueue(declare));
        assert!(!again.changed, "the same says the same: {shown}");
    }
    use QueueKind::{Classic, Quorum};
    check(queue("q"), Quorum);
    check(typed("q", "classic"), Classic);
    check(typed("q", "quorum"), Quorum);
    check(typed("q", "undefined"), Quorum);
    let limited = DeclareQueue {
        arguments: arguments(&[("x-max-length", 5.into())]),
        ..queue("q")
    };
    check(limited, Quorum);
    for (durable, exclusive, auto_delete) in [
        (false, false, false),
        (true, true, false),
        (true, false, true),
        (false, true, true),
    ] {
        let declare = DeclareQueue {
            durable,
            exclusive,
            auto_delete,
            ..queue("q")
        };
        check(declare, Classic);
    }
}

#[test]
fn a_queue_keeps_the_type_it_was_declared_with() {
    let mut harness = quorum_by_default();
    harness.queue("q");
    harness.done(set(QueueKind::Classic));
    let none = inequivalent("received none but current is the value 'quorum' of type 'longstr'");
    harness.refused(
        Command::DeclareQueue(queue("q")),
        (RefusalKind::PreconditionFailed, &none),
    );
    let other = inequivalent("received 'classic' but current is 'quorum'");
    harness.refused(
        Command::DeclareQueue(typed("q", "classic")),
        (RefusalKind::PreconditionFailed, &other),
    );
    harness.done(Command::DeclareQueue(typed("q", "quorum")));
    harness.queue("classic");
    let facts: Vec<_> = harness.catalog.facts().collect();
    assert_eq!(Harness::restarted(facts).dump(), harness.dump());
    harness.done(set(QueueKind::Quorum));
    let facts: Vec<_> = harness.catalog.facts().collect();
    let mut harness = Harness::restarted(facts);
    assert_eq!(harness.view().default_queue_type(), QueueKind::Quorum);
    harness.done(Command::DeclareQueue(typed("classic", "classic")));
    assert_eq!(harness.queue("q").kind(), QueueKind::Quorum);
}

#[test]
fn arguments_are_checked_for_the_type_that_is_meant() {
    let mut harness = quorum_by_default();
    let declare = DeclareQueue {
        arguments: arguments(&[("x-max-priority", Value::from(5))]),
        ..queue("q")
    };
    let text = "invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue";
    harness.refused(
        Command::DeclareQueue(declare.clone()),
        (RefusalKind::PreconditionFailed, text),
    );
    let exclusive = DeclareQueue {
        exclusive: true,
        ..declare
    };
    harness.done(Command::DeclareQueue(exclusive));
}

#[test]
fn a_queue_that_the_broker_names_cannot_be_a_quorum_queue() {
    let mut harness = quorum_by_default();
    let named = DeclareQueue {
        generated: true,
        ..queue("amq.gen-x")
    };
    let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
    harness.refused(
        Command::DeclareQueue(named.clone()),
        (RefusalKind::PreconditionFailed, text),
    );
    let exclusive = DeclareQueue {
        exclusive: true,
        ..named
    };
    harness.done(Command::DeclareQueue(exclusive));
    let elsewhere = Command::SetDefaultQueueType {
        vhost: "v".into(),
        kind: QueueKind::Quorum,
    };
    harness.refused(elsewhere, (RefusalKind::NotFound, "no vhost 'v'"));
}
