//! A broker that does what the test says, and remembers all that it was told.
//!
//! It speaks as much AMQP as the two services do, with the public `amq-protocol` codec; it routes nothing and stores
//! nothing. Messages to be published are answered as the script says; messages to be consumed are put in by the test.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{AMQPClass, channel, confirm, connection, exchange, queue};
use amq_protocol::types::FieldTable;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A message that a service has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) connection: u64,
    pub(crate) channel: u16,
    /// Counted by channel, from 1: what a confirm refers to.
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) mandatory: bool,
    pub(crate) persistent: bool,
}

/// What the broker says to a publisher.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Ack {
        number: u64,
        multiple: bool,
    },
    Nack {
        number: u64,
    },
    Return(Published),
    /// The connection breaks.
    Cut,
}

/// A message for a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) redelivered: bool,
}

impl Message {
    pub(crate) fn order(id: &str) -> Self {
        let body = format!(r#"{{"id":"{id}","item":"teapot","quantity":2}}"#);
        Self {
            id: id.to_owned(),
            body,
            redelivered: false,
        }
    }
}

type Script = Box<dyn FnMut(&Published) -> Vec<Reply> + Send>;

pub(crate) struct ScriptedBroker {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    script: Option<Script>,
    published: Vec<Published>,
    queue: VecDeque<Message>,
    consumers: Vec<Consumer>,
    /// What consumers have said, as (`ack` | `requeue` | `reject`, message id).
    answers: Vec<(&'static str, String)>,
    prefetches: Vec<u16>,
    no_acks: Vec<bool>,
    in_hands_most: usize,
    connections: HashMap<u64, TcpStream>,
    connections_ever: u64,
}

struct Consumer {
    connection: u64,
    channel: u16,
    tag: String,
    no_ack: bool,
    prefetch: u16,
    cancelled: bool,
    deliveries: u64,
    in_hands: Vec<(u64, Message)>,
}

impl Consumer {
    fn has_credit(&self) -> bool {
        let free = self.no_ack || self.prefetch == 0 || self.in_hands.len() < usize::from(self.prefetch);
        free && !self.cancelled
    }
}

impl ScriptedBroker {
    /// A broker that takes everything it is given.
    pub(crate) fn start() -> Self {
        Self::start_with(acks)
    }

    /// A broker that answers each publish as `script` says.
    pub(crate) fn start_with(script: impl FnMut(&Published) -> Vec<Reply> + Send + 'static) -> Self {
        Self::listen(Self::unused_port(), script)
    }

    /// A port below those that systems give to outgoing connections, on which nobody listens.
    pub(crate) fn unused_port() -> u16 {
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        std::iter::repeat_with(|| fastrand::u16(10_000..32_000))
            .find(free)
            .expect("a free port")
    }

