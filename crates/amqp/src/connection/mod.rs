//! The server side of one connection, as a machine: bytes and times go in, events come out, answers gather in
//! an output buffer. Knows the rules of the protocol; knows nothing of users, virtual hosts, queues or
//! messages' meaning: those are events, and whoever drives the machine answers them.
//!
//! ```text
//!   protocol header > start-ok > (driver: authenticated) > tune-ok > open > (driver: opened)
//!     > running > closing > finished
//! ```
//!
//! How to drive it: after each read call [`Connection::receive`] until it gives `None`, act on each event
//! before asking for the next, and write what is in [`Connection::output`]. Call [`Connection::tick`] when
//! [`Connection::deadline`] has come.

mod answers;
mod channel;
mod channels;
mod frames;
mod handshake;
mod liveness;
mod publishes;
mod status;

use std::sync::Arc;

use bytes::BytesMut;

pub use self::answers::Delivery;
use self::channel::{Channel, State};
use self::liveness::Liveness;
pub use self::status::{ChannelMode, ChannelStatus, Status};
use crate::Millis;
use crate::deliveries::DeliveryRange;
use crate::error::{Error, Scope};
use crate::event::{Event, Failure};
use crate::settings::Settings;
use crate::wire::frame;
use crate::wire::method::{Method, channel as channel_class, connection as connection_class};

/// How long to wait for `connection.close-ok`, at most.
const CLOSE_MS_MAX: u64 = 30_000;
/// How long to keep a socket open after the last word to a client that cannot be understood, or that has asked to close, so that the
/// word is not lost to a reset.
const LINGER_MS: u64 = 1_000;

/// The server side of a connection.
#[derive(Debug)]
pub struct Connection {
    settings: Arc<Settings>,
    phase: Phase,
    out: Vec<u8>,
    /// By channel number; 0 is never used.
    channels: Vec<Option<Box<Channel>>>,
    channels_open: usize,
    /// How many channels were opened so far.
    incarnation: u32,
    /// Channels whose confirms may be ready to send.
    confirms_ready: Vec<u16>,
    /// An empty list for the next acks.
    settled: Vec<DeliveryRange>,
    /// Publishes whose confirms were sent, over all channels that ever were.
    confirmed: u64,
    /// The frame whose payload is being received, when it does not wait in the input as a whole.
    streaming: Option<Streaming>,
    /// Bytes of unfinished messages over all channels.
    assembled_bytes: u64,
    /// What `input` must hold before there can be progress.
    wanted: usize,
    /// Length of `input` when it was last left.
    input_len: usize,
    handshake_bytes: u64,
    started: Millis,
    /// When a closing connection ends on its own.
    close_at: Option<Millis>,
    /// Latest time that was passed in.
    now: Millis,
    liveness: Liveness,
    /// Largest frame in bytes, both ways; 0 means no limit.
    frame_max: u32,
    channel_max: u16,
    capabilities: Capabilities,
    mechanism: &'static str,
    /// The connection itself says who the client is.
    external: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    ProtocolHeader,
    StartOk,
    /// The driver owes an answer to `Authenticate`.
    Authenticating,
    TuneOk,
    Open,
    /// The driver owes an answer to `Open`.
    Opening,
    Running,
    /// The driver owes an answer to `CloseRequested`.
    CloseRequested,
    /// We sent `connection.close`; everything but the answer is ignored.
    CloseSent,
    /// The client cannot be understood any more, or has said that it closes; whatever it sends is thrown away.
    Deaf,
    Finished,
}

/// What the client said it understands.
#[derive(Debug, Clone, Copy, Default)]
struct Capabilities {
    authentication_failure_close: bool,
    connection_blocked: bool,
    consumer_cancel_notify: bool,
}

/// A body frame (or a frame nobody wants) whose payload is taken as it comes.
#[derive(Debug, Clone, Copy)]
struct Streaming {
    head: frame::Head,
    /// Bytes of payload still to come; the end byte follows.
    left: u32,
}

/// What became of one look at the input.
enum Step {
    Event(Event),
    /// Something was consumed or changed; look again.
    Again,
    /// The input must hold so many bytes to go on.
    Wait(usize),
}

/// What the client did wrong, and how far the damage goes.
enum Fault {
    /// The error's code decides whether only the channel ends.
    Channel(u16, Error),
    Connection(Error),
    /// The frames can no longer be told apart.
    Fatal(Error),
}

