//! A queue that is full refuses publishes with a nack. What it refused is not owed to anybody; what it confirmed is.

use super::{Backlog, Habits, Kind, Plan, Setup, text};
use lapin::types::AMQPValue;

/// Publishers would go beyond this if they were not refused.
const ROOM: u64 = 100_000;

pub(super) fn plan(setup: &Setup) -> Plan {
    let length = setup.floor().max(100);
    let arguments = [
        (
            "x-max-length",
            AMQPValue::LongLongInt(i64::try_from(length).unwrap_or(i64::MAX)),
        ),
        ("x-overflow", text("reject-publish")),
    ];
    let queue = |number: usize| setup.queue(Kind::Limit, &number.to_string(), &arguments);
    Plan {
        kind: Kind::Limit,
        queues: (0..setup.queues).map(queue).collect(),
        exchange: None,
        publishers: setup.publishers(setup.queues),
        consumers: setup.consumers(setup.queues, &Habits::plain(20)),
        // Half of one queue's limit, so that the floor can be reached.
        backlog: Backlog::above(length / 2, ROOM),
    }
}
