//! Random histories: routing says what a naive model says, a restart brings back what is durable and nothing else, and no
//! outcome depends on the key of the hashes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::harness::{Harness, arguments, binding};
use crate::arguments::{Arguments, Value};
use crate::catalog::{
    ApplyTo, Binding, Catalog, Command, DeclareExchange, DeclareQueue, Description, Destination,
    ExchangeKind, Fact, Guard, NoAckGuard, Options, PolicyDefinition, PolicyKind, QueueKind, Unroutable,
    UserLimit, VhostLimit, VhostView,
};
use crate::ids::{ConnectionId, QueueId};
use crate::routing::{HeaderValue, NoHeaders, Route};

/// Few names, so that histories meet.
const EXCHANGES: [(&str, &str); 12] = [
    ("d1", "direct"),
    ("d2", "direct"),
    ("f1", "fanout"),
    ("f2", "fanout"),
    ("t1", "topic"),
    ("t2", "topic"),
    ("h1", "headers"),
    ("c1", "x-consistent-hash"),
    ("m1", "x-modulus-hash"),
    ("r1", "x-random"),
    ("l1", "x-local-random"),
    ("amq.topic", "topic"),
];
const QUEUES: usize = 12;
const WORDS: [&str; 5] = ["a", "b", "", "*", "#"];

fn key() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(prop::sample::select(WORDS.as_slice()), 0..5);
    let number = prop::sample::select(["1", "2", "0", "40", "-1"].as_slice());
    prop_oneof![
        4 => words.prop_map(|words| words.join(".")),
        1 => number.prop_map(str::to_owned),
    ]
}

fn headers() -> impl Strategy<Value = Arguments> {
    let value = prop_oneof![
        Just(Value::Void),
        (0..3_i32).prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        prop::sample::select(["red", "blue"].as_slice()).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    let name = prop::sample::select(["one", "two", "three", "x-four"].as_slice());
    prop::collection::vec((name, value), 0..4).prop_map(|values| arguments(&values))
}

fn binding_arguments() -> impl Strategy<Value = Arguments> {
    let how = prop::option::of(prop::sample::select(
        ["all", "any", "all-with-x", "any-with-x"].as_slice(),
    ));
    (how, headers()).prop_map(|(how, headers)| {
        let how = how.map(|how| ("x-match".into(), Value::from(how)));
        how.into_iter().chain(headers.iter().cloned()).collect()
    })
}

fn random_binding() -> impl Strategy<Value = Binding> {
    let source = prop::sample::select(EXCHANGES.as_slice()).prop_map(|(name, _)| name);
    let queue = (0..QUEUES).prop_map(|number| format!("q{number}"));
    let exchange = prop::sample::select(EXCHANGES.as_slice()).prop_map(|(name, _)| format!("x:{name}"));
    let destination = prop_oneof![3 => queue, 1 => exchange];
    (
        source,
        key(),
        destination,
        prop_oneof![2 => Just(Arguments::default()), 1 => binding_arguments()],
    )
        .prop_map(|(source, key, to, arguments)| Binding {
            arguments,
            ..binding(source, &key, &to)
        })
}

fn connection() -> impl Strategy<Value = Option<ConnectionId>> {
    prop::option::of((1..4_u64).prop_map(ConnectionId))
}

fn declare_exchange() -> impl Strategy<Value = Command> {
    let alternate = prop::option::of(prop::sample::select(EXCHANGES.as_slice()));
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
    );
    (prop::sample::select(EXCHANGES.as_slice()), flags, alternate).prop_map(
        |((name, kind), flags, alternate)| {
            let (durable, auto_delete, internal) = flags;
            let arguments = alternate
                .into_iter()
                .map(|(name, _)| ("alternate-exchange", Value::from(name)))
                .collect();
            Command::DeclareExchange(DeclareExchange {
                vhost: "/".into(),
                name: name.into(),
                passive: false,
                kind: kind.into(),
                durable,
                auto_delete,
                internal,
                arguments,
            })
        },
    )
}

