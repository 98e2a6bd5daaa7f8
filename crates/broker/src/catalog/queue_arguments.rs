//! The arguments of queues: what they may be and what they mean.
//!
//! Checked as RabbitMQ does, in its order and its words. Arguments it does not know are kept, shown and otherwise ignored.
//! What the settings do (expiry, bounds, priorities, dead letters) is the partition's business.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};
use crate::name::Name;
use crate::partition::{Retry, RetryKind};

/// The type of queue that was asked for. Both are our one kind of queue; the type decides which arguments are known and
/// which properties are possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueKind {
    /// Also when nothing was asked for.
    #[default]
    Classic,
    /// Always durable, never exclusive.
    Quorum,
}

/// What the arguments of a queue mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// `x-queue-type`.
    pub kind: QueueKind,
    /// `x-expires`: the queue goes when unused for so long.
    pub expires_millis: Option<u64>,
    /// `x-message-ttl`.
    pub message_ttl_millis: Option<u64>,
    /// `x-max-length`, in messages.
    pub messages_max: Option<u64>,
    /// `x-max-length-bytes`.
    pub bytes_max: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`. Need not exist.
    pub dead_letter_exchange: Option<Name>,
    /// `x-dead-letter-routing-key`; none keeps the message's own.
    pub dead_letter_routing_key: Option<Name>,
    /// `x-max-priority`.
    pub priority_max: Option<u8>,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// `x-consumer-timeout`, unless a consumer brings its own.
    pub consumer_timeout_millis: Option<u64>,
    /// `x-delayed-retry-type`, `-min`, `-max` and `-multiplier`.
    pub retry: Option<Retry>,
    /// `x-delivery-limit` as given; below zero is no limit. RabbitMQ has it on quorum queues only.
    pub delivery_limit: Option<i64>,
}

/// What happens to a message that a queue has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest makes room.
    #[default]
    DropHead,
    /// The new one is refused.
    RejectPublish,
    /// The new one is refused and dead-lettered.
    RejectPublishDlx,
}

/// A check of one argument: the error is an Erlang term, printed.
pub(super) type Check = fn(&Value, &Arguments) -> Result<(), String>;

/// In the order in which they are checked.
const CHECKS: &[(&str, Check)] = &[
    ("x-expires", check_expires),
    ("x-message-ttl", check_expiry),
    ("x-dead-letter-exchange", check_string),
    ("x-dead-letter-routing-key", check_dead_letter_routing_key),
    ("x-dead-letter-strategy", |value, _| {
        check_one_of(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
    }),
    ("x-max-length", check_not_negative),
    ("x-max-length-bytes", check_not_negative),
    ("x-max-in-memory-length", check_not_negative),
    ("x-max-in-memory-bytes", check_not_negative),
    ("x-max-priority", check_max_priority),
    ("x-overflow", |value, _| {
        check_one_of(
            value,
            &["drop-head", "reject-publish", "reject-publish-dlx"],
            "invalid_overflow",
        )
    }),
    ("x-queue-mode", check_queue_mode),
    ("x-queue-version", check_queue_version),
    ("x-single-active-consumer", check_bool),
    ("x-queue-type", check_queue_type),
    ("x-quorum-initial-group-size", check_group_size),
    ("x-delivery-limit", check_integer),
    ("x-consumer-timeout", check_not_negative),
    ("x-delayed-retry-type", check_retry_type),
    ("x-delayed-retry-min", check_delay),
    ("x-delayed-retry-max", check_delay),
    ("x-delayed-retry-multiplier", check_delay),
    ("x-queue-leader-locator", |value, _| {
        let known = ["client-local", "balanced", "random", "least-leaders"];
        check_one_of(value, &known, "invalid_queue_locator_arg")
    }),
];

const CLASSIC_ARGUMENTS: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-delayed-retry-multiplier",
];

const QUORUM_ARGUMENTS: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-delayed-retry-multiplier",
];

/// Known to one type of queue or another (streams included), and refused by those that do not know them. The leader
/// locator is not among them: newer series take it for every type, and on one node it means nothing.
const PARTICULAR_ARGUMENTS: &[&str] = &[
    "x-dead-letter-strategy",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-queue-mode",
    "x-queue-version",
    "x-queue-master-locator",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
];

const MILLIS_MAX: i64 = 315_360_000_000;
const PRIORITY_MAX: i64 = 255;

impl QueueKind {
    /// The arguments that this type knows, in the order in which a redeclaration is compared.
    pub(crate) fn argument_names(self) -> &'static [&'static str] {
        match self {
            QueueKind::Classic => CLASSIC_ARGUMENTS,
            QueueKind::Quorum => QUORUM_ARGUMENTS,
        }
    }

    /// The type as texts name it.
    pub(crate) fn module_name(self) -> &'static str {
        match self {
            QueueKind::Classic => "rabbit_classic_queue",
            QueueKind::Quorum => "rabbit_quorum_queue",
        }
    }

    /// The type that arguments ask for; classic when they are wrong, which the check of the arguments finds.
    pub(crate) fn asked_for(arguments: &Arguments) -> Self {
        match arguments.get("x-queue-type").and_then(Value::as_long_string) {
            Some(b"quorum") => QueueKind::Quorum,
            _ => QueueKind::Classic,
        }
    }
}

impl QueueSettings {
    /// Checks the arguments of a queue that is about to be created; `resource` is the queue as texts name it.
    pub(crate) fn parse(arguments: &Arguments, resource: &str) -> Result<Self, Refusal> {
        let kind = QueueKind::asked_for(arguments);
        check_all(arguments, resource, |name| name == "x-queue-type")?;
        check_all(arguments, resource, |name| {
            kind.argument_names().contains(&name) || name == "x-queue-leader-locator"
        })?;
        check_known(
            arguments,
            resource,
            kind,
            PARTICULAR_ARGUMENTS,
            kind.argument_names(),
        )?;
        Ok(Self::read(arguments))
    }

    /// What the arguments mean, once they are checked. What is not as it should be is as if it were not there.
    pub(crate) fn read(arguments: &Arguments) -> Self {
        let integer = |name| arguments.get(name).and_then(Value::as_integer);
        let count = |name| integer(name).and_then(|value| u64::try_from(value).ok());
        let string = |name| arguments.get(name).and_then(Value::as_long_string);
        Self {
            kind: QueueKind::asked_for(arguments),
            expires_millis: count("x-expires"),
            message_ttl_millis: count("x-message-ttl"),
            messages_max: count("x-max-length"),
            bytes_max: count("x-max-length-bytes"),
            overflow: match string("x-overflow") {
                Some(b"reject-publish") => Overflow::RejectPublish,
                Some(b"reject-publish-dlx") => Overflow::RejectPublishDlx,
                _ => Overflow::DropHead,
            },
            dead_letter_exchange: string("x-dead-letter-exchange").map(Name::new),
            dead_letter_routing_key: string("x-dead-letter-routing-key").map(Name::new),
            priority_max: integer("x-max-priority").and_then(|value| u8::try_from(value).ok()),
            single_active_consumer: arguments.get("x-single-active-consumer") == Some(&Value::Bool(true)),
            delivery_limit: integer("x-delivery-limit"),
            consumer_timeout_millis: count("x-consumer-timeout"),
            retry: read_retry(arguments),
        }
    }

    /// Whether the type allows the properties that were asked for.
    pub(crate) fn check_properties(
        &self,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        resource: &str,
    ) -> Result<(), Refusal> {
        let wrong = match self.kind {
            QueueKind::Classic => None,
            QueueKind::Quorum if auto_delete => Some("auto-delete"),
            QueueKind::Quorum if exclusive => Some("exclusive-owner"),
            QueueKind::Quorum if !durable => Some("non-durable"),
            QueueKind::Quorum => None,
        };
        match wrong {
            None => Ok(()),
            Some(property) => Err(Refusal::precondition_failed(format!(
                "invalid property '{property}' for {resource}"
            ))),
        }
    }
}

/// How the arguments delay what came back: not at all without a type and a first delay, as in RabbitMQ, where the longest delay is
/// the first one if it is not given. The multiplier is LavinMQ's.
fn read_retry(arguments: &Arguments) -> Option<Retry> {
    let millis = |name| {
        let value = arguments.get(name).and_then(Value::as_integer);
        value
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| *value > 0)
    };
    let kind = match arguments.get("x-delayed-retry-type")?.as_long_string()? {
        b"all" => RetryKind::All,
        b"failed" => RetryKind::Failed,
        b"returned" => RetryKind::Returned,
        _ => return None,
    };
    let min_millis = millis("x-delayed-retry-min")?;
    Some(Retry {
        kind,
        min_millis,
        max_millis: millis("x-delayed-retry-max").unwrap_or(min_millis),
        multiplier: millis("x-delayed-retry-multiplier").and_then(|value| u32::try_from(value).ok()),
    })
}

fn check_all(arguments: &Arguments, resource: &str, concerns: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let checks = CHECKS.iter().filter(|(name, _)| concerns(name));
    checks
        .into_iter()
        .try_for_each(|(name, check)| check_one(name, *check, arguments, resource))
}

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

/// Refuses those of the `particular` arguments that are not `known`.
pub(super) fn check_known(
    arguments: &Arguments,
    resource: &str,
    kind: QueueKind,
    particular: &[&str],
    known: &[&str],
) -> Result<(), Refusal> {
    let has = |names: &[&str], name: &Name| {
        names
            .iter()
            .any(|candidate| candidate.as_bytes() == name.as_bytes())
    };
    match arguments
        .iter()
        .find(|(name, _)| has(particular, name) && !has(known, name))
    {
        None => Ok(()),
        Some((name, _)) => {
            let kind = kind.module_name();
            Err(Refusal::precondition_failed(format!(
                "invalid arg '{name}' for {resource} of queue type {kind}"
            )))
        }
    }
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

fn check_expiry(value: &Value, _: &Arguments) -> Result<(), String> {
    match integer(value)? {
        negative @ ..0 => Err(format!("{{value_negative,{negative}}}")),
        0..=MILLIS_MAX => Ok(()),
        large => Err(format!("{{value_too_large,{large}}}")),
    }
}

fn check_expires(value: &Value, arguments: &Arguments) -> Result<(), String> {
    if integer(value)? == 0 {
        Err("{value_zero,0}".to_owned())
    } else {
        check_expiry(value, arguments)
    }
}

fn check_group_size(value: &Value, arguments: &Arguments) -> Result<(), String> {
    if integer(value)? == 0 {
        Err("{value_zero,0}".to_owned())
    } else {
        check_not_negative(value, arguments)
    }
}

fn check_max_priority(value: &Value, arguments: &Arguments) -> Result<(), String> {
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

fn check_string(value: &Value, _: &Arguments) -> Result<(), String> {
    value
        .as_long_string()
        .map(|_| ())
        .ok_or_else(|| unacceptable_type(value))
}

fn check_dead_letter_routing_key(value: &Value, arguments: &Arguments) -> Result<(), String> {
    check_string(value, arguments)?;
    match arguments.get("x-dead-letter-exchange") {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

fn check_one_of(value: &Value, known: &[&str], error: &str) -> Result<(), String> {
    let text = value.as_long_string().ok_or_else(|| unacceptable_type(value))?;
    if known.iter().any(|known| known.as_bytes() == text) {
        Ok(())
    } else {
        Err(error.to_owned())
    }
}

fn check_queue_mode(value: &Value, _: &Arguments) -> Result<(), String> {
    let mode = String::from_utf8_lossy(value.as_long_string().unwrap_or_default());
    check_one_of(
        value,
        &["default", "lazy"],
        &format!("\"unsupported queue mode '{mode}'\""),
    )
}

fn check_queue_version(value: &Value, arguments: &Arguments) -> Result<(), String> {
    check_not_negative(value, arguments)?;
    match integer(value)? {
        1 | 2 => Ok(()),
        other => Err(format!("\"unsupported queue version '{other}'\"")),
    }
}

fn check_retry_type(value: &Value, _: &Arguments) -> Result<(), String> {
    check_one_of(
        value,
        &["disabled", "all", "failed", "returned"],
        "invalid_delayed_retry_type",
    )
}

fn check_delay(value: &Value, arguments: &Arguments) -> Result<(), String> {
    if integer(value)? == 0 {
        Err("{value_zero,0}".to_owned())
    } else {
        check_not_negative(value, arguments)
    }
}

/// `undefined` is what some clients send to mean nothing.
fn check_queue_type(value: &Value, _: &Arguments) -> Result<(), String> {
    let kind = String::from_utf8_lossy(value.as_long_string().unwrap_or_default());
    check_one_of(
        value,
        &["classic", "quorum", "undefined"],
        &format!("\"unsupported queue type '{kind}'\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(values: &[(&str, Value)]) -> Arguments {
        values.iter().cloned().collect()
    }

    fn check(values: &[(&str, Value)], expected: Result<(), &str>) {
        let result = QueueSettings::parse(&arguments(values), "queue 'q' in vhost '/'");
        assert_eq!(
            result.map(|_| ()).map_err(|refusal| refusal.text),
            expected.map_err(str::to_owned)
        );
    }

    fn refused(name: &str, value: impl Into<Value>, error: &str) {
        check(
            &[(name, value.into())],
            Err(&format!(
                "invalid arg '{name}' for queue 'q' in vhost '/': {error}"
            )),
        );
    }

    fn accepted(name: &str, value: impl Into<Value>) {
        check(&[(name, value.into())], Ok(()));
    }

    #[test]
    fn integers() {
        refused("x-expires", 0, "{value_zero,0}");
        refused("x-expires", -5, "{value_negative,-5}");
        refused("x-expires", 315_360_000_001_i64, "{value_too_large,315360000001}");
        refused("x-expires", true, "\"expected integer, got bool\"");
        accepted("x-expires", 1);
        refused("x-message-ttl", -1, "{value_negative,-1}");
        refused("x-message-ttl", "foo", "\"expected integer, got longstr\"");
        accepted("x-message-ttl", 0);
        accepted("x-message-ttl", Value::UnsignedShort(60_000));
        refused(
            "x-message-ttl",
            Value::Timestamp(1),
            "\"expected integer, got timestamp\"",
        );
        refused("x-max-length", "foo", "\"expected integer, got longstr\"");
        refused("x-max-length", -1_i64, "{value_negative,-1}");
        refused("x-max-length-bytes", 1.5, "\"expected integer, got double\"");
        accepted("x-max-length", 0);
        refused("x-max-priority", 300, "{max_value_exceeded,300}");
        refused("x-max-priority", -1, "{value_negative,-1}");
        accepted("x-max-priority", 255);
        refused("x-queue-version", 3, "\"unsupported queue version '3'\"");
        accepted("x-queue-version", 2);
    }

    #[test]
    fn words() {
        refused("x-overflow", "foo", "invalid_overflow");
        refused("x-overflow", 1, "{unacceptable_type,signedint}");
        accepted("x-overflow", "reject-publish-dlx");
        refused("x-queue-mode", "foo", "\"unsupported queue mode 'foo'\"");
        accepted("x-queue-mode", "lazy");
        refused("x-queue-type", "foo", "\"unsupported queue type 'foo'\"");
        refused("x-queue-type", "stream", "\"unsupported queue type 'stream'\"");
        refused("x-queue-type", 1, "{unacceptable_type,signedint}");
        accepted("x-queue-type", "classic");
        accepted("x-queue-type", "quorum");
        accepted("x-queue-type", "undefined");
        refused("x-single-active-consumer", "true", "{unacceptable_type,longstr}");
        accepted("x-single-active-consumer", true);
        refused("x-dead-letter-exchange", 1, "{unacceptable_type,signedint}");
        refused("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined");
        check(
            &[
                ("x-dead-letter-routing-key", "k".into()),
                ("x-dead-letter-exchange", "".into()),
            ],
            Ok(()),
        );
        refused("x-queue-leader-locator", "foo", "invalid_queue_locator_arg");
        accepted("x-queue-leader-locator", "client-local");
        accepted("x-whatever", 1);
        refused("x-consumer-timeout", -1, "{value_negative,-1}");
        refused("x-consumer-timeout", "1000", "\"expected integer, got longstr\"");
        accepted("x-consumer-timeout", 1000);
        refused("x-delayed-retry-type", "some", "invalid_delayed_retry_type");
        accepted("x-delayed-retry-type", "failed");
        refused("x-delayed-retry-min", 0, "{value_zero,0}");
        refused("x-delayed-retry-max", -5, "{value_negative,-5}");
        accepted("x-delayed-retry-multiplier", 2);
        accepted("x-queue-master-locator", "min-masters");
    }

    #[test]
    fn arguments_of_another_type() {
        let wrong_type = |name: &str, module: &str| {
            format!("invalid arg '{name}' for queue 'q' in vhost '/' of queue type {module}")
        };
        let quorum = ("x-queue-type", Value::from("quorum"));
        check(&[("x-delivery-limit", 3.into())], Ok(()));
        check(
            &[("x-max-age", "1h".into())],
            Err(&wrong_type("x-max-age", "rabbit_classic_queue")),
        );
        check(
            &[quorum.clone(), ("x-max-priority", 3.into())],
            Err(&wrong_type("x-max-priority", "rabbit_quorum_queue")),
        );
        check(&[quorum.clone(), ("x-delivery-limit", 3.into())], Ok(()));
        check(
            &[quorum, ("x-dead-letter-strategy", "at-least-once".into())],
            Ok(()),
        );
    }

    #[test]
    fn properties_of_quorum_queues() {
        let settings = QueueSettings {
            kind: QueueKind::Quorum,
            ..QueueSettings::default()
        };
        let check = |durable, exclusive, auto_delete, expected: Option<&str>| {
            let result = settings.check_properties(durable, exclusive, auto_delete, "queue 'q' in vhost '/'");
            let expected =
                expected.map(|property| format!("invalid property '{property}' for queue 'q' in vhost '/'"));
            assert_eq!(result.err().map(|refusal| refusal.text), expected);
        };
        check(true, false, false, None);
        check(true, false, true, Some("auto-delete"));
        check(false, true, false, Some("exclusive-owner"));
        check(false, false, false, Some("non-durable"));
    }

    #[test]
    fn settings() {
        let settings = QueueSettings::read(&arguments(&[
            ("x-expires", 10.into()),
            ("x-max-priority", Value::UnsignedByte(5)),
            ("x-overflow", "reject-publish".into()),
            ("x-dead-letter-exchange", "dlx".into()),
            ("x-delivery-limit", Value::from(-1)),
        ]));
        let expected = QueueSettings {
            expires_millis: Some(10),
            priority_max: Some(5),
            overflow: Overflow::RejectPublish,
            dead_letter_exchange: Some("dlx".into()),
            delivery_limit: Some(-1),
            ..QueueSettings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn delayed_retries() {
        let check = |values: &[(&str, Value)], expected: Option<(RetryKind, u64, u64, Option<u32>)>| {
            let read = QueueSettings::read(&arguments(values)).retry;
            let read = read.map(|retry| (retry.kind, retry.min_millis, retry.max_millis, retry.multiplier));
            assert_eq!(read, expected);
        };
        let kind = |kind: &str| ("x-delayed-retry-type", Value::from(kind));
        let min = ("x-delayed-retry-min", Value::from(10));
        let max = ("x-delayed-retry-max", Value::from(70));
        let multiplier = ("x-delayed-retry-multiplier", Value::from(2));
        check(std::slice::from_ref(&min), None);
        check(&[kind("disabled"), min.clone()], None);
        check(&[kind("all")], None);
        check(&[kind("all"), min.clone()], Some((RetryKind::All, 10, 10, None)));
        check(
            &[kind("failed"), min.clone(), max.clone()],
            Some((RetryKind::Failed, 10, 70, None)),
        );
        check(
            &[kind("returned"), min, max, multiplier],
            Some((RetryKind::Returned, 10, 70, Some(2))),
        );
    }
}
