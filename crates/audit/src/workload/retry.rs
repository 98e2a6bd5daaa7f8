//! The usual way to try again later: consumers reject some of what they get, which waits in a second queue with a TTL and comes back to the
//! first. Nobody consumes the second one. A message is settled by an ack, after as many rounds as it takes.

use super::{Backlog, Consumer, Habits, Kind, Plan, Publisher, Rules, Setup, dlx};
use crate::journal::Route;
use lapin::types::AMQPValue;

/// How long a rejected message waits, in milliseconds.
const PAUSE_MS: i32 = 150;

/// See the chain of dead letters.
pub(super) const RULES: Rules = dlx::RULES;

pub(super) fn plan(setup: &Setup) -> Plan {
    let mut waits = dlx::onward(setup, Kind::Retry, setup.queue_type, "work");
    waits.push(("x-message-ttl", AMQPValue::LongInt(PAUSE_MS)));
    let work = dlx::onward(setup, Kind::Retry, setup.queue_type, "wait");
    let publisher = Publisher::confirming(setup, "", Route::Chain, vec![0, 1]);
    let consumer = Consumer {
        queue: 0,
        habits: Habits {
            reject_one_in: 4,
            ..Habits::plain(60)
        },
    };
    Plan {
        kind: Kind::Retry,
        queues: vec![
            setup.queue(Kind::Retry, "work", &work),
            setup.queue(Kind::Retry, "wait", &waits),
        ],
        exchange: None,
        publishers: vec![publisher; setup.publishers],
        consumers: vec![consumer; setup.consumers],
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}
