//! A client of our own, within the process: speaks AMQP to a production session, without a socket.
//!
//! What is published or gotten over HTTP goes the way of every client's messages: the session checks rights, properties and
//! limits, and what it says is what RabbitMQ's management says of the connection that it opens for the same. A client that is
//! dropped gives back what it holds, as a connection that is lost does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use everack_amqp::wire::frame::{self, ContentHeader, Head};
use everack_amqp::wire::method::{Method, basic, channel, connection};
use everack_amqp::wire::primitive::{Reader, ShortString};
use everack_broker::name::Name;
use everack_broker::partition::Gate;
use everack_node::link::{Link, Wake};
use everack_node::session::{Session, Setting};
use tokio::sync::Notify;

use super::Node;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::broker;
use crate::engine::Engine;

/// How long the broker may take for an answer. Far more than a sync takes on a slow disk; a full disk takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// It asks for one message at a time.
const GATE_BYTES: u64 = 1 << 20;
/// All is said on one channel.
const CHANNEL: u16 = 1;
/// Largest frame in bytes.
const FRAME_BYTES_MAX: u32 = 131_072;

/// See the module documentation.
pub(super) struct Client<'a> {
    engine: &'a Engine,
    session: Session,
    link: Arc<Link>,
    bell: Arc<Notify>,
    input: BytesMut,
    heard: VecDeque<Heard>,
    /// A message whose body is not whole yet, and how many bytes it will have.
    pending: Option<(Message, u64)>,
}

/// What the broker said.
#[derive(Debug)]
pub(super) enum Heard {
    /// A method without content.
    Method(Method),
    /// A method with content.
    Message(Message),
}

