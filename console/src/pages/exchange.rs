//! One exchange: what passes, what is bound, and what can be done to it.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::exchanges::features;
use super::overview::HISTORY;
use super::queues::object;
use super::{act, view};
use crate::Console;
use crate::ask::{Problem, path};
use crate::look::chart::{Series, chart};
use crate::look::format::{count, items, number, per_second, text};
use crate::look::layout::{crumbs, vhost_link};
use crate::look::parts::{
    self, Tone, area, badge, danger, exchange_link, figure, folded, form, input, live, pairs, panel,
    queue_link, select, submit,
};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/exchange", view(show))
        .route("/exchange/delete", act(delete))
        .route("/exchange/publish", act(publish))
        .route("/exchange/bind", act(bind))
        .route("/exchange/unbind", act(unbind))
}

/// In the API the default exchange has a name.
fn in_api(name: &str) -> &str {
    if name.is_empty() { "amq.default" } else { name }
}

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let (vhost, name) = (visit.wanted("vhost"), visit.wanted("name"));
    let at = path(&["exchanges", vhost, in_api(name)]);
    let exchange = visit.ask.get(&format!("{at}?{HISTORY}")).await?;
    let from = visit
        .ask
        .find(&format!("{at}/bindings/source"))
        .await
        .unwrap_or_default();
    let to = visit
        .ask
        .find(&format!("{at}/bindings/destination"))
        .await
        .unwrap_or_default();
    let shown = if name.is_empty() { "(default)" } else { name };
    let body = html! {
        (crumbs(&[("Exchanges", "/exchanges"), (vhost, &vhost_link("/exchanges", vhost)), (shown, "")]))
        p { (badge(Tone::Calm, text(&exchange, "type"))) " " (features(&exchange)) }
        (live("figures", figures(&exchange)))
        section class="panel" { (live("rates", rates(&exchange))) }
        (panel("Bindings from it", html! {
            (bindings(&visit, vhost, &from, true))
            @if !name.is_empty() { (binding_form(&visit, vhost, name)) }
        }))
        @if !items(&to).is_empty() { (panel("Bindings to it", bindings(&visit, vhost, &to, false))) }
        (panel("Settings", pairs(&[
            ("Policy", html! { (text(&exchange, "policy")) }),
            ("Arguments", parts::object(&exchange["arguments"])),
        ])))
        (panel("Publish a message", publish_form(&visit, vhost, name)))
        @if !name.is_empty() { (panel("Change", deletion(&visit, vhost, name))) }
    };
    Ok(View::new(shown, body))
}

fn figures(exchange: &Value) -> Markup {
    let sum = |field: &str| count(number(exchange, &format!("message_stats.{field}")));
    html! {
        dl class="figures" {
            (figure("Published in", &sum("publish_in"), ""))
            (figure("Routed out", &sum("publish_out"), ""))
            (figure("Returned", &sum("return_unroutable"), "unroutable"))
            (figure("Not returned", &sum("drop_unroutable"), "unroutable"))
            @if exchange["messages_delayed"].is_u64() {
                (figure("Delayed", &count(number(exchange, "messages_delayed")), "messages"))
            }
        }
    }
}

fn rates(exchange: &Value) -> Markup {
    let series = [
        Series::rate("In", exchange, "message_stats.publish_in"),
        Series::rate("Out", exchange, "message_stats.publish_out"),
    ];
    chart("Message rates", &series, per_second)
}

/// Bindings of one side; the far end is shown.
fn bindings(visit: &Visit, vhost: &str, bindings: &Value, from: bool) -> Markup {
    if items(bindings).is_empty() {
        return parts::nothing("Nothing is bound to it: what is published here is unroutable.");
    }
    html! {
        div class="scroll" role="region" aria-label="Bindings" tabindex="0" { table {
            thead { tr {
                th scope="col" { (if from { "To" } else { "From" }) } th scope="col" { "Routing key" } th scope="col" { "Arguments" }
                th scope="col" { span class="hidden" { "Unbind" } }
            } }
            tbody { @for binding in items(bindings) { tr {
                td { (far_end(vhost, binding, from)) }
                td { code { (text(binding, "routing_key")) } }
                td { (parts::object(&binding["arguments"])) }
                td { @if !text(binding, "source").is_empty() {
                    (form(visit, "/exchange/unbind", &[
                        ("vhost", vhost), ("source", text(binding, "source")), ("kind", text(binding, "destination_type")),
                        ("destination", text(binding, "destination")), ("key", text(binding, "properties_key")),
                    ], html! { button type="submit" class="small" { "Unbind" } }))
                } }
            } } }
        } }
    }
}

fn far_end(vhost: &str, binding: &Value, from: bool) -> Markup {
    match (from, text(binding, "destination_type")) {
        (true, "queue") => queue_link(vhost, text(binding, "destination")),
        (true, _) => {
            html! { (exchange_link(vhost, text(binding, "destination"))) " " (badge(Tone::Calm, "exchange")) }
        }
        (false, _) => exchange_link(vhost, text(binding, "source")),
    }
}

