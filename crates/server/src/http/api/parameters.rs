//! Parameters of virtual hosts by component, and of the whole broker. Policymakers see and set them.
//!
//! Of RabbitMQ's components without plugins there are two: `vhost-limits`, whose only parameter are the limits of a virtual host, and
//! `operator_policy`. Both are kept as what they are; parameters are another view of them. The parameters of the whole broker are any
//! JSON under any name; only `cluster_name` means something here.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use everack_broker::catalog::{Command, LimitName, PolicyKind, Snapshot, VhostLimit, VhostView};
use everack_broker::name::Name;
use serde_json::{Map, Value, json};

use super::{Answer, Json, Written, limits, policies, to_json, written};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::refusal::Refusal;

/// The component of a virtual host's limits.
pub(super) const VHOST_LIMITS: &str = "vhost-limits";
/// Its only parameter.
pub(super) const LIMITS: &str = "limits";
/// The component of operator policies.
pub(super) const OPERATOR_POLICY: &str = "operator_policy";
/// The parameter of the whole broker that names it.
const CLUSTER_NAME: &str = "cluster_name";
/// What it is called until it is given a name.
const CLUSTER_NAME_USUAL: &str = "everack";

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/parameters", get(list))
        .route("/api/parameters/{component}", get(list_of))
        .route("/api/parameters/{component}/{vhost}", get(list_of_in))
        .route(
            "/api/parameters/{component}/{vhost}/{name}",
            get(one).put(set).delete(clear),
        )
        .route("/api/global-parameters", get(list_global))
        .route(
            "/api/global-parameters/{name}",
            get(one_global).put(set_global).delete(clear_global),
        )
        .route("/api/cluster-name", get(cluster).put(name_cluster))
}

/// What the broker is called.
pub(crate) fn cluster_name(catalog: &Snapshot) -> String {
    let set = catalog.global_parameter(CLUSTER_NAME.as_bytes());
    let set = set.and_then(|value| serde_json::from_str(value).ok());
    set.unwrap_or_else(|| CLUSTER_NAME_USUAL.to_owned())
}

/// The parameters of a virtual host.
pub(super) fn all_in(vhost: &VhostView) -> Vec<Value> {
    let shown = |component: &str, name: Value, value: Value| json!({ "value": value, "vhost": to_json::name(vhost.name()), "component": component, "name": name });
    let limits = limits::values(vhost.limits());
    let some = limits.as_object().is_some_and(|limits| !limits.is_empty());
    let mut all: Vec<Value> = some
        .then(|| shown(VHOST_LIMITS, json!(LIMITS), limits))
        .into_iter()
        .collect();
    let operators = vhost
        .policies()
        .filter(|policy| policy.kind == PolicyKind::Operator);
    all.extend(operators.map(|policy| {
        let mut value = policies::show(vhost, policy);
        if let Value::Object(value) = &mut value {
            value.retain(|key, _| key != "vhost" && key != "name");
        }
        shown(OPERATOR_POLICY, to_json::name(&policy.name), value)
    }));
    all
}

/// The parameters of the whole broker.
pub(super) fn all_global(catalog: &Snapshot) -> impl Iterator<Item = Value> {
    catalog
        .global_parameters()
        .map(|(name, value)| json!({ "name": to_json::name(name), "value": parsed(value) }))
}

/// What was kept is what was read once.
fn parsed(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or(Value::Null)
}

async fn list(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_some_policymaker()?;
    Ok(Json(caller.vhosts().flat_map(|vhost| all_in(&vhost)).collect()))
}

async fn list_of(Extension(caller): Extension<Caller>, Path(component): Path<String>) -> Answer {
    caller.require_some_policymaker()?;
    let all = caller.vhosts().flat_map(|vhost| all_in(&vhost));
    Ok(Json(
        all.filter(|parameter| parameter["component"] == *component)
            .collect(),
    ))
}

async fn list_of_in(
    Extension(caller): Extension<Caller>,
    Path((component, vhost)): Path<(String, String)>,
) -> Answer {
    caller.require_some_policymaker()?;
    let all = all_in(&caller.vhost(&vhost)?).into_iter();
    Ok(Json(
        all.filter(|parameter| parameter["component"] == *component)
            .collect(),
    ))
}

