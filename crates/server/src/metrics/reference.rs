//! The page of the guide that lists all metrics, written from their definitions.

use std::fmt::Write as _;

use super::metric::Metric;
use super::{consumers, everack, rabbitmq};

const HEAD: &str = "# Metrics reference

<!-- Written by `everack metrics` from crates/server/src/metrics; a test keeps it current. -->

What the pages for Prometheus have; [monitoring](monitoring.md) tells how to use them.

";

/// All of it, as Markdown.
pub(crate) fn page() -> String {
    let mut out = HEAD.to_owned();
    let ours = everack::BROKER.iter().map(|reading| &reading.metric);
    let single = [
        &everack::UNROUTABLE,
        &everack::ALARM,
        &everack::LOGIN_FAILURES,
        &everack::SPANS_DROPPED,
        &everack::SYNCS,
        &everack::GROUPS,
        &everack::BUILD,
    ];
    section(
        &mut out,
        "Everack's own, of the broker",
        "everack_",
        ours.chain(single),
    );
    let queues = everack::QUEUE.iter().map(|reading| &reading.metric);
    let balance = everack::BALANCE.iter().map(|reading| &reading.metric);
    let title = "Everack's own, of queues (`family=everack_queue_balance`)";
    section(
        &mut out,
        title,
        "everack_",
        queues.chain(balance).chain([&everack::DISCARDED]),
    );
    let each = consumers::CONSUMER.iter().map(|reading| &reading.metric);
    let title = "Everack's own, of consumers (`family=everack_consumers`)";
    section(
        &mut out,
        title,
        "everack_",
        [&consumers::OLDEST].into_iter().chain(each),
    );
    let queues = rabbitmq::QUEUE.iter().chain(rabbitmq::QUEUE_ALONE);
    let queues = queues
        .map(|reading| &reading.metric)
        .chain([&rabbitmq::PUBLISHED]);
    section(&mut out, "RabbitMQ's, of queues", "rabbitmq_", queues);
    let channels = rabbitmq::CHANNEL.iter().map(|reading| &reading.metric);
    let deeds = rabbitmq::CHANNEL_DEEDS.iter().map(|(reading, _)| &reading.metric);
    section(
        &mut out,
        "RabbitMQ's, of channels",
        "rabbitmq_",
        channels.chain(deeds),
    );
    let connections = rabbitmq::CONNECTION.iter().map(|reading| &reading.metric);
    section(&mut out, "RabbitMQ's, of connections", "rabbitmq_", connections);
    let broker = rabbitmq::BROKER.iter().map(|reading| &reading.metric);
    let global = rabbitmq::GLOBAL.iter().map(|(_, reading)| &reading.metric);
    let attempts = rabbitmq::ATTEMPTS.iter().map(|(metric, _)| metric);
    let alarms = rabbitmq::ALARMS.iter().map(|(metric, _)| metric);
    let all = broker.chain(global).chain(attempts).chain(alarms);
    let all = all.chain([&rabbitmq::BUILD, &rabbitmq::IDENTITY]);
    section(&mut out, "RabbitMQ's, of the broker", "rabbitmq_", all);
    let topology = [
        &rabbitmq::VHOST_STATUS,
        &rabbitmq::EXCHANGE_NAME,
        &rabbitmq::EXCHANGE_BINDINGS,
    ];
    let title = "RabbitMQ's, of vhosts and exchanges (`/metrics/detailed` only)";
    section(&mut out, title, "rabbitmq_cluster_", topology);
    out
}

fn section<'a>(out: &mut String, title: &str, prefix: &str, metrics: impl IntoIterator<Item = &'a Metric>) {
    let _ = write!(out, "## {title}\n\n| metric | type | what |\n|---|---|---|\n");
    for Metric { name, kind, help } in metrics {
        let _ = writeln!(out, "| `{prefix}{name}` | {} | {help} |", kind.name());
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To refresh it: `cargo run -p everack-server -- metrics > docs/guide/src/metrics.md`.
    #[test]
    fn the_reference_in_the_guide_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/src/metrics.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/guide/src/metrics.md is behind the metrics; run\n  \
             cargo run -p everack-server -- metrics > docs/guide/src/metrics.md"
        );
    }
}
