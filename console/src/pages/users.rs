//! Users: the list, and one with its permissions, topic permissions and limits.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::queues::vhost_select;
use super::vhosts::set_limit;
use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{items, text};
use crate::look::layout::crumbs;
use crate::look::parts::{self, Tone, badge, danger, folded, form, input, panel, select, submit};
use crate::look::table::{Column, List, Look, Scope, column, listing};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/users", view(list))
        .route("/users/put", act(put))
        .route("/user", view(one))
        .route("/user/delete", act(delete))
        .route("/user/permit", act(permit))
        .route("/user/forbid", act(forbid))
        .route("/user/permit-topic", act(permit_topic))
        .route("/user/forbid-topic", act(forbid_topic))
        .route("/user/limit", act(limit))
}

fn user_page(name: &str) -> String {
    link("/user", &[("name", name)])
}

const COLUMNS: &[Column] = &[
    column("Name", "name", Look::Text, |user| {
        html! { a class="name" href=(user_page(text(user, "name"))) { (text(user, "name")) } }
    }),
    column("Tags", "", Look::Text, tags),
    column("Log-in", "", Look::Wide, password),
];

static LIST: List = List {
    page: "/users",
    resource: "users",
    noun: ("user", "users"),
    scope: Scope::None,
    paged: false,
    columns: COLUMNS,
    empty: "There is no user.",
};

const TAGS: &str = "With commas between: administrator, monitoring, policymaker, management, impersonator. Empty for clients.";

async fn list(visit: Arc<Visit>) -> Result<View, Problem> {
    let body = html! {
        (listing(&visit, &LIST).await?)
        (folded("Add a user", form(&visit, "/users/put", &[("new", "true")], html! {
            (input("Name", "name", "", ""))
            (new_password("Password"))
            (input("Tags", "tags", "", TAGS))
            (submit("Add"))
        })))
    };
    Ok(View::new("Users", body))
}

fn new_password(label: &str) -> Markup {
    html! { label { span { (label) } input type="password" name="password" autocomplete="new-password"; } }
}

