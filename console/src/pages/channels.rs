//! Channels: the list, and those of one connection.

use std::sync::Arc;

use axum::Router;
use maud::{Markup, html};
use serde_json::Value;

use super::view;
use crate::Console;
use crate::ask::Problem;
use crate::look::format::{count, number, per_second, rate, text};
use crate::look::parts::{Tone, amount, badge, connection_link, state};
use crate::look::table::{Column, List, Look, Scope, column, listing};
use crate::visit::{View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/channels", view(list))
}

const CONNECTION: Column = column("Connection", "name", Look::Text, |channel| {
    html! { (connection_link(text(channel, "connection_details.name"))) " (" (number(channel, "number")) ")" }
});
const NUMBER: Column = column(
    "Number",
    "",
    Look::Number,
    |channel| html! { (number(channel, "number")) },
);
const USER: Column = column(
    "User",
    "user",
    Look::Wide,
    |channel| html! { (text(channel, "user")) },
);
const MODE: Column = column("Mode", "", Look::Text, mode);
const STATE: Column = column("State", "state", Look::Wide, state);
const PREFETCH: Column = column("Prefetch", "prefetch_count", Look::WideNumber, |channel| {
    amount(channel, "prefetch_count")
});
const CONSUMERS: Column = column("Consumers", "consumer_count", Look::WideNumber, |channel| {
    amount(channel, "consumer_count")
});
const UNSETTLED: Column = column("Unsettled", "messages_unacknowledged", Look::Number, |channel| {
    amount(channel, "messages_unacknowledged")
});
const UNCONFIRMED: Column = column("Unconfirmed", "messages_unconfirmed", Look::Number, |channel| {
    amount(channel, "messages_unconfirmed")
});
const PUBLISHED: Column = column(
    "Published",
    "message_stats.publish",
    Look::WideNumber,
    |channel| speed(channel, "message_stats.publish"),
);
const DELIVERED: Column = column(
    "Delivered",
    "message_stats.deliver_get",
    Look::WideNumber,
    |channel| speed(channel, "message_stats.deliver_get"),
);
const UNROUTED: Column = column(
    "Unroutable",
    "message_stats.drop_unroutable",
    Look::WideNumber,
    |channel| amount(channel, "message_stats.drop_unroutable"),
);

/// Those of one connection.
pub(super) const OF_CONNECTION: &[Column] = &[
    NUMBER,
    MODE,
    PREFETCH,
    CONSUMERS,
    UNSETTLED,
    UNCONFIRMED,
    PUBLISHED,
    DELIVERED,
    UNROUTED,
];

static LIST: List = List {
    page: "/channels",
    resource: "channels",
    noun: ("channel", "channels"),
    scope: Scope::Within,
    paged: true,
    columns: &[
        CONNECTION,
        USER,
        MODE,
        STATE,
        PREFETCH,
        CONSUMERS,
        UNSETTLED,
        UNCONFIRMED,
        PUBLISHED,
        DELIVERED,
        UNROUTED,
    ],
    empty: "Nobody has a channel open.",
};

async fn list(visit: Arc<Visit>) -> Result<View, Problem> {
    Ok(View::new("Channels", listing(&visit, &LIST).await?))
}

/// Whether what it publishes is safe: confirmed, in transactions, or neither.
pub(super) fn mode(channel: &Value) -> Markup {
    let publishes = number(channel, "message_stats.publish") > 0;
    match (channel["confirm"] == true, channel["transactional"] == true) {
        (true, _) => badge(Tone::Good, "confirms"),
        (_, true) => badge(Tone::Good, "transactions"),
        _ if publishes => badge(Tone::Warn, "no confirms"),
        _ => html! { span class="none" { "–" } },
    }
}

fn speed(channel: &Value, path: &str) -> Markup {
    match rate(channel, path) {
        Some(rate) => html! { (per_second(rate)) },
        None => html! { (count(number(channel, path))) },
    }
}
