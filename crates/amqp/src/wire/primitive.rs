//! Numbers and strings as they lie on the wire (all big endian). Not responsible for anything longer than a
//! string.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use super::table::Table;

/// Bytes that are not what the protocol asks for. Never a reason to panic: the connection is told what was
/// wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length points behind the end.
    #[error("it ends too early")]
    Truncated,
    /// Something follows where nothing should.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A type octet of a field table that nobody defined.
    #[error("unknown field type {0}")]
    FieldType(u8),
    /// Tables within tables beyond [`super::table::DEPTH_MAX`].
    #[error("nested too deeply")]
    Depth,
    /// A property flag that 0-9-1 does not define.
    #[error("undefined property flags {0:#06x}")]
    PropertyFlags(u16),
}

/// Reads from the front of a slice; every step is checked.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn octet(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    #[inline]
    pub fn short(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    #[inline]
    pub fn long(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    #[inline]
    pub fn long_long(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// The bytes of a short string, without its length.
    #[inline]
    pub fn short_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.octet()?;
        self.take(usize::from(length))
    }

    /// The bytes of a long string, without its length.
    #[inline]
    pub fn long_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.long()?;
        self.take(length as usize)
    }

    /// A short string of its own.
    pub fn short_string(&mut self) -> Result<ShortString, Malformed> {
        Ok(ShortString(self.short_bytes()?.into()))
    }

    /// A long string of its own.
    pub fn long_string(&mut self) -> Result<Vec<u8>, Malformed> {
        Ok(self.long_bytes()?.to_vec())
    }

    /// A field table with its length in front.
    pub fn table(&mut self) -> Result<Table, Malformed> {
        Table::decode(self.long_bytes()?)
    }

    /// An error unless everything has been read.
    pub fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(Malformed::Trailing(count)),
        }
    }
}

/// Up to 255 bytes, usually but not always UTF-8.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortString(Box<[u8]>);

/// More than 255 bytes do not fit a short string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes do not fit a short string")]
pub struct TooLong(pub usize);

impl ShortString {
    /// The most bytes one can hold.
    pub const LENGTH_MAX: usize = 255;

    /// Copies `bytes`; an error when there are more than 255.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<ShortString, TooLong> {
        let bytes = bytes.as_ref();
        if bytes.len() > Self::LENGTH_MAX {
            Err(TooLong(bytes.len()))
        } else {
            Ok(ShortString(bytes.into()))
        }
    }

    /// Copies at most 255 bytes of `text`, cut between characters, with dots to show the cut. For texts that
    /// only people read.
    pub fn shortened(text: &str) -> ShortString {
        if text.len() <= Self::LENGTH_MAX {
            return ShortString(text.as_bytes().into());
        }
        let mut end = Self::LENGTH_MAX - 3;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        ShortString([&text.as_bytes()[..end], b"..."].concat().into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for ShortString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ShortString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for ShortString {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for ShortString {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<ShortString, TooLong> {
        ShortString::new(text)
    }
}

impl PartialEq<str> for ShortString {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for ShortString {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl fmt::Display for ShortString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ShortString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Appends a short string with its length.
pub fn put_short_string(out: &mut Vec<u8>, string: &ShortString) {
    // The length fits: a `ShortString` is never built longer.
    out.push(string.len() as u8);
    out.extend_from_slice(string);
}

/// Appends a long string with its length. What does not fit four bytes of length is cut; nobody builds one.
pub fn put_long_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..length as usize]);
}
