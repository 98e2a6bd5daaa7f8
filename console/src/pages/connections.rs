//! Connections: the list, and one with its channels, which can be closed.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Method};
use maud::{Markup, html};
use serde_json::Value;

use super::channels::OF_CONNECTION;
use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{bytes, items, moment, number, per_second, rate, text};
use crate::look::layout::crumbs;
use crate::look::parts::{
    self, Tone, amount, badge, connection_link, danger, figure, folded, form, input, live, pairs, panel,
    state,
};
use crate::look::table::{Column, List, Look, Scope, column, listing, table};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/connections", view(list))
        .route("/connection", view(one))
        .route("/connection/close", act(close))
}

const COLUMNS: &[Column] = &[
    column("Name", "name", Look::Text, named),
    column(
        "Vhost",
        "vhost",
        Look::Wide,
        |connection| html! { (text(connection, "vhost")) },
    ),
    column(
        "User",
        "user",
        Look::Wide,
        |connection| html! { (text(connection, "user")) },
    ),
    column("State", "state", Look::Text, state),
    column("TLS", "ssl", Look::Wide, encrypted),
    column(
        "Client",
        "",
        Look::Wide,
        |connection| html! { (client(connection)) },
    ),
    column("Channels", "channels", Look::Number, |connection| {
        amount(connection, "channels")
    }),
    column(
        "From client",
        "recv_oct_details.rate",
        Look::WideNumber,
        |connection| traffic(connection, "recv_oct"),
    ),
    column(
        "To client",
        "send_oct_details.rate",
        Look::WideNumber,
        |connection| traffic(connection, "send_oct"),
    ),
];

static LIST: List = List {
    page: "/connections",
    resource: "connections",
    noun: ("connection", "connections"),
    scope: Scope::Within,
    paged: true,
    columns: COLUMNS,
    empty: "Nobody is connected.",
};

async fn list(visit: Arc<Visit>) -> Result<View, Problem> {
    Ok(View::new("Connections", listing(&visit, &LIST).await?))
}

/// Its address, and the name that the client gave itself.
fn named(connection: &Value) -> Markup {
    let given = text(connection, "user_provided_name");
    html! { (connection_link(text(connection, "name"))) @if !given.is_empty() { br; small { (given) } } }
}

fn encrypted(connection: &Value) -> Markup {
    match connection["ssl"].as_bool() {
        Some(true) => badge(Tone::Good, text(connection, "ssl_protocol")),
        _ => html! { span class="none" { "no" } },
    }
}

/// What the client says that it is.
fn client(connection: &Value) -> String {
    let said = |name: &str| text(connection, &format!("client_properties.{name}")).to_owned();
    format!("{} {}", said("product"), said("version"))
        .trim()
        .to_owned()
}

/// A rate where there is one, else the sum.
fn traffic(connection: &Value, field: &str) -> Markup {
    match rate(connection, field) {
        Some(rate) => html! { (bytes(rate.max(0.0) as u64)) "/s" },
        None => html! { (bytes(number(connection, field))) },
    }
}

async fn one(visit: Arc<Visit>) -> Result<View, Problem> {
    let name = visit.wanted("name");
    let at = path(&["connections", name]);
    let connection = visit.ask.get(&at).await?;
    let channels = visit
        .ask
        .find(&format!("{at}/channels"))
        .await
        .unwrap_or_default();
    let body = html! {
        (crumbs(&[("Connections", "/connections"), (name, "")]))
        p { (state(&connection)) " " (badge(Tone::Calm, text(&connection, "protocol"))) }
        (live("figures", figures(&connection)))
        (panel("Channels", live("channels", table("Channels", OF_CONNECTION, items(&channels), "It has no channel."))))
        div class="columns" {
            (panel("Connection", about(&connection)))
            (panel("Client properties", parts::object(&connection["client_properties"])))
        }
        (panel("Change", folded("Close", form(&visit, "/connection/close", &[("name", name)], html! {
            p { "The client is told, and what it has not acknowledged goes back to its queues at once." }
            (input("Reason", "reason", "Closed via the console", "The client reads it."))
            (danger("Close the connection"))
        }))))
    };
    Ok(View::new(name, body))
}

fn figures(connection: &Value) -> Markup {
    let speed = |field: &str| {
        rate(connection, field).map_or_else(String::new, |rate| format!("{}/s", bytes(rate.max(0.0) as u64)))
    };
    let packets = |field: &str| {
        rate(connection, field).map_or_else(|| number(connection, field).to_string(), per_second)
    };
    html! {
        dl class="figures" {
            (figure("Channels", &number(connection, "channels").to_string(), ""))
            (figure("From client", &bytes(number(connection, "recv_oct")), &speed("recv_oct")))
            (figure("To client", &bytes(number(connection, "send_oct")), &speed("send_oct")))
            (figure("Reads", &packets("recv_cnt"), ""))
            (figure("Writes", &packets("send_cnt"), ""))
        }
    }
}

fn about(connection: &Value) -> Markup {
    let said = |field: &str| html! { (text(connection, field)) };
    let many = |field: &str| html! { (number(connection, field)) };
    pairs(&[
        ("User", said("user")),
        ("Virtual host", said("vhost")),
        ("Name given by the client", said("user_provided_name")),
        ("Logged in by", said("auth_mechanism")),
        (
            "Connected at",
            html! { (moment(number(connection, "connected_at"))) },
        ),
        (
            "TLS",
            html! { (encrypted(connection)) " " (text(connection, "ssl_cipher")) },
        ),
        ("Heartbeat", html! { (number(connection, "timeout")) " s" }),
        (
            "Largest frame",
            html! { (bytes(number(connection, "frame_max"))) },
        ),
        ("Most channels", many("channel_max")),
    ])
}

async fn close(order: Arc<Order>) -> Result<Done, Problem> {
    let name = order.needed("name", "The connection")?;
    let reason = order.fields.given("reason").unwrap_or("Closed via the console");
    let reason =
        HeaderValue::from_str(reason).map_err(|_| Problem::bad("The reason must be one line of text"))?;
    let at = path(&["connections", name]);
    order
        .visit
        .ask
        .call(Method::DELETE, &at, None, &[("x-reason", reason)])
        .await?;
    Ok(Done::said(
        format!("The connection {name} is closed."),
        link("/connections", &[]),
    ))
}
