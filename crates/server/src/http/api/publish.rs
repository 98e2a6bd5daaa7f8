//! Publishes one message, as a client of the caller would: mandatory, on a channel that confirms. The answer says whether it was
//! routed; it comes when every durable queue has the message on the disk.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest as _, Path, Request, State};
use axum::routing::post;
use base64::Engine as _;
use everack_amqp::wire::method::{Method, basic, confirm};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value as WireValue};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::exchanges::name_of;
use super::{Answer, Json};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::client::{Client, Heard};
use crate::http::refusal::Refusal;

/// Most bytes of a request, as in RabbitMQ.
const REQUEST_BYTES_MAX: usize = 8_000_000;
/// Requests whose body is in memory, at a time. Each takes about four times its body.
static PLACES: Semaphore = Semaphore::const_new(16);
/// How long a body may take to come: it holds a place.
const BODY_MAX: Duration = Duration::from_secs(10);
/// What a message is made of.
const FIELDS: [&str; 4] = ["routing_key", "properties", "payload", "payload_encoding"];

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/exchanges/{vhost}/{name}/publish", post(publish))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
}

async fn publish(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let vhost = caller.enter(&vhost)?;
    let place = PLACES.acquire().await;
    let body = tokio::time::timeout(BODY_MAX, Body::from_request(request, &node)).await;
    let late = |_| Refusal::Busy("the body took too long to come");
    let body = body.map_err(late)?.map_err(|refusal| match refusal {
        Refusal::TooLarge(_) => Refusal::bad("Exceeded HTTP request body size limit"),
        other => other,
    })?;
    body.require_by_line(&FIELDS)?;
    let payload = payload(&body)?;
    let mut properties = Vec::new();
    self::properties(body.get("properties"))?.encode(&mut properties);
    let method = basic::Publish {
        exchange: ShortString::new(&*name_of(&name)).map_err(|_| Refusal::NotFound)?,
        routing_key: short("routing_key", body.text("routing_key")?.unwrap_or_default())?,
        mandatory: true,
        immediate: false,
    };
    if node.engine.shared.alarms.any() {
        return Err(Refusal::Busy("publishers are held back: memory or disk is short"));
    }
    let mut client = Client::open(&node, &caller, vhost.name()).await?;
    client.say(confirm::Select { nowait: false });
    client.publish(method, &properties, &payload);
    drop((body, payload, place));
    let routed = is_routed(&mut client).await?;
    Ok(Json(json!({ "routed": routed })))
}

/// Waits until the broker answers for the message.
async fn is_routed(client: &mut Client<'_>) -> Result<bool, Refusal> {
    let mut routed = true;
    loop {
        match client.hear().await.map_err(|ended| ended.into_bad_request())? {
            Heard::Message(_) => routed = false,
            Heard::Method(Method::BasicAck(_)) => return Ok(routed),
            Heard::Method(Method::BasicNack(_)) => {
                let text = "rejected Unable to publish message. Check queue limits.";
                return Err(Refusal::bad(text));
            }
            Heard::Method(_) => (),
        }
    }
}

fn payload(body: &Body) -> Result<Vec<u8>, Refusal> {
    let Some(Value::String(payload)) = body.get("payload") else {
        return Err(Refusal::bad("payload_not_string"));
    };
    match body.text("payload_encoding")?.unwrap_or_default() {
        "string" => Ok(payload.as_bytes().to_vec()),
        "base64" => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(payload);
            decoded.map_err(|_| Refusal::Value("not_base64", payload.clone()))
        }
        other => Err(Refusal::Value("unsupported_encoding", other.to_owned())),
    }
}

