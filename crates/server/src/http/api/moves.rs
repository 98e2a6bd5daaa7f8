//! Orders about messages wherever they are: to another queue, once more to where they were published, or away. A step is one write
//! of the log: its messages leave the one queue and enter the other together, or stay.
//!
//! Who moves needs to be allowed to read from the one queue and to write to the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::routing::post;
use everack_broker::catalog::{Access, Queue};
use everack_broker::ids::Seq;
use everack_broker::partition::{Place, Store};
use everack_node::report::{MovedReport, Report, Unmoved};
use everack_node::request::{Goal, Request, SendOff};
use serde_json::{Map, Value, json};

use super::order::Order;
use super::search::cursor_json;
use super::stores::narrow;
use super::{Answer, Json, to_json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry;
use crate::http::refusal::Refusal;

/// Most bytes of an order: a thousand numbers and the words around them.
const ORDER_BYTES_MAX: usize = 64 << 10;
/// How long one order may go on; the answer says where the next one does.
const ORDER_MAX: Duration = Duration::from_secs(15);
/// Most messages of a step; the partition has a bound of its own.
const STEP_MESSAGES: u64 = 1_000;

pub(super) fn routes() -> Router<Arc<Node>> {
    let queue = "/api/everack/queues/{vhost}/{name}/messages";
    let unroutable = "/api/everack/vhosts/{vhost}/unroutable";
    Router::new()
        .route(&format!("{queue}/move"), post(move_to))
        .route(&format!("{queue}/discard"), post(discard))
        .route(&format!("{unroutable}/redrive"), post(redrive_unroutable))
        .route(&format!("{unroutable}/discard"), post(discard_unroutable))
        .layer(DefaultBodyLimit::max(ORDER_BYTES_MAX))
}

/// What was sent, if it was not too much.
type Sent = Result<Bytes, BytesRejection>;

/// What is to be done with messages of a queue.
struct Errand<'a> {
    node: &'a Node,
    caller: &'a Caller,
    queue: &'a Queue,
    store: Option<Store>,
    goal: Option<Goal>,
    order: Order,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    messages: u64,
    bytes: u64,
    stayed: u64,
    why: Option<Unmoved>,
}

async fn move_to(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let mut body = parse(sent)?;
    let queue = vhost.queue(name.as_bytes()).ok_or(Refusal::NotFound)?;
    let (to, store) = (take_text(&mut body, "to")?, state(&mut body)?);
    let to = to.ok_or(Refusal::bad("say where to: \"to\" is the name of a queue"))?;
    caller.require_queue(Access::Read, queue)?;
    let missing = || Refusal::Missing(format!("no queue '{to}' in vhost '{}'", vhost.name()));
    let target = vhost.queue(to.as_bytes()).ok_or_else(missing)?;
    caller.require_queue(Access::Write, target)?;
    if target.id == queue.id {
        return Err(Refusal::bad("the messages are in that queue"));
    }
    if queue.durable && !target.durable {
        let text = "the target is transient and the queue durable: the messages would not survive a restart any more";
        return Err(Refusal::bad(text));
    }
    let errand = Errand {
        node: &node,
        caller: &caller,
        queue,
        store,
        goal: Some(Goal::Queue(target.id)),
        order: Order::read(Value::Object(body))?,
    };
    errand.carry_out().await
}

async fn discard(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Answer {
    let vhost = caller.vhost(&vhost)?;
    let mut body = parse(sent)?;
    let queue = vhost.queue(name.as_bytes()).ok_or(Refusal::NotFound)?;
    caller.require_queue(Access::Read, queue)?;
    let errand = Errand {
        node: &node,
        caller: &caller,
        queue,
        store: state(&mut body)?,
        goal: None,
        order: Order::read(Value::Object(body))?,
    };
    errand.carry_out().await
}

async fn redrive_unroutable(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    sent: Sent,
) -> Answer {
    of_unroutable(&node, &caller, &vhost, sent, Some(Goal::Address)).await
}

async fn discard_unroutable(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    sent: Sent,
) -> Answer {
    of_unroutable(&node, &caller, &vhost, sent, None).await
}

async fn of_unroutable(node: &Node, caller: &Caller, vhost: &str, sent: Sent, goal: Option<Goal>) -> Answer {
    let vhost = caller.vhost(vhost)?;
    let store = vhost.store().ok_or(Refusal::NotFound)?;
    let access = match goal {
        Some(_) => Access::Write,
        None => Access::Read,
    };
    caller.require_queue(access, store)?;
    let errand = Errand {
        node,
        caller,
        queue: store,
        store: None,
        goal,
        order: Order::read(Value::Object(parse(sent)?))?,
    };
    errand.carry_out().await
}

fn parse(sent: Sent) -> Result<Map<String, Value>, Refusal> {
    let bytes = sent.map_err(|_| Refusal::TooLarge(ORDER_BYTES_MAX))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(Refusal::bad("the order is not an object")),
        Err(error) => Err(Refusal::Bad(format!("the order cannot be read: {error}"))),
    }
}

