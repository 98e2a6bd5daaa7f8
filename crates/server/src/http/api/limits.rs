//! Limits of virtual hosts and users. For administrators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use everack_broker::catalog::{LimitName, LimitSet};
use everack_broker::name::Name;
use serde_json::{Map, Value, json};

use super::{Answer, Json, to_json};
use crate::http::Node;
use crate::http::caller::Caller;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/vhost-limits", get(list_vhosts))
        .route("/api/vhost-limits/{vhost}", get(list_vhost))
        .route("/api/user-limits", get(list_users))
        .route("/api/user-limits/{user}", get(list_user))
}

async fn list_vhosts(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    let limits = caller.snapshot.vhosts();
    let shown = limits.filter_map(|vhost| show("vhost", vhost.name(), vhost.limits()));
    Ok(Json(shown.collect()))
}

async fn list_vhost(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    caller.require_administrator()?;
    let vhost = caller.vhost(&vhost)?;
    let shown = show("vhost", vhost.name(), vhost.limits());
    Ok(Json(shown.into_iter().collect()))
}

async fn list_users(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    let users = caller.snapshot.users();
    Ok(Json(
        users
            .filter_map(|user| show("user", &user.name, user.limits))
            .collect(),
    ))
}

async fn list_user(Extension(caller): Extension<Caller>, Path(user): Path<String>) -> Answer {
    caller.require_administrator()?;
    let user = caller.snapshot.user(user.as_bytes());
    let shown = user.and_then(|user| show("user", &user.name, user.limits));
    Ok(Json(shown.into_iter().collect()))
}

/// Who has no limits is not listed.
fn show<L: LimitName>(key: &str, name: &Name, limits: LimitSet<L>) -> Option<Value> {
    let named = L::ALL
        .into_iter()
        .filter_map(|(limit, name)| Some((name.to_owned(), json!(limits.most(limit)?))));
    let value: Map<String, Value> = named.collect();
    (!value.is_empty()).then(|| json!({ key: to_json::name(name), "value": value }))
}
