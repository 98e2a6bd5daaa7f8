//! Permissions. For administrators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use everack_broker::catalog::{Access, Permissions, TopicPermission};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::{Answer, Json, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/permissions", get(list))
        .route("/api/permissions/{vhost}/{user}", get(one))
        .route("/api/topic-permissions", get(list_topics))
        .route("/api/topic-permissions/{vhost}/{user}", get(topics_of))
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

async fn list_topics(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    let held = caller.snapshot.topic_permissions();
    Ok(Json(held.map(|permission| show_topic(permission)).collect()))
}

async fn topics_of(
    Extension(caller): Extension<Caller>,
    Path((vhost, user)): Path<(String, String)>,
) -> Answer {
    caller.require_administrator()?;
    let (vhost, user) = (Name::from(vhost), Name::from(user));
    let held = caller.snapshot.topic_permissions();
    let held: Vec<Value> = held
        .filter(|permission| permission.vhost == vhost && permission.user == user)
        .map(|permission| show_topic(permission))
        .collect();
    if held.is_empty() {
        return Err(Refusal::NotFound);
    }
    Ok(Json(Value::Array(held)))
}

fn show_topic(permission: &TopicPermission) -> Value {
    json!({
        "user": to_json::name(&permission.user),
        "vhost": to_json::name(&permission.vhost),
        "exchange": to_json::name(&permission.exchange),
        "write": permission.write,
        "read": permission.read,
    })
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
