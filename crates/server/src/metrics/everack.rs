//! Our own metrics: what the promise is made of, and what endangers it.

use everack_amqp::connection::ChannelMode;
use everack_broker::partition::Counters;
use everack_node::alarms::Resource;
use std::sync::atomic::Ordering;

use super::census::{Census, Stands};
use super::metric::{Kind, Metric, Reading, counter, gauge};
use super::page::{Page, label};
use crate::auth::attempts::Protocol;

const PREFIX: &str = "everack_";
/// The family of `/metrics/detailed` that shows them by queue.
pub(super) const BALANCE_FAMILY: &str = "everack_queue_balance";

/// Of the broker as a whole.
pub(super) const BROKER: &[Reading<Census>] = &[
    counter(
        "",
        "log_appended_bytes_total",
        "Bytes appended to the log",
        |census| census.engine().progress.appended_bytes() as f64,
    ),
    gauge("", "log_bytes", "Bytes of the log's segments", |census| {
        census.gauges.log_total as f64
    }),
    gauge(
        "",
        "log_live_bytes",
        "Bytes of messages in the log that are still there",
        |census| census.gauges.log_live as f64,
    ),
    gauge(
        "",
        "log_dead_bytes",
        "Bytes of the log's segments that nobody needs any more",
        |census| census.gauges.log_total.saturating_sub(census.gauges.log_live) as f64,
    ),
    gauge(
        "",
        "disk_full_waiting",
        "Is 1 while publishes wait for room on the disk",
        |census| {
            let waits = census.engine().log_is_full.load(Ordering::Relaxed);
            f64::from(u8::from(waits))
        },
    ),
    gauge(
        "",
        "connections_blocked",
        "Connections that publish and are not read because of an alarm",
        |census| {
            let blocked = census.connections.iter();
            blocked.filter(|connected| connected.session.blocked).count() as f64
        },
    ),
    gauge(
        "",
        "connections_held_back",
        "Connections that are not read for a moment: what they have published is not accepted yet, or ahead of the consumers",
        |census| {
            let held = census.connections.iter();
            held.filter(|connected| connected.session.held_back).count() as f64
        },
    ),
    gauge(
        "",
        "publishers_unconfirmed",
        "Channels that have published without confirms and without transactions",
        |census| {
            let channels = census.channels();
            let careless = channels.filter(|of| {
                let report = of.report();
                report.mode == ChannelMode::Plain && report.published.messages > 0
            });
            careless.count() as f64
        },
    ),
    gauge(
        "",
        "no_ack_consumers",
        "Consumers that do not acknowledge, on durable queues that are not exclusive",
        |census| {
            let queues = census.queues.iter();
            let durable = queues.filter(|stands| stands.queue.durable && !stands.queue.is_exclusive());
            durable
                .map(|stands| f64::from(stands.depth.consumers_no_ack))
                .sum()
        },
    ),
    counter(
        "",
        "no_ack_deliveries_total",
        "Messages handed over to somebody who does not acknowledge",
        |census| census.sums.counters.delivered_no_ack as f64,
    ),
    counter(
        "",
        "no_ack_warned_total",
        "Consumers that do not acknowledge, on durable queues, that were told of",
        |census| {
            census
                .engine()
                .shared
                .counters
                .no_ack_warned
                .load(Ordering::Relaxed) as f64
        },
    ),
    counter(
        "",
        "no_ack_refused_total",
        "Consumers that do not acknowledge, on durable queues, that were refused",
        |census| {
            census
                .engine()
                .shared
                .counters
                .no_ack_refused
                .load(Ordering::Relaxed) as f64
        },
    ),
    counter(
        "",
        "messages_redelivered_total",
        "Deliveries of messages that may have been delivered before",
        |census| census.sums.counters.redelivered as f64,
    ),
    counter(
        "",
        "messages_returned_total",
        "Messages that came back after a delivery, each time counted",
        |census| census.sums.counters.returned as f64,
    ),
    counter(
        "",
        "messages_damaged_total",
        "Messages whose content could not be read back and was set aside",
        |census| census.engine().shared.counters.damaged.load(Ordering::Relaxed) as f64,
    ),
    counter(
        "",
        "replies_dropped_total",
        "Direct replies that found no room in the connection of the one who asked",
        |census| {
            census
                .engine()
                .shared
                .counters
                .replies_dropped
                .load(Ordering::Relaxed) as f64
        },
    ),
    gauge(
        "",
        "unroutable_messages",
        "Messages that no queue wanted and that virtual hosts keep",
        |census| {
            let stores = census.stores.iter();
            stores
                .map(|stands| (stands.depth.ready + stands.depth.unsettled) as f64)
                .sum()
        },
    ),
    gauge(
        "",
        "delayed_exchange_messages",
        "Messages that wait in delayed exchanges for their time",
        |census| {
            let rooms = census.rooms.iter();
            rooms
                .map(|stands| (stands.depth.delayed + stands.depth.dead) as f64)
                .sum()
        },
    ),
    counter(
        "",
        "trace_spans_exported_total",
        "Spans that the collector of traces has taken",
        |census| census.traces.exported as f64,
    ),
    gauge(
        "",
        "trace_spans_waiting",
        "Spans that wait to be sent to the collector",
        |census| census.traces.waiting as f64,
    ),
    gauge(
        "",
        "trace_followed",
        "Publishes under way and messages in queues that are followed for traces",
        |census| census.traces.followed as f64,
    ),
];

