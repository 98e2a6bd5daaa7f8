//! How consumers get on: what each was delivered, has acknowledged, and holds.

use super::census::{Census, Consumes};
use super::metric::{Kind, Metric, Reading, counter, gauge};
use super::page::{Page, label};

const PREFIX: &str = "everack_";
/// The family of `/metrics/detailed` that shows them.
pub(super) const FAMILY: &str = "everack_consumers";

/// For how long what is held for longest is held: the highest of all, or by queue.
pub(super) const OLDEST: Metric = Metric {
    name: "queue_oldest_unsettled_seconds",
    kind: Kind::Gauge,
    help: "How long the oldest message that a consumer holds has been with it; 0 if none is held",
};

/// One by one.
pub(super) const CONSUMER: &[Reading<Consumes>] = &[
    gauge(
        FAMILY,
        "consumer_messages_unacked",
        "Messages that the consumer holds",
        |consumes| consumes.holder.unsettled as f64,
    ),
    gauge(
        FAMILY,
        "consumer_oldest_unsettled_seconds",
        "How long the oldest message that the consumer holds has been with it; 0 if it holds none",
        |consumes| consumes.oldest_unsettled_seconds,
    ),
    counter(
        FAMILY,
        "consumer_messages_delivered_total",
        "Messages delivered to the consumer",
        |consumes| consumes.holder.delivered as f64,
    ),
    counter(
        FAMILY,
        "consumer_messages_acknowledged_total",
        "Messages that the consumer has acknowledged",
        |consumes| consumes.holder.acknowledged as f64,
    ),
];

/// The highest age of all.
pub(super) fn aggregated(census: &Census, page: &mut Page<'_>) {
    let ages = census.queues.iter().map(|stands| stands.oldest_unsettled_seconds);
    page.family(PREFIX, &OLDEST).sample(&[], ages.fold(0.0, f64::max));
}

/// The age by queue, and each consumer.
pub(super) fn one_by_one(census: &Census, page: &mut Page<'_>) {
    let mut family = page.family(PREFIX, &OLDEST);
    for stands in &census.queues {
        let (vhost, queue) = (label(&stands.queue.vhost), label(&stands.queue.name));
        let labels = [("vhost", &*vhost), ("queue", &*queue)];
        family.sample(&labels, stands.oldest_unsettled_seconds);
    }
    for reading in CONSUMER {
        let mut family = page.family(PREFIX, &reading.metric);
        for consumes in &census.consumers {
            let (vhost, queue) = (label(&consumes.queue.vhost), label(&consumes.queue.name));
            let tag = label(&consumes.tag);
            let labels = [
                ("vhost", &*vhost),
                ("queue", &*queue),
                ("channel", &*consumes.channel),
                ("consumer_tag", &*tag),
            ];
            family.sample(&labels, (reading.read)(consumes));
        }
    }
}
