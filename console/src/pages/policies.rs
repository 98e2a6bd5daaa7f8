//! Policies and operator policies: both lists on one page, and setting them.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::queues::{object, vhost_select};
use super::{act, view};
use crate::Console;
use crate::ask::{Problem, path};
use crate::look::format::{items, text};
use crate::look::parts::{self, area, folded, form, input, panel, select, submit};
use crate::visit::{Done, Order, View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/policies", view(show))
        .route("/policies/set", act(set))
        .route("/policies/clear", act(clear))
}

/// Most policies of one kind that are shown. A broker has a handful.
const SHOWN_MAX: usize = 500;

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let policies = visit.ask.get("/api/policies").await?;
    let operators = visit.ask.find("/api/operator-policies").await.unwrap_or_default();
    let vhosts = vhost_select(&visit).await;
    let body = html! {
        (panel("Policies", html! {
            (list(&visit, "policies", &policies, visit.is_policymaker()))
            @if visit.is_policymaker() { (setting(&visit, "policies", "Set a policy", &vhosts)) }
        }))
        (panel("Operator policies", html! {
            p class="hint" { "They bound what policies and arguments may say: of two limits the smaller one counts." }
            (list(&visit, "operator-policies", &operators, visit.is_administrator()))
            @if visit.is_administrator() { (setting(&visit, "operator-policies", "Set an operator policy", &vhosts)) }
        }))
    };
    Ok(View::new("Policies", body))
}

fn list(visit: &Visit, kind: &str, policies: &Value, may_change: bool) -> Markup {
    if items(policies).is_empty() {
        return parts::nothing("None.");
    }
    html! {
        div class="scroll" role="region" aria-label="Policies" tabindex="0" { table {
            thead { tr {
                th scope="col" class="wide" { "Vhost" } th scope="col" { "Name" } th scope="col" { "Pattern" } th scope="col" class="wide" { "For" }
                th scope="col" { "Definition" } th scope="col" class="number wide" { "Priority" }
                @if may_change { th scope="col" { span class="hidden" { "Clear" } } }
            } }
            tbody { @for policy in items(policies).iter().take(SHOWN_MAX) { tr {
                td class="wide" { (text(policy, "vhost")) }
                td { b { (text(policy, "name")) } }
                td { code { (text(policy, "pattern")) } }
                td class="wide" { (text(policy, "apply-to")) }
                td { (parts::object(&policy["definition"])) }
                td class="number wide" { (parts::scalar(&policy["priority"])) }
                @if may_change { td { (form(visit, "/policies/clear", &[
                    ("kind", kind), ("vhost", text(policy, "vhost")), ("name", text(policy, "name")),
                ], html! { button type="submit" class="small" { "Clear" } })) } }
            } } }
        } }
        @if items(policies).len() > SHOWN_MAX { p class="hint" { "Only the first " (SHOWN_MAX) " are shown." } }
    }
}

fn setting(visit: &Visit, kind: &str, title: &str, vhosts: &Markup) -> Markup {
    let targets = [
        ("all", "exchanges and queues"),
        ("queues", "queues"),
        ("classic_queues", "classic queues"),
        ("quorum_queues", "quorum queues"),
        ("exchanges", "exchanges"),
    ];
    let targets = if kind == "policies" {
        &targets[..]
    } else {
        &targets[1..4]
    };
    folded(
        title,
        form(
            visit,
            "/policies/set",
            &[("kind", kind)],
            html! {
                (vhosts)
                (input("Name", "name", "", ""))
                (input("Pattern", "pattern", "", "A regular expression for names, such as ^orders"))
                (select("For", "apply_to", "queues", targets))
                (input("Priority", "priority", "0", "The highest one that matches counts"))
                (area("Definition", "definition", "", 4, "A JSON object, such as {\"max-length\": 10000, \"overflow\": \"reject-publish\"}"))
                (submit("Set"))
            },
        ),
    )
}

/// Which of the two lists, and the policy's place in it.
fn place(order: &Order) -> Result<String, Problem> {
    let kind = match order.fields.text("kind") {
        "operator-policies" => "operator-policies",
        _ => "policies",
    };
    let (vhost, name) = (
        order.needed("vhost", "The virtual host")?,
        order.needed("name", "The name")?,
    );
    Ok(path(&[kind, vhost, name]))
}

async fn set(order: Arc<Order>) -> Result<Done, Problem> {
    let at = place(&order)?;
    let priority = order.fields.given("priority").unwrap_or("0");
    let priority: i64 = priority
        .trim()
        .parse()
        .map_err(|_| Problem::bad("The priority is a number"))?;
    let body = json!({
        "pattern": order.needed("pattern", "The pattern")?,
        "apply-to": order.fields.given("apply_to").unwrap_or("all"),
        "priority": priority,
        "definition": object(order.fields.text("definition"), "Definition")?,
    });
    order.send(Method::PUT, &at, Some(&body)).await?;
    Ok(Done::said(
        format!("The policy {} is set.", order.fields.text("name")),
        "/policies",
    ))
}

async fn clear(order: Arc<Order>) -> Result<Done, Problem> {
    order.send(Method::DELETE, &place(&order)?, None).await?;
    Ok(Done::said(
        format!("The policy {} is cleared.", order.fields.text("name")),
        "/policies",
    ))
}
