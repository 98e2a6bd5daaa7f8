//! A fake broker: hands each message straight on to the consumer of its queue, keeps nothing, and does next to nothing
//! else. The generator's own cost is measured against it, and our tests make it misbehave.
//!
//! A thread a connection with blocking sockets; the publisher's thread writes to the consumer's socket, which is all
//! the back-pressure there is. A message that finds no consumer is forgotten.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::wire::{self, CHANNEL, FRAME_HEADER, FRAME_METHOD, MethodId, Reader, id};

const READ_BYTES: usize = 256 * 1024;

/// How the fake broker misbehaves: at every `n`th message it has seen, or once there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Confirms every nth message and does not deliver it.
    Lose(u64),
    /// Delivers every nth message twice.
    Double(u64),
    /// Delivers every nth message after the one that follows it.
    Swap(u64),
    /// Nacks what came with every nth message.
    Nack(u64),
    /// Sends every nth message back as unroutable.
    Return(u64),
    /// Closes the channel at the nth message.
    CloseChannel(u64),
    /// Closes the connection at the nth message.
    CloseConnection(u64),
    /// Ends the connection at the nth message without a word.
    HangUp(u64),
    /// Says connection.blocked at the nth message and connection.unblocked 100 ms later.
    Block(u64),
    /// Never confirms.
    Silent,
    /// No fault: keeps messages of the default exchange that find no consumer until one comes.
    Hold,
}

/// A running fake broker. Its threads end with the process.
pub struct Echo {
    address: SocketAddr,
}

impl Echo {
    /// Listens on 127.0.0.1; port 0 takes a free one.
    pub fn start(port: u16, fault: Fault) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            fault,
            ..Shared::default()
        });
        thread::Builder::new().name("echo".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                let serve = move || {
                    // A client that leaves, politely or not, ends its thread and nothing else.
                    let _ = Connection::new(stream, shared).and_then(Connection::serve);
                };
                let _ = thread::Builder::new()
                    .name("echo-connection".to_owned())
                    .spawn(serve);
            }
        })?;
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Runs a fake broker until the process is ended.
pub fn serve(port: u16) -> anyhow::Result<ExitCode> {
    let echo = Echo::start(port, Fault::None)?;
    println!("amqp://{} pid {}", echo.address(), std::process::id());
    loop {
        thread::park();
    }
}

struct Shared {
    fault: Fault,
    messages: AtomicU64,
    /// Consumers by queue.
    queues: Mutex<HashMap<Vec<u8>, Vec<Outlet>>>,
    /// Contents that wait for a consumer, by queue.
    held: Mutex<HashMap<Vec<u8>, Vec<Vec<u8>>>>,
    /// Queues by exchange.
    bindings: Mutex<HashMap<Vec<u8>, Vec<Vec<u8>>>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            fault: Fault::None,
            messages: AtomicU64::new(0),
            queues: Mutex::default(),
            held: Mutex::default(),
            bindings: Mutex::default(),
        }
    }
}

/// The writing side of a connection.
struct Writer {
    stream: TcpStream,
    last_tag: u64,
}

/// A consumer: its connection and its tag.
#[derive(Clone)]
struct Outlet {
    writer: Arc<Mutex<Writer>>,
    consumer_tag: Vec<u8>,
}

/// Deliveries for one consumer, collected while a read's worth of publishes is walked.
struct Outbox {
    outlet: Outlet,
    bytes: Vec<u8>,
    /// Where delivery tags go; they are known when the bytes are written.
    tags_at: Vec<usize>,
}