/// The properties that an object names. Others that it names are passed over, as RabbitMQ does.
fn properties(given: Option<&Value>) -> Result<Properties, Refusal> {
    let none = Map::new();
    let given = match given {
        None => &none,
        // Some clients have one type for empty lists and empty objects.
        Some(Value::Array(values)) if values.is_empty() => &none,
        Some(Value::Object(given)) => given,
        Some(_) => return Err(Refusal::bad("properties is not an object")),
    };
    let text = |name: &'static str| match given.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => short(name, text).map(Some),
        Some(_) => Err(Refusal::Value("not_string", name.to_owned())),
    };
    let number = |name: &'static str| match given.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
        Some(_) => Err(Refusal::Value("not_int", name.to_owned())),
    };
    let octet = |name: &'static str| {
        let octet = number(name)?.map(u8::try_from).transpose();
        octet.map_err(|_| Refusal::Bad(format!("{name} is more than 255")))
    };
    Ok(Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers(given.get("headers"))?,
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

fn headers(given: Option<&Value>) -> Result<Option<Table>, Refusal> {
    match given {
        None => Ok(None),
        Some(Value::Array(values)) if values.is_empty() => Ok(Some(Table::new())),
        Some(Value::Object(headers)) => table(headers).map(Some),
        Some(_) => Err(Refusal::bad("headers is not an object")),
    }
}

/// An object as RabbitMQ makes a table of it.
fn table(object: &Map<String, Value>) -> Result<Table, Refusal> {
    let mut table = Table::new();
    for (name, value) in object {
        table.push(short("the name of a header", name)?, wire_value(value)?);
    }
    Ok(table)
}

fn wire_value(value: &Value) -> Result<WireValue, Refusal> {
    Ok(match value {
        Value::Null => return Err(Refusal::bad("null_not_allowed")),
        Value::Bool(truth) => WireValue::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => WireValue::I64(whole),
            (None, Some(real)) => WireValue::F64(real),
            (None, None) => return Err(Refusal::Value("not_int", number.to_string())),
        },
        Value::String(text) => WireValue::String(text.clone().into_bytes()),
        Value::Array(values) => WireValue::Array(values.iter().map(wire_value).collect::<Result<_, _>>()?),
        Value::Object(object) => WireValue::Table(table(object)?),
    })
}

fn short(what: &str, text: &str) -> Result<ShortString, Refusal> {
    ShortString::new(text).map_err(|_| Refusal::Bad(format!("{what} is longer than 255 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Properties, Refusal> {
        let value: Value = serde_json::from_str(text).expect("it is JSON");
        properties(Some(&value))
    }

    #[test]
    fn properties_have_types() {
        let text = ShortString::shortened;
        let all = read(
            r#"{"content_type":"a","content_encoding":"b","delivery_mode":2,"priority":3,"correlation_id":"c","reply_to":"d",
            "expiration":"5","message_id":"e","timestamp":9,"type":"f","user_id":"g","app_id":"h","cluster_id":"i","other":1}"#,
        );
        let expected = Properties {
            content_type: Some(text("a")),
            content_encoding: Some(text("b")),
            headers: None,
            delivery_mode: Some(2),
            priority: Some(3),
            correlation_id: Some(text("c")),
            reply_to: Some(text("d")),
            expiration: Some(text("5")),
            message_id: Some(text("e")),
            timestamp: Some(9),
            kind: Some(text("f")),
            user_id: Some(text("g")),
            app_id: Some(text("h")),
            cluster_id: Some(text("i")),
        };
        assert_eq!(all, Ok(expected));
        assert_eq!(read("{}"), Ok(Properties::default()));
        assert_eq!(read("[]"), Ok(Properties::default()));
    }

    #[test]
    fn headers_keep_their_types() {
        let read = read(r#"{"headers":{"a":1,"b":1.5,"c":true,"d":"x","e":{"f":[1,"2"]}}}"#);
        let inner = WireValue::Array(vec![WireValue::I64(1), WireValue::String(b"2".to_vec())]);
        let mut expected = Table::new()
            .with("a", WireValue::I64(1))
            .with("b", WireValue::F64(1.5));
        expected = expected
            .with("c", true)
            .with("d", "x")
            .with("e", Table::new().with("f", inner));
        assert_eq!(read.map(|read| read.headers), Ok(Some(expected)));
    }

    #[test]
    fn what_is_no_property_is_refused() {
        let value = |what, value: &str| Refusal::Value(what, value.to_owned());
        for (text, expected) in [
            ("1", Refusal::bad("properties is not an object")),
            (r#"{"priority":"x"}"#, value("not_int", "priority")),
            (r#"{"timestamp":-1}"#, value("not_int", "timestamp")),
            (r#"{"priority":256}"#, Refusal::bad("priority is more than 255")),
            (r#"{"message_id":5}"#, value("not_string", "message_id")),
            (r#"{"headers":5}"#, Refusal::bad("headers is not an object")),
            (r#"{"headers":{"a":null}}"#, Refusal::bad("null_not_allowed")),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
        }
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(256));
        assert!(read(&long).is_err());
    }
}
