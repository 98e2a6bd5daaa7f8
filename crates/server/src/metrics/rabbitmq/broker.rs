//! What the broker tells as a whole.

use everack_node::alarms::Resource;
use everack_node::report::ChannelReport;

use crate::metrics::census::Census;
use crate::metrics::metric::{Kind, Metric, Reading, counter, gauge};
use crate::process;

/// Of the broker as a whole. Those without a family are not among the detailed ones.
pub(in crate::metrics) const BROKER: &[Reading<Census>] = &[
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
pub(in crate::metrics) const GLOBAL: &[(bool, Reading<Census>)] = &[
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
                census.channels().filter(|of| publishes(of.report())).count() as f64
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

pub(in crate::metrics) const PUBLISHED: Metric = Metric {
    name: "queue_messages_published_total",
    kind: Kind::Counter,
    help: "Total number of messages published to queues",
};

type Read = fn((u64, u64)) -> u64;

/// Of log-ins, from how many were right and how many wrong.
pub(in crate::metrics) const ATTEMPTS: [(Metric, Read); 3] = [
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

pub(in crate::metrics) const ALARMS: [(Metric, Option<Resource>); 3] = [
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

pub(in crate::metrics) const BUILD: Metric = untyped("build_info", "RabbitMQ & Erlang/OTP version info");
pub(in crate::metrics) const IDENTITY: Metric =
    untyped("identity_info", "RabbitMQ node & cluster identity info");

/// Of exchanges and virtual hosts, among the detailed ones only.
pub(in crate::metrics) const VHOST_STATUS: Metric =
    gauge_of("vhost_status", "Whether a given vhost is running");
pub(in crate::metrics) const EXCHANGE_NAME: Metric = gauge_of(
    "exchange_name",
    "Enumerates exchanges without any additional info. This value is cluster-wide. A cheaper alternative to `exchange_bindings`",
);
pub(in crate::metrics) const EXCHANGE_BINDINGS: Metric = gauge_of(
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
