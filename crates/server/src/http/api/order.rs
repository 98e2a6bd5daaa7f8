//! What is ordered about messages that are set aside: which of them, and whether it is meant.

use everack_broker::ids::Seq;
use serde::Deserialize;
use serde_json::Value;

use super::filter::Wanted;
use crate::http::refusal::Refusal;

/// An order, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// First number, number behind the last. Several are of few messages each.
    pub(super) ranges: Vec<(Seq, Seq)>,
    /// Of these, only what carries this.
    pub(super) filter: Option<Wanted>,
    /// Only say what would happen.
    pub(super) preview: bool,
}

/// Most messages that are named one by one.
const IDS_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    ids: Option<Vec<u64>>,
    first: Option<u64>,
    last: Option<u64>,
    all: Option<bool>,
    filter: Option<Wanted>,
    #[serde(default)]
    preview: bool,
}

impl Order {
    /// Reads `{"ids": [1, 2]}`, `{"first": 1, "last": 9}`, `{"all": true}` or `{"filter": {"routing_key": "orders"}}`, the last also with
    /// `first` and `last`; each with `"preview": true` or without.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|error| Refusal::Bad(format!("the order cannot be read: {error}")))?;
        Self::read(body)
    }

    /// The same of JSON.
    pub(super) fn read(body: Value) -> Result<Self, Refusal> {
        let body: Body = serde_json::from_value(body)
            .map_err(|error| Refusal::Bad(format!("the order cannot be read: {error}")))?;
        let Body {
            ids,
            first,
            last,
            all,
            filter,
            preview,
        } = body;
        let ranges = match (ids, first, last, all) {
            (Some(ids), None, None, None) if filter.is_none() => ranges(ids)?,
            (None, first, last, None) if filter.is_some() => {
                let end = last.map_or(u64::MAX, |last| last.saturating_add(1));
                vec![(Seq(first.unwrap_or(0)), Seq(end))]
            }
            (None, Some(first), Some(last), None) => vec![(Seq(first), Seq(last.saturating_add(1)))],
            (None, None, None, Some(true)) => vec![(Seq(0), Seq(u64::MAX))],
            _ => {
                let text =
                    "say which messages: \"ids\", or \"first\" and \"last\", or \"filter\", or \"all\": true";
                return Err(Refusal::Bad(text.to_owned()));
            }
        };
        Ok(Self {
            ranges,
            filter,
            preview,
        })
    }
}

/// Neighbours together.
pub(super) fn ranges(mut ids: Vec<u64>) -> Result<Vec<(Seq, Seq)>, Refusal> {
    if ids.len() > IDS_MAX {
        return Err(Refusal::Bad(format!("more than {IDS_MAX} ids")));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut ranges: Vec<(Seq, Seq)> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some((_, end)) if end.0 == id => *end = Seq(id.saturating_add(1)),
            _ => ranges.push((Seq(id), Seq(id.saturating_add(1)))),
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_say_which_messages() {
        let check = |body: &str, expected: Option<(&[(u64, u64)], bool)>| {
            let parsed = Order::parse(body.as_bytes()).ok().map(|order| {
                let ranges: Vec<_> = order.ranges.iter().map(|(first, end)| (first.0, end.0)).collect();
                (ranges, order.preview)
            });
            let expected = expected.map(|(ranges, preview)| (ranges.to_vec(), preview));
            assert_eq!(parsed, expected, "{body}");
        };
        check(r#"{"all":true}"#, Some((&[(0, u64::MAX)], false)));
        check(
            r#"{"ids":[7,3,4,3],"preview":true}"#,
            Some((&[(3, 5), (7, 8)], true)),
        );
        check(r#"{"first":3,"last":9}"#, Some((&[(3, 10)], false)));
        check(r#"{"ids":[]}"#, Some((&[], false)));
        check(
            r#"{"first":9,"last":18446744073709551615}"#,
            Some((&[(9, u64::MAX)], false)),
        );
        check(
            r#"{"filter":{"text":"x"},"first":3}"#,
            Some((&[(3, u64::MAX)], false)),
        );
        for refused in [
            "",
            "{}",
            "[]",
            r#"{"all":false}"#,
            r#"{"all":true,"ids":[1]}"#,
            r#"{"first":1}"#,
            r#"{"ids":[-1]}"#,
            r#"{"ids":["1"]}"#,
            r#"{"all":true,"force":true}"#,
            r#"{"ids":[1],"filter":{}}"#,
            r#"{"filter":{"id":1}}"#,
        ] {
            check(refused, None);
        }
        let many = format!("{{\"ids\":[{}]}}", vec!["1"; IDS_MAX + 1].join(","));
        check(&many, None);
    }
}
