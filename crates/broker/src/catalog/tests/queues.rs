//! Declaring and deleting queues.

use super::harness::{Harness, OWNER, STRANGER, arguments, delete_queue, exchange, queue};
use crate::arguments::Value;
use crate::catalog::{Command, DeclareExchange, DeclareQueue, Fact, RefusalKind};
use crate::ids::{ConnectionId, PartitionId, QueueId};

const LOCKED: &str = "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.";

fn with(values: &[(&str, Value)]) -> DeclareQueue {
    DeclareQueue {
        arguments: arguments(values),
        ..queue("q")
    }
}

fn exclusive() -> DeclareQueue {
    DeclareQueue {
        exclusive: true,
        ..queue("q")
    }
}

/// Declares a queue as given, then again otherwise, which must be refused.
fn again(first: DeclareQueue, second: DeclareQueue, kind: RefusalKind, text: &str) {
    let mut harness = Harness::new();
    harness.done(Command::DeclareQueue(first));
    harness.refused(Command::DeclareQueue(second), (kind, text));
}

/// Declares a queue as given, then again otherwise, which must find it.
fn same(first: DeclareQueue, second: DeclareQueue) {
    let mut harness = Harness::new();
    let first = harness
        .done(Command::DeclareQueue(first))
        .queue
        .expect("the queue");
    let outcome = harness.done(Command::DeclareQueue(second));
    assert_eq!(outcome.queue.map(|queue| queue.id), Some(first.id));
    assert!(!outcome.changed);
}

fn refused(declare: DeclareQueue, kind: RefusalKind, text: &str) {
    Harness::new().refused(Command::DeclareQueue(declare), (kind, text));
}

#[test]
fn what_a_redeclaration_may_leave_out() {
    same(queue("q"), queue("q"));
    same(
        queue("q"),
        DeclareQueue {
            connection: Some(STRANGER),
            ..queue("q")
        },
    );
    same(queue("q"), with(&[("x-queue-type", "classic".into())]));
    same(with(&[("x-queue-type", "classic".into())]), queue("q"));
    same(
        with(&[("x-expires", 1000.into())]),
        with(&[("x-expires", 1000_i64.into())]),
    );
    same(with(&[("x-mine", 1.into())]), with(&[("x-mine", 2.into())]));
    // Exclusive is never durable, hence may say either.
    same(
        exclusive(),
        DeclareQueue {
            durable: false,
            ..exclusive()
        },
    );
}

#[test]
fn a_redeclaration_must_say_the_same() {
    let failed = RefusalKind::PreconditionFailed;
    again(
        with(&[("x-message-ttl", 1000.into())]),
        queue("q"),
        failed,
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '1000' of type 'signedint'",
    );
    again(
        with(&[("x-message-ttl", 1000.into())]),
        with(&[("x-message-ttl", 2000.into())]),
        failed,
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '2000' but current is '1000'",
    );
    again(
        queue("q"),
        DeclareQueue {
            durable: false,
            ..queue("q")
        },
        failed,
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
    );
    again(
        queue("q"),
        DeclareQueue {
            auto_delete: true,
            ..queue("q")
        },
        failed,
        "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
    );
    again(
        queue("q"),
        with(&[("x-queue-type", "quorum".into())]),
        failed,
        "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none",
    );
    again(
        with(&[("x-queue-type", "quorum".into())]),
        queue("q"),
        failed,
        "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received none but current is the value 'quorum' of type 'longstr'",
    );
}

#[test]
fn exclusive_queues_are_for_their_connection() {
    let locked = RefusalKind::ResourceLocked;
    let stranger = |declare: DeclareQueue| DeclareQueue {
        connection: Some(STRANGER),
        ..declare
    };
    again(exclusive(), stranger(exclusive()), locked, LOCKED);
    again(exclusive(), stranger(queue("q")), locked, LOCKED);
    again(exclusive(), queue("q"), locked, LOCKED);
    again(queue("q"), exclusive(), locked, LOCKED);
    again(
        exclusive(),
        DeclareQueue {
            passive: true,
            ..stranger(queue("q"))
        },
        locked,
        LOCKED,
    );
    same(exclusive(), exclusive());
    same(
        exclusive(),
        DeclareQueue {
            passive: true,
            ..queue("q")
        },
    );

    let mut harness = Harness::new();
    harness.done(Command::DeclareQueue(exclusive()));
    harness.refused(delete_queue("q", STRANGER), (locked, LOCKED));
    assert_eq!(
        harness
            .view()
            .require_queue(b"q", Some(STRANGER))
            .expect_err("locked")
            .text,
        LOCKED
    );
    assert!(harness.view().require_queue(b"q", Some(OWNER)).is_ok());
    assert!(harness.done(delete_queue("q", OWNER)).changed);
}

