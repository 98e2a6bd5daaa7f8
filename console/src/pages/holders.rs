//! Who consumes from a queue or holds messages of it, how each gets on, and a message taken from who holds it.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::act;
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{self, count, items, number, per_second, rate, text};
use crate::look::layout::crumbs;
use crate::look::messages;
use crate::look::parts::{Tone, amount, badge, connection_link, form};
use crate::look::table::{Column, Look, column, table};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/messages/release", act(release))
}

/// What is held for longer is pointed out where nothing else is said: half of what RabbitMQ gives a consumer by default.
const LONG_SECONDS: u64 = 900;

/// From when on it is pointed out that a message is held.
pub(super) fn long_seconds(queue: &Value) -> u64 {
    match number(queue, "consumer_timeout_seconds") {
        0 => LONG_SECONDS,
        timeout => timeout / 2,
    }
}

const CONNECTION: Column = column("Connection", "", Look::Text, |holder| {
    connection_link(text(holder, "channel_details.connection_name"))
});
const CHANNEL: Column = column(
    "Channel",
    "",
    Look::WideNumber,
    |holder| html! { (number(holder, "channel_details.number")) },
);
const OLDEST: Column = column("Oldest", "", Look::Number, age);

const CONSUMERS: &[Column] = &[
    CONNECTION,
    CHANNEL,
    column("Tag", "", Look::Text, tag),
    column("Acknowledges", "", Look::Text, |consumer| {
        if consumer["ack_required"] == false {
            badge(Tone::Bad, "no: what it holds can be lost")
        } else {
            badge(Tone::Good, "yes")
        }
    }),
    column("Prefetch", "", Look::WideNumber, |consumer| {
        amount(consumer, "prefetch_count")
    }),
    column("Holds", "", Look::Number, held_by),
    OLDEST,
    column("Delivered", "", Look::WideNumber, |consumer| {
        progress(consumer, "message_stats.deliver")
    }),
    column("Acknowledged", "", Look::WideNumber, |consumer| {
        progress(consumer, "message_stats.ack")
    }),
    column(
        "State",
        "",
        Look::Wide,
        |consumer| html! { (text(consumer, "activity_status")) },
    ),
];

const OTHERS: &[Column] = &[
    CONNECTION,
    CHANNEL,
    column("By", "", Look::Text, |holder| match text(holder, "kind") {
        "get" => html! { "basic.get" },
        _ => html! { "a consumer that was cancelled" },
    }),
    column("Holds", "", Look::Number, |holder| {
        amount(holder, "messages_unacknowledged")
    }),
    OLDEST,
];

/// How many, with the way to them.
fn held_by(consumer: &Value) -> Markup {
    if number(consumer, "messages_unacknowledged") == 0 {
        return amount(consumer, "messages_unacknowledged");
    }
    let which = [
        ("vhost", text(consumer, "queue.vhost")),
        ("name", text(consumer, "queue.name")),
        ("state", "unsettled"),
        ("consumer", &number(consumer, "consumer").to_string()),
    ];
    html! { a href=(link("/messages", &which)) { (count(number(consumer, "messages_unacknowledged"))) } }
}

fn tag(consumer: &Value) -> Markup {
    html! { code { (text(consumer, "consumer_tag")) } }
}

fn age(holder: &Value) -> Markup {
    match holder["oldest_unsettled_seconds"].as_u64() {
        None => html! { span class="none" { "none" } },
        Some(seconds) => html! { (format::age(seconds)) },
    }
}

/// How many, and how fast.
fn progress(holder: &Value, field: &str) -> Markup {
    html! { (count(number(holder, field))) " " small { (per_second(rate(holder, field).unwrap_or_default())) } }
}

/// All who hold messages of a queue, or would.
pub(super) fn shown(queue: &Value, holders: &Value) -> Markup {
    let consumers = items(&queue["consumer_details"]);
    let others = items(holders)
        .iter()
        .filter(|holder| text(holder, "kind") != "consumer" && number(holder, "messages_unacknowledged") > 0);
    let others: Vec<Value> = others.cloned().collect();
    let oldest = number(queue, "oldest_unsettled_seconds");
    let which = [
        ("vhost", text(queue, "vhost")),
        ("name", text(queue, "name")),
        ("state", "unsettled"),
    ];
    html! {
        @if oldest > long_seconds(queue) {
            p class="message bad" { "A message has been with a consumer for " (format::age(oldest)) " and is not acknowledged." }
        }
        (table("Consumers", CONSUMERS, consumers, "Nobody consumes from it."))
        @if !others.is_empty() { h3 { "Others that hold messages" } (table("Others that hold messages", OTHERS, &others, "")) }
        @if number(queue, "messages_unacknowledged") > 0 {
            p { a href=(link("/messages", &which)) { "Look at what they hold" } }
        }
    }
}

