//! Opening a connection and preparing a broker, one blocking request after the other. What is opened here is handed
//! to a worker thread afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};

use crate::link::Link;
use crate::scanner::Scanner;
use crate::url::Url;
use crate::wire::{self, CHANNEL, FRAME_END, FRAME_HEARTBEAT, FRAME_METHOD, MethodId, Reader, id};
use crate::workload::QueueKind;

mod bulk;

/// A broker under load may take its time to declare a queue or accept a connection, but not this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A frame during the handshake or of a topology answer is never larger than this.
const RARE_FRAME_BYTES_MAX: usize = 1 << 20;
/// What we agree to when the broker lets us choose.
const FRAME_BYTES_MAX: u32 = 128 * 1024;

/// Who answered: from the broker's server properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// "RabbitMQ", "LavinMQ", ...
    pub product: String,
    /// As the broker says it.
    pub version: String,
}

/// How a connection is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The heartbeat we would like, in seconds; 0 asks for none.
    pub heartbeat_seconds: u16,
    /// The largest frame we would like; 0 takes what the broker offers, 128 KiB at most.
    pub frame_max: u32,
}

impl Options {
    /// No heartbeats, and frames as large as the broker offers.
    pub const PLAIN: Self = Self {
        heartbeat_seconds: 0,
        frame_max: 0,
    };
}

/// An open connection with one open channel.
pub struct Session {
    stream: TcpStream,
    /// Received and not used yet.
    unread: Vec<u8>,
    frame_max: u32,
    heartbeat_seconds: u16,
    server: Server,
}

impl Session {
    /// Connects, logs in and opens channel 1.
    pub fn open(url: &Url, options: Options) -> anyhow::Result<Self> {
        let stream = connect(url).with_context(|| format!("cannot connect to {url}"))?;
        let mut session = Self {
            stream,
            unread: Vec::new(),
            frame_max: 0,
            heartbeat_seconds: 0,
            server: Server::default(),
        };
        session
            .handshake(url, options)
            .with_context(|| format!("cannot log in at {url}"))?;
        session
            .call(CHANNEL, id::CHANNEL_OPEN, id::CHANNEL_OPEN_OK, |out| out.push(0))
            .context("cannot open a channel")?;
        Ok(session)
    }

    /// The largest frame agreed on, in bytes; 0 is no limit.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Who answered.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Declares a queue, or finds it (`passive`). Answers how many messages are ready in it.
    pub fn declare_queue(&mut self, name: &str, kind: QueueKind, passive: bool) -> anyhow::Result<u32> {
        let answer = self.call(CHANNEL, id::QUEUE_DECLARE, id::QUEUE_DECLARE_OK, |out| {
            queue_declare(out, name, kind, u8::from(passive));
        })?;
        let mut reader = Reader::new(&answer);
        let count = reader.short_string().and_then(|_| reader.u32());
        count.ok_or_else(|| anyhow!("the broker's queue.declare-ok is cut short"))
    }

