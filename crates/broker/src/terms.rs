//! The terms on which a queue keeps its messages: what its arguments, and policies, mean to the partition that holds them.

use serde::{Deserialize, Serialize};

pub use crate::catalog::Overflow;

/// See the module documentation. The default has no terms at all: such a queue pays for none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long a message may stay ready, in milliseconds from when it entered.
    pub message_ttl_millis: Option<u64>,
    /// How long the queue may be unused before it goes, in milliseconds.
    pub expires_millis: Option<u64>,
    /// Most ready messages.
    pub messages_max: Option<u64>,
    /// Most bytes in the bodies of ready messages.
    pub bytes_max: Option<u64>,
    /// What happens to a message beyond these.
    pub overflow: Overflow,
    /// Whether there is an exchange that dead messages go to.
    pub dead_letters: bool,
    /// Messages are never ready here: each waits for the time that it came with, then goes where the dead go.
    pub scheduled: bool,
    /// Whether `bytes_max` is about all that messages take, addresses and headers too, and not about their bodies alone.
    pub counts_all_bytes: bool,
    /// What is handed over without acknowledgement is retained so.
    pub retention: Option<Retention>,
}

/// How long, and how many of them, messages are retained that were handed over to consumers that do not acknowledge.
///
/// Part of the log's format by way of [`crate::catalog::Fact`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// For how long, in milliseconds from when they were handed over.
    pub millis: u64,
    /// Most messages; those that were handed over first are given up for others.
    pub messages_max: u64,
    /// Most bytes, all that the messages take counted.
    pub bytes_max: u64,
}

impl Terms {
    /// Whether there is nothing to look after.
    pub fn is_plain(&self) -> bool {
        let Terms {
            message_ttl_millis,
            expires_millis,
            messages_max,
            bytes_max,
            overflow: _,
            dead_letters,
            scheduled,
            counts_all_bytes: _,
            retention,
        } = self;
        let limits = [message_ttl_millis, expires_millis, messages_max, bytes_max];
        limits.iter().all(|limit| limit.is_none()) && !dead_letters && !scheduled && retention.is_none()
    }

    /// Whether a message that finds no room is refused rather than let in.
    pub fn refuses(&self) -> bool {
        (self.messages_max.is_some() || self.bytes_max.is_some()) && self.overflow != Overflow::DropHead
    }
}
