//! From JSON to the broker's types, as RabbitMQ reads it.

use everack_broker::arguments::{Arguments, Value as Argument};
use serde_json::{Map, Value};

/// An object as arguments: whole numbers are signed 64-bit integers, others doubles, texts long strings.
pub(super) fn arguments(object: &Map<String, Value>) -> Arguments {
    object
        .iter()
        .map(|(key, value)| (key.as_str(), argument(value)))
        .collect()
}

fn argument(value: &Value) -> Argument {
    match value {
        Value::Null => Argument::Void,
        Value::Bool(truth) => Argument::Bool(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Argument::Long(whole),
            None => Argument::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Argument::from(text.as_str()),
        Value::Array(values) => {
            let values: Vec<Argument> = values.iter().map(argument).collect();
            Argument::Array(values.into())
        }
        Value::Object(object) => Argument::Table(arguments(object)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_json_has_a_type() {
        let check = |json: Value, expected: Argument| assert_eq!(argument(&json), expected, "{json}");
        check(Value::Null, Argument::Void);
        check(json!(true), Argument::Bool(true));
        check(json!(-7), Argument::Long(-7));
        check(json!(1.5), Argument::from(1.5));
        check(json!(u64::MAX), Argument::from(u64::MAX as f64));
        check(json!("text"), Argument::from("text"));
        let inner: Arguments = [("x", Argument::Long(1))].into_iter().collect();
        check(json!({ "x": 1 }), Argument::Table(inner));
        check(
            json!([1, "a"]),
            Argument::Array(vec![Argument::Long(1), "a".into()].into()),
        );
    }
}
