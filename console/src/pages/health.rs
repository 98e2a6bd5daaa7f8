//! Health: what RabbitMQ's checks say, each with its reason.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use maud::{Markup, html};

use super::view;
use crate::Console;
use crate::ask::Problem;
use crate::look::parts::{Tone, badge, live};
use crate::visit::{View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/health", view(show))
}

/// Path below `/api/health/checks`, and what it checks.
const CHECKS: [(&str, &str); 6] = [
    ("alarms", "No alarm of memory or disk"),
    ("local-alarms", "No alarm of this node"),
    ("virtual-hosts", "All virtual hosts run"),
    (
        "certificate-expiration/4/weeks",
        "No certificate ends within four weeks",
    ),
    ("protocol-listener/amqp091", "Clients can connect over AMQP 0-9-1"),
    (
        "node-is-quorum-critical",
        "The node could be stopped without a loss of majority",
    ),
];

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let mut rows = Vec::new();
    for (check, about) in CHECKS {
        let result = visit.ask.get(&format!("/api/health/checks/{check}")).await;
        rows.push(row(check, about, &result.map(|_| ())));
    }
    let body = live(
        "checks",
        html! {
            ul class="checks panel" { @for row in &rows { (row) } }
            p class="hint" { "Monitors ask the same under " code { "/api/health/checks/…" } ": 200, or 503 with the reason." }
        },
    );
    Ok(View::new("Health", body))
}

fn row(check: &str, about: &str, result: &Result<(), Problem>) -> Markup {
    let (tone, word, why) = match result {
        Ok(()) => (Tone::Good, "good", ""),
        Err(problem) if problem.status == StatusCode::NOT_FOUND => (Tone::Calm, "not checked", ""),
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => (Tone::Calm, "not for you", ""),
        Err(problem) => (Tone::Bad, "bad", problem.reason.as_str()),
    };
    html! { li { (badge(tone, word)) " " (about) " " code class="none" { (check) } @if !why.is_empty() { p class="why" { (why) } } } }
}
