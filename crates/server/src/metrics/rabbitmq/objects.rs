//! What queues, channels and connections tell.

use everack_node::report::ChannelReport;

use crate::http::inquiry::Connected;
use crate::metrics::census::{Census, Stands};
use crate::metrics::metric::{Reading, counter, gauge};
use crate::statistics::figures;

/// Everything by each queue.
pub(in crate::metrics) const QUEUE: &[Reading<Stands>] = &[
    gauge(
        "queue_coarse_metrics",
        "queue_messages_ready",
        "Messages ready to be delivered to consumers",
        |queue| queue.depth.ready as f64,
    ),
    gauge(
        "queue_coarse_metrics",
        "queue_messages_unacked",
        "Messages delivered to consumers but not yet acknowledged",
        |queue| queue.depth.unsettled as f64,
    ),
    gauge(
        "queue_coarse_metrics",
        "queue_messages",
        "Sum of ready and unacknowledged messages - total queue depth",
        |queue| figures::lengths(&queue.depth)[0] as f64,
    ),
    gauge(
        "queue_consumer_count",
        "queue_consumers",
        "Consumers on a queue",
        |queue| f64::from(queue.depth.consumers),
    ),
    gauge(
        "queue_metrics",
        "queue_messages_persistent",
        "Persistent messages",
        |queue| queue.persistent(figures::lengths(&queue.depth)[0]),
    ),
    gauge(
        "queue_metrics",
        "queue_messages_bytes",
        "Size in bytes of ready and unacknowledged messages",
        |queue| queue.bytes() as f64,
    ),
    gauge(
        "queue_metrics",
        "queue_messages_ready_bytes",
        "Size in bytes of ready messages",
        |queue| queue.depth.ready_bytes as f64,
    ),
    gauge(
        "queue_metrics",
        "queue_messages_unacked_bytes",
        "Size in bytes of all unacknowledged messages",
        |queue| (queue.bytes() - queue.depth.ready_bytes - queue.depth.delayed_bytes) as f64,
    ),
];

/// What RabbitMQ does not sum up.
pub(in crate::metrics) const QUEUE_ALONE: &[Reading<Stands>] = &[gauge(
    "queue_metrics",
    "queue_messages_persistent_bytes",
    "Size in bytes of persistent messages",
    |queue| queue.persistent(queue.bytes()),
)];

/// Everything by each channel.
pub(in crate::metrics) const CHANNEL: &[Reading<ChannelReport>] = &[
    gauge(
        "channel_metrics",
        "channel_consumers",
        "Consumers on a channel",
        |channel| channel.consumers.len() as f64,
    ),
    gauge(
        "channel_metrics",
        "channel_messages_unacked",
        "Delivered but not yet acknowledged messages",
        |channel| channel.unsettled as f64,
    ),
    gauge(
        "channel_metrics",
        "channel_messages_unconfirmed",
        "Published but not yet confirmed messages",
        |channel| channel.unconfirmed as f64,
    ),
    gauge(
        "channel_metrics",
        "channel_messages_uncommitted",
        "Messages received in a transaction but not yet committed",
        |channel| channel.uncommitted as f64,
    ),
    gauge(
        "channel_metrics",
        "channel_acks_uncommitted",
        "Message acknowledgements in a transaction not yet committed",
        |channel| channel.settlements_uncommitted as f64,
    ),
    gauge(
        "channel_metrics",
        "consumer_prefetch",
        "Limit of unacknowledged messages for each consumer",
        |channel| f64::from(channel.prefetch),
    ),
    gauge(
        "channel_metrics",
        "channel_prefetch",
        "Total limit of unacknowledged messages for all consumers on a channel",
        |channel| channel.prefetch_global as f64,
    ),
];

/// Over everything.
type Sum = fn(&Census) -> f64;

/// What channels have done: one by one of those that are there, and summed up of all that ever were.
pub(in crate::metrics) const CHANNEL_DEEDS: &[(Reading<ChannelReport>, Sum)] = &[
    (
        counter(
            "channel_exchange_metrics",
            "channel_messages_published_total",
            "Total number of messages published into an exchange on a channel",
            |channel| channel.published.messages as f64,
        ),
        |census| census.sums.published.messages as f64,
    ),
    (
        counter(
            "channel_exchange_metrics",
            "channel_messages_confirmed_total",
            "Total number of messages published into an exchange and confirmed on the channel",
            |channel| channel.confirmed as f64,
        ),
        |census| census.sums.confirmed as f64,
    ),
    (
        counter(
            "channel_exchange_metrics",
            "channel_messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
            |channel| channel.published.returned as f64,
        ),
        |census| census.sums.published.returned as f64,
    ),
    (
        counter(
            "channel_exchange_metrics",
            "channel_messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
            |channel| channel.published.dropped as f64,
        ),
        |census| census.sums.published.dropped as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_get_ack_total",
            "Total number of messages fetched with basic.get in manual acknowledgement mode",
            |channel| channel.received.gotten as f64,
        ),
        |census| census.sums.received.gotten as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_get_total",
            "Total number of messages fetched with basic.get in automatic acknowledgement mode",
            |channel| channel.received.gotten_no_ack as f64,
        ),
        |census| census.sums.received.gotten_no_ack as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_messages_delivered_ack_total",
            "Total number of messages delivered to consumers in manual acknowledgement mode",
            |channel| channel.received.delivered as f64,
        ),
        |census| census.sums.received.delivered as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_messages_delivered_total",
            "Total number of messages delivered to consumers in automatic acknowledgement mode",
            |channel| channel.received.delivered_no_ack as f64,
        ),
        |census| census.sums.received.delivered_no_ack as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_messages_redelivered_total",
            "Total number of messages redelivered to consumers",
            |channel| channel.received.redelivered as f64,
        ),
        |census| census.sums.received.redelivered as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_messages_acked_total",
            "Total number of messages acknowledged by consumers",
            |channel| channel.received.acknowledged as f64,
        ),
        |census| census.sums.received.acknowledged as f64,
    ),
    (
        counter(
            "channel_queue_metrics",
            "channel_get_empty_total",
            "Total number of times basic.get operations fetched no message",
            |channel| channel.received.gotten_nothing as f64,
        ),
        |census| census.sums.received.gotten_nothing as f64,
    ),
];

/// Everything by each connection.
pub(in crate::metrics) const CONNECTION: &[Reading<Connected>] = &[
    counter(
        "connection_coarse_metrics",
        "connection_incoming_bytes_total",
        "Total number of bytes received on a connection",
        |connected| connected.socket.received.bytes() as f64,
    ),
    counter(
        "connection_coarse_metrics",
        "connection_outgoing_bytes_total",
        "Total number of bytes sent on a connection",
        |connected| connected.socket.sent.bytes() as f64,
    ),
    counter(
        "connection_metrics",
        "connection_incoming_packets_total",
        "Total number of packets received on a connection",
        |connected| connected.socket.received.calls() as f64,
    ),
    counter(
        "connection_metrics",
        "connection_outgoing_packets_total",
        "Total number of packets sent on a connection",
        |connected| connected.socket.sent.calls() as f64,
    ),
    gauge(
        "connection_metrics",
        "connection_channels",
        "Channels on a connection",
        |connected| connected.session.channels.len() as f64,
    ),
];
