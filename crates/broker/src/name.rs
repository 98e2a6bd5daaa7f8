//! Names: of exchanges, queues, routing keys, virtual hosts and users.
//!
//! A name is a string of bytes. AMQP does not promise UTF-8, so nothing here requires it; it is printed lossily.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An immutable string of bytes that is cheap to clone: short ones, which is nearly all, are kept in place, longer ones
/// are shared. In place means that comparing follows no pointer and that copying a table of names touches nothing else.
#[derive(Clone)]
pub struct Name(Repr);

/// One form for each length, so that equal names look alike.
#[derive(Clone)]
enum Repr {
    Short { len: u8, bytes: [u8; SHORT_MAX] },
    Long(Arc<[u8]>),
}

/// As much as fits beside the length without making a name longer than three words.
const SHORT_MAX: usize = 22;

impl Name {
    /// The longest name that the protocol can carry, in bytes. The catalog refuses anything longer.
    pub const BYTES_MAX: usize = 255;

    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT_MAX {
            return Self(Repr::Long(bytes.into()));
        }
        let mut short = [0; SHORT_MAX];
        short[..bytes.len()].copy_from_slice(bytes);
        Self(Repr::Short {
            len: bytes.len() as u8,
            bytes: short,
        })
    }

    /// The bytes, as they came.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Long(bytes) => bytes,
        }
    }

    /// The name without carriage returns and line feeds, which RabbitMQ takes out of the names of exchanges and queues.
    pub fn without_line_ends(self) -> Self {
        let ends_line = |byte: &u8| matches!(byte, b'\r' | b'\n');
        if self.iter().any(ends_line) {
            self.iter()
                .copied()
                .filter(|byte| !ends_line(byte))
                .collect::<Vec<u8>>()
                .into()
        } else {
            self
        }
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::new(b"")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// As its bytes are hashed, which is what `Borrow` asks for.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for Name {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(&bytes)
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self).fmt(formatter)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self), formatter)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// Accepts bytes in each of the shapes in which formats hand them over.
struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string of bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Name, E> {
        Ok(Name::new(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Name, E> {
        Ok(bytes.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Name, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_taken_out() {
        fn check(before: &str, after: &str) {
            assert_eq!(Name::from(before).without_line_ends(), Name::from(after));
        }
        check("plain", "plain");
        check("two\r\nlines\n", "twolines");
        check("\n", "");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_printed_lossily() {
        assert_eq!(Name::new(b"a\xffb").to_string(), "a\u{fffd}b");
    }

    #[test]
    fn short_and_long_names_behave_alike() {
        assert_eq!(size_of::<Name>(), 24);
        for len in [0, 1, SHORT_MAX - 1, SHORT_MAX, SHORT_MAX + 1, Name::BYTES_MAX] {
            let bytes = vec![b'n'; len];
            let name = Name::new(&bytes);
            assert_eq!(name.as_bytes(), bytes);
            assert_eq!(name, name.clone());
            assert_ne!(name, Name::from([bytes.as_slice(), b"x"].concat()));
            assert!(name < Name::from([bytes.as_slice(), b"\0"].concat()));
        }
    }
}
