//! The topology machine: what is answered and published when.

use everack_broker::catalog::Command;
use everack_broker::name::Name;

use crate::desk::{Desk, declare_queue};

#[test]
fn what_is_published_is_durable() {
    let desk = Desk::new();
    desk.declare("old");
    desk.command(declare_queue("new"));
    desk.command(Command::DeleteQueue {
        vhost: Name::from("/"),
        name: Name::from("old"),
        connection: None,
    });
    assert!(desk.queue("new").is_none(), "not written yet");
    desk.write(1);
    desk.tell();
    assert!(desk.queue("new").is_some(), "durable");
    assert!(
        desk.queue("old").is_some(),
        "its deletion is not durable: a crash brings it back"
    );
    desk.commit();
    assert!(desk.queue("old").is_none());
}
