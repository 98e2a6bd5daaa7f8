//! Queues. Who is not a monitor sees those of its virtual hosts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use everack_broker::catalog::{
    Access, Command, ConsumerSettings, DeclareQueue, Destination, Queue, Resource,
};
use everack_broker::name::Name;
use everack_broker::partition::{Depth, Place};
use serde::Deserialize;
use serde_json::{Value, json};

use super::details::{self, Ranges};
use super::search::{Question, search};
use super::{Answer, Json, List, Listed, Written, bindings, consumers, statistics, to_json, written};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::inquiry;
use crate::http::refusal::Refusal;
use crate::http::rows::Row;
use crate::statistics::figures;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/queues", get(list))
        // Later versions have all details here, and few in the list; ours has them in both.
        .route("/api/queues/detailed", get(list))
        .route("/api/queues/{vhost}", get(list_in))
        .route("/api/queues/{vhost}/{name}", get(one).put(declare).delete(remove))
        .route("/api/queues/{vhost}/{name}/contents", delete(purge))
        .route("/api/queues/{vhost}/{name}/bindings", get(list_bindings))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> List {
    let queues = caller
        .vhosts()
        .flat_map(|vhost| vhost.queues().cloned().collect::<Vec<_>>());
    show_all(node, queues.collect(), ranges).await
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    ranges: Ranges,
) -> List {
    let vhost = caller.vhost(&vhost)?;
    show_all(node, vhost.queues().cloned().collect(), ranges).await
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    ranges: Ranges,
) -> Answer {
    let queue = caller.queue(&vhost, &name)?;
    let depths = inquiry::queues(&node.engine, std::iter::once(&queue)).await?;
    let depth = depths.get(queue.id).ok_or(Refusal::NotFound)?;
    let mut shown = show(&node, &queue, depth, ranges);
    let details = consumers::of_queue(&node, &queue).await?;
    if let Some(active) = consumers::single_active(&details) {
        shown["single_active_consumer_tag"] = active.clone();
    }
    shown["consumer_details"] = details;
    shown["head_message_timestamp"] = head_timestamp(&node, &queue).await?;
    Ok(Json(shown))
}

/// When the ready message that came first was made, if its publisher said so; it is looked at, and stays.
async fn head_timestamp(node: &Node, queue: &Queue) -> Result<Value, Refusal> {
    let one = ["count", "look"].map(|name| (name.to_owned(), "1".to_owned()));
    let found = search(node, queue, Question::of(&one, Place::Ready)?).await?;
    let head = found.messages.first();
    Ok(head.map_or(Value::Null, |head| head["properties"]["timestamp"].clone()))
}

