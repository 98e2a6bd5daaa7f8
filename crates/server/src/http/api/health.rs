//! Health checks: 200 if all is well, 503 and the reason if not.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use everack_node::alarms::Resource;
use serde_json::json;

use crate::http::Node;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/health/checks/alarms", get(alarms))
        .route("/api/health/checks/local-alarms", get(local_alarms))
}

async fn alarms(State(node): State<Arc<Node>>) -> Response {
    check(&node, "There are alarms in effect in the cluster")
}

async fn local_alarms(State(node): State<Arc<Node>>) -> Response {
    check(&node, "There are alarms in effect on the node")
}

fn check(node: &Node, reason: &str) -> Response {
    let stands = |resource| node.engine.shared.alarms.stands(resource);
    let resources = [(Resource::Memory, "memory"), (Resource::Disk, "disk")];
    let alarms: Vec<_> = resources
        .into_iter()
        .filter(|(resource, _)| stands(*resource))
        .map(|(_, name)| json!({ "node": node.name, "resource": name }))
        .collect();
    if alarms.is_empty() {
        return Json(json!({ "status": "ok" })).into_response();
    }
    let failed = json!({ "status": "failed", "reason": reason, "alarms": alarms });
    (StatusCode::SERVICE_UNAVAILABLE, Json(failed)).into_response()
}
