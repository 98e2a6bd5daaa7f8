//! Good records, made by the encoders that a running node uses: what the seeds of the corpora consist of.

use bytes::BytesMut;
use everack_amqp::Millis as SessionMillis;
use everack_amqp::content::Batch;
use everack_amqp::event::Event;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;
use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::{Binding, Command, DeclareExchange, DeclareQueue, Destination, Fact};
use everack_broker::ids::{Location, Millis, PartitionId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::{Aside, Death, LiveRun, Marks};
use everack_node::partition::admission::Deadline;
use everack_node::record::{self, Counted, Placement, Range, SetAside, Target};
use everack_node::recovery::checkpoint as contents;
use everack_storage::{Frames, Position};

use crate::conversation::running;

/// The first durable queue that [`topology`] declares; the second is the next one.
pub const QUEUE: QueueId = QueueId(1);

/// The facts of a virtual host with a user, an exchange of each kind, two queues and bindings between them.
pub fn facts() -> Vec<Fact> {
    let mut catalog = crate::checkpoints::catalog();
    let vhost = Name::from("/");
    let mut commands = vec![
        Command::DeclareVhost { vhost: vhost.clone() },
        Command::DeclareUser {
            user: Name::from("guest"),
            password_hash: "$argon2id$".into(),
            tags: vec!["administrator".into()],
        },
        Command::SetPermissions {
            user: Name::from("guest"),
            vhost: vhost.clone(),
            configure: ".*".into(),
            write: "^a".into(),
            read: "".into(),
        },
    ];
    for kind in ["topic", "headers", "fanout"] {
        commands.push(Command::DeclareExchange(DeclareExchange {
            vhost: vhost.clone(),
            name: Name::from(kind),
            kind: Name::from(kind),
            durable: true,
            arguments: Arguments::from_iter([("alternate-exchange", Value::from("amq.fanout"))]),
            ..DeclareExchange::default()
        }));
    }
    for queue in ["orders", "parcels"] {
        commands.push(Command::DeclareQueue(DeclareQueue {
            vhost: vhost.clone(),
            name: Name::from(queue),
            durable: true,
            arguments: Arguments::from_iter([("x-max-length", Value::from(1000))]),
            ..DeclareQueue::default()
        }));
    }
    let bindings = [
        ("topic", Destination::Queue(Name::from("orders")), "a.*.#"),
        ("headers", Destination::Queue(Name::from("parcels")), ""),
        ("fanout", Destination::Exchange(Name::from("topic")), "x"),
    ];
    for (source, destination, key) in bindings {
        let nested = Arguments::from_iter([("n", Value::Array([Value::Void, Value::Bool(true)].into()))]);
        let binding = Binding {
            source: Name::from(source),
            destination,
            routing_key: Name::from(key),
            arguments: Arguments::from_iter([("x-match", Value::from("any")), ("t", Value::Table(nested))]),
        };
        commands.push(Command::Bind {
            vhost: vhost.clone(),
            binding,
            connection: None,
        });
    }
    let outcomes = commands.into_iter().map(|command| catalog.apply(command));
    outcomes
        .flat_map(|outcome| outcome.expect("the sample is allowed").facts)
        .collect()
}

/// The record of [`facts`].
pub fn topology() -> Vec<u8> {
    payload(|frames| record::encode_topology(frames, &facts()))
}

/// Every kind of record, in an order that makes sense behind [`topology`].
pub fn all() -> Vec<Vec<u8>> {
    let partition = PartitionId(0);
    let batch = batch();
    let end = batch.len() as u16;
    let target = |queue: u64, first, from, to| Target {
        queue: QueueId(queue),
        first: Seq(first),
        from,
        to,
    };
    let range = |first, count| Range {
        queue: QUEUE,
        first: Seq(first),
        count,
    };
    let placed = |placement, transaction, targets: &[Target]| {
        payload(|frames| {
            record::encode_placed(frames, placement, partition, transaction, &batch, targets);
        })
    };
    let all = [target(1, 1, 0, end), target(2, 1, 0, end)];
    vec![
        placed(Placement::Enqueued, None, &all),
        placed(Placement::Enqueued, Some(9), &[target(1, 10, 1, 3)]),
        payload(|frames| record::encode_settled(frames, partition, Some(9), &[range(1, 1)])),
        payload(|frames| record::encode_transaction_end(frames, 9)),
        payload(|frames| record::encode_returned(frames, partition, &[range(2, 2)])),
        payload(|frames| record::encode_settled(frames, partition, None, &[range(3, 1), range(10, 1)])),
        placed(Placement::Moved, None, &[target(1, 2, 1, 2)]),
        payload(|frames| record::encode_failed(frames, partition, &[range(5, 2)])),
        payload(|frames| record::encode_parked(frames, partition, &[range(5, 2)])),
        payload(|frames| record::encode_unparked(frames, partition, &[range(5, 1)])),
        payload(|frames| {
            let counted = Counted {
                queue: QUEUE,
                first: Seq(5),
                count: 2,
                deliveries: 9,
                failures: 4,
            };
            record::encode_counted(frames, partition, &[counted]);
        }),
        payload(|frames| {
            let set = |first, aside, until| SetAside {
                queue: QUEUE,
                first: Seq(first),
                count: 1,
                aside,
                until,
            };
            let asides = [
                set(5, Some(Aside::Parked(Death::Rejected)), None),
                set(6, Some(Aside::Retained), Some(Millis(1 << 41))),
                set(5, None, Some(Millis(1 << 40))),
            ];
            record::encode_aside(frames, partition, &asides);
        }),
        payload(|frames| record::encode_rejected(frames, partition, Some(8), &[range(5, 1)])),
        payload(|frames| record::encode_quarantined(frames, partition, &[range(4, 1)])),
        payload(|frames| {
            let deadline = Deadline {
                queue: QueueId(7),
                first: Seq(4),
                count: 3,
                at: Millis(1 << 41),
            };
            record::encode_expiring(frames, partition, None, &[deadline]);
        }),
    ]
}

/// The records of a checkpoint: the topology, and two queues, one of them in two pieces.
pub fn checkpoint() -> Vec<Vec<u8>> {
    let run = |first, location, from, to, deliveries| LiveRun {
        first: Seq(first),
        location: Location(location),
        bytes: 100,
        from,
        to,
        marks: Marks {
            deliveries,
            failures: deliveries as u16 / 2,
            rank: deliveries as i16,
        },
        aside: (deliveries > 2).then_some(Aside::Parked(Death::DeliveryLimit)),
        rejected: deliveries == 2,
    };
    let runs = [
        run(1, 1 << 32 | 4096, 0, 4, 0),
        run(9, 1 << 32 | 4608, 3, 4, 2),
        run(10, 1 << 32 | 4096, 4, 5, 3),
    ];
    vec![
        contents::encode_topology(Position(77), &facts()).remove(0),
        contents::encode_queue(QUEUE, Seq(90), Position(78), &runs[..2]),
        contents::encode_queue(QUEUE, Seq(90), Position(78), &runs[2..]),
        contents::encode_queue(QueueId(2), Seq(1), Position(79), &[]),
    ]
}

/// Messages as the protocol machine takes them from a publisher: empty, small, with properties, to two addresses.
pub fn batch() -> Batch {
    let mut connection = running();
    let mut input = BytesMut::from(&publishes(1)[..]);
    match connection.receive(&mut input, SessionMillis(0)) {
        Some(Event::Publish { batch, .. }) => batch,
        other => panic!("a run of publishes is one event, not {other:?}"),
    }
}

/// The frames of [`batch`].
pub fn publishes(channel: u16) -> Vec<u8> {
    let rich = Properties {
        content_type: short("text/plain"),
        headers: Some(
            Table::new()
                .with("n", 1)
                .with("t", Table::new().with("deep", true)),
        ),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: short("c"),
        expiration: short("60000"),
        timestamp: Some(1_800_000_000),
        ..Properties::default()
    };
    let mut bytes = Vec::new();
    for (key, properties, body) in [
        ("orders", &Properties::default(), &b""[..]),
        ("orders", &rich, b"one"),
        ("orders", &rich, b"two two"),
        ("parcels", &Properties::default(), b"3"),
    ] {
        let publish = basic::Publish {
            routing_key: short(key).unwrap_or_default(),
            ..basic::Publish::default()
        };
        frame::write_method(&mut bytes, channel, &Method::from(publish));
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        frame::write_content(&mut bytes, channel, &encoded, body, 4096);
    }
    bytes
}

fn short(text: &str) -> Option<ShortString> {
    ShortString::new(text).ok()
}

fn payload<T>(encode: impl FnOnce(&mut Frames) -> T) -> Vec<u8> {
    let mut frames = Frames::new();
    encode(&mut frames);
    let (_, range) = frames.payloads().next().expect("one record was encoded");
    frames.group()[range].to_vec()
}
