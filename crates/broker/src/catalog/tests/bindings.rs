//! Binding, unbinding and what it does to routing.

use super::harness::{
    Harness, OWNER, STRANGER, arguments, bind, binding, delete_queue, exchange, queue, unbind,
};
use crate::arguments::Value;
use crate::catalog::{Binding, Command, DeclareExchange, DeclareQueue, Destination, RefusalKind};
use crate::routing::{NoHeaders, RouteError};

fn with(values: &[(&str, Value)], binding: Binding) -> Binding {
    Binding {
        arguments: arguments(values),
        ..binding
    }
}

/// Exchanges `direct`, `fanout`, `topic` and `headers`, queues `a` and `b`.
fn harness() -> Harness {
    let mut harness = Harness::new();
    for kind in ["direct", "fanout", "topic", "headers"] {
        harness.exchange(kind, kind);
    }
    harness.queue("a");
    harness.queue("b");
    harness
}

#[test]
fn refusals() {
    fn check(command: Command, kind: RefusalKind, text: &str) {
        harness().refused(command, (kind, text));
    }
    let (refused, failed) = (RefusalKind::AccessRefused, RefusalKind::PreconditionFailed);
    let default = "operation not permitted on the default exchange";
    check(bind(binding("", "k", "a")), refused, default);
    check(bind(binding("direct", "k", "x:")), refused, default);
    check(unbind(binding("", "a", "a")), refused, default);
    check(
        bind(binding("nope", "k", "a")),
        RefusalKind::NotFound,
        "no exchange 'nope' in vhost '/'",
    );
    check(
        bind(binding("nope", "k", "no")),
        RefusalKind::NotFound,
        "no exchange 'nope' in vhost '/'",
    );
    check(
        bind(binding("direct", "k", "no")),
        RefusalKind::NotFound,
        "no queue 'no' in vhost '/'",
    );
    check(
        bind(binding("direct", "k", "x:no")),
        RefusalKind::NotFound,
        "no exchange 'no' in vhost '/'",
    );
    check(
        bind(with(&[("x-match", "foo".into())], binding("headers", "", "a"))),
        failed,
        "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x",
    );
    check(
        bind(with(&[("x-match", 1.into())], binding("headers", "", "a"))),
        failed,
        "Invalid x-match field type signedint (value 1); expected longstr",
    );
    check(
        bind(binding("direct", &"k".repeat(256), "a")),
        failed,
        "routing key is longer than 255 bytes",
    );
}

#[test]
fn x_match_means_something_to_headers_exchanges_only() {
    let mut harness = harness();
    harness.done(bind(with(
        &[("x-match", "foo".into())],
        binding("direct", "k", "a"),
    )));
    assert_eq!(harness.route("direct", "k"), ["a"]);
}

#[test]
fn a_binding_is_there_once() {
    let mut harness = harness();
    let pair = [("one", Value::from(1)), ("two", 2.into())];
    let turned = [("two", Value::from(2)), ("one", 1.into())];
    assert!(harness.bind("direct", "k", "a").changed);
    assert!(!harness.bind("direct", "k", "a").changed);
    assert!(
        harness
            .done(bind(with(&pair, binding("direct", "k", "a"))))
            .changed
    );
    assert!(
        !harness
            .done(bind(with(&turned, binding("direct", "k", "a"))))
            .changed
    );
    assert_eq!(
        harness
            .view()
            .bindings_to(&Destination::Queue("a".into()))
            .count(),
        2
    );
    assert_eq!(harness.route("direct", "k"), ["a"]);

    assert!(
        harness
            .done(unbind(with(&turned, binding("direct", "k", "a"))))
            .changed
    );
    assert_eq!(
        harness.route("direct", "k"),
        ["a"],
        "the other binding is still there"
    );
    assert!(harness.unbind("direct", "k", "a").changed);
    assert_eq!(harness.route("direct", "k"), [""; 0]);
    assert!(!harness.unbind("direct", "k", "a").changed);
}

