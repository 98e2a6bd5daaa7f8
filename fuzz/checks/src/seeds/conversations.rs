//! Seeds of what comes over the wire: a session with everything in it, whole, by frames and by methods.

use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, confirm, connection, exchange, queue, tx};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};
use everack_fuzz_checks::conversation::start_ok;
use everack_fuzz_checks::records::samples;

pub(crate) fn connection() -> Vec<Vec<u8>> {
    let pieces = frames_of(&session());
    let mut seeds = vec![session()];
    // Short ones too: a fuzzer mutates them more thoroughly.
    seeds.extend(pieces.chunks(4).map(<[Vec<u8>]>::concat));
    seeds
}

pub(crate) fn cuts() -> Vec<Vec<u8>> {
    let cut = |at: u16, bytes: Vec<u8>| [&at.to_le_bytes()[..], &bytes].concat();
    connection()
        .into_iter()
        .enumerate()
        .map(|(number, bytes)| cut(number as u16 * 7 + 3, bytes))
        .collect()
}

/// The scripts of `frames`: from the start, behind the log-in, and on a connection that runs.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let script = |start: u8, frames: &[Vec<u8>]| {
        let mut bytes = vec![start, 40, 0];
        frames.iter().for_each(|frame| bytes.extend(scripted(frame)));
        bytes
    };
    let session = frames_of(&session());
    let mut seeds: Vec<_> = session.chunks(6).map(|frames| script(0, frames)).collect();
    let mut login = frames_of(&login());
    seeds.push(script(2, &login));
    login.remove(0);
    seeds.push(script(3, &login));
    seeds.push(script(1, &session[..2]));
    seeds
}

/// Every method with its default arguments, and those of the session.
pub(crate) fn methods() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for class in 0..=100u16 {
        for method in 0..=130u16 {
            let shortest = (0..80).find_map(|length| Method::decode(class, method, &vec![0; length]).ok());
            if let Some(found) = shortest {
                let mut payload = Vec::new();
                found.encode(&mut payload);
                seeds.push(payload);
            }
        }
    }
    let session = [login(), session()].concat();
    let payloads = frames_of(&session)
        .into_iter()
        .filter(|bytes| bytes[0] == frame::METHOD)
        .map(|bytes| bytes[frame::HEAD_BYTES..bytes.len() - 1].to_vec());
    seeds.extend(payloads);
    // The numbers are one byte each in the script.
    seeds
        .into_iter()
        .map(|payload| [&[payload[1], payload[3]][..], &payload[4..]].concat())
        .collect()
}

pub(crate) fn tables() -> Vec<Vec<u8>> {
    let mut encoded = Vec::new();
    everything().encode(&mut encoded);
    let mut seeds = vec![vec![0], [&[0][..], &encoded[4..]].concat()];
    for (name, value) in everything().iter() {
        let mut one = Vec::new();
        Table::from_iter([(name.clone(), value.clone())]).encode(&mut one);
        seeds.push([&[0][..], &one[4..]].concat());
    }
    let rich = Properties {
        content_type: Some(short("text/plain")),
        content_encoding: Some(short("gzip")),
        headers: Some(everything()),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(short("c")),
        reply_to: Some(short("amq.rabbitmq.reply-to")),
        expiration: Some(short("1000")),
        message_id: Some(short("m")),
        timestamp: Some(1),
        kind: Some(short("t")),
        user_id: Some(short("guest")),
        app_id: Some(short("a")),
        cluster_id: Some(short("")),
    };
    for properties in [Properties::default(), rich] {
        let mut bytes = vec![1];
        properties.encode(&mut bytes);
        seeds.push(bytes);
    }
    seeds
}

/// A table with a value of every type.
fn everything() -> Table {
    let values = [
        ("bool", Value::Bool(true)),
        ("byte", Value::I8(-1)),
        ("ubyte", Value::U8(1)),
        ("short", Value::I16(-2)),
        ("ushort", Value::U16(2)),
        ("int", Value::I32(-3)),
        ("uint", Value::U32(3)),
        ("long", Value::I64(-4)),
        ("float", Value::F32(0.5)),
        ("double", Value::F64(0.25)),
        (
            "decimal",
            Value::Decimal {
                scale: 2,
                value: 12345,
            },
        ),
        ("string", Value::String(b"text".to_vec())),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("time", Value::Timestamp(1_800_000_000)),
        (
            "table",
            Value::Table(Table::new().with("inner", Table::new().with("x", 1))),
        ),
        (
            "array",
            Value::Array(vec![Value::Void, Value::Array(vec![Value::Bool(false)])]),
        ),
        ("void", Value::Void),
    ];
    values
        .into_iter()
        .map(|(name, value)| (short(name), value))
        .collect()
}

