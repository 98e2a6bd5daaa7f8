//! A client that speaks bytes to a session, turn by turn.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_broker::ids::Millis;
use everack_node::session::{Session, Setting};

use crate::desk::Desk;

pub(crate) struct Talk {
    pub(crate) desk: Rc<Desk>,
    pub(crate) session: Session,
    input: BytesMut,
    /// What came back, in words.
    pub(crate) heard: Vec<String>,
    /// Of the last message that came.
    pub(crate) properties: Properties,
}

impl Talk {
    /// Logged in as `user`, with channels 1 and 2 open.
    pub(crate) fn begin(desk: &Rc<Desk>, user: &str) -> Self {
        let link = desk.link();
        desk.shared.register(&link);
        let setting = Setting {
            shared: desk.shared.clone(),
            recall: desk.recall.clone(),
            protocol: Arc::new(Settings::default()),
            link,
            peer: "test".to_owned(),
        };
        let session = Session::new(setting, Millis(0));
        let mut talk = Self {
            desk: desk.clone(),
            session,
            input: BytesMut::new(),
            heard: Vec::new(),
            properties: Properties::default(),
        };
        talk.input.extend_from_slice(b"AMQP\x00\x00\x09\x01");
        let response = format!("\0{user}\0{user}").into_bytes();
        let start_ok = connection::StartOk {
            mechanism: short("PLAIN"),
            response,
            locale: short("en_US"),
            ..Default::default()
        };
        talk.say(0, start_ok);
        talk.turn();
        assert!(talk.session.take_credentials().is_some());
        talk.session.authenticated();
        talk.say(
            0,
            connection::TuneOk {
                channel_max: 10,
                frame_max: 131_072,
                heartbeat: 0,
            },
        );
        talk.say(
            0,
            connection::Open {
                virtual_host: short("/"),
            },
        );
        talk.say(1, channel::Open {});
        talk.say(2, channel::Open {});
        talk.turn();
        talk.heard.clear();
        talk
    }

    pub(crate) fn say(&mut self, channel: u16, method: impl Into<Method>) {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method.into());
        self.input.extend_from_slice(&bytes);
    }

    pub(crate) fn publish(&mut self, channel: u16, key: &str, body: &[u8]) {
        self.say(
            channel,
            basic::Publish {
                routing_key: short(key),
                ..basic::Publish::default()
            },
        );
        let mut bytes = Vec::new();
        frame::write_content(&mut bytes, channel, &[0x10, 0, 2], body, 131_072);
        self.input.extend_from_slice(&bytes);
    }

    /// Publishes with an exchange, properties, and as mandatory if told so.
    pub(crate) fn publish_as(
        &mut self,
        channel: u16,
        publish: basic::Publish,
        properties: &Properties,
        body: &[u8],
    ) {
        self.say(channel, publish);
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let mut bytes = Vec::new();
        frame::write_content(&mut bytes, channel, &encoded, body, 131_072);
        self.input.extend_from_slice(&bytes);
    }

    /// Bytes that need not be whole frames.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The session takes what it may; partitions and catalog answer, the log does not move.
    pub(crate) fn turn(&mut self) {
        self.turn_within(usize::MAX);
    }

    /// As [`Talk::turn`], but only about `limit` bytes are written.
    pub(crate) fn turn_within(&mut self, limit: usize) {
        self.turn_deaf(limit);
        let output = std::mem::take(self.session.output());
        self.read(&output);
    }

    /// As [`Talk::turn_within`], by a client that does not read what is written.
    pub(crate) fn turn_deaf(&mut self, limit: usize) {
        let mut quiet_turns = 0;
        while quiet_turns < 2 {
            let moved = self.session.receive(&mut self.input, Millis(0));
            let (requests, catalog) = (
                std::mem::take(&mut self.session.requests),
                std::mem::take(&mut self.session.catalog),
            );
            let quiet = !moved && requests.is_empty() && catalog.is_empty();
            requests
                .into_iter()
                .for_each(|(partition, request)| self.desk.ask(usize::from(partition.0), request));
            catalog
                .into_iter()
                .for_each(|request| self.desk.ask_catalog(request));
            self.session.absorb();
            self.session.fill(limit);
            quiet_turns = if quiet { quiet_turns + 1 } else { 0 };
        }
    }

    /// Turns until nothing moves, the log included.
    pub(crate) fn settle(&mut self) {
        loop {
            self.turn();
            if self.desk.jobs.borrow().is_empty() && self.desk.durable.borrow().is_empty() {
                return;
            }
            self.desk.commit();
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some(head) = Head::read(bytes) {
            let (payload, rest) = bytes[frame::HEAD_BYTES..].split_at(head.size as usize);
            bytes = &rest[1..];
            match head.kind {
                frame::METHOD => {
                    let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                    let method = Method::decode(number(0), number(2), &payload[4..]).expect("a valid method");
                    self.heard.push(format!("{} {}", head.channel, words(&method)));
                }
                frame::HEADER => {
                    self.properties = Properties::decode(&payload[12..]).expect("valid properties")
                }
                frame::BODY => self.heard.push(String::from_utf8_lossy(payload).into_owned()),
                _ => (),
            }
        }
    }

    /// What was heard since the last time.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.heard)
    }
}

fn words(method: &Method) -> String {
    match method {
        Method::ChannelClose(close) => format!("close {}", close.reply_code),
        Method::ConnectionClose(close) => format!("connection close {}", close.reply_code),
        Method::QueueDeclareOk(ok) => format!("declared {} {}", ok.queue, ok.message_count),
        Method::QueuePurgeOk(ok) => format!("purged {}", ok.message_count),
        Method::QueueDeleteOk(ok) => format!("deleted {}", ok.message_count),
        Method::BasicDeliver(deliver) => format!("deliver {}", deliver.delivery_tag),
        Method::BasicGetOk(got) => format!("got {}", got.delivery_tag),
        Method::BasicAck(ack) => format!("ack {}", ack.delivery_tag),
        Method::BasicNack(nack) => format!("nack {}", nack.delivery_tag),
        other => {
            let text = format!("{other:?}");
            text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::shortened(text)
}
