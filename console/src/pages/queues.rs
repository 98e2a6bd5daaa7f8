//! The list of queues, and making one.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{count, items, number, per_second, rate, text};
use crate::look::parts::{
    Tone, amount, area, badge, folded, form, input, queue_link, select, state, submit, tick,
};
use crate::look::table::{Column, List, Look, Scope, column, listing};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/queues", view(show))
        .route("/queues/declare", act(declare))
}

const COLUMNS: &[Column] = &[
    column(
        "Vhost",
        "vhost",
        Look::Wide,
        |queue| html! { (text(queue, "vhost")) },
    ),
    column("Name", "name", Look::Text, |queue| {
        queue_link(text(queue, "vhost"), text(queue, "name"))
    }),
    column("Features", "", Look::Wide, features),
    column("State", "state", Look::Wide, state),
    column("Ready", "messages_ready", Look::Number, |queue| {
        amount(queue, "messages_ready")
    }),
    column("Unsettled", "messages_unacknowledged", Look::Number, |queue| {
        amount(queue, "messages_unacknowledged")
    }),
    column("Parked", "messages_parked", Look::WideNumber, parked),
    column("Consumers", "consumers", Look::WideNumber, |queue| {
        amount(queue, "consumers")
    }),
    column(
        "In",
        "message_stats.publish_details.rate",
        Look::WideNumber,
        |queue| speed(queue, "message_stats.publish"),
    ),
    column(
        "Out",
        "message_stats.deliver_get_details.rate",
        Look::WideNumber,
        |queue| speed(queue, "message_stats.deliver_get"),
    ),
];

static LIST: List = List {
    page: "/queues",
    resource: "queues",
    noun: ("queue", "queues"),
    scope: Scope::Behind,
    paged: true,
    columns: COLUMNS,
    empty: "No queue is here.",
};

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let body = html! {
        (listing(&visit, &LIST).await?)
        (folded("Declare a queue", declaration(&visit).await))
    };
    Ok(View::new("Queues", body))
}

fn speed(queue: &Value, path: &str) -> Markup {
    html! { @match rate(queue, path) { Some(rate) => { (per_second(rate)) } None => { span class="none" { "–" } } } }
}

fn parked(queue: &Value) -> Markup {
    let parked = number(queue, "messages_parked");
    html! {
        @if parked > 0 {
            a href=(link("/parked", &[("vhost", text(queue, "vhost")), ("name", text(queue, "name"))])) { (count(parked)) }
        } @else { span class="none" { "0" } }
    }
}

/// Durable, its type, what governs it.
pub(super) fn features(queue: &Value) -> Markup {
    let kind = text(queue, "type");
    let policy = text(queue, "policy");
    html! {
        @if !kind.is_empty() { (badge(Tone::Calm, kind)) " " }
        @if queue["durable"] == true { (badge(Tone::Calm, "durable")) " " } @else { (badge(Tone::Warn, "transient")) " " }
        @if queue["auto_delete"] == true { (badge(Tone::Calm, "auto-delete")) " " }
        @if queue["exclusive"] == true { (badge(Tone::Calm, "exclusive")) " " }
        @if !policy.is_empty() { (badge(Tone::Calm, policy)) }
    }
}

/// The vhosts that a form offers: all that the user sees.
pub(super) async fn vhost_select(visit: &Visit) -> Markup {
    let vhosts = visit.ask.find("/api/vhosts?columns=name").await;
    let vhosts = vhosts.as_ref().map_or(&[][..], items);
    let chosen = Some(visit.wanted("vhost"))
        .filter(|vhost| !vhost.is_empty())
        .unwrap_or("/");
    let choices: Vec<_> = vhosts
        .iter()
        .map(|vhost| (text(vhost, "name"), text(vhost, "name")))
        .collect();
    select("Virtual host", "vhost", chosen, &choices)
}

async fn declaration(visit: &Visit) -> Markup {
    let vhosts = vhost_select(visit).await;
    let body = html! {
        (vhosts)
        (input("Name", "name", "", ""))
        (select("Type", "type", "", &[("", "the vhost's default"), ("classic", "classic"), ("quorum", "quorum")]))
        (select("Durability", "durable", "true", &[("true", "durable: survives a restart"), ("", "transient")]))
        (tick("Auto-delete, when its last consumer is gone", "auto_delete", false))
        (area("Arguments", "arguments", "", 3, "A JSON object, such as {\"x-delivery-limit\": 5}"))
        (submit("Declare"))
    };
    form(visit, "/queues/declare", &[], body)
}

/// The object in a field; an empty one if nothing is there.
pub(super) fn object(text: &str, what: &str) -> Result<Value, Problem> {
    if text.trim().is_empty() {
        return Ok(json!({}));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err(Problem::bad(format!("{what}: a JSON object is needed"))),
        Err(error) => Err(Problem::bad(format!("{what}: {error}"))),
    }
}

async fn declare(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = (
        order.needed("vhost", "The virtual host")?,
        order.needed("name", "The name")?,
    );
    let mut arguments = object(order.fields.text("arguments"), "Arguments")?;
    if let Some(kind) = order.fields.given("type") {
        arguments["x-queue-type"] = kind.into();
    }
    let body = json!({
        "durable": order.fields.ticked("durable"),
        "auto_delete": order.fields.ticked("auto_delete"),
        "arguments": arguments,
    });
    order
        .send(Method::PUT, &path(&["queues", vhost, name]), Some(&body))
        .await?;
    let page = link("/queue", &[("vhost", vhost), ("name", name)]);
    Ok(Done::said(format!("The queue {name} is declared."), page))
}
