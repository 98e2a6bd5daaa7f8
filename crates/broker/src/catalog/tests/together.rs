//! Commands that stand or fall together.

use super::harness::{Harness, binding, queue};
use crate::catalog::{
    Catalog, Command, DeclareQueue, Description, Options, PolicyDefinition, PolicyKind, RefusalKind,
};

fn together(commands: Vec<Command>) -> Command {
    Command::Together { commands }
}

fn bind(source: &str, to: &str) -> Command {
    Command::Bind {
        vhost: "/".into(),
        binding: binding(source, "", to),
        connection: None,
    }
}

#[test]
fn all_are_carried_out_or_none() {
    let mut harness = Harness::new();
    let declare = || Command::DeclareQueue(queue("q"));
    let text = "no exchange 'nowhere' in vhost '/'";
    harness.refused(
        together(vec![declare(), bind("amq.fanout", "q"), bind("nowhere", "q")]),
        (RefusalKind::NotFound, text),
    );
    assert!(harness.view().queue(b"q").is_none());
    let first = harness.catalog.next_queue_id();
    let outcome = harness.done(together(vec![declare(), bind("amq.fanout", "q"), declare()]));
    assert_eq!(outcome.created_queues.len(), 1);
    assert_eq!(outcome.created_queues[0].id, first, "a refusal has used no id");
    let again = harness.done(together(vec![declare(), bind("amq.fanout", "q")]));
    assert!(!again.changed && again.facts.is_empty());
    assert!(!harness.done(together(Vec::new())).changed);
}

#[test]
fn facts_are_those_of_each_in_order() {
    let mut harness = Harness::new();
    let limit = PolicyDefinition {
        settings: [("max-length", 5.into())].into_iter().collect(),
        ..PolicyDefinition::default()
    };
    let outcome = harness.done(together(vec![
        Command::DeclareVhost { vhost: "v".into() },
        Command::DescribeVhost {
            vhost: "v".into(),
            description: Description {
                text: "for tests".into(),
                tags: vec!["a".into()],
            },
        },
        Command::DeclareQueue(DeclareQueue {
            vhost: "v".into(),
            ..queue("q")
        }),
        Command::SetPolicy {
            vhost: "v".into(),
            name: "p".into(),
            kind: PolicyKind::User,
            definition: limit,
        },
        Command::SetGlobalParameter {
            name: "cluster_name".into(),
            value: "\"c\"".into(),
        },
        Command::RememberDeclared {
            declared: "something".into(),
        },
    ]));
    assert_eq!(outcome.regulated_queues.len(), 1);
    let mut restarted = Catalog::new(Options {
        partitions: 3,
        hash_key: 7,
    });
    for fact in outcome.facts {
        restarted.replay(fact).expect("facts are in order");
    }
    let snapshot = restarted.snapshot();
    let view = snapshot.vhost(b"v").expect("declared");
    assert_eq!(view.description().text, "for tests");
    assert_eq!(snapshot.global_parameter(b"cluster_name"), Some("\"c\""));
    assert_eq!(snapshot.declared(), Some("something"));
    let queue = view.queue(b"q").expect("declared");
    assert_eq!(queue.governance.policy.as_deref(), Some(b"p".as_slice()));
}

#[test]
fn they_hold_no_others_of_their_kind() {
    let text = "commands that are carried out together cannot hold others";
    Harness::new().refused(
        together(vec![together(Vec::new())]),
        (RefusalKind::CommandInvalid, text),
    );
}