/// A list, or words with commas.
fn tag_words(user: &Value) -> Vec<&str> {
    match &user["tags"] {
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).collect(),
        Value::String(tags) => tags
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

fn tags(user: &Value) -> Markup {
    let words = tag_words(user);
    html! {
        @if words.is_empty() { span class="none" { "none" } }
        @for tag in words { (badge(if tag == "administrator" { Tone::Warn } else { Tone::Calm }, tag)) " " }
    }
}

/// How it can log in, never with what.
fn password(user: &Value) -> Markup {
    match text(user, "password_hash") {
        "" => html! { span class="none" { "no password" } },
        _ => html! { "password" },
    }
}

async fn one(visit: Arc<Visit>) -> Result<View, Problem> {
    let name = visit.wanted("name");
    let at = path(&["users", name]);
    let user = visit.ask.get(&at).await?;
    let permissions = visit
        .ask
        .find(&format!("{at}/permissions"))
        .await
        .unwrap_or_default();
    let topics = visit.ask.find("/api/topic-permissions").await.unwrap_or_default();
    let topics: Vec<&Value> = items(&topics)
        .iter()
        .filter(|held| text(held, "user") == name)
        .collect();
    let limits = visit
        .ask
        .find(&path(&["user-limits", name]))
        .await
        .unwrap_or_default();
    let body = html! {
        (crumbs(&[("Users", "/users"), (name, "")]))
        p { (tags(&user)) " " (password(&user)) }
        (panel("Permissions", permissions_of(&visit, name, &permissions).await))
        (panel("Topic permissions", topics_of(&visit, name, &topics).await))
        (panel("Limits", limits_of(&visit, name, &limits)))
        (panel("Change", html! {
            (folded("Password and tags", form(&visit, "/users/put", &[("name", name)], html! {
                (new_password("New password; empty leaves it as it is"))
                (input("Tags", "tags", &tag_words(&user).join(", "), TAGS))
                (submit("Change"))
            })))
            (folded("Delete", form(&visit, "/user/delete", &[("name", name)], html! {
                p { "Deletes the user " b { (name) } " with its permissions, and closes its connections." }
                (danger("Delete the user"))
            })))
        }))
    };
    Ok(View::new(name, body))
}

async fn permissions_of(visit: &Visit, name: &str, permissions: &Value) -> Markup {
    let vhosts = vhost_select(visit).await;
    html! {
        @if items(permissions).is_empty() { (parts::nothing("It may enter no virtual host.")) } @else {
            div class="scroll" role="region" aria-label="Permissions" tabindex="0" { table {
                thead { tr { th scope="col" { "Virtual host" } th scope="col" { "Configure" } th scope="col" { "Write" } th scope="col" { "Read" }
                    th scope="col" { span class="hidden" { "Take away" } } } }
                tbody { @for held in items(permissions) { tr {
                    td { (text(held, "vhost")) }
                    @for access in ["configure", "write", "read"] { td { code { (text(held, access)) } } }
                    td { (form(visit, "/user/forbid", &[("name", name), ("vhost", text(held, "vhost"))],
                        html! { button type="submit" class="small" { "Take away" } })) }
                } } }
            } }
        }
        (folded("Set permissions", form(visit, "/user/permit", &[("name", name)], html! {
            (vhosts)
            (input("Configure", "configure", ".*", "A regular expression; empty matches nothing"))
            (input("Write", "write", ".*", ""))
            (input("Read", "read", ".*", ""))
            (submit("Set"))
        })))
    }
}

async fn topics_of(visit: &Visit, name: &str, topics: &[&Value]) -> Markup {
    let vhosts = vhost_select(visit).await;
    html! {
        @if topics.is_empty() { (parts::nothing("None: every routing key is allowed.")) } @else {
            div class="scroll" role="region" aria-label="Topic permissions" tabindex="0" { table {
                thead { tr { th scope="col" { "Virtual host" } th scope="col" { "Exchange" } th scope="col" { "Write" } th scope="col" { "Read" }
                    th scope="col" { span class="hidden" { "Take away" } } } }
                tbody { @for held in topics { tr {
                    td { (text(held, "vhost")) }
                    td { (text(held, "exchange")) }
                    @for access in ["write", "read"] { td { code { (text(held, access)) } } }
                    td { (form(visit, "/user/forbid-topic", &[("name", name), ("vhost", text(held, "vhost")), ("exchange", text(held, "exchange"))],
                        html! { button type="submit" class="small" { "Take away" } })) }
                } } }
            } }
        }
        (folded("Set topic permissions", form(visit, "/user/permit-topic", &[("name", name)], html! {
            (vhosts)
            (input("Exchange", "exchange", "amq.topic", ""))
            (input("Write", "write", ".*", "A regular expression for routing keys"))
            (input("Read", "read", ".*", ""))
            (submit("Set"))
        })))
    }
}

fn limits_of(visit: &Visit, name: &str, limits: &Value) -> Markup {
    let held = items(limits)
        .first()
        .map(|limits| &limits["value"])
        .unwrap_or(&Value::Null);
    html! {
        @match held.as_object().filter(|held| !held.is_empty()) {
            Some(held) => dl class="pairs" { @for (limit, value) in held { div { dt { (limit) } dd { (parts::scalar(value)) } } } },
            None => p class="none" { "No limits." },
        }
        (folded("Set a limit", form(visit, "/user/limit", &[("name", name)], html! {
            (select("Limit", "limit", "max-connections", &[("max-connections", "connections"), ("max-channels", "channels")]))
            (input("At most", "value", "", "A number; empty takes the limit away"))
            (submit("Set"))
        })))
    }
}

/// A new user, or another password and other tags.
async fn put(order: Arc<Order>) -> Result<Done, Problem> {
    let name = order.needed("name", "The name")?;
    let at = path(&["users", name]);
    let mut body = json!({ "tags": order.fields.text("tags").replace(' ', "") });
    match order.fields.given("password") {
        Some(password) => body["password"] = password.into(),
        None if order.fields.ticked("new") => return Err(Problem::bad("The password is missing")),
        // As RabbitMQ's own console does it: the hash is handed back as it was.
        None => {
            let user = order.visit.ask.get(&at).await?;
            body["password_hash"] = user["password_hash"].clone();
            body["hashing_algorithm"] = user["hashing_algorithm"].clone();
        }
    }
    order.send(Method::PUT, &at, Some(&body)).await?;
    Ok(Done::said(format!("The user {name} is set."), user_page(name)))
}

async fn delete(order: Arc<Order>) -> Result<Done, Problem> {
    let name = order.needed("name", "The user")?;
    order.send(Method::DELETE, &path(&["users", name]), None).await?;
    Ok(Done::said(format!("The user {name} is deleted."), "/users"))
}

fn whose(order: &Order) -> Result<(&str, &str), Problem> {
    Ok((
        order.needed("vhost", "The virtual host")?,
        order.needed("name", "The user")?,
    ))
}

async fn permit(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = whose(&order)?;
    let access = |access: &str| order.fields.text(access).to_owned();
    let body = json!({ "configure": access("configure"), "write": access("write"), "read": access("read") });
    order
        .send(Method::PUT, &path(&["permissions", vhost, name]), Some(&body))
        .await?;
    Ok(Done::said(
        format!("Permissions of {name} in {vhost} are set."),
        order.back(),
    ))
}

async fn forbid(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = whose(&order)?;
    order
        .send(Method::DELETE, &path(&["permissions", vhost, name]), None)
        .await?;
    Ok(Done::said(
        format!("{name} may no longer enter {vhost}."),
        order.back(),
    ))
}

async fn permit_topic(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = whose(&order)?;
    let body = json!({
        "exchange": order.fields.text("exchange"),
        "write": order.fields.text("write"),
        "read": order.fields.text("read"),
    });
    order
        .send(
            Method::PUT,
            &path(&["topic-permissions", vhost, name]),
            Some(&body),
        )
        .await?;
    Ok(Done::said(
        format!("Topic permissions of {name} in {vhost} are set."),
        order.back(),
    ))
}

async fn forbid_topic(order: Arc<Order>) -> Result<Done, Problem> {
    let (vhost, name) = whose(&order)?;
    let exchange = order.fields.text("exchange");
    order
        .send(
            Method::DELETE,
            &path(&["topic-permissions", vhost, name, exchange]),
            None,
        )
        .await?;
    Ok(Done::said(
        format!("Topic permissions of {name} in {vhost} are gone."),
        order.back(),
    ))
}

async fn limit(order: Arc<Order>) -> Result<Done, Problem> {
    let (name, limit) = (
        order.needed("name", "The user")?,
        order.needed("limit", "The limit")?,
    );
    set_limit(&order, &path(&["user-limits", name, limit])).await?;
    Ok(Done::said(format!("{limit} of {name} is set."), order.back()))
}