fn login() -> Vec<u8> {
    let tune_ok = connection::TuneOk {
        channel_max: 100,
        frame_max: 4096,
        heartbeat: 10,
    };
    let open = connection::Open {
        virtual_host: short("/"),
    };
    let mut bytes = Vec::new();
    let calls = [start_ok().into(), tune_ok.into(), open.into()];
    calls
        .iter()
        .for_each(|method| frame::write_method(&mut bytes, 0, method));
    frame::write_method(&mut bytes, 1, &channel::Open {}.into());
    bytes
}

/// What a client does on channels 1 and 2 that are open.
fn session() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (channel, method) in topology().into_iter().map(|method| (1, method)).chain(consumer()) {
        frame::write_method(&mut bytes, channel, &method);
    }
    bytes.extend(samples::publishes(1));
    frame::write_method(&mut bytes, 2, &tx::Select {}.into());
    bytes.extend(samples::publishes(2));
    // A message in pieces, with a heartbeat between them.
    frame::write_method(&mut bytes, 1, &basic::Publish::default().into());
    let header = [&[0, 60, 0, 0][..], &5000u64.to_be_bytes(), &[0, 0]].concat();
    frame::write(&mut bytes, frame::HEADER, 1, |out| out.extend_from_slice(&header));
    frame::write(&mut bytes, frame::BODY, 1, |out| {
        out.extend_from_slice(&[b'b'; 3000])
    });
    bytes.extend(frame::HEARTBEAT_FRAME);
    frame::write(&mut bytes, frame::BODY, 1, |out| {
        out.extend_from_slice(&[b'c'; 2000])
    });
    for (channel, method) in ending() {
        frame::write_method(&mut bytes, channel, &method);
    }
    bytes
}

fn topology() -> Vec<Method> {
    vec![
        exchange::Declare {
            exchange: short("e"),
            kind: short("topic"),
            durable: true,
            arguments: everything(),
            ..exchange::Declare::default()
        }
        .into(),
        queue::Declare {
            queue: short("orders"),
            durable: true,
            arguments: Table::new().with("x-message-ttl", 1000),
            ..queue::Declare::default()
        }
        .into(),
        queue::Bind {
            queue: short("orders"),
            exchange: short("e"),
            routing_key: short("a.*.#"),
            ..queue::Bind::default()
        }
        .into(),
        exchange::Bind {
            destination: short("e"),
            source: short("amq.fanout"),
            ..exchange::Bind::default()
        }
        .into(),
        queue::Purge::default().into(),
        confirm::Select { nowait: false }.into(),
    ]
}

fn consumer() -> Vec<(u16, Method)> {
    vec![
        (
            2,
            basic::Qos {
                prefetch_count: 10,
                ..basic::Qos::default()
            }
            .into(),
        ),
        (
            2,
            basic::Consume {
                queue: short("orders"),
                consumer_tag: short("t"),
                ..basic::Consume::default()
            }
            .into(),
        ),
        (
            2,
            basic::Get {
                queue: short("orders"),
                no_ack: false,
            }
            .into(),
        ),
    ]
}

fn ending() -> Vec<(u16, Method)> {
    let ack = |delivery_tag, multiple| basic::Ack {
        delivery_tag,
        multiple,
    };
    vec![
        (2, ack(1, false).into()),
        (
            2,
            basic::Nack {
                delivery_tag: 3,
                multiple: true,
                requeue: true,
            }
            .into(),
        ),
        (
            2,
            basic::Reject {
                delivery_tag: 4,
                requeue: false,
            }
            .into(),
        ),
        (2, tx::Rollback {}.into()),
        (2, ack(0, true).into()),
        (2, tx::Commit {}.into()),
        (2, basic::Recover { requeue: true }.into()),
        (
            2,
            basic::Cancel {
                consumer_tag: short("t"),
                nowait: true,
            }
            .into(),
        ),
        (2, channel::Close::default().into()),
        (0, connection::Close::default().into()),
    ]
}

fn short(text: &str) -> ShortString {
    ShortString::new(text).expect("a text in code is short")
}

/// The frames, each by itself.
fn frames_of(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(head) = Head::read(bytes) {
        let (frame, rest) = bytes.split_at(head.frame_bytes());
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// A frame as the script of `frames` says it.
fn scripted(bytes: &[u8]) -> Vec<u8> {
    let kind = match bytes[0] {
        frame::METHOD => 0,
        frame::HEADER => 1,
        frame::BODY => 2,
        _ => 3,
    };
    let payload = &bytes[frame::HEAD_BYTES..bytes.len() - 1];
    let length = (payload.len() as u16).to_le_bytes();
    [&[kind, bytes[2]][..], &length, payload].concat()
}
