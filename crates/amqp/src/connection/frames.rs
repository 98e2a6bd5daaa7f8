//! One frame at a time: is it whole, is it allowed here, whose is it. What a method means is decided
//! elsewhere.
//!
//! Bodies are taken as they come, also within a frame: a message larger than the read buffer never has to fit
//! it.

use bytes::{Buf, BytesMut};

use super::channel::{Expected, PUBLISH, State, unexpected_header};
use super::{Connection, Fault, Phase, Step, Streaming};
use crate::error::{Binary, Error, ReplyCode};
use crate::event::Event;
use crate::wire::frame::{self, ContentHeader, HEAD_BYTES, Head, OVERHEAD_BYTES};
use crate::wire::method::{Method, MethodError};

/// Largest frame, other than a body frame, when none was negotiated.
const UNLIMITED_FRAME_BYTES_MAX: u32 = 1 << 20;

impl Connection {
    /// Looks at the front of the input as a frame.
    pub(super) fn frame(&mut self, input: &mut BytesMut) -> Result<Step, Fault> {
        if let Some(streaming) = self.streaming {
            return self.stream(input, streaming);
        }
        if self.phase == Phase::Running
            && let Some(step) = self.hot_frames(input)?
        {
            return Ok(step);
        }
        let Some(head) = Head::read(input) else {
            return Ok(Step::Wait(HEAD_BYTES));
        };
        self.check_size(head)?;
        if self.is_streamed(head) {
            self.begin_body(head)?;
            input.advance(HEAD_BYTES);
            self.streaming = Some(Streaming {
                head,
                left: head.size,
            });
            return Ok(Step::Again);
        }
        let Some(&end) = input.get(HEAD_BYTES + head.size as usize) else {
            return Ok(Step::Wait(head.frame_bytes()));
        };
        let payload = &input[HEAD_BYTES..HEAD_BYTES + head.size as usize];
        if end != frame::END {
            return Err(Fault::Fatal(wrong_end(head.kind, payload, end)));
        }
        let step = self.whole_frame(head, payload);
        input.advance(head.frame_bytes());
        step
    }

    /// A frame larger than agreed cannot be skipped either: it might never end. RabbitMQ allows eight bytes
    /// more than agreed, because clients get that wrong.
    fn check_size(&self, head: Head) -> Result<(), Fault> {
        let (max, payload_max) = match self.frame_max {
            0 if self.is_streamed(head) => return Ok(()),
            0 => (UNLIMITED_FRAME_BYTES_MAX, UNLIMITED_FRAME_BYTES_MAX),
            max => (max - OVERHEAD_BYTES as u32, max),
        };
        if head.size <= payload_max {
            return Ok(());
        }
        let what = format!("{{frame_too_large,{},{max}}}", head.size);
        Err(Fault::Fatal(frame_error(head.kind, &[], &what)))
    }

    /// Whether the payload is taken as it comes, so that the frame never has to be in the input as a whole.
    fn is_streamed(&self, head: Head) -> bool {
        let listening = matches!(self.phase, Phase::Running | Phase::CloseSent);
        head.kind == frame::BODY && head.channel != 0 && listening
    }

    fn whole_frame(&mut self, head: Head, payload: &[u8]) -> Result<Step, Fault> {
        let known = match head.kind {
            frame::METHOD => payload.len() >= 4,
            frame::HEADER => payload.len() >= ContentHeader::FIXED_BYTES,
            frame::HEARTBEAT => payload.is_empty(),
            kind => kind == frame::BODY,
        };
        match (self.phase, head.channel) {
            (Phase::CloseSent, 0) if head.kind == frame::METHOD && known => self.closing_method(payload),
            (Phase::CloseSent, _) => Ok(Step::Again),
            _ if !known => Err(Fault::Connection(frame_error(
                head.kind,
                payload,
                "unknown_frame",
            ))),
            (_, 0) if head.kind == frame::HEARTBEAT => Ok(Step::Again),
            (_, 0) if head.kind == frame::METHOD => self.connection_method(payload),
            (Phase::Running, number) if number != 0 && head.kind != frame::HEARTBEAT => {
                self.channel_frame(head, payload)
            }
            _ => Err(Fault::Connection(unexpected(head.kind, payload))),
        }
    }

