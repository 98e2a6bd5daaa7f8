//! Consumers. Who is not a monitor sees those of its virtual hosts.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_broker::catalog::{Queue, VhostView};
use everack_broker::ids::ConsumerId;
use everack_broker::name::Name;
use everack_node::report::{ChannelReport, ConsumerReport};
use serde_json::{Value, json};

use super::{Answer, Json, channels, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected};
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/consumers", get(list))
        .route("/api/consumers/{vhost}", get(list_in))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Answer {
    let connections = inquiry::connections(&node.engine).await?;
    let active = all_active(&node, &caller).await?;
    let shown = connections
        .iter()
        .filter(|connected| caller.sees(&connected.session.vhost))
        .flat_map(|connected| of_connection(&node, connected, &active, |_| true));
    Ok(Json(shown.collect()))
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let connections = inquiry::connections(&node.engine).await?;
    let active = single_actives(&node, queues_with_one(vhost.clone())).await?;
    let shown = connections
        .iter()
        .filter(|connected| connected.session.vhost == *vhost.name())
        .flat_map(|connected| of_connection(&node, connected, &active, |_| true));
    Ok(Json(shown.collect()))
}

/// The consumers of one queue.
pub(super) async fn of_queue(
    node: &Node,
    vhost: &Name,
    queue: &Name,
    active: Option<ConsumerId>,
) -> Result<Value, Refusal> {
    let connections = inquiry::connections(&node.engine).await?;
    let active = active.into_iter().collect();
    let shown = connections
        .iter()
        .filter(|connected| connected.session.vhost == *vhost)
        .flat_map(|connected| of_connection(node, connected, &active, |consumer| consumer.queue == *queue));
    Ok(shown.collect())
}

/// Who is the active one in each queue with a single active consumer that the caller sees.
pub(super) async fn all_active(node: &Node, caller: &Caller) -> Result<HashSet<ConsumerId>, Refusal> {
    single_actives(node, caller.vhosts().flat_map(queues_with_one)).await
}

/// The queues with a single active consumer.
fn queues_with_one(vhost: VhostView) -> Vec<Arc<Queue>> {
    let queues = vhost.queues();
    let single = queues.filter(|queue| queue.settings.single_active_consumer);
    single.cloned().collect()
}

/// Who is the active one in each of these queues.
async fn single_actives(
    node: &Node,
    queues: impl IntoIterator<Item = Arc<Queue>>,
) -> Result<HashSet<ConsumerId>, Refusal> {
    let queues: Vec<_> = queues.into_iter().collect();
    if queues.is_empty() {
        return Ok(HashSet::new());
    }
    let depths = inquiry::queues(&node.engine, queues.iter()).await?;
    Ok(depths.all().filter_map(|depth| depth.single_active).collect())
}

fn of_connection(
    node: &Node,
    connected: &Connected,
    active: &HashSet<ConsumerId>,
    wanted: impl Fn(&ConsumerReport) -> bool,
) -> Vec<Value> {
    let channels = connected.session.channels.iter();
    let consumers =
        channels.flat_map(|channel| channel.consumers.iter().map(move |consumer| (channel, consumer)));
    consumers
        .filter(|(_, consumer)| wanted(consumer))
        .map(|(channel, consumer)| show(node, connected, active, channel, consumer))
        .collect()
}

/// The tag of the single active consumer among the shown consumers of a queue.
pub(super) fn single_active(shown: &Value) -> Option<&Value> {
    let consumers = shown.as_array()?;
    let active = consumers
        .iter()
        .find(|consumer| consumer["activity_status"] == "single_active")?;
    active.get("consumer_tag")
}

pub(super) fn show(
    node: &Node,
    connected: &Connected,
    active: &HashSet<ConsumerId>,
    channel: &ChannelReport,
    consumer: &ConsumerReport,
) -> Value {
    let is_active = !consumer.single_active || active.contains(&consumer.id);
    let status = match (consumer.single_active, is_active) {
        (false, _) => "up",
        (true, true) => "single_active",
        (true, false) => "waiting",
    };
    json!({
        "consumer_tag": to_json::name(&consumer.tag),
        "queue": { "name": to_json::name(&consumer.queue), "vhost": to_json::name(&connected.session.vhost) },
        "channel_details": channels::details(node, connected, channel),
        "ack_required": !consumer.no_ack,
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "arguments": to_json::arguments(&consumer.arguments),
        "active": is_active,
        "activity_status": status,
    })
}
