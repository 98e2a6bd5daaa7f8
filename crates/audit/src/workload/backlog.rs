//! Messages that wait, because loss hides where consumers keep up: half of them lie through the whole run and all its
//! crashes, the other half are always the newest of a queue that moves.

use super::{Backlog, Habits, Kind, Plan, Setup};

/// Room for the queue that moves.
const ROOM: u64 = 5_000;

pub(super) fn plans(setup: &Setup) -> Vec<Plan> {
    vec![still(setup), moving(setup)]
}

fn still(setup: &Setup) -> Plan {
    let half = setup.backlog / 2;
    let habits = Habits {
        only_drains: true,
        ..Habits::plain(200)
    };
    Plan {
        kind: Kind::Backlog,
        queues: vec![setup.queue(Kind::Backlog, "still", &[])],
        exchange: None,
        publishers: setup.publishers(1),
        consumers: setup.consumers(1, &habits),
        backlog: Backlog::above(half, 0),
    }
}

fn moving(setup: &Setup) -> Plan {
    let half = setup.backlog.div_ceil(2);
    Plan {
        kind: Kind::Backlog,
        queues: vec![setup.queue(Kind::Backlog, "moving", &[])],
        exchange: None,
        publishers: setup.publishers(1),
        consumers: setup.consumers(1, &Habits::plain(100)),
        backlog: Backlog::above(half, ROOM),
    }
}