fn declare_queue() -> impl Strategy<Value = Command> {
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    (0..QUEUES, flags, connection()).prop_map(
        |(number, (durable, exclusive, auto_delete, quorum), connection)| {
            let arguments = quorum
                .then(|| ("x-queue-type", Value::from("quorum")))
                .into_iter()
                .collect();
            Command::DeclareQueue(DeclareQueue {
                vhost: "/".into(),
                name: format!("q{number}").into(),
                generated: false,
                passive: false,
                durable,
                exclusive,
                auto_delete,
                arguments,
                connection,
            })
        },
    )
}

fn administration() -> impl Strategy<Value = Command> {
    let user = prop::sample::select(["u1", "u2"].as_slice());
    let vhost = prop::sample::select(["/", "v"].as_slice());
    prop_oneof![
        user.clone().prop_map(|user| Command::DeclareUser {
            user: user.into(),
            password_hash: "hash".into(),
            tags: Vec::new()
        }),
        user.clone()
            .prop_map(|user| Command::DeleteUser { user: user.into() }),
        (user.clone(), vhost).prop_map(|(user, vhost)| Command::SetPermissions {
            user: user.into(),
            vhost: vhost.into(),
            configure: ".*".into(),
            write: "^a".into(),
            read: String::new(),
        }),
        user.prop_map(|user| Command::ClearPermissions {
            user: user.into(),
            vhost: "/".into()
        }),
        topic_permission(),
        (
            prop::sample::select(["/", "v"].as_slice()),
            prop::sample::select(Guard::ALL.as_slice())
        )
            .prop_map(|(vhost, guard)| Command::GuardNoAck {
                vhost: vhost.into(),
                guard: NoAckGuard {
                    guard,
                    ..NoAckGuard::default()
                },
            }),
        (prop::sample::select(["/", "v"].as_slice()), unroutable()).prop_map(|(vhost, fate)| {
            Command::SetUnroutable {
                vhost: vhost.into(),
                fate,
            }
        }),
        (
            prop::sample::select(["/", "v"].as_slice()),
            any::<bool>(),
            prop::option::of(0..9_u64)
        )
            .prop_map(|(vhost, queues, most)| Command::LimitVhost {
                vhost: vhost.into(),
                limit: if queues {
                    VhostLimit::Queues
                } else {
                    VhostLimit::Connections
                },
                most,
            }),
        (
            prop::sample::select(["u1", "u2"].as_slice()),
            prop::option::of(0..9_u64)
        )
            .prop_map(|(user, most)| {
                Command::LimitUser {
                    user: user.into(),
                    limit: UserLimit::Channels,
                    most,
                }
            }),
        prop::sample::select([QueueKind::Classic, QueueKind::Quorum].as_slice()).prop_map(|kind| {
            Command::SetDefaultQueueType {
                vhost: "/".into(),
                kind,
            }
        }),
        description(),
        Just(Command::DeclareVhost { vhost: "v".into() }),
        Just(Command::DeleteVhost { vhost: "v".into() }),
    ]
}

fn description() -> impl Strategy<Value = Command> {
    let word = prop::sample::select(["one", "two"].as_slice());
    let vhost = prop::sample::select(["/", "v"].as_slice());
    (word, vhost, 0..4).prop_map(|(word, vhost, what)| match what {
        0 => Command::DescribeVhost {
            vhost: vhost.into(),
            description: Description {
                text: word.into(),
                tags: vec![word.into()],
            },
        },
        1 => Command::SetGlobalParameter {
            name: word.into(),
            value: word.into(),
        },
        2 => Command::ClearGlobalParameter { name: word.into() },
        _ => Command::RememberDeclared {
            declared: word.into(),
        },
    })
}

fn unroutable() -> impl Strategy<Value = Unroutable> {
    let keep = (1..3_u64).prop_map(|messages_max| Unroutable::Keep {
        messages_max,
        bytes_max: 1000,
    });
    prop_oneof![1 => Just(Unroutable::Drop), 1 => Just(Unroutable::Nack), 2 => keep]
}

