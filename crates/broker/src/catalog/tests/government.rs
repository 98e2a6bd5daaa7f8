//! Policies, limits and topic permissions: what they may be, whom they concern, and that they take effect at once.

use super::harness::{Harness, arguments, bind, binding, exchange, queue};
use crate::arguments::Value;
use crate::catalog::{
    Access, ApplyTo, Command, ConsumerSettings, DeclareExchange, DeclareQueue, Outcome, PolicyDefinition,
    PolicyKind, RefusalKind, UNROUTABLE_STORE, Unroutable, UserLimit, VhostLimit,
};

pub(super) fn definition(pattern: &str, priority: i32, settings: &[(&str, Value)]) -> PolicyDefinition {
    PolicyDefinition {
        pattern: pattern.into(),
        priority,
        settings: arguments(settings),
        ..PolicyDefinition::default()
    }
}

pub(super) fn set(kind: PolicyKind, name: &str, definition: PolicyDefinition) -> Command {
    Command::SetPolicy {
        vhost: "/".into(),
        name: name.into(),
        kind,
        definition,
    }
}

fn clear(kind: PolicyKind, name: &str) -> Command {
    Command::ClearPolicy {
        vhost: "/".into(),
        name: name.into(),
        kind,
    }
}

pub(super) const USER: PolicyKind = PolicyKind::User;
pub(super) const OPERATOR: PolicyKind = PolicyKind::Operator;

pub(super) fn regulated(outcome: &Outcome) -> Vec<String> {
    outcome
        .regulated_queues
        .iter()
        .map(|queue| queue.name.to_string())
        .collect()
}

/// The length limit of a queue that is in effect, and the policies behind it.
fn length(harness: &Harness, name: &str) -> (Option<u64>, Option<String>, Option<String>) {
    let view = harness.view();
    let queue = view.queue(name.as_bytes()).expect("it is there");
    let named = |name: &Option<crate::name::Name>| name.as_ref().map(ToString::to_string);
    let governance = &queue.governance;
    (
        queue.settings.messages_max,
        named(&governance.policy),
        named(&governance.operator_policy),
    )
}

#[test]
fn a_policy_governs_what_is_there_and_what_comes() {
    let mut harness = Harness::new();
    harness.queue("orders.a");
    harness.queue("other");
    let outcome = harness.done(set(
        USER,
        "p",
        definition("^orders", 0, &[("max-length", 5.into())]),
    ));
    assert_eq!(regulated(&outcome), ["orders.a"]);
    let governed = (Some(5), Some("p".to_owned()), None);
    assert_eq!(length(&harness, "orders.a"), governed);
    assert_eq!(length(&harness, "other"), (None, None, None));
    harness.queue("orders.b");
    assert_eq!(length(&harness, "orders.b"), governed);

    let outcome = harness.done(set(
        USER,
        "p",
        definition("^orders", 0, &[("max-length", 7.into())]),
    ));
    assert_eq!(regulated(&outcome), ["orders.a", "orders.b"]);
    assert_eq!(length(&harness, "orders.a").0, Some(7));
    let again = harness.done(set(
        USER,
        "p",
        definition("^orders", 0, &[("max-length", 7.into())]),
    ));
    assert!(!again.changed);

    let outcome = harness.done(clear(USER, "p"));
    assert_eq!(regulated(&outcome), ["orders.a", "orders.b"]);
    assert_eq!(length(&harness, "orders.a"), (None, None, None));
    assert!(!harness.done(clear(USER, "p")).changed);
}

#[test]
fn a_declaration_is_compared_with_what_was_declared() {
    let mut harness = Harness::new();
    harness.done(set(USER, "p", definition("", 0, &[("max-length", 5.into())])));
    harness.queue("q");
    assert!(!harness.done(Command::DeclareQueue(queue("q"))).changed);
    let view = harness.view();
    let held = view.queue(b"q").expect("there");
    assert!(held.arguments.is_empty());
    assert_eq!(held.effective, arguments(&[("x-max-length", 5.into())]));
}

