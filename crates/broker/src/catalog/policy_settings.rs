//! What policies may set, and what follows where several have a say: declaration, policy, operator policy.
//!
//! Each setting stands for an argument of a declaration. Where both are there, the lower of two limits counts, and for
//! everything else what was declared. An operator policy bounds: the lower of two limits, and where only it says something,
//! that. The result is one set of arguments, which is read as if it had been declared.

use super::erlang;
use super::policy::PolicyKind;
use super::queue_arguments::QueueKind;
use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};

/// One thing that a policy may set.
struct Setting {
    name: &'static str,
    /// The argument that it stands for; none for what is taken from a RabbitMQ of old and has no effect.
    argument: Option<&'static str>,
    holds: fn(&Value) -> bool,
    /// What a value that does not hold is not.
    what: &'static str,
    /// Whether the lower of two counts.
    limit: bool,
    /// The queues that have it; for all others the policy is not meant.
    only: Option<QueueKind>,
}

const fn limit(name: &'static str, argument: &'static str, what: &'static str) -> Setting {
    Setting {
        name,
        argument: Some(argument),
        holds: is_not_negative,
        what,
        limit: true,
        only: None,
    }
}

const fn choice(
    name: &'static str,
    argument: &'static str,
    holds: fn(&Value) -> bool,
    what: &'static str,
) -> Setting {
    Setting {
        name,
        argument: Some(argument),
        holds,
        what,
        limit: false,
        only: None,
    }
}

/// Taken, shown, and without effect.
const fn idle(name: &'static str) -> Setting {
    Setting {
        name,
        argument: None,
        holds: |_| true,
        what: "",
        limit: false,
        only: None,
    }
}

const QUORUM: Option<QueueKind> = Some(QueueKind::Quorum);
const CLASSIC: Option<QueueKind> = Some(QueueKind::Classic);

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
        "dead-letter-routing-key",
        "x-dead-letter-routing-key",
        is_string,
        "dead letter routing key",
    ),
    Setting {
        only: QUORUM,
        ..choice(
            "dead-letter-strategy",
            "x-dead-letter-strategy",
            |value| is_one_of(value, &["at-most-once", "at-least-once"]),
            "dead letter strategy",
        )
    },
    limit("message-ttl", "x-message-ttl", "message TTL"),
    Setting {
        holds: |value| value.as_integer().is_some_and(|value| value >= 1),
        ..limit("expires", "x-expires", "queue expiry")
    },
    limit("max-length", "x-max-length", "maximum length"),
    limit(
        "max-length-bytes",
        "x-max-length-bytes",
        "maximum length in bytes",
    ),
    Setting {
        only: QUORUM,
        ..limit(
            "max-in-memory-length",
            "x-max-in-memory-length",
            "maximum memory in bytes",
        )
    },
    Setting {
        only: QUORUM,
        ..limit(
            "max-in-memory-bytes",
            "x-max-in-memory-bytes",
            "maximum memory in bytes",
        )
    },
    Setting {
        only: QUORUM,
        holds: |value| value.as_integer().is_some(),
        ..limit("delivery-limit", "x-delivery-limit", "delivery limit")
    },
    limit("consumer-timeout", "x-consumer-timeout", "consumer timeout"),
    choice(
        "overflow",
        "x-overflow",
        |value| is_one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"]),
        "overflow value",
    ),
    Setting {
        only: QUORUM,
        ..choice(
            "delayed-retry-type",
            "x-delayed-retry-type",
            |value| is_one_of(value, &["disabled", "all", "failed", "returned"]),
            "delayed retry type",
        )
    },
    Setting {
        only: QUORUM,
        ..choice(
            "delayed-retry-min",
            "x-delayed-retry-min",
            is_not_negative,
            "delayed retry minimum",
        )
    },
    Setting {
        only: QUORUM,
        ..choice(
            "delayed-retry-max",
            "x-delayed-retry-max",
            is_not_negative,
            "delayed retry maximum",
        )
    },
    Setting {
        only: CLASSIC,
        ..choice(
            "queue-mode",
            "x-queue-mode",
            |value| is_one_of(value, &["default", "lazy"]),
            "queue-mode value",
        )
    },
    Setting {
        only: CLASSIC,
        ..choice(
            "queue-version",
            "x-queue-version",
            |value| matches!(value.as_integer(), Some(1 | 2)),
            "queue-version value",
        )
    },
    choice(
        "queue-leader-locator",
        "x-queue-leader-locator",
        |value| is_one_of(value, &["client-local", "balanced", "random", "least-leaders"]),
        "queue leader locator value",
    ),
    idle("queue-master-locator"),
    idle("ha-mode"),
    idle("ha-params"),
    idle("ha-sync-mode"),
    idle("ha-sync-batch-size"),
    idle("ha-promote-on-shutdown"),
    idle("ha-promote-on-failure"),
    idle("max-age"),
    idle("stream-max-segment-size-bytes"),
    idle("initial-cluster-size"),
    idle("target-group-size"),
];