/// A message that came with a method.
#[derive(Debug)]
pub(super) struct Message {
    /// The method: `basic.get-ok` or `basic.return`.
    pub(super) method: Method,
    /// Flags and values, as in a content header.
    pub(super) properties: Vec<u8>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// Why a client is heard no more.
#[derive(Debug)]
pub(super) enum Ended {
    /// The broker has closed the channel or the connection, for this reason.
    Closed {
        /// RabbitMQ's reply code.
        code: u16,
        /// RabbitMQ's text.
        text: String,
    },
    /// The user is gone.
    LoggedOut,
    /// Nothing came for too long.
    Silent,
}

struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl<'a> Client<'a> {
    /// Logs in as the caller, whose password has been checked, and opens a channel in a virtual host.
    pub(super) async fn open(node: &'a Node, caller: &Caller, vhost: &Name) -> Result<Self, Refusal> {
        let engine = &*node.engine;
        let bell = Arc::new(Notify::new());
        let gate = Arc::new(Gate::new(GATE_BYTES));
        let wake = Box::new(Bell(bell.clone()));
        let link = Arc::new(Link::new(engine.shared.next_connection(), gate, wake));
        let setting = Setting {
            shared: engine.shared.clone(),
            recall: engine.recall.clone(),
            protocol: Arc::new(broker::protocol(
                &node.config.load(),
                &super::cluster_name(&node.engine.shared.snapshot()),
            )),
            link: link.clone(),
            peer: "management API".to_owned(),
        };
        let mut session = Session::new(setting, engine.clock.now());
        session.offer_certificate(caller.user.name.clone());
        let mut client = Self {
            engine,
            session,
            link,
            bell,
            input: BytesMut::new(),
            heard: VecDeque::new(),
            pending: None,
        };
        client.log_in(vhost)?;
        let opened = client.answer(|method| matches!(method, Method::ChannelOpenOk(_)));
        opened.await.map_err(Ended::into_refusal)?;
        Ok(client)
    }

    fn log_in(&mut self, vhost: &Name) -> Result<(), Refusal> {
        self.input.extend_from_slice(&frame::PROTOCOL_HEADER);
        let start_ok = connection::StartOk {
            mechanism: ShortString::shortened("EXTERNAL"),
            locale: ShortString::shortened("en_US"),
            ..connection::StartOk::default()
        };
        let tune_ok = connection::TuneOk {
            channel_max: CHANNEL,
            frame_max: FRAME_BYTES_MAX,
            heartbeat: 0,
        };
        let open = connection::Open {
            virtual_host: ShortString::new(&**vhost).map_err(|_| Refusal::NotFound)?,
        };
        self.say_on(0, &start_ok.into());
        self.say_on(0, &tune_ok.into());
        self.say_on(0, &open.into());
        self.say(channel::Open {});
        Ok(())
    }

    /// Says a method; what is said is sent when an answer is waited for.
    pub(super) fn say(&mut self, method: impl Into<Method>) {
        self.say_on(CHANNEL, &method.into());
    }

    /// Says a method with content.
    pub(super) fn publish(&mut self, publish: basic::Publish, properties: &[u8], body: &[u8]) {
        self.say(publish);
        let mut bytes = Vec::with_capacity(body.len() + properties.len() + 64);
        frame::write_content(&mut bytes, CHANNEL, properties, body, FRAME_BYTES_MAX);
        self.input.extend_from_slice(&bytes);
    }

    /// Waits for a method without content; what comes before it is passed over.
    pub(super) async fn answer(&mut self, is_it: impl Fn(&Method) -> bool) -> Result<Method, Ended> {
        loop {
            match self.hear().await? {
                Heard::Method(method) if is_it(&method) => return Ok(method),
                _ => (),
            }
        }
    }

    /// Waits for what the broker says next.
    pub(super) async fn hear(&mut self) -> Result<Heard, Ended> {
        let heard = async {
            loop {
                let moved = self.turn();
                if let Some(heard) = self.heard.pop_front() {
                    return Some(heard);
                }
                if self.session.is_over() {
                    return None;
                }
                if !moved {
                    self.bell.notified().await;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        match heard.map_err(|_| Ended::Silent)?.ok_or(Ended::LoggedOut)? {
            Heard::Method(Method::ChannelClose(close)) => Err(closed(close.reply_code, &close.reply_text)),
            Heard::Method(Method::ConnectionClose(close)) => Err(closed(close.reply_code, &close.reply_text)),
            heard => Ok(heard),
        }
    }

    /// Lets the session work on what has been said, without waiting for an answer.
    pub(super) fn flush(&mut self) {
        while self.turn() {}
    }

    fn say_on(&mut self, channel: u16, method: &Method) {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, method);
        self.input.extend_from_slice(&bytes);
    }

    /// One turn of the session, as a connection's task makes it; says whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.link.begin_turn();
        if moved {
            self.session.absorb();
        }
        let now = self.engine.clock.now();
        moved |= self.session.receive(&mut self.input, now);
        self.engine.record(&mut self.session.take_traced());
        moved |= self.submit();
        self.session.fill(usize::MAX);
        moved |= self.submit();
        let output = std::mem::take(self.session.output());
        if output.is_empty() {
            return moved;
        }
        self.session.note_sent(now);
        self.read(&output);
        true
    }

    fn submit(&mut self) -> bool {
        if self.session.requests.is_empty() && self.session.catalog.is_empty() {
            return false;
        }
        self.engine
            .submit(&mut self.session.requests, &mut self.session.catalog);
        true
    }

    /// Reads what the session wrote: whole frames, and nothing that a client could not read.
    fn read(&mut self, mut bytes: &[u8]) {
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
        assert!(bytes.is_empty(), "a session writes whole frames");
    }

    fn method(&mut self, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        let (class, method) = (reader.short(), reader.short());
        let (class, method) = (class.unwrap_or_default(), method.unwrap_or_default());
        let method = Method::decode(class, method, reader.rest()).expect("a session writes valid methods");
        match method {
            Method::BasicGetOk(_) | Method::BasicReturn(_) => {
                let message = Message {
                    method,
                    properties: Vec::new(),
                    body: Vec::new(),
                };
                self.pending = Some((message, 0));
            }
            method => self.heard.push_back(Heard::Method(method)),
        }
    }

    fn header(&mut self, payload: &[u8]) {
        let header = ContentHeader::read(payload).expect("a session writes valid headers");
        if let Some((message, bytes)) = &mut self.pending {
            message.properties = header.properties.to_vec();
            *bytes = header.body_size;
        }
        self.body(&[]);
    }

    fn body(&mut self, payload: &[u8]) {
        if let Some((message, _)) = &mut self.pending {
            message.body.extend_from_slice(payload);
        }
        let whole = self
            .pending
            .take_if(|(message, bytes)| message.body.len() as u64 >= *bytes);
        let heard = whole.map(|(message, _)| Heard::Message(message));
        self.heard.extend(heard);
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        self.session.end();
        self.submit();
    }
}

impl Ended {
    /// As RabbitMQ's management translates what ends a channel that it has asked something.
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Ended::Closed { code: 403, text } => Refusal::Forbidden(text),
            Ended::Closed { code: 404, text } => Refusal::Missing(text),
            other => other.into_bad_request(),
        }
    }

    /// As RabbitMQ's management translates what ends a channel that it has published on.
    pub(super) fn into_bad_request(self) -> Refusal {
        match self {
            Ended::Closed { code, text } => Refusal::Bad(format!("{code} {text}")),
            Ended::LoggedOut => Refusal::Rights("Access refused."),
            Ended::Silent => Refusal::Busy(
                "no answer in time: it may be carried out yet, or publishers are held back or the disk is full",
            ),
        }
    }
}

fn closed(code: u16, text: &ShortString) -> Ended {
    let text = text.to_string();
    Ended::Closed { code, text }
}
