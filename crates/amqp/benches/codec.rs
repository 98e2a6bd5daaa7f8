//! What a message costs in this crate: `cargo bench -p everack-amqp --bench codec`. Figures are for one
//! message (or one ack), a read buffer of 64 KiB at a time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everack_amqp::Millis;
use everack_amqp::connection::{Connection, Delivery};
use everack_amqp::content::Batch;
use everack_amqp::encoding::DeliverHead;
use everack_amqp::event::Event;
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic, channel, confirm, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;

const BUFFER_BYTES: usize = 64 << 10;

fn send(connection: &mut Connection, channel: u16, method: impl Into<Method>) -> Option<Event> {
    let mut bytes = Vec::new();
    frame::write_method(&mut bytes, channel, &method.into());
    connection.receive(&mut BytesMut::from(&bytes[..]), Millis(0))
}

/// A connection with channel 1 open.
fn running(confirming: bool) -> Connection {
    let mut peer = Connection::new(Arc::new(Settings::default()), Millis(0));
    peer.receive(&mut BytesMut::from(&frame::PROTOCOL_HEADER[..]), Millis(0));
    let start_ok = connection::StartOk {
        client_properties: Table::new(),
        mechanism: ShortString::new("PLAIN").unwrap(),
        response: b"\0guest\0guest".to_vec(),
        locale: ShortString::new("en_US").unwrap(),
    };
    send(&mut peer, 0, start_ok);
    peer.authenticated();
    send(
        &mut peer,
        0,
        connection::TuneOk {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
        },
    );
    send(
        &mut peer,
        0,
        connection::Open {
            virtual_host: ShortString::new("/").unwrap(),
        },
    );
    peer.opened();
    send(&mut peer, 1, channel::Open {});
    if confirming {
        send(&mut peer, 1, confirm::Select { nowait: true });
    }
    peer.output().clear();
    peer
}

/// As many publishes as fit a read buffer.
fn publishes(body: &[u8], properties: &Properties, key: impl Fn(usize) -> String) -> (Vec<u8>, usize) {
    let mut header = Vec::new();
    properties.encode(&mut header);
    let (mut bytes, mut count) = (Vec::new(), 0);
    loop {
        let start = bytes.len();
        let routing_key = ShortString::new(key(count)).unwrap();
        let publish = basic::Publish {
            routing_key,
            ..basic::Publish::default()
        };
        frame::write_method(&mut bytes, 1, &publish.into());
        frame::write_content(&mut bytes, 1, &header, body, 131_072);
        if bytes.len() > BUFFER_BYTES {
            bytes.truncate(start);
            return (bytes, count);
        }
        count += 1;
    }
}

fn batch(body: &[u8]) -> Batch {
    let (bytes, _) = publishes(body, &Properties::default(), |_| "queue-1".into());
    match running(false).receive(&mut BytesMut::from(&bytes[..]), Millis(0)) {
        Some(Event::Publish { batch, .. }) => batch,
        other => panic!("{other:?}"),
    }
}

fn parse(criterion: &mut Criterion) {
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let rich = Properties {
        content_type: Some(ShortString::new("application/json").unwrap()),
        headers: Some(
            Table::new()
                .with("x-trace", "0123456789abcdef")
                .with("attempt", 1),
        ),
        delivery_mode: Some(2),
        message_id: Some(ShortString::new("0191f3c2-6f5e-7cc3-8a3b-000000000000").unwrap()),
        timestamp: Some(1_700_000_000),
        ..Properties::default()
    };
    let same = |_| "queue-1".to_string();
    let other = |index: usize| format!("queue-{}", index % 7);
    let cases = [
        ("16 B", publishes(&[b'x'; 16], &Properties::default(), same)),
        ("16 B, persistent", publishes(&[b'x'; 16], &persistent, same)),
        (
            "16 B, keys change",
            publishes(&[b'x'; 16], &Properties::default(), other),
        ),
        ("16 B, headers and ids", publishes(&[b'x'; 16], &rich, same)),
        ("1 KiB", publishes(&[b'x'; 1024], &persistent, same)),
    ];
    let mut group = criterion.benchmark_group("parse");
    for (name, (bytes, count)) in &cases {
        group.throughput(Throughput::Elements(*count as u64));
        let mut peer = running(true);
        group.bench_function(*name, |bencher| {
            bencher.iter_batched_ref(
                || BytesMut::from(&bytes[..]),
                |input| peer.receive(black_box(input), Millis(0)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    for (name, body) in [("16 B", &[b'x'; 16][..]), ("1 KiB", &[b'x'; 1024])] {
        let batch = batch(body);
        let copied = batch.copied(0, batch.len() as u16);
        for (layout, batch) in [("verbatim", batch), ("framed", copied)] {
            let mut peer = running(false);
            let head = DeliverHead::new(1, b"amq.ctag-0123456789abcdef");
            let count = batch.len() as u16;
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(format!("{name}, {layout}"), |bencher| {
                bencher.iter(|| {
                    peer.output().clear();
                    let delivery = Delivery {
                        source: 1,
                        first: 0,
                        no_ack: true,
                        redelivered: false,
                    };
                    peer.deliver(&head, black_box(&batch), 0, count, delivery)
                });
            });
        }
    }
    group.finish();
}

/// A client that acks each delivery on its own, a hundred in a read.
fn settle(criterion: &mut Criterion) {
    const COUNT: u64 = 100;
    let mut group = criterion.benchmark_group("settle");
    let batch = batch(&[b'x'; 16]);
    let head = DeliverHead::new(1, b"tag");
    let mut peer = running(false);
    let mut next = 1;
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("acked one by one", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let delivery = Delivery {
                    source: 1,
                    first: next,
                    no_ack: false,
                    redelivered: false,
                };
                peer.deliver(&head, &batch, 0, COUNT as u16, delivery);
                peer.output().clear();
                let mut acks = Vec::new();
                for delivery_tag in next..next + COUNT {
                    let ack = basic::Ack {
                        delivery_tag,
                        multiple: false,
                    };
                    frame::write_method(&mut acks, 1, &ack.into());
                }
                next += COUNT;
                let mut input = BytesMut::from(&acks[..]);
                let start = Instant::now();
                black_box(peer.receive(&mut input, Millis(0)));
                spent += start.elapsed();
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(benches, parse, deliver, settle);
criterion_main!(benches);