    /// Declares an exchange of a type.
    pub fn declare_exchange(&mut self, name: &str, kind: &str, durable: bool) -> anyhow::Result<()> {
        self.call(CHANNEL, id::EXCHANGE_DECLARE, id::EXCHANGE_DECLARE_OK, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, name.as_bytes());
            wire::short_string(out, kind.as_bytes());
            out.push(u8::from(durable) << 1);
            wire::table(out, |_| {});
        })?;
        Ok(())
    }

    /// Binds a queue to an exchange.
    pub fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) -> anyhow::Result<()> {
        self.call(CHANNEL, id::QUEUE_BIND, id::QUEUE_BIND_OK, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, queue.as_bytes());
            wire::short_string(out, exchange.as_bytes());
            wire::short_string(out, routing_key.as_bytes());
            out.push(0);
            wire::table(out, |_| {});
        })?;
        Ok(())
    }

    /// Deletes a queue with what is in it.
    pub fn delete_queue(&mut self, name: &str) -> anyhow::Result<()> {
        self.call(CHANNEL, id::QUEUE_DELETE, id::QUEUE_DELETE_OK, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, name.as_bytes());
            out.push(0);
        })?;
        Ok(())
    }

    /// Empties a queue.
    pub fn purge_queue(&mut self, name: &str) -> anyhow::Result<()> {
        self.call(CHANNEL, id::QUEUE_PURGE, id::QUEUE_PURGE_OK, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, name.as_bytes());
            out.push(0);
        })?;
        Ok(())
    }

    /// Deletes an exchange.
    pub fn delete_exchange(&mut self, name: &str) -> anyhow::Result<()> {
        self.call(CHANNEL, id::EXCHANGE_DELETE, id::EXCHANGE_DELETE_OK, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, name.as_bytes());
            out.push(0);
        })?;
        Ok(())
    }

    /// Puts the channel into confirm mode.
    pub fn confirm_select(&mut self) -> anyhow::Result<()> {
        self.call(CHANNEL, id::CONFIRM_SELECT, id::CONFIRM_SELECT_OK, |out| {
            out.push(0)
        })?;
        Ok(())
    }

    /// Sets how many deliveries each consumer may have unacknowledged; 0 is no limit.
    pub fn qos(&mut self, prefetch: u16) -> anyhow::Result<()> {
        self.call(CHANNEL, id::BASIC_QOS, id::BASIC_QOS_OK, |out| {
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&prefetch.to_be_bytes());
            out.push(0);
        })?;
        Ok(())
    }

    /// Starts to consume.
    pub fn consume(&mut self, queue: &str, tag: &str, no_ack: bool) -> anyhow::Result<()> {
        self.call(CHANNEL, id::BASIC_CONSUME, id::BASIC_CONSUME_OK, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, queue.as_bytes());
            wire::short_string(out, tag.as_bytes());
            out.push(u8::from(no_ack) << 1);
            wire::table(out, |_| {});
        })?;
        Ok(())
    }

    /// Hands the connection over to the nonblocking side.
    pub fn into_link(self, now: u64) -> anyhow::Result<(Link, Scanner)> {
        let scanner = Scanner::new(self.frame_max);
        let link = Link::new(self.stream, self.unread, self.heartbeat_seconds, now)?;
        Ok((link, scanner))
    }

    /// Ends the connection.
    pub fn close(self) {
        if let Ok((mut link, _)) = self.into_link(0) {
            link.farewell(&[]);
        }
    }

    fn handshake(&mut self, url: &Url, options: Options) -> anyhow::Result<()> {
        self.stream.write_all(wire::PROTOCOL_HEADER)?;
        let start = self.expect(0, id::CONNECTION_START)?;
        self.server = read_server(&start);
        self.send(0, id::CONNECTION_START_OK, |out| {
            client_properties(out);
            wire::short_string(out, b"PLAIN");
            wire::long_string(out, format!("\0{}\0{}", url.user, url.password).as_bytes());
            wire::short_string(out, b"en_US");
        })?;
        let tune = self
            .expect(0, id::CONNECTION_TUNE)
            .context("after sending user and password")?;
        let channel_max = self.agree(&tune, options)?;
        let (frame_max, heartbeat_seconds) = (self.frame_max, self.heartbeat_seconds);
        self.send(0, id::CONNECTION_TUNE_OK, |out| {
            out.extend_from_slice(&channel_max.to_be_bytes());
            out.extend_from_slice(&frame_max.to_be_bytes());
            out.extend_from_slice(&heartbeat_seconds.to_be_bytes());
        })?;
        self.send(0, id::CONNECTION_OPEN, |out| {
            wire::short_string(out, url.vhost.as_bytes());
            out.extend_from_slice(&[0, 0]);
        })?;
        self.expect(0, id::CONNECTION_OPEN_OK)?;
        Ok(())
    }

    /// Settles frame size and heartbeat; answers the channel limit, which is the broker's.
    fn agree(&mut self, tune: &[u8], options: Options) -> anyhow::Result<u16> {
        let mut reader = Reader::new(tune);
        let (Some(channel_max), Some(frame_max), Some(heartbeat)) =
            (reader.u16(), reader.u32(), reader.u16())
        else {
            bail!("the broker's connection.tune is cut short");
        };
        let ours = if options.frame_max == 0 {
            FRAME_BYTES_MAX
        } else {
            options.frame_max
        };
        self.frame_max = if frame_max == 0 { ours } else { frame_max.min(ours) };
        ensure!(
            self.frame_max >= 4096,
            "frames of {} bytes are below AMQP's least of 4096",
            self.frame_max
        );
        self.heartbeat_seconds = match (heartbeat, options.heartbeat_seconds) {
            (_, 0) => 0,
            (0, ours) => ours,
            (theirs, ours) => theirs.min(ours),
        };
        Ok(channel_max)
    }

    fn call(
        &mut self,
        channel: u16,
        request: MethodId,
        answer: MethodId,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) -> anyhow::Result<Vec<u8>> {
        self.send(channel, request, arguments)?;
        self.expect(channel, answer)
    }

    fn send(
        &mut self,
        channel: u16,
        id: MethodId,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        wire::method(&mut bytes, channel, id, arguments);
        self.stream
            .write_all(&bytes)
            .context("the broker ended the connection")
    }

    /// Reads frames until the expected method comes; answers its arguments. A close is an error with its text.
    fn expect(&mut self, channel: u16, expected: MethodId) -> anyhow::Result<Vec<u8>> {
        loop {
            let (kind, on_channel, payload) = self.read_frame()?;
            match kind {
                FRAME_HEARTBEAT => continue,
                FRAME_METHOD => {}
                _ => bail!("the broker sent a frame of type {kind} where a method was due"),
            }
            let mut reader = Reader::new(&payload);
            let (Some(class), Some(method)) = (reader.u16(), reader.u16()) else {
                bail!("the broker sent a method cut short");
            };
            match (class, method) {
                got if got == expected && on_channel == channel => return Ok(payload[4..].to_vec()),
                id::CONNECTION_CLOSE => {
                    self.send(0, id::CONNECTION_CLOSE_OK, |_| {})?;
                    bail!(
                        "the broker closed the connection: {}",
                        wire::close_reason(&payload[4..])
                    )
                }
                id::CHANNEL_CLOSE => bail!("the broker refused: {}", wire::close_reason(&payload[4..])),
                id::CONNECTION_BLOCKED | id::CONNECTION_UNBLOCKED => {}
                (class, method) => bail!("the broker sent method {class}.{method}, not {expected:?}"),
            }
        }
    }

    fn read_frame(&mut self) -> anyhow::Result<(u8, u16, Vec<u8>)> {
        let head = self.read_exact(7)?;
        if head.starts_with(b"AMQP") {
            bail!("the broker does not speak AMQP 0-9-1: it answered with a protocol header");
        }
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        ensure!(
            size <= RARE_FRAME_BYTES_MAX,
            "the broker sent a frame of {size} bytes where a method was due"
        );
        let mut payload = self.read_exact(size + 1)?;
        ensure!(
            payload.pop() == Some(FRAME_END),
            "the broker sent a frame without its end byte"
        );
        Ok((head[0], u16::from_be_bytes([head[1], head[2]]), payload))
    }

    fn read_exact(&mut self, count: usize) -> anyhow::Result<Vec<u8>> {
        let mut chunk = [0; 4096];
        while self.unread.len() < count {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the broker ended the connection without a word"),
                Ok(got) => self.unread.extend_from_slice(&chunk[..got]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!("the broker did not answer within {} s", ANSWER_WITHIN.as_secs())
                }
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
        Ok(self.unread.drain(..count).collect())
    }
}

