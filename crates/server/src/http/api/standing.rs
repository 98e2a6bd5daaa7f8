//! What RabbitMQ's API tells and orders of things that are as they are here: feature flags, extensions, where to log in, memory by
//! Erlang's kinds, queues to be mirrored or spread over nodes. The answers are true, and shaped so that scripts go on.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::{Answer, Json, Written};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/feature-flags", get(flags))
        .route("/api/feature-flags/{name}/enable", put(enable))
        .route("/api/extensions", get(extensions))
        .route("/api/nodes/{name}/memory", get(memory))
        .route("/api/nodes/{name}/memory/relative", get(memory_relative))
        .route("/api/queues/{vhost}/{name}/actions", post(act))
        .route("/api/rebalance/queues", post(rebalance))
        .route("/api/vhosts/{vhost}/start/{node}", post(start))
}

/// What is told to everybody, whether logged in or not.
pub(super) fn open_routes() -> Router<Arc<Node>> {
    Router::new().route("/api/auth", get(auth))
}

/// RabbitMQ's flags for what Everack does, too; all are on, and cannot be switched off.
const FLAGS: [(&str, &str); 6] = [
    (
        "drop_unroutable_metric",
        "Count unroutable publishes to be dropped in stats",
    ),
    (
        "empty_basic_get_metric",
        "Count AMQP `basic.get` on empty queues in stats",
    ),
    (
        "implicit_default_bindings",
        "Default bindings are now implicit, instead of being stored in the database",
    ),
    ("quorum_queue", "Support queues of type `quorum`"),
    (
        "user_limits",
        "Configure connection and channel limits for a user",
    ),
    (
        "virtual_host_metadata",
        "Virtual host metadata (description, tags, etc)",
    ),
];

async fn flags(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    let shown = FLAGS.map(|(name, text)| {
        json!({
            "name": name,
            "desc": text,
            "doc_url": "",
            "state": "enabled",
            "stability": "stable",
            "provided_by": "everack",
        })
    });
    Ok(Json(shown.into_iter().collect()))
}

async fn enable(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Written {
    caller.require_administrator()?;
    if FLAGS.iter().any(|(flag, _)| *flag == name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::bad("unsupported"))
    }
}

/// No other program adds pages to ours.
async fn extensions() -> Answer {
    Ok(Json(json!([])))
}

/// Users and passwords are the broker's own.
async fn auth() -> axum::Json<Value> {
    axum::Json(json!({ "enable_uaa": false, "uaa_client_id": "", "uaa_location": "" }))
}

/// RabbitMQ's kinds of memory. Those that exist in Erlang only have none here; everything is `other_system`.
const KINDS: [&str; 23] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "queue_slave_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
];

async fn memory(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    require_node(&node, &caller, &name)?;
    let used = node.engine.gauges.read().memory_used;
    let mut shown = kinds(used);
    shown["allocated_unused"] = json!(0);
    shown["reserved_unallocated"] = json!(0);
    shown["strategy"] = json!("rss");
    shown["total"] = json!({ "erlang": used, "rss": used, "allocated": used });
    Ok(Json(json!({ "memory": shown })))
}

async fn memory_relative(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    require_node(&node, &caller, &name)?;
    let mut shown = kinds(100);
    shown["total"] = json!(100);
    shown["allocated_unused"] = json!(0);
    shown["reserved_unallocated"] = json!(0);
    Ok(Json(json!({ "memory": shown })))
}

fn require_node(node: &Node, caller: &Caller, name: &str) -> Result<(), Refusal> {
    caller.require_monitor()?;
    (name == node.name).then_some(()).ok_or(Refusal::NotFound)
}

fn kinds(all: u64) -> Value {
    let of = |kind: &str| if kind == "other_system" { all } else { 0 };
    let shown = KINDS.iter().map(|kind| ((*kind).to_owned(), json!(of(kind))));
    Value::Object(shown.collect())
}

/// Mirrors are told to catch up, or not to; there is none that could be behind.
async fn act(
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    body.require_by_line(&["action"])?;
    match body.text("action")?.unwrap_or_default() {
        "sync" | "cancel_sync" => (),
        other => return Err(Refusal::Value("unknown", other.to_owned())),
    }
    let vhost = caller.vhost(&vhost)?;
    vhost
        .queue(name.as_bytes())
        .map(|_| StatusCode::NO_CONTENT)
        .ok_or(Refusal::NotFound)
}

/// All queues are where they can be: there is one node.
async fn rebalance(Extension(caller): Extension<Caller>) -> Written {
    caller.require_administrator()?;
    Ok(StatusCode::NO_CONTENT)
}

/// A virtual host that is there runs.
async fn start(
    State(here): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, node)): Path<(String, String)>,
) -> Written {
    caller.require_administrator()?;
    let failed = |why: &str| Refusal::Bad(format!("Request to node {node} failed with {why}"));
    if node != here.name {
        return Err(failed("nodedown"));
    }
    match caller.snapshot.vhost(vhost.as_bytes()) {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(failed(&format!("{{no_such_vhost,<<\"{vhost}\">>}}"))),
    }
}