fn topic_permission() -> impl Strategy<Value = Command> {
    let user = prop::sample::select(["u1", "u2"].as_slice());
    (user, prop::sample::select(["/", "v"].as_slice()), 0..3).prop_map(|(user, vhost, what)| {
        let (user, vhost, exchange) = (user.into(), vhost.into(), "t1".into());
        match what {
            0 => Command::ClearTopicPermissions {
                user,
                vhost,
                exchange: Some(exchange),
            },
            1 => Command::ClearTopicPermissions {
                user,
                vhost,
                exchange: None,
            },
            _ => Command::SetTopicPermission {
                user,
                vhost,
                exchange,
                write: "^{username}".into(),
                read: String::new(),
            },
        }
    })
}

fn policy() -> impl Strategy<Value = Command> {
    let name = prop::sample::select(["p1", "p2", "p3"].as_slice());
    let kind = prop::sample::select([PolicyKind::User, PolicyKind::Operator].as_slice());
    let apply_to = [
        ApplyTo::All,
        ApplyTo::Queues,
        ApplyTo::QuorumQueues,
        ApplyTo::Exchanges,
    ];
    let apply_to = prop::sample::select(apply_to.to_vec());
    let pattern = prop::sample::select(["", "^q1", "[2-5]$", "^[df]"].as_slice());
    let alternate = ("alternate-exchange", Value::from("f1"));
    let settings = prop::sample::subsequence(
        vec![
            ("max-length", Value::from(5)),
            ("delivery-limit", 3.into()),
            alternate,
        ],
        0..3,
    );
    (name, kind, apply_to, pattern, 0..4_i32, settings).prop_map(
        |(name, kind, apply_to, pattern, priority, settings)| {
            let (vhost, name) = ("/".into(), name.into());
            if priority == 0 {
                return Command::ClearPolicy { vhost, name, kind };
            }
            if priority == 3 {
                let policies = vec![(kind, name, definition(pattern, apply_to, 1, &settings))];
                return Command::ReplacePolicies { vhost, policies };
            }
            let definition = definition(pattern, apply_to, priority, &settings);
            Command::SetPolicy {
                vhost,
                name,
                kind,
                definition,
            }
        },
    )
}

fn definition(
    pattern: &str,
    apply_to: ApplyTo,
    priority: i32,
    settings: &[(&str, Value)],
) -> PolicyDefinition {
    PolicyDefinition {
        pattern: pattern.into(),
        apply_to,
        priority,
        settings: arguments(settings),
    }
}

/// One command, or a few that stand or fall together.
fn command() -> impl Strategy<Value = Command> {
    let together = prop::collection::vec(single_command(), 0..4);
    prop_oneof![
        12 => single_command(),
        1 => together.prop_map(|commands| Command::Together { commands }),
    ]
}

fn single_command() -> impl Strategy<Value = Command> {
    let vhost = || "/".into();
    let name = prop::sample::select(EXCHANGES.as_slice()).prop_map(|(name, _)| name);
    prop_oneof![
        4 => declare_exchange(),
        6 => declare_queue(),
        12 => (random_binding(), connection())
            .prop_map(move |(binding, connection)| Command::Bind { vhost: vhost(), binding, connection }),
        4 => (random_binding(), connection())
            .prop_map(move |(binding, connection)| Command::Unbind { vhost: vhost(), binding, connection }),
        1 => (name, any::<bool>())
            .prop_map(move |(name, if_unused)| Command::DeleteExchange { vhost: vhost(), name: name.into(), if_unused }),
        2 => (0..QUEUES, connection()).prop_map(move |(number, connection)| {
            Command::DeleteQueue { vhost: vhost(), name: format!("q{number}").into(), connection }
        }),
        1 => (0..60_u64).prop_map(|queue| Command::RemoveQueue { queue: QueueId(queue) }),
        1 => (1..4_u64).prop_map(|connection| Command::ConnectionClosed { connection: ConnectionId(connection) }),
        2 => administration(),
        2 => policy(),
    ]
}

