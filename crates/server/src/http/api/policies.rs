//! Policies and operator policies. Who is not a monitor sees those of its virtual hosts. Policymakers set policies there, administrators both
//! kinds.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use everack_broker::catalog::{ApplyTo, Command, Policy, PolicyDefinition, PolicyKind, VhostView};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::{Answer, Json, Written, to_json, written};
use crate::http::Node;
use crate::http::body::{Body, read_arguments};
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    of::<Users>("/api/policies").merge(of::<Operators>("/api/operator-policies"))
}

/// Which kind a path is about.
trait Sort: Send + Sync + 'static {
    const KIND: PolicyKind;
    /// Refuses who may not set them.
    fn may_set(caller: &Caller, vhost: &str) -> Result<(), Refusal>;
}

struct Users;

impl Sort for Users {
    const KIND: PolicyKind = PolicyKind::User;

    fn may_set(caller: &Caller, vhost: &str) -> Result<(), Refusal> {
        caller.require_policymaker(vhost)
    }
}

struct Operators;

impl Sort for Operators {
    const KIND: PolicyKind = PolicyKind::Operator;

    fn may_set(caller: &Caller, _vhost: &str) -> Result<(), Refusal> {
        caller.require_administrator()
    }
}

fn of<S: Sort>(path: &str) -> Router<Arc<Node>> {
    let kind = S::KIND;
    Router::new()
        .route(path, get(async move |caller| list(caller, kind).await))
        .route(
            &format!("{path}/{{vhost}}"),
            get(async move |caller, vhost| list_in(caller, vhost, kind).await),
        )
        .route(
            &format!("{path}/{{vhost}}/{{name}}"),
            get(async move |caller, path| one(caller, path, kind).await)
                .put(set::<S>)
                .delete(clear::<S>),
        )
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

async fn set<S: Sort>(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Written {
    let place = caller.existing_vhost(&vhost)?;
    S::may_set(&caller, &vhost)?;
    let name = Name::from(name);
    let known = place.policies();
    let new = !known
        .into_iter()
        .any(|policy| policy.kind == S::KIND && policy.name == name);
    let command = Command::SetPolicy {
        vhost: place.name().clone(),
        name,
        kind: S::KIND,
        definition: read(&body)?,
    };
    let set = Errand::new(&node.engine, &caller).govern(&node, command).await;
    set.map_err(validation)?;
    Ok(written(new))
}

/// What a policy says, as RabbitMQ writes it.
pub(super) fn read(body: &Body) -> Result<PolicyDefinition, Refusal> {
    body.require(&["pattern", "definition"])?;
    let pattern = match body.get("pattern") {
        Some(Value::String(pattern)) => pattern.clone(),
        other => {
            let other = other.unwrap_or(&Value::Null);
            return Err(Refusal::invalid(&format!(
                "pattern should be a binary but was {other}"
            )));
        }
    };
    let priority = match body.get("priority") {
        None => 0,
        Some(given) => given
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| Refusal::invalid(&format!("priority should be a number, actually was {given}")))?,
    };
    let apply_to = body.text("apply-to")?.map(ApplyTo::parse).transpose();
    body.required_object("definition")?;
    Ok(PolicyDefinition {
        pattern,
        apply_to: apply_to
            .map_err(|refused| Refusal::invalid(&refused.text))?
            .unwrap_or_default(),
        priority,
        settings: read_arguments(body.get("definition"), "definition")?,
    })
}

/// What the catalog says of a policy, in the form in which RabbitMQ says it.
fn validation(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Bad(reason) if !reason.contains("configuration file") => Refusal::invalid(&reason),
        other => other,
    }
}

async fn clear<S: Sort>(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Written {
    let place = caller.existing_vhost(&vhost)?;
    S::may_set(&caller, &vhost)?;
    let name = Name::from(name);
    let mut known = place.policies();
    known
        .find(|policy| policy.kind == S::KIND && policy.name == name)
        .ok_or(Refusal::NotFound)?;
    let command = Command::ClearPolicy {
        vhost: place.name().clone(),
        name,
        kind: S::KIND,
    };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn show_all(vhost: &VhostView, kind: PolicyKind) -> Vec<Value> {
    let policies = vhost.policies().filter(|policy| policy.kind == kind);
    policies.map(|policy| show(vhost, policy)).collect()
}

pub(super) fn show(vhost: &VhostView, policy: &Policy) -> Value {
    json!({
        "vhost": to_json::name(vhost.name()),
        "name": to_json::name(&policy.name),
        "pattern": policy.definition.pattern,
        "apply-to": policy.definition.apply_to.to_string(),
        "definition": to_json::arguments(&policy.definition.settings),
        "priority": policy.definition.priority,
    })
}
