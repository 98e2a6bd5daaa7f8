//! Users. For administrators, who see the hashes too: a user can be moved with them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use everack_broker::catalog::User;
use serde_json::{Value, json};

use super::{Answer, Json, permissions, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

/// The name of the hashes that we make, where RabbitMQ names its own.
const HASHING_ALGORITHM: &str = "argon2id";

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/users", get(list))
        .route("/api/users/{name}", get(one))
        .route("/api/users/{name}/permissions", get(list_permissions))
}

async fn list(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    Ok(Json(caller.snapshot.users().map(|user| show(user)).collect()))
}

async fn one(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer {
    caller.require_administrator()?;
    Ok(Json(show(find(&caller, &name)?)))
}

async fn list_permissions(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer {
    caller.require_administrator()?;
    let user = find(&caller, &name)?;
    let held = caller.snapshot.all_permissions();
    let own = held.filter(|permissions| permissions.user == user.name);
    Ok(Json(
        own.map(|permissions| permissions::show(permissions)).collect(),
    ))
}

fn find<'a>(caller: &'a Caller, name: &str) -> Result<&'a User, Refusal> {
    let user = caller.snapshot.user(name.as_bytes());
    user.map(|user| &**user).ok_or(Refusal::NotFound)
}

fn show(user: &User) -> Value {
    json!({
        "name": to_json::name(&user.name),
        "password_hash": user.password_hash,
        "hashing_algorithm": HASHING_ALGORITHM,
        "tags": user.tags,
        "limits": {},
    })
}
