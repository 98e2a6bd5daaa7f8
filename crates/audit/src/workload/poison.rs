//! A delivery limit: consumers reject messages back into a quorum queue, again and again, and die with some in hand. What has failed too often
//! comes out of a dead-letter queue; where it ends is the broker's to say, that it ends somewhere is what is judged.

use super::{Backlog, Consumer, Habits, Kind, Plan, Publisher, QueueType, Rules, Setup, dlx};
use crate::journal::Route;
use lapin::types::AMQPValue;

/// Failures that a message may have.
const FAILURES_MAX: i32 = 2;

/// See the chain of dead letters.
pub(super) const RULES: Rules = dlx::RULES;

pub(super) fn plan(setup: &Setup) -> Plan {
    // Only quorum queues have a delivery limit everywhere.
    let mut limited = dlx::onward(setup, Kind::Poison, QueueType::Quorum, "dead");
    limited.push(("x-delivery-limit", AMQPValue::LongInt(FAILURES_MAX)));
    let publisher = Publisher::confirming(setup, "", Route::Chain, vec![0, 1]);
    let failing = Habits {
        fail_one_in: 2,
        dies_after: Some(400..4000),
        ..Habits::plain(40)
    };
    let habits = [failing, Habits::plain(40)];
    let consumer = |number: usize| Consumer {
        queue: number % 2,
        habits: habits[number % 2].clone(),
    };
    Plan {
        kind: Kind::Poison,
        queues: vec![
            setup.queue_of(Kind::Poison, QueueType::Quorum, "work", &limited),
            setup.queue(Kind::Poison, "dead", &[]),
        ],
        exchange: None,
        publishers: vec![publisher; setup.publishers],
        consumers: (0..2 * setup.consumers).map(consumer).collect(),
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}
