//! What machines say of themselves when somebody looks.

use std::sync::{Arc, Mutex};

use everack_amqp::connection::ChannelMode;
use everack_amqp::wire::method::{basic, channel, confirm};
use everack_broker::ids::QueueId;
use everack_node::report::{Inquirer, PartitionReport, Published, Received, Report, SessionReport};
use everack_node::request::Request;

use crate::desk::Desk;
use crate::talk::{Talk, short};

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Report>>);

impl Inquirer for Ear {
    fn told(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

fn ask_partition(desk: &Desk, partition: usize, queues: Vec<QueueId>) -> PartitionReport {
    let ear = Arc::new(Ear::default());
    let inquirer = ear.clone();
    desk.ask(partition, Request::Report { queues, inquirer });
    match ear.0.lock().unwrap().pop() {
        Some(Report::Partition(report)) => report,
        other => panic!("a partition tells {other:?}"),
    }
}

fn ask_session(desk: &Desk, talk: &mut Talk) -> SessionReport {
    let ear = Arc::new(Ear::default());
    let inquirer: Arc<dyn Inquirer> = ear.clone();
    assert_eq!(desk.shared.ask_connections(&inquirer), 1);
    drop(inquirer);
    talk.turn();
    assert_eq!(Arc::strong_count(&ear), 1, "nobody holds an answered question");
    match ear.0.lock().unwrap().pop() {
        Some(Report::Session(report)) => *report,
        other => panic!("a session tells {other:?}"),
    }
}

fn consume(queue: &str, tag: &str, no_ack: bool) -> basic::Consume {
    basic::Consume {
        queue: short(queue),
        consumer_tag: short(tag),
        no_ack,
        ..basic::Consume::default()
    }
}

/// Five messages published with confirms and one that nobody wants; three of them held by a consumer, one settled.
fn scene(desk: &std::rc::Rc<Desk>) -> Talk {
    desk.declare("q");
    let mut talk = Talk::begin(desk, "guest");
    talk.say(1, confirm::Select::default());
    for _ in 0..5 {
        talk.publish(1, "q", b"body");
    }
    talk.publish(1, "nobody", b"body");
    talk.settle();
    talk.say(
        2,
        basic::Qos {
            prefetch_count: 3,
            ..basic::Qos::default()
        },
    );
    talk.say(2, consume("q", "tag", false));
    talk.settle();
    talk.say(
        2,
        basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    talk.settle();
    talk
}

#[test]
fn a_partition_tells_of_the_queues_it_is_asked_for() {
    let desk = Desk::new();
    let _talk = scene(&desk);
    let queue = desk.queue("q").unwrap();
    let report = ask_partition(
        &desk,
        usize::from(queue.partition.0),
        vec![queue.id, QueueId(999)],
    );
    let [(id, depth)] = report.queues[..] else {
        panic!("{:?}", report.queues)
    };
    assert_eq!(id, queue.id);
    assert_eq!((depth.ready, depth.unsettled, depth.consumers), (1, 3, 1));
    let counters = depth.counters;
    assert_eq!((counters.accepted, counters.restored), (5, 0));
    assert_eq!(
        (counters.delivered, counters.done, counters.redelivered),
        (4, 1, 0)
    );
}

#[test]
fn a_session_tells_of_its_channels() {
    let desk = Desk::new();
    let mut talk = scene(&desk);
    let report = ask_session(&desk, &mut talk);
    assert_eq!(
        (report.user.as_bytes(), report.vhost.as_bytes()),
        (&b"guest"[..], &b"/"[..])
    );
    assert_eq!(
        (report.status.state, report.status.mechanism),
        ("running", "PLAIN")
    );
    assert_eq!((report.blocked, report.confirmed), (false, 6));

    let [publisher, consumer] = &report.channels[..] else {
        panic!("{:?}", report.channels)
    };
    assert_eq!((publisher.number, publisher.mode), (1, ChannelMode::Confirm));
    assert_eq!((publisher.confirmed, publisher.unconfirmed), (6, 0));
    let published = Published {
        messages: 6,
        not_mandatory: 6,
        routed: 5,
        dropped: 1,
        ..Published::default()
    };
    assert_eq!(publisher.published, published);
    assert_eq!(publisher.exchanges, [("".into(), published)]);

    assert_eq!((consumer.number, consumer.mode), (2, ChannelMode::Plain));
    assert_eq!((consumer.prefetch, consumer.unsettled), (3, 3));
    let received = Received {
        delivered: 4,
        acknowledged: 1,
        ..Received::default()
    };
    assert_eq!(consumer.received, received);
    let [only] = &consumer.consumers[..] else {
        panic!("{:?}", consumer.consumers)
    };
    assert_eq!(
        (only.tag.as_bytes(), only.queue.as_bytes()),
        (&b"tag"[..], &b"q"[..])
    );
    assert_eq!((only.no_ack, only.exclusive, only.prefetch), (false, false, 3));
}

#[test]
fn what_a_channel_has_published_outlives_it() {
    let desk = Desk::new();
    let mut talk = scene(&desk);
    talk.say(1, channel::Close::default());
    talk.settle();
    assert_eq!(ask_session(&desk, &mut talk).channels.len(), 1);
    let sums = desk.shared.ledger.sums(|_, _| true);
    assert_eq!(
        (sums.published.messages, sums.published.dropped, sums.confirmed),
        (6, 1, 0)
    );
    talk.session.end();
    assert_eq!(desk.shared.ledger.sums(|_, _| true).confirmed, 6);
}

#[test]
fn deliveries_of_every_kind_are_told_apart() {
    let desk = Desk::new();
    desk.declare("q");
    let mut talk = Talk::begin(&desk, "guest");
    for _ in 0..6 {
        talk.publish(1, "q", b"body");
    }
    talk.settle();
    let get = |queue: &str, no_ack| basic::Get {
        queue: short(queue),
        no_ack,
    };
    talk.say(1, get("q", false));
    talk.say(1, get("q", true));
    talk.settle();
    // The first one comes back, and is seen again by the consumer.
    talk.say(
        1,
        basic::Nack {
            delivery_tag: 1,
            multiple: false,
            requeue: true,
        },
    );
    talk.say(2, consume("q", "tag", true));
    talk.settle();
    talk.say(2, get("q", true));
    talk.settle();

    let queue = desk.queue("q").unwrap();
    let report = ask_partition(&desk, usize::from(queue.partition.0), vec![queue.id]);
    let counters = report.queues[0].1.counters;
    assert_eq!((counters.delivered, counters.redelivered), (7, 1));
    assert_eq!(
        (counters.gotten, counters.gotten_no_ack, counters.gotten_nothing),
        (2, 1, 1)
    );
    assert_eq!(counters.no_ack, 6);

    let report = ask_session(&desk, &mut talk);
    let expected = Received {
        gotten: 1,
        gotten_no_ack: 1,
        ..Received::default()
    };
    assert_eq!(report.channels[0].received, expected);
    let expected = Received {
        delivered_no_ack: 5,
        gotten_nothing: 1,
        redelivered: 1,
        ..Received::default()
    };
    assert_eq!(report.channels[1].received, expected);
}

#[test]
fn what_was_there_at_the_start_is_not_counted_as_published() {
    let desk = Desk::new();
    drop(scene(&desk));
    let desk = desk.restart();
    let queue = desk.queue("q").unwrap();
    let report = ask_partition(&desk, usize::from(queue.partition.0), vec![queue.id]);
    let counters = report.queues[0].1.counters;
    assert_eq!(counters.accepted, counters.restored);
    assert_eq!((counters.delivered, counters.done), (0, 0));
    assert_eq!(counters.live(), report.queues[0].1.ready);
}
