//! `message_stats`: what has passed, under RabbitMQ's names. Counts since the start of the process; rates are not among them.

use everack_broker::partition::Counters;
use everack_node::report::{Published, Received};
use serde_json::{Value, json};

/// Of one queue, or of many together.
pub(super) fn of_queues(counters: &Counters) -> Value {
    let get_no_ack = counters.gotten_no_ack;
    let get = counters.gotten - get_no_ack;
    let deliver_no_ack = counters.delivered_no_ack - get_no_ack;
    let deliver_get = counters.delivered;
    json!({
        "publish": counters.accepted - counters.restored,
        "deliver": deliver_get - get - get_no_ack - deliver_no_ack,
        "deliver_no_ack": deliver_no_ack,
        "get": get,
        "get_no_ack": get_no_ack,
        "get_empty": counters.gotten_nothing,
        "deliver_get": deliver_get,
        "ack": counters.done,
        "redeliver": counters.redelivered,
    })
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
        "discarded": discarded,
    })
}

/// Of one channel, or of many together.
pub(super) fn of_channels(received: &Received, published: &Published, confirmed: u64) -> Value {
    let Received {
        delivered,
        delivered_no_ack,
        gotten,
        gotten_no_ack,
        gotten_nothing,
        redelivered,
        acknowledged,
    } = *received;
    json!({
        "publish": published.messages,
        "publish_not_mandatory": published.not_mandatory,
        "confirm": confirmed,
        "return_unroutable": published.returned,
        "drop_unroutable": published.dropped,
        "deliver": delivered,
        "deliver_no_ack": delivered_no_ack,
        "get": gotten,
        "get_no_ack": gotten_no_ack,
        "get_empty": gotten_nothing,
        "deliver_get": delivered + delivered_no_ack + gotten + gotten_no_ack,
        "ack": acknowledged,
        "redeliver": redelivered,
    })
}

/// Of an exchange.
pub(super) fn of_exchange(published: &Published) -> Value {
    json!({
        "publish_in": published.messages,
        "publish_out": published.routed,
        "return_unroutable": published.returned,
        "drop_unroutable": published.dropped,
    })
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
            ..Counters::default()
        };
        let balance = balance(&counters);
        let number = |value: &Value| value.as_u64().expect("all are numbers");
        let discarded = balance["discarded"].as_object().expect("by reason");
        let discarded: u64 = discarded.values().map(number).sum();
        let others: u64 = ["live", "settled", "dead_lettered"]
            .iter()
            .map(|name| number(&balance[name]))
            .sum();
        assert_eq!(others + discarded, 1000);
        assert_eq!(balance["live"], json!(715));
    }

    #[test]
    fn deliveries_are_told_apart() {
        // 10 delivered: 4 to consumers that acknowledge, 3 to one that does not, 2 gotten, 1 of them without acknowledgement,
        // and one more gotten without.
        let counters = Counters {
            accepted: 20,
            restored: 5,
            delivered: 10,
            gotten: 3,
            gotten_no_ack: 2,
            delivered_no_ack: 5,
            no_ack: 4,
            done: 1,
            ..Counters::default()
        };
        let stats = of_queues(&counters);
        let expected = [
            ("publish", 15),
            ("deliver", 4),
            ("deliver_no_ack", 3),
            ("get", 1),
            ("get_no_ack", 2),
            ("deliver_get", 10),
            ("ack", 1),
        ];
        for (name, count) in expected {
            assert_eq!(stats[name], json!(count), "{name}");
        }
    }
}