impl Connection {
    /// A connection that was accepted at `now`.
    pub fn new(settings: Arc<Settings>, now: Millis) -> Connection {
        Connection {
            frame_max: settings.handshake_bytes_max.max(frame::FRAME_MIN_BYTES),
            channel_max: settings.channel_max,
            settings,
            phase: Phase::ProtocolHeader,
            out: Vec::new(),
            channels: Vec::new(),
            channels_open: 0,
            incarnation: 0,
            confirms_ready: Vec::new(),
            settled: Vec::new(),
            confirmed: 0,
            streaming: None,
            assembled_bytes: 0,
            wanted: frame::PROTOCOL_HEADER.len(),
            input_len: 0,
            handshake_bytes: 0,
            started: now,
            close_at: None,
            now,
            liveness: Liveness::new(now),
            capabilities: Capabilities::default(),
            mechanism: "",
            external: false,
        }
    }

    /// Takes what it can use from the front of `input` and says what it means. `None`: more bytes are needed
    /// (see [`Connection::wanted`]), or an answer of the driver is.
    pub fn receive(&mut self, input: &mut BytesMut, now: Millis) -> Option<Event> {
        self.now = self.now.max(now);
        if input.len() != self.input_len {
            self.liveness.received(now);
        }
        let before = input.len();
        let event = self.look(input);
        if self.is_logging_in() {
            self.handshake_bytes += (before - input.len()) as u64;
        }
        self.input_len = input.len();
        event
    }

