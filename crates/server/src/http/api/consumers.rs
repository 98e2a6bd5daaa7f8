//! Consumers. Who is not a monitor sees those of its virtual hosts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_broker::catalog::{Queue, VhostView};
use everack_broker::ids::Millis;
use everack_broker::partition::Holder;
use everack_node::report::{ChannelReport, ConsumerReport};
use serde_json::{Map, Value, json};

use super::{Answer, Json, channels, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected, Holders};
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/consumers", get(list))
        .route("/api/consumers/{vhost}", get(list_in))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Answer {
    let connections = inquiry::connections(&node.engine).await?;
    let of = |vhost: VhostView| vhost.queues().cloned().collect::<Vec<_>>();
    let queues: Vec<_> = caller.vhosts().flat_map(of).collect();
    let holders = inquiry::holders(&node.engine, queues.iter()).await?;
    let shown = connections
        .iter()
        .filter(|connected| caller.sees(&connected.session.vhost))
        .flat_map(|connected| of_connection(&node, connected, &holders, |_| true));
    Ok(Json(shown.collect()))
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let connections = inquiry::connections(&node.engine).await?;
    let queues: Vec<_> = vhost.queues().cloned().collect();
    let holders = inquiry::holders(&node.engine, queues.iter()).await?;
    let shown = connections
        .iter()
        .filter(|connected| connected.session.vhost == *vhost.name())
        .flat_map(|connected| of_connection(&node, connected, &holders, |_| true));
    Ok(Json(shown.collect()))
}

/// The consumers of one queue.
pub(super) async fn of_queue(node: &Node, queue: &Arc<Queue>) -> Result<Value, Refusal> {
    let connections = inquiry::connections(&node.engine).await?;
    let holders = inquiry::holders(&node.engine, std::iter::once(queue)).await?;
    let shown = connections
        .iter()
        .filter(|connected| connected.session.vhost == queue.vhost)
        .flat_map(|connected| {
            let of_it = |consumer: &ConsumerReport| consumer.queue == queue.name;
            of_connection(node, connected, &holders, of_it)
        });
    Ok(shown.collect())
}

/// How the consumers of one channel get on.
pub(super) async fn holders_of(
    node: &Node,
    connected: &Connected,
    channel: &ChannelReport,
) -> Result<Holders, Refusal> {
    let vhost = node
        .engine
        .shared
        .snapshot()
        .vhost(connected.session.vhost.as_bytes());
    let consumers = channel.consumers.iter();
    let queues = consumers.filter_map(|consumer| vhost.as_ref()?.queue(consumer.queue.as_bytes()).cloned());
    let queues: Vec<_> = queues.collect();
    inquiry::holders(&node.engine, queues.iter()).await
}

fn of_connection(
    node: &Node,
    connected: &Connected,
    holders: &Holders,
    wanted: impl Fn(&ConsumerReport) -> bool,
) -> Vec<Value> {
    let channels = connected.session.channels.iter();
    let consumers =
        channels.flat_map(|channel| channel.consumers.iter().map(move |consumer| (channel, consumer)));
    consumers
        .filter(|(_, consumer)| wanted(consumer))
        .map(|(channel, consumer)| show(node, connected, holders, channel, consumer))
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
    holders: &Holders,
    channel: &ChannelReport,
    consumer: &ConsumerReport,
) -> Value {
    let holder = holders.get(consumer.id);
    let is_active = !consumer.single_active || holder.is_some_and(|holder| holder.single_active);
    let status = match (consumer.single_active, is_active) {
        (false, _) => "up",
        (true, true) => "single_active",
        (true, false) => "waiting",
    };
    let mut shown = json!({
        "consumer_tag": to_json::name(&consumer.tag),
        "queue": { "name": to_json::name(&consumer.queue), "vhost": to_json::name(&connected.session.vhost) },
        "channel_details": channels::details(node, connected, channel),
        "ack_required": !consumer.no_ack,
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "arguments": to_json::arguments(&consumer.arguments),
        "active": is_active,
        "activity_status": status,
    });
    if let (Some(shown), Some(holder)) = (shown.as_object_mut(), holder) {
        shown.insert("consumer".to_owned(), json!(consumer.id.0));
        shown.extend(progress(node, holder));
    }
    shown
}

/// What somebody holds, since when, and how it gets on. RabbitMQ does not tell.
pub(super) fn progress(node: &Node, holder: &Holder) -> Map<String, Value> {
    let [deliver, ack] = node.statistics.book().consumer(holder.consumer);
    let shown = json!({
        "messages_unacknowledged": holder.unsettled,
        "messages_released": holder.released,
        "oldest_unsettled_seconds": age_seconds(node, holder.oldest),
        "message_stats": {
            "deliver": holder.delivered,
            "deliver_details": { "rate": deliver },
            "ack": holder.acknowledged,
            "ack_details": { "rate": ack },
        },
    });
    match shown {
        Value::Object(shown) => shown,
        _ => unreachable!("an object was just made"),
    }
}

/// How long ago something was, in whole seconds.
pub(super) fn age_seconds(node: &Node, at: Option<Millis>) -> Option<u64> {
    Some(node.engine.clock.now().0.saturating_sub(at?.0) / 1_000)
}
