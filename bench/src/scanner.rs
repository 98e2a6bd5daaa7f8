//! What a broker sends, taken apart with the least work that still checks it: frame ends, frame order, body sizes.
//!
//! The scanner walks a buffer of bytes as they came and tells a [`Sink`] what it finds. It copies nothing and
//! allocates nothing; whatever is incomplete at the end of the buffer is left for the next call.

use crate::wire::{self, FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD, MethodId, id};

/// How many bytes at the head of a body are shown to the sink at most.
pub const HEAD_BYTES: usize = 16;

/// Who wants to know what the broker sent.
pub trait Sink {
    /// A message begins: `basic.deliver`. Its body follows.
    fn deliver(&mut self, consumer_tag: &[u8], delivery_tag: u64, redelivered: bool);
    /// A message came back: `basic.return`. Its body follows.
    fn returned(&mut self, code: u16, text: &[u8]);
    /// The message that began last is here in full. `head` is the first 16 bytes of its body, or all if shorter.
    fn content(&mut self, size: u64, head: &[u8]);
    /// `basic.ack` (`positive`) or `basic.nack` from the broker.
    fn confirm(&mut self, tag: u64, multiple: bool, positive: bool) -> Result<(), Error>;
    /// Any other method.
    fn method(&mut self, id: MethodId, arguments: &[u8]) -> Result<(), Error>;
}

