//! What seeds have found, once: each as small as it could be made, so that it stays found when histories change.

use everack_amqp::wire::method::{Method, queue};
use everack_simulator::client::{Client, short};
use everack_simulator::node::Node;
use everack_storage::disk::Memory;

fn declare(client: &mut Client, name: &str) -> bool {
    client.say(queue::Declare {
        queue: short(name),
        durable: true,
        ..queue::Declare::default()
    });
    client.run();
    client.answered(|method| matches!(method, Method::QueueDeclareOk(_)))
}

/// Seed 93 of the first runs. A declaration waits for room, in a life in which nothing of the topology has become durable yet; the checkpoint
/// beside it covered nothing at all, and the assertion on the cursors ended the process.
#[test]
fn a_checkpoint_beside_a_declaration_that_waits_for_room() {
    let disk = Memory::new(1);
    let node = Node::start(&disk).expect("an empty disk will do");
    assert!(declare(&mut Client::connect(node.core()), "orders"));
    drop(node);
    let disk = disk.kill();
    let mut node = Node::start(&disk).expect("everything is there");
    disk.set_capacity(Some(disk.used_bytes()));
    let mut publisher = Client::connect(node.core());
    for _ in 0..8 {
        publisher.publish("", "orders", &[7; 12_000]);
        publisher.run();
    }
    let mut client = Client::connect(node.core());
    assert!(!declare(&mut client, "late"), "there is no room for it");
    assert!(node.look_after(), "a checkpoint has its own reserve");
    disk.set_capacity(None);
    node.prepare();
    client.run();
    assert!(client.answered(|method| matches!(method, Method::QueueDeclareOk(_))));
}