/// The arguments of `queue.declare`; `bits` are set beside `durable`.
fn queue_declare(out: &mut Vec<u8>, name: &str, kind: QueueKind, bits: u8) {
    let durable = kind != QueueKind::Transient;
    out.extend_from_slice(&[0, 0]);
    wire::short_string(out, name.as_bytes());
    out.push(bits | u8::from(durable) << 1);
    wire::table(out, |out| {
        if kind == QueueKind::Quorum {
            wire::text_entry(out, "x-queue-type", "quorum");
        }
    });
}

fn connect(url: &Url) -> anyhow::Result<TcpStream> {
    let mut last = anyhow!("the name {} has no address", url.host);
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                return Ok(stream);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn client_properties(out: &mut Vec<u8>) {
    wire::table(out, |out| {
        wire::text_entry(out, "product", "everack bench");
        wire::text_entry(out, "version", env!("CARGO_PKG_VERSION"));
        wire::text_entry(out, "connection_name", "everack bench");
        wire::short_string(out, b"capabilities");
        out.push(b'F');
        wire::table(out, |out| {
            for name in [
                "publisher_confirms",
                "basic.nack",
                "connection.blocked",
                "consumer_cancel_notify",
                "authentication_failure_close",
            ] {
                wire::bool_entry(out, name, true);
            }
        });
    });
}

fn read_server(start: &[u8]) -> Server {
    let mut reader = Reader::new(start);
    let properties = reader
        .take(2)
        .and_then(|_| reader.long_string())
        .unwrap_or_default();
    let text = |name| wire::table_text(properties, name).unwrap_or_else(|| "unknown".to_owned());
    Server {
        product: text("product"),
        version: text("version"),
    }
}
