//! A list of frames, right and wrong, to a machine that was just accepted or that runs.

use amq_protocol::frame::AMQPFrame;
use everack_amqp::connection::Connection;
use everack_amqp::wire::frame::{self, Head};

use crate::conversation::{accepted, play, running, start_ok};
use crate::oracle;
use crate::script::Script;

/// What is wrong with a frame, by the upper bits of its first byte.
const WRONG_END: u8 = 0x80;
const WRONG_SIZE: u8 = 0x40;

/// The script: a byte that says where the conversation begins, two bytes that say where it is cut, then frames
/// (`kind and what is wrong`, `channel`, `length`, `payload`).
pub fn check(input: &[u8]) {
    let mut script = Script::new(input);
    let start = script.octet();
    let cut = usize::from(script.short());
    let mut bytes = beginning(start);
    while !script.is_over() {
        let written = next_frame(&mut script);
        ask(&written);
        bytes.extend(written);
    }
    let cut = cut % (bytes.len() + 1);
    let whole = play(&mut connection(start), &[&bytes]);
    let parts = play(&mut connection(start), &[&bytes[..cut], &bytes[cut..]]);
    assert_eq!(whole, parts, "frames mean the same wherever they are cut");
}

fn connection(start: u8) -> Connection {
    if start.is_multiple_of(4) {
        running()
    } else {
        accepted()
    }
}

/// What a client has said before the frames of the script.
fn beginning(start: u8) -> Vec<u8> {
    let mut bytes = match start % 4 {
        0 | 1 => Vec::new(),
        _ => frame::PROTOCOL_HEADER.to_vec(),
    };
    if start % 4 == 3 {
        frame::write_method(&mut bytes, 0, &start_ok().into());
    }
    bytes
}

fn next_frame(script: &mut Script<'_>) -> Vec<u8> {
    let (kind, channel) = (script.octet(), u16::from(script.octet()));
    let payload = script.block();
    let known = [
        frame::METHOD,
        frame::HEADER,
        frame::BODY,
        frame::HEARTBEAT,
        frame::METHOD,
        kind,
    ];
    let mut bytes = Vec::with_capacity(payload.len() + frame::OVERHEAD_BYTES);
    let channel = if channel == 0xFF { u16::MAX } else { channel };
    frame::write(
        &mut bytes,
        known[usize::from(kind & 0x3F) % known.len()],
        channel,
        |out| {
            out.extend_from_slice(payload);
        },
    );
    if kind & WRONG_SIZE != 0 {
        let size = script.long().to_be_bytes();
        bytes[3..7].copy_from_slice(&size);
    }
    if kind & WRONG_END != 0 {
        let end = bytes.len() - 1;
        bytes[end] = script.octet();
    }
    bytes
}

/// Where the oracle sees a frame, we see one of the same kind, channel and size.
fn ask(bytes: &[u8]) {
    let Some(theirs) = oracle::read(bytes) else { return };
    let head = Head::read(bytes).expect("a frame has a head");
    let (kind, channel) = match theirs {
        AMQPFrame::Method(channel, _) => (frame::METHOD, channel),
        AMQPFrame::Header(channel, _) => (frame::HEADER, channel),
        AMQPFrame::Body(channel, _) => (frame::BODY, channel),
        AMQPFrame::Heartbeat => (frame::HEARTBEAT, 0),
        AMQPFrame::InvalidHeartbeat(channel) => (frame::HEARTBEAT, channel),
        AMQPFrame::ProtocolHeader(_) => return,
    };
    assert_eq!((head.kind, head.channel), (kind, channel));
    assert_eq!(head.frame_bytes(), bytes.len());
}
