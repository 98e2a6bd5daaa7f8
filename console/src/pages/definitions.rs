//! Definitions: taken out as a file, and taken in after a look at what would change.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde_json::Value;

use super::queues::vhost_select;
use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{items, plural, text};
use crate::look::parts::{self, Tone, badge, form, panel, submit};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/definitions", view(show))
        .route("/definitions/file", get(file))
        .route("/definitions/import", act(import))
}

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let vhosts = vhost_select(&visit).await;
    let body = html! {
        (panel("Take out", html! {
            p { "A file with users, virtual hosts, permissions, policies, queues, exchanges and bindings, as RabbitMQ writes it. It holds hashes of passwords: keep it safe. Messages are not in it." }
            p { a class="button" href="/definitions/file" download { "Everything" } }
            form method="get" action="/definitions/file" class="stack" {
                (vhosts)
                button type="submit" { "One virtual host" }
            }
        }))
        (panel("Take in", form(&visit, "/definitions/import", &[], html! {
            p { "A file of Everack's or RabbitMQ's. What it names is added or changed; nothing else is touched. It is taken in whole, or not at all." }
            label hidden { span { "File" } input type="file" accept=".json,application/json" data-into="definitions"; }
            label { span { "Definitions" } textarea id="definitions" name="definitions" rows="10" spellcheck="false" {} small { "JSON" } }
            (submit("Look what would change"))
        })))
    };
    Ok(View::new("Definitions", body))
}

/// The file, as a download.
async fn file(visit: Visit, request: Request) -> Response {
    drop(request);
    let vhost = visit.wanted("vhost");
    let at = if vhost.is_empty() {
        path(&["definitions"])
    } else {
        path(&["definitions", vhost])
    };
    match visit.ask.get(&at).await {
        Ok(definitions) => {
            let text = serde_json::to_string_pretty(&definitions).unwrap_or_default();
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (
                    header::CONTENT_DISPOSITION,
                    HeaderValue::from_static("attachment; filename=\"everack-definitions.json\""),
                ),
            ];
            (headers, text).into_response()
        }
        Err(problem) => visit.show(Err(problem)),
    }
}

/// Shows first what would change; does it when it is sent again from there.
async fn import(order: Arc<Order>) -> Result<Done, Problem> {
    let given = order.needed("definitions", "The file")?;
    let definitions: Value =
        serde_json::from_str(given).map_err(|error| Problem::bad(format!("This is no JSON: {error}")))?;
    let sure = order.fields.ticked("sure");
    let query: &[_] = if sure { &[] } else { &[("dry_run", "true")] };
    let at = link(&path(&["definitions"]), query);
    let difference = order.send(Method::POST, &at, Some(&definitions)).await?;
    if sure {
        return Ok(Done::said("The definitions are taken in.", "/definitions"));
    }
    if difference["dry_run"] != true {
        return Err(Problem::bad("The broker did not say what would change"));
    }
    let body = html! {
        (panel("What would change", changes(&difference)))
        (form(&order.visit, "/definitions/import", &[("sure", "true"), ("definitions", given)], html! {
            div class="row" { (submit("Take it in")) a href="/definitions" { "Back, change nothing" } }
        }))
    };
    Ok(Done::Shown(View::new("Take in?", body)))
}

/// The difference: lists by what becomes of the things in them.
fn changes(difference: &Value) -> Markup {
    let lists = difference.as_object();
    let lists: Vec<_> = lists
        .into_iter()
        .flatten()
        .filter(|(_, list)| !items(list).is_empty())
        .collect();
    html! {
        @if lists.is_empty() { p { (badge(Tone::Good, "nothing")) " All of it is there already." } }
        @for (what, list) in lists {
            h3 { (what) ": " (plural(items(list).len() as u64, "thing", "things")) }
            ul class="object" { @for item in items(list) { li { code { (scalar(item)) } } } }
        }
    }
}

/// A thing that changes, in one line.
fn scalar(item: &Value) -> String {
    let name = text(item, "name");
    match name {
        "" => parts::scalar(item),
        name => {
            let kind = text(item, "kind");
            let vhost = text(item, "vhost");
            [kind, vhost, name]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        }
    }
}