    fn look(&mut self, input: &mut BytesMut) -> Option<Event> {
        loop {
            let step = match self.phase {
                Phase::Authenticating | Phase::Opening | Phase::CloseRequested => return None,
                Phase::Deaf | Phase::Finished => {
                    input.clear();
                    return None;
                }
                Phase::ProtocolHeader => self.protocol_header(input),
                _ => self.frame(input),
            };
            match step {
                Ok(Step::Event(event)) => return Some(event),
                Ok(Step::Again) => {}
                Ok(Step::Wait(wanted)) => {
                    self.wanted = wanted;
                    return self.check_handshake_bytes(input.len());
                }
                Err(fault) => {
                    if let Some(event) = self.raise(fault) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// How many bytes the input must hold before [`Connection::receive`] can find anything new in it; a
    /// reader's buffer must have room for them. At most a few frames.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// What is to be sent, oldest first. The driver may append whole frames, and removes what it has written.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether the socket may be closed once the output is written.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether requests are served: a virtual host is open, and neither side has asked to close.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Largest frame in bytes that may be sent; 0 means no limit.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Highest channel number; 0 means no limit.
    pub fn channel_max(&self) -> u16 {
        self.channel_max
    }

    /// Negotiated heartbeat interval in seconds; 0 means none.
    pub fn heartbeat_s(&self) -> u16 {
        self.liveness.interval_s()
    }

    /// Whether `channel` can be sent on.
    pub fn is_open(&self, channel: u16) -> bool {
        self.phase == Phase::Running
            && self
                .channel(channel)
                .is_some_and(|channel| channel.state == State::Open)
    }

    /// How many channels are open or closing.
    pub fn channels_open(&self) -> usize {
        self.channels_open
    }

    /// Bytes of messages that are not whole yet, over all channels.
    pub fn assembled_bytes(&self) -> u64 {
        self.assembled_bytes
    }

    /// When to call [`Connection::tick`] next.
    pub fn deadline(&self) -> Option<Millis> {
        let handshake = self
            .is_shaking_hands()
            .then(|| self.started.plus(self.settings.handshake_ms_max));
        let liveness = if self.is_listening() {
            self.liveness.deadline()
        } else {
            None
        };
        [handshake, self.close_at, liveness].into_iter().flatten().min()
    }

    /// Lets time pass: sends heartbeats, ends what took too long.
    pub fn tick(&mut self, now: Millis) -> Option<Event> {
        self.now = self.now.max(now);
        if self.close_at.is_some_and(|at| now >= at) {
            self.finish();
            return None;
        }
        if self.is_shaking_hands() {
            let limit = self.settings.handshake_ms_max;
            return (now >= self.started.plus(limit))
                .then(|| self.fail_silently(Failure::HandshakeTimeout(limit)));
        }
        if !self.is_listening() {
            return None;
        }
        if self.liveness.is_dead(now) {
            let interval = self.liveness.interval_s();
            return Some(self.fail_silently(Failure::HeartbeatTimeout(interval)));
        }
        if self.liveness.must_send(now) {
            self.out.extend_from_slice(&frame::HEARTBEAT_FRAME);
            self.liveness.sent(now);
        }
        None
    }

    /// Bytes of the output were written: no heartbeat is needed for a while.
    pub fn note_sent(&mut self, now: Millis) {
        self.liveness.sent(now);
    }

    /// The driver stops reading for a while (back-pressure), so the client's silence means nothing.
    pub fn pause_reading(&mut self) {
        self.liveness.pause();
    }

    /// The driver reads again.
    pub fn resume_reading(&mut self, now: Millis) {
        self.liveness.resume(now);
    }

    /// Ends a channel with an error, or the whole connection when the code says so; tells which. On a channel
    /// that is not open nothing happens. What the channel held must be given back by the driver; no event
    /// follows.
    pub fn fail(&mut self, channel: u16, error: Error) -> Scope {
        let scope = if channel == 0 {
            Scope::Connection
        } else {
            error.code.scope()
        };
        match scope {
            Scope::Channel if self.is_open(channel) => self.send_channel_close(channel, &error),
            Scope::Channel => {}
            Scope::Connection => drop(self.send_connection_close(&error)),
        }
        scope
    }

    /// Tells the client what it did wrong; the event says so to the driver, unless the connection is over
    /// already.
    fn raise(&mut self, fault: Fault) -> Option<Event> {
        let (error, fatal) = match fault {
            Fault::Channel(channel, error) if error.code.scope() == Scope::Channel => {
                self.send_channel_close(channel, &error);
                return Some(Event::ChannelFailed { channel, error });
            }
            Fault::Channel(_, error) | Fault::Connection(error) => (error, false),
            Fault::Fatal(error) => (error, true),
        };
        let news = self.send_connection_close(&error);
        if fatal {
            self.become_deaf();
        }
        news.then_some(Event::Failed {
            reason: Failure::Protocol(error),
        })
    }

    fn send_channel_close(&mut self, number: u16, error: &Error) {
        let close = channel_class::Close {
            reply_code: error.code.number(),
            reply_text: error.reply_text(),
            class_id: error.class,
            method_id: error.method,
        };
        self.send(number, &close.into());
        if let Some(channel) = self
            .channels
            .get_mut(usize::from(number))
            .and_then(Option::as_mut)
        {
            self.assembled_bytes = self.assembled_bytes.saturating_sub(channel.assembled_bytes());
            // Everything it held is dropped here; only the state must outlive the channel until the answer.
            **channel = Channel::new(self.incarnation);
            channel.state = State::CloseSent;
        }
    }

    /// Says that the connection is over; `false` when that has been said before.
    fn send_connection_close(&mut self, error: &Error) -> bool {
        let patience_ms = match self.phase {
            Phase::CloseSent | Phase::Deaf | Phase::Finished => return false,
            // Whoever has not logged in deserves no long wait.
            _ if self.is_shaking_hands() => LINGER_MS,
            _ => match u64::from(self.liveness.interval_s()) * 1000 {
                0 => CLOSE_MS_MAX,
                interval_ms => interval_ms.min(CLOSE_MS_MAX),
            },
        };
        if self.phase == Phase::ProtocolHeader {
            // Nothing may be said before the client has said which protocol it speaks.
            self.finish();
            return true;
        }
        let close = connection_class::Close {
            reply_code: error.code.number(),
            reply_text: error.reply_text(),
            class_id: error.class,
            method_id: error.method,
        };
        self.send(0, &close.into());
        self.drop_channels();
        self.phase = Phase::CloseSent;
        self.close_at = Some(self.now.plus(patience_ms));
        true
    }

    fn become_deaf(&mut self) {
        self.phase = Phase::Deaf;
        self.streaming = None;
        self.close_at = Some(self.now.plus(LINGER_MS));
    }

    /// Ends without a word: the client would not hear or understand it.
    fn fail_silently(&mut self, reason: Failure) -> Event {
        self.finish();
        Event::Failed { reason }
    }

    fn finish(&mut self) {
        self.drop_channels();
        self.phase = Phase::Finished;
        self.streaming = None;
        self.close_at = None;
    }

    fn drop_channels(&mut self) {
        self.channels.clear();
        self.channels_open = 0;
        self.confirms_ready.clear();
        self.assembled_bytes = 0;
    }

    fn send(&mut self, channel: u16, method: &Method) {
        frame::write_method(&mut self.out, channel, method);
    }

    fn channel(&self, number: u16) -> Option<&Channel> {
        self.channels.get(usize::from(number))?.as_deref()
    }

    fn channel_mut(&mut self, number: u16) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(number))?.as_deref_mut()
    }

    fn check_handshake_bytes(&mut self, waiting: usize) -> Option<Event> {
        let limit = self.settings.handshake_bytes_max;
        let over = self.is_logging_in() && self.handshake_bytes + waiting as u64 > u64::from(limit);
        over.then(|| self.fail_silently(Failure::HandshakeBytes(limit)))
    }

    /// No virtual host is open yet, and nothing has gone wrong.
    fn is_shaking_hands(&self) -> bool {
        self.is_logging_in() || self.phase == Phase::Opening
    }

    /// As before, and the client has not asked for a virtual host yet.
    fn is_logging_in(&self) -> bool {
        matches!(
            self.phase,
            Phase::ProtocolHeader | Phase::StartOk | Phase::Authenticating | Phase::TuneOk | Phase::Open
        )
    }

    /// Heartbeats matter.
    fn is_listening(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::CloseRequested)
    }
}
