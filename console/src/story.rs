//! The order story for somebody who looks on: pages over the JSON of `everack demo --watch`. Apart from the console, because the broker that serves that is
//! one of those that get killed here.
//!
//! Nobody logs in: the demo listens on this machine only, and all that can be done is to kill what the demo itself has started.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde_json::Value;

use crate::ask::{self, Problem, path};
use crate::form::Fields;
use crate::guard;
use crate::look::format::{count, items, number, text};
use crate::look::layout::{self, Theme};
use crate::look::parts::{Tone, badge, figure, live};
use crate::pages::assets;
use crate::random::{self, Token};
use crate::visit::{html as send, see_other};

/// Most bytes of the one form.
const FORM_BYTES_MAX: usize = 4 << 10;

struct Story {
    api: Router,
    /// In the forms, which no other site can read.
    token: Token,
}

/// The page before the story's API.
pub fn story(api: Router) -> Router {
    let story = Arc::new(Story {
        api,
        token: random::token(),
    });
    Router::new()
        .route("/", get(show))
        .route("/kill", post(kill))
        .with_state(story)
        .merge(assets::routes())
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(Vec::new()), guard::guard))
}

async fn show(State(story): State<Arc<Story>>, headers: HeaderMap) -> Response {
    let body = match ask_story(&story, Method::GET, "/api/story").await {
        Ok(state) => page(&state, &random::text(&story.token)),
        Err(problem) => html! { p class="message bad" role="alert" { (problem.reason) } },
    };
    let frame = layout::alone(Theme::of(&headers), "The order story", &body);
    send(frame).into_response()
}

async fn kill(State(story): State<Arc<Story>>, body: Bytes) -> Response {
    let fields = Fields::parse(&body);
    let token = random::parse(fields.text("token"));
    if !token.is_some_and(|token| random::same(&token, &story.token)) {
        return (
            StatusCode::FORBIDDEN,
            "The page is older than the demo: load it again.",
        )
            .into_response();
    }
    let at = path(&["story", "kill", fields.text("what"), fields.text("number")]);
    match ask_story(&story, Method::POST, &at).await {
        Ok(_) => see_other("/"),
        Err(problem) => (problem.status, problem.reason).into_response(),
    }
}

async fn ask_story(story: &Story, method: Method, path: &str) -> Result<Value, Problem> {
    let request = Request::builder().method(method).uri(path).body(Body::empty());
    let request = request.map_err(|error| Problem::bad(error.to_string()))?;
    ask::read(ask::deliver(&story.api, request).await).await
}

fn page(state: &Value, token: &str) -> Markup {
    let playing = state["playing"] == true;
    let title = text(state, "title");
    html! {
        h1 { "The order story" }
        (live("act", html! {
            p class="act" {
                @if playing { (badge(Tone::Good, "playing")) } @else { (badge(Tone::Calm, if items(&state["done"]).len() > 1 { "over" } else { "between the acts" })) }
                " " (title)
            }
        }))
        div data-period="1000" hidden {}
        @if playing || items(&state["done"]).is_empty() { (live("figures", figures(state))) }
        @if playing { (live("stage", stage(state, token))) }
        @if !items(&state["done"]).is_empty() { (live("verdict", verdict(&state["done"]))) }
        section class="panel" {
            h2 { "What happened" }
            div id="events" data-live role="log" aria-live="polite" { (events(state)) }
        }
    }
}

fn figures(state: &Value) -> Markup {
    let shown = |name: &str| count(number(state, name));
    let queued = state["queued"].as_u64().map_or_else(|| "–".to_owned(), count);
    let lost = state["lost"].as_u64();
    let tone = if lost.unwrap_or(0) > 0 { "bad" } else { "good" };
    html! {
        dl class="figures" {
            (figure("Accepted", &shown("accepted"), &format!("of {} orders", shown("orders"))))
            (figure("In the outbox", &shown("outbox"), "not yet confirmed"))
            (figure("In the queue", &queued, "waiting"))
            (figure("In hands", &shown("in_hands"), "of living warehouses"))
            (figure("Shipped", &shown("shipped"), ""))
            (figure("Redelivered", &shown("redelivered"), "given to another"))
            div class=(format!("figure {tone}")) {
                dt { "Lost" }
                dd { (lost.map_or_else(|| "–".to_owned(), count)) small { "nowhere, for seconds" } }
            }
        }
        progress max=(number(state, "orders").max(1)) value=(number(state, "shipped")) aria-label="Orders shipped" {}
    }
}