/// What ends a connection's part in a run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not AMQP as specified.
    #[error("the broker sent {0}")]
    Protocol(&'static str),
    /// The broker closed the channel.
    #[error("the broker closed the channel: {0}")]
    ChannelClosed(String),
    /// The broker closed the connection.
    #[error("the broker closed the connection: {0}")]
    ConnectionClosed(String),
    /// The broker cancelled our consumer.
    #[error("the broker cancelled a consumer (was its queue deleted?)")]
    ConsumerCancelled,
    /// A confirm that fits no publish.
    #[error("the broker confirmed {tag}, but {what}")]
    Confirm {
        /// The delivery tag of the confirm.
        tag: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

enum State {
    /// Between messages.
    Method,
    /// After deliver or return: the header frame must follow.
    Header,
    /// `left` bytes of the body are still to come in frames.
    Body { left: u64 },
    /// In the middle of a large body frame: `frame_left` bytes of it with its end byte, then `left` in later frames.
    Inside { frame_left: usize, left: u64 },
}

/// One connection's place in the stream.
pub struct Scanner {
    state: State,
    frame_bytes_max: usize,
    size: u64,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
}

impl Scanner {
    /// For a connection that agreed on frames of at most `frame_max` bytes.
    pub fn new(frame_max: u32) -> Self {
        let frame_bytes_max = if frame_max == 0 {
            usize::MAX
        } else {
            frame_max as usize
        };
        Self {
            state: State::Method,
            frame_bytes_max,
            size: 0,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
        }
    }

    /// Walks `buffer` and answers how many bytes of it are done with.
    #[inline]
    pub fn scan<S: Sink>(&mut self, buffer: &[u8], sink: &mut S) -> Result<usize, Error> {
        let mut at = 0;
        loop {
            if let State::Inside { frame_left, left } = self.state {
                let take = frame_left.min(buffer.len() - at);
                at += take;
                if take < frame_left {
                    self.state = State::Inside {
                        frame_left: frame_left - take,
                        left,
                    };
                    return Ok(at);
                }
                self.check_end(buffer[at - 1])?;
                self.body_done(left, sink);
            }
            let rest = &buffer[at..];
            if rest.len() < 7 {
                return Ok(at);
            }
            let size = u32::from_be_bytes([rest[3], rest[4], rest[5], rest[6]]) as usize;
            let total = size + wire::FRAME_OVERHEAD;
            if total > self.frame_bytes_max {
                return Err(Error::Protocol("a frame larger than agreed"));
            }
            if rest.len() < total {
                let begun = rest[0] == FRAME_BODY && rest.len() >= 7 + size.min(HEAD_BYTES);
                if begun && let State::Body { left } = self.state {
                    self.begin_large_body(&rest[7..], size, left)?;
                    self.state = State::Inside {
                        frame_left: total - rest.len(),
                        left: left - size as u64,
                    };
                    return Ok(buffer.len());
                }
                return Ok(at);
            }
            self.check_end(rest[total - 1])?;
            self.frame(rest[0], &rest[1..3], &rest[7..total - 1], sink)?;
            at += total;
        }
    }

    #[inline]
    fn frame<S: Sink>(
        &mut self,
        kind: u8,
        channel: &[u8],
        payload: &[u8],
        sink: &mut S,
    ) -> Result<(), Error> {
        match (kind, &self.state) {
            (FRAME_METHOD, State::Method) => self.method(payload, sink),
            (FRAME_HEADER, State::Header) => {
                let bytes = payload
                    .get(4..12)
                    .ok_or(Error::Protocol("a content header cut short"))?;
                self.size = u64::from_be_bytes(bytes.try_into().expect("the slice has 8 bytes"));
                self.head_bytes = 0;
                self.body_done(self.size, sink);
                Ok(())
            }
            (FRAME_BODY, &State::Body { left }) => {
                let size = payload.len() as u64;
                if size > left {
                    return Err(Error::Protocol("a body longer than announced"));
                }
                self.keep_head(payload);
                self.body_done(left - size, sink);
                Ok(())
            }
            (FRAME_HEARTBEAT, _) => Ok(()),
            // Channel 0 may speak in the middle of a content: connection.blocked, connection.close.
            (FRAME_METHOD, _) if channel == [0, 0] => self.method(payload, sink),
            _ => Err(Error::Protocol("a frame out of order")),
        }
    }

    #[inline]
    fn method<S: Sink>(&mut self, payload: &[u8], sink: &mut S) -> Result<(), Error> {
        const SHORT: Error = Error::Protocol("a method cut short");
        let (head, arguments) = payload.split_at_checked(4).ok_or(SHORT)?;
        let method = (
            u16::from_be_bytes([head[0], head[1]]),
            u16::from_be_bytes([head[2], head[3]]),
        );
        match method {
            id::BASIC_DELIVER => {
                let length = usize::from(*arguments.first().ok_or(SHORT)?);
                let (consumer_tag, rest) = arguments[1..].split_at_checked(length).ok_or(SHORT)?;
                let fixed: &[u8; 9] = rest.first_chunk().ok_or(SHORT)?;
                let [tag @ .., redelivered] = fixed;
                sink.deliver(consumer_tag, u64::from_be_bytes(*tag), *redelivered != 0);
                self.state = State::Header;
                Ok(())
            }
            id::BASIC_ACK | id::BASIC_NACK => {
                let fixed: &[u8; 9] = arguments.first_chunk().ok_or(SHORT)?;
                let [tag @ .., bits] = fixed;
                sink.confirm(u64::from_be_bytes(*tag), bits & 1 != 0, method == id::BASIC_ACK)
            }
            id::BASIC_RETURN => {
                let mut reader = wire::Reader::new(arguments);
                let code = reader.u16().ok_or(SHORT)?;
                sink.returned(code, reader.short_string().ok_or(SHORT)?);
                self.state = State::Header;
                Ok(())
            }
            id::CHANNEL_CLOSE => Err(Error::ChannelClosed(wire::close_reason(arguments))),
            id::CONNECTION_CLOSE => Err(Error::ConnectionClosed(wire::close_reason(arguments))),
            id::BASIC_CANCEL => Err(Error::ConsumerCancelled),
            other => sink.method(other, arguments),
        }
    }

    fn begin_large_body(&mut self, payload: &[u8], size: usize, left: u64) -> Result<(), Error> {
        if size as u64 > left {
            return Err(Error::Protocol("a body longer than announced"));
        }
        self.keep_head(&payload[..payload.len().min(size)]);
        Ok(())
    }

    #[inline]
    fn keep_head(&mut self, payload: &[u8]) {
        let take = payload.len().min(HEAD_BYTES - self.head_bytes);
        self.head[self.head_bytes..self.head_bytes + take].copy_from_slice(&payload[..take]);
        self.head_bytes += take;
    }

    #[inline]
    fn body_done<S: Sink>(&mut self, left: u64, sink: &mut S) {
        if left > 0 {
            self.state = State::Body { left };
        } else {
            self.state = State::Method;
            sink.content(self.size, &self.head[..self.head_bytes]);
        }
    }

    #[inline]
    fn check_end(&self, byte: u8) -> Result<(), Error> {
        if byte == FRAME_END {
            Ok(())
        } else {
            Err(Error::Protocol("a frame without its end byte"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{frame, method, short_string};

    #[derive(Default, Debug, PartialEq)]
    struct Seen {
        deliveries: Vec<(u64, bool)>,
        bodies: Vec<(u64, Vec<u8>)>,
        confirms: Vec<(u64, bool, bool)>,
        returns: Vec<u16>,
        methods: Vec<MethodId>,
    }

    impl Sink for Seen {
        fn deliver(&mut self, consumer_tag: &[u8], delivery_tag: u64, redelivered: bool) {
            assert_eq!(consumer_tag, b"t");
            self.deliveries.push((delivery_tag, redelivered));
        }
        fn returned(&mut self, code: u16, _text: &[u8]) {
            self.returns.push(code);
        }
        fn content(&mut self, size: u64, head: &[u8]) {
            self.bodies.push((size, head.to_vec()));
        }
        fn confirm(&mut self, tag: u64, multiple: bool, positive: bool) -> Result<(), Error> {
            self.confirms.push((tag, multiple, positive));
            Ok(())
        }
        fn method(&mut self, id: MethodId, _arguments: &[u8]) -> Result<(), Error> {
            self.methods.push(id);
            Ok(())
        }
    }

    fn delivery(out: &mut Vec<u8>, tag: u64, body: &[u8], piece: usize) {
        method(out, 1, id::BASIC_DELIVER, |out| {
            short_string(out, b"t");
            out.extend_from_slice(&tag.to_be_bytes());
            out.push(0);
            short_string(out, b"");
            short_string(out, b"key");
        });
        header_and_body(out, body, piece);
    }

    fn header_and_body(out: &mut Vec<u8>, body: &[u8], piece: usize) {
        frame(out, FRAME_HEADER, 1, |out| {
            out.extend_from_slice(&[0, 60, 0, 0]);
            out.extend_from_slice(&(body.len() as u64).to_be_bytes());
            out.extend_from_slice(&[0, 0]);
        });
        for piece in body.chunks(piece) {
            frame(out, FRAME_BODY, 1, |out| out.extend_from_slice(piece));
        }
    }

    fn stream() -> (Vec<u8>, Seen) {
        let body: Vec<u8> = (0..100).collect();
        let mut bytes = Vec::new();
        delivery(&mut bytes, 1, b"", 10);
        delivery(&mut bytes, 2, b"short", 10);
        delivery(&mut bytes, 3, &body, 100);
        bytes.extend_from_slice(wire::HEARTBEAT);
        wire::ack(&mut bytes, 9, true);
        delivery(&mut bytes, 4, &body, 7);
        method(&mut bytes, 1, id::BASIC_RETURN, |out| {
            out.extend_from_slice(&312_u16.to_be_bytes());
            short_string(out, b"NO_ROUTE");
            short_string(out, b"");
            short_string(out, b"key");
        });
        header_and_body(&mut bytes, b"back", 10);
        method(&mut bytes, 0, id::CONNECTION_BLOCKED, |out| {
            short_string(out, b"low on memory")
        });
        let head = body[..HEAD_BYTES].to_vec();
        let seen = Seen {
            deliveries: vec![(1, false), (2, false), (3, false), (4, false)],
            bodies: vec![
                (0, vec![]),
                (5, b"short".to_vec()),
                (100, head.clone()),
                (100, head),
                (4, b"back".to_vec()),
            ],
            confirms: vec![(9, true, true)],
            returns: vec![312],
            methods: vec![id::CONNECTION_BLOCKED],
        };
        (bytes, seen)
    }

    #[test]
    fn the_same_is_seen_however_the_bytes_are_cut() {
        let (bytes, expected) = stream();
        for piece in 1..bytes.len() {
            let mut scanner = Scanner::new(4096);
            let mut seen = Seen::default();
            let mut waiting = Vec::new();
            for part in bytes.chunks(piece) {
                waiting.extend_from_slice(part);
                let used = scanner.scan(&waiting, &mut seen).expect("the stream is sound");
                waiting.drain(..used);
            }
            assert!(waiting.is_empty(), "bytes left over in pieces of {piece}");
            assert_eq!(seen, expected, "in pieces of {piece}");
        }
    }

    fn check_refused(bytes: &[u8], expected: Error) {
        let mut seen = Seen::default();
        assert_eq!(Scanner::new(4096).scan(bytes, &mut seen), Err(expected));
    }

    #[test]
    fn what_is_not_amqp_is_refused() {
        check_refused(
            &[1, 0, 1, 0, 0, 0, 0, 0],
            Error::Protocol("a frame without its end byte"),
        );
        check_refused(
            &[1, 0, 1, 0, 0, 0, 0, FRAME_END],
            Error::Protocol("a method cut short"),
        );
        check_refused(
            &[1, 0, 1, 1, 0, 0, 0],
            Error::Protocol("a frame larger than agreed"),
        );
        check_refused(
            &[3, 0, 1, 0, 0, 0, 0, FRAME_END],
            Error::Protocol("a frame out of order"),
        );
        let mut bytes = Vec::new();
        delivery(&mut bytes, 1, b"ab", 10);
        frame(&mut bytes, FRAME_HEADER, 1, |out| out.extend_from_slice(&[0; 14]));
        check_refused(&bytes, Error::Protocol("a frame out of order"));
        let mut bytes = Vec::new();
        delivery(&mut bytes, 1, b"abcd", 2);
        let announced = bytes.len() - 2 * (wire::FRAME_OVERHEAD + 2) - 4;
        bytes[announced] = 1;
        check_refused(&bytes, Error::Protocol("a body longer than announced"));
    }

    #[test]
    fn a_close_is_told_with_the_brokers_text() {
        let mut bytes = Vec::new();
        method(&mut bytes, 1, id::CHANNEL_CLOSE, |out| {
            out.extend_from_slice(&404_u16.to_be_bytes());
            short_string(out, b"NOT_FOUND - no queue 'x' in vhost '/'");
            out.extend_from_slice(&[0; 4]);
        });
        check_refused(
            &bytes,
            Error::ChannelClosed("404 NOT_FOUND - no queue 'x' in vhost '/'".to_owned()),
        );
    }
}
