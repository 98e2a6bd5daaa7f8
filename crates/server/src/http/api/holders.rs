//! Who holds messages of a queue, since when, and how it gets on; and one delivery taken from who holds it, so that another consumer
//! gets it.
//!
//! | path | what |
//! |---|---|
//! | `GET .../queues/{vhost}/{name}/holders` | consumers, and whoever else holds messages: cancelled ones, `basic.get` |
//! | `POST .../queues/{vhost}/{name}/messages/{id}/release` | `{"delivery": "1-0", "preview": true}`, both may be left out |
//!
//! Who releases needs to be allowed to read from the queue, as for purging it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::routing::{get, post};
use everack_broker::catalog::{Access, Queue};
use everack_broker::ids::{ConsumerId, Seq};
use everack_broker::partition::{Cursor, HolderKind, Holding};
use everack_node::report::{ChannelReport, ConsumerReport, HandedOn};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::search::{cursor, cursor_json};
use super::{Answer, Json, channels, consumers, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected};
use crate::http::refusal::Refusal;

/// Most bytes of an order.
const ORDER_BYTES_MAX: usize = 1 << 10;

pub(super) fn routes() -> Router<Arc<Node>> {
    let queue = "/api/everack/queues/{vhost}/{name}";
    Router::new()
        .route(&format!("{queue}/holders"), get(list))
        .route(&format!("{queue}/messages/{{id}}/release"), post(release))
        .layer(DefaultBodyLimit::max(ORDER_BYTES_MAX))
}

async fn list(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Answer {
    let queue = caller.queue(&vhost, &name)?;
    let holders = inquiry::holders(&node.engine, std::iter::once(&queue)).await?;
    let people = People::find(&node).await?;
    let shown = holders.in_order().into_iter().map(|(_, holder)| {
        let mut shown = people.name(&node, holder.consumer);
        shown.insert("kind".to_owned(), json!(kind(holder.kind)));
        shown.insert("ack_required".to_owned(), json!(!holder.no_ack));
        shown.extend(consumers::progress(&node, &holder));
        Value::Object(shown)
    });
    Ok(Json(shown.collect()))
}

fn kind(kind: HolderKind) -> &'static str {
    match kind {
        HolderKind::Consumer => "consumer",
        HolderKind::Cancelled => "cancelled",
        HolderKind::Getter => "get",
    }
}

/// What is ordered about a delivery.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The delivery that is meant, as lists of messages name it.
    delivery: Option<String>,
    #[serde(default)]
    preview: bool,
}

impl Order {
    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let parsed = serde_json::from_slice(bytes);
        parsed.map_err(|error| Refusal::Bad(format!("the order cannot be read: {error}")))
    }
}

async fn release(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name, id)): Path<(String, String, String)>,
    sent: Result<Bytes, BytesRejection>,
) -> Answer {
    let queue = caller.queue(&vhost, &name)?;
    caller.require_queue(Access::Read, &queue)?;
    let order = Order::parse(&sent.map_err(|_| Refusal::TooLarge(ORDER_BYTES_MAX))?)?;
    let id = id
        .parse()
        .map_err(|_| Refusal::Bad(format!("not the id of a message: {id}")))?;
    let delivery = order.delivery.as_deref().map(cursor).transpose()?;
    let fate = inquiry::hand_on(&node.engine, &queue, Seq(id), delivery, order.preview).await?;
    let (from, to) = match fate {
        HandedOn::NotHeld => return Err(Refusal::Missing(format!("nobody holds message {id}"))),
        HandedOn::Elsewhere(_) => return Err(Refusal::Conflict("the message is with somebody else by now")),
        HandedOn::Committing(_) => {
            return Err(Refusal::Conflict(
                "a transaction that settles the message is being committed",
            ));
        }
        HandedOn::Preview(from) => (from, None),
        HandedOn::Taken { from, to } => (from, to),
    };
    let people = People::find(&node).await?;
    if !order.preview {
        told(&caller, &queue, id, &from, to.as_ref());
    }
    let show = |holding: Holding| holding_json(&node, &people, holding);
    Ok(Json(json!({
        "vhost": to_json::name(&queue.vhost),
        "queue": to_json::name(&queue.name),
        "id": id,
        "preview": order.preview,
        "from": show(from),
        "to": to.map(show),
    })))
}

