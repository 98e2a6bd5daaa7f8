//! The messages of a history: all of one follows from its number, which it carries in its properties, so that even an empty body has one.

use everack_amqp::wire::primitive::{ShortString, put_short_string};
use everack_amqp::wire::properties::{Properties, flag};

use crate::book::{Book, Number};

/// The properties of message `number`: flags, delivery mode, message id.
pub fn properties(number: Number, persistent: bool) -> Vec<u8> {
    let mut bytes = (flag::DELIVERY_MODE | flag::MESSAGE_ID).to_be_bytes().to_vec();
    bytes.push(if persistent { 2 } else { 1 });
    put_short_string(&mut bytes, &ShortString::shortened(&number.to_string()));
    bytes
}

/// The number that properties carry.
pub fn number_of(properties: &[u8]) -> Option<Number> {
    let properties = Properties::decode(properties).ok()?;
    let id = properties.message_id?;
    std::str::from_utf8(id.as_bytes()).ok()?.parse().ok()
}

/// The body of message `number`, `bytes` long.
pub fn body(number: Number, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| (number.wrapping_mul(31).wrapping_add(at as u64 * 7) >> (at % 3)) as u8)
        .collect()
}

/// Whether these are the bytes that were sent as message `number`.
pub fn is_intact(book: &Book, number: Number, properties: &[u8], body: &[u8]) -> bool {
    let Some(publish) = book.messages.get(&number) else {
        return true;
    };
    let sent = publish.message.bytes == body.len() && self::body(number, body.len()) == body;
    sent && [true, false]
        .iter()
        .any(|mode| self::properties(number, *mode) == properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_who_it_is() {
        for number in [0, 7, u64::MAX] {
            assert_eq!(number_of(&properties(number, true)), Some(number));
        }
        assert_eq!(number_of(b"\0\0"), None);
        assert_ne!(body(1, 9), body(2, 9));
    }
}