    /// We have asked to close and wait for the answer; a client that asks at the same time is answered.
    fn closing_method(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        match decode(payload) {
            Ok(Method::ConnectionCloseOk(_)) => self.finish(),
            Ok(Method::ConnectionClose(_)) => {
                self.send(0, &crate::wire::method::connection::CloseOk {}.into());
            }
            _ => {}
        }
        Ok(Step::Again)
    }

    fn connection_method(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        let method = decode(payload).map_err(Fault::Connection)?;
        match method {
            Method::ConnectionClose(close) => {
                self.phase = Phase::CloseRequested;
                Ok(Step::Event(Event::CloseRequested {
                    code: close.reply_code,
                    text: close.reply_text,
                }))
            }
            Method::ConnectionUpdateSecret(_) if self.phase == Phase::Running => {
                Ok(Step::Event(Event::Method { channel: 0, method }))
            }
            _ => self.handshake_method(method),
        }
    }

    /// A method or header frame on a channel.
    fn channel_frame(&mut self, head: Head, payload: &[u8]) -> Result<Step, Fault> {
        let number = head.channel;
        let fail = |error| Err(Fault::Channel(number, error));
        let Some(channel) = self.channel_mut(number) else {
            return match head.kind {
                frame::METHOD => self.method_without_channel(number, decode(payload)),
                _ => fail(expected_method()),
            };
        };
        let expected = channel.assembly.as_ref().map(|assembly| assembly.expected());
        match (channel.state, expected, head.kind) {
            (State::Open, None, frame::METHOD) => match decode(payload) {
                Ok(method) => self.channel_method(number, method),
                Err(error) => fail(error),
            },
            (State::Open, Some(Expected::Header), frame::HEADER) => self.content_header(number, payload),
            (State::Open, None, _) => fail(expected_method()),
            (State::Open, Some(Expected::Header), _) => fail(unexpected_header()),
            (State::Open, Some(Expected::Body(_)), _) => fail(expected_body()),
            (_, _, frame::METHOD) => Ok(self.method_on_closing(number, decode(payload))),
            _ => Ok(Step::Again),
        }
    }

    fn content_header(&mut self, number: u16, payload: &[u8]) -> Result<Step, Fault> {
        let settings = self.settings.clone();
        let Some(assembly) = self
            .channel_mut(number)
            .and_then(|channel| channel.assembly.as_mut())
        else {
            return Ok(Step::Again);
        };
        assembly
            .header(payload, &settings)
            .map_err(|error| Fault::Channel(number, error))?;
        let complete = assembly.is_complete();
        self.take_assembly_bytes(payload.len())?;
        Ok(if complete {
            self.finish_assembly(number)
        } else {
            Step::Again
        })
    }

    /// Whether a body frame may begin here.
    fn begin_body(&mut self, head: Head) -> Result<(), Fault> {
        let fail = |error| Err(Fault::Channel(head.channel, error));
        if self.phase != Phase::Running {
            return Ok(());
        }
        let Some(channel) = self.channel(head.channel) else {
            return fail(expected_method());
        };
        if channel.state != State::Open {
            return Ok(());
        }
        match channel.assembly.as_ref().map(|assembly| assembly.expected()) {
            None => fail(expected_method()),
            Some(Expected::Header) => fail(unexpected_header()),
            Some(Expected::Body(missing)) if u64::from(head.size) > missing => {
                let text = "content body frame exceeds remaining content size";
                fail(Error::new(ReplyCode::FrameError, text).caused_by(PUBLISH))
            }
            Some(Expected::Body(_)) => Ok(()),
        }
    }

