//! What is done about consumers that do not acknowledge, on durable queues that are not exclusive: there a message is gone once it is
//! on its way to the client, and a crash of the consumer loses it.
//!
//! A virtual host says what is done on its queues; policies may say otherwise for some of them. Clients have no say.

use serde::{Deserialize, Serialize};

use super::policy_setting::{GUARD, RETENTION, RETENTION_BYTES, RETENTION_MESSAGES};
use crate::arguments::{Arguments, Value};
use crate::terms::Retention;

/// What is done about a consumer that does not acknowledge.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// Nothing, as in RabbitMQ.
    Allow,
    /// It is served, told of in the log, and counted.
    #[default]
    Warn,
    /// It is served, and what it got is retained for a while, to be brought back.
    Retain,
    /// It is refused.
    Deny,
}

/// See the module documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoAckGuard {
    /// What is done.
    pub guard: Guard,
    /// How long and how much is retained, where anything is.
    pub retention: Retention,
}

impl Guard {
    /// All of them.
    pub const ALL: [Guard; 4] = [Guard::Allow, Guard::Warn, Guard::Retain, Guard::Deny];

    /// As policies, the configuration and the management API name it.
    pub fn name(self) -> &'static str {
        match self {
            Guard::Allow => "allow",
            Guard::Warn => "warn",
            Guard::Retain => "retain",
            Guard::Deny => "deny",
        }
    }

    /// The one of that name.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|guard| guard.name().as_bytes() == name)
    }
}

impl Default for NoAckGuard {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            retention: Retention {
                millis: 3_600_000,
                messages_max: 100_000,
                bytes_max: 64 << 20,
            },
        }
    }
}

impl NoAckGuard {
    /// As it is where policies say this.
    pub(super) fn under(self, settings: &Arguments) -> Self {
        let named = |name: &str| {
            settings
                .iter()
                .find(|(given, _)| given.as_bytes() == name.as_bytes())
        };
        let number = |name, default| {
            let given = named(name).and_then(|(_, value)| value.as_integer());
            given
                .and_then(|given| u64::try_from(given).ok())
                .unwrap_or(default)
        };
        let guard = named(GUARD).and_then(|(_, value)| Guard::named(value.as_long_string()?));
        let Retention {
            millis,
            messages_max,
            bytes_max,
        } = self.retention;
        Self {
            guard: guard.unwrap_or(self.guard),
            retention: Retention {
                millis: number(RETENTION, millis),
                messages_max: number(RETENTION_MESSAGES, messages_max),
                bytes_max: number(RETENTION_BYTES, bytes_max),
            },
        }
    }
}

/// Whether a policy may name such a guard.
pub(super) fn is_guard(value: &Value) -> bool {
    value
        .as_long_string()
        .is_some_and(|name| Guard::named(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_change_what_they_name() {
        let check = |settings: &[(&str, Value)], guard, millis, messages_max, bytes_max| {
            let usual = NoAckGuard {
                guard: Guard::Deny,
                retention: Retention {
                    millis: 1,
                    messages_max: 2,
                    bytes_max: 3,
                },
            };
            let retention = Retention {
                millis,
                messages_max,
                bytes_max,
            };
            let settings = settings.iter().cloned().collect();
            assert_eq!(usual.under(&settings), NoAckGuard { guard, retention });
        };
        check(&[], Guard::Deny, 1, 2, 3);
        check(&[("no-ack-guard", "retain".into())], Guard::Retain, 1, 2, 3);
        let all: [(&str, Value); 4] = [
            ("no-ack-guard", "allow".into()),
            ("no-ack-retention", 5_i64.into()),
            ("no-ack-retention-length", 6_i64.into()),
            ("no-ack-retention-length-bytes", 7_i64.into()),
        ];
        check(&all, Guard::Allow, 5, 6, 7);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for guard in Guard::ALL {
            assert_eq!(Guard::named(guard.name().as_bytes()), Some(guard));
        }
        assert_eq!(Guard::named(b"Deny"), None);
    }
}
