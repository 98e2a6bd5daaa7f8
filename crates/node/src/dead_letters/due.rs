//! Messages whose time has come: they go through the exchange that held them back, as they were published, but for the header `x-delay`,
//! which is negative from now on. That is how RabbitMQ's plugin tells a message that has waited from one that is to wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use everack_amqp::content::flags;
use everack_amqp::wire::frame::ContentHeader;
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::catalog::{Snapshot, Unroutable, VhostView};
use everack_broker::routing::{Headers as _, Route, Undelayed};

use super::moving::Letter;
use super::{DeadLetter, Way};
use crate::messages::Messages;
use crate::session::message::Message;
use crate::shared::Shared;

const DELAY: &str = "x-delay";
const CC: &str = "CC";
const BCC: &str = "BCC";

/// Where messages waited, and finds the way of each.
pub(super) struct Room<'a> {
    shared: &'a Shared,
    messages: &'a Messages,
    /// The exchange that held them back, and its virtual host; none if they are gone.
    exchange: Option<(&'a [u8], VhostView)>,
}

impl<'a> Room<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        letter: &DeadLetter,
        messages: &'a Messages,
    ) -> Self {
        let room = snapshot.queue(letter.queue);
        let exchange = room.and_then(|room| Some((room.waits_for()?, snapshot.vhost(&room.vhost)?)));
        Self {
            shared,
            messages,
            exchange,
        }
    }

    pub(super) fn way(&self, index: u16) -> Way<'a> {
        let Some((exchange, vhost)) = &self.exchange else {
            return Way::Nowhere;
        };
        let (messages, index) = (self.messages, usize::from(index));
        let message = Message::new(messages, index, self.shared);
        let written = write(messages, index, message.delay_millis());
        let keys: Vec<&[u8]> = written.keys.iter().map(Vec::as_slice).collect();
        let route = vhost.route_due(exchange, &keys, &Undelayed(&message));
        way(self.shared, vhost, route, written.letter)
    }
}

/// What becomes of a message that nobody wants is what would have become of it when it was published: if nobody is left to refuse it
/// to, it waits for somebody who wants it.
fn way<'a>(shared: &Shared, vhost: &VhostView, route: Option<Arc<Route>>, letter: Letter<'a>) -> Way<'a> {
    if let Some(route) = route.filter(|route| !route.is_empty()) {
        return Way::To(route, letter);
    }
    let counters = &shared.counters;
    match (vhost.unroutable(), vhost.route_to_store()) {
        (Unroutable::Keep { .. }, Some(store)) => {
            counters.unroutable_kept.fetch_add(1, Ordering::Relaxed);
            Way::To(store, letter)
        }
        (Unroutable::Drop, _) => {
            counters.unroutable_dropped.fetch_add(1, Ordering::Relaxed);
            Way::Away
        }
        (Unroutable::Nack | Unroutable::Keep { .. }, _) => Way::Nowhere,
    }
}

/// A message as it goes on, and its routing keys.
struct Written<'a> {
    letter: Letter<'a>,
    keys: Vec<Vec<u8>>,
}

fn write(messages: &Messages, index: usize, delay_millis: Option<u64>) -> Written<'_> {
    let mut properties = Properties::decode(messages.properties(index)).unwrap_or_default();
    let own_key = messages.routing_key(index).to_vec();
    let before = properties.headers.take();
    let mut keys = vec![own_key.clone()];
    let copies = before.iter().flat_map(copies);
    keys.extend(copies);
    let headers = before.map(|headers| waited(headers, delay_millis));
    properties.headers = headers.clone();
    let mut header = messages.header(index)[..ContentHeader::FIXED_BYTES].to_vec();
    properties.encode(&mut header);
    let letter = Letter {
        exchange: messages.exchange(index),
        header,
        headers: headers.unwrap_or_default(),
        flags: messages.flags(index) & !flags::MANDATORY,
        routing_key: own_key,
    };
    Written { letter, keys }
}

/// The further addresses of a message. What is no list of strings was refused when it came in.
fn copies(headers: &Table) -> Vec<Vec<u8>> {
    let lists = [CC, BCC].into_iter().filter_map(|name| headers.get(name));
    let keys = lists.flat_map(|list| match list {
        Value::Array(keys) => keys.as_slice(),
        _ => &[],
    });
    let keys = keys.filter_map(|key| match key {
        Value::String(key) => Some(key.clone()),
        _ => None,
    });
    keys.collect()
}

/// The headers of a message that has waited: the delay is negative, and a 64-bit integer as RabbitMQ makes it; nobody sees `BCC`.
fn waited(headers: Table, delay_millis: Option<u64>) -> Table {
    let kept = headers
        .into_iter()
        .filter(|(name, _)| name.as_bytes() != BCC.as_bytes());
    let Some(delay) = delay_millis else {
        return kept.collect();
    };
    let mut values: Vec<(ShortString, Value)> = kept
        .filter(|(name, _)| name.as_bytes() != DELAY.as_bytes())
        .collect();
    let name = ShortString::new(DELAY).expect("a name in code is short");
    values.push((name, Value::I64(-i64::try_from(delay).unwrap_or(i64::MAX))));
    // RabbitMQ's tables are sorted once it has written into them.
    values.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: Table, delay_millis: Option<u64>, expected: &[(&str, Value)]) {
        let after = waited(before, delay_millis);
        let after: Vec<_> = after
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        assert_eq!(after, expected);
    }

    #[test]
    fn the_delay_is_negative_and_blind_copies_are_gone() {
        let headers = || {
            Table::new()
                .with("z", Value::Bool(true))
                .with("x-delay", Value::String(b"250".to_vec()))
                .with("BCC", Value::Array(vec![Value::String(b"b".to_vec())]))
                .with("a", Value::I32(1))
        };
        check(
            headers(),
            Some(250),
            &[
                ("a", Value::I32(1)),
                ("x-delay", Value::I64(-250)),
                ("z", Value::Bool(true)),
            ],
        );
        check(
            Table::new().with("b", Value::Void).with("a", Value::Void),
            None,
            &[("b", Value::Void), ("a", Value::Void)],
        );
    }

    #[test]
    fn further_addresses_are_those_of_both_lists() {
        let list = |keys: &[&str]| {
            let keys = keys.iter().map(|key| Value::String(key.as_bytes().to_vec()));
            Value::Array(keys.chain([Value::I32(1)]).collect())
        };
        let headers = Table::new()
            .with("BCC", list(&["c"]))
            .with("CC", list(&["a", "b"]));
        assert_eq!(copies(&headers), [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        assert_eq!(
            copies(&Table::new().with("CC", Value::Void)),
            Vec::<Vec<u8>>::new()
        );
    }
}
