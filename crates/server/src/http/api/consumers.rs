//! Consumers. Who is not a monitor sees those of its virtual hosts.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_broker::name::Name;
use everack_node::report::{ChannelReport, ConsumerReport};
use serde_json::{Value, json};

use super::{Answer, channels, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected};

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/consumers", get(list))
        .route("/api/consumers/{vhost}", get(list_in))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Answer {
    let connections = inquiry::connections(&node.engine).await?;
    let shown = connections
        .iter()
        .filter(|connected| caller.sees(&connected.session.vhost))
        .flat_map(|connected| of_connection(&node, connected, |_| true));
    Ok(Json(shown.collect()))
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let connections = inquiry::connections(&node.engine).await?;
    let shown = connections
        .iter()
        .filter(|connected| connected.session.vhost == *vhost.name())
        .flat_map(|connected| of_connection(&node, connected, |_| true));
    Ok(Json(shown.collect()))
}

/// The consumers of one queue.
pub(super) async fn of_queue(
    node: &Node,
    vhost: &Name,
    queue: &Name,
) -> Result<Value, crate::http::refusal::Refusal> {
    let connections = inquiry::connections(&node.engine).await?;
    let shown = connections
        .iter()
        .filter(|connected| connected.session.vhost == *vhost)
        .flat_map(|connected| of_connection(node, connected, |consumer| consumer.queue == *queue));
    Ok(shown.collect())
}

fn of_connection(node: &Node, connected: &Connected, wanted: impl Fn(&ConsumerReport) -> bool) -> Vec<Value> {
    let channels = connected.session.channels.iter();
    let consumers =
        channels.flat_map(|channel| channel.consumers.iter().map(move |consumer| (channel, consumer)));
    consumers
        .filter(|(_, consumer)| wanted(consumer))
        .map(|(channel, consumer)| show(node, connected, channel, consumer))
        .collect()
}

pub(super) fn show(
    node: &Node,
    connected: &Connected,
    channel: &ChannelReport,
    consumer: &ConsumerReport,
) -> Value {
    json!({
        "consumer_tag": to_json::name(&consumer.tag),
        "queue": { "name": to_json::name(&consumer.queue), "vhost": to_json::name(&connected.session.vhost) },
        "channel_details": channels::details(node, connected, channel),
        "ack_required": !consumer.no_ack,
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "arguments": to_json::arguments(&consumer.arguments),
        "active": true,
        "activity_status": "up",
    })
}
