//! The broker at a glance. Who is not a monitor sees its virtual hosts only.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use everack_amqp::settings::RABBITMQ_VERSION;
use everack_broker::catalog::Queue;
use everack_broker::partition::Counters;
use everack_node::report::{Published, Received};
use serde_json::{Value, json};

use super::{Answer, Json, connections, statistics};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected, Depths};

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/overview", get(show))
}

async fn show(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Answer {
    let connections = connections::visible(&node, &caller).await?;
    let queues: Vec<Arc<Queue>> = caller
        .vhosts()
        .flat_map(|vhost| vhost.queues().cloned().collect::<Vec<_>>())
        .collect();
    let depths = inquiry::queues(&node.engine, queues.iter()).await?;
    let channels = connections
        .iter()
        .map(|connected| connected.session.channels.len());
    let consumers: u64 = depths.all().map(|depth| u64::from(depth.consumers)).sum();
    let exchanges = caller.vhosts().map(|vhost| vhost.exchanges().count());
    let mut shown = json!({
        "product_name": "Everack",
        "product_version": env!("CARGO_PKG_VERSION"),
        // The version whose behaviour clients may expect, as on AMQP connections.
        "rabbitmq_version": RABBITMQ_VERSION,
        "management_version": RABBITMQ_VERSION,
        "cluster_name": "everack",
        "rates_mode": "none",
        "exchange_types": exchange_types(),
        "object_totals": {
            "connections": connections.len(),
            "channels": channels.sum::<usize>(),
            "consumers": consumers,
            "exchanges": exchanges.sum::<usize>(),
            "queues": queues.len(),
        },
        "queue_totals": totals(&depths),
        "message_stats": message_stats(&node, &caller, &connections, &depths),
        "node": node.name,
    });
    if caller.is_monitor() {
        shown["listeners"] = listeners(&node);
        shown["no_ack"] = no_ack(&node);
        shown["contexts"] = contexts(&node);
    }
    Ok(Json(shown))
}

fn exchange_types() -> Value {
    let types = [
        "direct",
        "fanout",
        "headers",
        "topic",
        "x-consistent-hash",
        "x-local-random",
        "x-modulus-hash",
        "x-random",
    ];
    let shown = types.map(|name| json!({ "name": name, "description": "", "enabled": true }));
    shown.into_iter().collect()
}

fn totals(depths: &Depths) -> Value {
    let ready: u64 = depths.all().map(|depth| depth.ready).sum();
    let unsettled: u64 = depths.all().map(|depth| depth.unsettled).sum();
    json!({
        "messages": ready + unsettled,
        "messages_ready": ready,
        "messages_unacknowledged": unsettled,
    })
}

/// What publishers and consumers did, since the start. What is gone counts for those who see everything.
fn message_stats(node: &Node, caller: &Caller, connections: &[Connected], depths: &Depths) -> Value {
    let (mut published, mut confirmed) = (Published::default(), 0);
    let mut counters = Counters::default();
    if caller.is_monitor() {
        let gone = node.engine.shared.ledger.sums(|_, _| true);
        published.add(gone.published);
        confirmed += gone.confirmed;
        depths.deleted().for_each(|deleted| counters.add(deleted));
    }
    for Connected { session, .. } in connections {
        confirmed += session.confirmed;
        session
            .channels
            .iter()
            .for_each(|channel| published.add(channel.published));
    }
    depths.all().for_each(|depth| counters.add(&depth.counters));
    let (get_no_ack, get) = (counters.gotten_no_ack, counters.gotten - counters.gotten_no_ack);
    let delivered_no_ack = counters.delivered_no_ack - get_no_ack;
    let received = Received {
        delivered: counters.delivered - counters.gotten - delivered_no_ack,
        delivered_no_ack,
        gotten: get,
        gotten_no_ack: get_no_ack,
        gotten_nothing: counters.gotten_nothing,
        redelivered: counters.redelivered,
        acknowledged: counters.done,
    };
    statistics::of_channels(&received, &published, confirmed)
}

/// How often somebody was told of, or refused, who does not acknowledge; since the start.
fn no_ack(node: &Node) -> Value {
    let counters = &node.engine.shared.counters;
    json!({
        "warned": counters.no_ack_warned.load(Ordering::Relaxed),
        "refused": counters.no_ack_refused.load(Ordering::Relaxed),
    })
}

fn listeners(node: &Node) -> Value {
    let shown = node.served.iter().map(|served| {
        json!({
            "node": node.name,
            "protocol": served.protocol,
            "ip_address": served.address.ip().to_string(),
            "port": served.address.port(),
        })
    });
    shown.collect()
}

fn contexts(node: &Node) -> Value {
    let http = node.served.iter().filter(|served| served.protocol == "http");
    let shown = http.map(|served| {
        json!({
            "node": node.name,
            "description": "Everack Management",
            "path": "/",
            "ip": served.address.ip().to_string(),
            "port": served.address.port().to_string(),
        })
    });
    shown.collect()
}