#[test]
fn the_highest_priority_governs() {
    let mut harness = Harness::new();
    harness.queue("q");
    let mut set_length = |name: &str, priority: i32, length: i32, expected: u64| {
        harness.done(set(
            USER,
            name,
            definition("q", priority, &[("max-length", length.into())]),
        ));
        let (length, policy, _) = super::government::length(&harness, "q");
        (length, policy, expected)
    };
    for (name, priority, length, governing, expected) in [
        ("b", 1, 10, "b", 10),
        ("c", 2, 20, "c", 20),
        ("a", 1, 30, "c", 20),
        ("c", 0, 20, "a", 30),
        ("b", -1, 10, "a", 30),
    ] {
        let (length, policy, expected) = set_length(name, priority, length, expected);
        assert_eq!(
            (length, policy.as_deref()),
            (Some(expected), Some(governing)),
            "after {name}"
        );
    }
}

#[test]
fn operators_bound_what_users_and_declarations_say() {
    let mut harness = Harness::new();
    harness.queue("q");
    let declared = DeclareQueue {
        arguments: arguments(&[("x-max-length", 100.into())]),
        ..queue("declared")
    };
    harness.done(Command::DeclareQueue(declared));
    harness.done(set(
        OPERATOR,
        "bound",
        definition("", 0, &[("max-length", 50.into())]),
    ));
    assert_eq!(length(&harness, "q"), (Some(50), None, Some("bound".to_owned())));
    assert_eq!(length(&harness, "declared").0, Some(50));
    harness.done(set(USER, "p", definition("", 0, &[("max-length", 20.into())])));
    assert_eq!(length(&harness, "q").0, Some(20));
    harness.done(set(USER, "p", definition("", 0, &[("max-length", 70.into())])));
    assert_eq!(length(&harness, "declared").0, Some(50));
    harness.done(clear(OPERATOR, "bound"));
    assert_eq!(length(&harness, "declared").0, Some(70));
    harness.done(clear(USER, "p"));
    assert_eq!(length(&harness, "declared").0, Some(100));
}

/// How long consumers may hold a message where they, the declaration and an operator policy say so.
fn patience(kind: &str, own: Option<u64>, declared: Option<i32>, operator: Option<i32>) -> Option<u64> {
    let mut harness = Harness::new();
    let given = declared.map(|millis| ("x-consumer-timeout", Value::from(millis)));
    let typed = [("x-queue-type", kind.into())].into_iter().chain(given);
    let declare = DeclareQueue {
        arguments: typed.collect(),
        ..queue("q")
    };
    harness.done(Command::DeclareQueue(declare));
    if let Some(millis) = operator {
        let bound = definition("", 0, &[("consumer-timeout", millis.into())]);
        harness.done(set(OPERATOR, "bound", bound));
    }
    let consumer = ConsumerSettings {
        timeout_millis: own,
        ..ConsumerSettings::default()
    };
    harness
        .view()
        .queue(b"q")
        .expect("there")
        .patience_millis(&consumer)
}

#[test]
fn an_operators_limit_of_patience_stands() {
    const HALF_AN_HOUR: Option<u64> = Some(1_800_000);
    for (kind, own, declared, operator, expected) in [
        ("classic", None, None, None, None),
        ("classic", None, None, Some(9), Some(9)),
        ("classic", Some(0), None, Some(9), Some(9)),
        ("classic", Some(20), None, Some(9), Some(9)),
        ("classic", Some(5), None, Some(9), Some(5)),
        ("classic", None, Some(0), Some(9), Some(9)),
        ("classic", Some(0), Some(0), Some(0), None),
        ("classic", Some(20), Some(5), None, Some(20)),
        ("quorum", None, None, None, HALF_AN_HOUR),
        ("quorum", Some(0), None, None, None),
        ("quorum", None, None, Some(0), None),
        ("quorum", Some(0), Some(0), Some(9), Some(9)),
        ("quorum", None, Some(20), Some(9), Some(9)),
    ] {
        let held = patience(kind, own, declared, operator);
        assert_eq!(held, expected, "{kind} {own:?} {declared:?} {operator:?}");
    }
}

