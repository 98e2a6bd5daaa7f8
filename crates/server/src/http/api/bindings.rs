//! Bindings. Who is not a monitor sees those of its virtual hosts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use everack_broker::arguments::Arguments;
use everack_broker::catalog::{Binding, Command, Destination, Exchange, Queue, VhostView};
use everack_broker::name::Name;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Json, Written, exchanges, to_json};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/bindings", get(list))
        .route("/api/bindings/{vhost}", get(list_in))
        .route(
            "/api/bindings/{vhost}/e/{source}/{sort}/{destination}",
            get(list_between).post(bind),
        )
        .route(
            "/api/bindings/{vhost}/e/{source}/{sort}/{destination}/{key}",
            get(one).delete(unbind),
        )
}

/// The ends of bindings, as a path names them: `sort` is `q` for a queue, `e` for an exchange.
#[derive(Debug, Deserialize)]
struct Ends {
    vhost: String,
    source: String,
    sort: String,
    destination: String,
    key: Option<String>,
}

impl Ends {
    /// Both ends have to be there.
    fn find(&self, caller: &Caller) -> Result<(VhostView, Name, Destination), Refusal> {
        let vhost = caller.vhost(&self.vhost)?;
        let source = exchanges::name_of(&self.source);
        let destination = match self.sort.as_str() {
            "q" => Destination::Queue(Name::from(self.destination.as_str())),
            "e" => Destination::Exchange(exchanges::name_of(&self.destination)),
            _ => return Err(Refusal::NotFound),
        };
        let there = match &destination {
            Destination::Queue(name) => vhost.queue(name).is_some(),
            Destination::Exchange(name) => vhost.exchange(name).is_some(),
        };
        if there && vhost.exchange(&source).is_some() {
            Ok((vhost, source, destination))
        } else {
            Err(Refusal::NotFound)
        }
    }

    /// The binding that the path ends with.
    fn binding(&self, caller: &Caller) -> Result<(VhostView, Binding), Refusal> {
        let (vhost, source, destination) = self.find(caller)?;
        let wanted = self.key.as_deref().unwrap_or_default();
        let binding = between(&vhost, &source, &destination)
            .find(|binding| properties_key(&binding.routing_key, &binding.arguments) == wanted);
        Ok((vhost, binding.ok_or(Refusal::NotFound)?))
    }
}

fn between<'a>(
    vhost: &'a VhostView,
    source: &'a Name,
    destination: &'a Destination,
) -> impl Iterator<Item = Binding> + use<'a> {
    vhost
        .bindings_to(destination)
        .filter(move |binding| binding.source == *source)
}

async fn list_between(Extension(caller): Extension<Caller>, Path(ends): Path<Ends>) -> Answer {
    let (vhost, source, destination) = ends.find(&caller)?;
    if let (Destination::Queue(name), true) = (&destination, source.is_empty()) {
        let queue = vhost.queue(name).ok_or(Refusal::NotFound)?;
        return Ok(Json(json!([default_of(queue)])));
    }
    let found = between(&vhost, &source, &destination).map(|binding| show(&vhost, &binding));
    Ok(Json(found.collect()))
}

async fn one(Extension(caller): Extension<Caller>, Path(ends): Path<Ends>) -> Answer {
    let (vhost, binding) = ends.binding(&caller)?;
    Ok(Json(show(&vhost, &binding)))
}

/// Answers with the place of the binding, relative to that of its source.
async fn bind(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(ends): Path<Ends>,
    body: Body,
) -> Result<impl IntoResponse, Refusal> {
    let (vhost, source, destination) = ends.find(&caller)?;
    let binding = Binding {
        source,
        destination,
        routing_key: Name::from(body.text("routing_key")?.unwrap_or_default()),
        arguments: body.arguments()?,
    };
    let key = properties_key(&binding.routing_key, &binding.arguments);
    let errand = Errand::new(&node.engine, &caller);
    let command = Command::Bind {
        vhost: vhost.name().clone(),
        binding,
        connection: Some(errand.connection()),
    };
    errand.carry_out(command).await?;
    let place = format!(
        "{}/{}",
        escaped(ends.destination.as_bytes()),
        escaped(key.as_bytes())
    );
    Ok((StatusCode::CREATED, [(header::LOCATION, place)]))
}

async fn unbind(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(ends): Path<Ends>,
) -> Written {
    let (vhost, binding) = ends.binding(&caller)?;
    let errand = Errand::new(&node.engine, &caller);
    let command = Command::Unbind {
        vhost: vhost.name().clone(),
        binding,
        connection: Some(errand.connection()),
    };
    errand.carry_out(command).await?;
    Ok(StatusCode::NO_CONTENT)
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
    bindings.iter().map(|binding| show(vhost, binding)).collect()
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
    let mut key = escaped(routing_key);
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

/// As a part of a path.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 24);
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
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
