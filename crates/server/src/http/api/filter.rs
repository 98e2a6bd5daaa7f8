//! Which messages are looked for: by what they carry, where they were sent, and what is in their bodies.

use everack_amqp::wire::table::Table;
use everack_node::messages::Messages;
use everack_node::translate::from_amqp;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::to_json;
use crate::http::refusal::Refusal;

/// Most bytes of a text that is looked for in bodies.
const TEXT_BYTES_MAX: usize = 1_000;

/// All that is said has to be so.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    wanted: Wanted,
    text: Option<Regex>,
}

/// As it is written in an order, or behind the question mark.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) message_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) exchange: Option<String>,
    pub(super) routing_key: Option<String>,
    /// Texts as they are, numbers and truth values as JSON writes them.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Somewhere in the body.
    pub(super) text: Option<String>,
}

impl Wanted {
    /// Takes one parameter of a query; `false` if it is about something else. A header is `header=NAME:VALUE`.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, Refusal> {
        let place = match name {
            "message_id" => &mut self.message_id,
            "correlation_id" => &mut self.correlation_id,
            "exchange" => &mut self.exchange,
            "routing_key" => &mut self.routing_key,
            "text" => &mut self.text,
            "header" => {
                let pair = value.split_once(':');
                let (name, value) = pair.ok_or(Refusal::bad("header is not NAME:VALUE"))?;
                self.headers.insert(name.to_owned(), value.to_owned());
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *place = Some(value.to_owned());
        Ok(true)
    }
}

impl Filter {
    pub(super) fn new(wanted: Wanted) -> Result<Self, Refusal> {
        let text = wanted.text.as_deref().filter(|text| !text.is_empty());
        if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Refusal::Bad(format!(
                "the text is longer than {TEXT_BYTES_MAX} bytes"
            )));
        }
        let pattern = text.map(|text| RegexBuilder::new(&regex::escape(text)).build());
        let text = pattern
            .transpose()
            .map_err(|error| Refusal::Bad(format!("the text cannot be looked for: {error}")))?;
        Ok(Self { wanted, text })
    }

    /// Whether it lets everything through.
    pub(super) fn is_open(&self) -> bool {
        self.wanted == Wanted::default()
    }

    pub(super) fn fits(&self, messages: &Messages, index: usize) -> bool {
        let Wanted {
            message_id,
            correlation_id,
            exchange,
            routing_key,
            headers,
            ..
        } = &self.wanted;
        let is = |wanted: &Option<String>, found: Option<&[u8]>| {
            let Some(wanted) = wanted else { return true };
            found == Some(wanted.as_bytes())
        };
        let view = messages.view(index);
        is(exchange, Some(messages.exchange(index)))
            && is(routing_key, Some(messages.routing_key(index)))
            && is(message_id, view.message_id)
            && is(correlation_id, view.correlation_id)
            && (headers.is_empty() || has_headers(view.headers, headers))
            && self
                .text
                .as_ref()
                .is_none_or(|text| text.is_match(messages.body(index)))
    }
}

fn has_headers(found: Option<&[u8]>, wanted: &BTreeMap<String, String>) -> bool {
    let table = found.and_then(|bytes| Table::decode(bytes).ok());
    let Some(table) = table else { return false };
    let found = to_json::arguments(&from_amqp::arguments(&table));
    wanted.iter().all(|(name, wanted)| match found.get(name) {
        None => false,
        Some(Value::String(text)) => text == wanted,
        Some(value) => {
            let text = value.to_string();
            text == *wanted
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use everack_amqp::content::{Batch, Entry, Group};
    use everack_amqp::short_list::ShortList;
    use everack_amqp::wire::primitive::ShortString;
    use everack_amqp::wire::properties::Properties;

    use super::*;

    fn message() -> Messages {
        let headers = Table::new()
            .with("kind", "order")
            .with("try", 3i64)
            .with("last", true);
        let properties = Properties {
            headers: Some(headers),
            message_id: Some(ShortString::shortened("m1")),
            ..Properties::default()
        };
        let mut chunk = BytesMut::new();
        for part in ["shop", "orders.new"] {
            chunk.extend_from_slice(&[part.len() as u8]);
            chunk.extend_from_slice(part.as_bytes());
        }
        let header_off = chunk.len() as u32;
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
        properties.encode(&mut header);
        chunk.extend_from_slice(&header);
        chunk.extend_from_slice(b"a (small) b");
        let header_len = header.len() as u32;
        let entry = Entry {
            address_off: 0,
            address_len: header_off as u16,
            header_off,
            header_len,
            body_off: header_off + header_len,
            body_len: 11,
            flags: 0,
        };
        let group = Group {
            from: 0,
            to: 1,
            mandatory: false,
        };
        let batch = Batch::from_parts(chunk.freeze(), ShortList::one(entry), ShortList::one(group));
        Messages::new(batch.expect("the parts lie side by side"))
    }

    #[test]
    fn all_that_is_said_has_to_be_so() {
        let message = message();
        let check = |query: &[(&str, &str)], expected: bool| {
            let mut wanted = Wanted::default();
            for (name, value) in query {
                assert_eq!(wanted.take(name, value), Ok(true), "{name}");
            }
            let filter = Filter::new(wanted).expect("it is a filter");
            assert_eq!(filter.is_open(), query.is_empty());
            assert_eq!(filter.fits(&message, 0), expected, "{query:?}");
        };
        check(&[], true);
        check(&[("message_id", "m1"), ("exchange", "shop")], true);
        check(&[("message_id", "m")], false);
        check(&[("correlation_id", "m1")], false);
        check(&[("routing_key", "orders.new"), ("text", "(small)")], true);
        check(&[("text", "large")], false);
        check(&[("header", "kind:order"), ("header", "try:3")], true);
        check(&[("header", "last:true")], true);
        check(&[("header", "try:4")], false);
        check(&[("header", "none:")], false);
        check(&[("message_id", "m1"), ("text", "large")], false);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let mut wanted = Wanted::default();
        assert_eq!(wanted.take("count", "1"), Ok(false));
        assert!(wanted.take("header", "kind").is_err());
        wanted.text = Some("x".repeat(TEXT_BYTES_MAX + 1));
        assert!(Filter::new(wanted).is_err());
    }
}
