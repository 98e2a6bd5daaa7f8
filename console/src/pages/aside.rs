//! What is set aside: where messages are parked, retained or unroutable; and those of one store, to be ordered back or away.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{act, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{bytes, count, items, number, plural, text};
use crate::look::layout::crumbs;
use crate::look::messages::{self, BODY_BYTES, SHOWN};
use crate::look::parts::{amount, form, live, nothing, panel, queue_link};
use crate::look::table::{Column, Look, column, table};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/aside", view(show))
        .route("/parked", view(async |visit| store(visit, &PARKED).await))
        .route("/retained", view(async |visit| store(visit, &RETAINED).await))
        .route("/unroutable", view(unroutable))
        .route(
            "/parked/order",
            act(async |order| carry_out(order, &PARKED).await),
        )
        .route(
            "/retained/order",
            act(async |order| carry_out(order, &RETAINED).await),
        )
}

/// A store of a queue, and how its orders are called.
struct Store {
    page: &'static str,
    name: &'static str,
    /// Back to the queue: the API's word, and ours.
    back: (&'static str, &'static str),
    about: &'static str,
}

static PARKED: Store = Store {
    page: "/parked",
    name: "parked",
    back: ("redrive", "Redrive"),
    about: "Set aside because they failed too often or died without a dead-letter exchange. They stay here until somebody decides.",
};
static RETAINED: Store = Store {
    page: "/retained",
    name: "retained",
    back: ("redeliver", "Deliver again"),
    about: "Handed over to consumers that do not acknowledge, and kept for a while in case these died of them.",
};

const QUEUES: &str = "columns=vhost,name,messages_parked,message_bytes_parked,messages_retained&sort_reverse=true&page=1&page_size=100";

const COLUMNS: &[Column] = &[
    column("Vhost", "", Look::Wide, |queue| html! { (text(queue, "vhost")) }),
    column("Queue", "", Look::Text, |queue| {
        queue_link(text(queue, "vhost"), text(queue, "name"))
    }),
    column("Parked", "", Look::Number, |queue| {
        to_store(queue, "/parked", "messages_parked")
    }),
    column(
        "Bytes",
        "",
        Look::WideNumber,
        |queue| html! { (bytes(number(queue, "message_bytes_parked"))) },
    ),
    column("Retained", "", Look::Number, |queue| {
        to_store(queue, "/retained", "messages_retained")
    }),
];

const VHOSTS: &[Column] = &[
    column(
        "Virtual host",
        "",
        Look::Text,
        |vhost| html! { (text(vhost, "name")) },
    ),
    column(
        "What becomes of them",
        "",
        Look::Text,
        |vhost| html! { (text(vhost, "unroutable.fate")) },
    ),
    column("Kept", "", Look::Number, |vhost| {
        let kept = number(vhost, "unroutable.messages");
        let page = link("/unroutable", &[("vhost", text(vhost, "name"))]);
        html! { @if kept > 0 { a href=(page) { (count(kept)) } } @else { (amount(vhost, "unroutable.messages")) } }
    }),
    column("At most", "", Look::WideNumber, |vhost| {
        amount(vhost, "unroutable.messages_max")
    }),
];

fn to_store(queue: &Value, page: &str, field: &str) -> Markup {
    let held = number(queue, field);
    let page = link(
        page,
        &[("vhost", text(queue, "vhost")), ("name", text(queue, "name"))],
    );
    html! { @if held > 0 { a href=(page) { (count(held)) } } @else { (amount(queue, field)) } }
}

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let parked = visit
        .ask
        .get(&format!("/api/queues?{QUEUES}&sort=messages_parked"))
        .await?;
    let retained = visit
        .ask
        .get(&format!("/api/queues?{QUEUES}&sort=messages_retained"))
        .await?;
    let mut queues: Vec<Value> = Vec::new();
    for queue in items(&parked).iter().chain(items(&retained)) {
        let holds = number(queue, "messages_parked") + number(queue, "messages_retained") > 0;
        if holds && !queues.contains(queue) {
            queues.push(queue.clone());
        }
    }
    let vhosts = visit.ask.get("/api/vhosts?columns=name,unroutable").await?;
    let body = html! {
        (panel("In queues", live("queues", table("Queues with messages set aside", COLUMNS, &queues, "No queue has messages set aside."))))
        (panel("Unroutable", html! {
            p class="hint" { "Messages that no queue wanted and that were not returned to their publishers." }
            (live("vhosts", table("Unroutable messages by virtual host", VHOSTS, items(&vhosts), "You may enter no virtual host.")))
        }))
    };
    Ok(View::new("Set aside", body))
}

/// Where a list begins, as the page before said; from the start otherwise.
fn list_query(visit: &Visit) -> String {
    let first: u64 = visit.wanted("first").parse().unwrap_or(0);
    format!("count={SHOWN}&truncate={BODY_BYTES}&first={first}")
}

