//! Bodies of 64 KiB to 4 MiB: many frames each, and damage has room to hide.

use super::{Backlog, Habits, Kind, Plan, Setup, Sizes};

/// Most messages that wait: 40 of them are some 80 MiB.
const FLOOR_MAX: u64 = 20;

pub(super) fn plan(setup: &Setup) -> Plan {
    let mut publishers = setup.publishers(1);
    publishers.truncate(1);
    for publisher in &mut publishers {
        publisher.sizes = Sizes::Large;
    }
    Plan {
        kind: Kind::Large,
        queues: vec![setup.queue(Kind::Large, "0", &[])],
        exchange: None,
        publishers,
        consumers: setup.consumers(1, &Habits::plain(4)),
        backlog: Backlog::above(setup.floor().min(FLOOR_MAX), FLOOR_MAX),
    }
}
