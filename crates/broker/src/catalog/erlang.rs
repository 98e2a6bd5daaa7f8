//! Values as RabbitMQ's texts print them, which is as Erlang terms.

use std::fmt::Write;

use crate::arguments::{Arguments, Value};

/// What a text says of an argument that may be missing: `none` or `the value '1000' of type 'signedint'`.
pub(crate) fn described(value: Option<&Value>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{}' of type '{}'", plain(value), value.type_name()),
    )
}

/// A value between quotes: bytes as they are, everything else as a term.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::LongString(bytes) | Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        value => term(value),
    }
}

/// A value as a term.
pub(crate) fn term(value: &Value) -> String {
    let mut out = String::new();
    write_term(value, &mut out);
    out
}

/// Bytes as a term: `<<"foo">>` where they can be printed, `<<0,255>>` where not.
pub(crate) fn binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "<<>>".to_owned(),
        Ok(text) if text.chars().all(|letter| !letter.is_control()) => {
            let suffix = if text.is_ascii() { "" } else { "/utf8" };
            format!(
                "<<\"{}\"{suffix}>>",
                text.replace('\\', "\\\\").replace('"', "\\\"")
            )
        }
        _ => {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            format!("<<{}>>", numbers.join(","))
        }
    }
}

fn write_term(value: &Value, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Void => write!(out, "undefined"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Float(_) | Value::Double(_) => write!(out, "{}", float(value.as_float().unwrap_or_default())),
        Value::Decimal { scale, digits } => write!(out, "{{{scale},{digits}}}"),
        Value::LongString(bytes) | Value::Binary(bytes) => write!(out, "{}", binary(bytes)),
        Value::Timestamp(seconds) => write!(out, "{seconds}"),
        Value::Table(table) => {
            write_table(table, out);
            Ok(())
        }
        Value::Array(values) => {
            write_array(values, out);
            Ok(())
        }
        integer => write!(out, "{}", integer.as_integer().unwrap_or_default()),
    };
}

fn write_table(table: &Arguments, out: &mut String) {
    out.push('[');
    for (number, (name, value)) in table.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{{},{},", binary(name), value.type_name());
        write_term(value, out);
        out.push('}');
    }
    out.push(']');
}

fn write_array(values: &[Value], out: &mut String) {
    out.push('[');
    for (number, value) in values.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{{},", value.type_name());
        write_term(value, out);
        out.push('}');
    }
    out.push(']');
}

/// A float always shows its point: 1.0, 1.0e22.
fn float(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms() {
        fn check(value: Value, expected: &str) {
            assert_eq!(term(&value), expected);
        }
        check(1000.into(), "1000");
        check((-1_i64).into(), "-1");
        check(true.into(), "true");
        check(1.0.into(), "1.0");
        check(1e22.into(), "1.0e22");
        check("".into(), "<<>>");
        check("foo".into(), "<<\"foo\">>");
        check("käse".into(), "<<\"käse\"/utf8>>");
        check(Value::Binary(b"\x00\xff".as_slice().into()), "<<0,255>>");
        check(Value::Void, "undefined");
        check(
            Value::Array([1.into(), "a".into()].into()),
            "[{signedint,1},{longstr,<<\"a\">>}]",
        );
        check(
            Value::Table([("k", true.into())].into_iter().collect()),
            "[{<<\"k\">>,bool,true}]",
        );
        check(
            Value::Decimal {
                scale: 2,
                digits: 314,
            },
            "{2,314}",
        );
    }

    #[test]
    fn descriptions() {
        assert_eq!(described(None), "none");
        assert_eq!(
            described(Some(&1000.into())),
            "the value '1000' of type 'signedint'"
        );
        assert_eq!(described(Some(&"x".into())), "the value 'x' of type 'longstr'");
    }
}
