//! The node: memory, disk, descriptors. For monitors.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_node::alarms::Resource;
use serde_json::{Value, json};

use super::{Answer, Json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/nodes", get(list))
        .route("/api/nodes/{name}", get(one))
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Answer {
    caller.require_monitor()?;
    Ok(Json(json!([show(&node)])))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    caller.require_monitor()?;
    if name == node.name {
        Ok(Json(show(&node)))
    } else {
        Err(Refusal::NotFound)
    }
}

fn show(node: &Node) -> Value {
    let engine = &node.engine;
    let (gauges, alarms) = (engine.gauges.read(), &engine.shared.alarms);
    json!({
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
        "fd_used": descriptors_used(),
        "fd_total": descriptors_max(),
        "sockets_used": engine.shared.connection_count(),
        "sockets_total": node.config.load().amqp.connections_max.get(),
        "partitions": [],
        "db_dir": node.config.load().data.directory.display().to_string(),
    })
}

/// Open files, sockets included.
fn descriptors_used() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// None is no limit.
fn descriptors_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
