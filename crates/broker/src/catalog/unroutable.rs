//! What becomes of messages that no queue wants, where nobody has asked to have them back.
//!
//! A virtual host can keep them in a store of its own: a durable queue under a reserved name, which clients cannot declare,
//! delete or find in lists, but read like any other. It is bounded: the oldest make room, and are counted like those of any queue
//! with a limit.

use serde::{Deserialize, Serialize};

use super::govern::Governance;
use crate::arguments::{Arguments, Value};

/// The name of the store in each virtual host that has one.
pub const UNROUTABLE_STORE: &str = "amq.everack.unroutable";

/// What becomes of unroutable messages.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unroutable {
    /// They are gone, and counted; their publisher takes them for safe. As in RabbitMQ.
    #[default]
    Drop,
    /// They are refused: a publisher that confirms is told that they are not safe.
    Nack,
    /// They are kept, up to these bounds.
    Keep {
        /// Most messages.
        messages_max: u64,
        /// Most bytes of bodies.
        bytes_max: u64,
    },
}

impl Unroutable {
    /// What bounds the store, in the form of a policy that nobody else can set.
    pub(super) fn governance(self) -> Governance {
        let bounds = match self {
            Unroutable::Drop | Unroutable::Nack => Arguments::default(),
            Unroutable::Keep {
                messages_max,
                bytes_max,
            } => {
                let bound = |most: u64| Value::Long(i64::try_from(most).unwrap_or(i64::MAX));
                [
                    ("max-length", bound(messages_max)),
                    ("max-length-bytes", bound(bytes_max)),
                ]
                .into_iter()
                .collect()
            }
        };
        Governance {
            settings: bounds,
            ..Governance::default()
        }
    }
}