struct Connection {
    stream: TcpStream,
    writer: Arc<Mutex<Writer>>,
    shared: Arc<Shared>,
    published: u64,
    confirmed: u64,
    confirming: bool,
    nack: bool,
    /// The exchange and key of the last publish, and the outboxes they lead to.
    route: (Vec<u8>, Vec<u8>),
    outboxes: Vec<Outbox>,
    swapped: Option<(Vec<u8>, Vec<u8>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended(what: &str) -> io::Error {
    io::Error::other(what)
}

impl Connection {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let writer = Arc::new(Mutex::new(Writer {
            stream: stream.try_clone()?,
            last_tag: 0,
        }));
        Ok(Self {
            stream,
            writer,
            shared,
            published: 0,
            confirmed: 0,
            confirming: false,
            nack: false,
            route: (vec![0], vec![0]),
            outboxes: Vec::new(),
            swapped: None,
        })
    }

    /// Serves until the end; other threads may still hold the writing side, so the socket is shut down explicitly.
    fn serve(mut self) -> io::Result<()> {
        let result = self.converse();
        let _ = self.stream.shutdown(Shutdown::Both);
        result
    }

    fn converse(&mut self) -> io::Result<()> {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header)?;
        self.answer(0, id::CONNECTION_START, |out| {
            out.extend_from_slice(&[0, 9]);
            wire::table(out, |out| {
                wire::text_entry(out, "product", "everack echo");
                wire::text_entry(out, "version", "1");
            });
            wire::long_string(out, b"PLAIN");
            wire::long_string(out, b"en_US");
        })?;
        let mut buffer = vec![0; READ_BYTES];
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                buffer.resize(filled * 2, 0);
            }
            let count = self.stream.read(&mut buffer[filled..])?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
            let used = self.walk(&buffer[..filled])?;
            self.flush()?;
            buffer.copy_within(used..filled, 0);
            filled -= used;
        }
    }

    /// Handles all that is complete in `bytes`; answers how much that is.
    fn walk(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while let Some((kind, total)) = frame_at(&bytes[at..]) {
            let frame = &bytes[at..at + total];
            if kind != FRAME_METHOD {
                at += total;
                continue;
            }
            let method = (
                u16::from_be_bytes([frame[7], frame[8]]),
                u16::from_be_bytes([frame[9], frame[10]]),
            );
            let arguments = &frame[11..total - 1];
            if method == id::BASIC_PUBLISH {
                let Some(content) = content_length(&bytes[at + total..]) else {
                    return Ok(at);
                };
                let content = &bytes[at + total..at + total + content];
                self.publish(arguments, content)?;
                at += content.len();
            } else {
                self.rare(method, arguments)?;
            }
            at += total;
        }
        Ok(at)
    }

    fn publish(&mut self, arguments: &[u8], content: &[u8]) -> io::Result<()> {
        let mut reader = Reader::new(&arguments[2..]);
        let exchange = reader
            .short_string()
            .ok_or_else(|| ended("a publish cut short"))?;
        let routing_key = reader
            .short_string()
            .ok_or_else(|| ended("a publish cut short"))?;
        self.published += 1;
        if (self.route.0.as_slice(), self.route.1.as_slice()) != (exchange, routing_key) {
            self.look_up(exchange, routing_key)?;
        }
        if self.shared.fault == Fault::None {
            self.deliver(content, 1);
            return Ok(());
        }
        self.misbehave(exchange, routing_key, content)
    }

    /// Finds the consumers of a route. What was collected for the last one goes out first.
    fn look_up(&mut self, exchange: &[u8], routing_key: &[u8]) -> io::Result<()> {
        self.flush_outboxes()?;
        let queues = lock(&self.shared.queues);
        let bindings = lock(&self.shared.bindings);
        let to_one = [routing_key.to_vec()];
        let names = if exchange.is_empty() {
            &to_one[..]
        } else {
            bindings.get(exchange).map_or(&[][..], Vec::as_slice)
        };
        self.outboxes.clear();
        for name in names {
            if let Some(outlet) = queues.get(name).and_then(|consumers| consumers.first()) {
                let outlet = outlet.clone();
                self.outboxes.push(Outbox {
                    outlet,
                    bytes: Vec::new(),
                    tags_at: Vec::new(),
                });
            }
        }
        self.route = (exchange.to_vec(), routing_key.to_vec());
        Ok(())
    }

    fn deliver(&mut self, content: &[u8], times: usize) {
        for outbox in &mut self.outboxes {
            for _ in 0..times {
                outbox.push(&self.route.0, &self.route.1, content);
            }
        }
    }

    fn misbehave(&mut self, exchange: &[u8], routing_key: &[u8], content: &[u8]) -> io::Result<()> {
        let number = self.shared.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let due = |every: u64| number.is_multiple_of(every);
        match self.shared.fault {
            Fault::Lose(n) if due(n) => return Ok(()),
            Fault::Hold if self.outboxes.is_empty() => {
                let mut held = lock(&self.shared.held);
                held.entry(routing_key.to_vec())
                    .or_default()
                    .push(content.to_vec());
            }
            Fault::Double(n) if due(n) => self.deliver(content, 2),
            Fault::Swap(n) if due(n) => {
                self.swapped = Some((routing_key.to_vec(), content.to_vec()));
                return Ok(());
            }
            Fault::Nack(n) => {
                self.nack |= due(n);
                if !self.nack {
                    self.deliver(content, 1);
                }
            }
            Fault::Return(n) if due(n) => return self.send_back(exchange, routing_key, content),
            Fault::CloseChannel(n) if number == n => {
                self.close(
                    CHANNEL,
                    id::CHANNEL_CLOSE,
                    404,
                    b"NOT_FOUND - no exchange 'x' in vhost '/'",
                )?;
            }
            Fault::CloseConnection(n) if number == n => {
                self.close(
                    0,
                    id::CONNECTION_CLOSE,
                    320,
                    b"CONNECTION_FORCED - broker forced connection closure",
                )?;
            }
            Fault::HangUp(n) if number == n => return Err(ended("hung up on purpose")),
            Fault::Block(n) if number == n => {
                self.block_a_while()?;
                self.deliver(content, 1);
            }
            _ => self.deliver(content, 1),
        }
        if let Some((key, content)) = self.swapped.take() {
            debug_assert_eq!(key, routing_key, "swapping is for one queue");
            self.deliver(&content, 1);
        }
        Ok(())
    }

    fn block_a_while(&mut self) -> io::Result<()> {
        self.answer(0, id::CONNECTION_BLOCKED, |out| {
            wire::short_string(out, b"low on memory")
        })?;
        let writer = Arc::clone(&self.writer);
        thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(100));
            let mut bytes = Vec::new();
            wire::method(&mut bytes, 0, id::CONNECTION_UNBLOCKED, |_| {});
            let _ = lock(&writer).stream.write_all(&bytes);
        });
        Ok(())
    }

    fn send_back(&mut self, exchange: &[u8], routing_key: &[u8], content: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::method(&mut bytes, CHANNEL, id::BASIC_RETURN, |out| {
            out.extend_from_slice(&312_u16.to_be_bytes());
            wire::short_string(out, b"NO_ROUTE");
            wire::short_string(out, exchange);
            wire::short_string(out, routing_key);
        });
        bytes.extend_from_slice(content);
        lock(&self.writer).stream.write_all(&bytes)
    }

    fn close(&mut self, channel: u16, method: MethodId, code: u16, text: &[u8]) -> io::Result<()> {
        self.answer(channel, method, |out| {
            out.extend_from_slice(&code.to_be_bytes());
            wire::short_string(out, text);
            out.extend_from_slice(&[0; 4]);
        })
    }

    /// Sends collected deliveries, then the confirms of what was published.
    fn flush(&mut self) -> io::Result<()> {
        self.flush_outboxes()?;
        // The topology may have changed by the next publish.
        self.route = (vec![0], vec![0]);
        if !self.confirming || self.published == self.confirmed || self.shared.fault == Fault::Silent {
            return Ok(());
        }
        let mut bytes = Vec::new();
        if std::mem::take(&mut self.nack) {
            wire::method(&mut bytes, CHANNEL, id::BASIC_NACK, |out| {
                out.extend_from_slice(&self.published.to_be_bytes());
                out.push(1);
            });
        } else {
            wire::ack(&mut bytes, self.published, true);
        }
        self.confirmed = self.published;
        lock(&self.writer).stream.write_all(&bytes)
    }

    fn flush_outboxes(&mut self) -> io::Result<()> {
        self.outboxes.iter_mut().try_for_each(Outbox::flush)
    }

    fn answer(
        &mut self,
        channel: u16,
        method: MethodId,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::method(&mut bytes, channel, method, arguments);
        lock(&self.writer).stream.write_all(&bytes)
    }

    /// Everything but publish: a yes to each request.
    fn rare(&mut self, method: MethodId, arguments: &[u8]) -> io::Result<()> {
        match method {
            id::CONNECTION_START_OK => self.answer(0, id::CONNECTION_TUNE, |out| {
                out.extend_from_slice(&2047_u16.to_be_bytes());
                out.extend_from_slice(&131_072_u32.to_be_bytes());
                out.extend_from_slice(&60_u16.to_be_bytes());
            }),
            id::CONNECTION_OPEN => self.answer(0, id::CONNECTION_OPEN_OK, |out| out.push(0)),
            id::CONNECTION_CLOSE => {
                self.answer(0, id::CONNECTION_CLOSE_OK, |_| {})?;
                Err(ended("closed"))
            }
            id::CHANNEL_OPEN => {
                self.answer(CHANNEL, id::CHANNEL_OPEN_OK, |out| out.extend_from_slice(&[0; 4]))
            }
            id::EXCHANGE_DECLARE => self.answer(CHANNEL, id::EXCHANGE_DECLARE_OK, |_| {}),
            id::EXCHANGE_DELETE => self.answer(CHANNEL, id::EXCHANGE_DELETE_OK, |_| {}),
            id::QUEUE_DECLARE => self.answer(CHANNEL, id::QUEUE_DECLARE_OK, |out| {
                wire::short_string(out, b"");
                out.extend_from_slice(&[0; 8]);
            }),
            id::QUEUE_BIND => {
                let (queue, exchange) = two_names(arguments)?;
                lock(&self.shared.bindings)
                    .entry(exchange)
                    .or_default()
                    .push(queue);
                self.answer(CHANNEL, id::QUEUE_BIND_OK, |_| {})
            }
            id::QUEUE_DELETE => {
                self.answer(CHANNEL, id::QUEUE_DELETE_OK, |out| out.extend_from_slice(&[0; 4]))
            }
            id::BASIC_QOS => self.answer(CHANNEL, id::BASIC_QOS_OK, |_| {}),
            id::BASIC_CONSUME => {
                let (queue, consumer_tag) = two_names(arguments)?;
                let tag = consumer_tag.clone();
                self.answer(CHANNEL, id::BASIC_CONSUME_OK, |out| wire::short_string(out, &tag))?;
                let outlet = Outlet {
                    writer: Arc::clone(&self.writer),
                    consumer_tag,
                };
                let held = lock(&self.shared.held).remove(&queue).unwrap_or_default();
                let mut outbox = Outbox {
                    outlet: outlet.clone(),
                    bytes: Vec::new(),
                    tags_at: Vec::new(),
                };
                for content in held {
                    outbox.push(b"", &queue, &content);
                }
                lock(&self.shared.queues).entry(queue).or_default().push(outlet);
                outbox.flush()
            }
            id::CONFIRM_SELECT => {
                self.confirming = true;
                self.answer(CHANNEL, id::CONFIRM_SELECT_OK, |_| {})
            }
            _ => Ok(()),
        }
    }
}

