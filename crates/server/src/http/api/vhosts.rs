//! Virtual hosts. Who is not a monitor sees those that it may enter.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use everack_broker::catalog::{Command, Description, Queue, QueueKind, Unroutable, VhostView};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::details::{self, Ranges};
use super::{Answer, Json, Written, permissions, to_json, written};
use crate::auth::declared::Declared;
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::inquiry::{self, Depths};
use crate::http::refusal::Refusal;
use crate::statistics::figures;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/vhosts", get(list))
        .route("/api/vhosts/{vhost}", get(one).put(declare).delete(remove))
        .route("/api/vhosts/{vhost}/permissions", get(list_permissions))
        .route(
            "/api/vhosts/{vhost}/topic-permissions",
            get(list_topic_permissions),
        )
}

async fn list(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>, ranges: Ranges) -> Answer {
    let vhosts: Vec<VhostView> = caller.vhosts().collect();
    let queues = vhosts
        .iter()
        .flat_map(|vhost| vhost.queues().chain(vhost.store()));
    let queues: Vec<Arc<Queue>> = queues.cloned().collect();
    let depths = inquiry::queues(&node.engine, queues.iter()).await?;
    let shown = vhosts.iter().map(|vhost| show(&node, vhost, &depths, ranges));
    Ok(Json(shown.collect()))
}

async fn one(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    ranges: Ranges,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let depths = inquiry::queues(&node.engine, vhost.queues().chain(vhost.store())).await?;
    Ok(Json(show(&node, &vhost, &depths, ranges)))
}

/// As in RabbitMQ, who makes one may do everything in it, and what is said of one that is there replaces what was.
async fn declare(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    let vhost = Name::from(vhost.as_str());
    let new = caller.snapshot.vhost(&vhost).is_none();
    // The operator is no user that could be given permissions.
    let maker = (!caller.operates).then_some(&caller.user.name);
    let commands = commands(&vhost, new, maker, &body)?;
    let command = Command::Together { commands };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(written(new))
}

/// What makes a virtual host of what RabbitMQ says of one. RabbitMQ has its labels in two places.
pub(super) fn commands(
    vhost: &Name,
    new: bool,
    owner: Option<&Name>,
    body: &Body,
) -> Result<Vec<Command>, Refusal> {
    let mut commands = Vec::new();
    if new {
        commands = Declared::new_vhost(vhost);
        commands.extend(owner.map(|owner| Declared::all_permissions(owner, vhost)));
    }
    let metadata = Body::from(match body.get("metadata") {
        Some(Value::Object(fields)) => fields.clone(),
        _ => serde_json::Map::new(),
    });
    let (text, tags) = match (body.text("description")?, body.words("tags")?) {
        (None, None) => (metadata.text("description")?, metadata.words("tags")?),
        given => given,
    };
    if text.is_some() || tags.is_some() {
        commands.push(Command::DescribeVhost {
            vhost: vhost.clone(),
            description: Description {
                text: text.unwrap_or_default().to_owned(),
                tags: tags.unwrap_or_default(),
            },
        });
    }
    let kind = body.text("default_queue_type")?;
    let kind = kind.or(metadata.text("default_queue_type")?);
    // What RabbitMQ shows where it says nothing.
    if let Some(kind) = kind.filter(|kind| *kind != "undefined") {
        let kind = [QueueKind::Classic, QueueKind::Quorum]
            .into_iter()
            .find(|known| known.name() == kind)
            .ok_or_else(|| Refusal::Bad(format!("Unsupported default queue type '{kind}'")))?;
        let vhost = vhost.clone();
        commands.push(Command::SetDefaultQueueType { vhost, kind });
    }
    Ok(commands)
}

async fn remove(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Written {
    caller.require_administrator()?;
    let vhost = caller.vhost(&vhost)?.name().clone();
    let command = Command::DeleteVhost { vhost };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_topic_permissions(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    caller.require_administrator()?;
    let vhost: Name = caller.vhost(&vhost)?.name().clone();
    let held = caller.snapshot.topic_permissions();
    let here = held.filter(|permission| permission.vhost == vhost);
    Ok(Json(
        here.map(|permission| permissions::show_topic(permission))
            .collect(),
    ))
}

async fn list_permissions(Extension(caller): Extension<Caller>, Path(vhost): Path<String>) -> Answer {
    caller.require_administrator()?;
    let vhost: Name = caller.vhost(&vhost)?.name().clone();
    let held = caller.snapshot.all_permissions();
    let here = held.filter(|permissions| permissions.vhost == vhost);
    Ok(Json(
        here.map(|permissions| permissions::show(permissions)).collect(),
    ))
}

/// What becomes of unroutable messages, and how many are kept.
fn unroutable(vhost: &VhostView, depths: &Depths) -> Value {
    let depth = vhost.store().and_then(|store| depths.get(store.id));
    let kept = depth.map_or(0, |depth| depth.ready + depth.unsettled);
    match vhost.unroutable() {
        Unroutable::Drop => json!({ "fate": "drop", "messages": kept }),
        Unroutable::Nack => json!({ "fate": "nack", "messages": kept }),
        Unroutable::Keep {
            messages_max,
            bytes_max,
        } => json!({
            "fate": "keep",
            "messages": kept,
            "messages_max": messages_max,
            "bytes_max": bytes_max,
        }),
    }
}

/// With what was sampled there last: what has passed, and rates.
fn show(node: &Node, vhost: &VhostView, depths: &Depths, ranges: Ranges) -> Value {
    let mut shown = show_counts(node, vhost, depths);
    let book = node.statistics.book();
    let look = |range| book.vhost(vhost.name(), range);
    details::add(&mut shown, &figures::LENGTHS, &look(ranges.lengths), 0);
    let row = book.vhost_row(vhost.name());
    let (rates, data) = (
        figures::LENGTHS.len(),
        figures::VHOST_NUMBERS - figures::DATA_RATES.len(),
    );
    if let Some(row) = row {
        let look = look(ranges.msg_rates);
        shown["message_stats"] = details::figures(&figures::CHANNEL_RATES, &row[rates..data], &look, rates);
        for (name, number) in figures::DATA_RATES.iter().zip(&row[data..]) {
            shown[*name] = (*number).into();
        }
        details::add(
            &mut shown,
            &figures::DATA_RATES,
            &book.vhost(vhost.name(), ranges.data_rates),
            data,
        );
    }
    shown
}

fn show_counts(node: &Node, vhost: &VhostView, depths: &Depths) -> Value {
    let (mut ready, mut unsettled) = (0, 0);
    for depth in vhost.queues().filter_map(|queue| depths.get(queue.id)) {
        ready += depth.ready;
        unsettled += depth.unsettled;
    }
    json!({
        "name": to_json::name(vhost.name()),
        "description": vhost.description().text,
        "tags": vhost.description().tags,
        "default_queue_type": vhost.default_queue_type().name(),
        "metadata": {
            "description": vhost.description().text,
            "tags": vhost.description().tags,
            "default_queue_type": vhost.default_queue_type().name(),
        },
        "tracing": false,
        "unroutable": unroutable(vhost, depths),
        "cluster_state": { node.name.as_str(): "running" },
        "messages": ready + unsettled,
        "messages_ready": ready,
        "messages_unacknowledged": unsettled,
    })
}