fn stage(state: &Value, token: &str) -> Markup {
    html! {
        div class="columns three stage" {
            section class="panel" { h2 { "Order services" }
                @for service in items(&state["order_services"]) {
                    (actor("order-service", service, token, &format!("{} not confirmed", count(number(service, "unconfirmed"))), html! {}))
                }
            }
            section class="panel" { h2 { "The broker" }
                @let told = if state["broker"]["alive"] == true { "takes orders and hands them out" } else { "customers notice nothing: the outbox keeps their orders" };
                (actor("broker", &serde_json::json!({ "number": 0, "name": "everack", "alive": state["broker"]["alive"] }), token, told, html! {}))
            }
            section class="panel" { h2 { "Warehouses" }
                @for warehouse in items(&state["warehouses"]) {
                    @let held = number(warehouse, "held");
                    (actor("warehouse", warehouse, token, &format!("{} in hands", count(held)), orders(warehouse, held)))
                }
            }
        }
    }
}

/// Somebody on the stage, who can be killed.
fn actor(what: &str, actor: &Value, token: &str, told: &str, more: Markup) -> Markup {
    let (name, alive) = (text(actor, "name"), actor["alive"] == true);
    html! {
        div class="actor" {
            div class="actor-head" {
                b { (name) } @if alive { (badge(Tone::Good, "alive")) } @else { (badge(Tone::Bad, "dead")) }
                form method="post" action="/kill" {
                    input type="hidden" name="token" value=(token);
                    input type="hidden" name="what" value=(what);
                    input type="hidden" name="number" value=(number(actor, "number"));
                    button type="submit" class="danger small" disabled[!alive] aria-label=(format!("Kill {name}")) { "Kill" }
                }
            }
            p class="none" { (told) }
            (more)
        }
    }
}

fn orders(warehouse: &Value, held: u64) -> Markup {
    let named = items(&warehouse["orders"]);
    let more = held.saturating_sub(named.len() as u64);
    html! {
        ul class="held" {
            @for order in named { li { (order.as_str().unwrap_or_default().trim_start_matches("order-")) } }
            @if more > 0 { li class="none" { "and " (count(more)) " more" } }
        }
    }
}

fn verdict(done: &Value) -> Markup {
    html! {
        section class="panel" {
            h2 { "Acts that are over" }
            div class="scroll" role="region" aria-label="Acts that are over" tabindex="0" { table {
                thead { tr { th scope="col" { "Act" } @for head in ["Accepted", "Shipped", "Lost", "Shipped twice", "Redelivered"] { th scope="col" class="number" { (head) } } } }
                tbody { @for act in items(done) { tr {
                    td { (if act["auto_ack"] == true { "auto-ack" } else { "manual ack" }) }
                    td class="number" { (count(number(act, "orders"))) }
                    td class="number" { (count(number(act, "shipped"))) }
                    td class="number" { @let lost = number(act, "lost"); (badge(if lost > 0 { Tone::Bad } else { Tone::Good }, &count(lost))) }
                    td class="number" { (count(number(act, "shipped_twice"))) }
                    td class="number" { (count(number(act, "redelivered"))) }
                } } }
            } }
        }
    }
}

fn events(state: &Value) -> Markup {
    let events = items(&state["events"]);
    html! {
        @if events.is_empty() { p class="none" { "Nothing yet." } }
        ol class="events" {
            @for event in events.iter().rev() {
                li { span class="none" { (format!("{:.1} s", event["seconds"].as_f64().unwrap_or(0.0))) } " " (text(event, "text")) }
            }
        }
    }
}
