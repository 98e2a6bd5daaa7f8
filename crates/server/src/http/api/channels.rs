//! Channels. Who is not a monitor sees its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_amqp::connection::ChannelMode;
use everack_node::report::ChannelReport;
use serde_json::{Value, json};

use super::details::Ranges;
use super::{Answer, Json, List, Listed, connections, consumers, statistics, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::Connected;
use crate::http::refusal::Refusal;
use crate::http::rows::{Purpose, Row};

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/channels", get(list))
        .route("/api/vhosts/{vhost}/channels", get(list_in))
        .route("/api/channels/{name}", get(one))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> List {
    let connections = connections::visible(&node, &caller).await?;
    Ok(show_all(&node, connections, ranges))
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    ranges: Ranges,
) -> List {
    let vhost = caller.vhost(&vhost)?;
    let mut connections = connections::visible(&node, &caller).await?;
    connections.retain(|connected| connected.session.vhost == *vhost.name());
    Ok(show_all(&node, connections, ranges))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(wanted): Path<String>,
    ranges: Ranges,
) -> Answer {
    let connections = connections::visible(&node, &caller).await?;
    let found = connections.iter().find_map(|connected| {
        let mut channels = connected.session.channels.iter();
        let channel = channels.find(|channel| connected.channel_name(channel.number) == wanted)?;
        Some((connected, channel))
    });
    let (connected, channel) = found.ok_or(Refusal::NotFound)?;
    let mut shown = show(&node, connected, channel, ranges);
    let holders = consumers::holders_of(&node, connected, channel).await?;
    let consumers = channel.consumers.iter();
    shown["consumer_details"] = consumers
        .map(|consumer| consumers::show(&node, connected, &holders, channel, consumer))
        .collect();
    shown["publishes"] = publishes(connected, channel);
    Ok(Json(shown))
}

fn show_all(node: &Arc<Node>, connections: Vec<Connected>, ranges: Ranges) -> Listed {
    let mut rows = Vec::new();
    for connected in connections {
        let connected = Arc::new(connected);
        for index in 0..connected.session.channels.len() {
            let (node, connected) = (node.clone(), connected.clone());
            let name = connected.channel_name(connected.session.channels[index].number);
            let make = move |purpose: Purpose<'_>| {
                let channel = &connected.session.channels[index];
                show(&node, &connected, channel, ranges.for_purpose(purpose))
            };
            rows.push(Row::new(name, make));
        }
    }
    Listed(rows)
}

/// The part of a channel that is shown with its consumers.
pub(super) fn details(node: &Node, connected: &Connected, channel: &ChannelReport) -> Value {
    json!({
        "name": connected.channel_name(channel.number),
        "number": channel.number,
        "connection_name": connected.socket.name(),
        "peer_host": connected.socket.peer.ip().to_string(),
        "peer_port": connected.socket.peer.port(),
        "node": node.name,
        "user": to_json::name(&connected.session.user),
    })
}

pub(super) fn show(node: &Node, connected: &Connected, channel: &ChannelReport, ranges: Ranges) -> Value {
    let session = &connected.session;
    let (id, number) = (session.connection, channel.number);
    let look = node.statistics.book().channel(id, number, ranges.msg_rates);
    json!({
        "name": connected.channel_name(channel.number),
        "number": channel.number,
        "node": node.name,
        "connection_details": connections::details(connected),
        "user": to_json::name(&session.user),
        "user_who_performed_action": to_json::name(&session.user),
        "vhost": to_json::name(&session.vhost),
        "state": "running",
        "confirm": channel.mode == ChannelMode::Confirm,
        "transactional": channel.mode == ChannelMode::Transaction,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.prefetch_global,
        "messages_unacknowledged": channel.unsettled,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": channel.uncommitted,
        "acks_uncommitted": channel.settlements_uncommitted,
        "consumer_count": channel.consumers.len(),
        "message_stats": statistics::of_channels(
            &channel.received,
            &channel.published,
            channel.confirmed,
            &look,
            0,
        ),
    })
}

/// What it has published, by exchange.
fn publishes(connected: &Connected, channel: &ChannelReport) -> Value {
    let vhost = &connected.session.vhost;
    let shown = channel.exchanges.iter().map(|(exchange, published)| {
        json!({
            "exchange": { "name": to_json::name(exchange), "vhost": to_json::name(vhost) },
            "stats": { "publish": published.messages },
        })
    });
    shown.collect()
}
