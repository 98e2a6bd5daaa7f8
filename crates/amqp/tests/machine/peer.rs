//! A client and the machine that serves it, with nothing between them.

use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::Millis;
use everack_amqp::connection::{Connection, Delivery};
use everack_amqp::content::Batch;
use everack_amqp::encoding::DeliverHead;
use everack_amqp::event::Event;
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::table::Table;

pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) input: BytesMut,
    pub(crate) now: Millis,
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::new(text).unwrap()
}

pub(crate) fn start_ok(mechanism: &str, response: &[u8], capabilities: &[&str]) -> connection::StartOk {
    let capabilities = capabilities
        .iter()
        .fold(Table::new(), |table, name| table.with(name, true));
    connection::StartOk {
        client_properties: Table::new().with("capabilities", capabilities),
        mechanism: short(mechanism),
        response: response.to_vec(),
        locale: short("en_US"),
    }
}

/// Frames of one method.
pub(crate) fn call(channel: u16, method: impl Into<Method>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_method(&mut bytes, channel, &method.into());
    bytes
}

/// Any frame.
pub(crate) fn raw(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, channel, |out| out.extend_from_slice(payload));
    bytes
}

/// Frames of a publish without properties, through the default exchange.
pub(crate) fn publish(channel: u16, key: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = call(
        channel,
        basic::Publish {
            routing_key: short(key),
            ..basic::Publish::default()
        },
    );
    frame::write_content(&mut bytes, channel, &[0, 0], body, 4096);
    bytes
}

/// Payload of a content header without properties.
pub(crate) fn header(class: u16, weight: u16, size: u64) -> Vec<u8> {
    [
        &class.to_be_bytes()[..],
        &weight.to_be_bytes(),
        &size.to_be_bytes(),
        &[0, 0],
    ]
    .concat()
}

impl Peer {
    /// A connection on which nothing has happened.
    pub(crate) fn new(settings: Settings) -> Peer {
        let connection = Connection::new(Arc::new(settings), Millis(0));
        Peer {
            connection,
            input: BytesMut::new(),
            now: Millis(0),
        }
    }

    /// A virtual host and channel 1 are open; frames are at most 4096 bytes, heartbeats come every 10
    /// seconds.
    pub(crate) fn running() -> Peer {
        Peer::running_with(Settings::default(), 4096)
    }

    pub(crate) fn running_with(settings: Settings, frame_max: u32) -> Peer {
        let mut peer = Peer::new(settings);
        peer.send(&frame::PROTOCOL_HEADER);
        peer.send(&call(
            0,
            start_ok(
                "PLAIN",
                b"\0guest\0guest",
                &["connection.blocked", "consumer_cancel_notify"],
            ),
        ));
        peer.connection.authenticated();
        peer.send(&call(
            0,
            connection::TuneOk {
                channel_max: 2047,
                frame_max,
                heartbeat: 10,
            },
        ));
        peer.send(&call(
            0,
            connection::Open {
                virtual_host: short("/"),
            },
        ));
        peer.connection.opened();
        peer.send(&call(1, channel::Open {}));
        assert!(peer.connection.is_open(1));
        peer.connection.output().clear();
        peer
    }

    /// Hands over bytes and gives every event they lead to.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.input.extend_from_slice(bytes);
        std::iter::from_fn(|| self.connection.receive(&mut self.input, self.now)).collect()
    }

    /// Delivers `count` small messages on channel 1, from a consumer of this key; returns nothing of
    /// interest.
    pub(crate) fn deliver(&mut self, source: u64, first: u64, count: u16) {
        let one = Batch::single(&[0, 1, b'q'], &header(60, 0, 1), b"x", 0);
        let head = DeliverHead::new(1, b"tag");
        for first in first..first + u64::from(count) {
            let delivery = Delivery {
                source,
                first,
                no_ack: false,
                redelivered: false,
            };
            assert!(self.connection.deliver(&head, &one, 0, 1, delivery));
        }
        self.connection.output().clear();
    }

    /// What the server has sent since the last time, one line a frame.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        let out = std::mem::take(self.connection.output());
        describe(&out)
    }
}

/// Frames as lines: `1 basic.deliver`, `0 connection.close 501 0.0 FRAME_ERROR - ...`, `1 body 100`.
pub(crate) fn describe(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(head) = Head::read(bytes) {
        let (payload, behind) = bytes[7..].split_at(head.size as usize);
        assert_eq!(behind[0], frame::END);
        bytes = &behind[1..];
        let what = match head.kind {
            frame::METHOD => describe_method(payload),
            frame::HEADER => format!(
                "header {}",
                u64::from_be_bytes(payload[4..12].try_into().unwrap())
            ),
            frame::BODY => format!("body {}", payload.len()),
            frame::HEARTBEAT => "heartbeat".into(),
            kind => panic!("a frame of type {kind} was sent"),
        };
        lines.push(format!("{} {what}", head.channel));
    }
    assert!(bytes.is_empty(), "half a frame was sent: {bytes:?}");
    lines
}

fn describe_method(payload: &[u8]) -> String {
    let id = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    let method = Method::decode(id(0), id(2), &payload[4..]).unwrap();
    let name = method.name();
    let close = |code, class, id, text: &ShortString| format!("{name} {code} {class}.{id} {text}");
    match &method {
        Method::ChannelClose(it) => close(it.reply_code, it.class_id, it.method_id, &it.reply_text),
        Method::ConnectionClose(it) => close(it.reply_code, it.class_id, it.method_id, &it.reply_text),
        Method::BasicAck(ack) => format!("{name} {} {}", ack.delivery_tag, ack.multiple),
        Method::BasicNack(nack) => format!("{name} {} {}", nack.delivery_tag, nack.multiple),
        Method::BasicDeliver(deliver) => format!("{name} {} {}", deliver.delivery_tag, deliver.redelivered),
        Method::BasicGetOk(get) => format!(
            "{name} {} {} {}",
            get.delivery_tag, get.redelivered, get.message_count
        ),
        Method::BasicReturn(it) => format!("{name} {} {} {}", it.reply_code, it.reply_text, it.routing_key),
        _ => name.to_string(),
    }
}
