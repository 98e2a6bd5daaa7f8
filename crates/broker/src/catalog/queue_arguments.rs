//! The arguments of queues: what they may be and what they mean.
//!
//! Checked as RabbitMQ does, in its order and its words. Arguments it does not know are kept, shown and otherwise ignored.
//! What the settings do (expiry, bounds, priorities, dead letters) is the partition's business.

use serde::{Deserialize, Serialize};

use super::argument_checks::{
    Check, check_bool, check_dead_letter_routing_key, check_delay, check_expires, check_expiry,
    check_group_size, check_integer, check_max_priority, check_not_negative, check_one, check_one_of,
    check_placement_tag, check_queue_mode, check_queue_type, check_queue_version, check_retry_type,
    check_string,
};
use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};
use crate::name::Name;
use crate::partition::{Retry, RetryKind};

/// The type of queue that was asked for. Both are our one kind of queue; the type decides which arguments are known and
/// which properties are possible.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
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

/// The argument that names the type.
pub(super) const QUEUE_TYPE: &str = "x-queue-type";

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
    ("x-consumer-disconnected-timeout", check_not_negative),
    ("x-member-placement-tag", check_placement_tag),
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
    "x-consumer-disconnected-timeout",
    "x-member-placement-tag",
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
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-consumer-disconnected-timeout",
    "x-member-placement-tag",
];

