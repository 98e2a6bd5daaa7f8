//! Several consumers on each queue, several publishers: the common case, and the fastest.

use super::{Backlog, Habits, Kind, Plan, Setup};

pub(super) fn plan(setup: &Setup) -> Plan {
    Plan {
        kind: Kind::Compete,
        queues: setup.queues(Kind::Compete),
        exchange: None,
        publishers: setup.publishers(setup.queues),
        consumers: setup.consumers(setup.queues, &Habits::plain(250)),
        backlog: Backlog::above(setup.floor(), 20_000),
    }
}
