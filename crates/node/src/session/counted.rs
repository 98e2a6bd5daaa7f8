//! Tells a consumer how often a message came back, in headers as RabbitMQ's quorum queues write them.
//!
//! `x-acquired-count` is how often it was handed out before, `x-delivery-count` how often that was a failure; the latter is left
//! out as long as it is zero.

use bytes::BytesMut;
use everack_amqp::content::{Batch, Entry, flags};
use everack_amqp::wire::frame::ContentHeader;
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::partition::Marks;

use crate::messages::Messages;

const ACQUIRED: &str = "x-acquired-count";
const FAILED: &str = "x-delivery-count";

/// A copy of the messages `from..to` with the counts in their headers.
pub(super) fn counted(messages: &Messages, from: u16, to: u16, marks: Marks) -> Messages {
    let mut batch = messages.copied(from, to);
    let mut chunk = BytesMut::with_capacity(batch.chunk.len() + 64 * batch.entries.len());
    let entries = (0..batch.entries.len()).map(|index| copy(&batch, index, marks, &mut chunk));
    batch.entries = entries.collect();
    batch.chunk = chunk.freeze();
    Messages::new(batch)
}

/// Appends one message to `chunk`. Properties that cannot be read, which were checked when they came in, stay as they are.
fn copy(batch: &Batch, index: usize, marks: Marks, chunk: &mut BytesMut) -> Entry {
    let address_off = chunk.len() as u32;
    chunk.extend_from_slice(batch.address(index));
    let header_off = chunk.len() as u32;
    let header = batch.header(index);
    match Properties::decode(batch.properties(index)) {
        Ok(mut properties) => {
            properties.headers = Some(with_counts(properties.headers.unwrap_or_default(), marks));
            let mut changed = header[..ContentHeader::FIXED_BYTES].to_vec();
            properties.encode(&mut changed);
            chunk.extend_from_slice(&changed);
        }
        Err(_) => chunk.extend_from_slice(header),
    }
    let body_off = chunk.len() as u32;
    chunk.extend_from_slice(batch.body(index));
    Entry {
        address_off,
        header_off,
        header_len: body_off - header_off,
        body_off,
        flags: batch.flags(index) | flags::HAS_HEADERS,
        ..batch.entries[index]
    }
}

fn with_counts(headers: Table, marks: Marks) -> Table {
    let failures = (marks.failures > 0).then_some((FAILED, i64::from(marks.failures)));
    let counts = [(ACQUIRED, i64::from(marks.deliveries))]
        .into_iter()
        .chain(failures);
    let counts: Vec<_> = counts.collect();
    let is_count = |name: &ShortString| {
        counts
            .iter()
            .any(|(count, _)| count.as_bytes() == name.as_bytes())
    };
    let others = headers.iter().filter(|(name, _)| !is_count(name));
    let others = others.map(|(name, value)| (name.clone(), value.clone()));
    let added = counts
        .iter()
        .map(|&(name, count)| (ShortString::shortened(name), Value::I64(count)));
    others.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with these headers (none at all for `None`), redelivered with these marks; the headers that a consumer sees.
    fn check(headers: Option<&[(&str, i64)]>, marks: (u32, u16), expected: &[(&str, i64)]) {
        let table = |values: &[(&str, i64)]| -> Table {
            let values = values.iter();
            values
                .map(|&(name, value)| (ShortString::shortened(name), Value::I64(value)))
                .collect()
        };
        let properties = Properties {
            headers: headers.map(table),
            priority: Some(3),
            ..Properties::default()
        };
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
        properties.encode(&mut header);
        let address = b"\x01e\x01k";
        let messages = Messages::new(Batch::single(address, &header, b"body", flags::PERSISTENT));
        let marks = Marks {
            deliveries: marks.0,
            failures: marks.1,
            rank: 0,
        };
        let shown = counted(&messages, 0, 1, marks);
        let read = Properties::decode(shown.properties(0)).expect("valid properties");
        assert_eq!(read.headers, Some(table(expected)));
        assert_eq!(read.priority, Some(3));
        assert_eq!((shown.body(0), shown.address(0)), (&b"body"[..], &address[..]));
        assert_eq!(shown.flags(0), flags::PERSISTENT | flags::HAS_HEADERS);
        Batch::from_parts(shown.chunk.clone(), shown.entries.clone(), shown.groups.clone())
            .expect("offsets that fit");
    }

    #[test]
    fn counts_are_added_and_replaced() {
        check(None, (1, 0), &[(ACQUIRED, 1)]);
        check(None, (3, 2), &[(ACQUIRED, 3), (FAILED, 2)]);
        check(Some(&[("a", 7)]), (3, 2), &[("a", 7), (ACQUIRED, 3), (FAILED, 2)]);
        check(
            Some(&[(FAILED, 99), ("a", 7), (ACQUIRED, 98)]),
            (3, 2),
            &[("a", 7), (ACQUIRED, 3), (FAILED, 2)],
        );
        check(Some(&[(FAILED, 99)]), (1, 0), &[(FAILED, 99), (ACQUIRED, 1)]);
    }
}
