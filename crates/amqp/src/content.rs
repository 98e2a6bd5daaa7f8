//! Messages: a batch of them in one piece of memory, with offsets.
//!
//! A batch that came from a publisher lies in memory exactly as it came over the wire, frames and all:
//!
//! ```text
//!   chunk  | method frame | header frame | body frame | method frame | header frame | body frame | ...
//!                ^address    ^header        ^body
//! ```
//!
//! A batch assembled from pieces or read back from a log has nothing between the parts:
//!
//! ```text
//!   chunk  | address | header | body | address | header | body | ...
//! ```
//!
//! Which of the two it is shows in the offsets: exactly eight bytes (a frame's end and the next frame's head)
//! lie between header and body in the first (one when the body is empty and has no frame), none in the
//! second. Not responsible for what the properties mean.

use bytes::{Bytes, BytesMut};

use crate::short_list::ShortList;
use crate::wire::frame::{self, ContentHeader};
use crate::wire::properties::{self, View};

/// Messages that arrived together on one channel.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The bytes that all offsets refer to.
    pub chunk: Bytes,
    /// One for each message.
    pub entries: ShortList<Entry>,
    /// Neighbours with the same address and flags; together they cover all entries in order.
    pub groups: ShortList<Group>,
}

/// Where one message lies. The address is the exchange and the routing key as short strings, exactly as in
/// `basic.publish`; the header is the payload of the content header frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// First byte of the address.
    pub address_off: u32,
    /// First byte of the header.
    pub header_off: u32,
    /// Bytes of the header.
    pub header_len: u32,
    /// First byte of the body.
    pub body_off: u32,
    /// Bytes of the body.
    pub body_len: u32,
    /// Bytes of the address, 2 to 512.
    pub address_len: u16,
    /// What the broker must know at a glance; see [`flags`].
    pub flags: u16,
}

// A queue may hold millions of these.
const _: () = assert!(size_of::<Entry>() == 24);

/// Messages `from..to` go to the same exchange with the same routing key and carry the same flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Group {
    /// First message.
    pub from: u16,
    /// Behind the last message.
    pub to: u16,
    /// They must be returned when no queue takes them.
    pub mandatory: bool,
}

/// Bits of [`Entry::flags`]. The lower ones are the property flags of the header where they matter to a
/// broker.
pub mod flags {
    use crate::wire::properties::flag;

    /// The publisher asked for persistence.
    pub const PERSISTENT: u16 = 1;
    /// The message must be returned when no queue takes it.
    pub const MANDATORY: u16 = 2;
    /// There is a headers table, perhaps with `CC` or `BCC` in it.
    pub const HAS_HEADERS: u16 = flag::HEADERS;
    /// There is a priority.
    pub const HAS_PRIORITY: u16 = flag::PRIORITY;
    /// There is a reply-to, perhaps `amq.rabbitmq.reply-to`.
    pub const HAS_REPLY_TO: u16 = flag::REPLY_TO;
    /// There is an expiration, not yet checked: see [`crate::wire::properties::expiration_ms`].
    pub const HAS_EXPIRATION: u16 = flag::EXPIRATION;
    /// There is a user id, not yet checked against the login.
    pub const HAS_USER_ID: u16 = flag::USER_ID;
    /// The property flags that are kept.
    pub(crate) const FROM_PROPERTIES: u16 =
        HAS_HEADERS | HAS_PRIORITY | HAS_REPLY_TO | HAS_EXPIRATION | HAS_USER_ID;
}

/// Bytes between header and body when both are still in their frames.
const FRAME_GAP: usize = frame::OVERHEAD_BYTES;

/// Most messages in a batch.
pub const MESSAGES_MAX: usize = 4096;

/// Offsets that do not describe messages within the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadParts {
    /// More than [`MESSAGES_MAX`] messages, or none.
    #[error("{0} messages in a batch")]
    Count(usize),
    /// A part of this message lies outside the chunk or before the part that should precede it.
    #[error("message {0} does not lie within its chunk")]
    Entry(usize),
    /// Something lies between header and body of this message.
    #[error("message {0} has a gap between header and body")]
    Gap(usize),
    /// The groups do not cover the messages in order.
    #[error("group {0} is out of order")]
    Group(usize),
}

