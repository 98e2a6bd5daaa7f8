//! Exchanges of type `x-delayed-message`: what they may be declared with, where messages go now and later, and what becomes of their rooms.

use super::harness::{
    Harness, OWNER, arguments, bind, binding, delete_exchange, delete_queue, exchange, names,
};
use crate::arguments::{Arguments, Value};
use crate::catalog::{Command, DeclareExchange, DelayBounds, Overflow, RefusalKind};
use crate::routing::Undelayed;

const ROOM: &str = "amq.everack.delayed.x";

fn delayed(kind: &str) -> DeclareExchange {
    DeclareExchange {
        arguments: arguments(&[("x-delayed-type", kind.into())]),
        ..exchange("x", "x-delayed-message")
    }
}

/// A delayed exchange of that type with the queue `q` bound to it under that key.
fn scene(kind: &str, key: &str) -> Harness {
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(delayed(kind)));
    harness.queue("q");
    harness.bind("x", key, "q");
    harness
}

fn wait(millis: i64) -> Arguments {
    arguments(&[("x-delay", Value::Long(millis))])
}

#[test]
fn the_type_that_it_chooses_as_has_to_be_right() {
    let missing = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
    let itself = "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
    let check = |value: Option<Value>, kind, text: &str| {
        let values: Vec<_> = value.into_iter().map(|value| ("x-delayed-type", value)).collect();
        let declare = DeclareExchange {
            arguments: arguments(&values),
            ..delayed("direct")
        };
        Harness::new().refused(Command::DeclareExchange(declare), (kind, text));
    };
    let (failed, invalid) = (RefusalKind::PreconditionFailed, RefusalKind::CommandInvalid);
    check(None, failed, missing);
    check(Some(Value::Int(1)), failed, missing);
    check(Some(Value::Bool(true)), failed, missing);
    check(Some("x-delayed-message".into()), failed, itself);
    check(
        Some("x-not-valid-type".into()),
        invalid,
        "unknown exchange type 'x-not-valid-type'",
    );
    check(Some("".into()), invalid, "unknown exchange type ''");
}

#[test]
fn the_arguments_of_that_type_are_checked() {
    let declare = DeclareExchange {
        arguments: arguments(&[
            ("x-delayed-type", "x-consistent-hash".into()),
            ("hash-header", "a".into()),
            ("hash-property", "message_id".into()),
        ]),
        ..delayed("direct")
    };
    let text = "hash-header and hash-property are mutually exclusive";
    let refusal = (RefusalKind::PreconditionFailed, text);
    Harness::new().refused(Command::DeclareExchange(declare), refusal);
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(delayed("x-consistent-hash")));
    harness.queue("q");
    let text = "The binding key must be an integer: <<\"k\">>";
    let refusal = (RefusalKind::PreconditionFailed, text);
    harness.refused(bind(binding("x", "k", "q")), refusal);
}

#[test]
fn it_is_declared_again_quietly_and_only_as_what_it_is() {
    let mut harness = scene("direct", "k");
    assert!(!harness.done(Command::DeclareExchange(delayed("direct"))).changed);
    // As with the plugin, only the alternate exchange is compared.
    assert!(!harness.done(Command::DeclareExchange(delayed("topic"))).changed);
    let text = "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'direct' but current is \
                'x-delayed-message'";
    let refusal = (RefusalKind::PreconditionFailed, text);
    harness.refused(Command::DeclareExchange(exchange("x", "direct")), refusal);
}

#[test]
fn messages_with_a_delay_go_to_the_room() {
    let check = |kind, binding, key: &str, later: &[&str]| {
        let harness = scene(kind, binding);
        assert_eq!(harness.route_with("x", key, &wait(0)), later, "{kind}");
        assert_eq!(harness.route_with("x", key, &wait(-5)), later, "{kind}");
        assert_eq!(harness.route_with("x", key, &wait(5)), [ROOM], "{kind}");
        assert_eq!(
            harness.route_with("x", key, &Undelayed(&wait(5))),
            later,
            "{kind}"
        );
        let route = harness
            .view()
            .route_due(b"x", &[key.as_bytes()], &Undelayed(&wait(5)));
        assert_eq!(
            route.map(|route| route.targets.len()),
            Some(later.len()),
            "{kind}"
        );
        let route = harness.view().route(b"x", key.as_bytes(), &wait(0)).unwrap();
        assert!(route.by_headers, "each message is looked at");
    };
    check("direct", "k", "k", &["q"]);
    check("direct", "k", "other", &[]);
    check("fanout", "", "any", &["q"]);
    check("topic", "a.*", "a.b", &["q"]);
    check("topic", "a.*", "b", &[]);
    check("x-consistent-hash", "1", "any", &["q"]);
    assert!(
        scene("direct", "k")
            .view()
            .route_due(b"y", &[b"k"], &wait(1))
            .is_none()
    );
}

