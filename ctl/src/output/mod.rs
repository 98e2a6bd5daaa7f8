//! How answers look: tables for people, JSON for scripts. Knows nothing of brokers.

pub(crate) mod cell;
pub(crate) mod table;
pub(crate) mod terminal;

use std::cmp::Ordering;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::Value;

/// Prints a text that is complete, line ends included. A reader that has seen enough, as `head` has, is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON, for scripts.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// The field of an object by its path, as `message_stats.publish`. A key with a dot in it is found too.
pub(crate) fn field<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let inner = object.get(&path[..at])?;
        field(inner, &path[at + 1..])
    })
}

/// The entries of a list; none of what is no list.
pub(crate) fn entries(answer: &Value) -> &[Value] {
    answer.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What has none comes first, then numbers by value, then all else as text.
pub(crate) fn compared(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let rank = |value: Option<&Value>| match value {
        None | Some(Value::Null) => 0,
        Some(Value::Number(_)) => 1,
        Some(_) => 2,
    };
    let by_value = match (number(one), number(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => {
            let text = |value: Option<&Value>| value.map(cell::plain).unwrap_or_default();
            text(one).cmp(&text(other))
        }
    };
    rank(one).cmp(&rank(other)).then(by_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_have_an_order() {
        let check = |one: Value, other: Value, expected| {
            assert_eq!(compared(Some(&one), Some(&other)), expected, "{one} {other}");
            assert_eq!(
                compared(Some(&other), Some(&one)),
                expected.reverse(),
                "{other} {one}"
            );
        };
        check(json!(9), json!(10), Ordering::Less);
        check(json!(10), json!("9"), Ordering::Less);
        check(json!(null), json!(-1), Ordering::Less);
        check(json!("a"), json!("b"), Ordering::Less);
        check(json!(2), json!(2.0), Ordering::Equal);
        assert_eq!(compared(None, Some(&json!(0))), Ordering::Less);
    }
}
