//! Words of the command line that become JSON: arguments, headers, definitions.

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::exit::Misused;

/// `KEY=VALUE`; the value is JSON, or else text that stands for itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    key: String,
    value: Value,
}

impl Pair {
    /// Reads one from the command line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        Ok(Self {
            key: key.to_owned(),
            value: serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())),
        })
    }
}

/// Pairs as an object. The last of equal keys counts.
pub(super) fn object(pairs: Vec<Pair>) -> Map<String, Value> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// Text that has to be JSON.
pub(super) fn json(text: &str, what: &str) -> anyhow::Result<Value> {
    let parsed = serde_json::from_str(text);
    parsed
        .map_err(|error| Misused(format!("{what} must be JSON: {error}")))
        .context("nothing was sent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_json_or_text() {
        let check = |text: &str, expected: Result<Value, &str>| {
            let seen = Pair::parse(text).map(|pair| Value::Object(object(vec![pair])));
            assert_eq!(seen, expected.map_err(str::to_owned), "{text}");
        };
        check("x-max-length=10", Ok(json!({"x-max-length": 10})));
        check("x-queue-type=quorum", Ok(json!({"x-queue-type": "quorum"})));
        check("a=\"10\"", Ok(json!({"a": "10"})));
        check("a=b=c", Ok(json!({"a": "b=c"})));
        check("a=", Ok(json!({"a": ""})));
        check("a", Err("must be KEY=VALUE"));
        check("=a", Err("the key is empty"));
    }
}
