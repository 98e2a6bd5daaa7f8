//! One AMQP client: speaks bytes to a real session of a [`Node`](crate::node::Node), and keeps the frames that came back.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_broker::partition::Gate;
use everack_node::link::{Link, Wake};
use everack_node::session::{Session, Setting};

use crate::node::Core;

/// A delivery, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The queue's consumer, or empty for a `basic.get`.
    pub consumer: String,
    /// The delivery tag.
    pub tag: u64,
    /// Whether the broker says that it may have been delivered before.
    pub redelivered: bool,
    /// The properties, as bytes.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    fn begin(consumer: String, tag: u64, redelivered: bool) -> Self {
        Self {
            consumer,
            tag,
            redelivered,
            properties: Vec::new(),
            body: Vec::new(),
        }
    }
}

/// See the module documentation. All is said on channel 1.
pub struct Client {
    core: Rc<Core>,
    session: Session,
    input: BytesMut,
    /// Methods that came back, oldest first.
    pub answers: Vec<Method>,
    /// Messages that came back, oldest first.
    pub received: Vec<Received>,
    /// Publishes up to this number are confirmed.
    pub confirmed: u64,
    pending: Option<Received>,
    body_bytes: u64,
}

const CHANNEL: u16 = 1;

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Client {
    /// Connects, logs in as guest, opens `/` and channel 1. The node may be dead meanwhile.
    pub fn connect(core: &Rc<Core>) -> Self {
        let gate = Arc::new(Gate::new(1 << 20));
        let link = Arc::new(Link::new(core.shared.next_connection(), gate, Box::new(Nobody)));
        let setting = Setting {
            shared: core.shared.clone(),
            recall: core.recall.clone(),
            protocol: Arc::new(Settings::default()),
            link,
            peer: "simulated".to_owned(),
        };
        let session = Session::new(setting, core.now());
        let mut client = Self {
            core: core.clone(),
            session,
            input: BytesMut::new(),
            answers: Vec::new(),
            received: Vec::new(),
            confirmed: 0,
            pending: None,
            body_bytes: 0,
        };
        client.log_in();
        client
    }

    fn log_in(&mut self) {
        self.input.extend_from_slice(b"AMQP\x00\x00\x09\x01");
        let start_ok = connection::StartOk {
            mechanism: short("PLAIN"),
            response: b"\0guest\0guest".to_vec(),
            locale: short("en_US"),
            ..connection::StartOk::default()
        };
        self.say_on(0, start_ok);
        self.run();
        if self.session.take_credentials().is_some() {
            self.session.authenticated();
        }
        self.say_on(
            0,
            connection::TuneOk {
                channel_max: 10,
                frame_max: 131_072,
                heartbeat: 0,
            },
        );
        self.say_on(
            0,
            connection::Open {
                virtual_host: short("/"),
            },
        );
        self.say(channel::Open {});
        self.run();
    }

    /// Sends a method on channel 1.
    pub fn say(&mut self, method: impl Into<Method>) {
        self.say_on(CHANNEL, method);
    }

    fn say_on(&mut self, channel: u16, method: impl Into<Method>) {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method.into());
        self.input.extend_from_slice(&bytes);
    }

    /// Sends a persistent message.
    pub fn publish(&mut self, exchange: &str, routing_key: &str, body: &[u8]) {
        self.publish_with(exchange, routing_key, &[0x10, 0, 2], body);
    }

    /// Sends a message with these properties: flags and values, as in a content header.
    pub fn publish_with(&mut self, exchange: &str, routing_key: &str, properties: &[u8], body: &[u8]) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(routing_key),
            ..basic::Publish::default()
        };
        self.say(publish);
        let mut bytes = Vec::new();
        frame::write_content(&mut bytes, CHANNEL, properties, body, 131_072);
        self.input.extend_from_slice(&bytes);
    }

    /// Sends bytes as they are.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Lets the session read what has been sent, and hands over what it wants of the node; says whether that was anything.
    pub fn hand_over(&mut self) -> bool {
        self.session.receive(&mut self.input, self.core.now());
        let moved = !self.session.requests.is_empty() || !self.session.catalog.is_empty();
        if !moved {
            return false;
        }
        for (partition, request) in self.session.requests.drain(..) {
            self.core.post(usize::from(partition.0), request);
        }
        for request in self.session.catalog.drain(..) {
            self.core.post_catalog(request);
        }
        true
    }

    /// Lets the session write what there is for its client, and takes it.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.session.absorb();
        self.session.fill(usize::MAX);
        std::mem::take(self.session.output())
    }

    /// Lets the session, the node and the disk work until nothing moves, and reads what came back.
    pub fn run(&mut self) {
        loop {
            let moved = self.hand_over();
            self.core.pump();
            let output = self.take_output();
            if !moved && output.is_empty() && self.session.requests.is_empty() {
                return;
            }
            self.read(&output);
            if self.core.is_dead() {
                return;
            }
        }
    }

    /// Ends the connection without a word, as a client does that is killed.
    pub fn vanish(mut self) {
        self.session.end();
        for (partition, request) in std::mem::take(&mut self.session.requests) {
            self.core.post(usize::from(partition.0), request);
        }
        self.core.pump();
    }

    /// Reads what came back.
    ///
    /// # Panics
    /// When it is not whole frames of valid methods, which only a bug of the node can cause.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some(head) = Head::read(bytes) {
            let (payload, rest) = bytes[frame::HEAD_BYTES..].split_at(head.size as usize);
            bytes = &rest[1..];
            match head.kind {
                frame::METHOD => self.method(payload),
                frame::HEADER => self.header(payload),
                frame::BODY => self.body(payload),
                _ => (),
            }
        }
        assert!(bytes.is_empty(), "the node writes whole frames");
    }

    fn method(&mut self, payload: &[u8]) {
        let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        let method =
            Method::decode(number(0), number(2), &payload[4..]).expect("the node writes valid methods");
        match &method {
            Method::BasicDeliver(deliver) => {
                let consumer = String::from_utf8_lossy(deliver.consumer_tag.as_bytes()).into_owned();
                self.pending = Some(Received::begin(
                    consumer,
                    deliver.delivery_tag,
                    deliver.redelivered,
                ));
            }
            Method::BasicGetOk(got) => {
                self.pending = Some(Received::begin(String::new(), got.delivery_tag, got.redelivered));
            }
            Method::BasicAck(ack) => self.confirmed = self.confirmed.max(ack.delivery_tag),
            _ => self.answers.push(method),
        }
    }

    fn header(&mut self, payload: &[u8]) {
        let header = frame::ContentHeader::read(payload).expect("the node writes valid headers");
        self.body_bytes = header.body_size;
        if let Some(received) = &mut self.pending {
            received.properties = header.properties.to_vec();
        }
        self.whole();
    }

    fn body(&mut self, payload: &[u8]) {
        if let Some(received) = &mut self.pending {
            received.body.extend_from_slice(payload);
        }
        self.whole();
    }

    fn whole(&mut self) {
        let bytes = self.body_bytes;
        let whole = self
            .pending
            .take_if(|received| received.body.len() as u64 >= bytes);
        self.received.extend(whole);
    }

    /// Takes out the oldest answer of this kind, if one came.
    pub fn answered(&mut self, is_it: impl Fn(&Method) -> bool) -> bool {
        let found = self.answers.iter().position(is_it);
        found.map(|index| self.answers.remove(index)).is_some()
    }
}

/// A short string of a story.
pub fn short(text: &str) -> ShortString {
    ShortString::shortened(text)
}
