//! Messages that are set aside, which RabbitMQ does not have: those that were parked, those that were retained after they were handed
//! over without acknowledgement, and those that no queue wanted. Listed without changing anything; ordered back or away.
//!
//! Who lists or discards needs to be allowed to read from the queue, who orders back to write to it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::routing::{get, post};
use everack_broker::catalog::{Access, Queue};
use everack_broker::ids::Seq;
use everack_broker::partition::{Cursor, ParkedFate, Place, Store, Weighed};
use everack_node::report::{Inquirer, Report, UnparkedReport};
use everack_node::request::{Request, Unpark};
use serde_json::json;

use super::filter::Filter;
use super::holders;
use super::order::{self, Order};
use super::search::{LOOKED_MAX, Question, SHOWN_MAX, cursor_json, search};
use super::{Answer, Json, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry;
use crate::http::refusal::Refusal;

/// Most bytes of an order: a thousand numbers and the words around them.
const ORDER_BYTES_MAX: usize = 64 << 10;

pub(super) fn routes() -> Router<Arc<Node>> {
    let queue = "/api/everack/queues/{vhost}/{name}";
    Router::new()
        .route("/api/everack/vhosts/{vhost}/unroutable", get(list_unroutable))
        .route(&format!("{queue}/messages"), get(list_any))
        .route(&format!("{queue}/parked"), get(list_parked))
        .route(&format!("{queue}/parked/redrive"), post(redrive))
        .route(&format!("{queue}/parked/discard"), post(discard_parked))
        .route(&format!("{queue}/retained"), get(list_retained))
        .route(&format!("{queue}/retained/redeliver"), post(redeliver))
        .route(&format!("{queue}/retained/discard"), post(discard_retained))
        .layer(DefaultBodyLimit::max(ORDER_BYTES_MAX))
}

/// A queue by virtual host and name.
type Named = Path<(String, String)>;
/// What stands behind the question mark.
type Pairs = Vec<(String, String)>;
/// What was sent, if it was not too much.
type Sent = Result<Bytes, BytesRejection>;

async fn list_unroutable(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let store = vhost.store().ok_or(Refusal::NotFound)?;
    list(&node, &caller, store, Place::Ready, &pairs).await
}

/// Wherever in the queue they are: `state` says where.
async fn list_any(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    Query(mut pairs): Query<Pairs>,
) -> Answer {
    let queue = caller.queue(&named.0, &named.1)?;
    let state = pairs.iter().position(|(name, _)| name == "state");
    let state = state.map_or("ready".to_owned(), |at| pairs.remove(at).1);
    let place = match state.as_str() {
        "ready" => Place::Ready,
        "unsettled" => Place::Unsettled,
        "delayed" => Place::Delayed,
        "dead" => Place::Dead,
        "parked" => Place::Aside(Store::Parked),
        "retained" => Place::Aside(Store::Retained),
        _ => {
            let states = "ready, unsettled, delayed, dead, parked or retained";
            return Err(Refusal::Bad(format!("state is none of {states}: {state}")));
        }
    };
    list(&node, &caller, &queue, place, &pairs).await
}

async fn list_parked(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    Query(pairs): Query<Pairs>,
) -> Answer {
    let queue = caller.queue(&named.0, &named.1)?;
    list(&node, &caller, &queue, Place::Aside(Store::Parked), &pairs).await
}

async fn list_retained(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    Query(pairs): Query<Pairs>,
) -> Answer {
    let queue = caller.queue(&named.0, &named.1)?;
    list(&node, &caller, &queue, Place::Aside(Store::Retained), &pairs).await
}

async fn redrive(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(&node, &caller, &named, (Store::Parked, ParkedFate::Redrive), sent).await
}

async fn discard_parked(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(&node, &caller, &named, (Store::Parked, ParkedFate::Discard), sent).await
}

async fn redeliver(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(
        &node,
        &caller,
        &named,
        (Store::Retained, ParkedFate::Redrive),
        sent,
    )
    .await
}

async fn discard_retained(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(named): Named,
    sent: Sent,
) -> Answer {
    order(
        &node,
        &caller,
        &named,
        (Store::Retained, ParkedFate::Discard),
        sent,
    )
    .await
}

async fn list(node: &Node, caller: &Caller, queue: &Queue, place: Place, pairs: &Pairs) -> Answer {
    caller.require_queue(Access::Read, queue)?;
    let mut found = search(node, queue, Question::of(pairs, place)?).await?;
    if place == Place::Unsettled {
        holders::name_all(node, &mut found.messages).await?;
    }
    Ok(Json(json!({
        "messages": found.messages,
        "looked_at": found.looked,
        "next": cursor_json(found.next),
    })))
}

/// Carries an order out, and tells what became of it once that is durable.
async fn order(
    node: &Node,
    caller: &Caller,
    named: &(String, String),
    (store, fate): (Store, ParkedFate),
    sent: Sent,
) -> Answer {
    let queue = caller.queue(&named.0, &named.1)?;
    let access = match fate {
        ParkedFate::Redrive => Access::Write,
        ParkedFate::Discard => Access::Read,
    };
    caller.require_queue(access, &queue)?;
    let mut order = Order::parse(&sent.map_err(|_| Refusal::TooLarge(ORDER_BYTES_MAX))?)?;
    let sifted = narrow(node, &queue, Place::Aside(store), &mut order).await?;
    let done = carry_out(node, &queue, (store, fate), &order).await?;
    if !order.preview {
        tracing::info!(
            user = %caller.user.name,
            queue = %queue.name,
            vhost = %queue.vhost,
            ?store,
            ?fate,
            messages = done.messages,
            no_room = done.no_room,
            "messages that were set aside have been ordered back or away"
        );
    }
    Ok(Json(json!({
        "vhost": to_json::name(&queue.vhost),
        "queue": to_json::name(&queue.name),
        "preview": order.preview,
        "messages": done.messages,
        "bytes": done.bytes,
        "no_room": done.no_room,
        "next": cursor_json(sifted.next),
    })))
}

/// What an order with a filter has looked through.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// Where to go on, if it could not look at everything.
    pub(super) next: Option<Cursor>,
}

