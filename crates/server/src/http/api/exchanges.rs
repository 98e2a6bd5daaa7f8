//! Exchanges. Who is not a monitor sees those of its virtual hosts.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use everack_broker::catalog::{Command, DeclareExchange, Destination, Exchange, ExchangeKind, VhostView};
use everack_broker::name::Name;
use everack_node::report::Published;
use serde::Deserialize;
use serde_json::{Value, json};

use super::details::Ranges;
use super::{Answer, Json, Written, bindings, statistics, to_json, written};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::inquiry::{self, Connected, Depths};
use crate::http::refusal::Refusal;

/// What is told of exchanges beside their definitions.
struct Sums {
    /// What was published, by virtual host and exchange.
    published: HashMap<(Name, Name), Published>,
    /// What waits for its time.
    waiting: Depths,
    node: Arc<Node>,
    ranges: Ranges,
}

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/exchanges", get(list))
        .route("/api/exchanges/{vhost}", get(list_in))
        .route(
            "/api/exchanges/{vhost}/{name}",
            get(one).put(declare).delete(remove),
        )
        .route("/api/exchanges/{vhost}/{name}/bindings/source", get(list_from))
        .route("/api/exchanges/{vhost}/{name}/bindings/destination", get(list_to))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> Answer {
    let sums = sums(node, &caller, ranges).await?;
    let shown = caller.vhosts().flat_map(|vhost| show_all(&vhost, &sums));
    Ok(Json(shown.collect()))
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    ranges: Ranges,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let sums = sums(node, &caller, ranges).await?;
    Ok(Json(Value::Array(show_all(&vhost, &sums))))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    ranges: Ranges,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let exchange = find(&vhost, &name)?;
    let sums = sums(node, &caller, ranges).await?;
    Ok(Json(show(&vhost, exchange, &sums)))
}

async fn declare(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Written {
    let vhost = caller.vhost(&vhost)?;
    let command = Command::DeclareExchange(DeclareExchange {
        vhost: vhost.name().clone(),
        name: name_of(&name),
        passive: false,
        kind: Name::from(body.text("type")?.unwrap_or("direct")),
        durable: body.truth("durable")?.unwrap_or(false),
        auto_delete: body.truth("auto_delete")?.unwrap_or(false),
        internal: body.truth("internal")?.unwrap_or(false),
        arguments: body.arguments()?,
    });
    let new = Errand::new(&node.engine, &caller).carry_out(command).await?;
    Ok(written(new))
}

/// What a deletion depends on.
#[derive(Debug, Deserialize)]
struct Conditions {
    #[serde(default, rename = "if-unused")]
    if_unused: bool,
}

async fn remove(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    Query(conditions): Query<Conditions>,
) -> Written {
    let vhost = caller.vhost(&vhost)?;
    let command = Command::DeleteExchange {
        vhost: vhost.name().clone(),
        name: find(&vhost, &name)?.name.clone(),
        if_unused: conditions.if_unused,
    };
    Errand::new(&node.engine, &caller).carry_out(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_from(
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let exchange = find(&vhost, &name)?;
    Ok(Json(Value::Array(bindings::from(&vhost, exchange))))
}

async fn list_to(
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let to = Destination::Exchange(find(&vhost, &name)?.name.clone());
    let shown = vhost
        .bindings_to(&to)
        .map(|binding| bindings::show(&vhost, &binding));
    Ok(Json(shown.collect()))
}

/// The default exchange, whose name is empty, goes by `amq.default` in a path.
fn find<'a>(vhost: &'a VhostView, name: &str) -> Result<&'a Arc<Exchange>, Refusal> {
    vhost.exchange(&name_of(name)).ok_or(Refusal::NotFound)
}

/// The name that a path means.
pub(super) fn name_of(name: &str) -> Name {
    Name::from(if name == "amq.default" { "" } else { name })
}

/// What live channels have published, and those that are gone; and what waits.
async fn sums(node: Arc<Node>, caller: &Caller, ranges: Ranges) -> Result<Sums, Refusal> {
    let connections = inquiry::connections(&node.engine).await?;
    let exists = |vhost: &Name, exchange: &Name| {
        let vhost = caller.snapshot.vhost(vhost);
        vhost.is_some_and(|vhost| vhost.exchange(exchange).is_some())
    };
    let gone = node.engine.shared.ledger.sums(exists).exchanges;
    let mut sums: HashMap<_, _> = gone.into_iter().collect();
    for Connected { session, .. } in &connections {
        for (exchange, published) in session.channels.iter().flat_map(|channel| &channel.exchanges) {
            let key = (session.vhost.clone(), exchange.clone());
            sums.entry(key).or_default().add(*published);
        }
    }
    let rooms = caller
        .vhosts()
        .flat_map(|vhost| vhost.rooms().cloned().collect::<Vec<_>>());
    let rooms: Vec<_> = rooms.collect();
    Ok(Sums {
        published: sums,
        waiting: inquiry::queues(&node.engine, rooms.iter()).await?,
        node,
        ranges,
    })
}

fn show_all(vhost: &VhostView, sums: &Sums) -> Vec<Value> {
    let mut exchanges: Vec<_> = vhost.exchanges().collect();
    exchanges.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    let shown = exchanges.into_iter();
    shown.map(|exchange| show(vhost, exchange, sums)).collect()
}

fn show(vhost: &VhostView, exchange: &Exchange, sums: &Sums) -> Value {
    let mut shown = json!({
        "name": to_json::name(&exchange.name),
        "vhost": to_json::name(vhost.name()),
        "type": exchange.kind.to_string(),
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": to_json::arguments(&exchange.arguments),
    });
    let governance = &exchange.governance;
    let named = [
        ("policy", &governance.policy),
        ("operator_policy", &governance.operator_policy),
    ];
    for (key, name) in named {
        if let Some(name) = name {
            shown[key] = to_json::name(name);
        }
    }
    // As RabbitMQ's plugin tells it.
    let room = vhost
        .room(&exchange.name)
        .filter(|_| exchange.kind == ExchangeKind::Delayed);
    if let Some(depth) = room.and_then(|room| sums.waiting.get(room.id)) {
        shown["messages_delayed"] = json!(depth.delayed + depth.dead);
    }
    let key = (vhost.name().clone(), exchange.name.clone());
    if let Some(published) = sums.published.get(&key) {
        let look = sums.node.statistics.book().exchange(&key, sums.ranges.msg_rates);
        shown["message_stats"] = statistics::of_exchange(published, &look);
    }
    shown
}
