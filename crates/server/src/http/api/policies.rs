//! Policies and operator policies. Who is not a monitor sees those of its virtual hosts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path};
use axum::routing::get;
use everack_broker::catalog::{Policy, PolicyKind, VhostView};
use serde_json::{Value, json};

use super::{Answer, Json, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    let of = |kind: PolicyKind, path: &str| {
        Router::new()
            .route(path, get(async move |caller| list(caller, kind).await))
            .route(
                &format!("{path}/{{vhost}}"),
                get(async move |caller, vhost| list_in(caller, vhost, kind).await),
            )
            .route(
                &format!("{path}/{{vhost}}/{{name}}"),
                get(async move |caller, path| one(caller, path, kind).await),
            )
    };
    of(PolicyKind::User, "/api/policies").merge(of(PolicyKind::Operator, "/api/operator-policies"))
}

async fn list(Extension(caller): Extension<Caller>, kind: PolicyKind) -> Answer {
    let shown = caller.vhosts().flat_map(|vhost| show_all(&vhost, kind));
    Ok(Json(shown.collect()))
}

async fn list_in(
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    kind: PolicyKind,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    Ok(Json(Value::Array(show_all(&vhost, kind))))
}

async fn one(
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    kind: PolicyKind,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let mut policies = vhost.policies();
    let policy = policies.find(|policy| policy.kind == kind && policy.name.as_bytes() == name.as_bytes());
    Ok(Json(show(&vhost, policy.ok_or(Refusal::NotFound)?)))
}

fn show_all(vhost: &VhostView, kind: PolicyKind) -> Vec<Value> {
    let policies = vhost.policies().filter(|policy| policy.kind == kind);
    policies.map(|policy| show(vhost, policy)).collect()
}

fn show(vhost: &VhostView, policy: &Policy) -> Value {
    json!({
        "vhost": to_json::name(vhost.name()),
        "name": to_json::name(&policy.name),
        "pattern": policy.definition.pattern,
        "apply-to": policy.definition.apply_to.to_string(),
        "definition": to_json::arguments(&policy.definition.settings),
        "priority": policy.definition.priority,
    })
}
