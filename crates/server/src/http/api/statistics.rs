//! `message_stats` and `message_balance`: what has passed, under RabbitMQ's names, with rates.

use everack_broker::partition::Counters;
use everack_node::report::{Published, Received};
use serde_json::{Value, json};

use super::details;
use crate::statistics::figures::{self, CHANNEL_RATES, EXCHANGE_RATES, LENGTHS, QUEUE_RATES};
use crate::statistics::track::Look;

/// Of one queue. The look is at the queue's whole row.
pub(super) fn of_queue(counters: &Counters, look: &Look) -> Value {
    let numbers = figures::of_queue(counters);
    details::figures(&QUEUE_RATES, &numbers, look, LENGTHS.len())
}

/// What became of everything that a queue, or many together, accepted since the process started: `accepted` is the sum of `live`, `settled`,
/// `dead_lettered` and what was discarded. It includes `restored`, what the start found there.
pub(super) fn balance(counters: &Counters) -> Value {
    let discarded = counters.discarded_by_reason().into_iter();
    let discarded: serde_json::Map<String, Value> = discarded
        .map(|(reason, count)| (reason.to_owned(), count.into()))
        .collect();
    json!({
        "accepted": counters.accepted,
        "restored": counters.restored,
        "live": counters.live(),
        "settled": counters.settled(),
        "dead_lettered": counters.dead_lettered,
        "moved": counters.moved,
        "discarded": discarded,
    })
}

/// Of one channel, or of many together, whose rates the look has from `from` on.
pub(super) fn of_channels(
    received: &Received,
    published: &Published,
    confirmed: u64,
    look: &Look,
    from: usize,
) -> Value {
    let numbers = figures::of_channels(received, published, confirmed);
    let mut shown = details::figures(&CHANNEL_RATES, &numbers, look, from);
    shown["publish_not_mandatory"] = json!(published.not_mandatory);
    shown
}

/// Of an exchange.
pub(super) fn of_exchange(published: &Published, look: &Look) -> Value {
    let numbers = figures::exchange_row(published);
    let mut shown = details::figures(&EXCHANGE_RATES, &numbers, look, 0);
    shown["return_unroutable"] = json!(published.returned);
    shown["drop_unroutable"] = json!(published.dropped);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balance_adds_up() {
        let counters = Counters {
            accepted: 1000,
            done: 1,
            no_ack: 2,
            rejected: 4,
            purged: 8,
            deleted: 16,
            quarantined: 32,
            expired: 64,
            overflowed: 128,
            delivery_limit: 3,
            parked_discarded: 9,
            cycle: 5,
            unroutable: 6,
            dead_lettered: 7,
            moved: 11,
            ..Counters::default()
        };
        let balance = balance(&counters);
        let number = |value: &Value| value.as_u64().expect("all are numbers");
        let discarded = balance["discarded"].as_object().expect("by reason");
        let discarded: u64 = discarded.values().map(number).sum();
        let others: u64 = ["live", "settled", "dead_lettered", "moved"]
            .iter()
            .map(|name| number(&balance[name]))
            .sum();
        assert_eq!(others + discarded, 1000);
        assert_eq!(balance["live"], json!(704));
    }
}