async fn declare(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Written {
    let vhost = caller.vhost(&vhost)?;
    let command = Command::DeclareQueue(DeclareQueue {
        vhost: vhost.name().clone(),
        name: Name::from(name.as_str()),
        durable: body.truth("durable")?.unwrap_or(false),
        auto_delete: body.truth("auto_delete")?.unwrap_or(false),
        arguments: body.arguments()?,
        ..DeclareQueue::default()
    });
    let new = Errand::new(&node.engine, &caller).carry_out(command).await?;
    Ok(written(new))
}

/// What a deletion depends on.
#[derive(Debug, Deserialize)]
struct Conditions {
    #[serde(default, rename = "if-unused")]
    if_unused: bool,
    #[serde(default, rename = "if-empty")]
    if_empty: bool,
}

async fn remove(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    Query(conditions): Query<Conditions>,
) -> Written {
    let queue = caller.queue(&vhost, &name)?;
    let Conditions { if_unused, if_empty } = conditions;
    let errand = Errand::new(&node.engine, &caller);
    errand.delete_queue(&queue, if_unused, if_empty).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Written {
    let queue = caller.queue(&vhost, &name)?;
    caller.require_access(&queue.vhost, Access::Read, Resource::Queue(&queue.name))?;
    Errand::new(&node.engine, &caller).purge(&queue).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_bindings(
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let queue = vhost.queue(name.as_bytes()).ok_or(Refusal::NotFound)?;
    let to = Destination::Queue(queue.name.clone());
    let mut shown = vec![bindings::default_of(queue)];
    shown.extend(
        vhost
            .bindings_to(&to)
            .map(|binding| bindings::show(&vhost, &binding)),
    );
    Ok(Json(Value::Array(shown)))
}

/// By virtual host and name. A queue that goes while it is asked is left out.
async fn show_all(node: Arc<Node>, mut queues: Vec<Arc<Queue>>, ranges: Ranges) -> List {
    queues.sort_unstable_by(|left, right| (&left.vhost, &left.name).cmp(&(&right.vhost, &right.name)));
    if ranges.disable_stats && !ranges.enable_queue_totals {
        let plain = queues.into_iter().map(|queue| {
            let (node, name) = (node.clone(), queue.name.to_string());
            Row::new(name, move |_| show_plainly(&node, &queue, None))
        });
        return Ok(Listed(plain.collect()));
    }
    let depths = inquiry::queues(&node.engine, queues.iter()).await?;
    let rows = queues.into_iter().filter_map(|queue| {
        let depth = *depths.get(queue.id)?;
        let (node, name) = (node.clone(), queue.name.to_string());
        Some(Row::new(name, move |purpose| {
            if let Some(length) = purpose.field().and_then(|field| length(&depth, field)) {
                length
            } else if ranges.disable_stats {
                show_plainly(&node, &queue, Some(&depth))
            } else {
                show(&node, &queue, &depth, ranges.for_purpose(purpose))
            }
        }))
    });
    Ok(Listed(rows.collect()))
}

/// One of its lengths alone, by which lists are sorted most.
fn length(depth: &Depth, field: &str) -> Option<Value> {
    let mut lengths = figures::LENGTHS.iter().zip(figures::lengths(depth));
    let (name, length) = lengths.find(|(name, _)| **name == field)?;
    Some(json!({ *name: length }))
}

/// What it was declared as.
fn show_declared(node: &Node, queue: &Queue) -> Value {
    json!({
        "name": to_json::name(&queue.name),
        "vhost": to_json::name(&queue.vhost),
        "type": to_json::queue_type(queue.kind()),
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.is_exclusive(),
        "arguments": to_json::arguments(&queue.arguments),
        "node": node.name,
        "state": "running",
    })
}

/// Without figures, or with lengths only.
fn show_plainly(node: &Node, queue: &Queue, depth: Option<&Depth>) -> Value {
    let mut shown = show_declared(node, queue);
    let lengths = depth.map(figures::lengths).into_iter().flatten();
    for (name, length) in figures::LENGTHS.iter().zip(lengths) {
        shown[*name] = length.into();
    }
    shown
}

fn show(node: &Node, queue: &Queue, depth: &Depth, ranges: Ranges) -> Value {
    let (lengths, rates) = {
        let book = node.statistics.book();
        let lengths = book.queue(queue.id, ranges.lengths);
        (lengths, book.queue(queue.id, ranges.msg_rates))
    };
    let mut shown = show_counts(node, queue, depth);
    details::add(&mut shown, &figures::LENGTHS, &lengths, 0);
    shown["message_stats"] = statistics::of_queue(&depth.counters, &rates);
    shown
}

fn show_counts(node: &Node, queue: &Queue, depth: &Depth) -> Value {
    let [messages, ..] = figures::lengths(depth);
    let bytes = depth.counters.live_bytes() - depth.parked_bytes - depth.retained_bytes - depth.dead_bytes;
    // A durable queue keeps every message through a restart, whatever its delivery mode.
    let persistent = |count: u64| if queue.durable { count } else { 0 };
    let patience = queue.patience_millis(&ConsumerSettings::default());
    let counts = json!({
        "policy": queue.governance.policy.as_ref().map(to_json::name),
        "operator_policy": queue.governance.operator_policy.as_ref().map(to_json::name),
        "effective_policy_definition": to_json::arguments(&queue.governance.settings),
        "consumers": depth.consumers,
        "exclusive_consumer_tag": null,
        "messages": messages,
        "messages_ready": depth.ready,
        "messages_unacknowledged": depth.unsettled,
        "messages_delayed": depth.delayed,
        "messages_parked": depth.parked,
        "messages_retained": depth.retained,
        "message_bytes_retained": depth.retained_bytes,
        "oldest_unsettled_seconds": consumers::age_seconds(node, depth.oldest_unsettled),
        "consumer_timeout_seconds": patience.map(|millis| millis / 1_000),
        "messages_displaced": depth.counters.displaced,
        "no_ack_guard": queue.no_ack_guard().name(),
        "consumers_no_ack": depth.consumers_no_ack,
        "messages_persistent": persistent(messages),
        "message_bytes": bytes,
        "message_bytes_ready": depth.ready_bytes,
        "message_bytes_unacknowledged": bytes - depth.ready_bytes - depth.delayed_bytes,
        "message_bytes_parked": depth.parked_bytes,
        "messages_dlx": depth.dead,
        "message_bytes_dlx": depth.dead_bytes,
        "message_bytes_persistent": persistent(bytes),
        "message_balance": statistics::balance(&depth.counters),
    });
    let mut shown = show_declared(node, queue);
    if let (Some(shown), Value::Object(counts)) = (shown.as_object_mut(), counts) {
        shown.extend(counts);
    }
    shown
}
