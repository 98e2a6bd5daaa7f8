//! Whether a declaration says the same as what is there already.

use super::erlang;
use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};

/// Compares one property; `resource` as texts name it. Text and booleans are both compared by how they are printed.
pub(crate) fn check_property(
    property: &str,
    resource: &str,
    current: impl ToString,
    received: impl ToString,
) -> Result<(), Refusal> {
    let (current, received) = (current.to_string(), received.to_string());
    if current == received {
        return Ok(());
    }
    Err(inequivalent(
        property,
        resource,
        &format!("'{received}'"),
        &format!("'{current}'"),
    ))
}

/// Compares those arguments that `names` lists, in its order. All others may differ.
pub(crate) fn check_arguments(
    names: &[&str],
    resource: &str,
    current: &Arguments,
    received: &Arguments,
) -> Result<(), Refusal> {
    names
        .iter()
        .try_for_each(|name| check_argument(name, resource, current.get(name), received.get(name)))
}

fn check_argument(
    name: &str,
    resource: &str,
    current: Option<&Value>,
    received: Option<&Value>,
) -> Result<(), Refusal> {
    match (current, received) {
        (None, None) => Ok(()),
        (Some(current), Some(received)) => {
            if same_value(current, received) {
                return Ok(());
            }
            let (received, current) = (erlang::plain(received), erlang::plain(current));
            Err(inequivalent(
                name,
                resource,
                &format!("'{received}'"),
                &format!("'{current}'"),
            ))
        }
        // The type that a queue has when none is asked for may be asked for.
        (Some(only), None) | (None, Some(only))
            if name == "x-queue-type" && only.as_long_string() == Some(b"classic") =>
        {
            Ok(())
        }
        (current, received) => Err(inequivalent(
            name,
            resource,
            &erlang::described(received),
            &erlang::described(current),
        )),
    }
}

/// Integers of all widths are one type, and so are floats; beyond that only equal bytes are forgiven another type.
fn same_value(left: &Value, right: &Value) -> bool {
    if left == right {
        return true;
    }
    match (left, right) {
        (Value::LongString(left), Value::Binary(right)) | (Value::Binary(left), Value::LongString(right)) => {
            left == right
        }
        _ => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => left == right,
            (None, None) => left.as_float().is_some() && left.as_float() == right.as_float(),
            _ => false,
        },
    }
}

/// A timestamp is a number like any other here.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Timestamp(seconds) => Some((*seconds).into()),
        value => value.as_integer().map(i128::from),
    }
}

fn inequivalent(name: &str, resource: &str, received: &str, current: &str) -> Refusal {
    Refusal::precondition_failed(format!(
        "inequivalent arg '{name}' for {resource}: received {received} but current is {current}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current: Option<Value>, received: Option<Value>, expected: Option<&str>) {
        let arguments = |value: Option<Value>| {
            value
                .into_iter()
                .map(|value| ("x-a", value))
                .collect::<Arguments>()
        };
        let result = check_arguments(
            &["x-a"],
            "queue 'q' in vhost '/'",
            &arguments(current),
            &arguments(received),
        );
        let text = result.err().map(|refusal| refusal.text);
        let expected =
            expected.map(|rest| format!("inequivalent arg 'x-a' for queue 'q' in vhost '/': {rest}"));
        assert_eq!(text, expected);
    }

    #[test]
    fn arguments() {
        check(None, None, None);
        check(Some(1.into()), Some(1_i64.into()), None);
        check(
            Some("a".into()),
            Some(Value::Binary(b"a".as_slice().into())),
            None,
        );
        check(
            Some(1.into()),
            None,
            Some("received none but current is the value '1' of type 'signedint'"),
        );
        check(
            None,
            Some("a".into()),
            Some("received the value 'a' of type 'longstr' but current is none"),
        );
        check(
            Some(1.into()),
            Some(2.into()),
            Some("received '2' but current is '1'"),
        );
        check(
            Some(1.into()),
            Some("1".into()),
            Some("received '1' but current is '1'"),
        );
        check(
            Some(1.into()),
            Some(1.0.into()),
            Some("received '1.0' but current is '1'"),
        );
    }

    #[test]
    fn a_queue_is_classic_when_nothing_is_said() {
        let classic: Arguments = [("x-queue-type", Value::from("classic"))].into_iter().collect();
        let quorum: Arguments = [("x-queue-type", Value::from("quorum"))].into_iter().collect();
        let none = Arguments::default();
        let check =
            |current, received| check_arguments(&["x-queue-type"], "queue", current, received).is_ok();
        assert!(check(&classic, &none));
        assert!(check(&none, &classic));
        assert!(!check(&none, &quorum));
        assert!(!check(&quorum, &none));
        assert!(!check(&classic, &quorum));
    }
}
