//! Which numbers each kind of thing has, under RabbitMQ's names, and in which order. The first ones of a row may fall; the others
//! count what has happened and only rise.

use everack_broker::partition::{Counters, Depth};
use everack_node::catalog_service;
use everack_node::report::{ChannelReport, Published, Received};
use everack_node::tenants;

use super::track::Retention;

/// A kind of thing that is sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The names of its numbers, in their order.
    pub(crate) names: &'static [&'static str],
    /// So many of the first may fall.
    pub(crate) gauges: usize,
    /// It is a sum over other things.
    pub(crate) is_sum: bool,
    /// For how long its samples are kept.
    pub(crate) retention: Retention,
}

/// What lies in queues.
pub(crate) const LENGTHS: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];
/// What was done with queues' messages, as `message_stats` of a queue has it.
pub(crate) const QUEUE_RATES: [&str; 9] = [
    "publish",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver_get",
    "ack",
    "redeliver",
];
/// What publishers and consumers did, as `message_stats` of a channel has it.
pub(crate) const CHANNEL_RATES: [&str; 12] = [
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver_get",
    "ack",
    "redeliver",
];
/// Bytes over sockets.
pub(crate) const DATA_RATES: [&str; 2] = ["recv_oct", "send_oct"];
/// What has come and gone, as the overview's `churn_rates` has it.
pub(crate) const CHURN: [&str; 7] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];
/// What went through an exchange.
pub(crate) const EXCHANGE_RATES: [&str; 2] = ["publish_in", "publish_out"];
/// What the process takes, as a node's statistics have it, and what it did with its disk.
pub(crate) const NODE_STATS: [&str; 7] = [
    "mem_used",
    "fd_used",
    "sockets_used",
    "disk_free",
    "io_write_count",
    "io_write_bytes",
    "io_sync_count",
];

/// Numbers of a virtual host.
pub(crate) const VHOST_NUMBERS: usize = 17;
/// Numbers of the broker.
pub(crate) const OVERVIEW_NUMBERS: usize = VHOST_NUMBERS + CHURN.len();

const QUEUE_NAMES: [&str; 12] = join(&[&LENGTHS, &QUEUE_RATES]);
const VHOST_NAMES: [&str; VHOST_NUMBERS] = join(&[&LENGTHS, &CHANNEL_RATES, &DATA_RATES]);
const OVERVIEW_NAMES: [&str; OVERVIEW_NUMBERS] = join(&[&VHOST_NAMES, &CHURN]);

pub(crate) const QUEUE: Kind = Kind {
    names: &QUEUE_NAMES,
    gauges: LENGTHS.len(),
    is_sum: false,
    retention: Retention::BASIC,
};
pub(crate) const CHANNEL: Kind = Kind {
    names: &CHANNEL_RATES,
    gauges: 0,
    is_sum: false,
    retention: Retention::BASIC,
};
pub(crate) const CONNECTION: Kind = Kind {
    names: &DATA_RATES,
    gauges: 0,
    is_sum: false,
    retention: Retention::BASIC,
};
pub(crate) const EXCHANGE: Kind = Kind {
    names: &EXCHANGE_RATES,
    gauges: 0,
    is_sum: false,
    retention: Retention::BASIC,
};
pub(crate) const VHOST: Kind = Kind {
    names: &VHOST_NAMES,
    gauges: LENGTHS.len(),
    is_sum: true,
    retention: Retention::GLOBAL,
};
pub(crate) const OVERVIEW: Kind = Kind {
    names: &OVERVIEW_NAMES,
    gauges: LENGTHS.len(),
    is_sum: true,
    retention: Retention::GLOBAL,
};
pub(crate) const NODE: Kind = Kind {
    names: &NODE_STATS,
    gauges: 4,
    is_sum: false,
    retention: Retention::GLOBAL,
};

