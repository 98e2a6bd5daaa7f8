//! What a policy says takes effect on the queues that are there, and is in force again after a restart.

use std::rc::Rc;

use everack_broker::catalog::{Command, PolicyDefinition, PolicyKind};
use everack_node::request::Request;

use crate::desk::{Desk, batch};

fn set_length(desk: &Desk, most: i64) {
    desk.command(Command::SetPolicy {
        vhost: "/".into(),
        name: "bounded".into(),
        kind: PolicyKind::User,
        definition: PolicyDefinition {
            pattern: "^q".to_owned(),
            settings: [("max-length", most.into())].into_iter().collect(),
            ..PolicyDefinition::default()
        },
    });
    desk.commit();
}

fn clear(desk: &Desk) {
    desk.command(Command::ClearPolicy {
        vhost: "/".into(),
        name: "bounded".into(),
        kind: PolicyKind::User,
    });
    desk.commit();
}

/// How many messages of three that are published stay in `q`, which is empty afterwards.
fn stay(desk: &Rc<Desk>) -> u64 {
    let queue = desk.queue("q").expect("it is there");
    desk.publish(batch(&[b"1", b"2", b"3"]), &[&queue]);
    desk.commit();
    let ready = desk.ready(&queue);
    desk.answer(&queue, |reply| Request::Purge {
        queue: queue.id,
        reply,
    });
    desk.commit();
    ready
}

#[test]
fn a_policy_governs_a_queue_that_is_there_from_when_it_is_durable() {
    let desk = Desk::new();
    desk.declare("q");
    assert_eq!(stay(&desk), 3);
    set_length(&desk, 2);
    assert_eq!(stay(&desk), 2);
    set_length(&desk, 1);
    assert_eq!(stay(&desk), 1);
    let desk = desk.restart();
    assert_eq!(stay(&desk), 1);
    clear(&desk);
    assert_eq!(stay(&desk), 3);
}

#[test]
fn a_policy_shortens_what_is_there() {
    let desk = Desk::new();
    desk.declare("q");
    let queue = desk.queue("q").expect("it is there");
    desk.publish(batch(&[b"1", b"2", b"3"]), &[&queue]);
    desk.commit();
    set_length(&desk, 1);
    assert_eq!(desk.ready(&queue), 1);
}
