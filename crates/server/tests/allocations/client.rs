//! A client on a socket: what it says on the hot path is written beforehand, and what it hears is only counted.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, connection};
use everack_amqp::wire::primitive::ShortString;

use crate::PATIENCE;

const PROTOCOL_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
const CHANNEL: u16 = 1;
/// Of a frame: type, channel and size before its payload, one byte behind it.
const HEAD_BYTES: usize = 7;
const FRAME_METHOD: u8 = 1;

/// A connection with one channel.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    read: usize,
}

/// What a hot path hears.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).expect("a socket of ours");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        let mut client = Self {
            stream,
            input: vec![0; 1 << 20],
            read: 0,
        };
        client.send(PROTOCOL_HEADER);
        client.hear();
        client.call(
            0,
            connection::StartOk {
                mechanism: short("PLAIN"),
                response: b"\0guest\0guest".to_vec(),
                locale: short("en_US"),
                ..connection::StartOk::default()
            },
        );
        client.say(
            0,
            connection::TuneOk {
                channel_max: 10,
                frame_max: 131_072,
                heartbeat: 0,
            },
        );
        client.call(
            0,
            connection::Open {
                virtual_host: short("/"),
            },
        );
        client.call(CHANNEL, channel::Open::default());
        Some(client)
    }

    /// Says a method on its channel and waits for the answer.
    pub(crate) fn ask(&mut self, method: impl Into<Method>) {
        self.call(CHANNEL, method);
    }

    pub(crate) fn ack(&mut self, tag: u64) {
        self.say(
            CHANNEL,
            basic::Ack {
                delivery_tag: tag,
                multiple: true,
            },
        );
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Reads until `enough` has been heard.
    pub(crate) fn listen(&mut self, heard: &mut Heard, enough: impl Fn(&Heard) -> bool) {
        while !enough(heard) {
            self.fill();
            while let Some((head, payload)) = self.next_frame() {
                if head == FRAME_METHOD {
                    heard.note(&self.input[payload.clone()]);
                }
                self.input.copy_within(payload.end + 1..self.read, 0);
                self.read -= payload.end + 1;
            }
        }
    }

    fn call(&mut self, channel: u16, method: impl Into<Method>) {
        self.say(channel, method);
        self.hear();
    }

    fn say(&mut self, channel: u16, method: impl Into<Method>) {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method.into());
        self.send(&bytes);
    }

    /// Waits for one frame.
    fn hear(&mut self) {
        loop {
            if let Some((_, payload)) = self.next_frame() {
                self.input.copy_within(payload.end + 1..self.read, 0);
                self.read -= payload.end + 1;
                return;
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let bytes = self
            .stream
            .read(&mut self.input[self.read..])
            .expect("the broker answers");
        assert!(bytes > 0, "the broker hung up: {:?}", &self.input[..self.read]);
        self.read += bytes;
    }

    /// The type of the first whole frame and where its payload lies.
    fn next_frame(&self) -> Option<(u8, std::ops::Range<usize>)> {
        let bytes = &self.input[..self.read];
        let head = Head::read(bytes)?;
        let end = HEAD_BYTES + head.size as usize;
        (end < bytes.len()).then_some((head.kind, HEAD_BYTES..end))
    }
}

impl Heard {
    fn note(&mut self, payload: &[u8]) {
        let number = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().expect("eight bytes"));
        match payload[..4] {
            // basic.deliver, behind the consumer's tag.
            [0, 60, 0, 60] => {
                self.deliveries += 1;
                self.tag = number(5 + usize::from(payload[4]));
            }
            [0, 60, 0, 80] => self.confirmed = number(4),
            _ => panic!("the broker says {payload:?}"),
        }
    }
}
