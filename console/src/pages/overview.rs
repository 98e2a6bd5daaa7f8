//! The broker at a glance.

use std::sync::Arc;

use axum::Router;
use maud::{Markup, html};
use serde_json::Value;

use super::{risks, view};
use crate::Console;
use crate::ask::Problem;
use crate::look::chart::{Series, chart};
use crate::look::format::{count, duration, items, number, per_second, rate, text};
use crate::look::parts::{Tone, badge, figure, live, meter, panel};
use crate::visit::{View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/", view(show))
}

/// Ten minutes of history, a point every five seconds.
pub(super) const HISTORY: &str = "lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5";

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let overview = visit.ask.get(&format!("/api/overview?{HISTORY}")).await?;
    let nodes = visit.ask.find("/api/nodes").await;
    let body = html! {
        (live("figures", figures(&overview)))
        div class="columns" {
            section class="panel" { (live("lengths", lengths(&overview))) }
            section class="panel" { (live("rates", rates(&overview))) }
        }
        div class="columns three" {
            (panel("Loss risks", live("risks", risks::summary(&visit).await)))
            @if let Some(nodes) = &nodes { (panel("Node", live("node", node(nodes)))) }
            (panel("Listeners", listeners(&overview)))
        }
    };
    Ok(View::new("Overview", body))
}

fn figures(overview: &Value) -> Markup {
    let totals = |what: &str| count(number(overview, &format!("object_totals.{what}")));
    let queued = |what: &str| number(overview, &format!("queue_totals.{what}"));
    let rate = |what: &str| match rate(overview, &format!("message_stats.{what}")) {
        Some(rate) => per_second(rate),
        None => count(number(overview, &format!("message_stats.{what}"))),
    };
    html! {
        dl class="figures" {
            (figure("Ready", &count(queued("messages_ready")), "messages"))
            (figure("Unsettled", &count(queued("messages_unacknowledged")), "messages"))
            (figure("Published", &rate("publish"), ""))
            (figure("Delivered", &rate("deliver_get"), ""))
            (figure("Acknowledged", &rate("ack"), ""))
            (figure("Connections", &totals("connections"), ""))
            (figure("Channels", &totals("channels"), ""))
            (figure("Queues", &totals("queues"), ""))
            (figure("Consumers", &totals("consumers"), ""))
        }
    }
}

fn lengths(overview: &Value) -> Markup {
    let series = [
        Series::length("Ready", overview, "queue_totals.messages_ready"),
        Series::length("Unsettled", overview, "queue_totals.messages_unacknowledged"),
    ];
    chart("Queued messages", &series, |value| count(value.round() as u64))
}

fn rates(overview: &Value) -> Markup {
    let series = [
        Series::rate("Publish", overview, "message_stats.publish"),
        Series::rate("Confirm", overview, "message_stats.confirm"),
        Series::rate("Deliver", overview, "message_stats.deliver_get"),
        Series::rate("Acknowledge", overview, "message_stats.ack"),
        Series::rate("Redeliver", overview, "message_stats.redeliver"),
    ];
    chart("Message rates", &series, per_second)
}

fn node(nodes: &Value) -> Markup {
    html! {
        @for node in items(nodes) {
            p class="node-name" { b { (text(node, "name")) } " "
                @if node["running"] == true { (badge(Tone::Good, "running")) } @else { (badge(Tone::Bad, "down")) }
                " up " (duration(number(node, "uptime"))) }
            @let limit = number(node, "mem_limit");
            (meter("Memory", number(node, "mem_used"), limit, node["mem_alarm"] == true, true))
            @let (free, least) = (number(node, "disk_free"), number(node, "disk_free_limit"));
            p class="meter-words" { span { "Disk free" }
                span { (crate::look::format::bytes(free)) ", alarm below " (crate::look::format::bytes(least))
                    @if node["disk_free_alarm"] == true { " " (badge(Tone::Bad, "alarm")) } } }
            (meter("File descriptors", number(node, "fd_used"), number(node, "fd_total"), false, false))
            (meter("Connections", number(node, "sockets_used"), number(node, "sockets_total"), false, false))
        }
    }
}

fn listeners(overview: &Value) -> Markup {
    html! {
        dl class="pairs" {
            div { dt { "Version" } dd { (text(overview, "product_name")) " " (text(overview, "product_version")) ", for clients of RabbitMQ " (text(overview, "rabbitmq_version")) } }
            @for listener in items(&overview["listeners"]) {
                div { dt { (text(listener, "protocol")) } dd { (text(listener, "ip_address")) ":" (number(listener, "port")) } }
            }
        }
    }
}