impl QueueKind {
    /// The arguments that this type knows, in the order in which a redeclaration is compared.
    pub(crate) fn argument_names(self) -> &'static [&'static str] {
        match self {
            QueueKind::Classic => CLASSIC_ARGUMENTS,
            QueueKind::Quorum => QUORUM_ARGUMENTS,
        }
    }

    /// The type as arguments name it.
    pub fn name(self) -> &'static str {
        match self {
            QueueKind::Classic => "classic",
            QueueKind::Quorum => "quorum",
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
            dead_letter_routing_key: string("x-dead-letter-routing-key")
                .filter(|key| key.len() <= Name::BYTES_MAX)
                .map(Name::new),
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
    fn every_argument_refuses_every_other_type() {
        let integer = |value: &Value| value.as_integer().is_some();
        let check_types =
            |name: &str, kind: &str, fits: &dyn Fn(&Value) -> bool, error: &dyn Fn(&Value) -> String| {
                let mut arguments = vec![("x-queue-type", Value::from(kind))];
                if name == "x-queue-type" {
                    arguments.clear();
                }
                for value in Value::one_of_each_type().into_iter().filter(|value| !fits(value)) {
                    let error = error(&value);
                    let text = format!("invalid arg '{name}' for queue 'q' in vhost '/': {error}");
                    let given: Vec<_> = arguments.iter().cloned().chain([(name, value)]).collect();
                    check(&given, Err(&text));
                }
            };
        let no_integer = |value: &Value| format!("\"expected integer, got {}\"", value.type_name());
        let unacceptable = |value: &Value| format!("{{unacceptable_type,{}}}", value.type_name());
        for (name, kind) in [
            ("x-expires", "classic"),
            ("x-message-ttl", "classic"),
            ("x-max-length", "classic"),
            ("x-max-length-bytes", "classic"),
            ("x-max-priority", "classic"),
            ("x-queue-version", "classic"),
            ("x-delivery-limit", "quorum"),
            ("x-consumer-timeout", "quorum"),
            ("x-consumer-disconnected-timeout", "quorum"),
            ("x-delayed-retry-min", "quorum"),
            ("x-delayed-retry-max", "quorum"),
            ("x-delayed-retry-multiplier", "quorum"),
            ("x-max-in-memory-length", "quorum"),
            ("x-max-in-memory-bytes", "quorum"),
            ("x-quorum-initial-group-size", "quorum"),
        ] {
            check_types(name, kind, &integer, &no_integer);
        }
        for (name, kind) in [
            ("x-queue-type", "classic"),
            ("x-overflow", "classic"),
            ("x-queue-mode", "classic"),
            ("x-dead-letter-exchange", "classic"),
            ("x-dead-letter-routing-key", "classic"),
            ("x-dead-letter-strategy", "quorum"),
            ("x-delayed-retry-type", "quorum"),
            ("x-queue-leader-locator", "quorum"),
            ("x-member-placement-tag", "quorum"),
        ] {
            let text = |value: &Value| value.as_long_string().is_some();
            check_types(name, kind, &text, &unacceptable);
        }
        let boolean = |value: &Value| matches!(value, Value::Bool(_));
        check_types("x-single-active-consumer", "classic", &boolean, &unacceptable);
    }

    #[test]
    fn every_number_has_its_range() {
        let many = 315_360_000_000_i64;
        let negative = "{value_negative,-1}";
        let refused = |name: &str, value: i64, error: &str| {
            let quorum = ("x-queue-type", Value::from("quorum"));
            let text = format!("invalid arg '{name}' for queue 'q' in vhost '/': {error}");
            check(&[quorum, (name, value.into())], Err(&text));
        };
        for name in ["x-expires", "x-message-ttl"] {
            refused(name, -1, negative);
            refused(name, many + 1, "{value_too_large,315360000001}");
        }
        for name in [
            "x-max-length",
            "x-max-length-bytes",
            "x-consumer-timeout",
            "x-consumer-disconnected-timeout",
            "x-max-in-memory-length",
            "x-max-in-memory-bytes",
            "x-quorum-initial-group-size",
            "x-delayed-retry-min",
            "x-delayed-retry-max",
            "x-delayed-retry-multiplier",
        ] {
            refused(name, -1, negative);
        }
        for name in [
            "x-expires",
            "x-quorum-initial-group-size",
            "x-delayed-retry-min",
            "x-delayed-retry-max",
            "x-delayed-retry-multiplier",
        ] {
            refused(name, 0, "{value_zero,0}");
        }
    }

    #[test]
    fn a_dead_letter_key_is_no_longer_than_a_message_can_carry() {
        let with = |bytes: usize| {
            let key = "k".repeat(bytes);
            vec![
                ("x-dead-letter-exchange", Value::from("x")),
                ("x-dead-letter-routing-key", key.as_str().into()),
            ]
        };
        check(&with(255), Ok(()));
        let text =
            "invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': {max_length_exceeded,256}";
        check(&with(256), Err(text));
        // One that is in a log of old is as if it were not there.
        let key = |bytes| QueueSettings::read(&arguments(&with(bytes))).dead_letter_routing_key;
        assert_eq!(key(255).map(|key| key.len()), Some(255));
        assert_eq!(key(256), None);
    }

    #[test]
    fn legacy_arguments_are_taken_and_mean_nothing() {
        let of_any = [
            ("x-ha-policy", Value::from("all")),
            ("x-ha-nodes", Value::Array(["a".into()].into())),
            ("x-queue-leader-locator", "client-local".into()),
            ("x-queue-leader-locator", "balanced".into()),
            ("x-queue-leader-locator", "random".into()),
            ("x-queue-leader-locator", "least-leaders".into()),
            ("x-message-deduplication", true.into()),
            ("x-cache-size", 100.into()),
            ("x-cache-ttl", 100.into()),
        ];
        let of_classic = [
            ("x-queue-mode", Value::from("lazy")),
            ("x-queue-mode", "default".into()),
            ("x-queue-version", 1.into()),
            ("x-queue-version", 2.into()),
            ("x-queue-master-locator", "min-masters".into()),
        ];
        let of_quorum = [
            ("x-max-in-memory-length", Value::from(0)),
            ("x-max-in-memory-bytes", 0.into()),
            ("x-quorum-initial-group-size", 3.into()),
            ("x-consumer-disconnected-timeout", 0.into()),
            ("x-member-placement-tag", "rack".into()),
            ("x-dead-letter-strategy", "at-least-once".into()),
            ("x-dead-letter-strategy", "at-most-once".into()),
        ];
        let of_streams = [
            ("x-max-age", Value::from("7D")),
            ("x-stream-max-segment-size-bytes", 1.into()),
            ("x-stream-filter-size-bytes", 16.into()),
            ("x-initial-cluster-size", 3.into()),
        ];
        for kind in [QueueKind::Classic, QueueKind::Quorum] {
            let (own, others) = match kind {
                QueueKind::Classic => (&of_classic[..], &of_quorum[..]),
                QueueKind::Quorum => (&of_quorum[..], &of_classic[..]),
            };
            let asked = ("x-queue-type", Value::from(kind.name()));
            for legacy in own.iter().chain(&of_any) {
                let given = [asked.clone(), legacy.clone()];
                check(&given, Ok(()));
                let plain = QueueSettings::read(&arguments(&given[..1]));
                assert_eq!(QueueSettings::read(&arguments(&given)), plain, "{legacy:?}");
            }
            for (name, value) in others.iter().chain(&of_streams) {
                let module = kind.module_name();
                let text = format!("invalid arg '{name}' for queue 'q' in vhost '/' of queue type {module}");
                check(&[asked.clone(), (name, value.clone())], Err(&text));
            }
        }
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
