//! Messages one by one: those in a queue, and those that are set aside; searched without changing anything, ordered elsewhere or away.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{act, holders, view};
use crate::Console;
use crate::ask::{Problem, link, path};
use crate::look::format::{bytes, count, items, number, plural, text};
use crate::look::layout::crumbs;
use crate::look::messages::{self, BODY_BYTES, SHOWN};
use crate::look::parts::{amount, form, input, live, nothing, panel, queue_link, select};
use crate::look::table::{Column, Look, column, table};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/aside", view(show))
        .route("/parked", view(async |visit| store(visit, &PARKED).await))
        .route("/retained", view(async |visit| store(visit, &RETAINED).await))
        .route("/unroutable", view(async |visit| store(visit, &UNROUTABLE).await))
        .route("/messages", view(async |visit| store(visit, &MESSAGES).await))
        .route(
            "/unroutable/order",
            act(async |order| carry_out(order, &UNROUTABLE).await),
        )
        .route(
            "/messages/order",
            act(async |order| carry_out(order, &MESSAGES).await),
        )
        .route(
            "/parked/order",
            act(async |order| carry_out(order, &PARKED).await),
        )
        .route(
            "/retained/order",
            act(async |order| carry_out(order, &RETAINED).await),
        )
}

/// A store of messages, and what can be ordered about them.
struct Store {
    page: &'static str,
    name: &'static str,
    /// Its path in the API, by virtual host and queue.
    at: fn(&str, &str) -> String,
    /// Out of it: the API's word, ours, and what becomes of them then.
    out: (&'static str, &'static str, &'static str),
    about: &'static str,
}

static PARKED: Store = Store {
    page: "/parked",
    name: "parked",
    at: |vhost, name| path(&["everack", "queues", vhost, name, "parked"]),
    out: ("redrive", "Redrive", "would go back to their places in the queue"),
    about: "Set aside because they failed too often or died without a dead-letter exchange. They stay here until somebody decides.",
};
static RETAINED: Store = Store {
    page: "/retained",
    name: "retained",
    at: |vhost, name| path(&["everack", "queues", vhost, name, "retained"]),
    out: (
        "redeliver",
        "Deliver again",
        "would go back to their places in the queue",
    ),
    about: "Handed over to consumers that do not acknowledge, and kept for a while in case these died of them.",
};
static UNROUTABLE: Store = Store {
    page: "/unroutable",
    name: "unroutable",
    at: |vhost, _| path(&["everack", "vhosts", vhost, "unroutable"]),
    out: (
        "redrive",
        "Route again",
        "would be routed once more, as they were published",
    ),
    about: "No queue wanted them. They are kept until they are too many or too old.",
};
static MESSAGES: Store = Store {
    page: "/messages",
    name: "messages",
    at: |vhost, name| path(&["everack", "queues", vhost, name, "messages"]),
    out: (
        "move",
        "Move",
        "would move to the other queue, each in one step: never lost, never doubled",
    ),
    about: "Looking changes nothing: no message is delivered, counted or flagged by it.",
};

/// Where messages of a queue are, as the API calls it.
const STATES: [(&str, &str); 6] = [
    ("ready", "ready"),
    ("unsettled", "unsettled: in the hands of consumers"),
    ("delayed", "delayed: came back and wait"),
    ("dead", "dead, on their way"),
    ("parked", "parked"),
    ("retained", "retained"),
];
/// What a search may say.
const SEARCHES: [(&str, &str); 4] = [
    ("routing_key", "Routing key"),
    ("message_id", "Message id"),
    ("header", "Header (name:value)"),
    ("text", "Text in the body"),
];

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

/// What is asked of the API: where the list begins, and what is searched for.
fn list_query<'a>(visit: &'a Visit, bounds: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    let mut query: Vec<_> = bounds
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let wanted = SEARCHES.iter().map(|(name, _)| *name);
    let wanted = wanted.chain(["state", "first", "consumer"]);
    query.extend(wanted.filter_map(|name| Some((name, visit.query.given(name)?))));
    query
}

async fn store(visit: Arc<Visit>, store: &'static Store) -> Result<View, Problem> {
    let (vhost, name) = (visit.wanted("vhost"), visit.wanted("name"));
    let bounds = [("count", SHOWN.to_string()), ("truncate", BODY_BYTES.to_string())];
    let listed = visit
        .ask
        .get(&link(&(store.at)(vhost, name), &list_query(&visit, &bounds)))
        .await?;
    let whole = if name.is_empty() {
        link("/vhost", &[("name", vhost)])
    } else {
        link("/queue", &[("vhost", vhost), ("name", name)])
    };
    let of = if name.is_empty() { vhost } else { name };
    let above = match store.page {
        "/messages" => ("Queues", "/queues"),
        _ => ("Set aside", "/aside"),
    };
    let shown = items(&listed["messages"]);
    let body = html! {
        (crumbs(&[above, (of, &whole), (store.name, "")]))
        p class="hint" { (store.about) }
        (search(&visit, store, vhost, name))
        @if shown.is_empty() { (nothing("There is none.")) } @else {
            section class="panel wide-form" { (choice(&visit, store, vhost, name, shown)) }
        }
        (further(&visit, store, &listed))
    };
    Ok(View::new(format!("{of}: {}", store.name), body))
}

