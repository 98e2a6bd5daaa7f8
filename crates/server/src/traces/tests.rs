//! From events to spans.

use everack_broker::ids::{ConsumerId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::{Death, SettleReason};
use everack_node::traces::{Event, Fate, Parent, Phase, Publisher, Trace};
use everack_storage::Position;
use std::sync::Arc;

use super::book::{Book, Ended};
use super::otlp::{KeyValue, Span, Value};
use super::render::{self, Seed};

const SEED: Seed = Seed([1, 2, 3, 4]);

fn publisher() -> Arc<Publisher> {
    Arc::new(Publisher {
        peer: "127.0.0.1:4711".into(),
        user: "guest".into(),
        vhost: "/".into(),
    })
}

fn trace(number: u64) -> Arc<Trace> {
    Arc::new(Trace {
        number,
        parent: Some(Parent {
            trace: [7; 16],
            span: [8; 8],
            flags: 1,
            state: "v=1".into(),
        }),
        exchange: "orders".into(),
        routing_key: "new".into(),
        message_id: Some("m-1".into()),
        correlation_id: None,
        body_bytes: 5,
        persistent: true,
        publisher: publisher(),
        channel: 1,
    })
}

fn published(places: u32) -> Event {
    let (trace, fate) = (trace(1), Fate::Queues(places));
    Event::Published {
        trace,
        fate,
        confirms: true,
    }
}

fn nowhere(fate: Fate) -> Event {
    Event::Published {
        trace: trace(1),
        fate,
        confirms: true,
    }
}

fn entered(queue: u64, seq: u64) -> Event {
    Event::Entered {
        trace: trace(1),
        queue: QueueId(queue),
        seq: Seq(seq),
        location: Some(Position(100)),
        origin: None,
    }
}

/// The copy that was `from` is in another queue.
fn moved(from: (u64, u64), queue: u64, seq: u64) -> Event {
    Event::Entered {
        trace: trace(1),
        queue: QueueId(queue),
        seq: Seq(seq),
        location: Some(Position(100)),
        origin: Some((QueueId(from.0), Seq(from.1))),
    }
}

fn delivered(queue: u64, seq: u64, redelivered: bool) -> Event {
    Event::Delivered {
        queue: QueueId(queue),
        seq: Seq(seq),
        consumer: ConsumerId(9),
        redelivered,
    }
}

fn became(queue: u64, seq: u64, phase: Phase) -> Event {
    let (queue, seq) = (QueueId(queue), Seq(seq));
    Event::Became { queue, seq, phase }
}

fn left(queue: u64, seq: u64, reason: SettleReason) -> Event {
    let (queue, seq) = (QueueId(queue), Seq(seq));
    Event::Left { queue, seq, reason }
}

fn consumer() -> Event {
    Event::ConsumerBegins {
        consumer: ConsumerId(9),
        tag: "ctag".into(),
        channel: 3,
        peer: publisher(),
    }
}

/// What a book makes of events that happen at 10, 20, 30 and so on.
fn ended(most: usize, events: Vec<Event>) -> (Book, Vec<Ended>) {
    let (mut book, mut all) = (Book::new(most), Vec::new());
    book.synced(3, 7, Position(90));
    book.synced(8, 15, Position(101));
    for (event, now) in events.into_iter().zip((10..).step_by(10)) {
        book.hear(event, now, |queue| Name::from(format!("q{queue}").as_str()));
        all.extend(book.take());
    }
    (book, all)
}

fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|KeyValue { value, .. }| value.as_ref()?.value.as_ref());
    match value {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Int(value)) => value.to_string(),
        Some(Value::Double(value)) => value.to_string(),
        None => "-".into(),
    }
}

/// Name, times and outcome of each span, and the place of the one that it is a child of (0 is the publish, - the publisher's own).
#[track_caller]
fn check(events: Vec<Event>, expected: &[&str]) {
    let (_, ended) = ended(100, events);
    let spans: Vec<Span> = ended.iter().map(|ended| render::span(ended, &SEED)).collect();
    let publish = spans.iter().find(|span| span.parent_span_id == [8; 8]);
    let publish = publish.map(|span| span.span_id.clone());
    let told: Vec<String> = spans
        .iter()
        .map(|span| {
            let parent = if Some(&span.parent_span_id) == publish.as_ref() {
                "publish".to_owned()
            } else {
                let at = spans
                    .iter()
                    .position(|other| other.span_id == span.parent_span_id);
                at.map_or("-".to_owned(), |at| at.to_string())
            };
            format!(
                "{} {}..{} {} < {parent}",
                span.name,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                text(span, "everack.outcome")
            )
        })
        .collect();
    assert_eq!(told, expected);
    assert!(
        spans
            .iter()
            .all(|span| span.trace_id == [7; 16] && span.trace_state == "v=1")
    );
}

