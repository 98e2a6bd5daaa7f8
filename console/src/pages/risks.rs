//! Loss risks: what can make a message vanish in this broker as it is used now, and what to do about each.

use std::sync::Arc;

use axum::Router;
use maud::{Markup, html};
use serde_json::Value;

use super::{holders, view};
use crate::Console;
use crate::ask::{Problem, link};
use crate::look::format::{count, items, number, text};
use crate::look::parts::{Tone, badge, connection_link, live, queue_link};
use crate::visit::{View, Visit};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/risks", view(show))
}

/// Things named with a risk; the number tells of all.
const NAMED_MAX: usize = 10;

const QUEUES: &str = "/api/queues?columns=vhost,name,durable,exclusive,consumers_no_ack,no_ack_guard,messages,messages_parked,\
                      arguments,effective_policy_definition,message_balance.discarded,oldest_unsettled_seconds,consumer_timeout_seconds";
const CHANNELS: &str =
    "/api/channels?columns=number,confirm,transactional,user,connection_details.name,message_stats.publish";

/// One way to lose messages.
struct Risk {
    id: &'static str,
    title: &'static str,
    tone: Tone,
    /// How many queues, channels, messages it concerns; none is no risk.
    number: u64,
    /// What it means, and what helps.
    about: &'static str,
    /// The first few that it concerns.
    named: Vec<Markup>,
}

async fn show(visit: Arc<Visit>) -> Result<View, Problem> {
    let risks = find(&visit).await?;
    let (standing, calm): (Vec<_>, Vec<_>) = risks.into_iter().partition(|risk| risk.number > 0);
    let body = live(
        "risks",
        html! {
            p class="hint" { "What was confirmed to a publisher and is consumed with acknowledgements is not lost. These are the ways around that, as the broker is used now." }
            @if standing.is_empty() { p class="message good" { "None of the known risks stands at this moment." } }
            @for risk in &standing { (shown(risk)) }
            @if !calm.is_empty() {
                section class="panel" {
                    h2 { "Looked for and not found" }
                    ul class="checks" { @for risk in &calm { li { (badge(Tone::Good, "none")) " " (risk.title) } } }
                }
            }
        },
    );
    Ok(View::new("Loss risks", body))
}

/// For the overview: what stands, in one line each.
pub(super) async fn summary(visit: &Visit) -> Markup {
    let Ok(risks) = find(visit).await else {
        return html! { p class="none" { "They cannot be told at the moment." } };
    };
    let standing: Vec<_> = risks.iter().filter(|risk| risk.number > 0).collect();
    html! {
        @if standing.is_empty() { p { (badge(Tone::Good, "none")) " None of the known risks stands." } }
        ul class="checks" {
            @for risk in standing {
                li { (badge(risk.tone, &count(risk.number))) " " a href=(format!("/risks#{}", risk.id)) { (risk.title) } }
            }
        }
    }
}

fn shown(risk: &Risk) -> Markup {
    let more = risk.number.saturating_sub(risk.named.len() as u64);
    html! {
        section class="panel risk" id=(risk.id) {
            h2 { (badge(risk.tone, &count(risk.number))) " " (risk.title) }
            p { (risk.about) }
            @if !risk.named.is_empty() {
                ul class="named" {
                    @for name in &risk.named { li { (name) } }
                    @if more > 0 { li class="none" { "and " (count(more)) " more" } }
                }
            }
        }
    }
}

