//! The arguments of consumers: what they may be and what they mean. Checked as those of queues are.

use super::argument_checks::{Check, check_bool, check_integer, check_not_negative, check_one};
use super::queue_arguments::{QueueKind, check_known};
use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};

/// What the arguments of a consumer mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `x-priority`; consumers of higher priority are served first.
    pub priority: i64,
    /// `x-consumer-timeout`: it may hold a message for so long.
    pub timeout_millis: Option<u64>,
}

impl ConsumerSettings {
    /// Checks the arguments of a consumer of a queue of that type; `resource` is the queue as texts name it.
    pub(crate) fn parse(arguments: &Arguments, kind: QueueKind, resource: &str) -> Result<Self, Refusal> {
        let known: &[&str] = match kind {
            QueueKind::Classic => &[
                "x-cancel-on-ha-failover",
                "x-priority",
                "x-credit",
                "x-consumer-timeout",
            ],
            QueueKind::Quorum => &["x-priority", "x-credit", "x-consumer-timeout"],
        };
        for (name, check) in [
            ("x-priority", check_integer as Check),
            ("x-consumer-timeout", check_not_negative),
            ("x-cancel-on-ha-failover", check_bool),
        ] {
            if known.contains(&name) {
                check_one(name, check, arguments, resource)?;
            }
        }
        check_known(
            arguments,
            resource,
            kind,
            &["x-cancel-on-ha-failover", "x-stream-offset"],
            known,
        )?;
        let integer = |name| arguments.get(name).and_then(Value::as_integer);
        Ok(Self {
            priority: integer("x-priority").unwrap_or(0),
            timeout_millis: integer("x-consumer-timeout").and_then(|millis| u64::try_from(millis).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_refuses_every_other_type() {
        for kind in [QueueKind::Classic, QueueKind::Quorum] {
            let refused = |name: &str, value: Value, rest: &str| {
                let given = [(name, value)].into_iter().collect();
                let result = ConsumerSettings::parse(&given, kind, "queue 'q' in vhost '/'");
                let text = format!("invalid arg '{name}' for queue 'q' in vhost '/'{rest}");
                assert_eq!(result.err().map(|refusal| refusal.text), Some(text));
            };
            let values = Value::one_of_each_type().into_iter();
            for value in values.filter(|value| value.as_integer().is_none()) {
                let error = format!(": \"expected integer, got {}\"", value.type_name());
                refused("x-priority", value.clone(), &error);
                refused("x-consumer-timeout", value, &error);
            }
            refused("x-consumer-timeout", (-1).into(), ": {value_negative,-1}");
            let unknown = format!(" of queue type {}", kind.module_name());
            refused("x-stream-offset", "first".into(), &unknown);
        }
    }

    #[test]
    fn consumers() {
        let check = |kind, values: &[(&str, Value)], expected: Result<i64, &str>| {
            let result =
                ConsumerSettings::parse(&values.iter().cloned().collect(), kind, "queue 'q' in vhost '/'");
            let result = result
                .map(|settings| settings.priority)
                .map_err(|refusal| refusal.text);
            let text = |rest| format!("invalid arg '{rest}");
            assert_eq!(result, expected.map_err(text));
        };
        check(QueueKind::Classic, &[], Ok(0));
        check(QueueKind::Classic, &[("x-priority", 7.into())], Ok(7));
        check(
            QueueKind::Classic,
            &[("x-priority", "7".into())],
            Err("x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\""),
        );
        check(
            QueueKind::Quorum,
            &[("x-cancel-on-ha-failover", true.into())],
            Err("x-cancel-on-ha-failover' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"),
        );
    }
}
