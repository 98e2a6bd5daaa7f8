//! The fourteen properties of a message, and cheap looks at them while they are still bytes.
//!
//! ```text
//! | flags u16, one bit a property from the highest down | the properties that are present, in this order |
//! ```
//!
//! The hot path never builds [`Properties`]: [`validate`] says that the bytes are sound and what a broker
//! must know, [`View`] finds single properties, and the bytes travel on as they came.

use super::primitive::{Malformed, Reader, ShortString, put_short_string};
use super::table::{self, Table};

/// Bits of the flags word.
pub mod flag {
    /// MIME type of the body.
    pub const CONTENT_TYPE: u16 = 1 << 15;
    /// MIME encoding of the body.
    pub const CONTENT_ENCODING: u16 = 1 << 14;
    /// A table of the application's own.
    pub const HEADERS: u16 = 1 << 13;
    /// 2 means persistent.
    pub const DELIVERY_MODE: u16 = 1 << 12;
    /// 0 to 255.
    pub const PRIORITY: u16 = 1 << 11;
    /// Correlation of a reply with its request.
    pub const CORRELATION_ID: u16 = 1 << 10;
    /// Where a reply should go.
    pub const REPLY_TO: u16 = 1 << 9;
    /// Milliseconds to live, as decimal text.
    pub const EXPIRATION: u16 = 1 << 8;
    /// The application's identifier.
    pub const MESSAGE_ID: u16 = 1 << 7;
    /// Seconds since 1970.
    pub const TIMESTAMP: u16 = 1 << 6;
    /// The application's kind of message.
    pub const TYPE: u16 = 1 << 5;
    /// Who published it; checked against the login.
    pub const USER_ID: u16 = 1 << 4;
    /// Which application published it.
    pub const APP_ID: u16 = 1 << 3;
    /// A relic of 0-8.
    pub const CLUSTER_ID: u16 = 1 << 2;
    /// Bits without a meaning in 0-9-1.
    pub const UNDEFINED: u16 = 0b11;
}

/// Value of `delivery_mode` that means persistent.
pub const PERSISTENT: u8 = 2;

/// All properties, taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(
    missing_docs,
    reason = "the names are the specification's; `flag` says what each means"
)]
pub struct Properties {
    pub content_type: Option<ShortString>,
    pub content_encoding: Option<ShortString>,
    pub headers: Option<Table>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<ShortString>,
    pub reply_to: Option<ShortString>,
    pub expiration: Option<ShortString>,
    pub message_id: Option<ShortString>,
    pub timestamp: Option<u64>,
    pub kind: Option<ShortString>,
    pub user_id: Option<ShortString>,
    pub app_id: Option<ShortString>,
    pub cluster_id: Option<ShortString>,
}

impl Properties {
    /// Reads flags and properties: a content header behind its first twelve bytes.
    pub fn decode(bytes: &[u8]) -> Result<Properties, Malformed> {
        let view = View::parse(bytes)?;
        let short = |bytes: Option<&[u8]>| bytes.map(|bytes| ShortString::new(bytes).unwrap_or_default());
        Ok(Properties {
            content_type: short(view.content_type),
            content_encoding: short(view.content_encoding),
            headers: view.headers.map(Table::decode).transpose()?,
            delivery_mode: view.delivery_mode,
            priority: view.priority,
            correlation_id: short(view.correlation_id),
            reply_to: short(view.reply_to),
            expiration: short(view.expiration),
            message_id: short(view.message_id),
            timestamp: view.timestamp,
            kind: short(view.kind),
            user_id: short(view.user_id),
            app_id: short(view.app_id),
            cluster_id: short(view.cluster_id),
        })
    }