fn told(caller: &Caller, queue: &Queue, id: u64, from: &Holding, to: Option<&Holding>) {
    tracing::info!(
        user = %caller.user.name,
        queue = %queue.name,
        vhost = %queue.vhost,
        message = id,
        from = %from.consumer,
        to = ?to.map(|to| to.consumer.0),
        "a delivery has been taken from its consumer"
    );
}

fn holding_json(node: &Node, people: &People, holding: Holding) -> Value {
    let delivery = Cursor {
        holder: holding.consumer,
        number: holding.delivery,
    };
    let mut shown = people.name(node, holding.consumer);
    shown.insert("delivery".to_owned(), cursor_json(Some(delivery)));
    shown.insert(
        "held_seconds".to_owned(),
        json!(consumers::age_seconds(node, holding.at)),
    );
    Value::Object(shown)
}

/// Says of messages that are held who holds them, and for how long.
pub(super) async fn name_all(node: &Node, messages: &mut [Value]) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Ok(());
    }
    let people = People::find(node).await?;
    for message in messages {
        let holder = ConsumerId(message["consumer"].as_u64().unwrap_or_default());
        let since = message["held_since"].as_u64().map(Into::into);
        message["held_by"] = Value::Object(people.name(node, holder));
        message["held_seconds"] = json!(consumers::age_seconds(node, since));
    }
    Ok(())
}

/// All that are connected, to tell who somebody is that holds messages.
struct People {
    connections: Vec<Connected>,
    /// Connection and channel, by their places in the lists.
    by_holder: HashMap<ConsumerId, (usize, usize)>,
}

impl People {
    async fn find(node: &Node) -> Result<Self, Refusal> {
        let connections = inquiry::connections(&node.engine).await?;
        let mut by_holder = HashMap::new();
        for (at, connected) in connections.iter().enumerate() {
            for (which, channel) in connected.session.channels.iter().enumerate() {
                by_holder.extend(channel.holders.iter().map(|&holder| (holder, (at, which))));
            }
        }
        Ok(Self {
            connections,
            by_holder,
        })
    }

    fn of(&self, holder: ConsumerId) -> Option<(&Connected, &ChannelReport, Option<&ConsumerReport>)> {
        let &(at, which) = self.by_holder.get(&holder)?;
        let connected = &self.connections[at];
        let channel = &connected.session.channels[which];
        let consumer = channel.consumers.iter().find(|consumer| consumer.id == holder);
        Some((connected, channel, consumer))
    }

    /// Its id, its tag, if it is a consumer that goes on, and its channel, unless that has gone in between.
    fn name(&self, node: &Node, holder: ConsumerId) -> Map<String, Value> {
        let found = self.of(holder);
        let tag = found
            .and_then(|(_, _, consumer)| consumer)
            .map(|consumer| &consumer.tag);
        let channel = found.map(|(connected, channel, _)| channels::details(node, connected, channel));
        let mut shown = Map::new();
        shown.insert("consumer".to_owned(), json!(holder.0));
        shown.insert("consumer_tag".to_owned(), json!(tag.map(to_json::name)));
        shown.insert("channel_details".to_owned(), json!(channel));
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_may_be_empty_and_has_no_other_words() {
        let order = |delivery: Option<&str>, preview| Order {
            delivery: delivery.map(str::to_owned),
            preview,
        };
        let check = |body: &str, expected: Option<Order>| {
            assert_eq!(Order::parse(body.as_bytes()).ok(), expected, "{body}");
        };
        check("", Some(order(None, false)));
        check(" \n", Some(order(None, false)));
        check("{}", Some(order(None, false)));
        check(
            r#"{"delivery":"65536-3","preview":true}"#,
            Some(order(Some("65536-3"), true)),
        );
        check(r#"{"delivery":3}"#, None);
        check(r#"{"force":true}"#, None);
        check("[]", None);
        check("x", None);
    }
}
