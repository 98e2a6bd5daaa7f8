//! From a snapshot to a document, in RabbitMQ's format. Without what belongs to one connection, without what every vhost has, and in an order
//! that depends on nothing but the content.

use everack_amqp::settings::RABBITMQ_VERSION;
use everack_broker::catalog::{Destination, Exchange, PolicyKind, Queue, Snapshot, VhostView};
use serde_json::{Map, Value, json};

use super::super::{parameters, permissions, policies, to_json, users};

/// Everything.
pub(super) fn of_all(catalog: &Snapshot) -> Value {
    let vhosts: Vec<VhostView> = catalog.vhosts().collect();
    let each = |show: fn(&VhostView) -> Vec<Value>| vhosts.iter().flat_map(show).collect::<Value>();
    json!({
        "rabbit_version": RABBITMQ_VERSION,
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Everack",
        "product_version": env!("CARGO_PKG_VERSION"),
        "users": catalog.users().map(|user| users::show(user)).collect::<Value>(),
        "vhosts": vhosts.iter().map(vhost).collect::<Value>(),
        "permissions": catalog.all_permissions().map(|held| permissions::show(held)).collect::<Value>(),
        "topic_permissions": catalog.topic_permissions().map(|held| permissions::show_topic(held)).collect::<Value>(),
        "parameters": each(parameters::all_in),
        "global_parameters": parameters::all_global(catalog).collect::<Value>(),
        "policies": each(policies_of),
        "queues": each(queues),
        "exchanges": each(exchanges),
        "bindings": each(bindings),
    })
}

/// What is in one vhost; things do not name it.
pub(super) fn of_vhost(view: &VhostView) -> Value {
    let nameless = |mut values: Vec<Value>| {
        for value in &mut values {
            value.as_object_mut().map(|fields| fields.remove("vhost"));
        }
        Value::Array(values)
    };
    json!({
        "rabbit_version": RABBITMQ_VERSION,
        "parameters": parameters::all_in(view),
        "policies": policies_of(view),
        "queues": nameless(queues(view)),
        "exchanges": nameless(exchanges(view)),
        "bindings": nameless(bindings(view)),
    })
}

/// What was never said of a vhost is not said here.
fn vhost(view: &VhostView) -> Value {
    let mut shown = json!({ "name": to_json::name(view.name()) });
    let mut metadata = Map::new();
    let description = view.description();
    if !description.text.is_empty() || !description.tags.is_empty() {
        metadata.insert("description".to_owned(), json!(description.text));
        metadata.insert("tags".to_owned(), json!(description.tags));
    }
    let kind = view.default_queue_type();
    if kind != Default::default() {
        metadata.insert("default_queue_type".to_owned(), json!(kind.name()));
    }
    if let (false, Value::Object(fields)) = (metadata.is_empty(), &mut shown) {
        fields.extend(metadata.clone());
        fields.insert("metadata".to_owned(), Value::Object(metadata));
    }
    shown
}

fn policies_of(view: &VhostView) -> Vec<Value> {
    let policies = view.policies().filter(|policy| policy.kind == PolicyKind::User);
    policies.map(|policy| policies::show(view, policy)).collect()
}

fn queues(view: &VhostView) -> Vec<Value> {
    let mut queues: Vec<&Queue> = view.queues().map(|queue| &**queue).collect();
    queues.retain(|queue| !queue.is_exclusive());
    queues.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    let shown = queues.into_iter().map(|queue| {
        json!({
            "name": to_json::name(&queue.name),
            "vhost": to_json::name(view.name()),
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "arguments": to_json::arguments(&queue.arguments),
        })
    });
    shown.collect()
}

/// Those that not every vhost has.
fn exchanges(view: &VhostView) -> Vec<Value> {
    let mut exchanges: Vec<&Exchange> = view.exchanges().map(|exchange| &**exchange).collect();
    exchanges.retain(|exchange| !exchange.name.is_empty() && !exchange.name.starts_with(b"amq."));
    exchanges.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    let shown = exchanges.into_iter().map(|exchange| {
        json!({
            "name": to_json::name(&exchange.name),
            "vhost": to_json::name(view.name()),
            "type": exchange.kind.to_string(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": to_json::arguments(&exchange.arguments),
        })
    });
    shown.collect()
}

fn bindings(view: &VhostView) -> Vec<Value> {
    let all = view.exchanges().flat_map(|exchange| exchange.bindings());
    let mut all: Vec<_> = all.collect();
    all.retain(|binding| match &binding.destination {
        Destination::Queue(name) => view.queue(name).is_some_and(|queue| !queue.is_exclusive()),
        Destination::Exchange(_) => true,
    });
    all.sort_unstable();
    let shown = all.into_iter().map(|binding| {
        json!({
            "source": to_json::name(&binding.source),
            "vhost": to_json::name(view.name()),
            "destination": to_json::name(binding.destination.name()),
            "destination_type": match binding.destination {
                Destination::Queue(_) => "queue",
                Destination::Exchange(_) => "exchange",
            },
            "routing_key": to_json::name(&binding.routing_key),
            "arguments": to_json::arguments(&binding.arguments),
        })
    });
    shown.collect()
}
