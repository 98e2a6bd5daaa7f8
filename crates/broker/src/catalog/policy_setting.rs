//! Each thing that a policy may set: which values make sense, whom it concerns, and how two that both say something meet.

use super::no_ack_guard::is_guard;
use super::queue_arguments::QueueKind;
use crate::arguments::Value;
use crate::name::Name;

/// One thing that a policy may set.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// The argument that it stands for; none for what no declaration can set, or what is taken from a RabbitMQ of old, or of many nodes,
    /// and has no effect.
    pub(super) argument: Option<&'static str>,
    pub(super) holds: fn(&Value) -> bool,
    /// What a value that does not hold is not.
    pub(super) what: &'static str,
    pub(super) meeting: Meeting,
    pub(super) suits: Suits,
}

/// What follows where an operator and somebody else both say something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Operators have no say.
    Apart,
    /// The lower limit counts, of users and declarations among themselves too. Below `from` there is no limit.
    Lower { from: i64 },
    /// The higher one counts.
    Higher,
    /// What the operator says counts.
    Operator,
}

/// The queues that have a setting. For all others a policy with it is not meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Suits {
    All,
    Only(QueueKind),
    Streams,
}

const fn limit(name: &'static str, argument: &'static str, what: &'static str) -> Setting {
    Setting {
        holds: is_not_negative,
        meeting: Meeting::Lower { from: 0 },
        ..choice(name, argument, is_not_negative, what)
    }
}

const fn choice(
    name: &'static str,
    argument: &'static str,
    holds: fn(&Value) -> bool,
    what: &'static str,
) -> Setting {
    Setting {
        argument: Some(argument),
        ..idle(name, Suits::All, holds, what)
    }
}

/// Taken, shown, and without effect.
const fn idle(name: &'static str, suits: Suits, holds: fn(&Value) -> bool, what: &'static str) -> Setting {
    Setting {
        name,
        argument: None,
        holds,
        what,
        meeting: Meeting::Apart,
        suits,
    }
}

/// A limit of queues that is no argument of a declaration.
const fn bound(name: &'static str, what: &'static str) -> Setting {
    Setting {
        meeting: Meeting::Lower { from: 0 },
        ..idle(name, Suits::All, is_not_negative, what)
    }
}

/// As [`idle`], of mirrored queues, whose values were many.
const fn mirrored(name: &'static str) -> Setting {
    idle(name, CLASSIC, |_| true, "")
}

const QUORUM: Suits = Suits::Only(QueueKind::Quorum);
const CLASSIC: Suits = Suits::Only(QueueKind::Classic);

const SETTINGS: &[Setting] = &[
    choice(
        "alternate-exchange",
        "alternate-exchange",
        is_string,
        "alternate exchange name",
    ),
    choice(
        "dead-letter-exchange",
        "x-dead-letter-exchange",
        is_string,
        "dead letter exchange name",
    ),
    choice(
        DEAD_LETTER_ROUTING_KEY,
        "x-dead-letter-routing-key",
        |value| {
            value
                .as_long_string()
                .is_some_and(|key| key.len() <= Name::BYTES_MAX)
        },
        "dead letter routing key",
    ),
    Setting {
        suits: QUORUM,
        ..choice(
            "dead-letter-strategy",
            "x-dead-letter-strategy",
            |value| is_one_of(value, &["at-most-once", "at-least-once"]),
            "dead letter strategy",
        )
    },
    limit("message-ttl", "x-message-ttl", "message TTL"),
    Setting {
        holds: is_positive,
        ..limit("expires", "x-expires", "queue expiry")
    },
    limit("max-length", "x-max-length", "maximum length"),
    limit(
        "max-length-bytes",
        "x-max-length-bytes",
        "maximum length in bytes",
    ),
    Setting {
        suits: QUORUM,
        ..limit(
            "max-in-memory-length",
            "x-max-in-memory-length",
            "maximum memory in bytes",
        )
    },
    Setting {
        suits: QUORUM,
        ..limit(
            "max-in-memory-bytes",
            "x-max-in-memory-bytes",
            "maximum memory in bytes",
        )
    },
    Setting {
        suits: QUORUM,
        holds: |value| value.as_integer().is_some(),
        ..limit("delivery-limit", "x-delivery-limit", "delivery limit")
    },
    Setting {
        meeting: Meeting::Lower { from: 1 },
        ..limit(CONSUMER_TIMEOUT, "x-consumer-timeout", "consumer timeout")
    },
    choice(
        "consumer-disconnected-timeout",
        "x-consumer-disconnected-timeout",
        is_not_negative,
        "consumer disconnected timeout",
    ),
    Setting {
        meeting: Meeting::Operator,
        ..choice(
            "overflow",
            "x-overflow",
            |value| is_one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"]),
            "overflow value",
        )
    },
    Setting {
        suits: QUORUM,
        meeting: Meeting::Operator,
        ..choice(
            RETRY_TYPE,
            "x-delayed-retry-type",
            |value| is_one_of(value, &["disabled", "all", "failed", "returned"]),
            "delayed retry type. Must be one of: all, failed, returned, disabled",
        )
    },
    Setting {
        suits: QUORUM,
        meeting: Meeting::Higher,
        ..choice(
            RETRY_MIN,
            "x-delayed-retry-min",
            is_positive,
            "delayed retry minimum delay. Must be a positive integer",
        )
    },
    Setting {
        suits: QUORUM,
        holds: is_positive,
        ..limit(
            RETRY_MAX,
            "x-delayed-retry-max",
            "delayed retry maximum delay. Must be a positive integer",
        )
    },
    Setting {
        suits: CLASSIC,
        ..choice(
            "queue-mode",
            "x-queue-mode",
            |value| is_one_of(value, &["default", "lazy"]),
            "queue-mode value",
        )
    },
    Setting {
        meeting: Meeting::Operator,
        ..idle(
            "queue-version",
            Suits::All,
            |value| matches!(value.as_integer(), Some(1 | 2)),
            "queue-version value",
        )
    },
    idle(
        "queue-leader-locator",
        Suits::All,
        |value| is_one_of(value, &["client-local", "balanced", "random", "least-leaders"]),
        "queue leader locator value",
    ),
    Setting {
        meeting: Meeting::Higher,
        ..idle("target-group-size", QUORUM, is_positive, "qq target count value")
    },
    Setting {
        meeting: Meeting::Operator,
        ..idle(
            "member-placement-tag",
            QUORUM,
            |value| value.as_long_string().is_some_and(|tag| !tag.is_empty()),
            "member-placement-tag value. Must be a non-empty string",
        )
    },
    idle(
        "initial-cluster-size",
        Suits::Streams,
        is_not_negative,
        "cluster size",
    ),
    idle("max-age", Suits::Streams, is_age, "max age"),
    idle(
        "stream-max-segment-size-bytes",
        Suits::Streams,
        |value| {
            value
                .as_integer()
                .is_some_and(|bytes| (0..=STREAM_SEGMENT_BYTES_MAX).contains(&bytes))
        },
        "segment size",
    ),
    idle(
        "stream-filter-size-bytes",
        Suits::Streams,
        |value| {
            value
                .as_integer()
                .is_some_and(|bytes| (16..=255).contains(&bytes))
        },
        "filter size. Valid range is 16-255",
    ),
    Setting {
        meeting: Meeting::Operator,
        ..idle(GUARD, Suits::All, is_guard, "no-ack guard")
    },
    bound(RETENTION, "no-ack retention"),
    bound(RETENTION_MESSAGES, "maximum length of what is retained"),
    bound(RETENTION_BYTES, "maximum length in bytes of what is retained"),
    mirrored("queue-master-locator"),
    mirrored("ha-mode"),
    mirrored("ha-params"),
    mirrored("ha-sync-mode"),
    mirrored("ha-sync-batch-size"),
    mirrored("ha-promote-on-shutdown"),
    mirrored("ha-promote-on-failure"),
];