    /// Takes what has come of a body frame.
    fn stream(&mut self, input: &mut BytesMut, streaming: Streaming) -> Result<Step, Fault> {
        let Streaming { head, left } = streaming;
        let count = input.len().min(left as usize);
        self.body_piece(head.channel, &input[..count])?;
        input.advance(count);
        let left = left - count as u32;
        self.streaming = Some(Streaming { head, left });
        if left > 0 || input.is_empty() {
            return Ok(Step::Wait(1));
        }
        let end = input[0];
        if end != frame::END {
            return Err(Fault::Fatal(wrong_end(head.kind, &[], end)));
        }
        input.advance(1);
        self.streaming = None;
        let complete = self
            .channel(head.channel)
            .and_then(|channel| channel.assembly.as_ref())
            .is_some_and(|assembly| assembly.is_complete());
        Ok(if complete {
            self.finish_assembly(head.channel)
        } else {
            Step::Again
        })
    }

    fn body_piece(&mut self, number: u16, piece: &[u8]) -> Result<(), Fault> {
        let Some(assembly) = self
            .channel_mut(number)
            .and_then(|channel| channel.assembly.as_mut())
        else {
            return Ok(());
        };
        assembly.body(piece);
        self.take_assembly_bytes(piece.len())
    }

    /// Counts bytes of unfinished messages against the connection's share.
    pub(super) fn take_assembly_bytes(&mut self, count: usize) -> Result<(), Fault> {
        self.assembled_bytes += count as u64;
        let max = self.settings.assembly_bytes_max;
        if self.assembled_bytes <= max {
            return Ok(());
        }
        let text = format!("unfinished messages on this connection are larger than {max} bytes");
        Err(Fault::Connection(
            Error::new(ReplyCode::ResourceError, text).caused_by(PUBLISH),
        ))
    }
}

/// Reads the payload of a method frame.
fn decode(payload: &[u8]) -> Result<Method, Error> {
    let Some((ids, arguments)) = payload.split_first_chunk::<4>() else {
        return Err(frame_error(frame::METHOD, payload, "unknown_frame"));
    };
    let class = u16::from_be_bytes([ids[0], ids[1]]);
    let method = u16::from_be_bytes([ids[2], ids[3]]);
    Method::decode(class, method, arguments).map_err(|wrong| {
        let code = match wrong {
            MethodError::UnknownClass(_) => ReplyCode::CommandInvalid,
            MethodError::UnknownMethod(..) => ReplyCode::NotImplemented,
            MethodError::Malformed(_) => ReplyCode::SyntaxError,
        };
        Error::new(code, wrong.to_string()).caused_by((class, method))
    })
}

fn expected_method() -> Error {
    Error::new(
        ReplyCode::UnexpectedFrame,
        "expected method frame, got non method frame instead",
    )
}

fn expected_body() -> Error {
    let text = "expected content body, got non content body frame instead";
    Error::new(ReplyCode::UnexpectedFrame, text).caused_by(PUBLISH)
}

fn wrong_end(kind: u8, payload: &[u8], end: u8) -> Error {
    frame_error(kind, payload, &format!("{{invalid_frame_end_marker,{end}}}"))
}

fn frame_error(kind: u8, payload: &[u8], what: &str) -> Error {
    Error::new(
        ReplyCode::FrameError,
        format!("{}: {what}", describe(kind, payload)),
    )
}

fn unexpected(kind: u8, payload: &[u8]) -> Error {
    Error::new(ReplyCode::UnexpectedFrame, describe(kind, payload))
}

fn describe(kind: u8, payload: &[u8]) -> String {
    match payload.get(..16).filter(|_| payload.len() > 16) {
        None => format!("type {kind}, all octets = {}", Binary(payload)),
        Some(first) => format!("type {kind}, first 16 octets = {}", Binary(first)),
    }
}
