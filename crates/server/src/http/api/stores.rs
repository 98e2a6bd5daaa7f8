//! Messages that are set aside, which RabbitMQ does not have: those that were parked, those that were retained after they were handed
//! over without acknowledgement, and those that no queue wanted. Listed without changing anything; ordered back or away.
//!
//! Who lists or discards needs to be allowed to read from the queue, who orders back to write to it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, RawQuery, State};
use axum::routing::{get, post};
use everack_broker::catalog::{Access, Queue};
use everack_broker::ids::Seq;
use everack_broker::partition::{ParkedFate, Store, Weighed};
use everack_node::report::{Inquirer, Report, UnparkedReport};
use everack_node::request::{List, Request, Unpark};
use serde_json::json;

use super::messages::{self, Bounds};
use super::order::Order;
use super::{Answer, Json, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry;
use crate::http::refusal::Refusal;

/// Most bytes of an order: a thousand numbers and the words around them.
const ORDER_BYTES_MAX: usize = 64 << 10;
/// Most messages that are listed at once.
const LISTED_MAX: usize = 1_000;
/// Most bytes of a body that are shown.
const BODY_SHOWN_MAX: usize = 64 << 10;

pub(super) fn routes() -> Router<Arc<Node>> {
    let queue = "/api/everack/queues/{vhost}/{name}";
    Router::new()
        .route("/api/everack/vhosts/{vhost}/unroutable", get(list_unroutable))
        .route(&format!("{queue}/parked"), get(list_parked))
        .route(&format!("{queue}/parked/redrive"), post(redrive))
        .route(&format!("{queue}/parked/discard"), post(discard_parked))
        .route(&format!("{queue}/retained"), get(list_retained))
        .route(&format!("{queue}/retained/redeliver"), post(redeliver))
        .route(&format!("{queue}/retained/discard"), post(discard_retained))
        .layer(DefaultBodyLimit::max(ORDER_BYTES_MAX))
}

/// A queue by virtual host and name.
type Named = Path<(String, String)>;
/// What was sent, if it was not too much.
type Sent = Result<Bytes, BytesRejection>;

async fn list_unroutable(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let store = vhost.store().ok_or(Refusal::NotFound)?;
    list(&node, &caller, store, None, query.as_deref()).await
}

async fn list_parked(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    RawQuery(query): RawQuery,
) -> Answer {
    let queue = find(&caller, &named)?;
    list(&node, &caller, &queue, Some(Store::Parked), query.as_deref()).await
}

async fn list_retained(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    RawQuery(query): RawQuery,
) -> Answer {
    let queue = find(&caller, &named)?;
    list(&node, &caller, &queue, Some(Store::Retained), query.as_deref()).await
}

async fn redrive(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(&node, &caller, &named, (Store::Parked, ParkedFate::Redrive), sent).await
}

async fn discard_parked(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(&node, &caller, &named, (Store::Parked, ParkedFate::Discard), sent).await
}

async fn redeliver(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(
        &node,
        &caller,
        &named,
        (Store::Retained, ParkedFate::Redrive),
        sent,
    )
    .await
}

async fn discard_retained(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(
        &node,
        &caller,
        &named,
        (Store::Retained, ParkedFate::Discard),
        sent,
    )
    .await
}

fn find(caller: &Caller, (vhost, name): &(String, String)) -> Result<Arc<Queue>, Refusal> {
    let vhost = caller.vhost(vhost)?;
    vhost.queue(name.as_bytes()).cloned().ok_or(Refusal::NotFound)
}

async fn list(
    node: &Node,
    caller: &Caller,
    queue: &Queue,
    store: Option<Store>,
    query: Option<&str>,
) -> Answer {
    caller.require_queue(Access::Read, queue)?;
    let query = query.unwrap_or_default();
    let bounds = Bounds {
        messages: number(query, "count", 100)?.clamp(1, LISTED_MAX as u64) as usize,
        body_bytes: number(query, "truncate", 1_000)?.min(BODY_SHOWN_MAX as u64) as usize,
    };
    let first = Seq(number(query, "first", 0)?);
    let reports = inquiry::ask(&node.engine, queue.partition, |inquirer| {
        vec![Request::List(List {
            queue: queue.id,
            store,
            first,
            most: bounds.messages,
            inquirer: inquirer.clone(),
        })]
    });
    let listed = reports.await?.into_iter().find_map(|report| match report {
        Report::Listed(listed) => Some(listed),
        _ => None,
    });
    let listed = listed.ok_or(Refusal::NotFound)?;
    let recall = node.engine.recall.clone();
    let shown = tokio::task::spawn_blocking(move || messages::show(&listed, &recall, bounds));
    let shown = shown.await;
    shown
        .map(Json)
        .map_err(|_| Refusal::Busy("the messages could not be read"))
}

/// A number among what stands behind the question mark.
fn number(query: &str, name: &str, default: u64) -> Result<u64, Refusal> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, given)) = pairs.find(|(key, _)| *key == name) else {
        return Ok(default);
    };
    given
        .parse()
        .map_err(|_| Refusal::Bad(format!("{name} is no number: {given}")))
}

/// Carries an order out, and tells what became of it once that is durable.
async fn order(
    node: &Node,
    caller: &Caller,
    named: &(String, String),
    (store, fate): (Store, ParkedFate),
    sent: Sent,
) -> Answer {
    let queue = find(caller, named)?;
    let access = match fate {
        ParkedFate::Redrive => Access::Write,
        ParkedFate::Discard => Access::Read,
    };
    caller.require_queue(access, &queue)?;
    let order = Order::parse(&sent.map_err(|_| Refusal::TooLarge(ORDER_BYTES_MAX))?)?;
    let done = carry_out(node, &queue, (store, fate), &order).await?;
    if !order.preview {
        tracing::info!(
            user = %caller.user.name,
            queue = %queue.name,
            vhost = %queue.vhost,
            ?store,
            ?fate,
            messages = done.messages,
            no_room = done.no_room,
            "messages that were set aside have been ordered back or away"
        );
    }
    Ok(Json(json!({
        "vhost": to_json::name(&queue.vhost),
        "queue": to_json::name(&queue.name),
        "preview": order.preview,
        "messages": done.messages,
        "bytes": done.bytes,
        "no_room": done.no_room,
    })))
}

/// An order about a long range is carried out in several goes, so that the partition does not stand still for it.
async fn carry_out(
    node: &Node,
    queue: &Queue,
    (store, fate): (Store, ParkedFate),
    order: &Order,
) -> Result<Weighed, Refusal> {
    let mut done = Weighed::default();
    let mut ranges = order.ranges.clone();
    while let Some(&(_, end)) = ranges.last() {
        let orders = |inquirer: &Arc<dyn Inquirer>| {
            let one = |&(first, end): &(Seq, Seq)| {
                Request::Unpark(Unpark {
                    queue: queue.id,
                    store,
                    first,
                    end,
                    fate,
                    preview: order.preview,
                    inquirer: inquirer.clone(),
                })
            };
            ranges.iter().map(one).collect()
        };
        let reports = inquiry::ask(&node.engine, queue.partition, orders).await?;
        ranges.clear();
        for report in reports {
            let Report::Unparked(UnparkedReport { weighed, .. }) = report else {
                continue;
            };
            done.messages += weighed.messages;
            done.bytes += weighed.bytes;
            done.no_room += weighed.no_room;
            // Those that are named one by one are done in one go.
            ranges.extend(weighed.next.map(|next| (next, end)));
        }
    }
    Ok(done)
}