/// Replaces the ranges of an order with a filter by the messages that carry what is wanted. Numbers are never used again, so what was
/// found is what is moved, or it is not there any more.
pub(super) async fn narrow(
    node: &Node,
    queue: &Queue,
    place: Place,
    order: &mut Order,
) -> Result<Sifted, Refusal> {
    let (Some(wanted), Some(&(first, end))) = (order.filter.take(), order.ranges.first()) else {
        return Ok(Sifted::default());
    };
    let question = Question {
        place,
        from: Cursor::message(first),
        holder: None,
        end,
        filter: Arc::new(Filter::new(wanted)?),
        most: SHOWN_MAX,
        looked_max: LOOKED_MAX,
        truncate: 0,
    };
    let found = search(node, queue, question).await?;
    order.ranges = order::ranges(found.ids.iter().map(|id| id.0).collect())?;
    Ok(Sifted { next: found.next })
}

/// An order about a long range is carried out in several goes, so that the partition does not stand still for it.
async fn carry_out(
    node: &Node,
    queue: &Queue,
    (store, fate): (Store, ParkedFate),
    order: &Order,
) -> Result<Weighed, Refusal> {
    let mut done = Weighed::default();
    let mut ranges = order.ranges.clone();
    while let Some(&(_, end)) = ranges.last() {
        let orders = |inquirer: &Arc<dyn Inquirer>| {
            let one = |&(first, end): &(Seq, Seq)| {
                Request::Unpark(Unpark {
                    queue: queue.id,
                    store,
                    first,
                    end,
                    fate,
                    preview: order.preview,
                    inquirer: inquirer.clone(),
                })
            };
            ranges.iter().map(one).collect()
        };
        let reports = inquiry::ask(&node.engine, queue.partition, orders).await?;
        ranges.clear();
        for report in reports {
            let Report::Unparked(UnparkedReport { weighed, .. }) = report else {
                continue;
            };
            done.messages += weighed.messages;
            done.bytes += weighed.bytes;
            done.no_room += weighed.no_room;
            // Those that are named one by one are done in one go.
            ranges.extend(weighed.next.map(|next| (next, end)));
        }
    }
    Ok(done)
}
