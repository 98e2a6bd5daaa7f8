//! What a message of the audit looks like: it names itself, and damage to any byte of it shows.
//!
//! ```text
//!  0         4           12        16
//!  | publisher | number     | length  | pattern, made from publisher and number ... |
//!  | u32       | u64        | u32     | length - 16 bytes                           |
//! ```
//!
//! All big-endian. The `message-id` property names the message a second time, as `PUBLISHER/NUMBER`: a body that came with
//! the properties of another message is damage too, and a damaged body can still be told whose it was.

use std::fmt;

const HEAD: usize = 16;

/// A message: the publisher's number and the message's number with it, from 1. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// Which publisher sent it.
    pub publisher: u32,
    /// Its place in what that publisher sent.
    pub number: u64,
}

impl Id {
    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (publisher, number) = text.split_once('/')?;
        Some(Self {
            publisher: publisher.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.publisher, self.number)
    }
}

/// The body of a message, `length` bytes long (at least 16).
pub fn body(id: Id, length: usize) -> Vec<u8> {
    let length = length.max(HEAD);
    let mut body = Vec::with_capacity(length + 8);
    body.extend(id.publisher.to_be_bytes());
    body.extend(id.number.to_be_bytes());
    body.extend((length as u32).to_be_bytes());
    let mut pattern = pattern(id);
    while body.len() < length {
        body.extend(pattern());
    }
    body.truncate(length);
    body
}

/// Which message this is; `None` when a byte of it is not what was sent.
pub fn identify(bytes: &[u8]) -> Option<Id> {
    let publisher = u32::from_be_bytes(bytes.get(0..4)?.try_into().ok()?);
    let number = u64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?);
    let length = u32::from_be_bytes(bytes.get(12..HEAD)?.try_into().ok()?);
    let id = Id { publisher, number };
    let mut pattern = pattern(id);
    let whole = bytes.len() == length as usize
        && bytes[HEAD..]
            .chunks(8)
            .all(|chunk| chunk == &pattern()[..chunk.len()]);
    whole.then_some(id)
}

/// The bytes behind the head, eight at a time: a multiplicative generator, seeded by the message, its upper half mixed in.
fn pattern(id: Id) -> impl FnMut() -> [u8; 8] {
    let mut state = id.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(id.publisher) ^ 0x5DEE_CE66;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 32)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let id = Id {
            publisher: 3,
            number: 77,
        };
        let whole = body(id, 301);
        assert_eq!(identify(&whole), Some(id));
        for at in 16..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(identify(&damaged), None, "byte {at}");
        }
        for at in 0..16 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_ne!(identify(&damaged), Some(id), "byte {at}");
        }
        assert_eq!(identify(&whole[..300]), None);
        assert_eq!(identify(&[]), None);
    }

    #[test]
    fn names_are_read_back() {
        let id = Id {
            publisher: 3,
            number: 77,
        };
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        assert_eq!(Id::parse("3"), None);
        assert_eq!(Id::parse("x/1"), None);
    }
}
