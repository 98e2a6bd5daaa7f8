//! What single arguments of queues and consumers may be, in RabbitMQ's words.

use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};
use crate::name::Name;

/// A check of one argument: the error is an Erlang term, printed.
pub(super) type Check = fn(&Value, &Arguments) -> Result<(), String>;

pub(super) fn check_one(
    name: &str,
    check: Check,
    arguments: &Arguments,
    resource: &str,
) -> Result<(), Refusal> {
    let Some(value) = arguments.get(name) else {
        return Ok(());
    };
    check(value, arguments).map_err(|error| {
        Refusal::precondition_failed(format!("invalid arg '{name}' for {resource}: {error}"))
    })
}

fn integer(value: &Value) -> Result<i64, String> {
    value
        .as_integer()
        .ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

fn unacceptable_type(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

pub(super) fn check_integer(value: &Value, _: &Arguments) -> Result<(), String> {
    integer(value).map(|_| ())
}

pub(super) fn check_not_negative(value: &Value, _: &Arguments) -> Result<(), String> {
    match integer(value)? {
        negative @ ..0 => Err(format!("{{value_negative,{negative}}}")),
        _ => Ok(()),
    }
}

pub(super) fn check_expiry(value: &Value, _: &Arguments) -> Result<(), String> {
    match integer(value)? {
        negative @ ..0 => Err(format!("{{value_negative,{negative}}}")),
        0..=MILLIS_MAX => Ok(()),
        large => Err(format!("{{value_too_large,{large}}}")),
    }
}

pub(super) fn check_expires(value: &Value, arguments: &Arguments) -> Result<(), String> {
    if integer(value)? == 0 {
        Err("{value_zero,0}".to_owned())
    } else {
        check_expiry(value, arguments)
    }
}

pub(super) fn check_group_size(value: &Value, arguments: &Arguments) -> Result<(), String> {
    if integer(value)? == 0 {
        Err("{value_zero,0}".to_owned())
    } else {
        check_not_negative(value, arguments)
    }
}

pub(super) fn check_max_priority(value: &Value, arguments: &Arguments) -> Result<(), String> {
    check_not_negative(value, arguments)?;
    match integer(value)? {
        large if large > PRIORITY_MAX => Err(format!("{{max_value_exceeded,{large}}}")),
        _ => Ok(()),
    }
}

pub(super) fn check_bool(value: &Value, _: &Arguments) -> Result<(), String> {
    if matches!(value, Value::Bool(_)) {
        Ok(())
    } else {
        Err(unacceptable_type(value))
    }
}

pub(super) fn check_string(value: &Value, _: &Arguments) -> Result<(), String> {
    value
        .as_long_string()
        .map(|_| ())
        .ok_or_else(|| unacceptable_type(value))
}

/// A longer key than a message can have on the wire is no key. (RabbitMQ takes it, and cannot deliver what it dead-letters.)
pub(super) fn check_dead_letter_routing_key(value: &Value, arguments: &Arguments) -> Result<(), String> {
    check_string(value, arguments)?;
    if arguments.get("x-dead-letter-exchange").is_none() {
        return Err("routing_key_but_no_dlx_defined".to_owned());
    }
    match value.as_long_string() {
        Some(key) if key.len() > Name::BYTES_MAX => Err(format!("{{max_length_exceeded,{}}}", key.len())),
        _ => Ok(()),
    }
}

pub(super) fn check_one_of(value: &Value, known: &[&str], error: &str) -> Result<(), String> {
    let text = value.as_long_string().ok_or_else(|| unacceptable_type(value))?;
    if known.iter().any(|known| known.as_bytes() == text) {
        Ok(())
    } else {
        Err(error.to_owned())
    }
}

pub(super) fn check_placement_tag(value: &Value, arguments: &Arguments) -> Result<(), String> {
    check_string(value, arguments)?;
    match value.as_long_string() {
        Some(b"") => Err("invalid_member_placement_tag_arg".to_owned()),
        _ => Ok(()),
    }
}

pub(super) fn check_queue_mode(value: &Value, _: &Arguments) -> Result<(), String> {
    let mode = String::from_utf8_lossy(value.as_long_string().unwrap_or_default());
    check_one_of(
        value,
        &["default", "lazy"],
        &format!("\"unsupported queue mode '{mode}'\""),
    )
}

pub(super) fn check_queue_version(value: &Value, arguments: &Arguments) -> Result<(), String> {
    check_not_negative(value, arguments)?;
    match integer(value)? {
        1 | 2 => Ok(()),
        other => Err(format!("\"unsupported queue version '{other}'\"")),
    }
}

pub(super) fn check_retry_type(value: &Value, _: &Arguments) -> Result<(), String> {
    check_one_of(
        value,
        &["disabled", "all", "failed", "returned"],
        "invalid_delayed_retry_type",
    )
}

pub(super) fn check_delay(value: &Value, arguments: &Arguments) -> Result<(), String> {
    if integer(value)? == 0 {
        Err("{value_zero,0}".to_owned())
    } else {
        check_not_negative(value, arguments)
    }
}

/// `undefined` is what some clients send to mean nothing.
pub(super) fn check_queue_type(value: &Value, _: &Arguments) -> Result<(), String> {
    let kind = String::from_utf8_lossy(value.as_long_string().unwrap_or_default());
    check_one_of(
        value,
        &["classic", "quorum", "undefined"],
        &format!("\"unsupported queue type '{kind}'\""),
    )
}

const MILLIS_MAX: i64 = 315_360_000_000;
const PRIORITY_MAX: i64 = 255;
