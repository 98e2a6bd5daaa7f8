//! What policies may set, and what follows where several have a say: declaration, policy, operator policy.
//!
//! Each setting stands for an argument of a declaration. Where both are there, the lower of two limits counts, and for
//! everything else what was declared. An operator policy bounds what both of them say, so its word stands whatever they say: how
//! two of them meet is said of each setting that operators have ([`Meeting`]). The result is one set of arguments, which is
//! read as if it had been declared.

use super::erlang;
use super::policy::PolicyKind;
use super::policy_setting::{Meeting, RETRY_MAX, RETRY_MIN, RETRY_TYPE, Setting, Suits, setting};
use super::queue_arguments::QueueKind;
use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};

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
        match setting(name).filter(|setting| kind == PolicyKind::User || setting.meeting != Meeting::Apart) {
            None => unknown.push(format!("{{{},{}}}", erlang::binary(name), erlang::term(value))),
            Some(setting) if !(setting.holds)(value) => {
                let text = format!("{} is not a valid {}", erlang::term(value), setting.what);
                return Err(Refusal::precondition_failed(text));
            }
            Some(_) => {}
        }
    }
    if !unknown.is_empty() {
        return Err(Refusal::precondition_failed(format!(
            "[{}] are not recognised policy settings",
            unknown.join(",")
        )));
    }
    check_retry(settings)
}

/// A delay needs a least one, and the most is no less.
fn check_retry(settings: &Arguments) -> Result<(), Refusal> {
    let delay = |name| settings.get(name).and_then(Value::as_integer);
    let kind = settings.get(RETRY_TYPE).map(erlang::plain);
    let text = match (kind, delay(RETRY_MIN), delay(RETRY_MAX)) {
        (Some(kind), None, _) if kind != "disabled" => {
            format!("{RETRY_MIN} is required when {RETRY_TYPE} is {kind}")
        }
        (_, Some(min), Some(max)) if max < min => {
            format!("{RETRY_MAX} ({max}) must not be smaller than {RETRY_MIN} ({min})")
        }
        _ => return Ok(()),
    };
    Err(Refusal::precondition_failed(text))
}

/// Whether queues of that type have all these settings.
pub(super) fn suit(settings: &Arguments, kind: QueueKind) -> bool {
    settings.iter().all(|(name, _)| match setting(name) {
        None => true,
        Some(setting) => match setting.suits {
            Suits::All => true,
            Suits::Only(only) => only == kind,
            Suits::Streams => false,
        },
    })
}

/// What a policy and an operator policy set together.
pub(super) fn merged(policy: Option<&Arguments>, operator: Option<&Arguments>) -> Arguments {
    let (Some(policy), Some(operator)) = (policy, operator) else {
        return policy.or(operator).cloned().unwrap_or_default();
    };
    let bounded = policy.iter().map(|(name, value)| {
        let bound = operator.iter().find(|(other, _)| other == name);
        let value = match (bound, setting(name)) {
            (Some((_, bound)), Some(setting)) => setting.meeting.bounded(value, bound),
            _ => value,
        };
        (name.clone(), value.clone())
    });
    let only_there = operator
        .iter()
        .filter(|(name, _)| policy.iter().all(|(other, _)| other != name));
    bounded.chain(only_there.cloned()).collect()
}