    /// Appends flags and properties.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut flags = 0;
        out.extend_from_slice(&[0; 2]);
        put_short(out, &mut flags, flag::CONTENT_TYPE, &self.content_type);
        put_short(out, &mut flags, flag::CONTENT_ENCODING, &self.content_encoding);
        if let Some(headers) = &self.headers {
            flags |= flag::HEADERS;
            headers.encode(out);
        }
        put_bytes(
            out,
            &mut flags,
            flag::DELIVERY_MODE,
            self.delivery_mode.map(|value| [value]),
        );
        put_bytes(
            out,
            &mut flags,
            flag::PRIORITY,
            self.priority.map(|value| [value]),
        );
        put_short(out, &mut flags, flag::CORRELATION_ID, &self.correlation_id);
        put_short(out, &mut flags, flag::REPLY_TO, &self.reply_to);
        put_short(out, &mut flags, flag::EXPIRATION, &self.expiration);
        put_short(out, &mut flags, flag::MESSAGE_ID, &self.message_id);
        put_bytes(
            out,
            &mut flags,
            flag::TIMESTAMP,
            self.timestamp.map(u64::to_be_bytes),
        );
        put_short(out, &mut flags, flag::TYPE, &self.kind);
        put_short(out, &mut flags, flag::USER_ID, &self.user_id);
        put_short(out, &mut flags, flag::APP_ID, &self.app_id);
        put_short(out, &mut flags, flag::CLUSTER_ID, &self.cluster_id);
        out[start..start + 2].copy_from_slice(&flags.to_be_bytes());
    }
}

/// All properties, still lying in the bytes they came in. Headers are the inside of the table, unchecked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are the specification's; `flag` says what each means"
)]
pub struct View<'a> {
    pub content_type: Option<&'a [u8]>,
    pub content_encoding: Option<&'a [u8]>,
    pub headers: Option<&'a [u8]>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a [u8]>,
    pub reply_to: Option<&'a [u8]>,
    pub expiration: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub timestamp: Option<u64>,
    pub kind: Option<&'a [u8]>,
    pub user_id: Option<&'a [u8]>,
    pub app_id: Option<&'a [u8]>,
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> View<'a> {
    /// Finds the properties; the inside of the headers is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<View<'a>, Malformed> {
        let mut reader = Reader::new(bytes);
        let flags = reader.short()?;
        if flags & flag::UNDEFINED != 0 {
            return Err(Malformed::PropertyFlags(flags));
        }
        let view = View {
            content_type: short(&mut reader, flags & flag::CONTENT_TYPE)?,
            content_encoding: short(&mut reader, flags & flag::CONTENT_ENCODING)?,
            headers: present(flags & flag::HEADERS, || reader.long_bytes())?,
            delivery_mode: present(flags & flag::DELIVERY_MODE, || reader.octet())?,
            priority: present(flags & flag::PRIORITY, || reader.octet())?,
            correlation_id: short(&mut reader, flags & flag::CORRELATION_ID)?,
            reply_to: short(&mut reader, flags & flag::REPLY_TO)?,
            expiration: short(&mut reader, flags & flag::EXPIRATION)?,
            message_id: short(&mut reader, flags & flag::MESSAGE_ID)?,
            timestamp: present(flags & flag::TIMESTAMP, || reader.long_long())?,
            kind: short(&mut reader, flags & flag::TYPE)?,
            user_id: short(&mut reader, flags & flag::USER_ID)?,
            app_id: short(&mut reader, flags & flag::APP_ID)?,
            cluster_id: short(&mut reader, flags & flag::CLUSTER_ID)?,
        };
        reader.end()?;
        Ok(view)
    }

    /// Whether the publisher asked for persistence.
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(PERSISTENT)
    }
}

/// What a broker must know of a message's properties to handle it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Which properties are present, as in [`flag`].
    pub flags: u16,
    /// Whether the publisher asked for persistence.
    pub persistent: bool,
    /// The priority, if one was given.
    pub priority: Option<u8>,
}

/// Checks flags and properties to the last byte, headers included, without building anything.
#[inline]
pub fn validate(bytes: &[u8]) -> Result<Summary, Malformed> {
    // Most messages carry no property or the delivery mode alone.
    match *bytes {
        [0, 0] => Ok(Summary::default()),
        [0x10, 0, mode] => {
            let persistent = mode == PERSISTENT;
            Ok(Summary {
                flags: flag::DELIVERY_MODE,
                persistent,
                priority: None,
            })
        }
        _ => validate_all(bytes),
    }
}

#[inline(never)]
fn validate_all(bytes: &[u8]) -> Result<Summary, Malformed> {
    let view = View::parse(bytes)?;
    if let Some(headers) = view.headers {
        table::validate(headers)?;
    }
    let flags = u16::from_be_bytes([bytes[0], bytes[1]]);
    Ok(Summary {
        flags,
        persistent: view.is_persistent(),
        priority: view.priority,
    })
}

