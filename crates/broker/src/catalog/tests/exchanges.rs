//! Declaring and deleting exchanges.

use super::harness::{Harness, arguments, delete_exchange, exchange, names};
use crate::arguments::Value;
use crate::catalog::{Command, DeclareExchange, Fact, RefusalKind};

/// Declares `p` as given, then again otherwise, which must be refused with that text.
fn inequivalent(first: DeclareExchange, second: DeclareExchange, rest: &str) {
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(first));
    let text = format!("inequivalent arg {rest}");
    harness.refused(
        Command::DeclareExchange(second),
        (RefusalKind::PreconditionFailed, &text),
    );
}

#[test]
fn a_declaration_is_repeated_quietly() {
    let mut harness = Harness::new();
    assert!(harness.exchange("p", "direct").changed);
    assert!(!harness.exchange("p", "direct").changed);
    assert!(!harness.exchange("amq.topic", "topic").changed);
}

#[test]
fn a_redeclaration_must_say_the_same() {
    let p = || exchange("p", "direct");
    let alternate = |name: &str| arguments(&[("alternate-exchange", name.into())]);
    inequivalent(
        p(),
        exchange("p", "fanout"),
        "'type' for exchange 'p' in vhost '/': received 'fanout' but current is 'direct'",
    );
    inequivalent(
        p(),
        DeclareExchange {
            durable: false,
            ..p()
        },
        "'durable' for exchange 'p' in vhost '/': received 'false' but current is 'true'",
    );
    inequivalent(
        p(),
        DeclareExchange {
            auto_delete: true,
            ..p()
        },
        "'auto_delete' for exchange 'p' in vhost '/': received 'true' but current is 'false'",
    );
    inequivalent(
        p(),
        DeclareExchange {
            internal: true,
            ..p()
        },
        "'internal' for exchange 'p' in vhost '/': received 'true' but current is 'false'",
    );
    inequivalent(
        p(),
        DeclareExchange {
            arguments: alternate("a"),
            ..p()
        },
        "'alternate-exchange' for exchange 'p' in vhost '/': received the value 'a' of type 'longstr' but current is none",
    );
    inequivalent(
        DeclareExchange {
            arguments: alternate("a"),
            ..p()
        },
        DeclareExchange {
            arguments: alternate("b"),
            ..p()
        },
        "'alternate-exchange' for exchange 'p' in vhost '/': received 'b' but current is 'a'",
    );
}

#[test]
fn other_arguments_need_not_be_repeated() {
    let mut harness = Harness::new();
    harness.exchange("p", "direct");
    let declare = DeclareExchange {
        arguments: arguments(&[("x-mine", 1.into())]),
        ..exchange("p", "direct")
    };
    assert!(!harness.done(Command::DeclareExchange(declare)).changed);
}

#[test]
fn refusals() {
    fn check(declare: DeclareExchange, kind: RefusalKind, text: &str) {
        Harness::new().refused(Command::DeclareExchange(declare), (kind, text));
    }
    let passive = |name| DeclareExchange {
        passive: true,
        ..exchange(name, "")
    };
    check(
        exchange("p", "nosuchtype"),
        RefusalKind::CommandInvalid,
        "unknown exchange type 'nosuchtype'",
    );
    check(
        exchange("", "direct"),
        RefusalKind::AccessRefused,
        "operation not permitted on the default exchange",
    );
    check(
        passive(""),
        RefusalKind::AccessRefused,
        "operation not permitted on the default exchange",
    );
    check(
        passive("nope"),
        RefusalKind::NotFound,
        "no exchange 'nope' in vhost '/'",
    );
    check(
        exchange("amq.foo", "direct"),
        RefusalKind::AccessRefused,
        "exchange name 'amq.foo' contains reserved prefix 'amq.*'",
    );
    check(
        DeclareExchange {
            arguments: arguments(&[("alternate-exchange", 1.into())]),
            ..exchange("p", "direct")
        },
        RefusalKind::PreconditionFailed,
        "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'p' in vhost '/'",
    );
    check(
        DeclareExchange {
            vhost: "v".into(),
            ..exchange("p", "direct")
        },
        RefusalKind::NotFound,
        "no vhost 'v'",
    );
    check(
        exchange(&"n".repeat(256), "direct"),
        RefusalKind::PreconditionFailed,
        "exchange name is longer than 255 bytes",
    );
}

#[test]
fn passive_asks_for_the_name_only() {
    let mut harness = Harness::new();
    harness.exchange("p", "direct");
    let passive = DeclareExchange {
        passive: true,
        durable: false,
        ..exchange("p", "whatever")
    };
    assert!(!harness.done(Command::DeclareExchange(passive)).changed);
}

#[test]
fn line_ends_are_not_part_of_a_name() {
    let mut harness = Harness::new();
    harness.exchange("p\r\n", "direct");
    assert!(harness.view().exchange(b"p").is_some());
    assert!(harness.done(delete_exchange("\np")).changed);
}

