//! Names: of exchanges, queues, routing keys, virtual hosts and users.
//!
//! A name is a string of bytes. AMQP does not promise UTF-8, so nothing here requires it; it is printed lossily.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A shared, immutable string of bytes. Cloning costs one counter.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The longest name that the protocol can carry, in bytes. The catalog refuses anything longer.
    pub const BYTES_MAX: usize = 255;

    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// The bytes, as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
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

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
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
        Self(bytes.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(formatter)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), formatter)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
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
}
