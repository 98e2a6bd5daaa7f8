//! Virtual hosts: the list, and one with its permissions and limits.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{count, items, number, text};
use crate::look::layout::crumbs;
use crate::look::parts::{
    self, Tone, amount, badge, danger, figure, folded, form, input, live, pairs, panel, select, submit,
};
use crate::look::table::{Column, List, Look, Scope, column, listing, table};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/vhosts", view(list))
        .route("/vhosts/declare", act(declare))
        .route("/vhost", view(one))
        .route("/vhost/delete", act(delete))
        .route("/vhost/limit", act(limit))
}

fn vhost_page(name: &str) -> String {
    link("/vhost", &[("name", name)])
}

const COLUMNS: &[Column] = &[
    column("Name", "name", Look::Text, |vhost| {
        html! { a class="name" href=(vhost_page(text(vhost, "name"))) { (text(vhost, "name")) } }
    }),
    column(
        "Description",
        "",
        Look::Wide,
        |vhost| html! { (text(vhost, "description")) },
    ),
    column(
        "Default queue type",
        "",
        Look::Wide,
        |vhost| html! { (text(vhost, "default_queue_type")) },
    ),
    column("Ready", "messages_ready", Look::Number, |vhost| {
        amount(vhost, "messages_ready")
    }),
    column("Unsettled", "messages_unacknowledged", Look::Number, |vhost| {
        amount(vhost, "messages_unacknowledged")
    }),
    column(
        "Unroutable kept",
        "unroutable.messages",
        Look::WideNumber,
        |vhost| amount(vhost, "unroutable.messages"),
    ),
];

static LIST: List = List {
    page: "/vhosts",
    resource: "vhosts",
    noun: ("virtual host", "virtual hosts"),
    scope: Scope::None,
    paged: false,
    columns: COLUMNS,
    empty: "You may enter no virtual host.",
};

async fn list(visit: Arc<Visit>) -> Result<View, Problem> {
    let body = html! {
        (listing(&visit, &LIST).await?)
        @if visit.is_administrator() {
            (folded("Add a virtual host", form(&visit, "/vhosts/declare", &[], html! {
                (input("Name", "name", "", "You get all permissions in it."))
                (submit("Add"))
            })))
        }
    };
    Ok(View::new("Virtual hosts", body))
}

async fn declare(order: Arc<Order>) -> Result<Done, Problem> {
    let name = order.needed("name", "The name")?;
    order
        .send(Method::PUT, &path(&["vhosts", name]), Some(&json!({})))
        .await?;
    Ok(Done::said(
        format!("The virtual host {name} is there."),
        vhost_page(name),
    ))
}

async fn one(visit: Arc<Visit>) -> Result<View, Problem> {
    let name = visit.wanted("name");
    let vhost = visit.ask.get(&path(&["vhosts", name])).await?;
    let permissions = visit.ask.find(&path(&["vhosts", name, "permissions"])).await;
    let limits = visit.ask.find(&path(&["vhost-limits", name])).await;
    let body = html! {
        (crumbs(&[("Virtual hosts", "/vhosts"), (name, "")]))
        (live("figures", html! { dl class="figures" {
            (figure("Ready", &count(number(&vhost, "messages_ready")), "messages"))
            (figure("Unsettled", &count(number(&vhost, "messages_unacknowledged")), "messages"))
            (figure("Unroutable kept", &count(number(&vhost, "unroutable.messages")), ""))
        } }))
        div class="columns" {
            (panel("Settings", pairs(&[
                ("Default queue type", html! { (text(&vhost, "default_queue_type")) }),
                ("Unroutable messages", fate(&vhost)),
                ("Description", html! { (text(&vhost, "description")) }),
                ("Inside", html! {
                    a href=(link("/queues", &[("vhost", name)])) { "Queues" } ", "
                    a href=(link("/exchanges", &[("vhost", name)])) { "exchanges" } ", "
                    a href=(link("/connections", &[("vhost", name)])) { "connections" }
                }),
            ])))
            @if let Some(limits) = &limits { (panel("Limits", limits_of(&visit, name, limits))) }
        }
        @if let Some(permissions) = &permissions {
            (panel("Who may enter", table("Permissions", PERMISSIONS, items(permissions), "Nobody.")))
        }
        @if visit.is_administrator() { (panel("Change", folded("Delete", form(&visit, "/vhost/delete", &[("name", name)], html! {
            p { "Deletes the virtual host " b { (name) } " with all queues, exchanges and messages in it, and closes its connections. This cannot be taken back." }
            (input("Write its name to be sure", "sure", "", ""))
            (danger("Delete the virtual host"))
        })))) }
    };
    Ok(View::new(name, body))
}

