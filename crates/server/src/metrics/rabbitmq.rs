//! RabbitMQ's metrics, with its names, types and help texts, as far as there is an honest counterpart: what Erlang's processes,
//! its message store, its schema database and Raft do is not among them. compat/management/metrics.json has all that RabbitMQ 3.10.8 has.
//!
//! | page | objects are | prefix |
//! |---|---|---|
//! | `/metrics` | summed up | `rabbitmq_` |
//! | `/metrics/per-object` | shown one by one | `rabbitmq_` |
//! | `/metrics/detailed?family=...` | shown one by one, of the families asked for | `rabbitmq_detailed_`, `rabbitmq_cluster_` |

use std::collections::HashSet;

use everack_amqp::settings::RABBITMQ_VERSION;
use everack_node::alarms::Resource;
use everack_node::report::ChannelReport;

use super::census::{Census, Stands};
use super::metric::{Kind, Metric, Reading, counter, gauge};
use super::page::{Page, label};
use crate::auth::attempts::Protocol;
use crate::http::inquiry::Connected;
use crate::process;
use crate::statistics::figures;

/// A channel, and the connection that it is of.
pub(super) struct ChannelOf<'a> {
    connected: &'a Connected,
    channel: &'a ChannelReport,
}

const PREFIX: &str = "rabbitmq_";
const DETAILED: &str = "rabbitmq_detailed_";
const CLUSTER: &str = "rabbitmq_cluster_";

