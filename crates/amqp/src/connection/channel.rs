//! One channel: its state, its mode, and the message that is being received on it.

use bytes::Bytes;

use crate::confirms::Confirms;
use crate::content::{Batch, entry_flags};
use crate::deliveries::Deliveries;
use crate::error::{Error, ReplyCode};
use crate::settings::Settings;
use crate::wire::frame::ContentHeader;
use crate::wire::primitive::{ShortString, put_short_string};
use crate::wire::properties;

/// Class and method of `basic.publish`, the only method of clients that carries content.
pub(super) const PUBLISH: (u16, u16) = (60, 40);

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) state: State,
    pub(super) mode: Mode,
    /// A message that did not come in one piece.
    pub(super) assembly: Option<Box<Assembly>>,
    pub(super) confirms: Confirms,
    /// It is in the connection's list of channels with confirms to send.
    pub(super) confirms_listed: bool,
    pub(super) deliveries: Deliveries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The client asked to close; the driver has not agreed yet.
    CloseRequested,
    /// We sent `channel.close`; everything but the answer is ignored.
    CloseSent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Confirm,
    Transaction,
}

impl Channel {
    pub(super) fn new(incarnation: u32) -> Channel {
        Channel {
            state: State::Open,
            mode: Mode::Plain,
            assembly: None,
            confirms: Confirms::new(incarnation),
            confirms_listed: false,
            deliveries: Deliveries::new(),
        }
    }

    /// Numbers for `count` publishes, or 0 when they are not confirmed.
    pub(super) fn number(&mut self, count: usize) -> u64 {
        if self.mode == Mode::Confirm {
            self.confirms.number(count as u64)
        } else {
            0
        }
    }

    /// How much unfinished content it holds.
    pub(super) fn assembled_bytes(&self) -> u64 {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.parts.len() as u64)
    }
}

/// A message that is being received in pieces. It grows with what has arrived, never with what was announced.
#[derive(Debug)]
pub(super) struct Assembly {
    /// Address, then header, then body, as far as they have come.
    parts: Vec<u8>,
    address_len: usize,
    mandatory: bool,
    /// `None` until the header has come.
    header: Option<Header>,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    len: usize,
    flags: u16,
    /// Bytes of the body that are still to come.
    missing: u64,
}

/// What an assembly waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Header,
    /// So many more bytes of body.
    Body(u64),
}

impl Assembly {
    pub(super) fn new(exchange: &ShortString, routing_key: &ShortString, mandatory: bool) -> Assembly {
        let mut address = Vec::with_capacity(2 + exchange.len() + routing_key.len());
        put_short_string(&mut address, exchange);
        put_short_string(&mut address, routing_key);
        let address_len = address.len();
        Assembly {
            parts: address,
            address_len,
            mandatory,
            header: None,
        }
    }

    pub(super) fn expected(&self) -> Expected {
        self.header
            .map_or(Expected::Header, |header| Expected::Body(header.missing))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.expected() == Expected::Body(0)
    }

    /// Takes the payload of the header frame. An error closes the connection, or the channel when only the
    /// size is wrong, as its code says.
    pub(super) fn header(&mut self, payload: &[u8], settings: &Settings) -> Result<(), Error> {
        let header = ContentHeader::read(payload).map_err(|wrong| malformed(wrong.to_string()))?;
        if header.weight != 0 {
            return Err(unexpected_header());
        }
        if header.class != PUBLISH.0 {
            let text = format!(
                "expected content header for class 60, got one for class {} instead",
                header.class
            );
            return Err(Error::new(ReplyCode::UnexpectedFrame, text).caused_by(PUBLISH));
        }
        if header.body_size > settings.body_bytes_max {
            return Err(too_large(header.body_size, settings.body_bytes_max));
        }
        let summary =
            properties::validate(header.properties).map_err(|wrong| malformed(wrong.to_string()))?;
        let flags = entry_flags(summary, self.mandatory);
        self.parts.extend_from_slice(payload);
        self.header = Some(Header {
            len: payload.len(),
            flags,
            missing: header.body_size,
        });
        Ok(())
    }

    /// Takes a piece of the body, no longer than what is missing.
    pub(super) fn body(&mut self, piece: &[u8]) {
        let Some(header) = &mut self.header else { return };
        debug_assert!(piece.len() as u64 <= header.missing, "more body than announced");
        let length = self.parts.len();
        if self.parts.capacity() - length < piece.len() {
            // Doubles, but never beyond the end of the body: what is kept for long should waste nothing.
            let doubled = length.max(piece.len());
            let additional = usize::try_from(header.missing).map_or(doubled, |missing| doubled.min(missing));
            self.parts.reserve_exact(additional.max(piece.len()));
        }
        header.missing = header.missing.saturating_sub(piece.len() as u64);
        self.parts.extend_from_slice(piece);
    }

    /// The message.
    pub(super) fn finish(self) -> Batch {
        debug_assert!(self.is_complete(), "a message without its whole body");
        let (len, flags) = self.header.map_or((0, 0), |header| (header.len, header.flags));
        Batch::joined(Bytes::from(self.parts), self.address_len, len, flags)
    }
}

pub(super) fn unexpected_header() -> Error {
    let text = "expected content header for class 60, got non content header frame instead";
    Error::new(ReplyCode::UnexpectedFrame, text).caused_by(PUBLISH)
}

fn malformed(wrong: String) -> Error {
    Error::new(ReplyCode::SyntaxError, format!("content header: {wrong}")).caused_by(PUBLISH)
}

fn too_large(size: u64, max: u64) -> Error {
    let text = format!("message size {size} is larger than configured max size {max}");
    Error::new(ReplyCode::PreconditionFailed, text).caused_by(PUBLISH)
}
