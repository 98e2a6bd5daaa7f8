//! Frames: the unit in which bytes travel.
//!
//! ```text
//! | type u8 | channel u16 | size u32 | payload (size bytes) | 0xCE |
//! ```
//!
//! Not responsible for limits or for the order of frames; that is the connection's business.

use super::method::Method;
use super::primitive::{Malformed, Reader};

/// A method.
pub const METHOD: u8 = 1;
/// Content header: class, weight, body size, properties.
pub const HEADER: u8 = 2;
/// A piece of a body.
pub const BODY: u8 = 3;
/// A sign of life, on channel 0.
pub const HEARTBEAT: u8 = 8;
/// Last byte of every frame.
pub const END: u8 = 0xCE;
/// Bytes before the payload.
pub const HEAD_BYTES: usize = 7;
/// Bytes of a frame that are not payload.
pub const OVERHEAD_BYTES: usize = 8;
/// Every peer must accept frames of this size.
pub const FRAME_MIN_BYTES: u32 = 4096;
/// What a client of 0-9-1 sends first.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// What a client of 0-9 sends first; it is served as if it spoke 0-9-1, as RabbitMQ does.
pub const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

/// A heartbeat frame.
pub const HEARTBEAT_FRAME: [u8; 8] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, END];

/// The seven bytes in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// [`METHOD`], [`HEADER`], [`BODY`], [`HEARTBEAT`] or something wrong.
    pub kind: u8,
    /// Channel number; 0 is the connection itself.
    pub channel: u16,
    /// Size of the payload in bytes.
    pub size: u32,
}

impl Head {
    /// Reads the head of a frame; `None` when fewer than seven bytes are there.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Head {
            kind: head[0],
            channel: u16::from_be_bytes([head[1], head[2]]),
            size: u32::from_be_bytes([head[3], head[4], head[5], head[6]]),
        })
    }

    /// Appends the head.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let [c0, c1] = self.channel.to_be_bytes();
        let [s0, s1, s2, s3] = self.size.to_be_bytes();
        out.extend_from_slice(&[self.kind, c0, c1, s0, s1, s2, s3]);
    }

    /// Size of the whole frame in bytes.
    pub fn frame_bytes(&self) -> usize {
        self.size as usize + OVERHEAD_BYTES
    }
}

/// Appends a frame around what `payload` appends.
pub fn write(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    Head {
        kind,
        channel,
        size: 0,
    }
    .write(out);
    payload(out);
    let size = u32::try_from(out.len() - start - HEAD_BYTES).unwrap_or(u32::MAX);
    out[start + 3..start + HEAD_BYTES].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// Appends a method frame.
pub fn write_method(out: &mut Vec<u8>, channel: u16, method: &Method) {
    write(out, METHOD, channel, |out| method.encode(out));
}

/// Appends a content header frame and body frames of at most `frame_max` bytes (0: no limit).
pub fn write_content(out: &mut Vec<u8>, channel: u16, properties: &[u8], body: &[u8], frame_max: u32) {
    write(out, HEADER, channel, |out| {
        out.extend_from_slice(&[0, 60, 0, 0]);
        out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        out.extend_from_slice(properties);
    });
    write_body(out, channel, body, frame_max);
}

/// Appends body frames of at most `frame_max` bytes (0: no limit); none for an empty body.
pub fn write_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    let piece_max = body_piece_bytes_max(frame_max);
    for piece in body.chunks(piece_max) {
        Head {
            kind: BODY,
            channel,
            size: piece.len() as u32,
        }
        .write(out);
        out.extend_from_slice(piece);
        out.push(END);
    }
}

/// How much of a body fits one frame.
pub fn body_piece_bytes_max(frame_max: u32) -> usize {
    if frame_max == 0 {
        u32::MAX as usize
    } else {
        (frame_max as usize).saturating_sub(OVERHEAD_BYTES).max(1)
    }
}

/// Payload of a content header frame, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Class of the method it belongs to; 60 for everything that carries content.
    pub class: u16,
    /// Always 0.
    pub weight: u16,
    /// Size of the body in bytes, announced.
    pub body_size: u64,
    /// Property flags and properties.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Bytes before the properties.
    pub const FIXED_BYTES: usize = 12;

    /// Reads the payload of a content header frame.
    pub fn read(payload: &'a [u8]) -> Result<ContentHeader<'a>, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(ContentHeader {
            class: reader.short()?,
            weight: reader.short()?,
            body_size: reader.long_long()?,
            properties: reader.rest(),
        })
    }
}
