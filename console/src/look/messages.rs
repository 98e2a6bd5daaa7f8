//! Messages in a list: what they are, and a piece of their bodies.

use maud::{Markup, html};
use serde_json::Value;

use super::format::{age, bytes, count, moment, number, text};
use super::parts::{Tone, badge, object};

/// How many messages a page shows.
pub(crate) const SHOWN: u64 = 50;
/// Bytes of each body that are asked for.
pub(crate) const BODY_BYTES: u64 = 2_000;

/// Each in a row that opens; with a box to tick, where something can be ordered.
pub(crate) fn list(messages: &[Value], tick: bool) -> Markup {
    html! {
        ul class="messages" {
            @for message in messages {
                li {
                    @if tick {
                        @let id = number(message, "id").to_string();
                        input type="checkbox" name="id" value=(id) aria-label=(format!("Choose message {id}"));
                    }
                    (one(message))
                }
            }
        }
    }
}

/// One that opens.
pub(crate) fn one(message: &Value) -> Markup {
    let key = text(message, "routing_key");
    let size = number(message, "payload_bytes");
    html! {
        details {
            summary {
                @if message["id"].is_u64() { code { "#" (number(message, "id")) } " " }
                @if !text(message, "reason").is_empty() { (badge(Tone::Warn, text(message, "reason"))) " " }
                @if !text(message, "state").is_empty() { (badge(Tone::Calm, text(message, "state"))) " " }
                @if message["held_seconds"].is_u64() { (badge(Tone::Calm, &format!("held for {}", age(number(message, "held_seconds"))))) " " }
                @if message["redelivered"] == true { (badge(Tone::Calm, "redelivered")) " " }
                code class="key" { (if key.is_empty() { "(empty key)" } else { key }) }
                " " small { (bytes(size)) }
                " " span class="excerpt" { (excerpt(message)) }
            }
            dl class="pairs" {
                (pair("Exchange", text(message, "exchange")))
                (pair("Routing key", key))
                @if number(message, "deliveries") > 0 { div { dt { "Deliveries" } dd { (count(number(message, "deliveries"))) } } }
                @if number(message, "failures") > 0 { div { dt { "Failures" } dd { (count(number(message, "failures"))) } } }
                @if message["retained_until"].is_u64() { div { dt { "Retained until" } dd { (moment(number(message, "retained_until"))) } } }
                @if message["expires"].is_u64() { div { dt { "Expires" } dd { (moment(number(message, "expires"))) } } }
                div { dt { "Properties" } dd { (object(&message["properties"])) } }
                @if message["held_seconds"].is_u64() { div { dt { "Held for" } dd { (age(number(message, "held_seconds"))) } } }
                (pair("Held by", &holder(message)))
                (pair("Error", text(message, "error")))
            }
            @if message["payload_encoding"] == "base64" { p class="hint" { "Not text: shown in Base64." } }
            pre class="body" { (text(message, "payload")) }
            @if (text(message, "payload").len() as u64) < size && message["payload_encoding"] != "base64" {
                p class="hint" { "The first part of " (bytes(size)) "." }
            }
        }
    }
}

/// Who holds it: connection, channel, tag.
fn holder(message: &Value) -> String {
    let connection = text(message, "held_by.channel_details.connection_name");
    if connection.is_empty() {
        return String::new();
    }
    let channel = number(message, "held_by.channel_details.number");
    let tag = text(message, "held_by.consumer_tag");
    format!("{connection}, channel {channel} {tag}")
        .trim_end()
        .to_owned()
}

fn pair(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { div { dt { (name) } dd { (value) } } } }
}

/// The beginning of the body in one line.
fn excerpt(message: &Value) -> String {
    let body = text(message, "payload");
    body.chars()
        .take(120)
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect()
}
