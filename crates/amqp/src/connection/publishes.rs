//! The hot loop: a run of small publishes at the front of the read buffer becomes one batch, without a copy.
//!
//! Takes only what lies there completely, one body frame a message, all on one channel, all correct. At
//! anything else it stops and leaves the rest to the general way, which also finds the right words when
//! something is wrong.

use crate::content::{Entry, Group, entry_flags};
use crate::short_list::ShortList;
use crate::wire::frame::{self, ContentHeader, HEAD_BYTES, OVERHEAD_BYTES};
use crate::wire::properties;
use std::mem;

/// Frame head and ids: the least that tells a publish.
pub(super) const RECOGNISED_BYTES: usize = HEAD_BYTES + 4;
/// Class and method number of `basic.publish` as one number.
pub(super) const PUBLISH_IDS: u32 = 60 << 16 | 40;

/// Class 60 and weight 0 as one number.
const CLASS_AND_WEIGHT: u32 = 60 << 16;
/// Ids, reserved short, two empty strings, bits.
const METHOD_BYTES_MIN: usize = 4 + 2 + 1 + 1 + 1;
const HEADER_BYTES_MIN: usize = ContentHeader::FIXED_BYTES + 2;
const MANDATORY: u8 = 1;

/// What a run may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest payload of a frame.
    pub(super) payload_bytes_max: usize,
    /// Largest body that may wait in the buffer for its end.
    pub(super) body_bytes_max: usize,
    pub(super) messages_max: usize,
}

/// The run found.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// How many messages.
    pub(super) count: usize,
    /// How many there are if all take as many bytes as the first.
    expected: usize,
    first: Entry,
    /// All, if there are several.
    entries: Vec<Entry>,
    /// The last one; those before it.
    group: Group,
    groups: Vec<Group>,
    /// Bytes from the front that the run covers.
    pub(super) bytes: usize,
    /// When there is no run because the first publish is not complete: how many bytes the buffer must hold
    /// to look again. 0 when the general way must look at it.
    pub(super) wanted: usize,
}

/// Why a message was not taken.
enum Stop {
    /// It is not all there; so many bytes from its start are needed to say more.
    Incomplete(usize),
    /// It is not one for the hot loop.
    Other,
}

/// A message found, with sizes only: where it lies is known to the loop.
#[derive(Clone, Copy)]
struct Message {
    method: Method,
    header_len: usize,
    body_len: usize,
    /// Bytes of all its frames.
    bytes: usize,
    flags: u16,
}

#[derive(Clone, Copy)]
struct Method {
    /// Bytes of the frame.
    bytes: usize,
    address_len: usize,
    mandatory: bool,
}

impl Message {
    /// Bytes in front of the body, or all when there is none: what must be equal in a message of the same
    /// shape.
    fn shape_bytes(&self) -> usize {
        if self.body_len == 0 {
            self.bytes
        } else {
            self.bytes - self.body_len - 1
        }
    }
}

/// Address within a publish frame: behind head, ids and reserved short.
const ADDRESS_OFF: usize = HEAD_BYTES + 6;

/// Finds the run at the front of `input`, which begins with a publish on an open channel.
///
/// Publishers repeat themselves, and bytes equal to the last message's need no second look. Mostly everything
/// up to the body is equal; where properties or sizes change, at least the publish frame is.
pub(super) fn scan(input: &[u8], limits: Limits) -> Run {
    // Offsets are 32 bits; no read buffer is that large.
    let input = &input[..input.len().min(i32::MAX as usize)];
    let mut run = Run::default();
    let mut last: Option<(Message, &[u8])> = None;
    while run.count < limits.messages_max {
        let rest = &input[run.bytes..];
        if let Some((message, shape)) = last
            && rest.starts_with(shape)
            && (message.body_len == 0 || rest.get(message.bytes - 1) == Some(&frame::END))
        {
            run.push(message, true);
            continue;
        }
        let same = last.filter(|(message, shape)| rest.starts_with(&shape[..message.method.bytes]));
        let method = same.map_or_else(
            || find_method(rest, input, limits),
            |(message, _)| Ok(message.method),
        );
        match method.and_then(|method| find_content(rest, method, limits)) {
            Ok(message) => {
                if run.count == 0 {
                    run.expected = (input.len() / message.bytes).min(limits.messages_max);
                }
                run.push(message, same.is_some_and(|(last, _)| last.flags == message.flags));
                last = Some((message, &rest[..message.shape_bytes()]));
            }
            Err(Stop::Incomplete(wanted)) if last.is_none() => {
                run.wanted = wanted;
                break;
            }
            Err(_) => break,
        }
    }
    run
}

impl Run {
    /// Takes the next message; `grouped` when it belongs to the group of the last.
    #[inline]
    fn push(&mut self, message: Message, grouped: bool) {
        let entry = entry(self.bytes, &message);
        self.bytes += message.bytes;
        if grouped {
            self.group.to += 1;
        } else {
            self.begin_group(message.method.mandatory);
        }
        if self.count == 0 {
            self.first = entry;
        } else {
            if self.count == 1 {
                self.begin_list();
            }
            self.entries.push(entry);
        }
        self.count += 1;
    }

    /// There is a second message. Room is made for as many as are expected: a list that grows is copied at each step.
    #[cold]
    fn begin_list(&mut self) {
        self.entries.reserve_exact(self.expected.max(2));
        self.entries.push(self.first);
    }

    /// Where there is a second group, there may be as many as messages.
    fn begin_group(&mut self, mandatory: bool) {
        if self.count > 0 {
            if self.groups.is_empty() {
                self.groups.reserve_exact(self.expected.max(2));
            }
            self.groups.push(self.group);
        }
        let from = self.count as u16;
        self.group = Group {
            from,
            to: from + 1,
            mandatory,
        };
    }