#[test]
fn deleting() {
    let mut harness = Harness::new();
    harness.exchange("p", "direct");
    harness.queue("q");
    harness.bind("p", "k", "q");
    let if_unused = Command::DeleteExchange {
        vhost: "/".into(),
        name: "p".into(),
        if_unused: true,
    };
    harness.refused(
        if_unused.clone(),
        (
            RefusalKind::PreconditionFailed,
            "exchange 'p' in vhost '/' in use",
        ),
    );
    harness.unbind("p", "k", "q");
    let outcome = harness.done(if_unused);
    assert_eq!(names(&outcome.removed_exchanges), ["p"]);
    assert_eq!(
        outcome.facts,
        [Fact::ExchangeDeleted {
            vhost: "/".into(),
            name: "p".into()
        }]
    );
    assert!(!harness.done(delete_exchange("p")).changed);
}

#[test]
fn deleting_takes_bindings_on_both_sides() {
    let mut harness = Harness::new();
    for name in ["a", "p", "b"] {
        harness.exchange(name, "fanout");
    }
    harness.queue("q");
    harness.bind("a", "", "x:p");
    harness.bind("p", "", "x:b");
    harness.bind("p", "", "x:p");
    harness.bind("b", "", "q");
    harness.done(delete_exchange("p"));
    assert_eq!(harness.route("a", ""), [""; 0]);
    assert_eq!(harness.route("b", ""), ["q"]);
    harness.exchange("p", "fanout");
    assert_eq!(harness.route("a", ""), [""; 0]);
}

#[test]
fn what_every_virtual_host_has_is_not_deleted() {
    let mut harness = Harness::new();
    let text = "deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    harness.refused(delete_exchange("amq.direct"), (RefusalKind::AccessRefused, text));
    let text = "operation not permitted on the default exchange";
    harness.refused(delete_exchange(""), (RefusalKind::AccessRefused, text));
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(DeclareExchange {
        auto_delete: true,
        ..exchange("p", "direct")
    }));
    harness.queue("q");
    harness.bind("p", "a", "q");
    harness.bind("p", "b", "q");
    assert_eq!(names(&harness.unbind("p", "a", "q").removed_exchanges), [""; 0]);
    let outcome = harness.unbind("p", "b", "q");
    assert_eq!(names(&outcome.removed_exchanges), ["p"]);
    assert_eq!(outcome.facts.len(), 2);
    assert!(harness.view().exchange(b"p").is_none());
}

#[test]
fn auto_delete_exchanges_go_one_after_the_other() {
    let mut harness = Harness::new();
    for name in ["a", "b", "c"] {
        harness.done(Command::DeclareExchange(DeclareExchange {
            auto_delete: true,
            ..exchange(name, "fanout")
        }));
    }
    harness.queue("q");
    harness.bind("a", "", "x:b");
    harness.bind("b", "", "x:c");
    harness.bind("c", "", "q");
    let outcome = harness.done(Command::DeleteQueue {
        vhost: "/".into(),
        name: "q".into(),
        connection: None,
    });
    assert_eq!(names(&outcome.removed_exchanges), ["c", "b", "a"]);
    assert_eq!(outcome.removed_queues.len(), 1);
}

#[test]
fn virtual_hosts_come_and_go() {
    let mut harness = Harness::new();
    let declare = Command::DeclareVhost { vhost: "shop".into() };
    assert!(harness.done(declare.clone()).changed);
    assert!(!harness.done(declare).changed);
    let mut orders = super::harness::queue("orders");
    orders.vhost = "shop".into();
    harness.done(Command::DeclareQueue(orders));
    harness.queue("orders");
    let delete = Command::DeleteVhost { vhost: "shop".into() };
    let outcome = harness.done(delete.clone());
    assert_eq!(outcome.removed_queues.len(), 1);
    assert_eq!(outcome.facts, [Fact::VhostDeleted { vhost: "shop".into() }]);
    assert!(!harness.done(delete).changed);
    assert_eq!(harness.catalog.snapshot().queues().count(), 1);
}

#[test]
fn arguments_that_name_something_are_strings() {
    let is_string = |value: &Value| value.as_long_string().is_some();
    for value in Value::one_of_each_type() {
        for (kind, name) in [
            ("direct", "alternate-exchange"),
            ("x-consistent-hash", "alternate-exchange"),
            ("x-consistent-hash", "hash-header"),
            ("x-consistent-hash", "hash-property"),
        ] {
            let declare = DeclareExchange {
                arguments: arguments(&[(name, value.clone())]),
                ..exchange("p", kind)
            };
            let what = format!("arg '{name}' in exchange 'p' in vhost '/'");
            let text = match name {
                _ if !is_string(&value) => format!("invalid type '{}' for {what}", value.type_name()),
                "hash-property" => "Unsupported property: 1".to_owned(),
                _ => {
                    Harness::new().done(Command::DeclareExchange(declare));
                    continue;
                }
            };
            Harness::new().refused(
                Command::DeclareExchange(declare),
                (RefusalKind::PreconditionFailed, &text),
            );
        }
    }
}
