//! The node: memory, disk, descriptors. For monitors.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_node::alarms::Resource;
use serde_json::{Value, json};

use super::details::{self, Ranges};
use super::{Answer, Json, overview};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;
use crate::process;
use crate::statistics::figures::{CHURN, NODE_STATS};

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/nodes", get(list))
        .route("/api/nodes/{name}", get(one))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> Answer {
    caller.require_monitor()?;
    Ok(Json(json!([show(&node, ranges)])))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    ranges: Ranges,
) -> Answer {
    caller.require_monitor()?;
    if name == node.name {
        Ok(Json(show(&node, ranges)))
    } else {
        Err(Refusal::NotFound)
    }
}

fn show(node: &Node, ranges: Ranges) -> Value {
    let engine = &node.engine;
    let (gauges, alarms) = (engine.gauges.read(), &engine.shared.alarms);
    let disk = engine.disk_figures.read();
    let mut shown = json!({
        "name": node.name,
        "type": "disc",
        "running": true,
        "os_pid": std::process::id().to_string(),
        "uptime": node.started.elapsed().as_millis() as u64,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "mem_used": gauges.memory_used,
        "mem_limit": gauges.memory_max,
        "mem_alarm": alarms.stands(Resource::Memory),
        "disk_free": gauges.disk_free,
        "disk_free_limit": gauges.disk_free_min,
        "disk_free_alarm": alarms.stands(Resource::Disk),
        "fd_used": process::descriptors_used(),
        "fd_total": process::descriptors_max(),
        "sockets_used": engine.shared.connection_count(),
        "sockets_total": node.config.load().amqp.connections_max.get(),
        "partitions": [],
        "db_dir": node.config.load().data.directory.display().to_string(),
        "io_write_count": disk.jobs.count,
        "io_write_bytes": engine.progress.appended_bytes(),
        "io_sync_count": disk.syncs.count,
        "io_sync_avg_time": disk.syncs.sum as f64 / 1000.0 / disk.syncs.count.max(1) as f64,
        "rates_mode": "basic",
    });
    let look = node.statistics.book().node(ranges.node_stats);
    details::add(&mut shown, &NODE_STATS, &look, 0);
    let (names, counts) = (CHURN.iter(), overview::churn(node));
    for (name, count) in names.zip(counts) {
        shown[*name] = count.into();
    }
    let (look, from) = overview::churn_look(node, ranges.node_stats);
    details::add(&mut shown, &CHURN, &look, from);
    shown
}