/// Several lists of names in one.
const fn join<const ALL: usize>(parts: &[&[&'static str]]) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[at] = parts[part][index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    assert!(at == ALL, "every name has a number");
    all
}

/// What was delivered of one queue, or of many together, told apart by how.
pub(crate) fn received(counters: &Counters) -> Received {
    let gotten_no_ack = counters.gotten_no_ack;
    let delivered_no_ack = counters.delivered_no_ack - gotten_no_ack;
    Received {
        delivered: counters.delivered - counters.gotten - delivered_no_ack,
        delivered_no_ack,
        gotten: counters.gotten - gotten_no_ack,
        gotten_no_ack,
        gotten_nothing: counters.gotten_nothing,
        redelivered: counters.redelivered,
        acknowledged: counters.done,
    }
}

/// See [`LENGTHS`].
pub(crate) fn lengths(depth: &Depth) -> [u64; LENGTHS.len()] {
    // What is parked, retained or dead is counted apart: nobody gets it, and clients that wait for a queue to run dry need not wait for it.
    let messages = depth.ready + depth.unsettled + depth.delayed;
    [messages, depth.ready, depth.unsettled]
}

/// See [`QUEUE_RATES`].
pub(crate) fn of_queue(counters: &Counters) -> [u64; QUEUE_RATES.len()] {
    let received = received(counters);
    [
        counters.accepted - counters.restored,
        received.delivered,
        received.delivered_no_ack,
        received.gotten,
        received.gotten_no_ack,
        received.gotten_nothing,
        counters.delivered,
        received.acknowledged,
        received.redelivered,
    ]
}

/// See [`CHANNEL_RATES`].
pub(crate) fn of_channels(
    received: &Received,
    published: &Published,
    confirmed: u64,
) -> [u64; CHANNEL_RATES.len()] {
    let Received {
        delivered,
        delivered_no_ack,
        gotten,
        gotten_no_ack,
        gotten_nothing,
        redelivered,
        acknowledged,
    } = *received;
    [
        published.messages,
        confirmed,
        published.returned,
        published.dropped,
        delivered,
        delivered_no_ack,
        gotten,
        gotten_no_ack,
        gotten_nothing,
        delivered + delivered_no_ack + gotten + gotten_no_ack,
        acknowledged,
        redelivered,
    ]
}

/// A queue's whole row.
pub(crate) fn queue_row(depth: &Depth) -> [u64; QUEUE_NAMES.len()] {
    concat(&[&lengths(depth), &of_queue(&depth.counters)])
}

/// A channel's whole row.
pub(crate) fn channel_row(channel: &ChannelReport) -> [u64; CHANNEL_RATES.len()] {
    of_channels(&channel.received, &channel.published, channel.confirmed)
}

/// See [`EXCHANGE_RATES`].
pub(crate) fn exchange_row(published: &Published) -> [u64; EXCHANGE_RATES.len()] {
    [published.messages, published.routed]
}

/// See [`CHURN`].
pub(crate) fn churn_row(tenants: tenants::Churn, queues: catalog_service::Churn) -> [u64; CHURN.len()] {
    [
        tenants.connections_opened,
        tenants.connections_closed,
        tenants.channels_opened,
        tenants.channels_closed,
        queues.queues_declared,
        queues.queues_created,
        queues.queues_deleted,
    ]
}

/// Several parts of a row in one.
pub(crate) fn concat<const ALL: usize>(parts: &[&[u64]]) -> [u64; ALL] {
    let mut all = [0; ALL];
    let numbers = parts.iter().copied().flatten();
    all.iter_mut()
        .zip(numbers)
        .for_each(|(all, number)| *all = *number);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_names_agree() {
        assert_eq!(QUEUE.names[2..4], ["messages_unacknowledged", "publish"]);
        assert_eq!(VHOST.names[14..], ["redeliver", "recv_oct", "send_oct"]);
        assert_eq!(OVERVIEW.names[16..18], ["send_oct", "connection_created"]);
        assert_eq!(concat::<3>(&[&[1], &[2, 3]]), [1, 2, 3]);
    }

    #[test]
    fn deliveries_are_told_apart() {
        // 10 delivered: 4 to consumers that acknowledge, 3 to one that does not, 2 gotten, 1 of them without acknowledgement,
        // and one more gotten without.
        let counters = Counters {
            accepted: 20,
            restored: 5,
            delivered: 10,
            gotten: 3,
            gotten_no_ack: 2,
            delivered_no_ack: 5,
            no_ack: 4,
            done: 1,
            ..Counters::default()
        };
        let numbers = of_queue(&counters);
        let expected = [
            ("publish", 15),
            ("deliver", 4),
            ("deliver_no_ack", 3),
            ("get", 1),
            ("get_no_ack", 2),
            ("deliver_get", 10),
            ("ack", 1),
        ];
        for (name, count) in expected {
            let index = QUEUE_RATES.iter().position(|known| *known == name);
            assert_eq!(index.map(|index| numbers[index]), Some(count), "{name}");
        }
    }
}
