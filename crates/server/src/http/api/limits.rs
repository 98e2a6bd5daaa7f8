//! Limits of virtual hosts and users. Administrators set them; who is not a monitor sees those of its virtual hosts and its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use everack_broker::catalog::{Command, LimitName, LimitSet, UserLimit, VhostLimit};
use everack_broker::name::Name;
use serde_json::{Map, Value, json};

use super::{Answer, Json, Written, to_json};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/vhost-limits", get(list_vhosts))
        .route("/api/vhost-limits/{vhost}", get(list_vhost))
        .route(
            "/api/vhost-limits/{vhost}/{name}",
            put(set_vhost).delete(clear_vhost),
        )
        .route("/api/user-limits", get(list_users))
        .route("/api/user-limits/{user}", get(list_user))
        .route("/api/user-limits/{user}/{name}", put(set_user).delete(clear_user))
}

async fn list_vhosts(Extension(caller): Extension<Caller>) -> Answer {
    let limits = caller.vhosts();
    let shown = limits.filter_map(|vhost| show("vhost", vhost.name(), vhost.limits()));
    Ok(Json(shown.collect()))
}

async fn list_vhost(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let shown = show("vhost", vhost.name(), vhost.limits());
    Ok(Json(shown.into_iter().collect()))
}

async fn list_users(Extension(caller): Extension<Caller>) -> Answer {
    let users = caller.snapshot.users();
    let seen = users.filter(|user| caller.is_monitor() || user.name == caller.user.name);
    Ok(Json(
        seen.filter_map(|user| show("user", &user.name, user.limits))
            .collect(),
    ))
}

async fn list_user(Extension(caller): Extension<Caller>, Path(user): Path<String>) -> Answer {
    if caller.user.name.as_bytes() != user.as_bytes() {
        caller.require_monitor()?;
    }
    let user = caller.snapshot.user(user.as_bytes()).ok_or(Refusal::NotFound)?;
    let shown = show("user", &user.name, user.limits);
    Ok(Json(shown.into_iter().collect()))
}

async fn set_vhost(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Written {
    let vhost = caller.existing_vhost(&vhost)?.name().clone();
    caller.require_administrator()?;
    let (limit, most) = read_of_vhost(&name, &value(&body)?)?;
    let command = Command::LimitVhost { vhost, limit, most };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// To take away what is not there is no error, as in RabbitMQ.
async fn clear_vhost(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Written {
    let vhost = caller.existing_vhost(&vhost)?.name().clone();
    caller.require_administrator()?;
    if let Some(limit) = VhostLimit::named(&name) {
        let most = None;
        let command = Command::LimitVhost { vhost, limit, most };
        Errand::new(&node.engine, &caller).govern(&node, command).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn set_user(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((user, name)): Path<(String, String)>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    let user = known_user(&caller, user)?;
    let (limit, most) = read::<UserLimit>(&name, &value(&body)?, "user-limits")?;
    let command = Command::LimitUser { user, limit, most };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_user(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((user, name)): Path<(String, String)>,
) -> Written {
    caller.require_administrator()?;
    let user = known_user(&caller, user)?;
    if let Some(limit) = UserLimit::named(&name) {
        let most = None;
        let command = Command::LimitUser { user, limit, most };
        Errand::new(&node.engine, &caller).govern(&node, command).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn known_user(caller: &Caller, user: String) -> Result<Name, Refusal> {
    match caller.snapshot.user(user.as_bytes()) {
        Some(user) => Ok(user.name.clone()),
        None => Err(Refusal::Value("no_such_user", user)),
    }
}

fn value(body: &Body) -> Result<Value, Refusal> {
    body.require(&["value"])?;
    Ok(body.get("value").cloned().unwrap_or(Value::Null))
}

/// A limit of a virtual host: there it is a component that refuses.
pub(super) fn read_of_vhost(name: &str, value: &Value) -> Result<(VhostLimit, Option<u64>), Refusal> {
    read(name, value, "limits").map_err(|refused| match refused {
        Refusal::Bad(reason) => Refusal::invalid(&reason),
        other => other,
    })
}

/// A limit of that name; a negative number is none.
pub(super) fn read<L: LimitName>(name: &str, value: &Value, of: &str) -> Result<(L, Option<u64>), Refusal> {
    let limit = L::named(name);
    let limit = limit
        .ok_or_else(|| Refusal::Bad(format!("Unrecognised terms [{{<<\"{name}\">>,{value}}}] in {of}")))?;
    let most = match value {
        Value::Number(number) if number.is_u64() => number.as_u64(),
        Value::Number(number) if number.is_i64() => None,
        Value::String(text) => {
            return Err(Refusal::Bad(format!(
                "{name} should be a number, actually was <<{text:?}>>"
            )));
        }
        other => {
            return Err(Refusal::Bad(format!(
                "{name} should be a number, actually was {other}"
            )));
        }
    };
    Ok((limit, most))
}

/// Who has no limits is not listed.
fn show<L: LimitName>(key: &str, name: &Name, limits: LimitSet<L>) -> Option<Value> {
    let value = values(limits);
    let some = value.as_object().is_some_and(|value| !value.is_empty());
    some.then(|| json!({ key: to_json::name(name), "value": value }))
}

/// Limits by name.
pub(super) fn values<L: LimitName>(limits: LimitSet<L>) -> Value {
    let named = L::ALL
        .into_iter()
        .filter_map(|(limit, name)| Some((name.to_owned(), json!(limits.most(limit)?))));
    Value::Object(named.collect::<Map<String, Value>>())
}
