//! Connections. Who is not a monitor sees its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};

use super::details::{self, Ranges};
use super::{Answer, Json, List, Listed, Written, channels, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected};
use crate::http::refusal::Refusal;
use crate::http::rows::Row;
use crate::net::sockets::Socket;
use crate::statistics::figures::DATA_RATES;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/connections", get(list))
        .route("/api/vhosts/{vhost}/connections", get(list_in))
        .route(
            "/api/connections/username/{user}",
            get(list_of).delete(close_all_of),
        )
        .route("/api/connections/{name}", get(one).delete(close))
        .route("/api/connections/{name}/channels", get(list_channels))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> List {
    let connections = visible(&node, &caller).await?;
    Ok(show_all(&node, connections, ranges))
}

async fn list_in(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    ranges: Ranges,
) -> List {
    let vhost = caller.vhost(&vhost)?;
    let mut connections = visible(&node, &caller).await?;
    connections.retain(|connected| connected.session.vhost == *vhost.name());
    Ok(show_all(&node, connections, ranges))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    ranges: Ranges,
) -> Answer {
    let found = find(&node, &caller, &name).await?;
    Ok(Json(show(&node, &found, ranges)))
}

/// The reason is in the header `X-Reason`.
async fn close(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Written {
    let connected = find(&node, &caller, &name).await?;
    let there = shut(&node, &caller, &connected, &headers);
    there.then_some(StatusCode::NO_CONTENT).ok_or(Refusal::NotFound)
}

async fn list_of(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    ranges: Ranges,
) -> List {
    let connections = of_user(&node, &caller, &user).await?;
    Ok(show_all(&node, connections, ranges))
}

/// Closes all connections of a user that the caller sees; that there is none is fine.
async fn close_all_of(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Written {
    for connected in of_user(&node, &caller, &user).await? {
        // One that has gone in between is closed as well.
        shut(&node, &caller, &connected, &headers);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn of_user(node: &Node, caller: &Caller, user: &str) -> Result<Vec<Connected>, Refusal> {
    let mut connections = visible(node, caller).await?;
    connections.retain(|connected| connected.session.user.as_bytes() == user.as_bytes());
    Ok(connections)
}

/// Closes a connection; `false` if it is not there any more.
fn shut(node: &Node, caller: &Caller, connected: &Connected, headers: &HeaderMap) -> bool {
    let given = headers.get("x-reason").and_then(|reason| reason.to_str().ok());
    let reason = given.unwrap_or("Closed via management plugin");
    let (peer, user) = (connected.socket.peer, &caller.user.name);
    tracing::info!(%peer, by = %user, reason, "connection closed by an operator");
    let shared = &node.engine.shared;
    shared.close_connection(connected.session.connection, reason)
}

async fn list_channels(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    ranges: Ranges,
) -> Answer {
    let connected = find(&node, &caller, &name).await?;
    let channels = connected.session.channels.iter();
    let shown = channels.map(|channel| channels::show(&node, &connected, channel, ranges));
    Ok(Json(shown.collect()))
}

/// The connections that somebody may see.
pub(super) async fn visible(node: &Node, caller: &Caller) -> Result<Vec<Connected>, Refusal> {
    let mut connections = inquiry::connections(&node.engine).await?;
    if !caller.is_monitor() {
        connections.retain(|connected| connected.session.user == caller.user.name);
    }
    Ok(connections)
}

async fn find(node: &Node, caller: &Caller, name: &str) -> Result<Connected, Refusal> {
    let connections = visible(node, caller).await?;
    connections
        .into_iter()
        .find(|connected| connected.socket.name() == name)
        .ok_or(Refusal::NotFound)
}

/// The part of a connection that is shown with its channels.
pub(super) fn details(connected: &Connected) -> Value {
    json!({
        "name": connected.socket.name(),
        "peer_host": connected.socket.peer.ip().to_string(),
        "peer_port": connected.socket.peer.port(),
    })
}

fn show_all(node: &Arc<Node>, connections: Vec<Connected>, ranges: Ranges) -> Listed {
    let rows = connections.into_iter().map(|connected| {
        let node = node.clone();
        Row::new(connected.socket.name(), move |purpose| {
            let traffic = purpose
                .field()
                .and_then(|field| traffic(&connected.socket, field));
            traffic.unwrap_or_else(|| show(&node, &connected, ranges.for_purpose(purpose)))
        })
    });
    Listed(rows.collect())
}

/// What went through its socket alone, by which lists are sorted most.
fn traffic(socket: &Socket, field: &str) -> Option<Value> {
    let count = match field {
        "recv_oct" => socket.received.bytes(),
        "recv_cnt" => socket.received.calls(),
        "send_oct" => socket.sent.bytes(),
        "send_cnt" => socket.sent.calls(),
        _ => return None,
    };
    Some(json!({ field: count }))
}

fn show(node: &Node, connected: &Connected, ranges: Ranges) -> Value {
    let Connected { session, socket } = connected;
    let status = &session.status;
    let state = match status.state {
        "running" if session.blocked => "blocked",
        "running" if session.held_back => "flow",
        state => state,
    };
    let tls = socket.tls.as_ref();
    let client_properties = to_json::arguments(&session.client_properties);
    let given_name = client_properties.get("connection_name").cloned();
    let mut shown = json!({
        "name": socket.name(),
        "node": node.name,
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "user": to_json::name(&session.user),
        "user_who_performed_action": to_json::name(&session.user),
        "vhost": to_json::name(&session.vhost),
        "state": state,
        "channels": session.channels.len(),
        "channel_max": status.channel_max,
        "frame_max": status.frame_max,
        "timeout": status.heartbeat_s,
        "auth_mechanism": status.mechanism,
        "client_properties": client_properties,
        "connected_at": socket.connected_at_ms,
        "peer_host": socket.peer.ip().to_string(),
        "peer_port": socket.peer.port(),
        "host": socket.local.ip().to_string(),
        "port": socket.local.port(),
        "ssl": tls.is_some(),
        "ssl_protocol": tls.map(|tls| tls.version.clone()),
        "ssl_cipher": tls.map(|tls| tls.cipher.clone()),
        "recv_oct": socket.received.bytes(),
        "recv_cnt": socket.received.calls(),
        "send_oct": socket.sent.bytes(),
        "send_cnt": socket.sent.calls(),
    });
    let look = node
        .statistics
        .book()
        .connection(session.connection, ranges.data_rates);
    details::add(&mut shown, &DATA_RATES, &look, 0);
    if let (Some(Value::String(name)), Some(shown)) = (given_name, shown.as_object_mut()) {
        shown.insert("user_provided_name".to_owned(), Value::String(name));
    }
    shown
}