#[test]
fn unbinding_what_is_missing_succeeds_quietly() {
    let mut harness = harness();
    assert!(!harness.unbind("direct", "k", "a").changed);
    assert!(!harness.unbind("nope", "k", "a").changed);
    assert!(!harness.unbind("direct", "k", "nope").changed);
    assert!(!harness.unbind("direct", "k", "x:nope").changed);
}

#[test]
fn an_exclusive_queue_is_bound_by_its_connection() {
    let mut harness = harness();
    harness.done(Command::DeclareQueue(DeclareQueue {
        exclusive: true,
        ..queue("q")
    }));
    let by = |connection| Command::Bind {
        vhost: "/".into(),
        binding: binding("direct", "k", "q"),
        connection,
    };
    let undo = |connection| Command::Unbind {
        vhost: "/".into(),
        binding: binding("direct", "k", "q"),
        connection,
    };
    let refusal = harness.apply(by(Some(STRANGER))).expect_err("not the owner");
    assert_eq!(refusal.kind, RefusalKind::ResourceLocked);
    harness.done(by(Some(OWNER)));
    let refusal = harness.apply(undo(Some(STRANGER))).expect_err("not the owner");
    assert_eq!(refusal.kind, RefusalKind::ResourceLocked);
    harness.done(undo(Some(OWNER)));
}

#[test]
fn every_type_chooses_its_way() {
    let mut harness = harness();
    for kind in ["direct", "fanout", "topic"] {
        harness.bind(kind, "order.*", "a");
        harness.bind(kind, "order.new", "b");
    }
    assert_eq!(harness.route("direct", "order.new"), ["b"]);
    assert_eq!(harness.route("direct", "order.*"), ["a"]);
    assert_eq!(harness.route("fanout", "whatever"), ["a", "b"]);
    assert_eq!(harness.route("topic", "order.new"), ["a", "b"]);
    assert_eq!(harness.route("topic", "order.old"), ["a"]);
    assert_eq!(harness.route("topic", "order"), [""; 0]);

    harness.done(bind(with(
        &[("colour", "red".into())],
        binding("headers", "", "a"),
    )));
    harness.done(bind(with(
        &[
            ("x-match", "any".into()),
            ("colour", "red".into()),
            ("size", 5.into()),
        ],
        binding("headers", "", "b"),
    )));
    let route = |values: &[(&str, Value)]| harness.route_with("headers", "", &arguments(values));
    assert_eq!(route(&[("colour", "red".into())]), ["a", "b"]);
    assert_eq!(route(&[("size", 5.into())]), ["b"]);
    assert_eq!(route(&[]), [""; 0]);
}

#[test]
fn from_exchange_to_exchange() {
    let mut harness = harness();
    harness.bind("topic", "order.#", "x:fanout");
    harness.bind("topic", "order.new", "a");
    harness.bind("fanout", "", "a");
    harness.bind("fanout", "", "b");
    assert_eq!(harness.route("topic", "order.new"), ["a", "b"]);
    assert_eq!(harness.route("topic", "order.old"), ["a", "b"]);
    assert_eq!(harness.route("topic", "other"), [""; 0]);
}

#[test]
fn a_circle_of_exchanges_ends() {
    let mut harness = harness();
    harness.bind("fanout", "", "x:topic");
    harness.bind("topic", "#", "x:direct");
    harness.bind("direct", "k", "x:fanout");
    harness.bind("direct", "k", "x:direct");
    harness.bind("topic", "k", "a");
    for exchange in ["fanout", "topic", "direct"] {
        assert_eq!(harness.route(exchange, "k"), ["a"]);
    }
}