impl Batch {
    /// A batch from parts that came from elsewhere than the wire; nothing may lie between header and body.
    /// Everything is checked, so that damaged offsets cannot do harm later.
    pub fn from_parts(
        chunk: Bytes,
        entries: ShortList<Entry>,
        groups: ShortList<Group>,
    ) -> Result<Batch, BadParts> {
        if entries.is_empty() || entries.len() > MESSAGES_MAX {
            return Err(BadParts::Count(entries.len()));
        }
        let mut end = 0;
        for (index, entry) in entries.iter().enumerate() {
            end = check_entry(&chunk, entry, end).ok_or(BadParts::Entry(index))?;
            if entry.body_off != entry.header_off + entry.header_len {
                return Err(BadParts::Gap(index));
            }
        }
        check_groups(&groups, entries.len())?;
        Ok(Batch {
            chunk,
            entries,
            groups,
        })
    }

    /// A batch as a log keeps it: each address once, in front of all messages, and for each message header
    /// and body with nothing between them. Messages that the log does not keep have an empty header, and
    /// must not be asked for.
    ///
    /// # Errors
    /// Offsets that do not fit the chunk or each other, so that later readers need no checks.
    pub fn from_stored(
        chunk: Bytes,
        entries: ShortList<Entry>,
        groups: ShortList<Group>,
    ) -> Result<Batch, BadParts> {
        if entries.is_empty() || entries.len() > MESSAGES_MAX {
            return Err(BadParts::Count(entries.len()));
        }
        for (index, entry) in entries.iter().enumerate() {
            if entry.header_len == 0 {
                continue;
            }
            check_entry(&chunk, entry, 0).ok_or(BadParts::Entry(index))?;
            if entry.body_off != entry.header_off + entry.header_len {
                return Err(BadParts::Gap(index));
            }
        }
        Ok(Batch {
            chunk,
            entries,
            groups,
        })
    }

    /// A batch of one message, copied together from its parts. `address` is two short strings, `header` the
    /// payload of a content header frame that has been validated.
    pub fn single(address: &[u8], header: &[u8], body: &[u8], flags: u16) -> Batch {
        let mut chunk = BytesMut::with_capacity(address.len() + header.len() + body.len());
        chunk.extend_from_slice(address);
        chunk.extend_from_slice(header);
        chunk.extend_from_slice(body);
        Batch::joined(chunk.freeze(), address.len(), header.len(), flags)
    }

    /// A batch of one message whose parts follow each other in `chunk`.
    pub(crate) fn joined(chunk: Bytes, address_len: usize, header_len: usize, flags: u16) -> Batch {
        let body_off = address_len + header_len;
        let entry = Entry {
            address_off: 0,
            header_off: address_len as u32,
            header_len: header_len as u32,
            body_off: body_off as u32,
            body_len: (chunk.len() - body_off) as u32,
            address_len: address_len as u16,
            flags,
        };
        let group = Group {
            from: 0,
            to: 1,
            mandatory: flags & flags::MANDATORY != 0,
        };
        Batch {
            chunk,
            entries: ShortList::one(entry),
            groups: ShortList::one(group),
        }
    }

    /// How many messages.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Exchange and routing key as two short strings, as on the wire.
    #[inline]
    pub fn address(&self, index: usize) -> &[u8] {
        let entry = &self.entries[index];
        self.slice(entry.address_off, u32::from(entry.address_len))
    }

    /// Name of the exchange.
    #[inline]
    pub fn exchange(&self, index: usize) -> &[u8] {
        split_address(self.address(index)).0
    }

    /// Routing key.
    #[inline]
    pub fn routing_key(&self, index: usize) -> &[u8] {
        split_address(self.address(index)).1
    }

    /// Payload of the content header frame: class, weight, body size, property flags, properties.
    #[inline]
    pub fn header(&self, index: usize) -> &[u8] {
        let entry = &self.entries[index];
        self.slice(entry.header_off, entry.header_len)
    }

