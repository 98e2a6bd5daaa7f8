//! Small parts of pages: figures, states, pairs of names and values, forms that must be opened before they can be sent.

use maud::{Markup, html};
use serde_json::Value;

use super::format::{bytes, count, number, text};
use crate::ask::link;
use crate::visit::Visit;

/// How a state is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Calm,
    Good,
    Warn,
    Bad,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Tone::Calm => "calm",
            Tone::Good => "good",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
        }
    }
}

/// A short state.
pub(crate) fn badge(tone: Tone, words: &str) -> Markup {
    html! { span class=(format!("badge {}", tone.class())) { (words) } }
}

/// A large figure with its name.
pub(crate) fn figure(name: &str, value: &str, beside: &str) -> Markup {
    html! {
        div class="figure" {
            dt { (name) }
            dd { (value) @if !beside.is_empty() { small { (beside) } } }
        }
    }
}

/// A number in a table; nothing is quiet.
pub(crate) fn amount(item: &Value, path: &str) -> Markup {
    match number(item, path) {
        0 => html! { span class="none" { "0" } },
        number => html! { (count(number)) },
    }
}

/// A part of a page that the script refreshes; the id is its own on the page.
pub(crate) fn live(id: &str, body: Markup) -> Markup {
    html! { div id=(id) data-live { (body) } }
}

/// A box with a heading.
pub(crate) fn panel(title: &str, body: Markup) -> Markup {
    html! { section class="panel" { h2 { (title) } (body) } }
}

/// Names and values.
pub(crate) fn pairs(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="pairs" {
            @for (name, value) in rows { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// How full something is. Says it in words too.
pub(crate) fn meter(label: &str, used: u64, limit: u64, alarm: bool, as_bytes: bool) -> Markup {
    let show = |number| if as_bytes { bytes(number) } else { count(number) };
    let tone = if alarm { "bad" } else { "calm" };
    html! {
        div class="meter" {
            div class="meter-words" {
                span { (label) }
                span { (show(used)) @if limit > 0 { " of " (show(limit)) } @if alarm { " " (badge(Tone::Bad, "alarm")) } }
            }
            @if limit > 0 {
                meter class=(tone) min="0" max=(limit) value=(used.min(limit)) aria-label=(label) { (show(used)) }
            }
        }
    }
}

/// Arguments, policies and the like: an object in one line each.
pub(crate) fn object(value: &Value) -> Markup {
    let pairs = value.as_object().filter(|object| !object.is_empty());
    html! {
        @if let Some(object) = pairs {
            ul class="object" { @for (name, value) in object { li { code { (name) } " = " code { (scalar(value)) } } } }
        } @else { span class="none" { "none" } }
    }
}

/// A value without quotes around texts.
pub(crate) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A queue by its name.
pub(crate) fn queue_link(vhost: &str, name: &str) -> Markup {
    html! { a class="name" href=(link("/queue", &[("vhost", vhost), ("name", name)])) { (name) } }
}

/// An exchange by its name; the default one has none.
pub(crate) fn exchange_link(vhost: &str, name: &str) -> Markup {
    let shown = if name.is_empty() { "(default)" } else { name };
    html! { a class="name" href=(link("/exchange", &[("vhost", vhost), ("name", name)])) { (shown) } }
}

/// A connection by its name.
pub(crate) fn connection_link(name: &str) -> Markup {
    html! { a class="name" href=(link("/connection", &[("name", name)])) { (name) } }
}

/// The state of a queue or a connection.
pub(crate) fn state(item: &Value) -> Markup {
    let state = text(item, "state");
    let tone = match state {
        "running" => Tone::Good,
        "flow" | "idle" | "starting" => Tone::Warn,
        "blocked" | "blocking" | "closed" | "down" | "crashed" => Tone::Bad,
        _ => Tone::Calm,
    };
    badge(tone, if state.is_empty() { "unknown" } else { state })
}

/// A form that is sent to a page of ours: with the token, the way back and what is hidden.
pub(crate) fn form(visit: &Visit, action: &str, hidden: &[(&str, &str)], body: Markup) -> Markup {
    html! {
        form method="post" action=(action) class="stack" {
            (visit.form_token())
            input type="hidden" name="back" value=(visit.here());
            @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
            (body)
        }
    }
}

/// A form that must be opened before it can be sent: for what cannot be taken back, and for what is rarely needed.
pub(crate) fn folded(summary: &str, body: Markup) -> Markup {
    html! { details class="folded" { summary { (summary) } div { (body) } } }
}

/// A field of one line.
pub(crate) fn input(label: &str, name: &str, value: &str, hint: &str) -> Markup {
    html! {
        label { span { (label) } input name=(name) value=(value) autocomplete="off" spellcheck="false"; @if !hint.is_empty() { small { (hint) } } }
    }
}

/// A field of several lines.
pub(crate) fn area(label: &str, name: &str, value: &str, rows: u32, hint: &str) -> Markup {
    html! {
        label { span { (label) } textarea name=(name) rows=(rows) spellcheck="false" { (value) } @if !hint.is_empty() { small { (hint) } } }
    }
}

/// A choice of few: values and their words.
pub(crate) fn select(label: &str, name: &str, chosen: &str, choices: &[(&str, &str)]) -> Markup {
    html! {
        label { span { (label) }
            select name=(name) {
                @for (value, words) in choices { option value=(value) selected[*value == chosen] { (words) } }
            }
        }
    }
}

/// A box to tick.
pub(crate) fn tick(label: &str, name: &str, ticked: bool) -> Markup {
    html! { label class="tick" { input type="checkbox" name=(name) value="true" checked[ticked]; span { (label) } } }
}

/// What sends the form.
pub(crate) fn submit(words: &str) -> Markup {
    html! { button type="submit" class="primary" { (words) } }
}

/// What sends a form that takes something away.
pub(crate) fn danger(words: &str) -> Markup {
    html! { button type="submit" class="danger" { (words) } }
}

/// In place of a list without items.
pub(crate) fn nothing(words: &str) -> Markup {
    html! { p class="empty" { (words) } }
}
