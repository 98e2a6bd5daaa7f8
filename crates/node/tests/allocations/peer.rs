//! A client of a session: what it says on the hot path is written beforehand, and what it hears is only counted.

use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_node::link::Link;
use everack_node::session::Session;

use crate::rig::Rig;

const CHANNEL: u16 = 1;
/// Most bytes that the process reads, and about as many as it encodes, at once.
const READ_BYTES_MAX: usize = 256 << 10;
const WRITE_BYTES: usize = 128 << 10;

/// A connection with one channel.
pub(crate) struct Peer {
    session: Session,
    link: Arc<Link>,
    input: BytesMut,
    said: Vec<u8>,
    pub(crate) heard: Heard,
}

/// What a client hears on the hot path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Deliveries.
    pub(crate) deliveries: u64,
    /// The last delivery's tag.
    pub(crate) tag: u64,
    /// The last tag that was confirmed.
    pub(crate) confirmed: u64,
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::shortened(text)
}

impl Peer {
    /// Logged in as `guest`.
    pub(crate) fn connect(rig: &mut Rig) -> Self {
        let (session, link) = rig.connect();
        let mut peer = Self {
            session,
            link,
            input: BytesMut::new(),
            said: Vec::new(),
            heard: Heard::default(),
        };
        peer.input.extend_from_slice(b"AMQP\x00\x00\x09\x01");
        let start_ok = connection::StartOk {
            mechanism: short("PLAIN"),
            response: b"\0guest\0guest".to_vec(),
            locale: short("en_US"),
            ..connection::StartOk::default()
        };
        peer.say_on(0, start_ok);
        peer.listen(rig);
        assert!(peer.session.take_credentials().is_some());
        peer.session.authenticated();
        let tune_ok = connection::TuneOk {
            channel_max: 10,
            frame_max: 131_072,
            heartbeat: 0,
        };
        peer.say_on(0, tune_ok);
        let virtual_host = short("/");
        peer.say_on(0, connection::Open { virtual_host });
        peer.ask(rig, channel::Open {});
        peer
    }

    /// Says a method and waits until nothing moves.
    pub(crate) fn ask(&mut self, rig: &mut Rig, method: impl Into<Method>) {
        self.say_on(CHANNEL, method);
        loop {
            self.listen(rig);
            rig.settle_down();
            if !self.link.is_scheduled() {
                return;
            }
        }
    }

    fn say_on(&mut self, channel: u16, method: impl Into<Method>) {
        self.said.clear();
        frame::write_method(&mut self.said, channel, &method.into());
        let said = std::mem::take(&mut self.said);
        self.read(&said);
        self.said = said;
    }

    /// Sends bytes, in pieces as the process reads them.
    pub(crate) fn send(&mut self, rig: &mut Rig, bytes: &[u8]) {
        for piece in bytes.chunks(READ_BYTES_MAX) {
            self.read(piece);
            self.session.receive(&mut self.input, rig.now());
            rig.submit(&mut self.session);
        }
    }

    /// As `ConnectionTask::read` in the server.
    fn read(&mut self, bytes: &[u8]) {
        let room = self.input.capacity() - self.input.len();
        if room < bytes.len() {
            self.input.reserve(bytes.len());
        }
        self.input.extend_from_slice(bytes);
    }

    /// Acknowledges `count` deliveries: with one frame for all of them, or with one for each.
    pub(crate) fn ack(&mut self, rig: &mut Rig, first: u64, count: u64, multiple: bool) {
        self.said.clear();
        let tags = if multiple {
            first + count - 1..first + count
        } else {
            first..first + count
        };
        for delivery_tag in tags {
            let ack = basic::Ack {
                delivery_tag,
                multiple,
            };
            frame::write_method(&mut self.said, CHANNEL, &ack.into());
        }
        let said = std::mem::take(&mut self.said);
        self.send(rig, &said);
        self.said = said;
    }

    /// Takes all that there is to hear.
    pub(crate) fn listen(&mut self, rig: &mut Rig) {
        loop {
            if self.link.begin_turn() {
                self.session.absorb();
            }
            self.session.receive(&mut self.input, rig.now());
            self.session.fill(WRITE_BYTES);
            let output = self.session.output();
            let silent = output.is_empty();
            self.heard.read(output);
            output.clear();
            rig.submit(&mut self.session);
            if silent && !self.link.is_scheduled() {
                return;
            }
        }
    }
}

impl Heard {
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some(head) = Head::read(bytes) {
            let (payload, rest) = bytes[frame::HEAD_BYTES..].split_at(head.size as usize);
            bytes = &rest[1..];
            if head.kind == frame::METHOD {
                self.method(payload);
            }
        }
        assert!(bytes.is_empty(), "the node writes whole frames");
    }

    fn method(&mut self, payload: &[u8]) {
        let number = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().expect("eight bytes"));
        match payload[..4] {
            // basic.deliver, the tag behind the consumer's name.
            [0, 60, 0, 60] => {
                self.deliveries += 1;
                self.tag = number(5 + usize::from(payload[4]));
            }
            [0, 60, 0, 80] => self.confirmed = number(4),
            [0, 10, 0, 50] | [0, 20, 0, 40] => {
                panic!("the node closes: {}", String::from_utf8_lossy(payload))
            }
            _ => (),
        }
    }
}