/// Refuses settings that are not known, or that make no sense.
pub(super) fn check(settings: &Arguments, kind: PolicyKind) -> Result<(), Refusal> {
    if settings.is_empty() {
        return Err(Refusal::precondition_failed("no policy provided"));
    }
    let mut unknown = Vec::new();
    for (at, (name, value)) in settings.iter().enumerate() {
        if settings.iter().skip(at + 1).any(|(other, _)| other == name) {
            let text = format!("[{}] duplicate keys not allowed", erlang::binary(name));
            return Err(Refusal::precondition_failed(text));
        }
        match setting(name).filter(|setting| kind == PolicyKind::User || setting.limit) {
            None => unknown.push(format!("{{{},{}}}", erlang::binary(name), erlang::term(value))),
            Some(setting) if !(setting.holds)(value) => {
                let text = format!("{} is not a valid {}", erlang::term(value), setting.what);
                return Err(Refusal::precondition_failed(text));
            }
            Some(_) => {}
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::precondition_failed(format!(
        "[{}] are not recognised policy settings",
        unknown.join(",")
    )))
}

/// Whether queues of that type have all these settings.
pub(super) fn suit(settings: &Arguments, kind: QueueKind) -> bool {
    let only = |name: &[u8]| setting(name).and_then(|setting| setting.only);
    settings
        .iter()
        .all(|(name, _)| only(name).is_none_or(|only| only == kind))
}

/// What a policy and an operator policy set together.
pub(super) fn merged(policy: Option<&Arguments>, operator: Option<&Arguments>) -> Arguments {
    let (Some(policy), Some(operator)) = (policy, operator) else {
        return policy.or(operator).cloned().unwrap_or_default();
    };
    let bounded = policy.iter().map(|(name, value)| {
        let bound = operator.iter().find(|(other, _)| other == name);
        let value = bound.map_or(value, |(_, bound)| lower(value, bound));
        (name.clone(), value.clone())
    });
    let only_there = operator
        .iter()
        .filter(|(name, _)| policy.iter().all(|(other, _)| other != name));
    bounded.chain(only_there.cloned()).collect()
}

/// The arguments of a declaration as they are in effect under these settings. Only what changes is put in; the order is kept.
pub(super) fn effective(declared: &Arguments, settings: &Arguments) -> Arguments {
    let mut arguments: Vec<_> = declared.iter().cloned().collect();
    for (name, value) in settings {
        let Some(Setting {
            argument: Some(argument),
            limit,
            ..
        }) = setting(name)
        else {
            continue;
        };
        let held = arguments
            .iter_mut()
            .find(|(candidate, _)| candidate.as_bytes() == argument.as_bytes());
        match held {
            None => arguments.push(((*argument).into(), value.clone())),
            Some((_, held)) if *limit => *held = lower(held, value).clone(),
            Some(_) => {}
        }
    }
    arguments.into_iter().collect()
}

fn setting(name: &[u8]) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.as_bytes() == name)
}