/// Of queues: summed up, or one by one. What became of all that a queue accepted is in the balance below.
pub(super) const QUEUE: &[Reading<Stands>] = &[
    gauge(
        BALANCE_FAMILY,
        "queue_messages_delayed",
        "Messages that came back and wait before they are delivered again",
        |queue| queue.depth.delayed as f64,
    ),
    gauge(
        BALANCE_FAMILY,
        "queue_messages_parked",
        "Messages that were delivered too often, or had nowhere to go, and wait for an operator",
        |queue| queue.depth.parked as f64,
    ),
    gauge(
        BALANCE_FAMILY,
        "queue_messages_retained",
        "Messages that were handed over without acknowledgement and are retained for a while",
        |queue| queue.depth.retained as f64,
    ),
    gauge(
        BALANCE_FAMILY,
        "queue_messages_dead",
        "Messages that have died and are not yet through the dead-letter exchange",
        |queue| queue.depth.dead as f64,
    ),
];

/// What became of everything that was accepted: accepted = live + settled + dead-lettered + moved + discarded.
pub(super) const BALANCE: &[Reading<Counters>] = &[
    counter(
        BALANCE_FAMILY,
        "messages_accepted_total",
        "Messages that entered queues, those found at the start included",
        |counters| counters.accepted as f64,
    ),
    gauge(
        BALANCE_FAMILY,
        "messages_live",
        "Messages that are still there",
        |counters| counters.live() as f64,
    ),
    counter(
        BALANCE_FAMILY,
        "messages_settled_total",
        "Messages that a client has taken charge of",
        |counters| counters.settled() as f64,
    ),
    counter(
        BALANCE_FAMILY,
        "messages_dead_lettered_total",
        "Messages that went on through the dead-letter exchange, or to where they were routed when their time had come",
        |counters| counters.dead_lettered as f64,
    ),
    counter(
        BALANCE_FAMILY,
        "messages_moved_total",
        "Messages that an operator moved to another queue",
        |counters| counters.moved as f64,
    ),
];

pub(super) const DISCARDED: Metric = Metric {
    name: "messages_discarded_total",
    kind: Kind::Counter,
    help: "Messages that were removed by an order or a rule, by reason",
};
pub(super) const UNROUTABLE: Metric = Metric {
    name: "unroutable_total",
    kind: Kind::Counter,
    help: "Messages that no queue wanted, by what became of them",
};
pub(super) const ALARM: Metric = Metric {
    name: "alarm",
    kind: Kind::Gauge,
    help: "Is 1 while publishers are blocked because this runs short",
};
pub(super) const LOGIN_FAILURES: Metric = Metric {
    name: "login_failures_total",
    kind: Kind::Counter,
    help: "Log-ins that were refused, by protocol",
};
pub(super) const SPANS_DROPPED: Metric = Metric {
    name: "trace_spans_dropped_total",
    kind: Kind::Counter,
    help: "Spans that were dropped: `followed`, their message was let go for younger ones; `waiting`, there was no room among those that wait; `collector`, it did not take them",
};
pub(super) const SYNCS: Metric = Metric {
    name: "log_sync_duration_seconds",
    kind: Kind::Histogram,
    help: "How long syncs of the log take",
};
pub(super) const GROUPS: Metric = Metric {
    name: "log_group_jobs",
    kind: Kind::Histogram,
    help: "Jobs that are written together and share a sync",
};
pub(super) const BUILD: Metric = Metric {
    name: "build_info",
    kind: Kind::Gauge,
    help: "The version of Everack",
};