/// Everything by each queue.
pub(super) const QUEUE: &[Reading<Stands>] = &[
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
pub(super) const QUEUE_ALONE: &[Reading<Stands>] = &[gauge(
    "queue_metrics",
    "queue_messages_persistent_bytes",
    "Size in bytes of persistent messages",
    |queue| queue.persistent(queue.bytes()),
)];

/// Everything by each channel.
pub(super) const CHANNEL: &[Reading<ChannelReport>] = &[
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

/// What channels have done: one by one of those that are there, and summed up of all that ever were.
pub(super) const CHANNEL_DEEDS: &[(Reading<ChannelReport>, fn(&Census) -> f64)] = &[
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
pub(super) const CONNECTION: &[Reading<Connected>] = &[
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

/// Of the broker as a whole. Those without a family are not among the detailed ones.
pub(super) const BROKER: &[Reading<Census>] = &[
    counter(
        "connection_churn_metrics",
        "connections_opened_total",
        "Total number of connections opened",
        |census| census.tenants.connections_opened as f64,
    ),
    counter(
        "connection_churn_metrics",
        "connections_closed_total",
        "Total number of connections closed or terminated",
        |census| census.tenants.connections_closed as f64,
    ),
    counter(
        "connection_churn_metrics",
        "channels_opened_total",
        "Total number of channels opened",
        |census| census.tenants.channels_opened as f64,
    ),
    counter(
        "connection_churn_metrics",
        "channels_closed_total",
        "Total number of channels closed",
        |census| census.tenants.channels_closed as f64,
    ),
    counter(
        "connection_churn_metrics",
        "queues_declared_total",
        "Total number of queues declared",
        |census| census.churn.queues_declared as f64,
    ),
    counter(
        "connection_churn_metrics",
        "queues_created_total",
        "Total number of queues created",
        |census| census.churn.queues_created as f64,
    ),
    counter(
        "connection_churn_metrics",
        "queues_deleted_total",
        "Total number of queues deleted",
        |census| census.churn.queues_deleted as f64,
    ),
    gauge(
        "node_coarse_metrics",
        "process_open_fds",
        "Open file descriptors",
        |_| process::descriptors_used().unwrap_or_default() as f64,
    ),
    gauge(
        "node_coarse_metrics",
        "process_open_tcp_sockets",
        "Open TCP sockets",
        |census| census.engine().shared.connection_count() as f64,
    ),
    gauge(
        "node_coarse_metrics",
        "process_resident_memory_bytes",
        "Memory used in bytes",
        |census| census.gauges.memory_used as f64,
    ),
    gauge(
        "node_coarse_metrics",
        "disk_space_available_bytes",
        "Disk space available in bytes",
        |census| census.gauges.disk_free as f64,
    ),
    gauge(
        "node_metrics",
        "process_max_fds",
        "Open file descriptors limit",
        |_| process::descriptors_max().unwrap_or_default() as f64,
    ),
    gauge(
        "node_metrics",
        "process_max_tcp_sockets",
        "Open TCP sockets limit",
        |census| census.node.config.load().amqp.connections_max.get() as f64,
    ),
    gauge(
        "node_metrics",
        "resident_memory_limit_bytes",
        "Memory high watermark in bytes",
        |census| census.gauges.memory_max as f64,
    ),
    gauge(
        "node_metrics",
        "disk_space_available_limit_bytes",
        "Free disk space low watermark in bytes",
        |census| census.gauges.disk_free_min as f64,
    ),
    gauge("node_metrics", "erlang_uptime_seconds", "Node uptime", |census| {
        census.node.started.elapsed().as_secs_f64()
    }),
    counter(
        "node_persister_metrics",
        "io_write_ops_total",
        "Total number of I/O write operations",
        |census| census.disk.jobs.count as f64,
    ),
    counter(
        "node_persister_metrics",
        "io_write_bytes_total",
        "Total number of I/O bytes written",
        |census| census.engine().progress.appended_bytes() as f64,
    ),
    counter(
        "node_persister_metrics",
        "io_sync_ops_total",
        "Total number of I/O sync operations",
        |census| census.disk.syncs.count as f64,
    ),
    counter(
        "node_persister_metrics",
        "io_sync_time_seconds_total",
        "Total I/O sync time",
        |census| census.disk.syncs.sum as f64 / 1e6,
    ),
    gauge("", "connections", "Connections currently open", |census| {
        census.connections.len() as f64
    }),
    gauge("", "channels", "Channels currently open", |census| {
        census.channels().count() as f64
    }),
    gauge("", "consumers", "Consumers currently connected", |census| {
        census.sum(|depth| u64::from(depth.consumers))
    }),
    gauge("", "queues", "Queues available", |census| {
        census.queues.len() as f64
    }),
];

/// RabbitMQ's counters over everything, of one protocol; those that have a type of queue besides.
pub(super) const GLOBAL: &[(bool, Reading<Census>)] = &[
    (
        false,
        counter(
            "",
            "global_messages_received_total",
            "Total number of messages received from publishers",
            |census| census.sums.published.messages as f64,
        ),
    ),
    (
        false,
        counter(
            "",
            "global_messages_received_confirm_total",
            "Total number of messages received from publishers expecting confirmations",
            |census| (census.sums.confirmed + census.sums.unconfirmed) as f64,
        ),
    ),
    (
        false,
        counter(
            "",
            "global_messages_confirmed_total",
            "Total number of messages confirmed to publishers",
            |census| census.sums.confirmed as f64,
        ),
    ),
    (
        false,
        counter(
            "",
            "global_messages_routed_total",
            "Total number of messages routed to queues or streams",
            |census| census.sums.published.routed as f64,
        ),
    ),
    (
        false,
        counter(
            "",
            "global_messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
            |census| census.sums.published.dropped as f64,
        ),
    ),
    (
        false,
        counter(
            "",
            "global_messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
            |census| census.sums.published.returned as f64,
        ),
    ),
    (
        false,
        gauge(
            "",
            "global_publishers",
            "Current number of publishers",
            |census| {
                let publishes = |channel: &ChannelReport| channel.published.messages > 0;
                census.channels().filter(|of| publishes(of.channel)).count() as f64
            },
        ),
    ),
    (
        false,
        gauge("", "global_consumers", "Current number of consumers", |census| {
            census.sum(|depth| u64::from(depth.consumers))
        }),
    ),
    (
        true,
        counter(
            "",
            "global_messages_delivered_total",
            "Total number of messages delivered to consumers",
            |census| census.sums.counters.delivered as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_delivered_consume_manual_ack_total",
            "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
            |census| census.sums.received.delivered as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_delivered_consume_auto_ack_total",
            "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
            |census| census.sums.received.delivered_no_ack as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_delivered_get_manual_ack_total",
            "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
            |census| census.sums.received.gotten as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_delivered_get_auto_ack_total",
            "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
            |census| census.sums.received.gotten_no_ack as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_get_empty_total",
            "Total number of times basic.get operations fetched no message",
            |census| census.sums.received.gotten_nothing as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_redelivered_total",
            "Total number of messages redelivered to consumers",
            |census| census.sums.received.redelivered as f64,
        ),
    ),
    (
        true,
        counter(
            "",
            "global_messages_acknowledged_total",
            "Total number of messages acknowledged by consumers",
            |census| census.sums.received.acknowledged as f64,
        ),
    ),
];

pub(super) const PUBLISHED: Metric = Metric {
    name: "queue_messages_published_total",
    kind: Kind::Counter,
    help: "Total number of messages published to queues",
};

type Read = fn((u64, u64)) -> u64;

/// Of log-ins, from how many were right and how many wrong.
pub(super) const ATTEMPTS: [(Metric, Read); 3] = [
    (
        attempt("auth_attempts_total", "Total number of authorization attempts"),
        |(right, wrong)| right + wrong,
    ),
    (
        attempt(
            "auth_attempts_succeeded_total",
            "Total number of successful authentication attempts",
        ),
        |(right, _)| right,
    ),
    (
        attempt(
            "auth_attempts_failed_total",
            "Total number of failed authentication attempts",
        ),
        |(_, wrong)| wrong,
    ),
];

pub(super) const ALARMS: [(Metric, Option<Resource>); 3] = [
    (
        untyped(
            "alarms_file_descriptor_limit",
            "is 1 if file descriptor limit alarm is in effect",
        ),
        None,
    ),
    (
        untyped(
            "alarms_free_disk_space_watermark",
            "is 1 if free disk space watermark alarm is in effect",
        ),
        Some(Resource::Disk),
    ),
    (
        untyped(
            "alarms_memory_used_watermark",
            "is 1 if VM memory watermark alarm is in effect",
        ),
        Some(Resource::Memory),
    ),
];

pub(super) const BUILD: Metric = untyped("build_info", "RabbitMQ & Erlang/OTP version info");
pub(super) const IDENTITY: Metric = untyped("identity_info", "RabbitMQ node & cluster identity info");

/// Of exchanges and virtual hosts, among the detailed ones only.
pub(super) const VHOST_STATUS: Metric = gauge_of("vhost_status", "Whether a given vhost is running");
pub(super) const EXCHANGE_NAME: Metric = gauge_of(
    "exchange_name",
    "Enumerates exchanges without any additional info. This value is cluster-wide. A cheaper alternative to `exchange_bindings`",
);
pub(super) const EXCHANGE_BINDINGS: Metric = gauge_of(
    "exchange_bindings",
    "Number of bindings for an exchange. This value is cluster-wide.",
);

const fn attempt(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric { name, kind, help }
}

const fn untyped(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Untyped;
    Metric { name, kind, help }
}

const fn gauge_of(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric { name, kind, help }
}

impl Stands {
    /// Of all messages but those that are set aside.
    pub(super) fn bytes(&self) -> u64 {
        let depth = &self.depth;
        depth.counters.live_bytes() - depth.parked_bytes - depth.retained_bytes - depth.dead_bytes
    }

    /// A durable queue keeps every message through a restart, whatever its delivery mode.
    fn persistent(&self, count: u64) -> f64 {
        if self.queue.durable { count as f64 } else { 0.0 }
    }
}

impl Census {
    pub(super) fn channels(&self) -> impl Iterator<Item = ChannelOf<'_>> {
        self.connections.iter().flat_map(|connected| {
            let channels = connected.session.channels.iter();
            channels.map(move |channel| ChannelOf { connected, channel })
        })
    }
}

impl ChannelOf<'_> {
    pub(super) fn report(&self) -> &ChannelReport {
        self.channel
    }

    fn name(&self) -> String {
        format!("{} ({})", self.connected.socket.name(), self.channel.number)
    }
}

/// `/metrics`.
pub(super) fn aggregated(census: &Census, page: &mut Page<'_>) {
    for reading in QUEUE {
        let sum = census.queues.iter().map(reading.read).sum();
        page.family(PREFIX, &reading.metric).sample(&[], sum);
    }
    let published = census.sums.counters.accepted - census.sums.counters.restored;
    page.family(PREFIX, &PUBLISHED).sample(&[], published as f64);
    for reading in CHANNEL {
        let sum = census.channels().map(|of| (reading.read)(of.channel)).sum();
        page.family(PREFIX, &reading.metric).sample(&[], sum);
    }
    for (reading, sum) in CHANNEL_DEEDS {
        page.family(PREFIX, &reading.metric).sample(&[], sum(census));
    }
    for reading in CONNECTION {
        let sum = census.connections.iter().map(reading.read).sum();
        page.family(PREFIX, &reading.metric).sample(&[], sum);
    }
    broker(census, page, PREFIX, |_| true);
    global(census, page);
    alarms(census, page);
    identity(census, page, "aggregated");
}

/// `/metrics/per-object`.
pub(super) fn per_object(census: &Census, page: &mut Page<'_>) {
    objects(census, page, PREFIX, |_| true);
    broker(census, page, PREFIX, |_| true);
    global(census, page);
    identity(census, page, "per-object");
}

/// `/metrics/detailed`.
pub(super) fn detailed(census: &Census, page: &mut Page<'_>, families: &HashSet<String>) {
    let wanted = |family: &str| families.contains(family);
    objects(census, page, DETAILED, wanted);
    broker(census, page, DETAILED, |family| {
        !family.is_empty() && wanted(family)
    });
    topology(census, page, wanted);
    identity(census, page, "detailed");
}

fn objects(census: &Census, page: &mut Page<'_>, prefix: &str, wanted: impl Fn(&str) -> bool) {
    // RabbitMQ counts consumers in both families.
    let of_queue =
        |family: &str| wanted(family) || (family == "queue_consumer_count" && wanted("queue_metrics"));
    for reading in QUEUE
        .iter()
        .chain(QUEUE_ALONE)
        .filter(|reading| of_queue(reading.family))
    {
        let mut family = page.family(prefix, &reading.metric);
        for queue in &census.queues {
            let (vhost, name) = (label(&queue.queue.vhost), label(&queue.queue.name));
            let labels = [("vhost", &*vhost), ("queue", &*name)];
            family.sample(&labels, (reading.read)(queue));
        }
    }
    if wanted("channel_queue_exchange_metrics") {
        let mut family = page.family(prefix, &PUBLISHED);
        for queue in &census.queues {
            let (vhost, name) = (label(&queue.queue.vhost), label(&queue.queue.name));
            let counters = &queue.depth.counters;
            let published = (counters.accepted - counters.restored) as f64;
            family.sample(&[("queue_vhost", &*vhost), ("queue", &*name)], published);
        }
    }
    let deeds = CHANNEL_DEEDS.iter().map(|(reading, _)| reading);
    for reading in CHANNEL
        .iter()
        .chain(deeds)
        .filter(|reading| wanted(reading.family))
    {
        let mut family = page.family(prefix, &reading.metric);
        let with_vhost = reading.family != "channel_metrics";
        for of in census.channels() {
            let (name, vhost) = (of.name(), label(&of.connected.session.vhost));
            let labels = [("channel", name.as_str()), ("vhost", &*vhost)];
            let shown = if with_vhost { 2 } else { 1 };
            family.sample(&labels[..shown], (reading.read)(of.channel));
        }
    }
    for reading in CONNECTION.iter().filter(|reading| wanted(reading.family)) {
        let mut family = page.family(prefix, &reading.metric);
        for connected in &census.connections {
            // RabbitMQ's name of the label.
            let name = connected.socket.name();
            family.sample(&[("channel", &name)], (reading.read)(connected));
        }
    }
}

fn broker(census: &Census, page: &mut Page<'_>, prefix: &str, wanted: impl Fn(&str) -> bool) {
    for reading in BROKER.iter().filter(|reading| wanted(reading.family)) {
        page.family(prefix, &reading.metric)
            .sample(&[], (reading.read)(census));
    }
    if wanted("auth_attempt_metrics") {
        for (metric, read) in &ATTEMPTS {
            let mut family = page.family(prefix, metric);
            for protocol in Protocol::ALL {
                let count = read(census.attempts(protocol));
                family.sample(&[("protocol", protocol.name())], count as f64);
            }
        }
    }
}

/// All queues are of one kind here, so they count as RabbitMQ's usual one: a queue that is deleted leaves its counts behind.
fn global(census: &Census, page: &mut Page<'_>) {
    let labels = [("protocol", "amqp091"), ("queue_type", "rabbit_classic_queue")];
    for (by_type, reading) in GLOBAL {
        let labels = if *by_type { &labels[..] } else { &labels[..1] };
        page.family(PREFIX, &reading.metric)
            .sample(labels, (reading.read)(census));
    }
}

fn alarms(census: &Census, page: &mut Page<'_>) {
    for (metric, resource) in &ALARMS {
        let alarms = &census.engine().shared.alarms;
        let stands = resource.is_some_and(|resource| alarms.stands(resource));
        page.family(PREFIX, metric)
            .sample(&[], f64::from(u8::from(stands)));
    }
}

fn topology(census: &Census, page: &mut Page<'_>, wanted: impl Fn(&str) -> bool) {
    if wanted("vhost_status") {
        let mut family = page.family(CLUSTER, &VHOST_STATUS);
        for vhost in census.snapshot.vhosts() {
            family.sample(&[("vhost", &*label(vhost.name()))], 1.0);
        }
    }
    for (name, metric) in [
        ("exchange_names", &EXCHANGE_NAME),
        ("exchange_bindings", &EXCHANGE_BINDINGS),
    ] {
        if !wanted(name) {
            continue;
        }
        let mut family = page.family(CLUSTER, metric);
        for vhost in census.snapshot.vhosts() {
            for exchange in vhost
                .exchanges()
                .filter(|exchange| !exchange.name.as_bytes().is_empty())
            {
                let (of, name) = (label(vhost.name()), label(&exchange.name));
                let kind = exchange.kind.to_string();
                let labels = [("vhost", &*of), ("exchange", &*name), ("type", kind.as_str())];
                let count = if metric.name == EXCHANGE_NAME.name {
                    1
                } else {
                    exchange.bindings().count()
                };
                family.sample(&labels, count as f64);
            }
        }
    }
}

/// Who we are, as dashboards group by it.
fn identity(census: &Census, page: &mut Page<'_>, endpoint: &str) {
    let build = [
        ("rabbitmq_version", RABBITMQ_VERSION),
        ("prometheus_plugin_version", env!("CARGO_PKG_VERSION")),
        ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
        ("erlang_version", "none"),
    ];
    page.family(PREFIX, &BUILD).sample(&build, 1.0);
    let id = format!("rabbitmq-cluster-id-{}", census.node.name);
    let identity = [
        ("rabbitmq_node", census.node.name.as_str()),
        ("rabbitmq_cluster", "everack"),
        ("rabbitmq_cluster_permanent_id", id.as_str()),
        // Dashboards of later versions tell scrapes apart by it.
        ("rabbitmq_endpoint", endpoint),
    ];
    page.family(PREFIX, &IDENTITY).sample(&identity, 1.0);
}
