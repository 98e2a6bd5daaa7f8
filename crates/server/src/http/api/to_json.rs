//! From the broker's types to JSON.
//!
//! Names and long strings are bytes; what is not UTF-8 is shown lossily, as JSON has no other way.

use everack_broker::arguments::{Arguments, Value as Argument};
use everack_broker::catalog::QueueKind;
use everack_broker::name::Name;
use serde_json::{Map, Value, json};

/// A name as text.
pub(super) fn name(name: &Name) -> Value {
    Value::String(name.to_string())
}

/// Arguments as an object. The first of equal names counts, as everywhere.
pub(super) fn arguments(arguments: &Arguments) -> Value {
    let mut object = Map::new();
    for (key, value) in arguments {
        object.entry(key.to_string()).or_insert_with(|| argument(value));
    }
    Value::Object(object)
}

fn argument(value: &Argument) -> Value {
    match value {
        Argument::Void => Value::Null,
        Argument::Bool(bool) => json!(bool),
        Argument::LongString(bytes) | Argument::Binary(bytes) => json!(String::from_utf8_lossy(bytes)),
        Argument::Timestamp(seconds) => json!(seconds),
        Argument::Table(table) => arguments(table),
        Argument::Array(values) => values.iter().map(argument).collect(),
        Argument::Decimal { scale, digits } => json!(f64::from(*digits) / 10f64.powi(i32::from(*scale))),
        other => other
            .as_integer()
            .map(Value::from)
            .or_else(|| other.as_float().map(Value::from))
            .unwrap_or(Value::Null),
    }
}

/// RabbitMQ's name of a queue's type.
pub(super) fn queue_type(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_argument_has_a_face() {
        let check = |value: Argument, expected: Value| {
            let arguments: Arguments = [("key", value)].into_iter().collect();
            assert_eq!(super::arguments(&arguments), json!({ "key": expected }));
        };
        check(Argument::Void, Value::Null);
        check(true.into(), json!(true));
        check(Argument::Byte(-1), json!(-1));
        check(Argument::UnsignedInt(7), json!(7));
        check(Argument::Long(i64::MAX), json!(i64::MAX));
        check(1.5.into(), json!(1.5));
        check("text".into(), json!("text"));
        check(
            Argument::LongString(b"a\xff".as_slice().into()),
            json!("a\u{fffd}"),
        );
        check(Argument::Timestamp(9), json!(9));
        check(
            Argument::Decimal {
                scale: 2,
                digits: 275,
            },
            json!(2.75),
        );
        let inner: Arguments = [("x", Argument::from(1))].into_iter().collect();
        check(Argument::Table(inner), json!({ "x": 1 }));
        let values = [Argument::from(1), "a".into()];
        check(Argument::Array(values.as_slice().into()), json!([1, "a"]));
    }
}