    /// The same at a certain port.
    pub(crate) fn listen(port: u16, script: impl FnMut(&Published) -> Vec<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        let state = State {
            script: Some(Box::new(script)),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(socket), shared) = (socket, accepting.clone()) else {
                    return;
                };
                std::thread::spawn(move || serve(&shared, socket));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn uri(&self) -> String {
        Self::uri_of(self.port)
    }

    pub(crate) fn uri_of(port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// Everything published so far, in order of arrival.
    pub(crate) fn published(&self) -> Vec<Published> {
        self.lock().published.clone()
    }

    /// The ids of everything published so far, sorted.
    pub(crate) fn published_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .lock()
            .published
            .iter()
            .map(|message| message.id.clone())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Puts a message into the queue.
    pub(crate) fn put(&self, message: Message) {
        let mut state = self.lock();
        state.queue.push_back(message);
        state.deliver();
    }

    /// What consumers have said so far: `ack`, `requeue` or `reject`, and of which message.
    pub(crate) fn answers(&self) -> Vec<(&'static str, String)> {
        self.lock().answers.clone()
    }

    /// Messages with consumers now, and the most there ever were.
    pub(crate) fn in_hands(&self) -> (usize, usize) {
        let state = self.lock();
        (state.in_hands(), state.in_hands_most)
    }

    /// Messages that no consumer has.
    pub(crate) fn queue_length(&self) -> usize {
        self.lock().queue.len()
    }

    /// The prefetch and the no-ack flag of every consumer there ever was.
    pub(crate) fn consumers(&self) -> Vec<(u16, bool)> {
        let state = self.lock();
        state
            .prefetches
            .iter()
            .copied()
            .zip(state.no_acks.iter().copied())
            .collect()
    }

    /// Breaks all connections; what consumers had goes back to the queue, flagged.
    pub(crate) fn cut(&self) {
        for socket in self.lock().connections.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// How many connections there were so far.
    pub(crate) fn connections_ever(&self) -> u64 {
        self.lock().connections_ever
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// The script of a broker that takes everything.
pub(crate) fn acks(message: &Published) -> Vec<Reply> {
    vec![Reply::Ack {
        number: message.number,
        multiple: false,
    }]
}

/// The script of a broker that never confirms.
pub(crate) fn silent(_: &Published) -> Vec<Reply> {
    Vec::new()
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no thread of the scripted broker panics")
    }
}

/// A message whose content has not come yet.
struct Incoming {
    method: basic::Publish,
    properties: AMQPProperties,
    size: u64,
    body: Vec<u8>,
}

/// One connection.
struct Session<'a> {
    shared: &'a Shared,
    id: u64,
    socket: TcpStream,
    incoming: HashMap<u16, Incoming>,
    publishes: HashMap<u16, u64>,
    prefetch: HashMap<u16, u16>,
}

fn serve(shared: &Shared, socket: TcpStream) {
    let id = {
        let mut state = shared.lock();
        state.connections_ever += 1;
        let id = state.connections_ever;
        state
            .connections
            .insert(id, socket.try_clone().expect("a socket can be cloned"));
        id
    };
    let mut session = Session {
        shared,
        id,
        socket,
        incoming: HashMap::new(),
        publishes: HashMap::new(),
        prefetch: HashMap::new(),
    };
    session.run();
    shared.lock().forget(id);
}

impl Session<'_> {
    fn run(&mut self) {
        let mut bytes = Vec::new();
        let mut chunk = [0; 64 * 1024];
        loop {
            while let Ok((rest, frame)) = parse_frame(&bytes[..]) {
                let used = bytes.len() - rest.len();
                bytes.drain(..used);
                if !self.handle(frame) {
                    return;
                }
            }
            match self.socket.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// False when the connection is over.
    fn handle(&mut self, frame: AMQPFrame) -> bool {
        match frame {
            AMQPFrame::ProtocolHeader(_) => self.say(0, connection::AMQPMethod::Start(start()).into_class()),
            AMQPFrame::Method(channel, AMQPClass::Basic(method)) => self.basic(channel, method),
            AMQPFrame::Method(channel, class) => return self.method(channel, class),
            AMQPFrame::Header(channel, header) => self.header(channel, header),
            AMQPFrame::Body(channel, body) => return self.body(channel, &body),
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => {}
        }
        true
    }

    fn method(&mut self, channel: u16, class: AMQPClass) -> bool {
        let answer = match class {
            AMQPClass::Connection(connection::AMQPMethod::StartOk(_)) => {
                let tune = connection::Tune {
                    channel_max: 100,
                    frame_max: 131_072,
                    heartbeat: 60,
                };
                connection::AMQPMethod::Tune(tune).into_class()
            }
            AMQPClass::Connection(connection::AMQPMethod::TuneOk(_)) => return true,
            AMQPClass::Connection(connection::AMQPMethod::Open(_)) => {
                connection::AMQPMethod::OpenOk(connection::OpenOk {}).into_class()
            }
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                self.say(
                    0,
                    connection::AMQPMethod::CloseOk(connection::CloseOk {}).into_class(),
                );
                return false;
            }
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                channel::AMQPMethod::OpenOk(channel::OpenOk {}).into_class()
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                channel::AMQPMethod::CloseOk(channel::CloseOk {}).into_class()
            }
            AMQPClass::Exchange(exchange::AMQPMethod::Declare(_)) => {
                exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}).into_class()
            }
            AMQPClass::Queue(queue::AMQPMethod::Declare(declare)) => {
                let ok = queue::DeclareOk {
                    queue: declare.queue,
                    message_count: 0,
                    consumer_count: 0,
                };
                queue::AMQPMethod::DeclareOk(ok).into_class()
            }
            AMQPClass::Queue(queue::AMQPMethod::Bind(_)) => {
                queue::AMQPMethod::BindOk(queue::BindOk {}).into_class()
            }
            AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => {
                confirm::AMQPMethod::SelectOk(confirm::SelectOk {}).into_class()
            }
            other => panic!("the scripted broker does not know {other:?}"),
        };
        self.say(channel, answer);
        true
    }

