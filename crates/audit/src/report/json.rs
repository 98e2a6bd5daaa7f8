//! The verdict as one JSON object.

use super::facts::Facts;
use crate::verdict::{Flaw, Verdict, millis};
use serde_json::{Value, json};

/// All figures of a run.
pub(crate) fn json(verdict: &Verdict, facts: &Facts) -> Value {
    let (backlog_min, backlog_max) = verdict.backlog.unwrap_or_default();
    json!({
        "verdict": if verdict.is_clean() { "clean" } else { "broken" },
        "confirmed": verdict.confirmed,
        "lost": verdict.count(Flaw::Lost),
        "damaged": verdict.count(Flaw::Damaged),
        "phantom": verdict.count(Flaw::Phantom),
        "reordered": verdict.count(Flaw::Reordered),
        "duplicated": verdict.count(Flaw::Duplicated),
        "resurrected": verdict.resurrected,
        "resurrected_late": verdict.count(Flaw::Resurrected),
        "resurrected_oldest_ack_ms": millis(verdict.resurrected_oldest),
        "resurrected_beyond_sync": verdict.resurrected_beyond_sync,
        "durable_longest_ms": millis(verdict.durable_longest),
        "settle_bound_ms": verdict.settle_bound.map(millis),
        "settlements_in_flight": verdict.in_flight,
        "torn_transactions": verdict.count(Flaw::Torn),
        "torn_over_queues": verdict.torn_over_queues,
        "queues_lost": verdict.queues_gone,
        "stuck": verdict.stuck,
        "unflagged": verdict.unflagged,
        "crashes": verdict.crashes,
        "deaths_unplanned": verdict.deaths,
        "pauses": verdict.pauses,
        "published": verdict.intended,
        "refused": verdict.refused,
        "refused_delivered": verdict.refused_delivered,
        "unconfirmed": verdict.unknown,
        "unconfirmed_delivered": verdict.unconfirmed_delivered,
        "delivered": verdict.delivered,
        "redelivered": verdict.redelivered,
        "connections_lost": facts.connections_lost,
        "sync_longest_ms": millis(verdict.sync_longest),
        "messages_per_second": verdict.messages_per_second().round(),
        "load_seconds": verdict.load.as_secs_f64(),
        "backlog_min": backlog_min,
        "backlog_max": backlog_max,
        "seed": facts.seed,
        "product": facts.product,
        "version": facts.version,
        "queue_type": facts.queue_type,
    })
}