fn binding_form(visit: &Visit, vhost: &str, name: &str) -> Markup {
    folded(
        "Bind",
        form(
            visit,
            "/exchange/bind",
            &[("vhost", vhost), ("source", name)],
            html! {
                (select("To", "kind", "queue", &[("queue", "a queue"), ("exchange", "an exchange")]))
                (input("Its name", "destination", "", ""))
                (input("Routing key", "routing_key", "", ""))
                (area("Arguments", "arguments", "", 2, "A JSON object"))
                (submit("Bind"))
            },
        ),
    )
}

/// Also below a queue, which is reached through the default exchange.
pub(super) fn publish_fields(routing_key: &str) -> Markup {
    html! {
        (input("Routing key", "routing_key", routing_key, ""))
        (area("Body", "payload", "", 4, ""))
        (select("The body is", "encoding", "string", &[("string", "text"), ("base64", "Base64")]))
        (parts::tick("Persistent", "persistent", true))
        (area("Headers", "headers", "", 2, "A JSON object"))
        (area("Other properties", "properties", "", 2, "A JSON object, such as {\"content_type\": \"application/json\", \"priority\": 3}"))
        (submit("Publish"))
    }
}

fn publish_form(visit: &Visit, vhost: &str, name: &str) -> Markup {
    folded(
        "Write a message",
        form(
            visit,
            "/exchange/publish",
            &[("vhost", vhost), ("name", name)],
            publish_fields(""),
        ),
    )
}

fn deletion(visit: &Visit, vhost: &str, name: &str) -> Markup {
    folded(
        "Delete",
        form(
            visit,
            "/exchange/delete",
            &[("vhost", vhost), ("name", name)],
            html! {
                p { "Deletes the exchange " b { (name) } " and its bindings. This cannot be taken back." }
                (parts::tick("Only if nothing is bound to it", "if_unused", true))
                (danger("Delete the exchange"))
            },
        ),
    )
}

fn vhost(order: &Order) -> Result<&str, Problem> {
    order.needed("vhost", "The virtual host")
}

async fn delete(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = (vhost(&order)?, order.needed("name", "The exchange")?);
    let mut at = path(&["exchanges", vhost, name]);
    if order.fields.ticked("if_unused") {
        at += "?if-unused=true";
    }
    order.send(Method::DELETE, &at, None).await?;
    Ok(Done::said(
        format!("The exchange {name} is deleted."),
        vhost_link("/exchanges", vhost),
    ))
}

async fn publish(order: Arc<Order>) -> Result<Done, Problem> {
    let fields = &order.fields;
    let (vhost, name) = (vhost(&order)?, fields.text("name"));
    let mut properties = object(fields.text("properties"), "Other properties")?;
    if fields.given("headers").is_some() {
        properties["headers"] = object(fields.text("headers"), "Headers")?;
    }
    if fields.ticked("persistent") {
        properties["delivery_mode"] = 2.into();
    }
    let body = json!({
        "properties": properties,
        "routing_key": fields.text("routing_key"),
        "payload": fields.text("payload"),
        "payload_encoding": fields.given("encoding").unwrap_or("string"),
    });
    let at = path(&["exchanges", vhost, in_api(name), "publish"]);
    let answer = order.send(Method::POST, &at, Some(&body)).await?;
    let told = if answer["routed"] == true {
        "The message is published and in a queue."
    } else {
        "The message is published, but no queue wanted it."
    };
    Ok(Done::said(told, order.back()))
}

async fn bind(order: Arc<Order>) -> Result<Done, Problem> {
    let fields = &order.fields;
    let (vhost, source) = (vhost(&order)?, order.needed("source", "The exchange")?);
    let destination = order.needed("destination", "The name of what is to be bound")?;
    let body = json!({
        "routing_key": fields.text("routing_key"),
        "arguments": object(fields.text("arguments"), "Arguments")?,
    });
    let at = path(&["bindings", vhost, "e", source, kind(&order), destination]);
    order.send(Method::POST, &at, Some(&body)).await?;
    Ok(Done::said(
        format!("{destination} is bound to {source}."),
        order.back(),
    ))
}

async fn unbind(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, source) = (vhost(&order)?, order.needed("source", "The exchange")?);
    let (destination, key) = (
        order.needed("destination", "What was bound")?,
        order.fields.text("key"),
    );
    let at = path(&["bindings", vhost, "e", source, kind(&order), destination, key]);
    order.send(Method::DELETE, &at, None).await?;
    Ok(Done::said(
        format!("{destination} is no longer bound to {source} by {key}."),
        order.back(),
    ))
}

/// How paths of bindings name what is bound.
fn kind(order: &Order) -> &'static str {
    if order.fields.text("kind") == "exchange" {
        "e"
    } else {
        "q"
    }
}