async fn one(
    Extension(caller): Extension<Caller>,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Answer {
    caller.require_some_policymaker()?;
    let found = find(&caller.vhost(&vhost)?, &component, &name);
    Ok(Json(found.ok_or(Refusal::NotFound)?))
}

/// One of them.
pub(super) fn find(vhost: &VhostView, component: &str, name: &str) -> Option<Value> {
    let mut all = all_in(vhost).into_iter();
    all.find(|parameter| parameter["component"] == *component && parameter["name"] == *name)
}

async fn set(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((component, vhost, name)): Path<(String, String, String)>,
    body: Body,
) -> Written {
    let place = caller.existing_vhost(&vhost)?;
    caller.require_policymaker(&vhost)?;
    body.require(&["value"])?;
    let value = body.get("value").unwrap_or(&Value::Null);
    let commands = commands(&component, &place, &name, value)?;
    // They concern more than who may set policies may.
    caller.require_administrator()?;
    let new = find(&place, &component, &name).is_none();
    let command = Command::Together { commands };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(written(new))
}

/// What sets a parameter of a virtual host.
pub(super) fn commands(
    component: &str,
    vhost: &VhostView,
    name: &str,
    value: &Value,
) -> Result<Vec<Command>, Refusal> {
    match component {
        VHOST_LIMITS if name == LIMITS => limits_of(vhost.name(), value),
        VHOST_LIMITS => Err(Refusal::invalid(&format!(
            "limits of a vhost are called '{LIMITS}', not '{name}'"
        ))),
        OPERATOR_POLICY => {
            let Value::Object(fields) = value else {
                return Err(Refusal::invalid("value is not an object"));
            };
            Ok(vec![Command::SetPolicy {
                vhost: vhost.name().clone(),
                name: Name::from(name),
                kind: PolicyKind::Operator,
                definition: policies::read(&Body::from(fields.clone()))?,
            }])
        }
        "policy" => Err(Refusal::bad("policies may not be set using this method")),
        other => Err(Refusal::invalid(&format!("component {other} not found"))),
    }
}

/// All limits of a virtual host; those that are not named are taken away.
pub(super) fn limits_of(vhost: &Name, value: &Value) -> Result<Vec<Command>, Refusal> {
    let Value::Object(values) = value else {
        return Err(Refusal::invalid("limits should be an object"));
    };
    let mut set = Map::new();
    for (name, value) in values {
        let (limit, most) = limits::read_of_vhost(name, value)?;
        let known = VhostLimit::ALL.iter().find(|(known, _)| *known == limit);
        set.insert(known.map_or("", |(_, name)| name).to_owned(), json!(most));
    }
    let each = VhostLimit::ALL.into_iter();
    Ok(each
        .map(|(limit, name)| Command::LimitVhost {
            vhost: vhost.clone(),
            limit,
            most: set.get(name).and_then(Value::as_u64),
        })
        .collect())
}

async fn clear(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Written {
    let place = caller.existing_vhost(&vhost)?;
    caller.require_policymaker(&vhost)?;
    find(&place, &component, &name).ok_or(Refusal::NotFound)?;
    caller.require_administrator()?;
    let vhost = place.name().clone();
    let command = if component == OPERATOR_POLICY {
        Command::ClearPolicy {
            vhost,
            name: Name::from(name),
            kind: PolicyKind::Operator,
        }
    } else {
        let commands = limits_of(&vhost, &json!({}))?;
        Command::Together { commands }
    };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_global(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_some_policymaker()?;
    Ok(Json(all_global(&caller.snapshot).collect()))
}

async fn one_global(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer {
    caller.require_some_policymaker()?;
    let value = caller.snapshot.global_parameter(name.as_bytes());
    let value = parsed(value.ok_or(Refusal::NotFound)?);
    Ok(Json(json!({ "value": value, "name": name })))
}

async fn set_global(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Body,
) -> Written {
    caller.require_some_policymaker()?;
    body.require(&["value"])?;
    let new = caller.snapshot.global_parameter(name.as_bytes()).is_none();
    let command = global(&name, body.get("value").unwrap_or(&Value::Null))?;
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(written(new))
}

/// What sets a parameter of the whole broker.
pub(super) fn global(name: &str, value: &Value) -> Result<Command, Refusal> {
    if name == CLUSTER_NAME && !value.is_string() {
        return Err(Refusal::invalid(&format!(
            "{name} should be a string, actually was {value}"
        )));
    }
    Ok(Command::SetGlobalParameter {
        name: Name::from(name),
        value: value.to_string(),
    })
}

async fn clear_global(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Written {
    caller.require_some_policymaker()?;
    let known = caller.snapshot.global_parameter(name.as_bytes());
    known.ok_or(Refusal::NotFound)?;
    let name = Name::from(name);
    let command = Command::ClearGlobalParameter { name };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn cluster(Extension(caller): Extension<Caller>) -> Answer {
    Ok(Json(json!({ "name": cluster_name(&caller.snapshot) })))
}

async fn name_cluster(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    let name = body.required_text("name")?;
    let command = global(CLUSTER_NAME, &json!(name))?;
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