/// What is done about consumers that do not acknowledge.
pub(super) const GUARD: &str = "no-ack-guard";
/// For how long messages are retained that were handed over to them, in milliseconds.
pub(super) const RETENTION: &str = "no-ack-retention";
/// The most messages retained.
pub(super) const RETENTION_MESSAGES: &str = "no-ack-retention-length";
/// The most bytes retained.
pub(super) const RETENTION_BYTES: &str = "no-ack-retention-length-bytes";
/// How long consumers may hold a message, in milliseconds; 0 is for ever.
pub(super) const CONSUMER_TIMEOUT: &str = "consumer-timeout";
const DEAD_LETTER_ROUTING_KEY: &str = "dead-letter-routing-key";
pub(super) const RETRY_TYPE: &str = "delayed-retry-type";
pub(super) const RETRY_MIN: &str = "delayed-retry-min";
pub(super) const RETRY_MAX: &str = "delayed-retry-max";
/// RabbitMQ's bound.
const STREAM_SEGMENT_BYTES_MAX: i64 = 3_000_000_000;

/// The setting of that name.
pub(super) fn setting(name: &[u8]) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.as_bytes() == name)
}

impl Meeting {
    /// What is left of a value under an operator's. What is no number binds nobody.
    pub(super) fn bounded<'a>(self, value: &'a Value, operator: &'a Value) -> &'a Value {
        let operator_counts = match self {
            Meeting::Apart => false,
            Meeting::Operator => true,
            Meeting::Lower { from } => {
                let bound = |value: &Value| {
                    let number = value.as_integer().filter(|number| *number >= from);
                    number.unwrap_or(i64::MAX)
                };
                bound(operator) < bound(value)
            }
            Meeting::Higher => operator.as_integer() > value.as_integer(),
        };
        if operator_counts { operator } else { value }
    }
}

fn is_positive(value: &Value) -> bool {
    value.as_integer().is_some_and(|value| value >= 1)
}

/// A number that is not zero, and a unit from years to seconds: `7D`.
fn is_age(value: &Value) -> bool {
    let text = value
        .as_long_string()
        .and_then(|text| std::str::from_utf8(text).ok());
    let Some((number, unit)) = text.and_then(|text| text.split_at_checked(text.len().saturating_sub(1)))
    else {
        return false;
    };
    let counts =
        number.bytes().all(|digit| digit.is_ascii_digit()) && number.bytes().any(|digit| digit != b'0');
    counts && matches!(unit, "Y" | "M" | "D" | "h" | "m" | "s")
}

fn is_not_negative(value: &Value) -> bool {
    value.as_integer().is_some_and(|value| value >= 0)
}

fn is_string(value: &Value) -> bool {
    value.as_long_string().is_some()
}

fn is_one_of(value: &Value, known: &[&str]) -> bool {
    let given = value.as_long_string();
    given.is_some_and(|given| known.iter().any(|known| known.as_bytes() == given))
}
