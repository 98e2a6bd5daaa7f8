//! One queue: how it stands, who consumes, what it is bound to, and what can be done to it.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::exchange::publish_fields;
use super::overview::HISTORY;
use super::queues::{features, object};
use super::{act, holders, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::chart::{Series, chart};
use crate::look::format::{age, bytes, count, items, number, per_second, text};
use crate::look::layout::{crumbs, vhost_link};
use crate::look::messages;
use crate::look::parts::{
    self, danger, exchange_link, figure, folded, form, input, live, pairs, panel, submit,
};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/queue", view(show))
        .route("/queue/purge", act(purge))
        .route("/queue/delete", act(delete))
        .route("/queue/bind", act(bind))
        .route("/queue/unbind", act(unbind))
        .route("/queue/get", act(get))
}

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let (vhost, name) = (visit.wanted("vhost"), visit.wanted("name"));
    let at = path(&["queues", vhost, name]);
    let queue = visit.ask.get(&format!("{at}?{HISTORY}")).await?;
    let bindings = visit
        .ask
        .find(&format!("{at}/bindings"))
        .await
        .unwrap_or_default();
    let look = path(&["everack", "queues", vhost, name, "messages"]);
    let holders = match number(&queue, "messages_unacknowledged") {
        0 => Value::Null,
        _ => {
            let holders = path(&["everack", "queues", vhost, name, "holders"]);
            visit.ask.find(&holders).await.unwrap_or_default()
        }
    };
    let may_look = visit
        .ask
        .find(&format!("{look}?count=1&truncate=0"))
        .await
        .is_some();
    let body = html! {
        (crumbs(&[("Queues", "/queues"), (vhost, &vhost_link("/queues", vhost)), (name, "")]))
        p { (features(&queue)) " " (parts::state(&queue)) }
        (live("figures", figures(&queue)))
        @if may_look { p { a class="button" href=(link("/messages", &[("vhost", vhost), ("name", name)])) { "Look at the messages" } } }
        div class="columns" {
            section class="panel" { (live("lengths", lengths(&queue))) }
            section class="panel" { (live("rates", rates(&queue))) }
        }
        (panel("Consumers", live("consumers", holders::shown(&queue, &holders))))
        div class="columns" {
            (panel("Bindings", bound(&visit, vhost, name, &bindings)))
            (panel("Settings", settings(&queue)))
        }
        (panel("Balance since the start", live("balance", balance(&queue))))
        (panel("Change", changes(&visit, vhost, name, &queue)))
    };
    Ok(View::new(name, body))
}

fn figures(queue: &Value) -> Markup {
    let shown = |field: &str| count(number(queue, field));
    let held = bytes(number(queue, "message_bytes_unacknowledged"));
    let held = match queue["oldest_unsettled_seconds"].as_u64() {
        Some(seconds) => format!("{held}, oldest {}", age(seconds)),
        None => held,
    };
    let aside = link(
        "/parked",
        &[("vhost", text(queue, "vhost")), ("name", text(queue, "name"))],
    );
    html! {
        dl class="figures" {
            (figure("Ready", &shown("messages_ready"), &bytes(number(queue, "message_bytes_ready"))))
            (figure("Unsettled", &shown("messages_unacknowledged"), &held))
            (figure("Delayed", &shown("messages_delayed"), ""))
            (figure("Parked", &shown("messages_parked"), &bytes(number(queue, "message_bytes_parked"))))
            (figure("Retained", &shown("messages_retained"), ""))
            (figure("Dead, on their way", &shown("messages_dlx"), ""))
            (figure("Consumers", &shown("consumers"), ""))
        }
        @if number(queue, "messages_parked") > 0 { p { a href=(aside) { "Look at what is parked" } } }
    }
}

fn lengths(queue: &Value) -> Markup {
    let series = [
        Series::length("Ready", queue, "messages_ready"),
        Series::length("Unsettled", queue, "messages_unacknowledged"),
    ];
    chart("Messages", &series, |value| count(value.round() as u64))
}

fn rates(queue: &Value) -> Markup {
    let series = [
        Series::rate("Publish", queue, "message_stats.publish"),
        Series::rate("Deliver", queue, "message_stats.deliver_get"),
        Series::rate("Acknowledge", queue, "message_stats.ack"),
        Series::rate("Redeliver", queue, "message_stats.redeliver"),
    ];
    chart("Message rates", &series, per_second)
}

fn bound(visit: &Visit, vhost: &str, name: &str, bindings: &Value) -> Markup {
    html! {
        div class="scroll" role="region" aria-label="Bindings" tabindex="0" { table {
            thead { tr { th scope="col" { "From" } th scope="col" { "Routing key" } th scope="col" { "Arguments" } th scope="col" { span class="hidden" { "Unbind" } } } }
            tbody { @for binding in items(bindings) {
                @let source = text(binding, "source");
                tr {
                    td { (exchange_link(vhost, source)) }
                    td { code { (text(binding, "routing_key")) } }
                    td { (parts::object(&binding["arguments"])) }
                    td { @if !source.is_empty() {
                        (form(visit, "/queue/unbind", &[
                            ("vhost", vhost), ("name", name), ("source", source), ("key", text(binding, "properties_key")),
                        ], html! { button type="submit" class="small" { "Unbind" } }))
                    } }
                }
            } }
        } }
        (folded("Bind", form(visit, "/queue/bind", &[("vhost", vhost), ("name", name)], html! {
            (input("From exchange", "source", "", ""))
            (input("Routing key", "routing_key", "", ""))
            (parts::area("Arguments", "arguments", "", 2, "A JSON object"))
            (submit("Bind"))
        })))
    }
}