const PERMISSIONS: &[Column] = &[
    column("User", "", Look::Text, |held| {
        html! { a class="name" href=(link("/user", &[("name", text(held, "user"))])) { (text(held, "user")) } }
    }),
    column(
        "Configure",
        "",
        Look::Text,
        |held| html! { code { (text(held, "configure")) } },
    ),
    column(
        "Write",
        "",
        Look::Text,
        |held| html! { code { (text(held, "write")) } },
    ),
    column(
        "Read",
        "",
        Look::Text,
        |held| html! { code { (text(held, "read")) } },
    ),
];

/// What becomes of what no queue wants.
fn fate(vhost: &Value) -> Markup {
    match text(vhost, "unroutable.fate") {
        "keep" => html! {
            (badge(Tone::Good, "kept")) " up to " (count(number(vhost, "unroutable.messages_max"))) ", "
            a href=(link("/unroutable", &[("vhost", text(vhost, "name"))])) { "look at them" }
        },
        "nack" => badge(Tone::Good, "refused with a nack"),
        "drop" => badge(Tone::Bad, "dropped"),
        other => html! { (other) },
    }
}

/// `max-connections`, `max-queues`, as RabbitMQ has them.
fn limits_of(visit: &Visit, name: &str, limits: &Value) -> Markup {
    let held = items(limits)
        .first()
        .map(|limits| &limits["value"])
        .unwrap_or(&Value::Null);
    let rows = held.as_object().filter(|held| !held.is_empty());
    html! {
        @if let Some(rows) = rows {
            dl class="pairs" { @for (limit, value) in rows { div { dt { (limit) } dd { (parts::scalar(value)) } } } }
        } @else { p class="none" { "No limits." } }
        @if visit.is_administrator() { (folded("Set a limit", form(visit, "/vhost/limit", &[("name", name)], html! {
            (select("Limit", "limit", "max-connections", &[("max-connections", "connections"), ("max-queues", "queues")]))
            (input("At most", "value", "", "A number; empty takes the limit away"))
            (submit("Set"))
        }))) }
    }
}

async fn limit(order: Arc<Order>) -> Result<Done, Problem> {
    let (name, limit) = (
        order.needed("name", "The virtual host")?,
        order.needed("limit", "The limit")?,
    );
    set_limit(&order, &path(&["vhost-limits", name, limit])).await?;
    Ok(Done::said(format!("{limit} of {name} is set."), order.back()))
}

/// Sets it to the number in the form, or takes it away, if there is none.
pub(super) async fn set_limit(order: &Order, at: &str) -> Result<(), Problem> {
    match order.fields.given("value") {
        Some(value) => {
            let value: i64 = value
                .trim()
                .parse()
                .map_err(|_| Problem::bad("A limit is a number"))?;
            order
                .send(Method::PUT, at, Some(&json!({ "value": value })))
                .await?;
        }
        None => drop(order.send(Method::DELETE, at, None).await?),
    }
    Ok(())
}

async fn delete(order: Arc<Order>) -> Result<Done, Problem> {
    let name = order.needed("name", "The virtual host")?;
    if order.fields.text("sure") != name {
        return Err(Problem::bad("Not deleted: the name was not written as it is"));
    }
    order.send(Method::DELETE, &path(&["vhosts", name]), None).await?;
    Ok(Done::said(
        format!("The virtual host {name} is deleted."),
        "/vhosts",
    ))
}