#[test]
fn an_ordinary_way() {
    check(
        vec![
            published(1),
            entered(1, 1),
            delivered(1, 1, false),
            left(1, 1, SettleReason::Done),
        ],
        &[
            "publish orders:new 10..20 enqueued < -",
            "wait q1 20..30 delivered < publish",
            "deliver q1 30..40 acknowledged < publish",
        ],
    );
}

#[test]
fn a_publish_ends_when_it_is_everywhere() {
    let missed = |places| Event::Missed {
        trace: trace(1),
        places,
    };
    check(
        vec![published(2), entered(1, 1), entered(2, 5)],
        &["publish orders:new 10..30 enqueued < -"],
    );
    check(
        vec![published(2), entered(1, 1), missed(1)],
        &["publish orders:new 10..30 partly refused < -"],
    );
    check(
        vec![published(2), missed(2)],
        &["publish orders:new 10..20 refused < -"],
    );
    for (fate, outcome) in [
        (Fate::Returned, "returned"),
        (Fate::Refused, "refused"),
        (Fate::Dropped, "dropped"),
        (Fate::Answer, "answered"),
    ] {
        let expected = format!("publish orders:new 10..10 {outcome} < -");
        check(vec![nowhere(fate)], &[&expected]);
    }
}

#[test]
fn what_comes_back_waits_and_is_delivered_again() {
    check(
        vec![
            published(1),
            entered(1, 1),
            delivered(1, 1, false),
            became(1, 1, Phase::Returned { failed: false }),
            delivered(1, 1, true),
            left(1, 1, SettleReason::Rejected),
        ],
        &[
            "publish orders:new 10..20 enqueued < -",
            "wait q1 20..30 delivered < publish",
            "deliver q1 30..40 returned < publish",
            "wait q1 40..50 delivered < publish",
            "deliver q1 50..60 rejected < publish",
        ],
    );
}

#[test]
fn a_dead_message_goes_on_below_its_death() {
    check(
        vec![
            published(1),
            entered(1, 1),
            delivered(1, 1, false),
            became(1, 1, Phase::Rejected),
            became(1, 1, Phase::Dying(Death::Rejected)),
            moved((1, 1), 2, 1),
            left(1, 1, SettleReason::DeadLettered),
            became(2, 1, Phase::Dying(Death::Expired)),
            left(2, 1, SettleReason::Cycle),
        ],
        &[
            "publish orders:new 10..20 enqueued < -",
            "wait q1 20..30 delivered < publish",
            "deliver q1 30..40 rejected < publish",
            "dead-letter q1 40..70 dead-lettered < publish",
            "wait q2 60..80 expired < 3",
            "dead-letter q2 80..90 cycle < 3",
        ],
    );
}

#[test]
fn a_copy_that_dies_takes_no_other_along() {
    check(
        vec![
            published(2),
            entered(1, 1),
            became(1, 1, Phase::Dying(Death::Expired)),
            // From the publisher, whose other copy is dead by now.
            entered(2, 5),
            moved((1, 1), 3, 1),
            left(1, 1, SettleReason::DeadLettered),
            left(2, 5, SettleReason::Done),
            left(3, 1, SettleReason::Purged),
        ],
        &[
            "wait q1 20..30 expired < publish",
            "publish orders:new 10..40 enqueued < -",
            "dead-letter q1 30..60 dead-lettered < publish",
            "wait q2 40..70 acknowledged < publish",
            "wait q3 50..80 purged < 2",
        ],
    );
}

