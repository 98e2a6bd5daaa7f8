//! One publish into several bound queues. Its confirm speaks for all of them: each queue must give the message.

use super::{Backlog, Habits, Kind, Plan, Publisher, Setup};
use crate::journal::Route;

pub(super) fn plan(setup: &Setup) -> Plan {
    // One queue would be no fanout.
    let setup = Setup {
        queues: setup.queues.max(2),
        ..setup.clone()
    };
    let exchange = setup.name(Kind::Fanout, "exchange");
    let queues = setup.queues(Kind::Fanout);
    let publisher = Publisher::confirming(&setup, &exchange, Route::Every, (0..queues.len()).collect());
    Plan {
        kind: Kind::Fanout,
        exchange: Some(exchange),
        publishers: vec![publisher; setup.publishers],
        consumers: setup.consumers(queues.len(), &Habits::plain(100)),
        backlog: Backlog::above(setup.floor(), 10_000),
        queues,
    }
}
