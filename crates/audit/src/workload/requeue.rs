//! Messages that come back: nack and reject with requeue, recover, and consumers whose connection is cut while they hold
//! messages that nobody has acked.

use super::{Backlog, Habits, Kind, Plan, Setup};

pub(super) fn plan(setup: &Setup) -> Plan {
    let habits = Habits {
        return_one_in: 20,
        recover_one_in: 40,
        dies_after: Some(200..4000),
        ..Habits::plain(40)
    };
    Plan {
        kind: Kind::Requeue,
        queues: setup.queues(Kind::Requeue),
        exchange: None,
        publishers: setup.publishers(setup.queues),
        consumers: setup.consumers(setup.queues, &habits),
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}
