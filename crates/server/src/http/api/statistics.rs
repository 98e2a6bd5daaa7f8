//! `message_stats`: what has passed, under RabbitMQ's names. Counts since the start of the process; rates are not among them.

use everack_broker::partition::Counters;
use everack_node::report::{Published, Received};
use serde_json::{Value, json};

/// Of one queue, or of many together.
pub(super) fn of_queues(counters: &Counters) -> Value {
    let get_no_ack = counters.gotten_no_ack;
    let get = counters.gotten - get_no_ack;
    let deliver_no_ack = counters.no_ack - get_no_ack;
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
    fn deliveries_are_told_apart() {
        // 10 delivered: 4 to consumers that acknowledge, 3 to one that does not, 2 gotten, 1 of them without acknowledgement,
        // and one more gotten without.
        let counters = Counters {
            accepted: 20,
            restored: 5,
            delivered: 10,
            gotten: 3,
            gotten_no_ack: 2,
            no_ack: 5,
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