async fn find(visit: &Visit) -> Result<Vec<Risk>, Problem> {
    let queues = visit.ask.get(QUEUES).await?;
    let channels = visit.ask.get(CHANNELS).await?;
    let vhosts = visit.ask.get("/api/vhosts?columns=name,unroutable").await?;
    let overview = visit.ask.get("/api/overview?columns=message_stats").await?;
    let nodes = visit.ask.find("/api/nodes").await.unwrap_or_default();
    let (queues, vhosts) = (items(&queues), items(&vhosts));
    Ok(vec![
        alarms(items(&nodes)),
        of_queues(
            "no-ack",
            "Consumers that do not acknowledge, on durable queues",
            Tone::Bad,
            "What they were handed is gone when they die. Let them acknowledge, or set the no-ack guard to retain.",
            queues,
            loses_at_consumers,
        ),
        unconfirmed(items(&channels)),
        dropped(vhosts),
        unroutable(vhosts, &overview),
        of_queues(
            "limits",
            "Queues that drop their oldest messages when they are full",
            Tone::Warn,
            "Their length is limited, overflow drops the head, and no dead-letter exchange catches it. Use reject-publish, or a dead-letter exchange.",
            queues,
            drops_head,
        ),
        of_queues(
            "expiry",
            "Queues whose messages expire without a dead-letter exchange",
            Tone::Warn,
            "What is not consumed in time is discarded, as it was asked for. A dead-letter exchange would keep it.",
            queues,
            expires,
        ),
        of_queues(
            "transient",
            "Transient queues with messages in them",
            Tone::Warn,
            "They are gone with the next restart. Declare them durable.",
            queues,
            vanishes_at_restart,
        ),
        of_queues(
            "parked",
            "Queues with parked messages",
            Tone::Calm,
            "Nothing is lost, but nobody works on these until you redrive or discard them.",
            queues,
            |queue| number(queue, "messages_parked") > 0,
        ),
        of_queues(
            "held",
            "Queues with messages that a consumer has held for long",
            Tone::Warn,
            "Nothing is lost, but nobody else gets them until that consumer acknowledges, gives them back or goes: half of its consumer timeout has passed, or fifteen minutes without one. The queue's page shows who holds them; a message can be released to another consumer.",
            queues,
            is_held_for_long,
        ),
        of_queues(
            "guard",
            "Durable queues without a no-ack guard",
            Tone::Calm,
            "Nobody is warned when a consumer without acknowledgement comes (no-ack-guard is allow).",
            queues,
            |queue| queue["durable"] == true && text(queue, "no_ack_guard") == "allow",
        ),
    ])
}

fn alarms(nodes: &[Value]) -> Risk {
    let alarmed = |node: &&Value| node["mem_alarm"] == true || node["disk_free_alarm"] == true;
    let named: Vec<_> = nodes
        .iter()
        .filter(alarmed)
        .map(|node| html! { (text(node, "name")) })
        .collect();
    Risk {
        id: "alarms",
        title: "Memory or disk runs short",
        tone: Tone::Bad,
        number: named.len() as u64,
        about: "Publishers are blocked until there is room again. What they hold back is theirs to keep.",
        named,
    }
}

fn of_queues(
    id: &'static str,
    title: &'static str,
    tone: Tone,
    about: &'static str,
    queues: &[Value],
    concerned: fn(&Value) -> bool,
) -> Risk {
    let those = || queues.iter().filter(|queue| concerned(queue));
    let named = those().take(NAMED_MAX);
    Risk {
        id,
        title,
        tone,
        number: those().count() as u64,
        about,
        named: named
            .map(|queue| queue_link(text(queue, "vhost"), text(queue, "name")))
            .collect(),
    }
}

fn loses_at_consumers(queue: &Value) -> bool {
    let guarded = text(queue, "no_ack_guard") == "retain";
    queue["durable"] == true
        && queue["exclusive"] != true
        && number(queue, "consumers_no_ack") > 0
        && !guarded
}

/// A setting by argument (`x-max-length`) or by policy (`max-length`).
fn setting<'a>(queue: &'a Value, name: &str) -> &'a Value {
    let argument = &queue["arguments"][format!("x-{name}")];
    if argument.is_null() {
        &queue["effective_policy_definition"][name]
    } else {
        argument
    }
}

fn has_dead_letters(queue: &Value) -> bool {
    setting(queue, "dead-letter-exchange").is_string()
}

fn drops_head(queue: &Value) -> bool {
    let limited = ["max-length", "max-length-bytes"]
        .iter()
        .any(|name| setting(queue, name).is_number());
    let drops = matches!(setting(queue, "overflow").as_str(), None | Some("drop-head"));
    limited && drops && !has_dead_letters(queue)
}

fn is_held_for_long(queue: &Value) -> bool {
    number(queue, "oldest_unsettled_seconds") > holders::long_seconds(queue)
}

fn expires(queue: &Value) -> bool {
    setting(queue, "message-ttl").is_number() && !has_dead_letters(queue)
}

fn vanishes_at_restart(queue: &Value) -> bool {
    queue["durable"] == false && queue["exclusive"] != true && number(queue, "messages") > 0
}

/// Channels that publish without confirms and without transactions.
fn unconfirmed(channels: &[Value]) -> Risk {
    let concerned = |channel: &&Value| {
        let safe = channel["confirm"] == true || channel["transactional"] == true;
        !safe && number(channel, "message_stats.publish") > 0
    };
    let those = || channels.iter().filter(concerned);
    let named = those().take(NAMED_MAX).map(|channel| {
        html! { (connection_link(text(channel, "connection_details.name"))) " channel " (number(channel, "number")) ", " (text(channel, "user")) }
    });
    Risk {
        id: "confirms",
        title: "Publishers without confirms",
        tone: Tone::Warn,
        number: those().count() as u64,
        about: "They do not learn whether a message arrived. What is on its way when the connection or the broker dies is lost. Let them use publisher confirms.",
        named: named.collect(),
    }
}

