//! The messages of a history: all of one follows from its number, which it carries in its properties, so that even an empty body has one.

use everack_amqp::wire::primitive::{ShortString, put_short_string};
use everack_amqp::wire::properties::{Properties, flag};
use everack_amqp::wire::table::{Table, Value};

use crate::book::{Address, Book, Message, Number, family};

/// The properties of message `number`: flags, delivery mode, message id.
pub fn properties(number: Number, persistent: bool) -> Vec<u8> {
    let mut bytes = (flag::DELIVERY_MODE | flag::MESSAGE_ID).to_be_bytes().to_vec();
    bytes.push(if persistent { 2 } else { 1 });
    put_short_string(&mut bytes, &ShortString::shortened(&number.to_string()));
    bytes
}

/// The properties of a message that may have a priority and an expiration.
pub fn properties_of(message: &Message, persistent: bool) -> Vec<u8> {
    let delay_ms = delay_ms(message);
    if message.priority.is_none() && message.expiration_ms.is_none() && delay_ms.is_none() {
        return properties(message.number, persistent);
    }
    let text = |number: u64| ShortString::shortened(&number.to_string());
    let properties = Properties {
        delivery_mode: Some(if persistent { 2 } else { 1 }),
        priority: message.priority,
        expiration: message.expiration_ms.map(text),
        headers: delay_ms.map(|delay| Table::new().with("x-delay", Value::I64(delay))),
        message_id: Some(text(message.number)),
        ..Properties::default()
    };
    let mut bytes = Vec::new();
    properties.encode(&mut bytes);
    bytes
}

/// For how long a dead letter is held back, where it is.
fn delay_ms(message: &Message) -> Option<i64> {
    let Address::Queue(name) = &message.address else {
        return None;
    };
    let held_back = family::place(name).is_some_and(|place| place.held_back);
    held_back.then(|| 1 + (message.number % 40) as i64)
}

/// How many deliveries of a message have failed, as its headers say.
pub fn failures_of(properties: &[u8]) -> Option<u64> {
    let headers = Properties::decode(properties).ok()?.headers?;
    match headers.get("x-delivery-count")? {
        Value::I64(count) => u64::try_from(*count).ok(),
        Value::I32(count) => u64::try_from(*count).ok(),
        _ => None,
    }
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
    let as_sent = [true, false]
        .iter()
        .any(|mode| properties_of(&publish.message, *mode) == properties);
    sent && (as_sent || has_only_gained_headers(&publish.message, properties))
}

/// Whether properties are those that were sent but for what the broker adds: counts of deliveries, and, where a message died, headers that
/// tell of it instead of its expiration.
fn has_only_gained_headers(message: &Message, properties: &[u8]) -> bool {
    let Ok(mut properties) = Properties::decode(properties) else {
        return false;
    };
    let Some(headers) = properties.headers.take() else {
        return false;
    };
    let ours = |name: &ShortString| name.as_bytes().starts_with(b"x-");
    if !headers.iter().all(|(name, _)| ours(name)) {
        return false;
    }
    // What was held back says so the other way round.
    let delay = headers.get("x-delay").map(|delay| match delay {
        Value::I64(delay) => delay.abs(),
        _ => 0,
    });
    if delay != delay_ms(message) {
        return false;
    }
    let died = headers.get("x-death").is_some();
    let unexpiring = Message {
        expiration_ms: message.expiration_ms.filter(|_| !died),
        // Headers are looked at already.
        address: Address::Queue("".into()),
        ..message.clone()
    };
    let mut bytes = Vec::new();
    properties.encode(&mut bytes);
    [true, false]
        .iter()
        .any(|mode| properties_of(&unexpiring, *mode) == bytes)
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
