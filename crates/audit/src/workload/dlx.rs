//! A chain of dead letters: consumers of the first queue reject everything for good, consumers of the second every other
//! message, consumers of the third ack what is left. A message is settled by an ack, wherever it is in the chain.

use super::{Backlog, Consumer, Habits, Kind, Plan, Publisher, QueueType, Rules, Setup, text};
use crate::journal::Route;
use lapin::types::AMQPValue;

/// A dead letter is a new message of the next queue: not flagged, and its place is when it came there.
pub(super) const RULES: Rules = Rules {
    lanes: 0,
    flagged: false,
};

pub(super) fn plan(setup: &Setup) -> Plan {
    let queues = vec![
        setup.queue(Kind::Dlx, "0", &onward(setup, Kind::Dlx, setup.queue_type, "1")),
        setup.queue(Kind::Dlx, "1", &onward(setup, Kind::Dlx, setup.queue_type, "2")),
        setup.queue(Kind::Dlx, "2", &[]),
    ];
    let publisher = Publisher::confirming(setup, "", Route::Chain, vec![0, 1, 2]);
    let rejects = [1, 2, 0];
    let consumer = |number: usize| Consumer {
        queue: number % 3,
        habits: Habits {
            reject_one_in: rejects[number % 3],
            ..Habits::plain(60)
        },
    };
    Plan {
        kind: Kind::Dlx,
        queues,
        exchange: None,
        publishers: vec![publisher; setup.publishers],
        consumers: (0..3 * setup.consumers).map(consumer).collect(),
        backlog: Backlog::above(setup.floor(), 5_000),
    }
}

/// The arguments of a queue whose dead letters go to another one. A quorum queue is asked for the safe way, which RabbitMQ does
/// not take by default.
pub(super) fn onward(
    setup: &Setup,
    kind: Kind,
    queue_type: QueueType,
    part: &str,
) -> Vec<(&'static str, AMQPValue)> {
    let mut arguments = vec![
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&setup.name(kind, part))),
    ];
    if queue_type == QueueType::Quorum {
        arguments.push(("x-dead-letter-strategy", text("at-least-once")));
        arguments.push(("x-overflow", text("reject-publish")));
    }
    arguments
}
