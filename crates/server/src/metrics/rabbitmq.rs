//! RabbitMQ's metrics, with its names, types and help texts, as far as there is an honest counterpart: what Erlang's processes,
//! its message store, its schema database and Raft do is not among them. compat/management/metrics.json has all that RabbitMQ 3.10.8 has.
//!
//! | page | objects are | prefix |
//! |---|---|---|
//! | `/metrics` | summed up | `rabbitmq_` |
//! | `/metrics/per-object` | shown one by one | `rabbitmq_` |
//! | `/metrics/detailed?family=...` | shown one by one, of the families asked for | `rabbitmq_detailed_`, `rabbitmq_cluster_` |

mod broker;
mod objects;

use std::collections::HashSet;

use everack_amqp::settings::RABBITMQ_VERSION;
use everack_node::report::ChannelReport;

use super::census::{Census, Stands};
use super::page::{Page, label};
use crate::auth::attempts::Protocol;
use crate::http::inquiry::Connected;
pub(super) use broker::{
    ALARMS, ATTEMPTS, BROKER, BUILD, EXCHANGE_BINDINGS, EXCHANGE_NAME, GLOBAL, IDENTITY, PUBLISHED,
    VHOST_STATUS,
};
pub(super) use objects::{CHANNEL, CHANNEL_DEEDS, CONNECTION, QUEUE, QUEUE_ALONE};

/// A channel, and the connection that it is of.
pub(super) struct ChannelOf<'a> {
    connected: &'a Connected,
    channel: &'a ChannelReport,
}

const PREFIX: &str = "rabbitmq_";
const DETAILED: &str = "rabbitmq_detailed_";
const CLUSTER: &str = "rabbitmq_cluster_";

impl Stands {
    /// Of all messages but those that are set aside.
    pub(super) fn bytes(&self) -> u64 {
        let depth = &self.depth;
        depth.counters.live_bytes() - depth.parked_bytes - depth.retained_bytes - depth.dead_bytes
    }

    /// A durable queue keeps every message through a restart, whatever its delivery mode.
    pub(super) fn persistent(&self, count: u64) -> f64 {
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
        self.connected.channel_name(self.channel.number)
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
                    exchange.binding_count()
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