#[test]
fn it_holds_back_what_comes_through_another_exchange() {
    let mut harness = scene("direct", "k");
    harness.exchange("first", "fanout");
    harness.queue("now");
    harness.bind("first", "", "x:x");
    harness.bind("first", "", "now");
    assert_eq!(harness.route_with("first", "k", &wait(5)), [ROOM, "now"]);
    assert_eq!(harness.route_with("first", "k", &wait(0)), ["now", "q"]);
}

#[test]
fn the_room_is_nobodys_business() {
    let mut harness = scene("direct", "k");
    assert!(harness.view().queue(ROOM.as_bytes()).is_none());
    assert!(
        harness
            .view()
            .queues()
            .all(|queue| *queue.name != *ROOM.as_bytes())
    );
    assert_eq!(harness.route("", ROOM), [""; 0], "nobody gets past the exchange");
    assert!(!harness.done(delete_queue(ROOM, OWNER)).changed);
    let text = format!("no queue '{ROOM}' in vhost '/'");
    harness.refused(
        bind(binding("amq.direct", "k", ROOM)),
        (RefusalKind::NotFound, &text),
    );
    let room = harness.view().room(b"x").cloned().expect("it has one");
    assert!(room.durable);
    let terms = room.terms();
    let bounds = DelayBounds::default();
    assert_eq!(
        (terms.messages_max, terms.bytes_max),
        (Some(bounds.messages_max), Some(bounds.bytes_max))
    );
    assert!(terms.scheduled && terms.dead_letters && terms.overflow == Overflow::RejectPublish);
}

#[test]
fn the_room_stays_as_long_as_its_exchange_and_is_taken_over() {
    let mut harness = scene("direct", "k");
    let room = harness.view().room(b"x").cloned().expect("it has one");
    let remove = || Command::RemoveQueue { queue: room.id };
    assert!(!harness.done(remove()).changed, "it is in use");
    let outcome = harness.done(delete_exchange("x"));
    assert_eq!(names(&outcome.removed_exchanges), ["x"]);
    assert!(outcome.removed_queues.is_empty(), "somebody may wait there");
    let outcome = harness.done(Command::DeclareExchange(delayed("fanout")));
    assert!(outcome.queue.is_none());
    assert_eq!(harness.view().room(b"x").map(|room| room.id), Some(room.id));
    harness.done(delete_exchange("x"));
    harness.done(Command::DeclareExchange(exchange("x", "direct")));
    let outcome = harness.done(remove());
    assert_eq!(
        outcome.removed_queues.len(),
        1,
        "no delayed exchange of that name is there"
    );
    harness.done(delete_exchange("x"));
    harness.done(Command::DeclareExchange(delayed("direct")));
    assert_ne!(harness.view().room(b"x").map(|room| room.id), Some(room.id));
    let outcome = harness.done(Command::DeleteVhost { vhost: "/".into() });
    assert_eq!(outcome.removed_queues.len(), 2);
}

#[test]
fn rooms_survive_a_restart_also_those_of_transient_exchanges() {
    let mut harness = scene("topic", "a.#");
    harness.done(Command::DeclareExchange(DeclareExchange {
        durable: false,
        name: "transient".into(),
        ..delayed("direct")
    }));
    let rooms = |harness: &Harness| {
        let view = harness.view();
        [b"x".as_slice(), b"transient"].map(|name| view.room(name).map(|room| room.id))
    };
    let restarted = Harness::restarted(harness.catalog.facts());
    assert_eq!(rooms(&restarted), rooms(&harness));
    assert_eq!(restarted.route_with("x", "a.b", &wait(0)), ["q"]);
    assert_eq!(restarted.route_with("x", "a.b", &wait(1)), [ROOM]);
    let left = restarted
        .view()
        .room(b"transient")
        .map(|room| room.id)
        .expect("it stays");
    let mut restarted = restarted;
    assert!(restarted.done(Command::RemoveQueue { queue: left }).changed);
}

#[test]
fn names_may_be_as_long_as_names_can_be() {
    let name = "n".repeat(255);
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(DeclareExchange {
        name: name.as_str().into(),
        ..delayed("fanout")
    }));
    assert!(harness.view().room(name.as_bytes()).is_some());
    let restarted = Harness::restarted(harness.catalog.facts());
    assert!(restarted.view().room(name.as_bytes()).is_some());
}