    /// Property flags and properties.
    #[inline]
    pub fn properties(&self, index: usize) -> &[u8] {
        self.header(index)
            .get(ContentHeader::FIXED_BYTES..)
            .unwrap_or_default()
    }

    /// The single properties. They were checked when the message came in.
    pub fn view(&self, index: usize) -> View<'_> {
        View::parse(self.properties(index)).unwrap_or_default()
    }

    /// The body.
    #[inline]
    pub fn body(&self, index: usize) -> &[u8] {
        let entry = &self.entries[index];
        self.slice(entry.body_off, entry.body_len)
    }

    /// See [`flags`].
    #[inline]
    pub fn flags(&self, index: usize) -> u16 {
        self.entries[index].flags
    }

    /// How many bytes of the chunk the messages `from..to` take, to count what they cost. Within a constant a
    /// message of what they take on the wire.
    pub fn bytes(&self, from: u16, to: u16) -> u64 {
        let (Some(first), Some(last)) = (
            self.entries.get(usize::from(from)),
            self.entries.get(usize::from(to).wrapping_sub(1)),
        ) else {
            return 0;
        };
        u64::from(last.body_off + last.body_len).saturating_sub(u64::from(first.address_off))
    }

    /// The messages `from..to` in memory of their own, so that a few of them do not hold on to a large chunk.
    pub fn copied(&self, from: u16, to: u16) -> Batch {
        let mut copies = ShortList::default();
        copies.make_room(usize::from(to - from));
        let chunk = self.copy(from, to, &mut copies);
        let groups = self
            .groups
            .iter()
            .filter(|group| group.from < to && group.to > from);
        let groups = groups.map(|group| Group {
            from: group.from.max(from) - from,
            to: group.to.min(to) - from,
            mandatory: group.mandatory,
        });
        Batch {
            chunk,
            entries: copies,
            groups: groups.collect(),
        }
    }

    /// As [`Batch::copied`], with the messages at the same indices as here. Of the others nothing is left but an empty entry; they must not be asked for.
    pub fn thinned(&self, from: u16, to: u16) -> Batch {
        let mut entries = ShortList::default();
        entries.make_room(self.entries.len());
        (0..from).for_each(|_| entries.push(Entry::default()));
        let chunk = self.copy(from, to, &mut entries);
        (usize::from(to)..self.entries.len()).for_each(|_| entries.push(Entry::default()));
        Batch {
            chunk,
            entries,
            groups: self.groups.clone(),
        }
    }

    /// Copies the messages `from..to` into a chunk of their own; their entries go into `copies`.
    fn copy(&self, from: u16, to: u16, copies: &mut ShortList<Entry>) -> Bytes {
        let entries = &self.entries[usize::from(from)..usize::from(to)];
        let parts = |entry: &Entry| u32::from(entry.address_len) + entry.header_len + entry.body_len;
        let size = entries.iter().map(|entry| parts(entry) as usize).sum();
        let mut chunk = BytesMut::with_capacity(size);
        for (index, entry) in entries.iter().enumerate() {
            let address_off = chunk.len() as u32;
            let header_off = address_off + u32::from(entry.address_len);
            copies.push(Entry {
                address_off,
                header_off,
                body_off: header_off + entry.header_len,
                ..*entry
            });
            let index = usize::from(from) + index;
            chunk.extend_from_slice(self.address(index));
            chunk.extend_from_slice(self.header(index));
            chunk.extend_from_slice(self.body(index));
        }
        chunk.freeze()
    }

    /// The same messages, some with other properties (flags word and properties, which must be sound), in memory of their
    /// own. `replaced` is in the order of the messages.
    pub fn with_properties(&self, replaced: &[(u16, Vec<u8>)]) -> Batch {
        let mut replaced = replaced.iter().peekable();
        let mut chunk = BytesMut::with_capacity(self.chunk.len());
        let mut entries = ShortList::default();
        entries.make_room(self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            let new = replaced.next_if(|(at, _)| usize::from(*at) == index);
            let address_off = chunk.len() as u32;
            chunk.extend_from_slice(self.address(index));
            let header_off = chunk.len() as u32;
            let mut flags = entry.flags;
            match new {
                None => chunk.extend_from_slice(self.header(index)),
                Some((_, properties)) => {
                    chunk.extend_from_slice(&self.header(index)[..ContentHeader::FIXED_BYTES]);
                    chunk.extend_from_slice(properties);
                    let summary = properties::validate(properties).unwrap_or_default();
                    flags = entry_flags(summary, entry.flags & flags::MANDATORY != 0);
                }
            }
            let body_off = chunk.len() as u32;
            chunk.extend_from_slice(self.body(index));
            entries.push(Entry {
                address_off,
                header_off,
                header_len: body_off - header_off,
                body_off,
                flags,
                ..*entry
            });
        }
        Batch {
            chunk: chunk.freeze(),
            entries,
            groups: self.groups.clone(),
        }
    }

    /// The bytes of header frame and body frame as the publisher sent them, when they are still there and no
    /// frame is larger than `frame_max` (0: no limit). Only the channel number in them is the
    /// publisher's.
    #[inline]
    pub(crate) fn verbatim(&self, entry: &Entry, frame_max: u32) -> Option<&[u8]> {
        let gap = entry
            .body_off
            .wrapping_sub(entry.header_off.wrapping_add(entry.header_len));
        let (gap_expected, behind) = if entry.body_len == 0 {
            (1, 0)
        } else {
            (FRAME_GAP, 1)
        };
        if gap as usize != gap_expected {
            return None;
        }
        let frame = entry.header_len.max(entry.body_len) + frame::OVERHEAD_BYTES as u32;
        if frame_max != 0 && frame > frame_max {
            return None;
        }
        let start = (entry.header_off as usize).checked_sub(frame::HEAD_BYTES)?;
        self.chunk
            .get(start..(entry.body_off + entry.body_len) as usize + behind)
    }

    #[inline]
    fn slice(&self, offset: u32, length: u32) -> &[u8] {
        &self.chunk[offset as usize..][..length as usize]
    }
}

