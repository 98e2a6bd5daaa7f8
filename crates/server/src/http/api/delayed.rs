//! Messages that wait for their time in exchanges of type `x-delayed-message`: a resource of our own, which RabbitMQ has not.
//!
//! Who may read from the exchange sees what waits there, but for the bodies; who may configure it can call messages off.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use everack_amqp::wire::properties::View;
use everack_broker::catalog::{Access, Queue, Resource};
use everack_broker::ids::{Millis, Seq};
use everack_node::recall::Recall;
use everack_node::report::{ScheduledMessages, ScheduledReport};
use serde_json::{Value, json};

use super::{Answer, Json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::inquiry;
use crate::http::refusal::Refusal;

/// Runs of messages on a page; each may have to be read from the disk.
const PAGE_RUNS: usize = 100;
/// Messages on a page.
const PAGE_MESSAGES: usize = 500;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route(
            "/api/everack/delayed/{vhost}/{exchange}",
            get(list).delete(call_off_all),
        )
        .route(
            "/api/everack/delayed/{vhost}/{exchange}/{number}",
            delete(call_off),
        )
}

/// Where a page begins, as `next` of the page before says: `due_at` and `number` in the query. What is missing or no number is 0.
fn page(query: Option<&str>) -> (Millis, Seq) {
    let value = |name: &str| {
        let pairs = query.unwrap_or_default().split('&');
        let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        values.next().unwrap_or_default()
    };
    (Millis(value("due_at")), Seq(value("number")))
}

async fn list(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, exchange)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let room = room(&caller, &vhost, &exchange, Access::Read)?;
    let from = page(query.as_deref());
    let report = inquiry::scheduled(&node.engine, &room, from, PAGE_RUNS).await?;
    let depths = inquiry::queues(&node.engine, std::iter::once(&room)).await?;
    let depth = depths.get(room.id).ok_or(Refusal::NotFound)?;
    let recall = node.engine.recall.clone();
    let read = tokio::task::spawn_blocking(move || show_page(&report, &recall)).await;
    let (messages, next) = read.map_err(|_| Refusal::Busy("the messages could not be read"))?;
    Ok(Json(json!({
        "vhost": vhost,
        "exchange": exchange,
        "messages_waiting": depth.delayed,
        "message_bytes_waiting": depth.delayed_bytes,
        "messages_due": depth.dead,
        "messages": messages,
        "next": next,
    })))
}

async fn call_off(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, exchange, number)): Path<(String, String, u64)>,
) -> Result<StatusCode, Refusal> {
    let room = room(&caller, &vhost, &exchange, Access::Configure)?;
    let end = number.checked_add(1).ok_or(Refusal::NotFound)?;
    match inquiry::unschedule(&node.engine, &room, Seq(number), Seq(end)).await? {
        0 => Err(Refusal::NotFound),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

async fn call_off_all(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((vhost, exchange)): Path<(String, String)>,
) -> Answer {
    let room = room(&caller, &vhost, &exchange, Access::Configure)?;
    let messages = inquiry::unschedule(&node.engine, &room, Seq(0), Seq(u64::MAX)).await?;
    Ok(Json(json!({ "messages_called_off": messages })))
}

/// Where the messages of that exchange wait, which may be gone itself, for a caller that may do that.
fn room(caller: &Caller, vhost: &str, exchange: &str, access: Access) -> Result<Arc<Queue>, Refusal> {
    let vhost = caller.vhost(vhost)?;
    caller.require_access(vhost.name(), access, Resource::Exchange(exchange.as_bytes()))?;
    vhost.room(exchange.as_bytes()).cloned().ok_or(Refusal::NotFound)
}

/// The messages, and where the next page begins.
fn show_page(report: &ScheduledReport, recall: &Recall) -> (Vec<Value>, Option<Value>) {
    let next = |(at, number): (Millis, Seq)| json!({ "due_at": at.0, "number": number.0 });
    let mut shown = Vec::new();
    for run in &report.runs {
        if shown.len() >= PAGE_MESSAGES {
            return (shown, Some(next((run.at, run.run.first))));
        }
        shown.extend(show(run, recall));
    }
    (shown, report.next.map(next))
}

/// The messages of a run, each for itself. What cannot be read is shown by its number: it can be called off still.
fn show(scheduled: &ScheduledMessages, recall: &Recall) -> Vec<Value> {
    let run = &scheduled.run;
    let messages = recall.messages(run.location).ok();
    let messages = messages.filter(|messages| usize::from(run.to) <= messages.len());
    let shown = (run.from..run.to).zip(run.first.0..).map(|(index, number)| {
        let mut shown = json!({ "number": number, "due_at": scheduled.at.0 });
        let Some(messages) = &messages else { return shown };
        let index = usize::from(index);
        let View {
            message_id,
            correlation_id,
            expiration,
            ..
        } = messages.view(index);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        shown["exchange"] = text(messages.exchange(index)).into();
        shown["routing_key"] = text(messages.routing_key(index)).into();
        shown["payload_bytes"] = messages.body(index).len().into();
        shown["properties"] = json!({
            "message_id": message_id.map(text),
            "correlation_id": correlation_id.map(text),
            "expiration": expiration.map(text),
        });
        shown
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_where_the_query_says() {
        let check = |query: Option<&str>, expected: (u64, u64)| {
            let (at, number) = page(query);
            assert_eq!((at.0, number.0), expected, "{query:?}");
        };
        check(None, (0, 0));
        check(Some(""), (0, 0));
        check(Some("due_at=5&number=7"), (5, 7));
        check(Some("number=7&due_at=5&x=y"), (5, 7));
        check(Some("due_at=soon&number"), (0, 0));
        check(Some("xdue_at=1&number=-1"), (0, 0));
    }
}
