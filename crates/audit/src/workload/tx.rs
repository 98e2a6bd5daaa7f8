//! Transactions: a publisher's messages go to two queues in turns, so that a commit concerns both; `tx.commit-ok` is the
//! confirm. Whatever crashes, of a transaction without an answer either all messages come or none. Some are rolled back, and may
//! never be seen. One queue is consumed with acks in transactions, the other one plainly.

use super::{Backlog, Consumer, Habits, Kind, Plan, Publisher, Setup};
use crate::journal::Route;

pub(super) fn plan(setup: &Setup) -> Plan {
    let publisher = Publisher {
        transactional: true,
        ..Publisher::confirming(setup, "", Route::Turns, vec![0, 1])
    };
    let consumer = |number: usize| Consumer {
        queue: number % 2,
        habits: Habits {
            transactional: number.is_multiple_of(2),
            ..Habits::plain(60)
        },
    };
    Plan {
        kind: Kind::Tx,
        queues: vec![setup.queue(Kind::Tx, "0", &[]), setup.queue(Kind::Tx, "1", &[])],
        exchange: None,
        publishers: vec![publisher; setup.publishers],
        consumers: (0..2 * setup.consumers).map(consumer).collect(),
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}