/// Messages that are held, each with who holds it and a way to take it away.
pub(super) fn held(visit: &Visit, vhost: &str, name: &str, shown: &[Value]) -> Markup {
    html! {
        ul class="messages" {
            @for message in shown {
                li {
                    (messages::one(message))
                    (form(visit, "/messages/release", &[
                        ("vhost", vhost), ("name", name), ("id", &number(message, "id").to_string()), ("delivery", text(message, "delivery")),
                    ], html! { button type="submit" class="small" aria-label=(format!("Release message {}", number(message, "id"))) { "Release…" } }))
                }
            }
        }
    }
}

/// Shows first who would lose it; does it when it is sent again from there.
async fn release(order: Arc<Order>) -> Result<Done, Problem> {
    let vhost = order.needed("vhost", "The virtual host")?;
    let (name, id) = (order.fields.text("name"), order.needed("id", "The message")?);
    let delivery = order.needed("delivery", "The delivery")?;
    let sure = order.fields.ticked("sure");
    let at = path(&["everack", "queues", vhost, name, "messages", id, "release"]);
    let body = json!({ "delivery": delivery, "preview": !sure });
    let told = order.send(Method::POST, &at, Some(&body)).await?;
    let back = link(
        "/messages",
        &[("vhost", vhost), ("name", name), ("state", "unsettled")],
    );
    if sure {
        let whereto = match told["to"].as_object() {
            Some(_) => format!("is with {} now", who(&told["to"])),
            None => "goes to the first consumer that has room".to_owned(),
        };
        return Ok(Done::said(
            format!("Message {id} was released and {whereto}."),
            back,
        ));
    }
    let hidden = [
        ("vhost", vhost),
        ("name", name),
        ("id", id),
        ("delivery", delivery),
        ("sure", "true"),
    ];
    let held = format::age(number(&told, "from.held_seconds"));
    let body = html! {
        (crumbs(&[("Queues", "/queues"), (name, &back), ("release", "")]))
        section class="panel" {
            (form(&order.visit, "/messages/release", &hidden, html! {
                p { "Message " b { (id) } " has been with " b { (who(&told["from"])) } " for " (held) ". It would go back to its place, flagged redelivered, and to another consumer if one has room." }
                p class="hint" { "If the one who holds it is still at work on it, it is worked on twice. What that one says of it afterwards changes nothing." }
                div class="row" {
                    button type="submit" class="danger" { "Release" }
                    a href=(back) { "Back, change nothing" }
                }
            }))
        }
    };
    Ok(Done::Shown(View::new("Release?", body)))
}

/// Somebody who holds a message, in words.
fn who(holder: &Value) -> String {
    let connection = text(holder, "channel_details.connection_name");
    let channel = number(holder, "channel_details.number");
    match text(holder, "consumer_tag") {
        _ if connection.is_empty() => "somebody who is gone".to_owned(),
        "" => format!("channel {channel} of {connection}"),
        tag => format!("consumer {tag} on channel {channel} of {connection}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_message_is_told_in_words() {
        let at = json!({ "number": 2, "connection_name": "1.2.3.4:5 -> 1.2.3.4:6" });
        let check = |holder: Value, expected: &str| assert_eq!(who(&holder), expected);
        check(
            json!({ "consumer_tag": "t", "channel_details": at }),
            "consumer t on channel 2 of 1.2.3.4:5 -> 1.2.3.4:6",
        );
        check(
            json!({ "consumer_tag": null, "channel_details": at }),
            "channel 2 of 1.2.3.4:5 -> 1.2.3.4:6",
        );
        check(
            json!({ "consumer_tag": null, "channel_details": null }),
            "somebody who is gone",
        );
    }

    #[test]
    fn long_is_half_of_what_a_consumer_has() {
        assert_eq!(long_seconds(&json!({ "consumer_timeout_seconds": 60 })), 30);
        assert_eq!(
            long_seconds(&json!({ "consumer_timeout_seconds": null })),
            LONG_SECONDS
        );
    }
}
