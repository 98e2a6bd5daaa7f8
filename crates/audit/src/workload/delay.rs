//! Delays: an exchange of type `x-delayed-message` holds every message back for a moment, then gives it to two queues.
//!
//! What waits is in no queue and cannot be counted, so the backlog is what has come.

use super::{Backlog, Habits, Kind, Plan, Publisher, Rules, Setup};
use crate::journal::Route;

/// How long a message waits, in milliseconds.
const DELAY_MS: u16 = 300;

/// What has waited is a message like any other, but its place in the queue is when it came there.
pub(super) const RULES: Rules = Rules {
    lanes: 0,
    flagged: true,
};

pub(super) fn plan(setup: &Setup) -> Plan {
    let setup = Setup {
        queues: 2,
        ..setup.clone()
    };
    let exchange = setup.name(Kind::Delay, "exchange");
    let queues = setup.queues(Kind::Delay);
    let publisher = Publisher {
        delay_ms: DELAY_MS,
        ..Publisher::confirming(&setup, &exchange, Route::Every, (0..queues.len()).collect())
    };
    Plan {
        kind: Kind::Delay,
        exchange: Some(exchange),
        publishers: vec![publisher; setup.publishers],
        consumers: setup.consumers(queues.len(), &Habits::plain(100)),
        backlog: Backlog::above(setup.floor(), 5_000),
        queues,
    }
}