async fn store(visit: Arc<Visit>, store: &'static Store) -> Result<View, Problem> {
    let (vhost, name) = (visit.wanted("vhost"), visit.wanted("name"));
    let at = path(&["everack", "queues", vhost, name, store.name]);
    let listed = visit.ask.get(&format!("{at}?{}", list_query(&visit))).await?;
    let which = [("vhost", vhost), ("name", name)];
    let queue = link("/queue", &which);
    let shown = items(&listed["messages"]);
    let list = html! {
        div class="row" {
            button type="submit" name="order" value="back" { (store.back.1) "…" }
            button type="submit" name="order" value="discard" { "Discard…" }
            label class="tick" { input type="checkbox" data-all="id" hidden; span { "Tick what is meant" } }
            label class="tick" { input type="checkbox" name="all" value="true"; span { "All in the store, not only these" } }
        }
        (messages::list(shown, true))
    };
    let body = html! {
        (crumbs(&[("Set aside", "/aside"), (name, &queue), (store.name, "")]))
        p class="hint" { (store.about) }
        @if shown.is_empty() { (nothing("There is none.")) } @else {
            section class="panel wide-form" { (form(&visit, &format!("{}/order", store.page), &which, list)) }
        }
        (further(store.page, &which, &listed))
    };
    Ok(View::new(format!("{name}: {}", store.name), body))
}

/// The next page of a store, if there is one.
fn further(page: &str, which: &[(&str, &str)], listed: &Value) -> Markup {
    let next = listed["next"].as_u64().map(|next| next.to_string());
    html! {
        @if let Some(next) = &next {
            @let mut query = which.to_vec();
            @let () = query.push(("first", next));
            nav class="pager" aria-label="More messages" { a href=(link(page, which)) { "First" } a href=(link(page, &query)) rel="next" { "Next" } }
        }
    }
}

async fn unroutable(visit: Arc<Visit>) -> Result<View, Problem> {
    let vhost = visit.wanted("vhost");
    let at = path(&["everack", "vhosts", vhost, "unroutable"]);
    let listed = visit.ask.get(&format!("{at}?{}", list_query(&visit))).await?;
    let shown = items(&listed["messages"]);
    let body = html! {
        (crumbs(&[("Set aside", "/aside"), (vhost, &link("/vhost", &[("name", vhost)])), ("unroutable", "")]))
        p class="hint" { "No queue wanted them. They are kept until they are too many or too old." }
        @if shown.is_empty() { (nothing("There is none.")) } @else { section class="panel" { (messages::list(shown, false)) } }
        (further("/unroutable", &[("vhost", vhost)], &listed))
    };
    Ok(View::new(format!("{vhost}: unroutable"), body))
}

/// Shows first what would happen; does it when it is sent again from there.
async fn carry_out(order: Arc<Order>, store: &'static Store) -> Result<Done, Problem> {
    let (vhost, name) = (
        order.needed("vhost", "The virtual host")?,
        order.needed("name", "The queue")?,
    );
    let discard = order.fields.text("order") == "discard";
    let verb = if discard { "discard" } else { store.back.0 };
    let sure = order.fields.ticked("sure");
    let mut body = which_messages(&order)?;
    body["preview"] = (!sure).into();
    let at = path(&["everack", "queues", vhost, name, store.name, verb]);
    let weighed = order.send(Method::POST, &at, Some(&body)).await?;
    let store_page = link(store.page, &[("vhost", vhost), ("name", name)]);
    if sure {
        let done = if discard { "discarded" } else { "back in the queue" };
        let told = format!("{} {done}.{}", messages_of(&weighed), no_room(&weighed));
        return Ok(Done::said(told, store_page));
    }
    let title = if discard { "Discard?" } else { store.back.1 };
    let body = preview(&order, store, discard, &weighed, &store_page);
    Ok(Done::Shown(View::new(title, body)))
}

/// The ticked ones, or all.
fn which_messages(order: &Order) -> Result<Value, Problem> {
    if order.fields.ticked("all") {
        return Ok(json!({ "all": true }));
    }
    let ids: Result<Vec<u64>, _> = order.fields.all("id").map(str::parse).collect();
    match ids {
        Ok(ids) if !ids.is_empty() => Ok(json!({ "ids": ids })),
        _ => Err(Problem::bad("Tick some messages first, or all in the store")),
    }
}

fn messages_of(weighed: &Value) -> String {
    plural(number(weighed, "messages"), "message is", "messages are")
}

/// What found no place in its queue stays where it is.
fn no_room(weighed: &Value) -> String {
    match number(weighed, "no_room") {
        0 => String::new(),
        stay => format!(
            " {} no room in the queue and stay here.",
            plural(stay, "finds", "find")
        ),
    }
}

fn preview(order: &Order, store: &Store, discard: bool, weighed: &Value, back: &str) -> Markup {
    let (vhost, name) = (order.fields.text("vhost"), order.fields.text("name"));
    let (number, size) = (number(weighed, "messages"), bytes(number(weighed, "bytes")));
    let verb = if discard { "discard" } else { "back" };
    let told = plural(number, "message", "messages");
    let sentence = match discard {
        true => format!("{told} ({size}) would be thrown away. This cannot be taken back."),
        false => format!(
            "{told} ({size}) would go back to their places in {name}.{}",
            no_room(weighed)
        ),
    };
    let class = if discard { "danger" } else { "primary" };
    let fields = html! {
        p { (sentence) }
        @for id in order.fields.all("id") { input type="hidden" name="id" value=(id); }
        @if order.fields.ticked("all") { input type="hidden" name="all" value="true"; }
        div class="row" {
            button type="submit" class=(class) { (if discard { "Discard" } else { store.back.1 }) }
            a href=(back) { "Back, change nothing" }
        }
    };
    let hidden = [
        ("vhost", vhost),
        ("name", name),
        ("order", verb),
        ("sure", "true"),
    ];
    html! { section class="panel" { (form(&order.visit, &format!("{}/order", store.page), &hidden, fields)) } }
}
