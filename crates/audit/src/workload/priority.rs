//! Queues with priorities, given out in turns: within one priority the order holds.

use super::{Backlog, Habits, Kind, Plan, Rules, Setup};
use lapin::types::AMQPValue;

const PRIORITIES: u8 = 5;

pub(super) const RULES: Rules = Rules {
    lanes: PRIORITIES as u64,
    flagged: true,
};

pub(super) fn plan(setup: &Setup) -> Plan {
    let arguments = [("x-max-priority", AMQPValue::ShortShortUInt(PRIORITIES))];
    let queue = |number: usize| setup.queue(Kind::Priority, &number.to_string(), &arguments);
    let mut publishers = setup.publishers(setup.queues);
    for publisher in &mut publishers {
        publisher.priorities = PRIORITIES;
    }
    Plan {
        kind: Kind::Priority,
        queues: (0..setup.queues).map(queue).collect(),
        exchange: None,
        publishers,
        consumers: setup.consumers(setup.queues, &Habits::plain(20)),
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}