#[test]
fn a_route_says_whether_it_may_be_kept() {
    let mut harness = harness();
    harness.bind("topic", "plain", "a");
    harness.bind("topic", "mixed", "x:headers");
    let by_headers = |key: &[u8]| {
        harness
            .view()
            .route(b"topic", key, &NoHeaders)
            .expect("a route")
            .by_headers
    };
    assert!(!by_headers(b"plain"));
    assert!(!by_headers(b"nothing"));
    assert!(by_headers(b"mixed"));
    assert!(
        harness
            .view()
            .route(b"headers", b"", &NoHeaders)
            .expect("a route")
            .by_headers
    );
}

#[test]
fn an_internal_exchange_is_reached_by_bindings_only() {
    let mut harness = harness();
    harness.done(Command::DeclareExchange(DeclareExchange {
        internal: true,
        ..exchange("pint", "fanout")
    }));
    harness.bind("direct", "k", "x:pint");
    harness.bind("pint", "", "a");
    assert_eq!(harness.route("direct", "k"), ["a"]);
    let error = harness
        .view()
        .route(b"pint", b"", &NoHeaders)
        .expect_err("internal");
    assert_eq!(error, RouteError::Internal);
    let refusal = error.refusal(b"/", b"pint");
    assert_eq!(refusal.kind, RefusalKind::AccessRefused);
    assert_eq!(
        refusal.text,
        "cannot publish to internal exchange 'pint' in vhost '/'"
    );
    let refusal = harness
        .view()
        .route(b"nope", b"", &NoHeaders)
        .expect_err("missing")
        .refusal(b"/", b"nope");
    assert_eq!(refusal.text, "no exchange 'nope' in vhost '/'");
}

#[test]
fn the_alternate_exchange_takes_what_goes_nowhere() {
    let mut harness = harness();
    let alternate = |to: &str| arguments(&[("alternate-exchange", to.into())]);
    for (name, kind, to) in [
        ("p", "direct", "fanout"),
        ("lost", "direct", "not there"),
        ("named", "direct", ""),
    ] {
        let declare = DeclareExchange {
            arguments: alternate(to),
            ..exchange(name, kind)
        };
        harness.done(Command::DeclareExchange(declare));
    }
    harness.bind("p", "k", "a");
    harness.bind("fanout", "", "b");
    assert_eq!(harness.route("p", "k"), ["a"]);
    assert_eq!(harness.route("p", "other"), ["b"]);
    assert_eq!(harness.route("lost", "k"), [""; 0]);
    assert_eq!(harness.route("named", "a"), ["a"]);
    // Also where a binding led to, and not where the destination is an exchange without destinations of its own.
    harness.bind("topic", "#", "x:p");
    assert_eq!(harness.route("topic", "other"), ["b"]);
}

#[test]
fn bindings_go_with_their_queue() {
    let mut harness = harness();
    harness.bind("direct", "k", "a");
    harness.bind("fanout", "", "a");
    harness.bind("topic", "#", "a");
    harness.done(bind(with(
        &[("colour", "red".into())],
        binding("headers", "", "a"),
    )));
    harness.done(delete_queue("a", OWNER));
    harness.queue("a");
    for exchange in ["direct", "fanout", "topic", "headers"] {
        assert_eq!(
            harness.route_with(exchange, "k", &arguments(&[("colour", "red".into())])),
            [""; 0]
        );
        assert!(
            harness
                .view()
                .exchange(exchange.as_bytes())
                .expect("declared")
                .is_unused()
        );
    }
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut harness = harness();
    harness.bind("topic", "#", "a");
    let before = harness.view();
    harness.bind("topic", "#", "b");
    harness.done(delete_queue("a", OWNER));
    let targets = |view: &crate::catalog::VhostView| {
        view.route(b"topic", b"k", &NoHeaders)
            .expect("a route")
            .targets
            .len()
    };
    assert_eq!((targets(&before), targets(&harness.view())), (1, 1));
    assert!(before.queue(b"a").is_some());
    assert!(harness.view().queue(b"a").is_none());
}