/// The arguments of a declaration as they are in effect under these settings, of which operators have set `bounds`. Only what
/// changes is put in; the order is kept.
pub(super) fn effective(declared: &Arguments, settings: &Arguments, bounds: &Arguments) -> Arguments {
    let mut arguments: Vec<_> = declared.iter().cloned().collect();
    let users = settings.iter().map(|entry| (entry, false));
    let operators = bounds.iter().map(|entry| (entry, true));
    for ((name, value), binds) in users.chain(operators) {
        let Some(Setting {
            argument: Some(argument),
            meeting,
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
            Some((_, held)) if binds || matches!(meeting, Meeting::Lower { .. }) => {
                *held = meeting.bounded(held, value).clone();
            }
            Some(_) => {}
        }
    }
    arguments.into_iter().collect()
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
            (
                "consumer-timeout",
                (-1).into(),
                "-1 is not a valid consumer timeout",
            ),
            (
                "consumer-disconnected-timeout",
                (-1).into(),
                "-1 is not a valid consumer disconnected timeout",
            ),
            (
                "max-in-memory-length",
                (-1).into(),
                "-1 is not a valid maximum memory in bytes",
            ),
            (
                "max-in-memory-bytes",
                (-1).into(),
                "-1 is not a valid maximum memory in bytes",
            ),
            (
                "dead-letter-strategy",
                "twice".into(),
                "<<\"twice\">> is not a valid dead letter strategy",
            ),
            ("queue-version", 3.into(), "3 is not a valid queue-version value"),
            (
                "queue-leader-locator",
                "here".into(),
                "<<\"here\">> is not a valid queue leader locator value",
            ),
            (
                "target-group-size",
                0.into(),
                "0 is not a valid qq target count value",
            ),
            (
                "member-placement-tag",
                "".into(),
                "<<>> is not a valid member-placement-tag value. Must be a non-empty string",
            ),
            (
                "delayed-retry-type",
                "some".into(),
                "<<\"some\">> is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
            ),
            (
                "delayed-retry-min",
                0.into(),
                "0 is not a valid delayed retry minimum delay. Must be a positive integer",
            ),
            (
                "delayed-retry-max",
                0.into(),
                "0 is not a valid delayed retry maximum delay. Must be a positive integer",
            ),
            (
                "initial-cluster-size",
                (-1).into(),
                "-1 is not a valid cluster size",
            ),
            ("max-age", "7d".into(), "<<\"7d\">> is not a valid max age"),
            ("max-age", "0D".into(), "<<\"0D\">> is not a valid max age"),
            ("max-age", "".into(), "<<>> is not a valid max age"),
            (
                "stream-max-segment-size-bytes",
                3_000_000_001_i64.into(),
                "3000000001 is not a valid segment size",
            ),
            (
                "stream-filter-size-bytes",
                15.into(),
                "15 is not a valid filter size. Valid range is 16-255",
            ),
            (
                "no-ack-guard",
                "forbid".into(),
                "<<\"forbid\">> is not a valid no-ack guard",
            ),
            (
                "no-ack-retention",
                (-1).into(),
                "-1 is not a valid no-ack retention",
            ),
        ] {
            check_one(User, &[(name, value)], Some(text));
        }
        check_one(User, &[("max-age", "7D".into())], None);
        check_one(User, &[("max-length", 0.into()), ("ha-mode", "all".into())], None);
        let key = |bytes: usize| [("dead-letter-routing-key", Value::from("k".repeat(bytes).as_str()))];
        check_one(User, &key(255), None);
        let text = format!(
            "<<\"{}\">> is not a valid dead letter routing key",
            "k".repeat(256)
        );
        check_one(User, &key(256), Some(&text));
        let retry = |values: &[(&'static str, i32)]| {
            let delays = values.iter().map(|(name, value)| (*name, Value::from(*value)));
            [("delayed-retry-type", Value::from("all"))]
                .into_iter()
                .chain(delays)
                .collect::<Vec<_>>()
        };
        check_one(
            User,
            &retry(&[]),
            Some("delayed-retry-min is required when delayed-retry-type is all"),
        );
        check_one(User, &retry(&[("delayed-retry-min", 5)]), None);
        check_one(
            User,
            &retry(&[("delayed-retry-min", 5), ("delayed-retry-max", 4)]),
            Some("delayed-retry-max (4) must not be smaller than delayed-retry-min (5)"),
        );
        check_one(User, &[("delayed-retry-type", "disabled".into())], None);
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
        assert_eq!(merged(None, None), Arguments::default());
        assert_eq!(
            merged(None, Some(&of(&[("expires", 1.into())]))),
            of(&[("expires", 1.into())])
        );
    }

    #[test]
    fn an_operators_word_stands_whoever_says_otherwise() {
        /// What a queue makes of a setting that a user, whose policy or declaration it is, and an operator have given values.
        fn check(name: &str, user: Value, operator: Value, expected: Value) {
            let argument = setting(name.as_bytes()).and_then(|setting| setting.argument);
            let bounds = of(&[(name, operator)]);
            let by_policy = merged(Some(&of(&[(name, user.clone())])), Some(&bounds));
            assert_eq!(by_policy, of(&[(name, expected.clone())]), "a policy's {name}");
            let Some(argument) = argument else { return };
            let declared = of(&[(argument, user)]);
            let expected = of(&[(argument, expected)]);
            assert_eq!(
                effective(&declared, &bounds, &bounds),
                expected,
                "a declared {name}"
            );
            assert_eq!(
                effective(&of(&[]), &by_policy, &bounds),
                expected,
                "a policy's {name}"
            );
        }
        for name in [
            "message-ttl",
            "expires",
            "max-length",
            "max-length-bytes",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "delivery-limit",
            "consumer-timeout",
            "delayed-retry-max",
        ] {
            check(name, 9.into(), 5.into(), 5.into());
            check(name, 3.into(), 5.into(), 3.into());
        }
        // Nothing at all is a limit for these.
        for name in ["message-ttl", "max-length", "max-length-bytes", "delivery-limit"] {
            check(name, 0.into(), 5.into(), 0.into());
            check(name, 5.into(), 0.into(), 0.into());
        }
        // And no limit for these.
        check("delivery-limit", (-1).into(), 7.into(), 7.into());
        check("delivery-limit", 7.into(), (-1).into(), 7.into());
        check("consumer-timeout", 0.into(), 60_000.into(), 60_000.into());
        check("consumer-timeout", 60_000.into(), 0.into(), 60_000.into());
        check(
            "overflow",
            "drop-head".into(),
            "reject-publish".into(),
            "reject-publish".into(),
        );
        check("queue-version", 1.into(), 2.into(), 2.into());
        check("target-group-size", 3.into(), 5.into(), 5.into());
        check("target-group-size", 5.into(), 3.into(), 5.into());
        check("member-placement-tag", "a".into(), "b".into(), "b".into());
        check(
            "delayed-retry-type",
            "disabled".into(),
            "all".into(),
            "all".into(),
        );
        check("delayed-retry-min", 5.into(), 50.into(), 50.into());
        check("delayed-retry-min", 50.into(), 5.into(), 50.into());
    }

    #[test]
    fn a_declaration_counts_but_for_limits() {
        let check = |declared: &[(&str, Value)], settings: &[(&str, Value)], expected: &[(&str, Value)]| {
            assert_eq!(effective(&of(declared), &of(settings), &of(&[])), of(expected));
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
        check("ha-mode", "all".into(), true, false);
        check("queue-version", 2.into(), true, true);
        check("target-group-size", 3.into(), false, true);
        check("max-age", "7D".into(), false, false);
    }
}