/// An `expiration` property that is not a number of milliseconds. The texts are RabbitMQ's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpirationError {
    /// It does not begin with a number.
    #[error("invalid expiration '{0}': no_integer")]
    NoInteger(String),
    /// Something follows the number.
    #[error("invalid expiration '{0}': {{leftover_string,\"{1}\"}}")]
    Leftover(String, String),
    /// It is below zero.
    #[error("invalid expiration '{0}': {{value_negative,{1}}}")]
    Negative(String, i128),
    /// More than a hundred years.
    #[error("invalid expiration '{0}': {{value_too_large,{1}}}")]
    TooLarge(String, i128),
}

/// The longest time to live that RabbitMQ takes: a hundred years, in milliseconds.
pub const EXPIRATION_MS_MAX: u64 = 315_360_000_000 * 10;

/// Reads an `expiration` property as milliseconds to live.
#[inline]
pub fn expiration_ms(text: &[u8]) -> Result<u64, ExpirationError> {
    match short_number(text) {
        Some(ms) if ms <= EXPIRATION_MS_MAX => Ok(ms),
        _ => expiration_in_full(text),
    }
}

/// Digits alone, and so few that they cannot overflow: what practically every publisher writes.
#[inline]
fn short_number(text: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 18;
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| number * 10 + u64::from(digit))
    })
}

/// With all that RabbitMQ takes or has a text for: a sign, leading zeros without end, what is too large.
#[cold]
fn expiration_in_full(text: &[u8]) -> Result<u64, ExpirationError> {
    let given = String::from_utf8_lossy(text).into_owned();
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text[sign..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 {
        return Err(ExpirationError::NoInteger(given));
    }
    let (number, leftover) = text.split_at(sign + digits);
    if !leftover.is_empty() {
        let leftover = String::from_utf8_lossy(leftover).into_owned();
        return Err(ExpirationError::Leftover(given, leftover));
    }
    // Digits and a sign are ASCII, and a number beyond 38 digits is far beyond the limit anyway.
    let number = std::str::from_utf8(number).unwrap_or_default();
    let number: i128 = number.parse().unwrap_or(if number.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    });
    match u64::try_from(number) {
        Ok(ms) if ms <= EXPIRATION_MS_MAX => Ok(ms),
        _ if number < 0 => Err(ExpirationError::Negative(given, number)),
        _ => Err(ExpirationError::TooLarge(given, number)),
    }
}

fn present<T>(bit: u16, read: impl FnOnce() -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
    if bit == 0 { Ok(None) } else { read().map(Some) }
}

fn short<'a>(reader: &mut Reader<'a>, bit: u16) -> Result<Option<&'a [u8]>, Malformed> {
    present(bit, || reader.short_bytes())
}

fn put_short(out: &mut Vec<u8>, flags: &mut u16, bit: u16, value: &Option<ShortString>) {
    if let Some(value) = value {
        *flags |= bit;
        put_short_string(out, value);
    }
}

fn put_bytes<const N: usize>(out: &mut Vec<u8>, flags: &mut u16, bit: u16, value: Option<[u8; N]>) {
    if let Some(value) = value {
        *flags |= bit;
        out.extend_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, &str>) {
        let found = expiration_ms(text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text:?}");
        let in_full = expiration_in_full(text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(found, in_full, "{text:?}: the short way and the long one differ");
    }

    #[test]
    fn an_expiration_is_milliseconds_in_decimal_digits() {
        check("0", Ok(0));
        check("3600000", Ok(3_600_000));
        check("007", Ok(7));
        check("+7", Ok(7));
        check("-0", Ok(0));
        check("0000000000000000000000000000000000005", Ok(5));
        check("3153600000000", Ok(EXPIRATION_MS_MAX));
        check(
            "3153600000001",
            Err("invalid expiration '3153600000001': {value_too_large,3153600000001}"),
        );
        check(
            "999999999999999999",
            Err("invalid expiration '999999999999999999': {value_too_large,999999999999999999}"),
        );
        check(
            "18446744073709551616",
            Err("invalid expiration '18446744073709551616': {value_too_large,18446744073709551616}"),
        );
        check("-5", Err("invalid expiration '-5': {value_negative,-5}"));
        check("", Err("invalid expiration '': no_integer"));
        check("soon", Err("invalid expiration 'soon': no_integer"));
        check("12 s", Err("invalid expiration '12 s': {leftover_string,\" s\"}"));
        check("1:", Err("invalid expiration '1:': {leftover_string,\":\"}"));
        check("1/", Err("invalid expiration '1/': {leftover_string,\"/\"}"));
    }
}