fn search(visit: &Visit, store: &Store, vhost: &str, name: &str) -> Markup {
    let state = Some(visit.wanted("state"))
        .filter(|state| !state.is_empty())
        .unwrap_or("ready");
    html! {
        form class="filter" method="get" action=(store.page) role="search" {
            input type="hidden" name="vhost" value=(vhost);
            @if !name.is_empty() { input type="hidden" name="name" value=(name); }
            @if store.page == MESSAGES.page { (select("Which", "state", state, &STATES)) }
            @for (field, words) in SEARCHES { (input(words, field, visit.wanted(field), "")) }
            button type="submit" { "Search" }
        }
    }
}

/// The messages, with boxes to tick and what can be ordered about them.
fn choice(visit: &Visit, store: &Store, vhost: &str, name: &str, shown: &[Value]) -> Markup {
    let state = visit.wanted("state");
    let moves = store.page == MESSAGES.page;
    // Others are in somebody's hands, or on their way.
    let free = !moves || matches!(state, "" | "ready" | "parked");
    if moves && state == "unsettled" {
        return holders::held(visit, vhost, name, shown);
    }
    if !free {
        return messages::list(shown, false);
    }
    let hidden = [("vhost", vhost), ("name", name), ("state", state)];
    let list = html! {
        div class="row" {
            @if moves { (input("To the queue", "to", "", "")) }
            button type="submit" name="order" value="out" { (store.out.1) "…" }
            button type="submit" name="order" value="discard" { "Discard…" }
            label class="tick" hidden { input type="checkbox" data-all="id"; span { "All on this page" } }
            label class="tick" { input type="checkbox" name="all" value="true"; span { "All there are, not only these" } }
        }
        (messages::list(shown, true))
    };
    form(visit, &format!("{}/order", store.page), &hidden, list)
}

/// The next page of a store, if there is one.
fn further(visit: &Visit, store: &Store, listed: &Value) -> Markup {
    let next = match &listed["next"] {
        Value::Null => return html! {},
        Value::String(next) => next.clone(),
        next => next.to_string(),
    };
    let kept = ["vhost", "name", "state", "consumer"]
        .into_iter()
        .chain(SEARCHES.iter().map(|(name, _)| *name));
    let mut query: Vec<_> = kept
        .filter_map(|name| Some((name, visit.query.given(name)?)))
        .collect();
    let first = link(store.page, &query);
    query.push(("first", &next));
    html! {
        nav class="pager" aria-label="More messages" { a href=(first) { "First" } a href=(link(store.page, &query)) rel="next" { "Next" } }
    }
}

/// Shows first what would happen; does it when it is sent again from there.
async fn carry_out(order: Arc<Order>, store: &'static Store) -> Result<Done, Problem> {
    let (vhost, name) = (
        order.needed("vhost", "The virtual host")?,
        order.fields.text("name"),
    );
    let discard = order.fields.text("order") == "discard";
    let verb = if discard { "discard" } else { store.out.0 };
    let sure = order.fields.ticked("sure");
    let mut body = which_messages(&order)?;
    body["preview"] = (!sure).into();
    if store.page == MESSAGES.page {
        body["state"] = order.fields.given("state").unwrap_or("ready").into();
        if !discard {
            body["to"] = order.needed("to", "The queue to move to")?.into();
        }
    }
    let weighed = order
        .send(
            Method::POST,
            &format!("{}/{verb}", (store.at)(vhost, name)),
            Some(&body),
        )
        .await?;
    let which = [
        ("vhost", vhost),
        ("name", name),
        ("state", order.fields.text("state")),
    ];
    let given: Vec<_> = which.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let back = link(store.page, &given);
    if sure {
        let done = if discard { "discarded" } else { "gone from here" };
        let number = plural(number(&weighed, "messages"), "message is", "messages are");
        return Ok(Done::said(format!("{number} {done}.{}", stay(&weighed)), back));
    }
    let title = if discard {
        "Discard?".to_owned()
    } else {
        format!("{}?", store.out.1)
    };
    let body = preview(&order, store, discard, &weighed, &back);
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
        _ => Err(Problem::bad("Tick some messages first, or all there are")),
    }
}

/// What cannot go stays where it is.
fn stay(weighed: &Value) -> String {
    let reason = text(weighed, "reason");
    match number(weighed, "no_room") + number(weighed, "stayed") {
        0 => String::new(),
        left if reason.is_empty() => format!(" {} no room and stay here.", plural(left, "finds", "find")),
        left => format!(" {} here: {reason}.", plural(left, "stays", "stay")),
    }
}

fn preview(order: &Order, store: &Store, discard: bool, weighed: &Value, back: &str) -> Markup {
    let fields = &order.fields;
    let told = plural(number(weighed, "messages"), "message", "messages");
    let size = bytes(number(weighed, "bytes"));
    let fate = match discard {
        true => "would be thrown away. This cannot be taken back",
        false => store.out.2,
    };
    let class = if discard { "danger" } else { "primary" };
    let body = html! {
        p { (told) " (" (size) ") " (fate) "." (stay(weighed)) }
        @for id in fields.all("id") { input type="hidden" name="id" value=(id); }
        @if fields.ticked("all") { input type="hidden" name="all" value="true"; }
        div class="row" {
            button type="submit" class=(class) { (if discard { "Discard" } else { store.out.1 }) }
            a href=(back) { "Back, change nothing" }
        }
    };
    let hidden = [
        ("vhost", fields.text("vhost")),
        ("name", fields.text("name")),
        ("state", fields.text("state")),
        ("to", fields.text("to")),
        ("order", if discard { "discard" } else { "out" }),
        ("sure", "true"),
    ];
    html! { section class="panel" { (form(&order.visit, &format!("{}/order", store.page), &hidden, body)) } }
}
