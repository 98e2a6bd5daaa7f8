//! Messages as they are listed: what they are, and a piece of their bodies.

use base64::Engine as _;
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_broker::ids::Seq;
use everack_broker::partition::{Aside, Death, Looked};
use everack_node::dead_letters::headers;
use everack_node::messages::Messages;
use everack_node::report::ListedMessages;
use everack_node::translate::from_amqp;
use serde_json::{Map, Value, json};

use super::search::cursor_json;
use super::to_json;

/// What the queue knows.
pub(super) fn about(listed: &ListedMessages, id: Seq) -> Map<String, Value> {
    let Looked {
        at,
        marks,
        why,
        death,
        since,
        ..
    } = listed.looked;
    let deadline = listed
        .deadlines
        .iter()
        .find(|(first, end, _)| *first <= id && id < *end)
        .map(|(_, _, at)| at.0);
    let (died_of, retained_until, expires) = match why {
        Some(Aside::Parked(death)) => (Some(death), None, None),
        Some(Aside::Retained) => (None, deadline, None),
        None => (death, None, deadline),
    };
    let known = json!({
        "id": id.0,
        "reason": died_of.map(reason),
        "consumer": (at.holder.0 > 0).then_some(at.holder.0),
        "delivery": (at.holder.0 > 0).then(|| cursor_json(Some(at.plus(id.0 - listed.looked.run.first.0)))),
        "held_since": since.map(|since| since.0),
        "retained_until": retained_until,
        "expires": expires,
        "deliveries": marks.deliveries,
        "failures": marks.failures,
    });
    let Value::Object(mut known) = known else {
        unreachable!("an object was just made")
    };
    known.retain(|_, value| !value.is_null());
    known
}

/// As headers of dead letters name it.
fn reason(death: Death) -> String {
    String::from_utf8_lossy(headers::reason(death)).into_owned()
}

/// What the message says of itself, with RabbitMQ's names.
pub(super) fn describe(shown: &mut Map<String, Value>, messages: &Messages, index: usize, piece: &[u8]) {
    let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    shown.insert("exchange".to_owned(), text(messages.exchange(index)));
    shown.insert("routing_key".to_owned(), text(messages.routing_key(index)));
    shown.insert("properties".to_owned(), properties(messages.properties(index)));
    shown.insert("payload_bytes".to_owned(), json!(messages.body(index).len()));
    let (payload, encoding) = payload(piece, Encoding::Auto);
    shown.insert("payload".to_owned(), Value::String(payload));
    shown.insert("payload_encoding".to_owned(), json!(encoding));
}

/// How bodies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text where they are.
    Auto,
    /// All alike.
    Base64,
}

/// A piece of a body, and the name of its encoding.
pub(super) fn payload(piece: &[u8], encoding: Encoding) -> (String, &'static str) {
    match std::str::from_utf8(piece) {
        Ok(text) if encoding == Encoding::Auto => (text.to_owned(), "string"),
        _ => (base64::engine::general_purpose::STANDARD.encode(piece), "base64"),
    }
}

/// Properties as RabbitMQ shows those of a message that was gotten: an empty list where there are none.
pub(super) fn properties_or_nothing(bytes: &[u8]) -> Value {
    let shown = properties(bytes);
    match shown.as_object() {
        Some(object) if object.is_empty() => json!([]),
        _ => shown,
    }
}

fn properties(bytes: &[u8]) -> Value {
    let properties = Properties::decode(bytes).unwrap_or_default();
    let short = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let headers = properties.headers.as_ref();
    let shown = json!({
        "content_type": short(&properties.content_type),
        "content_encoding": short(&properties.content_encoding),
        "headers": headers.map(|headers| to_json::arguments(&from_amqp::arguments(headers))),
        "delivery_mode": properties.delivery_mode,
        "priority": properties.priority,
        "correlation_id": short(&properties.correlation_id),
        "reply_to": short(&properties.reply_to),
        "expiration": short(&properties.expiration),
        "message_id": short(&properties.message_id),
        "timestamp": properties.timestamp,
        "type": short(&properties.kind),
        "user_id": short(&properties.user_id),
        "app_id": short(&properties.app_id),
        "cluster_id": short(&properties.cluster_id),
    });
    let Value::Object(mut shown) = shown else {
        unreachable!("an object was just made")
    };
    shown.retain(|_, value| !value.is_null());
    Value::Object(shown)
}
