//! Virtual hosts. Who is not a monitor sees those that it may enter.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use everack_broker::catalog::{Command, Queue, Unroutable, VhostView};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::details::{self, Ranges};
use super::{Answer, Json, Written, permissions, to_json, written};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::inquiry::{self, Depths};
use crate::statistics::figures;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/vhosts", get(list))
        .route("/api/vhosts/{vhost}", get(one).put(declare).delete(remove))
        .route("/api/vhosts/{vhost}/permissions", get(list_permissions))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> Answer {
    let vhosts: Vec<VhostView> = caller.vhosts().collect();
    let queues = vhosts
        .iter()
        .flat_map(|vhost| vhost.queues().chain(vhost.store()));
    let queues: Vec<Arc<Queue>> = queues.cloned().collect();
    let depths = inquiry::queues(&node.engine, queues.iter()).await?;
    let shown = vhosts.iter().map(|vhost| show(&node, vhost, &depths, ranges));
    Ok(Json(shown.collect()))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    ranges: Ranges,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let depths = inquiry::queues(&node.engine, vhost.queues().chain(vhost.store())).await?;
    Ok(Json(show(&node, &vhost, &depths, ranges)))
}

/// As in RabbitMQ, who makes one may do everything in it.
async fn declare(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Written {
    caller.require_administrator()?;
    let vhost = Name::from(vhost.as_str());
    let errand = Errand::new(&node.engine, &caller);
    let command = Command::DeclareVhost { vhost: vhost.clone() };
    let new = errand.carry_out(command).await?;
    if new {
        let all = || ".*".to_owned();
        errand
            .carry_out(Command::SetPermissions {
                user: caller.user.name.clone(),
                vhost,
                configure: all(),
                write: all(),
                read: all(),
            })
            .await?;
    }
    Ok(written(new))
}

async fn remove(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Written {
    caller.require_administrator()?;
    let vhost = caller.vhost(&vhost)?.name().clone();
    let command = Command::DeleteVhost { vhost };
    Errand::new(&node.engine, &caller).carry_out(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_permissions(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    caller.require_administrator()?;
    let vhost: Name = caller.vhost(&vhost)?.name().clone();
    let held = caller.snapshot.all_permissions();
    let here = held.filter(|permissions| permissions.vhost == vhost);
    Ok(Json(
        here.map(|permissions| permissions::show(permissions)).collect(),
    ))
}

/// What becomes of unroutable messages, and how many are kept.
fn unroutable(vhost: &VhostView, depths: &Depths) -> Value {
    let depth = vhost.store().and_then(|store| depths.get(store.id));
    let kept = depth.map_or(0, |depth| depth.ready + depth.unsettled);
    match vhost.unroutable() {
        Unroutable::Drop => json!({ "fate": "drop", "messages": kept }),
        Unroutable::Nack => json!({ "fate": "nack", "messages": kept }),
        Unroutable::Keep {
            messages_max,
            bytes_max,
        } => json!({
            "fate": "keep",
            "messages": kept,
            "messages_max": messages_max,
            "bytes_max": bytes_max,
        }),
    }
}

/// With what was sampled there last: what has passed, and rates.
fn show(node: &Node, vhost: &VhostView, depths: &Depths, ranges: Ranges) -> Value {
    let mut shown = show_counts(node, vhost, depths);
    let book = node.statistics.book();
    let look = |range| book.vhost(vhost.name(), range);
    details::add(&mut shown, &figures::LENGTHS, &look(ranges.lengths), 0);
    let row = book.vhost_row(vhost.name());
    let (rates, data) = (
        figures::LENGTHS.len(),
        figures::VHOST_NUMBERS - figures::DATA_RATES.len(),
    );
    if let Some(row) = row {
        let look = look(ranges.msg_rates);
        shown["message_stats"] = details::figures(&figures::CHANNEL_RATES, &row[rates..data], &look, rates);
        for (name, number) in figures::DATA_RATES.iter().zip(&row[data..]) {
            shown[*name] = (*number).into();
        }
        details::add(
            &mut shown,
            &figures::DATA_RATES,
            &book.vhost(vhost.name(), ranges.data_rates),
            data,
        );
    }
    shown
}

fn show_counts(node: &Node, vhost: &VhostView, depths: &Depths) -> Value {
    let (mut ready, mut unsettled) = (0, 0);
    for depth in vhost.queues().filter_map(|queue| depths.get(queue.id)) {
        ready += depth.ready;
        unsettled += depth.unsettled;
    }
    json!({
        "name": to_json::name(vhost.name()),
        "description": "",
        "tags": [],
        "default_queue_type": vhost.default_queue_type().name(),
        "metadata": {
            "description": "",
            "tags": [],
            "default_queue_type": vhost.default_queue_type().name(),
        },
        "tracing": false,
        "unroutable": unroutable(vhost, depths),
        "cluster_state": { node.name.as_str(): "running" },
        "messages": ready + unsettled,
        "messages_ready": ready,
        "messages_unacknowledged": unsettled,
    })
}
