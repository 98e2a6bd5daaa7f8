//! Exchanges that choose one binding: what they may be declared and bound with, and what they choose by.

use super::harness::{Harness, arguments, bind, binding, exchange};
use crate::arguments::{Arguments, Value};
use crate::catalog::{Command, DeclareExchange, DeclareQueue, RefusalKind};
use crate::routing::{HeaderValue, Headers, Property};

/// A message with a header, a property and a drawn number.
#[derive(Default)]
struct Message {
    headers: Arguments,
    message_id: Option<&'static [u8]>,
    timestamp: Option<u64>,
    drawn: u64,
}

impl Headers for Message {
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], HeaderValue<'a>)) {
        self.headers.visit(visit);
    }

    fn property(&self, property: Property) -> Option<HeaderValue<'_>> {
        match property {
            Property::MessageId => self.message_id.map(HeaderValue::Bytes),
            Property::Timestamp => self.timestamp.map(HeaderValue::Timestamp),
            Property::CorrelationId => None,
        }
    }

    fn draw(&self) -> u64 {
        self.drawn
    }
}

fn declared(kind: &str, values: &[(&str, Value)]) -> DeclareExchange {
    DeclareExchange {
        arguments: arguments(values),
        ..exchange("x", kind)
    }
}

/// An exchange with four queues bound to it under that key.
fn four(kind: &str, values: &[(&str, Value)], key: &str) -> Harness {
    let mut harness = Harness::new();
    harness.done(Command::DeclareExchange(declared(kind, values)));
    for name in ["a", "b", "c", "d"] {
        harness.queue(name);
        harness.bind("x", key, name);
    }
    harness
}

/// How many different queues these messages go to; each goes to one.
fn spread(harness: &Harness, key: &str, messages: impl Iterator<Item = Message>) -> usize {
    let mut queues: Vec<String> = messages
        .flat_map(|message| {
            let queues = harness.route_with("x", key, &message);
            assert_eq!(queues.len(), 1);
            queues
        })
        .collect();
    queues.sort();
    queues.dedup();
    queues.len()
}

#[test]
fn arguments_that_make_no_sense() {
    fn check(values: &[(&str, Value)], text: &str) {
        Harness::new().refused(
            Command::DeclareExchange(declared("x-consistent-hash", values)),
            (RefusalKind::PreconditionFailed, text),
        );
    }
    check(
        &[
            ("hash-header", "h".into()),
            ("hash-property", "message_id".into()),
        ],
        "hash-header and hash-property are mutually exclusive",
    );
    check(
        &[("hash-property", "app_id".into())],
        "Unsupported property: app_id",
    );
    check(
        &[("hash-header", 1.into())],
        "invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost '/'",
    );
}

#[test]
fn bindings_that_make_no_sense() {
    fn check(kind: &str, key: &str, to: &str, text: &str) {
        let mut harness = Harness::new();
        harness.exchange("x", kind);
        harness.exchange("y", "fanout");
        harness.queue("q");
        let quorum = DeclareQueue {
            arguments: arguments(&[("x-queue-type", "quorum".into())]),
            ..super::harness::queue("quorum")
        };
        harness.done(Command::DeclareQueue(quorum));
        harness.refused(
            bind(binding("x", key, to)),
            (RefusalKind::PreconditionFailed, text),
        );
    }
    let hash = "x-consistent-hash";
    check(
        hash,
        "abc",
        "q",
        "The binding key must be an integer: <<\"abc\">>",
    );
    check(hash, "", "q", "The binding key must be an integer: <<>>");
    check(hash, "0", "q", "The binding key must be greater than 0");
    check(hash, "-1", "x:y", "The binding key must be greater than 0");
    let local = "x-local-random";
    check(local, "k", "q", "Non empty binding 'k' key not permitted");
    check(local, "", "x:y", "Destination not found");
    check(
        local,
        "",
        "quorum",
        "Queue type rabbit_quorum_queue not valid for this exchange type",
    );
}

