//! Virtual hosts. Who is not a monitor sees those that it may enter.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_broker::catalog::{Queue, VhostView};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::{Answer, permissions, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Depths};

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/vhosts", get(list))
        .route("/api/vhosts/{vhost}", get(one))
        .route("/api/vhosts/{vhost}/permissions", get(list_permissions))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Answer {
    let vhosts: Vec<VhostView> = caller.vhosts().collect();
    let queues: Vec<Arc<Queue>> = vhosts.iter().flat_map(VhostView::queues).cloned().collect();
    let depths = inquiry::queues(&node.engine, queues.iter()).await?;
    let shown = vhosts.iter().map(|vhost| show(&node, vhost, &depths));
    Ok(Json(shown.collect()))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let depths = inquiry::queues(&node.engine, vhost.queues()).await?;
    Ok(Json(show(&node, &vhost, &depths)))
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

fn show(node: &Node, vhost: &VhostView, depths: &Depths) -> Value {
    let (mut ready, mut unsettled) = (0, 0);
    for depth in vhost.queues().filter_map(|queue| depths.get(queue.id)) {
        ready += depth.ready;
        unsettled += depth.unsettled;
    }
    json!({
        "name": to_json::name(vhost.name()),
        "description": "",
        "tags": [],
        "metadata": { "description": "", "tags": [] },
        "tracing": false,
        "cluster_state": { node.name.as_str(): "running" },
        "messages": ready + unsettled,
        "messages_ready": ready,
        "messages_unacknowledged": unsettled,
    })
}
