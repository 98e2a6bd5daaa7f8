//! Permissions. For administrators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use everack_broker::catalog::{Access, Command, Permissions, TopicPermission};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::{Answer, Json, Written, to_json, written};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/permissions", get(list))
        .route("/api/permissions/{vhost}/{user}", get(one).put(set).delete(clear))
        .route("/api/topic-permissions", get(list_topics))
        .route(
            "/api/topic-permissions/{vhost}/{user}",
            get(topics_of).put(set_topic).delete(clear_topics),
        )
        .route(
            "/api/topic-permissions/{vhost}/{user}/{exchange}",
            delete(clear_topic),
        )
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

async fn set(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    body.require(&["configure", "write", "read"])?;
    let (user, vhost) = known(&caller, &user, &vhost)?;
    let new = caller.snapshot.permissions(&user, &vhost).is_none();
    let command = Command::SetPermissions {
        user,
        vhost,
        configure: body.required_text("configure")?.to_owned(),
        write: body.required_text("write")?.to_owned(),
        read: body.required_text("read")?.to_owned(),
    };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(written(new))
}

async fn clear(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, user)): Path<(String, String)>,
) -> Written {
    caller.require_administrator()?;
    let (user, vhost) = (Name::from(user), Name::from(vhost));
    caller
        .snapshot
        .permissions(&user, &vhost)
        .ok_or(Refusal::NotFound)?;
    let command = Command::ClearPermissions { user, vhost };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Both have to be there.
fn known(caller: &Caller, user: &str, vhost: &str) -> Result<(Name, Name), Refusal> {
    let user = caller
        .snapshot
        .user(user.as_bytes())
        .map(|user| user.name.clone());
    let vhost = caller.snapshot.vhost(vhost.as_bytes());
    let vhost = vhost.map(|vhost| vhost.name().clone());
    user.zip(vhost).ok_or(Refusal::bad("vhost_or_user_not_found"))
}

async fn set_topic(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    body.require(&["exchange", "write", "read"])?;
    let (user, vhost) = known(&caller, &user, &vhost)?;
    let held = of_topics(&caller, &vhost, &user).next().is_some();
    let command = Command::SetTopicPermission {
        user,
        vhost,
        exchange: Name::from(body.required_text("exchange")?),
        write: body.required_text("write")?.to_owned(),
        read: body.required_text("read")?.to_owned(),
    };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(written(!held))
}

async fn clear_topics(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, user)): Path<(String, String)>,
) -> Written {
    clear_on(&node, &caller, &vhost, &user, None).await
}

async fn clear_topic(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Written {
    clear_on(&node, &caller, &vhost, &user, Some(Name::from(exchange))).await
}

/// Clears them on one exchange, or on all.
async fn clear_on(node: &Node, caller: &Caller, vhost: &str, user: &str, exchange: Option<Name>) -> Written {
    caller.require_administrator()?;
    let (vhost, user) = (Name::from(vhost), Name::from(user));
    of_topics(caller, &vhost, &user).next().ok_or(Refusal::NotFound)?;
    let command = Command::ClearTopicPermissions {
        user,
        vhost,
        exchange,
    };
    Errand::new(&node.engine, caller).govern(node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn of_topics<'a>(
    caller: &'a Caller,
    vhost: &'a Name,
    user: &'a Name,
) -> impl Iterator<Item = &'a Arc<TopicPermission>> {
    let held = caller.snapshot.topic_permissions();
    held.filter(move |held| held.vhost == *vhost && held.user == *user)
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
    let held: Vec<Value> = of_topics(&caller, &vhost, &user)
        .map(|permission| show_topic(permission))
        .collect();
    if held.is_empty() {
        return Err(Refusal::NotFound);
    }
    Ok(Json(Value::Array(held)))
}

pub(super) fn show_topic(permission: &TopicPermission) -> Value {
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