#[test]
fn what_a_policy_is_for() {
    fn check(apply_to: ApplyTo, settings: &[(&str, Value)], expected: &[&str]) {
        let mut harness = Harness::new();
        harness.queue("classic");
        let quorum = DeclareQueue {
            arguments: arguments(&[("x-queue-type", "quorum".into())]),
            ..queue("quorum")
        };
        harness.done(Command::DeclareQueue(quorum));
        harness.exchange("exchange", "fanout");
        let policy = PolicyDefinition {
            apply_to,
            ..definition("^[^a]", 0, settings)
        };
        harness.done(set(USER, "p", policy));
        let view = harness.view();
        let queues = view.queues().filter(|queue| queue.governance.policy.is_some());
        let exchanges = view
            .exchanges()
            .filter(|exchange| exchange.governance.policy.is_some());
        let mut names: Vec<String> = queues.map(|queue| queue.name.to_string()).collect();
        names.extend(exchanges.map(|exchange| exchange.name.to_string()));
        names.sort();
        assert_eq!(names, expected, "{apply_to} {settings:?}");
    }
    let length: &[(&str, Value)] = &[("max-length", 1.into())];
    check(ApplyTo::All, length, &["classic", "exchange", "quorum"]);
    check(ApplyTo::Queues, length, &["classic", "quorum"]);
    check(ApplyTo::ClassicQueues, length, &["classic"]);
    check(ApplyTo::QuorumQueues, length, &["quorum"]);
    check(ApplyTo::Streams, length, &[]);
    check(ApplyTo::Exchanges, length, &["exchange"]);
    // Classic queues have no delivery limit, so the policy is not for them.
    check(ApplyTo::Queues, &[("delivery-limit", 3.into())], &["quorum"]);
}

#[test]
fn an_alternate_exchange_by_policy_takes_effect_at_once() {
    let mut harness = Harness::new();
    for (name, queue) in [("aside", "kept"), ("declared", "other")] {
        harness.exchange(name, "fanout");
        harness.queue(queue);
        harness.bind(name, "", queue);
    }
    harness.exchange("x", "direct");
    let own = DeclareExchange {
        arguments: arguments(&[("alternate-exchange", "declared".into())]),
        ..exchange("y", "direct")
    };
    harness.done(Command::DeclareExchange(own));
    assert_eq!(harness.route("x", "k"), [""; 0]);
    harness.done(set(
        USER,
        "ae",
        definition("", 0, &[("alternate-exchange", "aside".into())]),
    ));
    assert_eq!(harness.route("x", "k"), ["kept"]);
    assert_eq!(
        harness.route("y", "k"),
        ["other"],
        "what was declared counts before"
    );
    assert_eq!(
        harness.route("", "nowhere"),
        [""; 0],
        "the default exchange has none"
    );
    harness.exchange("later", "topic");
    assert_eq!(harness.route("later", "k"), ["kept"]);
    harness.done(clear(USER, "ae"));
    assert_eq!(harness.route("x", "k"), [""; 0]);
}

fn replace(policies: &[(PolicyKind, &str, PolicyDefinition)]) -> Command {
    let policies = policies.iter().cloned();
    Command::ReplacePolicies {
        vhost: "/".into(),
        policies: policies
            .map(|(kind, name, definition)| (kind, name.into(), definition))
            .collect(),
    }
}

#[test]
fn a_set_of_policies_takes_effect_at_once() {
    let mut harness = Harness::new();
    ["a", "b", "other"]
        .iter()
        .for_each(|name| drop(harness.queue(name)));
    let length = |length: i32| vec![("max-length", Value::from(length))];
    harness.done(set(USER, "stays", definition("^a", 1, &length(5))));
    harness.done(set(USER, "goes", definition("^b", 1, &length(6))));
    let outcome = harness.done(replace(&[
        (USER, "stays", definition("^a", 1, &length(5))),
        (OPERATOR, "bound", definition("^[ab]", 0, &length(4))),
    ]));
    assert_eq!(regulated(&outcome), ["a", "b"]);
    assert_eq!(
        outcome.facts.len(),
        2,
        "what stays as it is needs no fact: {:?}",
        outcome.facts
    );
    let both = |user: Option<&str>| (Some(4), user.map(str::to_owned), Some("bound".to_owned()));
    assert_eq!(super::government::length(&harness, "a"), both(Some("stays")));
    assert_eq!(super::government::length(&harness, "b"), both(None));
    let mut facts: Vec<_> = harness.catalog.facts().collect();
    facts.extend(outcome.facts);
    assert_eq!(Harness::restarted(facts).dump(), harness.dump());
    let outcome = harness.done(replace(&[]));
    assert_eq!(regulated(&outcome), ["a", "b"]);
    assert!(!harness.done(replace(&[])).changed);
}

