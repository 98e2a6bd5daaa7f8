//! The exchange that holds dead letters of one family back on their way, with what it leads to. It is declared as a configuration would be: with
//! every start, before anybody connects.

use everack_broker::arguments::Value;
use everack_broker::catalog::{Binding, Command, DeclareExchange, DeclareQueue, Destination};
use everack_broker::name::Name;
use everack_node::catalog_service::CatalogRequest;

use crate::book::family;
use crate::node::Core;

/// An exchange of type `x-delayed-message`.
pub(super) const LATER: &str = "later";

pub(super) fn declare(core: &Core) {
    let vhost = Name::from("/");
    let exchange = DeclareExchange {
        vhost: vhost.clone(),
        name: LATER.into(),
        kind: "x-delayed-message".into(),
        durable: true,
        arguments: [("x-delayed-type", Value::from("direct"))].into_iter().collect(),
        ..DeclareExchange::default()
    };
    let mut commands = vec![Command::DeclareExchange(exchange)];
    for heir in family::held_back_heirs() {
        let queue = DeclareQueue {
            vhost: vhost.clone(),
            name: heir.into(),
            durable: true,
            ..DeclareQueue::default()
        };
        commands.push(Command::DeclareQueue(queue));
        commands.push(Command::Bind {
            vhost: vhost.clone(),
            binding: Binding {
                source: LATER.into(),
                destination: Destination::Queue(heir.into()),
                routing_key: heir.into(),
                arguments: Default::default(),
            },
            connection: None,
        });
    }
    for command in commands {
        core.post_catalog(CatalogRequest::Command {
            command,
            reply: None,
            fate: None,
        });
    }
}