    fn basic(&mut self, channel: u16, method: basic::AMQPMethod) {
        match method {
            basic::AMQPMethod::Publish(method) => {
                let incoming = Incoming {
                    method,
                    properties: AMQPProperties::default(),
                    size: 0,
                    body: Vec::new(),
                };
                self.incoming.insert(channel, incoming);
            }
            basic::AMQPMethod::Qos(qos) => {
                self.prefetch.insert(channel, qos.prefetch_count);
                self.say(channel, basic::AMQPMethod::QosOk(basic::QosOk {}).into_class());
            }
            basic::AMQPMethod::Consume(consume) => self.consume(channel, consume),
            basic::AMQPMethod::Cancel(cancel) => {
                self.shared.lock().cancel(self.id, channel);
                let ok = basic::CancelOk {
                    consumer_tag: cancel.consumer_tag,
                };
                self.say(channel, basic::AMQPMethod::CancelOk(ok).into_class());
            }
            basic::AMQPMethod::Ack(ack) => {
                assert!(!ack.multiple, "the warehouse settles one order at a time");
                self.shared
                    .lock()
                    .settle(self.id, channel, ack.delivery_tag, "ack");
            }
            basic::AMQPMethod::Nack(nack) => {
                let answer = if nack.requeue { "requeue" } else { "reject" };
                self.shared
                    .lock()
                    .settle(self.id, channel, nack.delivery_tag, answer);
            }
            other => panic!("the scripted broker does not know {other:?}"),
        }
    }

    fn consume(&mut self, channel: u16, consume: basic::Consume) {
        let ok = basic::ConsumeOk {
            consumer_tag: consume.consumer_tag.clone(),
        };
        self.say(channel, basic::AMQPMethod::ConsumeOk(ok).into_class());
        let prefetch = self.prefetch.get(&channel).copied().unwrap_or(0);
        let mut state = self.shared.lock();
        state.prefetches.push(prefetch);
        state.no_acks.push(consume.no_ack);
        state.consumers.push(Consumer {
            connection: self.id,
            channel,
            tag: consume.consumer_tag.to_string(),
            no_ack: consume.no_ack,
            prefetch,
            cancelled: false,
            deliveries: 0,
            in_hands: Vec::new(),
        });
        state.deliver();
    }

    fn header(&mut self, channel: u16, header: AMQPContentHeader) {
        let incoming = self
            .incoming
            .get_mut(&channel)
            .expect("a header follows its publish");
        incoming.size = header.body_size;
        incoming.properties = header.properties;
    }

    fn body(&mut self, channel: u16, body: &[u8]) -> bool {
        let incoming = self
            .incoming
            .get_mut(&channel)
            .expect("a body follows its header");
        incoming.body.extend_from_slice(body);
        if (incoming.body.len() as u64) < incoming.size {
            return true;
        }
        let incoming = self.incoming.remove(&channel).expect("it was there a moment ago");
        let number = self.publishes.entry(channel).or_default();
        *number += 1;
        let published = published(self.id, channel, *number, incoming);
        let replies = {
            let mut state = self.shared.lock();
            state.published.push(published.clone());
            let mut script = state.script.take().expect("one publish is answered at a time");
            let replies = script(&published);
            state.script = Some(script);
            replies
        };
        replies.into_iter().all(|reply| self.reply(channel, reply))
    }

    fn reply(&mut self, channel: u16, reply: Reply) -> bool {
        match reply {
            Reply::Ack { number, multiple } => {
                let ack = basic::Ack {
                    delivery_tag: number,
                    multiple,
                };
                self.say(channel, basic::AMQPMethod::Ack(ack).into_class());
            }
            Reply::Nack { number } => {
                let nack = basic::Nack {
                    delivery_tag: number,
                    multiple: false,
                    requeue: false,
                };
                self.say(channel, basic::AMQPMethod::Nack(nack).into_class());
            }
            Reply::Return(message) => {
                let returned = basic::Return {
                    reply_code: 312,
                    reply_text: "NO_ROUTE".into(),
                    exchange: message.exchange.as_str().into(),
                    routing_key: message.routing_key.as_str().into(),
                };
                let method = basic::AMQPMethod::Return(returned).into_class();
                send(
                    &mut self.socket,
                    &content(channel, method, &message.id, &message.body),
                );
            }
            Reply::Cut => return false,
        }
        true
    }