#[test]
fn by_routing_key_is_the_same_for_every_message() {
    for (kind, key) in [("x-consistent-hash", "1"), ("x-modulus-hash", "whatever")] {
        let harness = four(kind, &[], key);
        let drawn = |drawn| Message {
            drawn,
            ..Message::default()
        };
        assert_eq!(spread(&harness, "k", (0..50).map(drawn)), 1, "{kind}");
        let mut chosen: Vec<_> = (0..50)
            .map(|number| harness.route("x", &format!("k{number}")))
            .collect();
        chosen.sort();
        chosen.dedup();
        assert_eq!(chosen.len(), 4, "{kind} uses every queue");
        let route = harness
            .view()
            .route(b"x", b"k", &Message::default())
            .expect("there");
        assert!(!route.by_headers, "{kind} is looked up once");
    }
}

#[test]
fn by_header_and_property() {
    let header = |number: i32| Message {
        headers: arguments(&[("other", (-number).into()), ("h", number.into())]),
        ..Message::default()
    };
    let stamped = |number| Message {
        timestamp: Some(number),
        ..Message::default()
    };
    let named = |number: u64| Message {
        message_id: Some([b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"][number as usize % 8]),
        ..Message::default()
    };
    let without = |_| Message::default();
    let hashing = |name: &str, what: &str| four("x-consistent-hash", &[(name, what.into())], "1");
    let by_header = hashing("hash-header", "h");
    assert_eq!(spread(&by_header, "k", (0..50).map(header)), 4);
    assert_eq!(spread(&by_header, "k", (0..50).map(|_| header(7))), 1);
    assert_eq!(
        spread(&by_header, "k", (0..50).map(without)),
        1,
        "what all lack is equal"
    );
    assert_eq!(
        spread(&hashing("hash-property", "timestamp"), "k", (0..50).map(stamped)),
        4
    );
    assert!(spread(&hashing("hash-property", "message_id"), "k", (0..50).map(named)) > 1);
    assert_eq!(
        spread(
            &hashing("hash-property", "correlation_id"),
            "k",
            (0..50).map(stamped)
        ),
        1
    );
    let route = by_header.view().route(b"x", b"k", &header(1)).expect("there");
    assert!(route.by_headers, "looked up for each message");
}

#[test]
fn by_chance() {
    let drawn = |drawn| Message {
        drawn,
        ..Message::default()
    };
    for (kind, key) in [("x-random", "k"), ("x-local-random", "")] {
        let harness = four(kind, &[], key);
        assert_eq!(spread(&harness, "other", (0..8).map(drawn)), 4, "{kind}");
    }
}

#[test]
fn without_bindings_the_alternate_is_asked() {
    for kind in [
        "x-consistent-hash",
        "x-modulus-hash",
        "x-random",
        "x-local-random",
    ] {
        let mut harness = Harness::new();
        harness.exchange("aside", "fanout");
        harness.queue("kept");
        harness.bind("aside", "", "kept");
        harness.done(Command::DeclareExchange(declared(
            kind,
            &[("alternate-exchange", "aside".into())],
        )));
        assert_eq!(harness.route("x", "k"), ["kept"], "{kind}");
    }
}

#[test]
fn further_keys_ask_one_exchange_at_once() {
    let mut harness = Harness::new();
    harness.exchange("aside", "fanout");
    harness.queue("kept");
    harness.bind("aside", "", "kept");
    harness.done(Command::DeclareExchange(declared(
        "direct",
        &[("alternate-exchange", "aside".into())],
    )));
    for (key, name) in [("a", "qa"), ("b", "qb")] {
        harness.queue(name);
        harness.bind("x", key, name);
    }
    let check = |exchange: &str, keys: &[&[u8]], expected: &[&str]| {
        let route = harness
            .view()
            .route_copies(exchange.as_bytes(), keys, &Message::default());
        let snapshot = harness.catalog.snapshot();
        let mut names: Vec<String> = route
            .expect("the exchange is there")
            .targets
            .iter()
            .map(|target| snapshot.queue(target.queue).expect("a queue").name.to_string())
            .collect();
        names.sort();
        assert_eq!(names, expected);
    };
    check("x", &[b"a", b"b"], &["qa", "qb"]);
    check("x", &[b"a", b"a"], &["qa"]);
    // The alternate is for messages that find nothing at all.
    check("x", &[b"a", b"nowhere"], &["qa"]);
    check("x", &[b"nowhere", b"either"], &["kept"]);
    check("", &[b"qa", b"nowhere", b"kept"], &["kept", "qa"]);
}