/// Unbinds what is bound, as random unbindings seldom meet a binding.
fn unbind_some(catalog: &Catalog, choice: usize) -> Option<Command> {
    let snapshot = catalog.snapshot();
    let view = snapshot.vhost(b"/")?;
    let mut bindings: Vec<Binding> = view
        .exchanges()
        .flat_map(|exchange| exchange.bindings())
        .collect();
    bindings.sort();
    let binding = bindings.get(choice % bindings.len().max(1))?.clone();
    Some(Command::Unbind {
        vhost: "/".into(),
        binding,
        connection: None,
    })
}

// ---- the naive model: every binding is tried ----

fn words(key: &[u8]) -> Vec<&[u8]> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split(|byte| *byte == b'.').collect()
    }
}

fn topic_matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&b"#", rest)) => (0..=key.len()).any(|skip| topic_matches(rest, &key[skip..])),
        Some((&b"*", rest)) => !key.is_empty() && topic_matches(rest, &key[1..]),
        Some((word, rest)) => key.first() == Some(word) && topic_matches(rest, &key[1..]),
    }
}

fn headers_match(pattern: &Arguments, headers: &Arguments) -> bool {
    let how = pattern
        .get("x-match")
        .and_then(Value::as_long_string)
        .unwrap_or(b"all");
    let with_x = how.ends_with(b"-with-x");
    let mut holds = pattern
        .iter()
        .filter(|(name, _)| {
            if with_x {
                name.as_bytes() != b"x-match"
            } else {
                !name.starts_with(b"x-")
            }
        })
        .map(|(name, wanted)| {
            let value = headers
                .iter()
                .rev()
                .find(|(candidate, _)| candidate == name)
                .map(|(_, value)| value);
            value.is_some_and(|value| {
                *wanted == Value::Void || HeaderValue::from(value) == HeaderValue::from(wanted)
            })
        });
    if how.starts_with(b"any") {
        holds.any(|holds| holds)
    } else {
        holds.all(|holds| holds)
    }
}

/// Where a message goes, and whether that is all that can be said: of exchanges that choose one binding the model knows only
/// that it is one of them.
fn naive_route(
    view: &VhostView,
    exchange: &str,
    keys: &[&str],
    headers: &Arguments,
) -> (BTreeSet<QueueId>, bool) {
    let mut exact = true;
    let mut seen = BTreeSet::from([exchange.to_owned()]);
    let mut pending = vec![exchange.to_owned()];
    let mut queues = BTreeSet::new();
    while let Some(name) = pending.pop() {
        let Some(exchange) = view.exchange(name.as_bytes()) else {
            continue;
        };
        let matching = exchange.bindings().filter(|binding| match exchange.kind {
            ExchangeKind::Direct => keys
                .iter()
                .any(|key| binding.routing_key.as_bytes() == key.as_bytes()),
            ExchangeKind::Fanout => true,
            ExchangeKind::Topic => {
                let pattern = words(&binding.routing_key);
                keys.iter()
                    .any(|key| topic_matches(&pattern, &words(key.as_bytes())))
            }
            ExchangeKind::Headers => headers_match(&binding.arguments, headers),
            ExchangeKind::ConsistentHash
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random
            | ExchangeKind::LocalRandom
            | ExchangeKind::Delayed => true,
        });
        let mut next: Vec<Destination> = matching.map(|binding| binding.destination.clone()).collect();
        exact &= next.len() < 2 || !exchange.kind.to_string().starts_with("x-");
        if next.is_empty() {
            next.extend(exchange.alternate.clone().map(Destination::Exchange));
        }
        for destination in next {
            match destination {
                Destination::Queue(name) => {
                    queues.insert(view.queue(&name).expect("a bound queue is there").id);
                }
                Destination::Exchange(name) if seen.insert(name.to_string()) => {
                    pending.push(name.to_string())
                }
                Destination::Exchange(_) => {}
            }
        }
    }
    (queues, exact)
}

fn check_route(view: &VhostView, name: &str, keys: &[&str], headers: &Arguments, route: &Route) {
    let found: BTreeSet<QueueId> = route.targets.iter().map(|target| target.queue).collect();
    assert_eq!(found.len(), route.targets.len(), "a queue is named once");
    let (expected, exact) = naive_route(view, name, keys, headers);
    let right = if exact {
        found == expected
    } else {
        found.is_subset(&expected)
    };
    assert!(
        right,
        "{name} {keys:?} {headers:?}: {found:?} instead of {expected:?}"
    );
}