/// Virtual hosts that drop what no queue wants.
fn dropped(vhosts: &[Value]) -> Risk {
    let those: Vec<_> = vhosts
        .iter()
        .filter(|vhost| text(vhost, "unroutable.fate") == "drop")
        .collect();
    Risk {
        id: "drop",
        title: "Virtual hosts that drop unroutable messages",
        tone: Tone::Warn,
        number: those.len() as u64,
        about: "What no queue wants is gone, although it is confirmed. Keep it (unroutable = \"keep\") or refuse it (\"nack\").",
        named: those
            .iter()
            .take(NAMED_MAX)
            .map(|vhost| html! { (text(vhost, "name")) })
            .collect(),
    }
}

fn unroutable(vhosts: &[Value], overview: &Value) -> Risk {
    let kept = |vhost: &&Value| number(vhost, "unroutable.messages") > 0;
    let named = vhosts.iter().filter(kept).take(NAMED_MAX).map(|vhost| {
        let page = link("/unroutable", &[("vhost", text(vhost, "name"))]);
        html! { a href=(page) { (text(vhost, "name")) ": " (count(number(vhost, "unroutable.messages"))) " kept" } }
    });
    Risk {
        id: "unroutable",
        title: "Messages that no queue wanted",
        tone: Tone::Warn,
        number: number(overview, "message_stats.drop_unroutable")
            + vhosts
                .iter()
                .map(|vhost| number(vhost, "unroutable.messages"))
                .sum::<u64>(),
        about: "A binding is missing or a routing key is wrong. Those that are kept can be looked at; publishers that say mandatory are told.",
        named: named.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queues_lose_by_their_settings() {
        let check = |concerned: fn(&Value) -> bool, queue: Value, expected: bool| {
            assert_eq!(concerned(&queue), expected, "{queue}");
        };
        let policy =
            |definition: Value| json!({ "arguments": {}, "effective_policy_definition": definition });
        check(drops_head, json!({ "arguments": { "x-max-length": 5 } }), true);
        check(drops_head, policy(json!({ "max-length-bytes": 5 })), true);
        check(
            drops_head,
            policy(json!({ "max-length": 5, "overflow": "drop-head" })),
            true,
        );
        check(
            drops_head,
            policy(json!({ "max-length": 5, "overflow": "reject-publish" })),
            false,
        );
        check(
            drops_head,
            json!({ "arguments": { "x-max-length": 5, "x-dead-letter-exchange": "" } }),
            false,
        );
        check(drops_head, json!({ "arguments": [] }), false);
        check(expires, policy(json!({ "message-ttl": 1000 })), true);
        check(
            expires,
            policy(json!({ "message-ttl": 1000, "dead-letter-exchange": "d" })),
            false,
        );
        check(
            vanishes_at_restart,
            json!({ "durable": false, "messages": 1 }),
            true,
        );
        check(
            vanishes_at_restart,
            json!({ "durable": false, "messages": 1, "exclusive": true }),
            false,
        );
        let consumed = |guard: &str| json!({ "durable": true, "consumers_no_ack": 1, "no_ack_guard": guard });
        check(loses_at_consumers, consumed("warn"), true);
        check(loses_at_consumers, consumed("retain"), false);
        check(loses_at_consumers, Value::Null, false);
        let held = |seconds: u64, timeout: Value| json!({ "oldest_unsettled_seconds": seconds, "consumer_timeout_seconds": timeout });
        check(is_held_for_long, held(901, Value::Null), true);
        check(is_held_for_long, held(31, json!(60)), true);
        check(is_held_for_long, held(30, json!(60)), false);
        check(is_held_for_long, Value::Null, false);
    }

    #[test]
    fn publishers_are_judged_by_what_they_do() {
        let channel = |confirm, transactional, publish| json!({ "confirm": confirm, "transactional": transactional, "message_stats": { "publish": publish } });
        let channels = [
            channel(false, false, 1),
            channel(false, false, 0),
            channel(true, false, 1),
            channel(false, true, 1),
            json!({}),
        ];
        assert_eq!(unconfirmed(&channels).number, 1);
        let many = vec![channel(false, false, 1); 2 * NAMED_MAX];
        let risk = unconfirmed(&many);
        assert_eq!((risk.number, risk.named.len()), (2 * NAMED_MAX as u64, NAMED_MAX));
    }
}