fn settings(queue: &Value) -> Markup {
    let said = |field: &str| {
        let value = text(queue, field);
        html! { @if value.is_empty() { span class="none" { "none" } } @else { (value) } }
    };
    pairs(&[
        ("Policy", said("policy")),
        ("Operator policy", said("operator_policy")),
        ("In effect", parts::object(&queue["effective_policy_definition"])),
        ("Arguments", parts::object(&queue["arguments"])),
        ("No-ack guard", said("no_ack_guard")),
        ("Node", said("node")),
    ])
}

/// What became of all that it accepted; it adds up, always.
fn balance(queue: &Value) -> Markup {
    let balance = &queue["message_balance"];
    let part = |name: &str| count(number(balance, name));
    let discarded = balance["discarded"].as_object();
    let discarded: Vec<_> = discarded
        .into_iter()
        .flatten()
        .filter(|(_, number)| number.as_u64().unwrap_or(0) > 0)
        .collect();
    html! {
        dl class="figures small" {
            (figure("Accepted", &part("accepted"), ""))
            (figure("Settled", &part("settled"), ""))
            (figure("Live", &part("live"), ""))
            (figure("Dead-lettered", &part("dead_lettered"), ""))
            @for (reason, number) in discarded { (figure(&format!("Discarded: {reason}"), &count(number.as_u64().unwrap_or(0)), "")) }
        }
    }
}

fn changes(visit: &Visit, vhost: &str, name: &str, queue: &Value) -> Markup {
    let which = [("vhost", vhost), ("name", name)];
    let ready = count(number(queue, "messages_ready"));
    html! {
        (folded("Publish a message", form(visit, "/exchange/publish", &[("vhost", vhost), ("name", "")], publish_fields(name))))
        (folded("Get messages", form(visit, "/queue/get", &which, html! {
            p class="hint" { "As a consumer would: for a look that changes nothing, see the messages above." }
            (input("How many", "count", "1", ""))
            (parts::select("Afterwards they are", "ackmode", "ack_requeue_true", &[
                ("ack_requeue_true", "back in the queue, flagged redelivered"), ("ack_requeue_false", "acknowledged: gone"),
                ("reject_requeue_true", "rejected, back in the queue"), ("reject_requeue_false", "rejected: dead"),
            ]))
            (submit("Get"))
        })))
        (folded("Purge", form(visit, "/queue/purge", &which, html! {
            p { "Throws away the " b { (ready) } " messages that are ready. This cannot be taken back." }
            (danger("Purge the queue"))
        })))
        (folded("Delete", form(visit, "/queue/delete", &which, html! {
            p { "Deletes the queue " b { (name) } " with all that is in it. This cannot be taken back." }
            (parts::tick("Only if it is empty", "if_empty", true))
            (parts::tick("Only if nobody consumes from it", "if_unused", true))
            (danger("Delete the queue"))
        })))
    }
}

/// The queue that a form is about.
fn which(order: &Order) -> Result<(&str, &str), Problem> {
    Ok((
        order.needed("vhost", "The virtual host")?,
        order.fields.text("name"),
    ))
}

async fn purge(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = which(&order)?;
    order
        .send(Method::DELETE, &path(&["queues", vhost, name, "contents"]), None)
        .await?;
    Ok(Done::said(format!("{name} is purged."), order.back()))
}

async fn get(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = which(&order)?;
    let wanted = order.fields.text("count").trim().parse();
    let wanted: u64 = wanted.map_err(|_| Problem::bad("How many is a number"))?;
    let body = json!({
        "count": wanted,
        "ackmode": order.fields.given("ackmode").unwrap_or("ack_requeue_true"),
        "encoding": "auto",
        "truncate": messages::BODY_BYTES,
    });
    let gotten = order
        .send(Method::POST, &path(&["queues", vhost, name, "get"]), Some(&body))
        .await?;
    let body = html! {
        (crumbs(&[("Queues", "/queues"), (name, &order.back()), ("gotten", "")]))
        @if items(&gotten).is_empty() { (parts::nothing("The queue gave none.")) } @else { section class="panel" { (messages::list(items(&gotten), false)) } }
        p { a href=(order.back()) { "Back to the queue" } }
    };
    Ok(Done::Shown(View::new(format!("Gotten from {name}"), body)))
}

async fn delete(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = which(&order)?;
    let mut conditions = Vec::new();
    if order.fields.ticked("if_empty") {
        conditions.push(("if-empty", "true"));
    }
    if order.fields.ticked("if_unused") {
        conditions.push(("if-unused", "true"));
    }
    let at = link(&path(&["queues", vhost, name]), &conditions);
    order.send(Method::DELETE, &at, None).await?;
    Ok(Done::said(
        format!("The queue {name} is deleted."),
        vhost_link("/queues", vhost),
    ))
}

async fn bind(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = which(&order)?;
    let source = order.needed("source", "The exchange")?;
    let body = json!({
        "routing_key": order.fields.text("routing_key"),
        "arguments": object(order.fields.text("arguments"), "Arguments")?,
    });
    let at = path(&["bindings", vhost, "e", source, "q", name]);
    order.send(Method::POST, &at, Some(&body)).await?;
    Ok(Done::said(format!("{name} is bound to {source}."), order.back()))
}

async fn unbind(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = which(&order)?;
    let (source, key) = (order.needed("source", "The exchange")?, order.fields.text("key"));
    let at = path(&["bindings", vhost, "e", source, "q", name, key]);
    order.send(Method::DELETE, &at, None).await?;
    Ok(Done::said(
        format!("{name} is no longer bound to {source} by {key}."),
        order.back(),
    ))
}