fn check_routes(harness: &Harness, keys: &[String], headers: &[Arguments]) {
    let view = harness.view();
    for (name, _) in EXCHANGES {
        for (key, headers) in keys.iter().zip(headers.iter().cycle()) {
            let Some(exchange) = view.exchange(name.as_bytes()) else {
                continue;
            };
            let route = view.route(name.as_bytes(), key.as_bytes(), headers);
            if exchange.internal {
                assert!(route.is_err());
                continue;
            }
            let route = route.expect("the exchange is there");
            check_route(&view, name, &[key], headers, &route);
            let copied = [key.as_str(), keys[0].as_str(), keys[1].as_str()];
            let copies = view.route_copies(name.as_bytes(), &copied.map(str::as_bytes), headers);
            check_route(&view, name, &copied, headers, &copies.expect("it is there"));
            if !route.by_headers {
                let bare = view
                    .route(name.as_bytes(), key.as_bytes(), &Arguments::default())
                    .expect("there");
                assert_eq!(bare, route, "headers had no part in it");
            }
        }
    }
}

/// Two catalogs with the same content route alike, whatever the key of their hashes: a restart changes no choice.
fn check_same_routes(left: &VhostView, right: &VhostView, keys: &[String]) {
    for (name, _) in EXCHANGES {
        for key in keys {
            let route = |view: &VhostView| view.route(name.as_bytes(), key.as_bytes(), &NoHeaders);
            assert_eq!(route(left), route(right), "{name} {key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn histories(
        commands in prop::collection::vec((command(), prop::option::weighted(0.1, any::<usize>())), 1..120),
        keys in prop::collection::vec(key(), 12),
        headers in prop::collection::vec(headers(), 7),
    ) {
        let mut harness = Harness::new();
        let mut twin = Catalog::new(Options { partitions: 3, hash_key: 0xfeed });
        let begun = Fact::VhostDeclared { vhost: "/".into() };
        twin.replay(begun.clone()).expect("an empty catalog takes it");
        let mut facts = vec![begun];
        for (command, unbind) in commands {
            let command = unbind.and_then(|choice| unbind_some(&harness.catalog, choice)).unwrap_or(command);
            let twins = twin.apply(command.clone());
            // Checks the invariants, and that a refusal leaves no trace.
            let result = harness.apply(command);
            let shown = |result| format!("{result:?}");
            prop_assert_eq!(shown(&result), shown(&twins), "the key of the hashes shows");
            facts.extend(result.into_iter().flat_map(|outcome| outcome.facts));
        }
        check_routes(&harness, &keys, &headers);
        check_same_routes(&harness.view(), &twin.snapshot().vhost(b"/").expect("the twin has it"), &keys);

        let checkpoint: Vec<Fact> = harness.catalog.facts().collect();
        let from_log = Harness::restarted(facts);
        prop_assert_eq!(&from_log.catalog.facts().collect::<Vec<_>>(), &checkpoint);
        let from_checkpoint = Harness::restarted(checkpoint.clone());
        prop_assert_eq!(&from_checkpoint.catalog.facts().collect::<Vec<_>>(), &checkpoint);
        prop_assert_eq!(from_log.dump(), from_checkpoint.dump());
        prop_assert!(from_log.catalog.next_queue_id() >= harness.catalog.next_queue_id());
        check_routes(&from_checkpoint, &keys, &headers);

        // What was durable is there and as it was, nothing else is.
        let (before, after) = (harness.catalog.snapshot(), from_log.catalog.snapshot());
        let durable = before.queues().filter(|queue| queue.durable);
        let described = |queue: &std::sync::Arc<crate::catalog::Queue>| format!("{queue:?}");
        let mut durable: Vec<String> = durable.map(described).collect();
        let mut survived: Vec<String> = after.queues().map(described).collect();
        durable.sort();
        survived.sort();
        prop_assert_eq!(durable, survived);
    }
}