/// Property flags of a header, reduced to [`Entry::flags`].
pub(crate) fn entry_flags(summary: properties::Summary, mandatory: bool) -> u16 {
    summary.flags & flags::FROM_PROPERTIES
        | if summary.persistent { flags::PERSISTENT } else { 0 }
        | if mandatory { flags::MANDATORY } else { 0 }
}

/// Exchange and routing key out of an address that has been checked.
fn split_address(address: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = address.split_first() else {
        return (&[], &[]);
    };
    let (exchange, key) = rest.split_at_checked(usize::from(*length)).unwrap_or_default();
    (exchange, key.get(1..).unwrap_or_default())
}

/// Checks that the parts of a message lie in order between `start` and the end of the chunk, and that its
/// address is one; returns where it ends.
fn check_entry(chunk: &Bytes, entry: &Entry, start: u64) -> Option<u64> {
    let address_end = u64::from(entry.address_off) + u64::from(entry.address_len);
    let header_end = u64::from(entry.header_off) + u64::from(entry.header_len);
    let body_end = u64::from(entry.body_off) + u64::from(entry.body_len);
    let ordered = start <= u64::from(entry.address_off)
        && address_end <= u64::from(entry.header_off)
        && header_end <= u64::from(entry.body_off)
        && body_end <= chunk.len() as u64
        && entry.header_len as usize >= ContentHeader::FIXED_BYTES + 2;
    if !ordered {
        return None;
    }
    let address = &chunk[entry.address_off as usize..address_end as usize];
    let exchange = usize::from(*address.first()?);
    let key = usize::from(*address.get(1 + exchange)?);
    (address.len() == 2 + exchange + key).then_some(body_end)
}

fn check_groups(groups: &[Group], count: usize) -> Result<(), BadParts> {
    let mut end = 0;
    for (index, group) in groups.iter().enumerate() {
        if group.from != end || group.to <= group.from {
            return Err(BadParts::Group(index));
        }
        end = group.to;
    }
    if usize::from(end) == count {
        Ok(())
    } else {
        Err(BadParts::Group(groups.len()))
    }
}