impl Outbox {
    fn push(&mut self, exchange: &[u8], routing_key: &[u8], content: &[u8]) {
        let mut tag_at = 0;
        wire::method(&mut self.bytes, CHANNEL, id::BASIC_DELIVER, |out| {
            wire::short_string(out, &self.outlet.consumer_tag);
            tag_at = out.len();
            out.extend_from_slice(&[0; 9]);
            wire::short_string(out, exchange);
            wire::short_string(out, routing_key);
        });
        self.tags_at.push(tag_at);
        self.bytes.extend_from_slice(content);
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let mut writer = lock(&self.outlet.writer);
        for at in self.tags_at.drain(..) {
            writer.last_tag += 1;
            self.bytes[at..at + 8].copy_from_slice(&writer.last_tag.to_be_bytes());
        }
        writer.stream.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// Kind and whole length of the frame at the head of `bytes`, if it is complete.
fn frame_at(bytes: &[u8]) -> Option<(u8, usize)> {
    let head = bytes.get(..7)?;
    let total = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + wire::FRAME_OVERHEAD;
    (bytes.len() >= total).then_some((head[0], total))
}

/// The length of the header frame and body frames at the head of `bytes`, if they are complete.
fn content_length(bytes: &[u8]) -> Option<usize> {
    let (kind, mut at) = frame_at(bytes)?;
    if kind != FRAME_HEADER {
        return Some(0);
    }
    let mut left = u64::from_be_bytes(bytes.get(11..19)?.try_into().ok()?);
    while left > 0 {
        let (_, total) = frame_at(&bytes[at..])?;
        left = left.saturating_sub((total - wire::FRAME_OVERHEAD) as u64);
        at += total;
    }
    Some(at)
}

/// The two short strings that follow the reserved number at the head of bind and consume.
fn two_names(arguments: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut reader = Reader::new(arguments);
    let names = reader
        .u16()
        .and_then(|_| Some((reader.short_string()?, reader.short_string()?)));
    let (first, second) = names.ok_or_else(|| ended("a method cut short"))?;
    Ok((first.to_vec(), second.to_vec()))
}
