//! The broker at a glance. Who is not a monitor sees its virtual hosts only.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use everack_amqp::settings::RABBITMQ_VERSION;
use everack_broker::catalog::{Queue, Snapshot};
use everack_broker::name::Name;
use everack_broker::partition::Counters;
use everack_node::report::Published;
use serde_json::{Value, json};

use super::details::{self, Ranges};
use super::{Answer, Json, cluster_name, connections, statistics};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry::{self, Connected, Depths};
use crate::http::refusal::Refusal;
use crate::statistics::figures::{self, CHURN, LENGTHS, VHOST_NUMBERS};
use crate::statistics::range::Range;
use crate::statistics::track::{Look, Retention};

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/overview", get(show))
}

async fn show(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> Answer {
    let shown = if ranges.disable_stats {
        plain(&node, &caller, ranges)
    } else {
        with_statistics(&node, &caller, ranges).await?
    };
    Ok(Json(shown))
}

/// Who we are, and what can be counted without asking anybody.
fn plain(node: &Node, caller: &Caller, ranges: Ranges) -> Value {
    let exchanges = caller.vhosts().map(|vhost| vhost.exchanges().count());
    let queues = caller.vhosts().map(|vhost| vhost.queues().count());
    let mut shown = identity(node, &caller.snapshot);
    shown["disable_stats"] = json!(true);
    shown["enable_queue_totals"] = json!(ranges.enable_queue_totals);
    shown["object_totals"] = json!({
        "connections": node.engine.shared.connection_count(),
        "exchanges": exchanges.sum::<usize>(),
        "queues": queues.sum::<usize>(),
    });
    shown
}

fn identity(node: &Node, catalog: &Snapshot) -> Value {
    let policies: serde_json::Map<String, Value> = Retention::AGES_S
        .iter()
        .map(|(name, ages)| ((*name).to_owned(), json!(ages)))
        .collect();
    json!({
        "product_name": "Everack",
        "product_version": env!("CARGO_PKG_VERSION"),
        // The version whose behaviour clients may expect, as on AMQP connections.
        "rabbitmq_version": RABBITMQ_VERSION,
        "management_version": RABBITMQ_VERSION,
        "cluster_name": cluster_name(catalog),
        "rates_mode": "basic",
        "sample_retention_policies": policies,
        "exchange_types": exchange_types(),
        "node": node.name,
    })
}

async fn with_statistics(node: &Node, caller: &Caller, ranges: Ranges) -> Result<Value, Refusal> {
    let connections = connections::visible(node, caller).await?;
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
    let mut shown = identity(node, &caller.snapshot);
    shown["object_totals"] = json!({
        "connections": connections.len(),
        "channels": channels.sum::<usize>(),
        "consumers": consumers,
        "exchanges": exchanges.sum::<usize>(),
        "queues": queues.len(),
    });
    shown["queue_totals"] = totals(&depths, &look(node, caller, ranges.lengths));
    let rates = look(node, caller, ranges.msg_rates);
    shown["message_stats"] = message_stats(node, caller, &connections, &depths, &rates);
    if caller.is_monitor() {
        shown["listeners"] = listeners(node);
        shown["no_ack"] = no_ack(node);
        shown["contexts"] = contexts(node);
        let (look, from) = churn_look(node, ranges.lengths);
        shown["churn_rates"] = details::figures(&CHURN, &churn(node), &look, from);
    }
    Ok(shown)
}

/// Of the broker, or of the virtual hosts that the caller sees.
fn look(node: &Node, caller: &Caller, range: Option<Range>) -> Look {
    let book = node.statistics.book();
    if caller.is_monitor() {
        return book.overview(range);
    }
    let mut sum = book.vhost(&Name::default(), range);
    for vhost in caller.vhosts() {
        sum.add(&book.vhost(vhost.name(), range));
    }
    sum
}

/// What has come and gone.
pub(super) fn churn(node: &Node) -> [u64; CHURN.len()] {
    let queues = node
        .engine
        .catalog
        .inspect(&node.engine, |catalog| catalog.churn());
    figures::churn_row(node.engine.shared.tenants.churn(), queues)
}

/// Where its rates are.
pub(super) fn churn_look(node: &Node, range: Option<Range>) -> (Look, usize) {
    (node.statistics.book().overview(range), VHOST_NUMBERS)
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

fn totals(depths: &Depths, look: &Look) -> Value {
    let mut sums = [0; LENGTHS.len()];
    for depth in depths.all() {
        let lengths = sums.iter_mut().zip(figures::lengths(depth));
        lengths.for_each(|(sum, length)| *sum += length);
    }
    details::figures(&LENGTHS, &sums, look, 0)
}

/// What publishers and consumers did, since the start. What is gone counts for those who see everything.
fn message_stats(
    node: &Node,
    caller: &Caller,
    connections: &[Connected],
    depths: &Depths,
    look: &Look,
) -> Value {
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
    let received = figures::received(&counters);
    statistics::of_channels(&received, &published, confirmed, look, LENGTHS.len())
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