#[test]
fn one_policy_that_makes_no_sense_refuses_the_whole_set() {
    let mut harness = Harness::new();
    harness.queue("q");
    let fine = || definition("q", 0, &[("max-length", 5.into())]);
    let refused = |harness: &mut Harness, policies: &[(PolicyKind, &str, PolicyDefinition)], text: &str| {
        harness.refused(replace(policies), (RefusalKind::PreconditionFailed, text));
    };
    refused(
        &mut harness,
        &[(USER, "a", fine()), (USER, "b", definition("q", 0, &[]))],
        "policy 'b': no policy provided",
    );
    refused(
        &mut harness,
        &[(USER, "a", fine()), (OPERATOR, "a", fine()), (USER, "a", fine())],
        "policy 'a' is given twice",
    );
    refused(
        &mut harness,
        &[
            (USER, "a", fine()),
            (USER, "b", definition("q(", 0, &[("max-length", 5.into())])),
        ],
        "policy 'b': pattern should be regular expression but is invalid: error: unclosed group",
    );
    let elsewhere = Command::ReplacePolicies {
        vhost: "v".into(),
        policies: Vec::new(),
    };
    harness.refused(elsewhere, (RefusalKind::NotFound, "no vhost 'v'"));
    assert_eq!(length(&harness, "q"), (None, None, None));
}

#[test]
fn policies_that_make_no_sense() {
    fn check(definition: PolicyDefinition, text: &str) {
        Harness::new().refused(
            set(USER, "p", definition),
            (RefusalKind::PreconditionFailed, text),
        );
    }
    check(definition("q", 0, &[]), "no policy provided");
    check(
        definition("q", 0, &[("x-max-length", 1.into())]),
        "[{<<\"x-max-length\">>,1}] are not recognised policy settings",
    );
    check(
        definition("q(", 0, &[("max-length", 1.into())]),
        "pattern should be regular expression but is invalid: error: unclosed group",
    );
    let vhost = Command::SetPolicy {
        vhost: "v".into(),
        name: "p".into(),
        kind: USER,
        definition: definition("q", 0, &[("max-length", 1.into())]),
    };
    Harness::new().refused(vhost, (RefusalKind::NotFound, "no vhost 'v'"));
    let text = "apply-to 'nothing' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                'streams', 'exchanges', or 'all'";
    assert_eq!(
        ApplyTo::parse("nothing").expect_err("it means nothing").text,
        text
    );
    for name in [
        "all",
        "queues",
        "classic_queues",
        "quorum_queues",
        "streams",
        "exchanges",
    ] {
        assert_eq!(ApplyTo::parse(name).expect("known").to_string(), name);
    }
}

#[test]
fn a_restart_brings_all_of_it_back() {
    let mut harness = Harness::new();
    harness.queue("q");
    harness.exchange("x", "topic");
    let mut facts: Vec<_> = harness.catalog.facts().collect();
    let mut done = |command| facts.extend(harness.done(command).facts);
    done(declare_user("u"));
    done(set(
        USER,
        "p",
        definition(
            "",
            3,
            &[("max-length", 5.into()), ("alternate-exchange", "a".into())],
        ),
    ));
    done(set(
        OPERATOR,
        "o",
        definition("^q", -1, &[("max-length", 4.into())]),
    ));
    done(topic("u", "x", "^a", "^b"));
    done(Command::LimitVhost {
        vhost: "/".into(),
        limit: VhostLimit::Queues,
        most: Some(9),
    });
    done(Command::LimitUser {
        user: "u".into(),
        limit: UserLimit::Channels,
        most: Some(2),
    });
    // A new password takes no limit away.
    done(Command::DeclareUser {
        user: "u".into(),
        password_hash: "other".into(),
        tags: Vec::new(),
    });
    let by_checkpoint = Harness::restarted(harness.catalog.facts());
    let by_log = Harness::restarted(facts);
    assert_eq!(by_checkpoint.dump(), harness.dump());
    assert_eq!(by_log.dump(), harness.dump());
    assert_eq!(length(&by_log, "q").0, Some(4));
    let user = by_log.catalog.snapshot().user(b"u").cloned().expect("there");
    assert_eq!(user.limits.most(UserLimit::Channels), Some(2));
}