#[test]
fn exclusive_queues_go_with_their_connection() {
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(DeclareExchange {
        auto_delete: true,
        ..exchange("p", "fanout")
    }));
    let outcome = harness.done(Command::DeclareQueue(exclusive()));
    assert!(!outcome.queue.expect("the queue").durable);
    harness.done(Command::DeclareQueue(DeclareQueue {
        name: "q2".into(),
        ..exclusive()
    }));
    harness.done(Command::DeclareQueue(DeclareQueue {
        connection: Some(STRANGER),
        name: "q3".into(),
        ..exclusive()
    }));
    harness.queue("q4");
    harness.bind("p", "", "q");
    let outcome = harness.done(Command::ConnectionClosed { connection: OWNER });
    assert_eq!(
        outcome
            .removed_queues
            .iter()
            .map(|queue| queue.name.to_string())
            .collect::<Vec<_>>(),
        ["q", "q2"]
    );
    assert_eq!(
        outcome.facts,
        [Fact::ExchangeDeleted {
            vhost: "/".into(),
            name: "p".into()
        }]
    );
    assert!(
        !harness
            .done(Command::ConnectionClosed { connection: OWNER })
            .changed
    );
    assert!(
        !harness
            .done(Command::ConnectionClosed {
                connection: ConnectionId(9)
            })
            .changed
    );
    assert_eq!(harness.catalog.snapshot().queues().count(), 2);
}

#[test]
fn refusals() {
    let failed = RefusalKind::PreconditionFailed;
    refused(
        DeclareQueue {
            passive: true,
            ..queue("nope")
        },
        RefusalKind::NotFound,
        "no queue 'nope' in vhost '/'",
    );
    refused(
        queue("amq.foo"),
        RefusalKind::AccessRefused,
        "queue name 'amq.foo' contains reserved prefix 'amq.*'",
    );
    refused(
        with(&[("x-dead-letter-exchange", 1.into())]),
        failed,
        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    );
    refused(
        with(&[("x-expires", 0.into())]),
        failed,
        "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}",
    );
    refused(
        with(&[("x-queue-type", "foo".into())]),
        failed,
        "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'foo'\"",
    );
    refused(
        DeclareQueue {
            durable: false,
            ..with(&[("x-queue-type", "quorum".into())])
        },
        failed,
        "invalid property 'non-durable' for queue 'q' in vhost '/'",
    );
    refused(
        DeclareQueue {
            exclusive: true,
            ..with(&[("x-queue-type", "quorum".into())])
        },
        failed,
        "invalid property 'exclusive-owner' for queue 'q' in vhost '/'",
    );
    refused(
        DeclareQueue {
            name: "amq.gen-1".into(),
            generated: true,
            ..with(&[("x-queue-type", "quorum".into())])
        },
        failed,
        "Cannot declare a server-named queue for type rabbit_quorum_queue",
    );
    refused(
        queue(&"n".repeat(256)),
        failed,
        "queue name is longer than 255 bytes",
    );
    refused(queue(""), failed, "queue name is empty");
}

#[test]
fn names_that_the_broker_makes_up() {
    let mut harness = Harness::new();
    let generated = DeclareQueue {
        generated: true,
        ..queue("amq.gen-x1")
    };
    assert!(harness.done(Command::DeclareQueue(generated)).changed);
    // A client that declares it again by name is refused even so; it may ask passively.
    let text = "queue name 'amq.gen-x1' contains reserved prefix 'amq.*'";
    harness.refused(
        Command::DeclareQueue(queue("amq.gen-x1")),
        (RefusalKind::AccessRefused, text),
    );
    harness.done(Command::DeclareQueue(DeclareQueue {
        passive: true,
        ..queue("amq.gen-x1")
    }));
}

#[test]
fn each_declaration_has_an_id_of_its_own() {
    let mut harness = Harness::new();
    let first = harness.queue("q");
    assert_eq!(first.id, QueueId(1));
    harness.done(delete_queue("q", OWNER));
    let second = harness.queue("q");
    assert_eq!(second.id, QueueId(2));
    // The first is gone, which is not to say the one that has its name now.
    assert!(!harness.done(Command::RemoveQueue { queue: first.id }).changed);
    let outcome = harness.done(Command::RemoveQueue { queue: second.id });
    assert_eq!(
        outcome.facts,
        [Fact::QueueDeleted {
            vhost: "/".into(),
            name: "q".into(),
            queue: second.id
        }]
    );
    assert!(!harness.done(delete_queue("q", OWNER)).changed);
}

#[test]
fn ids_are_reserved_before_they_are_used() {
    let mut harness = Harness::new();
    let mut below = 0;
    for number in 0..3000_u64 {
        let name = format!("q{number}");
        let declare = DeclareQueue {
            durable: false,
            ..queue(&name)
        };
        let outcome = harness
            .catalog
            .apply(Command::DeclareQueue(declare))
            .expect("declared");
        match outcome.facts.as_slice() {
            [] => {}
            [Fact::QueueIds { below: reserved }] => below = reserved.0,
            other => panic!("{other:?}"),
        }
        let id = outcome.queue.expect("the queue").id.0;
        assert!(id < below, "{id} was not reserved");
    }
    let restarted = Harness::restarted(harness.catalog.facts());
    assert_eq!(restarted.catalog.next_queue_id(), QueueId(below));
}

#[test]
fn queues_go_where_there_are_fewest() {
    let mut harness = Harness::new();
    let partitions: Vec<u16> = (0..4)
        .map(|number| harness.queue(&format!("q{number}")).partition.0)
        .collect();
    assert_eq!(partitions, [0, 1, 2, 0]);
    harness.done(delete_queue("q2", OWNER));
    assert_eq!(harness.queue("q5").partition, PartitionId(2));
}

#[test]
fn a_queue_is_reached_by_its_name() {
    let mut harness = Harness::new();
    harness.queue("q");
    assert_eq!(harness.route("", "q"), ["q"]);
    assert_eq!(harness.route("", "nope"), [""; 0]);
    harness.done(delete_queue("q", OWNER));
    assert_eq!(harness.route("", "q"), [""; 0]);
}
