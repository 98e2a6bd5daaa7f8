//! Delays: messages wait in a queue with a TTL that nobody consumes, and move to a second queue when it has passed.

use super::{Backlog, Consumer, Habits, Kind, Plan, Publisher, Rules, Setup, dlx};
use crate::journal::Route;
use lapin::types::AMQPValue;

/// How long a message waits, in milliseconds.
const DELAY_MS: i32 = 300;

/// See the chain of dead letters.
pub(super) const RULES: Rules = dlx::RULES;

pub(super) fn plan(setup: &Setup) -> Plan {
    let mut arguments = dlx::onward(setup, Kind::Ttl, setup.queue_type, "due");
    arguments.push(("x-message-ttl", AMQPValue::LongInt(DELAY_MS)));
    let publisher = Publisher::confirming(setup, "", Route::Chain, vec![0, 1]);
    let consumer = Consumer {
        queue: 1,
        habits: Habits::plain(60),
    };
    Plan {
        kind: Kind::Ttl,
        queues: vec![
            setup.queue(Kind::Ttl, "waiting", &arguments),
            setup.queue(Kind::Ttl, "due", &[]),
        ],
        exchange: None,
        publishers: vec![publisher; setup.publishers],
        consumers: vec![consumer; setup.consumers],
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}