/// The lower of two limits. Below zero is none (the delivery limit says so), and what is no number binds nobody.
fn lower<'a>(left: &'a Value, right: &'a Value) -> &'a Value {
    let bound = |value: &Value| {
        let number = value.as_integer().filter(|number| *number >= 0);
        number.unwrap_or(i64::MAX)
    };
    if bound(right) < bound(left) { right } else { left }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(&str, Value)]) -> Arguments {
        values.iter().cloned().collect()
    }

    #[test]
    fn settings_are_checked() {
        fn check_one(kind: PolicyKind, values: &[(&str, Value)], expected: Option<&str>) {
            let text = check(&of(values), kind).err().map(|refusal| refusal.text);
            assert_eq!(text.as_deref(), expected, "{values:?}");
        }
        use PolicyKind::{Operator, User};
        check_one(User, &[], Some("no policy provided"));
        check_one(
            User,
            &[("foo", 1.into()), ("max-length", 2.into()), ("bar", "x".into())],
            Some("[{<<\"foo\">>,1},{<<\"bar\">>,<<\"x\">>}] are not recognised policy settings"),
        );
        check_one(
            User,
            &[("max-length", 1.into()), ("max-length", 2.into())],
            Some("[<<\"max-length\">>] duplicate keys not allowed"),
        );
        for (name, value, text) in [
            ("max-length", Value::from(-1), "-1 is not a valid maximum length"),
            (
                "max-length",
                "10".into(),
                "<<\"10\">> is not a valid maximum length",
            ),
            (
                "max-length-bytes",
                true.into(),
                "true is not a valid maximum length in bytes",
            ),
            ("message-ttl", (-5).into(), "-5 is not a valid message TTL"),
            ("expires", 0.into(), "0 is not a valid queue expiry"),
            (
                "overflow",
                "spill".into(),
                "<<\"spill\">> is not a valid overflow value",
            ),
            (
                "queue-mode",
                "eager".into(),
                "<<\"eager\">> is not a valid queue-mode value",
            ),
            (
                "dead-letter-exchange",
                1.into(),
                "1 is not a valid dead letter exchange name",
            ),
            (
                "dead-letter-routing-key",
                1.into(),
                "1 is not a valid dead letter routing key",
            ),
            (
                "alternate-exchange",
                1.into(),
                "1 is not a valid alternate exchange name",
            ),
            (
                "delivery-limit",
                "x".into(),
                "<<\"x\">> is not a valid delivery limit",
            ),
        ] {
            check_one(User, &[(name, value)], Some(text));
        }
        check_one(User, &[("max-length", 0.into()), ("ha-mode", "all".into())], None);
        check_one(
            Operator,
            &[("max-length", 5.into()), ("delivery-limit", 3.into())],
            None,
        );
        check_one(
            Operator,
            &[("dead-letter-exchange", "x".into())],
            Some("[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings"),
        );
    }

    #[test]
    fn the_operator_bounds() {
        let check = |policy: &[(&str, Value)], operator: &[(&str, Value)], expected: &[(&str, Value)]| {
            assert_eq!(merged(Some(&of(policy)), Some(&of(operator))), of(expected));
        };
        check(
            &[("max-length", 5.into())],
            &[("max-length", 9.into())],
            &[("max-length", 5.into())],
        );
        check(
            &[("max-length", 9.into())],
            &[("max-length", 5.into())],
            &[("max-length", 5.into())],
        );
        check(
            &[("overflow", "drop-head".into())],
            &[("max-length", 5.into())],
            &[("overflow", "drop-head".into()), ("max-length", 5.into())],
        );
        check(
            &[("delivery-limit", (-1).into())],
            &[("delivery-limit", 7.into())],
            &[("delivery-limit", 7.into())],
        );
        assert_eq!(merged(None, None), Arguments::default());
        assert_eq!(
            merged(None, Some(&of(&[("expires", 1.into())]))),
            of(&[("expires", 1.into())])
        );
    }

    #[test]
    fn a_declaration_counts_but_for_limits() {
        let check = |declared: &[(&str, Value)], settings: &[(&str, Value)], expected: &[(&str, Value)]| {
            assert_eq!(effective(&of(declared), &of(settings)), of(expected));
        };
        check(&[], &[("max-length", 5.into())], &[("x-max-length", 5.into())]);
        check(
            &[("x-mine", 1.into()), ("x-max-length", 9_i64.into())],
            &[("max-length", 5.into())],
            &[("x-mine", 1.into()), ("x-max-length", 5.into())],
        );
        check(
            &[("x-max-length", 3.into())],
            &[("max-length", 5.into())],
            &[("x-max-length", 3.into())],
        );
        check(
            &[("x-overflow", "reject-publish".into())],
            &[
                ("overflow", "drop-head".into()),
                ("dead-letter-exchange", "d".into()),
            ],
            &[
                ("x-overflow", "reject-publish".into()),
                ("x-dead-letter-exchange", "d".into()),
            ],
        );
        check(&[], &[("ha-mode", "all".into())], &[]);
    }

    #[test]
    fn settings_of_one_type_of_queue() {
        let check = |name: &str, value: Value, classic: bool, quorum: bool| {
            let settings = of(&[(name, value), ("max-length", 1.into())]);
            let suits = |kind| suit(&settings, kind);
            assert_eq!(
                (suits(QueueKind::Classic), suits(QueueKind::Quorum)),
                (classic, quorum),
                "{name}"
            );
        };
        check("expires", 1.into(), true, true);
        check("delivery-limit", 1.into(), false, true);
        check("queue-mode", "lazy".into(), true, false);
        check("ha-mode", "all".into(), true, true);
    }
}