#[test]
fn what_is_set_aside_may_come_back() {
    check(
        vec![
            published(1),
            entered(1, 1),
            delivered(1, 1, false),
            became(1, 1, Phase::Parked(Death::DeliveryLimit)),
            became(1, 1, Phase::Ready),
            left(1, 1, SettleReason::Purged),
        ],
        &[
            "publish orders:new 10..20 enqueued < -",
            "wait q1 20..30 delivered < publish",
            "deliver q1 30..40 delivery limit < publish",
            "set aside q1 40..50 ready < publish",
            "wait q1 50..60 purged < publish",
        ],
    );
}

#[test]
fn what_is_parked_on_its_way_is_not_dying_any_more() {
    check(
        vec![
            published(1),
            entered(1, 1),
            delivered(1, 1, false),
            became(1, 1, Phase::Rejected),
            // Its queue has no dead-letter exchange any more.
            became(1, 1, Phase::Parked(Death::Rejected)),
            // An operator moves it.
            moved((1, 1), 2, 1),
            left(1, 1, SettleReason::Moved),
            left(2, 1, SettleReason::Purged),
        ],
        &[
            "publish orders:new 10..20 enqueued < -",
            "wait q1 20..30 delivered < publish",
            "deliver q1 30..40 rejected < publish",
            "dead-letter q1 40..50 rejected < publish",
            "set aside q1 50..70 moved < publish",
            "wait q2 60..80 purged < 4",
        ],
    );
}

#[test]
fn spans_tell_what_they_know() {
    let (_, ended) = ended(
        100,
        vec![
            consumer(),
            published(1),
            entered(1, 1),
            delivered(1, 1, false),
            became(1, 1, Phase::Returned { failed: true }),
            delivered(1, 1, true),
            left(1, 1, SettleReason::Done),
        ],
    );
    let spans: Vec<Span> = ended.iter().map(|ended| render::span(ended, &SEED)).collect();
    let told = |at: usize, key: &str| text(&spans[at], key);
    assert_eq!(told(0, "messaging.destination.name"), "orders:new");
    assert_eq!(told(0, "messaging.message.id"), "m-1");
    assert_eq!(told(0, "messaging.message.conversation_id"), "-");
    assert_eq!(told(0, "messaging.message.body.size"), "5");
    assert_eq!(told(0, "network.peer.port"), "4711");
    assert_eq!(told(0, "everack.log.sync.duration"), "0.000000007");
    let events = spans[0].events.iter().map(|event| event.time_unix_nano);
    assert_eq!(events.collect::<Vec<_>>(), [8, 15]);
    assert_eq!((spans[0].kind, spans[0].flags), (2, 0x301));
    assert_eq!(told(1, "messaging.destination.name"), "orders:new:q1");
    assert_eq!(told(1, "everack.redelivered"), "false");
    assert_eq!(told(2, "everack.consumer.tag"), "ctag");
    assert_eq!(told(2, "everack.redelivered"), "false");
    assert_eq!(spans[2].status.as_ref().map(|status| status.code), Some(2));
    assert_eq!(told(4, "everack.redelivered"), "true");
    assert_eq!((spans[4].kind, spans[4].flags), (4, 0x101));
    assert_eq!(spans[4].status, None);
}

#[test]
fn without_a_context_a_trace_begins_here() {
    let mut own = Arc::into_inner(trace(5)).expect("nobody else has it");
    own.parent = None;
    let event = Event::Published {
        trace: Arc::new(own),
        fate: Fate::Dropped,
        confirms: false,
    };
    let (_, ended) = ended(1, vec![event]);
    let span = render::span(&ended[0], &SEED);
    assert!(span.parent_span_id.is_empty());
    assert_ne!(span.trace_id, [0; 16]);
    assert_eq!(
        (span.trace_id.len(), span.span_id.len(), span.flags),
        (16, 8, 0x101)
    );
}

#[test]
fn the_oldest_is_let_go() {
    let of = |number| Event::Published {
        trace: trace(number),
        fate: Fate::Queues(1),
        confirms: true,
    };
    let (book, _) = ended(2, vec![of(1), of(2), of(3)]);
    assert_eq!((book.open(), book.forgotten), (2, 1));
    let forgotten = Event::Forgotten {
        queue: QueueId(1),
        seq: Seq(1),
    };
    let (book, ended) = ended(
        2,
        vec![published(1), entered(1, 1), forgotten, delivered(1, 1, false)],
    );
    assert_eq!((book.open(), book.forgotten, ended.len()), (0, 1, 1));
}
