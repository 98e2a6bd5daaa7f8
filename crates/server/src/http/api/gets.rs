//! Gets messages out of a queue, as a client of the caller would.
//!
//! Every message is gotten to be acknowledged, and settled when all are here: whoever asks and is cut off in between loses
//! nothing, and the queue's guard against consumers that do not acknowledge has nothing to say.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::post;
use everack_amqp::wire::method::{Method, basic};
use everack_amqp::wire::primitive::ShortString;
use serde_json::{Value, json};

use super::messages::{self, Encoding};
use super::{Answer, Json};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::client::{Client, Ended, Heard, Message};
use crate::http::refusal::Refusal;

/// Most messages of an answer.
const MESSAGES_MAX: u64 = 10_000;
/// Bytes of payload in an answer, after which it ends; one message may go beyond.
const SHOWN_BYTES_MAX: usize = 16 << 20;
/// Bytes of bodies that are read for an answer, whatever is shown of them; one message may go beyond.
const READ_BYTES_MAX: usize = 128 << 20;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/queues/{vhost}/{name}/get", post(get))
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    count: u64,
    fate: Fate,
    encoding: Encoding,
    /// Most bytes of each payload that are shown.
    truncate: usize,
}

/// What becomes of messages that have been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The channel goes, and they are back at their places.
    Return,
    /// They are acknowledged.
    Acknowledge,
    /// They are rejected one by one.
    Reject { requeue: bool },
}

async fn get(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let vhost = caller.enter(&vhost)?;
    let terms = Terms::of(&body)?;
    let queue = ShortString::new(&name).map_err(|_| Refusal::NotFound)?;
    let mut client = Client::open(&node, &caller, vhost.name()).await?;
    let (shown, tags) = gets(&mut client, queue, terms)
        .await
        .map_err(Ended::into_refusal)?;
    settle(&mut client, terms.fate, &tags);
    Ok(Json(Value::Array(shown)))
}

/// The messages as they are shown, and their delivery tags.
async fn gets(
    client: &mut Client<'_>,
    queue: ShortString,
    terms: Terms,
) -> Result<(Vec<Value>, Vec<u64>), Ended> {
    let (mut shown, mut tags) = (Vec::new(), Vec::new());
    let (mut shown_bytes, mut read_bytes) = (0, 0);
    while (shown.len() as u64) < terms.count && shown_bytes < SHOWN_BYTES_MAX && read_bytes < READ_BYTES_MAX {
        client.say(basic::Get {
            queue: queue.clone(),
            no_ack: false,
        });
        match client.hear().await? {
            Heard::Message(Message {
                method: Method::BasicGetOk(got),
                properties,
                body,
            }) => {
                tags.push(got.delivery_tag);
                read_bytes += body.len();
                shown_bytes += body.len().min(terms.truncate);
                shown.push(show(&got, &properties, &body, terms));
            }
            _ => break,
        }
    }
    Ok((shown, tags))
}

fn settle(client: &mut Client<'_>, fate: Fate, tags: &[u64]) {
    match fate {
        Fate::Return => return,
        Fate::Acknowledge => {
            let Some(&delivery_tag) = tags.last() else { return };
            client.say(basic::Ack {
                delivery_tag,
                multiple: true,
            });
        }
        Fate::Reject { requeue } => {
            for &delivery_tag in tags {
                client.say(basic::Reject {
                    delivery_tag,
                    requeue,
                });
            }
        }
    }
    client.flush();
}

fn show(got: &basic::GetOk, properties: &[u8], body: &[u8], terms: Terms) -> Value {
    let piece = &body[..body.len().min(terms.truncate)];
    let (payload, encoding) = messages::payload(piece, terms.encoding);
    json!({
        "payload_bytes": body.len(),
        "redelivered": got.redelivered,
        "exchange": got.exchange.to_string(),
        "routing_key": got.routing_key.to_string(),
        "message_count": got.message_count,
        "properties": messages::properties_or_nothing(properties),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

impl Terms {
    fn of(body: &Body) -> Result<Self, Refusal> {
        body.require_by_line(&["ackmode", "count", "encoding"])?;
        let fate = match body.text("ackmode")? {
            Some("ack_requeue_true") => Fate::Return,
            Some("ack_requeue_false") => Fate::Acknowledge,
            Some("reject_requeue_true") => Fate::Reject { requeue: true },
            Some("reject_requeue_false") => Fate::Reject { requeue: false },
            _ => {
                let modes =
                    "ack_requeue_true, ack_requeue_false, reject_requeue_true or reject_requeue_false";
                return Err(Refusal::Bad(format!("Unsupported ackmode. Please use {modes}.")));
            }
        };
        let encoding = match body.text("encoding")? {
            Some("auto") => Encoding::Auto,
            Some("base64") => Encoding::Base64,
            _ => return Err(Refusal::bad("Unsupported encoding. Please use auto or base64.")),
        };
        let truncate = body.whole("truncate")?.unwrap_or(u64::MAX);
        Ok(Self {
            count: body.whole("count")?.unwrap_or_default().min(MESSAGES_MAX),
            fate,
            encoding,
            truncate: usize::try_from(truncate).unwrap_or(usize::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_rabbitmq_does() {
        let check = |text: &str, expected: Result<Terms, Refusal>| {
            let body = Body::parse(text.as_bytes()).expect("it is an object");
            assert_eq!(Terms::of(&body), expected, "{text}");
        };
        let terms = Terms {
            count: 2,
            fate: Fate::Return,
            encoding: Encoding::Auto,
            truncate: usize::MAX,
        };
        check(
            r#"{"count":2,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
            Ok(terms),
        );
        let other = Terms {
            fate: Fate::Reject { requeue: false },
            encoding: Encoding::Base64,
            truncate: 7,
            ..terms
        };
        check(
            r#"{"count":"2","ackmode":"reject_requeue_false","encoding":"base64","truncate":7}"#,
            Ok(other),
        );
        let many = Terms {
            count: MESSAGES_MAX,
            ..terms
        };
        check(
            r#"{"count":99999999,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
            Ok(many),
        );
        let value = |value: &str| Err(Refusal::Value("not_integer", value.to_owned()));
        check(
            r#"{"count":"x","ackmode":"ack_requeue_true","encoding":"auto"}"#,
            value("x"),
        );
        check(
            r#"{"count":-1,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
            value("-1"),
        );
        check(
            r#"{"count":1}"#,
            Err(Refusal::bad("[{key_missing,ackmode},\n {key_missing,encoding}]")),
        );
    }
}
