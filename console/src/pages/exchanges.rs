//! The list of exchanges, and making one.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::queues::{object, vhost_select};
use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{count, items, number, per_second, rate, text};
use crate::look::parts::{
    Tone, amount, area, badge, exchange_link, folded, form, input, select, submit, tick,
};
use crate::look::table::{Column, List, Look, Scope, column, listing};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/exchanges", view(show))
        .route("/exchanges/declare", act(declare))
}

const COLUMNS: &[Column] = &[
    column(
        "Vhost",
        "vhost",
        Look::Wide,
        |exchange| html! { (text(exchange, "vhost")) },
    ),
    column("Name", "name", Look::Text, |exchange| {
        exchange_link(text(exchange, "vhost"), text(exchange, "name"))
    }),
    column(
        "Type",
        "type",
        Look::Text,
        |exchange| html! { (text(exchange, "type")) },
    ),
    column("Features", "", Look::Wide, features),
    column("In", "message_stats.publish_in", Look::Number, |exchange| {
        speed(exchange, "message_stats.publish_in")
    }),
    column("Out", "message_stats.publish_out", Look::WideNumber, |exchange| {
        speed(exchange, "message_stats.publish_out")
    }),
    column(
        "Unroutable",
        "message_stats.drop_unroutable",
        Look::WideNumber,
        |exchange| amount(exchange, "message_stats.drop_unroutable"),
    ),
];

static LIST: List = List {
    page: "/exchanges",
    resource: "exchanges",
    noun: ("exchange", "exchanges"),
    scope: Scope::Behind,
    paged: true,
    columns: COLUMNS,
    empty: "No exchange is here.",
};

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let body = html! {
        (listing(&visit, &LIST).await?)
        (folded("Declare an exchange", declaration(&visit).await))
    };
    Ok(View::new("Exchanges", body))
}

/// Durable, internal, what governs it.
pub(super) fn features(exchange: &Value) -> Markup {
    let policy = text(exchange, "policy");
    html! {
        @if exchange["durable"] == true { (badge(Tone::Calm, "durable")) " " } @else { (badge(Tone::Warn, "transient")) " " }
        @if exchange["auto_delete"] == true { (badge(Tone::Calm, "auto-delete")) " " }
        @if exchange["internal"] == true { (badge(Tone::Calm, "internal")) " " }
        @if !policy.is_empty() { (badge(Tone::Calm, policy)) }
    }
}

/// A rate where there is one, else the sum.
fn speed(exchange: &Value, path: &str) -> Markup {
    match rate(exchange, path) {
        Some(rate) => html! { (per_second(rate)) },
        None => html! { (count(number(exchange, path))) },
    }
}

async fn declaration(visit: &Visit) -> Markup {
    let vhosts = vhost_select(visit).await;
    let overview = visit
        .ask
        .find("/api/overview?columns=exchange_types")
        .await
        .unwrap_or_default();
    let kinds: Vec<_> = items(&overview["exchange_types"])
        .iter()
        .map(|kind| (text(kind, "name"), text(kind, "name")))
        .collect();
    let body = html! {
        (vhosts)
        (input("Name", "name", "", ""))
        (select("Type", "type", "direct", &kinds))
        (select("Durability", "durable", "true", &[("true", "durable: survives a restart"), ("", "transient")]))
        (tick("Auto-delete, when nothing is bound to it any more", "auto_delete", false))
        (tick("Internal: clients cannot publish to it", "internal", false))
        (area("Arguments", "arguments", "", 2, "A JSON object, such as {\"alternate-exchange\": \"spare\"}"))
        (submit("Declare"))
    };
    form(visit, "/exchanges/declare", &[], body)
}

async fn declare(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = (
        order.needed("vhost", "The virtual host")?,
        order.needed("name", "The name")?,
    );
    let body = json!({
        "type": order.fields.given("type").unwrap_or("direct"),
        "durable": order.fields.ticked("durable"),
        "auto_delete": order.fields.ticked("auto_delete"),
        "internal": order.fields.ticked("internal"),
        "arguments": object(order.fields.text("arguments"), "Arguments")?,
    });
    order
        .send(Method::PUT, &path(&["exchanges", vhost, name]), Some(&body))
        .await?;
    let page = link("/exchange", &[("vhost", vhost), ("name", name)]);
    Ok(Done::said(format!("The exchange {name} is declared."), page))
}