fn declare_user(user: &str) -> Command {
    Command::DeclareUser {
        user: user.into(),
        password_hash: "hash".into(),
        tags: Vec::new(),
    }
}

fn topic(user: &str, exchange: &str, write: &str, read: &str) -> Command {
    Command::SetTopicPermission {
        user: user.into(),
        vhost: "/".into(),
        exchange: exchange.into(),
        write: write.into(),
        read: read.into(),
    }
}

#[test]
fn topic_permissions_concern_topic_exchanges_that_have_them() {
    let mut harness = Harness::new();
    harness.done(declare_user("u"));
    harness.done(Command::SetPermissions {
        user: "u".into(),
        vhost: "/".into(),
        configure: ".*".into(),
        write: ".*".into(),
        read: ".*".into(),
    });
    harness.queue("q");
    harness.done(topic("u", "amq.topic", "^out\\.", "^in\\."));
    harness.done(topic("u", "amq.direct", "^$", "^$"));
    let check = |harness: &Harness, access: Access, exchange: &str, key: &str| {
        let view = harness.view();
        let exchange = view.exchange(exchange.as_bytes()).expect("there").clone();
        let (user, vhost) = ("u".into(), "/".into());
        let snapshot = harness.catalog.snapshot();
        let required = snapshot.require_topic(&user, &vhost, &exchange, access, key.as_bytes());
        required.err().map(|refusal| refusal.text)
    };
    let refused = |access: &str, key: &str| {
        Some(format!(
            "{access} access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'u'"
        ))
    };
    assert_eq!(check(&harness, Access::Write, "amq.topic", "out.a"), None);
    assert_eq!(
        check(&harness, Access::Write, "amq.topic", "in.a"),
        refused("write", "in.a")
    );
    assert_eq!(
        check(&harness, Access::Read, "amq.topic", "out.a"),
        refused("read", "out.a")
    );
    assert_eq!(check(&harness, Access::Write, "amq.direct", "whatever"), None);

    let may = |harness: &Harness, source: &str, key: &str| {
        let command = bind(binding(source, key, "q"));
        let answer = harness.catalog.snapshot().authorise(&"u".into(), &command);
        answer.err().map(|refusal| refusal.text)
    };
    assert_eq!(may(&harness, "amq.topic", "in.a"), None);
    assert_eq!(may(&harness, "amq.topic", "out.a"), refused("read", "out.a"));
    assert_eq!(may(&harness, "amq.direct", "out.a"), None);

    harness.done(Command::ClearTopicPermissions {
        user: "u".into(),
        vhost: "/".into(),
        exchange: None,
    });
    assert_eq!(may(&harness, "amq.topic", "out.a"), None);
    assert_eq!(harness.catalog.snapshot().topic_permissions().count(), 0);
}

#[test]
fn topic_permissions_are_for_users_and_vhosts_that_are_there() {
    let mut harness = Harness::new();
    harness.refused(topic("u", "x", "", ""), (RefusalKind::NotFound, "no user 'u'"));
    harness.done(declare_user("u"));
    let elsewhere = Command::SetTopicPermission {
        user: "u".into(),
        vhost: "v".into(),
        exchange: "x".into(),
        write: String::new(),
        read: String::new(),
    };
    harness.refused(elsewhere, (RefusalKind::NotFound, "no vhost 'v'"));
    harness.refused(
        topic("u", "x", "(", ""),
        (
            RefusalKind::PreconditionFailed,
            "invalid permission pattern '(': error: unclosed group",
        ),
    );
    harness.done(topic("u", "x", "a", "b"));
    harness.done(Command::DeleteUser { user: "u".into() });
    assert_eq!(harness.catalog.snapshot().topic_permissions().count(), 0);
}

#[test]
fn a_vhost_holds_as_many_queues_as_it_may() {
    let mut harness = Harness::new();
    let limit = |most| Command::LimitVhost {
        vhost: "/".into(),
        limit: VhostLimit::Queues,
        most,
    };
    harness.done(limit(Some(2)));
    harness.queue("a");
    harness.queue("b");
    let text = "cannot declare queue 'c': queue limit in vhost '/' (2) is reached";
    harness.refused(
        Command::DeclareQueue(queue("c")),
        (RefusalKind::PreconditionFailed, text),
    );
    harness.queue("a");
    harness.done(limit(None));
    harness.queue("c");
    assert!(!harness.done(limit(None)).changed);
    let nobody = Command::LimitUser {
        user: "u".into(),
        limit: UserLimit::Channels,
        most: None,
    };
    harness.refused(nobody, (RefusalKind::NotFound, "no user 'u'"));
}