/// Everything, with queues summed up.
pub(super) fn aggregated(census: &Census, page: &mut Page<'_>) {
    for reading in QUEUE {
        let sum = census.queues.iter().map(reading.read).sum();
        page.family(PREFIX, &reading.metric).sample(&[], sum);
    }
    for reading in BALANCE {
        let number = (reading.read)(&census.sums.counters);
        page.family(PREFIX, &reading.metric).sample(&[], number);
    }
    let mut family = page.family(PREFIX, &DISCARDED);
    for (reason, count) in census.sums.counters.discarded_by_reason() {
        family.sample(&[("reason", reason)], count as f64);
    }
    broker(census, page);
}

/// Everything, queue by queue.
pub(super) fn per_object(census: &Census, page: &mut Page<'_>) {
    balances(census, page);
    broker(census, page);
}

/// What became of all messages, queue by queue.
pub(super) fn balances(census: &Census, page: &mut Page<'_>) {
    let of = |stands: &Stands| {
        (
            label(&stands.queue.vhost).into_owned(),
            label(&stands.queue.name).into_owned(),
        )
    };
    for reading in QUEUE {
        let mut family = page.family(PREFIX, &reading.metric);
        for stands in &census.queues {
            let (vhost, queue) = of(stands);
            family.sample(&[("vhost", &vhost), ("queue", &queue)], (reading.read)(stands));
        }
    }
    for reading in BALANCE {
        let mut family = page.family(PREFIX, &reading.metric);
        for stands in &census.queues {
            let (vhost, queue) = of(stands);
            let number = (reading.read)(&stands.depth.counters);
            family.sample(&[("vhost", &vhost), ("queue", &queue)], number);
        }
    }
    let mut family = page.family(PREFIX, &DISCARDED);
    for stands in &census.queues {
        let (vhost, queue) = of(stands);
        for (reason, count) in stands.depth.counters.discarded_by_reason() {
            let labels = [("vhost", vhost.as_str()), ("queue", &queue), ("reason", reason)];
            family.sample(&labels, count as f64);
        }
    }
}

fn broker(census: &Census, page: &mut Page<'_>) {
    for reading in BROKER {
        page.family(PREFIX, &reading.metric)
            .sample(&[], (reading.read)(census));
    }
    let counters = &census.engine().shared.counters;
    let mut family = page.family(PREFIX, &UNROUTABLE);
    for (fate, counter) in [
        ("dropped", &counters.unroutable_dropped),
        ("kept", &counters.unroutable_kept),
        ("refused", &counters.unroutable_refused),
        ("returned", &counters.unroutable_returned),
    ] {
        family.sample(&[("fate", fate)], counter.load(Ordering::Relaxed) as f64);
    }
    let mut family = page.family(PREFIX, &ALARM);
    for (name, resource) in [("disk", Resource::Disk), ("memory", Resource::Memory)] {
        let stands = census.engine().shared.alarms.stands(resource);
        family.sample(&[("resource", name)], f64::from(u8::from(stands)));
    }
    let mut family = page.family(PREFIX, &LOGIN_FAILURES);
    for protocol in Protocol::ALL {
        let (_, wrong) = census.attempts(protocol);
        family.sample(&[("protocol", protocol.name())], wrong as f64);
    }
    let mut family = page.family(PREFIX, &SPANS_DROPPED);
    for (reason, count) in [
        ("followed", census.traces.forgotten),
        ("waiting", census.traces.overflowed),
        ("collector", census.traces.refused),
    ] {
        family.sample(&[("reason", reason)], count as f64);
    }
    page.family(PREFIX, &SYNCS).histogram(&census.disk.syncs, 1e6);
    page.family(PREFIX, &GROUPS).histogram(&census.disk.jobs, 1.0);
    let version = env!("CARGO_PKG_VERSION");
    page.family(PREFIX, &BUILD).sample(&[("version", version)], 1.0);
}
