//! What is done about consumers that do not acknowledge: by the virtual host, by policies, by the operator, and after a restart.

use super::government::{OPERATOR, USER, definition, regulated, set};
use super::harness::Harness;
use crate::catalog::{Command, Guard, NoAckGuard};

#[test]
fn consumers_that_do_not_acknowledge_are_guarded_against() {
    let mut harness = Harness::new();
    harness.queue("a");
    harness.queue("b");
    let guard_of = |harness: &Harness, name: &str| {
        let queue = harness.view().queue(name.as_bytes()).cloned().expect("there");
        (
            queue.no_ack_guard(),
            queue.terms().retention.map(|kept| kept.millis),
        )
    };
    assert_eq!(guard_of(&harness, "a"), (Guard::Warn, None));
    let deny = || Command::GuardNoAck {
        vhost: "/".into(),
        guard: NoAckGuard {
            guard: Guard::Deny,
            ..NoAckGuard::default()
        },
    };
    let outcome = harness.done(deny());
    assert_eq!(regulated(&outcome), ["a", "b"]);
    assert!(!harness.done(deny()).changed);
    assert_eq!(guard_of(&harness, "a"), (Guard::Deny, None));
    let retain = [
        ("no-ack-guard", "retain".into()),
        ("no-ack-retention", 5000.into()),
    ];
    let outcome = harness.done(set(USER, "p", definition("^b$", 0, &retain)));
    assert_eq!(regulated(&outcome), ["b"]);
    assert_eq!(guard_of(&harness, "b"), (Guard::Retain, Some(5000)));
    assert_eq!(guard_of(&harness, "a"), (Guard::Deny, None));
    let restarted = Harness::restarted(harness.catalog.facts());
    assert_eq!(restarted.dump(), harness.dump());
    assert_eq!(guard_of(&restarted, "b"), (Guard::Retain, Some(5000)));
    // The operator's word stands.
    let deny = [("no-ack-guard", "deny".into())];
    harness.done(set(OPERATOR, "o", definition("^b$", 0, &deny)));
    assert_eq!(guard_of(&harness, "b"), (Guard::Deny, None));
}
