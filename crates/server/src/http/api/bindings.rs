//! Bindings. Who is not a monitor sees those of its virtual hosts.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use everack_broker::arguments::Arguments;
use everack_broker::catalog::{Binding, Destination, Exchange, Queue, VhostView};
use serde_json::{Value, json};

use super::{Answer, to_json};
use crate::http::Node;
use crate::http::caller::Caller;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/bindings", get(list))
        .route("/api/bindings/{vhost}", get(list_in))
}

async fn list(Extension(caller): Extension<Caller>) -> Answer {
    Ok(Json(caller.vhosts().flat_map(|vhost| show_all(&vhost)).collect()))
}

async fn list_in(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    Ok(Json(Value::Array(show_all(&caller.vhost(&vhost)?))))
}

/// Every queue's binding to the default exchange first, then the others, by source.
fn show_all(vhost: &VhostView) -> Vec<Value> {
    let mut queues: Vec<_> = vhost.queues().collect();
    queues.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    let mut exchanges: Vec<_> = vhost.exchanges().collect();
    exchanges.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    let mut shown: Vec<Value> = queues.into_iter().map(|queue| default_of(queue)).collect();
    for exchange in exchanges {
        shown.extend(explicit_from(vhost, exchange));
    }
    shown
}

/// The bindings that start at an exchange.
pub(super) fn from(vhost: &VhostView, exchange: &Exchange) -> Vec<Value> {
    if !exchange.name.is_empty() {
        return explicit_from(vhost, exchange);
    }
    let mut queues: Vec<_> = vhost.queues().collect();
    queues.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    queues.into_iter().map(|queue| default_of(queue)).collect()
}

fn explicit_from(vhost: &VhostView, exchange: &Exchange) -> Vec<Value> {
    let mut bindings: Vec<_> = exchange.bindings().collect();
    bindings.sort_unstable();
    bindings.into_iter().map(|binding| show(vhost, binding)).collect()
}

/// That every queue is bound to the default exchange by its name.
pub(super) fn default_of(queue: &Queue) -> Value {
    json!({
        "source": "",
        "vhost": to_json::name(&queue.vhost),
        "destination": to_json::name(&queue.name),
        "destination_type": "queue",
        "routing_key": to_json::name(&queue.name),
        "arguments": {},
        "properties_key": properties_key(&queue.name, &Arguments::default()),
    })
}

pub(super) fn show(vhost: &VhostView, binding: &Binding) -> Value {
    json!({
        "source": to_json::name(&binding.source),
        "vhost": to_json::name(vhost.name()),
        "destination": to_json::name(binding.destination.name()),
        "destination_type": match binding.destination {
            Destination::Queue(_) => "queue",
            Destination::Exchange(_) => "exchange",
        },
        "routing_key": to_json::name(&binding.routing_key),
        "arguments": to_json::arguments(&binding.arguments),
        "properties_key": properties_key(&binding.routing_key, &binding.arguments),
    })
}

/// What tells the bindings between two ends apart in a path: the key, escaped, and a digest of the arguments if there are any.
/// The digest is our own; it is stable, but another one than RabbitMQ's.
fn properties_key(routing_key: &[u8], arguments: &Arguments) -> String {
    let mut key = String::with_capacity(routing_key.len() + 24);
    for &byte in routing_key {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => key.push(char::from(byte)),
            other => key.push_str(&format!("%{other:02X}")),
        }
    }
    if !arguments.is_empty() {
        let digest = ring::digest::digest(
            &ring::digest::SHA256,
            to_json::arguments(arguments).to_string().as_bytes(),
        );
        key.push('~');
        key.extend(digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")));
    } else if key.is_empty() {
        key.push('~');
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_bindings_apart() {
        let none = Arguments::default();
        let one: Arguments = [("x", 1.into())].into_iter().collect();
        let two: Arguments = [("x", 2.into())].into_iter().collect();
        assert_eq!(properties_key(b"", &none), "~");
        assert_eq!(properties_key(b"a.b", &none), "a.b");
        assert_eq!(properties_key(b"a~b/c", &none), "a%7Eb%2Fc");
        assert_eq!(properties_key(b"k", &one), properties_key(b"k", &one));
        assert_ne!(properties_key(b"k", &one), properties_key(b"k", &two));
        assert!(properties_key(b"k", &one).starts_with("k~"));
    }
}
