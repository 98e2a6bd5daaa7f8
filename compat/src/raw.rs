//! AMQP 0-9-1 by hand, byte by byte, for what no client library would send.
//!
//! Knows just enough of the protocol to log in, to publish and get one message, and to read how a broker ends a
//! conversation. Whoever wants to be wrong builds frames with [`frame`] and sends any bytes.

use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The protocol header of AMQP 0-9-1.
pub const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// The octet that every frame ends with.
pub const FRAME_END: u8 = 0xCE;
/// Frame types.
pub const METHOD: u8 = 1;
/// A content header.
pub const CONTENT_HEADER: u8 = 2;
/// A piece of a body.
pub const BODY: u8 = 3;
/// A sign of life.
pub const HEARTBEAT: u8 = 8;

/// How long we wait for the broker; a stalled handshake takes it ten seconds to notice.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame, as bytes.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes.push(FRAME_END);
    bytes
}

/// The payload of a method, put together field by field.
#[derive(Clone, Default)]
pub struct Fields(pub Vec<u8>);

impl Fields {
    /// Starts with the class and the method.
    pub fn of(class: u16, method: u16) -> Self {
        Self::default().short(class).short(method)
    }

    /// One octet; also a run of up to eight bits.
    pub fn octet(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Two octets.
    pub fn short(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Four octets.
    pub fn long(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Eight octets.
    pub fn longlong(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A short string: at most 255 bytes.
    pub fn name(self, value: &str) -> Self {
        let mut this = self.octet(value.len() as u8);
        this.0.extend(value.as_bytes());
        this
    }

    /// A long string; also a table, given as its bytes.
    pub fn bytes(self, value: &[u8]) -> Self {
        let mut this = self.long(value.len() as u32);
        this.0.extend(value);
        this
    }

    /// The frame that carries this method.
    pub fn on(&self, channel: u16) -> Vec<u8> {
        frame(METHOD, channel, &self.0)
    }
}

/// `basic.publish` to the default exchange.
pub fn publish(queue: &str) -> Fields {
    publish_to("", queue, 0)
}

/// `basic.publish` with these bits (1 mandatory).
pub fn publish_to(exchange: &str, routing_key: &str, bits: u8) -> Fields {
    Fields::of(60, 40)
        .short(0)
        .name(exchange)
        .name(routing_key)
        .octet(bits)
}

/// The frames of a whole message without properties on a channel.
pub fn message(channel: u16, publish: &Fields, body: &[u8]) -> Vec<u8> {
    let mut bytes = publish.on(channel);
    bytes.extend(content_header(channel, body.len() as u64));
    body.chunks(100_000)
        .for_each(|piece| bytes.extend(frame(BODY, channel, piece)));
    bytes
}

/// `queue.declare` with these bits (2 durable, 4 exclusive, 8 auto-delete) and this table.
pub fn declare(queue: &str, bits: u8, table: &[u8]) -> Fields {
    Fields::of(50, 10).short(0).name(queue).octet(bits).bytes(table)
}

/// `exchange.declare` with these bits (1 passive, 2 durable, 4 auto-delete, 8 internal, 16 nowait) and this table.
pub fn declare_exchange(exchange: &str, kind: &str, bits: u8, table: &[u8]) -> Fields {
    Fields::of(40, 10)
        .short(0)
        .name(exchange)
        .name(kind)
        .octet(bits)
        .bytes(table)
}

/// `queue.bind`, without waiting if so wished.
pub fn bind(queue: &str, exchange: &str, key: &str, nowait: bool, table: &[u8]) -> Fields {
    Fields::of(50, 20)
        .short(0)
        .name(queue)
        .name(exchange)
        .name(key)
        .octet(u8::from(nowait))
        .bytes(table)
}

/// `exchange.bind`.
pub fn bind_exchange(destination: &str, source: &str, key: &str) -> Fields {
    Fields::of(40, 30)
        .short(0)
        .name(destination)
        .name(source)
        .name(key)
        .octet(0)
        .bytes(&[])
}

/// `basic.consume` with these bits (2 no-ack, 4 exclusive, 8 nowait).
pub fn consume(queue: &str, tag: &str, bits: u8) -> Fields {
    Fields::of(60, 20)
        .short(0)
        .name(queue)
        .name(tag)
        .octet(bits)
        .bytes(&[])
}

/// `basic.get`, without acknowledgement if so wished.
pub fn get(queue: &str, no_ack: bool) -> Fields {
    Fields::of(60, 70).short(0).name(queue).octet(u8::from(no_ack))
}

/// `confirm.select`.
pub fn confirm_select() -> Fields {
    Fields::of(85, 10).octet(0)
}

/// A content header that announces a body of this size, with no properties.
pub fn content_header(channel: u16, body: u64) -> Vec<u8> {
    frame(
        CONTENT_HEADER,
        channel,
        &Fields::default().short(60).short(0).longlong(body).short(0).0,
    )
}

/// `connection.start-ok` with a mechanism and its response.
pub fn start_ok(client_properties: &[u8], mechanism: &str, response: &[u8]) -> Fields {
    Fields::of(10, 11)
        .bytes(client_properties)
        .name(mechanism)
        .bytes(response)
        .name("en_US")
}

/// `connection.tune-ok`.
pub fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Fields {
    Fields::of(10, 31)
        .short(channel_max)
        .long(frame_max)
        .short(heartbeat)
}

/// `connection.open`.
pub fn open(vhost: &str) -> Fields {
    Fields::of(10, 40).name(vhost).name("").octet(0)
}

/// `channel.open`.
pub fn channel_open() -> Fields {
    Fields::of(20, 10).name("")
}

/// One entry of a table that says that the client understands this capability.
pub fn capability(name: &str) -> Vec<u8> {
    let inner = [&[name.len() as u8], name.as_bytes(), b"t\x01"].concat();
    Fields::default().name("capabilities").octet(b'F').bytes(&inner).0
}

/// How a broker ended a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `channel.close`: the connection goes on.
    Channel(u16, String),
    /// `connection.close`.
    Connection(u16, String),
    /// The socket was closed without a word of AMQP.
    Cut,
}

/// A socket to a broker.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects and says nothing.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Connects with the smallest buffer for what it receives, so that what it does not read stays with the broker.
    pub fn connect_deaf(address: SocketAddr) -> anyhow::Result<Self> {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_recv_buffer_size(&socket, 4096)?;
        connect(&socket, &address)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Connects, logs in as `guest` with what the broker proposes, and opens channel 1.
    pub fn login(address: SocketAddr) -> anyhow::Result<Self> {
        Self::connect(address)?.logged_in(b"\0guest\0guest", &[])
    }

    /// Logs in with this response of PLAIN and these client properties, and opens channel 1.
    pub fn logged_in(mut self, response: &[u8], properties: &[u8]) -> anyhow::Result<Self> {
        self.send(HEADER)?;
        self.expect(10, 10)?;
        self.send(&start_ok(properties, "PLAIN", response).on(0))?;
        self.tune_and_open("/")?;
        self.send(&channel_open().on(1))?;
        self.expect(20, 11)?;
        Ok(self)
    }

    /// Takes the broker's proposal, without heartbeats, and opens a virtual host.
    pub fn tune_and_open(&mut self, vhost: &str) -> anyhow::Result<()> {
        let tune = self.expect(10, 30)?;
        let [channel_max, frame_max] = [&tune[4..6], &tune[6..10]];
        let ok = [&[0, 10, 0, 31], channel_max, frame_max, &[0, 0]].concat();
        self.send(&frame(METHOD, 0, &ok))?;
        self.send(&open(vhost).on(0))?;
        self.expect(10, 41).map(drop)
    }

    /// Sends bytes; that the broker has closed already is no error, it shows in the reading.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self.stream.write_all(bytes) {
            Err(error) if !is_end(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Sends bytes as long as the broker takes them, `limit` at most; how many it took before it stopped reading.
    pub fn send_until_stuck(&mut self, bytes: &[u8], limit: usize) -> anyhow::Result<usize> {
        self.stream.set_write_timeout(Some(Duration::from_millis(500)))?;
        let mut sent = 0;
        let stuck = loop {
            if sent >= limit {
                break None;
            }
            match self.stream.write(&bytes[sent % bytes.len()..]) {
                Ok(count) => sent += count,
                Err(error) => break Some(error),
            }
        };
        self.stream.set_write_timeout(Some(PATIENCE))?;
        match stuck {
            Some(error) if !is_end(&error) && !is_timeout(&error) => Err(error.into()),
            _ => Ok(sent),
        }
    }

    /// Ends the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        // Without it the end is an orderly one, which the broker has to survive as well.
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// Whether nothing comes for so long, and the socket stays open.
    pub fn is_silent(&mut self, time: Duration) -> anyhow::Result<bool> {
        self.stream.set_read_timeout(Some(time))?;
        let read = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE))?;
        match read {
            Ok(_) => Ok(false),
            Err(error) if is_timeout(&error) => Ok(true),
            Err(error) if is_end(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Says that nothing more comes, and goes on reading.
    pub fn finish_sending(&mut self) {
        // A socket that the broker closed first needs no closing.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next frame as type, channel and payload; `None` at the end.
    pub fn frame(&mut self) -> anyhow::Result<Option<(u8, u16, Vec<u8>)>> {
        let mut head = [0; 7];
        if !self.read(&mut head)? {
            return Ok(None);
        }
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        ensure!(size < 1 << 28, "the broker sent no frame: {head:?}");
        let mut rest = vec![0; size + 1];
        if !self.read(&mut rest)? {
            return Ok(None);
        }
        ensure!(rest.pop() == Some(FRAME_END), "the broker's frame has no end");
        Ok(Some((head[0], u16::from_be_bytes([head[1], head[2]]), rest)))
    }

    /// Reads bytes that are no frame.
    pub fn bytes(&mut self, count: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        ensure!(self.read(&mut bytes)?, "the broker closed the socket");
        Ok(bytes)
    }

    /// The payload of the next method, which has to be this one; heartbeats are passed over.
    pub fn expect(&mut self, class: u16, method: u16) -> anyhow::Result<Vec<u8>> {
        loop {
            let (kind, _, payload) = self.frame()?.context("the broker closed the socket")?;
            if kind == HEARTBEAT {
                continue;
            }
            let wanted = Fields::of(class, method).0;
            if payload.starts_with(&wanted) {
                return Ok(payload);
            }
            bail!(
                "expected method {class}.{method}; got {:?} of type {kind}",
                describe(&payload)
            );
        }
    }

    /// How the broker ends this; whatever comes before the end is passed over.
    pub fn ending(&mut self) -> anyhow::Result<Ending> {
        let deadline = Instant::now() + PATIENCE;
        while let Some((kind, _, payload)) = self.frame()? {
            ensure!(
                Instant::now() < deadline,
                "the broker goes on and on instead of ending this"
            );
            match payload.get(..4) {
                Some([0, 10, 0, 50]) if kind == METHOD => {
                    let (code, text) = close(&payload)?;
                    self.send(&Fields::of(10, 51).on(0))?;
                    return Ok(Ending::Connection(code, text));
                }
                Some([0, 20, 0, 40]) if kind == METHOD => {
                    let (code, text) = close(&payload)?;
                    return Ok(Ending::Channel(code, text));
                }
                _ => {}
            }
        }
        Ok(Ending::Cut)
    }

    /// Whether the broker closes the socket within our patience, after whatever it still says.
    pub fn is_cut(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.frame()?.is_some() {
            ensure!(
                Instant::now() < deadline,
                "the broker goes on and on instead of closing the socket"
            );
        }
        Ok(())
    }

    /// Whether the broker closes the socket within our patience, after whatever it still says, frames or not.
    pub fn ends_somehow(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => ensure!(Instant::now() < deadline, "the broker goes on and on"),
                Err(error) if is_end(&error) => return Ok(()),
                Err(error) => return Err(error).context("the broker does not close the socket"),
            }
        }
    }

    /// Publishes one message to a queue of our own and gets it back: this connection works.
    pub fn round_trip(&mut self, queue: &str, body: &[u8]) -> anyhow::Result<()> {
        self.send(&declare(queue, 4, &[]).on(1))?;
        self.expect(50, 11)?;
        let mut bytes = publish(queue).on(1);
        bytes.extend(content_header(1, body.len() as u64));
        body.chunks(100_000)
            .for_each(|piece| bytes.extend(frame(BODY, 1, piece)));
        bytes.extend(Fields::of(60, 70).short(0).name(queue).octet(1).on(1));
        self.send(&bytes)?;
        self.expect(60, 71)?;
        let mut got = Vec::new();
        self.frame()?.context("a content header is due")?;
        while got.len() < body.len() {
            let (_, _, piece) = self.frame()?.context("a body is due")?;
            got.extend(piece);
        }
        ensure!(got == body, "another body came back");
        Ok(())
    }

    /// Fills the buffer; `false` when the broker closed the socket.
    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if is_end(&error) => Ok(false),
            Err(error) => Err(error).context("the broker neither answers nor closes the socket"),
        }
    }
}

fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

fn close(payload: &[u8]) -> anyhow::Result<(u16, String)> {
    let [code @ .., _] = payload.get(4..7).context("a close without a code")? else {
        bail!("a close without a text")
    };
    let text = payload
        .get(7..7 + payload[6] as usize)
        .context("a close without a text")?;
    Ok((
        u16::from_be_bytes([code[0], code[1]]),
        String::from_utf8_lossy(text).into_owned(),
    ))
}

fn describe(payload: &[u8]) -> String {
    let number = |at: usize| {
        payload
            .get(at..at + 2)
            .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    match close(payload) {
        Ok((code, text)) if [(10, 50), (20, 40)].contains(&(number(0), number(2))) => {
            format!("close {code} {text}")
        }
        _ => format!("method {}.{}", number(0), number(2)),
    }
}
