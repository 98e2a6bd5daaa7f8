//! Permissions. For administrators.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use everack_broker::catalog::{Access, Permissions};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::{Answer, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/permissions", get(list))
        .route("/api/permissions/{vhost}/{user}", get(one))
}

async fn list(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    let held = caller.snapshot.all_permissions();
    Ok(Json(held.map(|permissions| show(permissions)).collect()))
}

async fn one(Extension(caller): Extension<Caller>, Path((vhost, user)): Path<(String, String)>) -> Answer {
    caller.require_administrator()?;
    let held = caller.snapshot.permissions(&Name::from(user), &Name::from(vhost));
    Ok(Json(show(&*held.ok_or(Refusal::NotFound)?)))
}

pub(super) fn show(permissions: &Permissions) -> Value {
    json!({
        "user": to_json::name(&permissions.user),
        "vhost": to_json::name(&permissions.vhost),
        "configure": permissions.pattern_source(Access::Configure),
        "write": permissions.pattern_source(Access::Write),
        "read": permissions.pattern_source(Access::Read),
    })
}