    /// Where each message lies. Empty when there is none.
    pub(super) fn take_entries(&mut self) -> ShortList<Entry> {
        match self.count {
            1 => ShortList::one(self.first),
            _ => mem::take(&mut self.entries).into(),
        }
    }

    /// Which of them are neighbours alike.
    pub(super) fn take_groups(&mut self) -> ShortList<Group> {
        let mut groups = mem::take(&mut self.groups);
        if groups.is_empty() {
            return ShortList::one(self.group);
        }
        groups.push(self.group);
        groups.into()
    }
}

#[inline]
fn entry(start: usize, message: &Message) -> Entry {
    let header_off = start + message.method.bytes + HEAD_BYTES;
    let header_end = header_off + message.header_len;
    Entry {
        address_off: (start + ADDRESS_OFF) as u32,
        header_off: header_off as u32,
        header_len: message.header_len as u32,
        body_off: (header_end + if message.body_len == 0 { 1 } else { OVERHEAD_BYTES }) as u32,
        body_len: message.body_len as u32,
        address_len: message.method.address_len as u16,
        flags: message.flags,
    }
}

/// A complete and correct publish frame at the front of `rest`, on the channel of the frame at the front of
/// `run`.
fn find_method(rest: &[u8], run: &[u8], limits: Limits) -> Result<Method, Stop> {
    let payload = payload(rest, frame::METHOD, &run[1..3], limits.payload_bytes_max)?;
    let bytes = payload.len() + OVERHEAD_BYTES;
    if payload.len() < METHOD_BYTES_MIN || long(payload) != PUBLISH_IDS {
        return Err(Stop::Other);
    }
    let address = &payload[6..payload.len() - 1];
    let exchange = usize::from(address[0]);
    let key = usize::from(*address.get(1 + exchange).ok_or(Stop::Other)?);
    let bits = payload[payload.len() - 1];
    // Anything but `mandatory`, above all `immediate`, is for the general way.
    if address.len() != 2 + exchange + key || bits & !MANDATORY != 0 {
        return Err(Stop::Other);
    }
    Ok(Method {
        bytes,
        address_len: address.len(),
        mandatory: bits & MANDATORY != 0,
    })
}

/// Header frame and body frame behind a publish frame.
#[inline]
fn find_content(rest: &[u8], method: Method, limits: Limits) -> Result<Message, Stop> {
    let behind = |stop, bytes| match stop {
        Stop::Incomplete(wanted) => Stop::Incomplete(bytes + wanted),
        Stop::Other => Stop::Other,
    };
    let channel = &rest[1..3];
    let header = payload(
        &rest[method.bytes..],
        frame::HEADER,
        channel,
        limits.payload_bytes_max,
    )
    .map_err(|stop| behind(stop, method.bytes))?;
    if header.len() < HEADER_BYTES_MIN || long(header) != CLASS_AND_WEIGHT {
        return Err(Stop::Other);
    }
    let body_len = u64::from_be_bytes(header[4..12].try_into().map_err(|_| Stop::Other)?);
    if body_len > limits.body_bytes_max as u64 {
        return Err(Stop::Other);
    }
    let body_len = body_len as usize;
    let mut bytes = method.bytes + header.len() + OVERHEAD_BYTES;
    if body_len > 0 {
        bytes += find_body(&rest[bytes..], channel, body_len, limits).map_err(|stop| behind(stop, bytes))?;
    }
    let summary = properties::validate(&header[ContentHeader::FIXED_BYTES..]).map_err(|_| Stop::Other)?;
    let flags = entry_flags(summary, method.mandatory);
    Ok(Message {
        method,
        header_len: header.len(),
        body_len,
        bytes,
        flags,
    })
}

/// Bytes of the body frame at the front of `rest` if it holds a whole body of `body_len` bytes.
#[inline]
fn find_body(rest: &[u8], channel: &[u8], body_len: usize, limits: Limits) -> Result<usize, Stop> {
    if body_len > limits.payload_bytes_max {
        return Err(Stop::Other);
    }
    if let Some(size) = rest.get(3..HEAD_BYTES)
        && long(size) as usize != body_len
    {
        return Err(Stop::Other);
    }
    match payload(rest, frame::BODY, channel, limits.payload_bytes_max) {
        Ok(body) => Ok(body.len() + OVERHEAD_BYTES),
        // The head is not there yet, but we know what is to come.
        Err(Stop::Incomplete(_)) => Err(Stop::Incomplete(body_len + OVERHEAD_BYTES)),
        Err(other) => Err(other),
    }
}

/// Payload of the frame at the front of `rest` if it is complete, of this kind and on this channel.
#[inline]
fn payload<'a>(rest: &'a [u8], kind: u8, channel: &[u8], size_max: usize) -> Result<&'a [u8], Stop> {
    let Some(head) = rest.first_chunk::<HEAD_BYTES>() else {
        // A beginning that is already wrong must not wait for more.
        let wrong = rest.first().is_some_and(|first| *first != kind);
        return Err(if wrong {
            Stop::Other
        } else {
            Stop::Incomplete(HEAD_BYTES)
        });
    };
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    if head[0] != kind || head[1..3] != *channel || size > size_max {
        return Err(Stop::Other);
    }
    match rest.get(HEAD_BYTES + size) {
        None => Err(Stop::Incomplete(size + OVERHEAD_BYTES)),
        Some(&frame::END) => Ok(&rest[HEAD_BYTES..HEAD_BYTES + size]),
        Some(_) => Err(Stop::Other),
    }
}

#[inline]
fn long(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