#[test]
fn who_may_govern() {
    let mut harness = Harness::new();
    for (user, tag) in [
        ("admin", "administrator"),
        ("maker", "policymaker"),
        ("nobody", "monitoring"),
    ] {
        harness.done(Command::DeclareUser {
            user: user.into(),
            password_hash: "hash".into(),
            tags: vec![tag.into()],
        });
    }
    let snapshot = harness.catalog.snapshot();
    let check = |user: &str, kind, may| {
        let command = set(kind, "p", definition("", 0, &[("max-length", 1.into())]));
        assert_eq!(
            snapshot.authorise(&user.into(), &command).is_ok(),
            may,
            "{user} {kind:?}"
        );
    };
    check("admin", USER, true);
    check("admin", OPERATOR, true);
    check("maker", USER, true);
    check("maker", OPERATOR, false);
    check("nobody", USER, false);
}

fn keep(messages_max: u64) -> Unroutable {
    Unroutable::Keep {
        messages_max,
        bytes_max: 1 << 20,
    }
}

fn unroutable(fate: Unroutable) -> Command {
    Command::SetUnroutable {
        vhost: "/".into(),
        fate,
    }
}

#[test]
fn a_store_keeps_what_nobody_wants() {
    let mut harness = Harness::new();
    assert_eq!(harness.view().unroutable(), Unroutable::Drop);
    assert!(harness.view().route_to_store().is_none());

    let outcome = harness.done(unroutable(keep(10)));
    let store = outcome
        .queue
        .expect("a store is created, for its partition to be told");
    assert!(store.durable && store.is_store());
    assert_eq!(
        (store.settings.messages_max, store.settings.bytes_max),
        (Some(10), Some(1 << 20))
    );
    let route = harness.view().route_to_store().expect("there is one now");
    assert_eq!(
        route
            .targets
            .iter()
            .map(|target| target.queue)
            .collect::<Vec<_>>(),
        [store.id]
    );

    let outcome = harness.done(unroutable(keep(20)));
    assert!(outcome.queue.is_none(), "it is not created again");
    assert_eq!(regulated(&outcome), [UNROUTABLE_STORE]);
    let store = harness.view().store().cloned().expect("there");
    assert_eq!(store.settings.messages_max, Some(20));
    assert!(!harness.done(unroutable(keep(20))).changed);

    harness.done(unroutable(Unroutable::Nack));
    assert!(harness.view().route_to_store().is_none());
    assert!(harness.view().store().is_some(), "what was kept is still there");
    harness.done(unroutable(keep(5)));
    let restarted = Harness::restarted(harness.catalog.facts());
    assert_eq!(restarted.dump(), harness.dump());
    assert_eq!(restarted.view().store().map(|store| store.id), Some(store.id));
}

#[test]
fn a_store_is_not_for_clients_to_change() {
    let mut harness = Harness::new();
    harness.done(unroutable(keep(10)));
    let store = harness.view().store().cloned().expect("there");
    let text = "deletion of system queue 'amq.everack.unroutable' in vhost '/' not allowed";
    harness.refused(
        super::harness::delete_queue(UNROUTABLE_STORE, super::harness::OWNER),
        (RefusalKind::AccessRefused, text),
    );
    let text = "queue name 'amq.everack.unroutable' contains reserved prefix 'amq.*'";
    harness.refused(
        Command::DeclareQueue(queue(UNROUTABLE_STORE)),
        (RefusalKind::AccessRefused, text),
    );
    assert!(!harness.done(Command::RemoveQueue { queue: store.id }).changed);
    harness.done(set(USER, "p", definition("", 0, &[("max-length", 1.into())])));
    let store = harness.view().store().cloned().expect("there");
    assert_eq!(store.settings.messages_max, Some(10), "policies do not reach it");
    harness.done(Command::LimitVhost {
        vhost: "/".into(),
        limit: VhostLimit::Queues,
        most: Some(1),
    });
    harness.queue("a");
}