    fn say(&mut self, channel: u16, class: AMQPClass) {
        send(&mut self.socket, &[AMQPFrame::Method(channel, class)]);
    }
}

impl State {
    /// Hands out what waits, to consumers with credit.
    fn deliver(&mut self) {
        while let Some(message) = self.queue.pop_front() {
            let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.has_credit()) else {
                self.queue.push_front(message);
                return;
            };
            consumer.deliveries += 1;
            let deliver = basic::Deliver {
                consumer_tag: consumer.tag.as_str().into(),
                delivery_tag: consumer.deliveries,
                redelivered: message.redelivered,
                exchange: "shop".into(),
                routing_key: "orders".into(),
            };
            let method = basic::AMQPMethod::Deliver(deliver).into_class();
            let frames = content(consumer.channel, method, &message.id, &message.body);
            if !consumer.no_ack {
                consumer.in_hands.push((consumer.deliveries, message));
            }
            if let Some(mut socket) = self.connections.get(&consumer.connection) {
                send(&mut socket, &frames);
            }
            self.in_hands_most = self.in_hands_most.max(self.in_hands());
        }
    }

    fn in_hands(&self) -> usize {
        self.consumers
            .iter()
            .map(|consumer| consumer.in_hands.len())
            .sum()
    }

    fn settle(&mut self, connection: u64, channel: u16, tag: u64, answer: &'static str) {
        let mine =
            |consumer: &&mut Consumer| consumer.connection == connection && consumer.channel == channel;
        let consumer = self
            .consumers
            .iter_mut()
            .find(mine)
            .expect("only consumers settle");
        let held = consumer.in_hands.iter().position(|(number, _)| *number == tag);
        let (_, message) = consumer
            .in_hands
            .remove(held.expect("only what is held is settled, and only once"));
        self.answers.push((answer, message.id.clone()));
        if answer == "requeue" {
            self.queue.push_front(Message {
                redelivered: true,
                ..message
            });
        }
        self.deliver();
    }

    /// No more deliveries; what the consumer has, it can still settle.
    fn cancel(&mut self, connection: u64, channel: u16) {
        for consumer in &mut self.consumers {
            if consumer.connection == connection && consumer.channel == channel {
                consumer.cancelled = true;
            }
        }
    }

    /// A connection is gone: what it had goes back to its place.
    fn forget(&mut self, connection: u64) {
        self.connections.remove(&connection);
        let gone = self
            .consumers
            .extract_if(.., |consumer| consumer.connection == connection);
        let back: Vec<_> = gone.flat_map(|consumer| consumer.in_hands).collect();
        for (_, message) in back.into_iter().rev() {
            self.queue.push_front(Message {
                redelivered: true,
                ..message
            });
        }
        self.deliver();
    }
}

fn published(connection: u64, channel: u16, number: u64, incoming: Incoming) -> Published {
    let Incoming {
        method,
        properties,
        body,
        ..
    } = incoming;
    Published {
        connection,
        channel,
        number,
        id: properties
            .message_id()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        body: String::from_utf8(body).expect("an order is text"),
        exchange: method.exchange.to_string(),
        routing_key: method.routing_key.to_string(),
        mandatory: method.mandatory,
        persistent: *properties.delivery_mode() == Some(2),
    }
}

fn start() -> connection::Start {
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: FieldTable::default(),
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    }
}

/// A method with a message behind it.
fn content(channel: u16, method: AMQPClass, id: &str, body: &str) -> Vec<AMQPFrame> {
    let properties = AMQPProperties::default().with_message_id(id.into());
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: body.len() as u64,
        properties,
    };
    vec![
        AMQPFrame::Method(channel, method),
        AMQPFrame::Header(channel, header),
        AMQPFrame::Body(channel, body.as_bytes().to_vec()),
    ]
}

/// A service that is gone does not read what it is sent; the thread that reads from it will notice.
fn send(socket: &mut (impl Write + ?Sized), frames: &[AMQPFrame]) {
    let mut bytes = Vec::new();
    for frame in frames {
        let written = gen_frame(frame)(WriteContext::from(Vec::new())).expect("the frame can be written");
        bytes.extend(written.into_inner().0);
    }
    let _ = socket.write_all(&bytes);
}

/// `AMQPMethod` into the class it belongs to: the codec has no conversion of its own.
trait IntoClass {
    fn into_class(self) -> AMQPClass;
}

macro_rules! into_class {
    ($($class:ident => $variant:ident),+) => {
        $(impl IntoClass for $class::AMQPMethod {
            fn into_class(self) -> AMQPClass {
                AMQPClass::$variant(self)
            }
        })+
    };
}

into_class!(basic => Basic, channel => Channel, confirm => Confirm, connection => Connection, exchange => Exchange, queue => Queue);