fn take_text(body: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match body.remove(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::Bad(format!("{field} is not a string"))),
    }
}

/// Which messages of the queue are meant: `state`, as for lists.
fn state(body: &mut Map<String, Value>) -> Result<Option<Store>, Refusal> {
    match take_text(body, "state")?.as_deref() {
        None | Some("ready") => Ok(None),
        Some("parked") => Ok(Some(Store::Parked)),
        Some(other) => Err(Refusal::Bad(format!(
            "state is neither ready nor parked: {other}"
        ))),
    }
}

impl Errand<'_> {
    async fn carry_out(mut self) -> Answer {
        let place = self.store.map_or(Place::Ready, Place::Aside);
        let sifted = narrow(self.node, self.queue, place, &mut self.order).await?;
        let preview = self.order.preview;
        let mut ranges = std::mem::take(&mut self.order.ranges);
        let done = self.steps(&mut ranges, preview).await?;
        if !preview {
            tracing::info!(
                user = %self.caller.user.name,
                queue = %self.queue.name,
                vhost = %self.queue.vhost,
                goal = ?self.goal,
                messages = done.messages,
                stayed = done.stayed,
                "messages have been ordered elsewhere"
            );
        }
        // What is left of this order comes before what it did not look at.
        let left = ranges.first().map(|(first, _)| json!(first.0));
        Ok(Json(json!({
            "vhost": to_json::name(&self.queue.vhost),
            "queue": to_json::name(&self.queue.name),
            "preview": preview,
            "messages": done.messages,
            "bytes": done.bytes,
            "stayed": done.stayed,
            "reason": done.why.map(reason),
            "next": left.unwrap_or_else(|| cursor_json(sifted.next)),
        })))
    }

    /// One step after the other, until all is done or time is up. A step that finds no room is tried with half as many messages.
    async fn steps(&self, ranges: &mut Vec<(Seq, Seq)>, preview: bool) -> Result<Done, Refusal> {
        let (began, mut done, mut most) = (Instant::now(), Done::default(), STEP_MESSAGES);
        while !ranges.is_empty() && began.elapsed() < ORDER_MAX {
            let report = self.step(ranges, most, preview).await?;
            done.messages += report.messages;
            done.bytes += report.bytes;
            if report.refused == Some(Unmoved::NoRoom) {
                if most == 1 {
                    done.why = report.refused;
                    return Ok(done);
                }
                most /= 2;
                continue;
            }
            done.stayed += report.stayed;
            done.why = report.refused.or(done.why);
            advance(ranges, report.next);
        }
        Ok(done)
    }

    async fn step(&self, ranges: &[(Seq, Seq)], most: u64, preview: bool) -> Result<MovedReport, Refusal> {
        let reports = inquiry::ask(&self.node.engine, self.queue.partition, |inquirer| {
            vec![Request::SendOff(SendOff {
                queue: self.queue.id,
                store: self.store,
                ranges: ranges.to_vec(),
                most,
                goal: self.goal,
                preview,
                inquirer: inquirer.clone(),
            })]
        });
        let reports = reports.await?.into_iter();
        let mut moved = reports.filter_map(|report| match report {
            Report::Moved(moved) => Some(moved),
            _ => None,
        });
        moved
            .next()
            .ok_or(Refusal::Busy("the step was given up; nothing of it is done"))
    }
}

/// What is left of the ranges behind a step.
fn advance(ranges: &mut Vec<(Seq, Seq)>, next: Option<Seq>) {
    let Some(next) = next else {
        return ranges.clear();
    };
    ranges.retain(|(_, end)| *end > next);
    if let Some((first, _)) = ranges.first_mut() {
        *first = next.max(*first);
    }
}

fn reason(why: Unmoved) -> &'static str {
    match why {
        Unmoved::NoRoom => "no_room",
        Unmoved::NoWay => "no_target",
        Unmoved::Gone => "gone",
        Unmoved::Unreadable => "unreadable",
        Unmoved::TooLarge => "too_large",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_on_behind_a_step() {
        let check = |next: Option<u64>, expected: &[(u64, u64)]| {
            let mut ranges = vec![(Seq(1), Seq(3)), (Seq(5), Seq(9)), (Seq(20), Seq(21))];
            advance(&mut ranges, next.map(Seq));
            let ranges: Vec<_> = ranges.iter().map(|(first, end)| (first.0, end.0)).collect();
            assert_eq!(ranges, expected, "{next:?}");
        };
        check(None, &[]);
        check(Some(2), &[(2, 3), (5, 9), (20, 21)]);
        check(Some(3), &[(5, 9), (20, 21)]);
        check(Some(7), &[(7, 9), (20, 21)]);
        check(Some(30), &[]);
    }
}
