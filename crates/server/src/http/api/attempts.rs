//! How often somebody has tried to log in, by protocol. For monitors.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use serde_json::{Value, json};

use super::{Answer, Json};
use crate::auth::attempts::Protocol;
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/auth/attempts/{node}", get(by_protocol))
        .route("/api/auth/attempts/{node}/source", get(by_source))
}

async fn by_protocol(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    check(&node, &caller, &name)?;
    let shown = Protocol::ALL.map(|protocol| {
        let (right, wrong) = node.authenticator.attempts.read(protocol);
        json!({
            "protocol": protocol.name(),
            "auth_attempts": right + wrong,
            "auth_attempts_succeeded": right,
            "auth_attempts_failed": wrong,
        })
    });
    Ok(Json(shown.into_iter().collect()))
}

/// As in RabbitMQ while `auth_attempt_source` is not tracked: what people type for a user name may be their password.
async fn by_source(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    check(&node, &caller, &name)?;
    Ok(Json(Value::Array(Vec::new())))
}

fn check(node: &Node, caller: &Caller, name: &str) -> Result<(), Refusal> {
    caller.require_monitor()?;
    (name == node.name).then_some(()).ok_or(Refusal::NotFound)
}
