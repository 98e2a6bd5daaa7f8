//! Messages on their way out: deliveries, answers to `basic.get`, and returns, written from the bytes of a
//! batch.
//!
//! A message whose header and body frame are still as the publisher sent them is copied in one piece and only
//! the channel number patched; any other gets new frames of the size its receiver asked for.

use crate::content::{Batch, Entry};
use crate::wire::frame;

/// What all deliveries to one consumer have in common, prepared once.
#[derive(Debug, Clone)]
pub struct DeliverHead {
    channel: u16,
    /// Frame head with the size missing, class, method, consumer tag.
    prefix: Vec<u8>,
}

impl DeliverHead {
    /// For deliveries on `channel` to the consumer of this tag (at most 255 bytes; more are cut off).
    pub fn new(channel: u16, consumer_tag: &[u8]) -> DeliverHead {
        let tag = &consumer_tag[..consumer_tag.len().min(255)];
        let mut prefix = Vec::with_capacity(12 + tag.len());
        frame::Head {
            kind: frame::METHOD,
            channel,
            size: 0,
        }
        .write(&mut prefix);
        prefix.extend_from_slice(&[0, 60, 0, 60, tag.len() as u8]);
        prefix.extend_from_slice(tag);
        DeliverHead { channel, prefix }
    }

    /// The channel it is for.
    pub fn channel(&self) -> u16 {
        self.channel
    }
}

/// Appends deliveries of the messages `from..to`, tagged from `first_tag` up. Frames are at most `frame_max`
/// bytes (0: no limit).
#[expect(
    clippy::too_many_arguments,
    reason = "the hot path takes what it needs, and no struct for one call"
)]
pub fn write_deliveries(
    out: &mut Vec<u8>,
    head: &DeliverHead,
    batch: &Batch,
    from: u16,
    to: u16,
    first_tag: u64,
    redelivered: bool,
    frame_max: u32,
) {
    let entries = &batch.entries[usize::from(from)..usize::from(to)];
    out.reserve(batch.bytes(from, to) as usize + entries.len() * (head.prefix.len() + 26));
    for (entry, tag) in entries.iter().zip(first_tag..) {
        write_delivery(out, head, batch, entry, tag, redelivered);
        write_content(out, head.channel, batch, entry, frame_max);
    }
}

fn write_delivery(
    out: &mut Vec<u8>,
    head: &DeliverHead,
    batch: &Batch,
    entry: &Entry,
    tag: u64,
    redelivered: bool,
) {
    let start = out.len();
    out.extend_from_slice(&head.prefix);
    out.extend_from_slice(&tag.to_be_bytes());
    out.push(u8::from(redelivered));
    finish_method(out, start, batch, entry, &[]);
}

/// Appends `basic.get-ok` with the message at `index`. `remaining` is how many messages are left in the
/// queue.
#[expect(clippy::too_many_arguments, reason = "as `write_deliveries`")]
pub fn write_get_ok(
    out: &mut Vec<u8>,
    channel: u16,
    batch: &Batch,
    index: u16,
    tag: u64,
    redelivered: bool,
    remaining: u32,
    frame_max: u32,
) {
    let entry = &batch.entries[usize::from(index)];
    let start = out.len();
    frame::Head {
        kind: frame::METHOD,
        channel,
        size: 0,
    }
    .write(out);
    out.extend_from_slice(&[0, 60, 0, 71]);
    out.extend_from_slice(&tag.to_be_bytes());
    out.push(u8::from(redelivered));
    finish_method(out, start, batch, entry, &remaining.to_be_bytes());
    write_content(out, channel, batch, entry, frame_max);
}

/// Appends `basic.return` with the message at `index`.
pub fn write_return(
    out: &mut Vec<u8>,
    channel: u16,
    code: u16,
    text: &str,
    batch: &Batch,
    index: u16,
    frame_max: u32,
) {
    let entry = &batch.entries[usize::from(index)];
    let text = &text.as_bytes()[..text.len().min(255)];
    let start = out.len();
    frame::Head {
        kind: frame::METHOD,
        channel,
        size: 0,
    }
    .write(out);
    out.extend_from_slice(&[0, 60, 0, 50]);
    out.extend_from_slice(&code.to_be_bytes());
    out.push(text.len() as u8);
    out.extend_from_slice(text);
    finish_method(out, start, batch, entry, &[]);
    write_content(out, channel, batch, entry, frame_max);
}

/// Appends the address and what follows it, ends the method frame begun at `start` and fills in its size.
fn finish_method(out: &mut Vec<u8>, start: usize, batch: &Batch, entry: &Entry, behind: &[u8]) {
    let address = &batch.chunk[entry.address_off as usize..][..usize::from(entry.address_len)];
    out.extend_from_slice(address);
    out.extend_from_slice(behind);
    let size = (out.len() - start - frame::HEAD_BYTES) as u32;
    out[start + 3..start + frame::HEAD_BYTES].copy_from_slice(&size.to_be_bytes());
    out.push(frame::END);
}

fn write_content(out: &mut Vec<u8>, channel: u16, batch: &Batch, entry: &Entry, frame_max: u32) {
    let Some(bytes) = batch.verbatim(entry, frame_max) else {
        return write_framed(out, channel, batch, entry, frame_max);
    };
    let start = out.len();
    out.extend_from_slice(bytes);
    let channel = channel.to_be_bytes();
    out[start + 1..start + 3].copy_from_slice(&channel);
    if entry.body_len > 0 {
        let body = start + frame::OVERHEAD_BYTES + entry.header_len as usize;
        out[body + 1..body + 3].copy_from_slice(&channel);
    }
}

#[cold]
fn write_framed(out: &mut Vec<u8>, channel: u16, batch: &Batch, entry: &Entry, frame_max: u32) {
    let header = &batch.chunk[entry.header_off as usize..][..entry.header_len as usize];
    let body = &batch.chunk[entry.body_off as usize..][..entry.body_len as usize];
    // A large body is the last thing to be encoded for a while: what is kept for it until it is written should waste nothing.
    let frames = body.len() / frame::body_piece_bytes_max(frame_max) + 3;
    out.reserve_exact(header.len() + body.len() + frames * frame::OVERHEAD_BYTES);
    frame::write(out, frame::HEADER, channel, |out| out.extend_from_slice(header));
    frame::write_body(out, channel, body, frame_max);
}
