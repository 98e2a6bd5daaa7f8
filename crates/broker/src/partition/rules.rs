//! What a queue does beyond first in, first out.

use crate::terms::Terms;

/// Made from a queue's definition; the default is a plain queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Only one consumer is delivered to; the others wait to take its place.
    pub single_active: Option<Takeover>,
    /// Failed deliveries are counted; else every return is like any other.
    pub counts_failures: bool,
    /// How many failed deliveries a message may have, if they are counted; one more, and it is parked.
    pub delivery_limit: Option<u16>,
    /// What came back waits before it is delivered again.
    pub retry: Option<Retry>,
    /// How the priorities of messages are read, if they count. The queue machine itself is told the rank with each run.
    pub ranks: Option<Ranks>,
    /// How long, and how many of them, messages stay.
    pub terms: Terms,
}

/// How long what came back waits: longer with each failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Which returns are delayed.
    pub kind: RetryKind,
    /// The delay after the first failure, and of whatever did not fail.
    pub min_millis: u64,
    /// No delay is longer.
    pub max_millis: u64,
    /// Each failure makes the delay so many times as long; without, it grows by the first delay each time.
    pub multiplier: Option<u32>,
}

/// Which returns are delayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryKind {
    /// All.
    All,
    /// Those that count as failures.
    Failed,
    /// Those that do not.
    Returned,
}

impl Retry {
    /// Whether a message that came back waits.
    pub fn delays(self, failed: bool) -> bool {
        match self.kind {
            RetryKind::All => true,
            RetryKind::Failed => failed,
            RetryKind::Returned => !failed,
        }
    }

    /// For how long, after so many failures.
    pub fn delay_millis(self, failures: u16) -> u64 {
        let failures = u32::from(failures.max(1));
        let delay = match self.multiplier {
            None => self.min_millis.saturating_mul(u64::from(failures)),
            Some(multiplier) => {
                let factor = u64::from(multiplier).saturating_pow(failures - 1);
                self.min_millis.saturating_mul(factor)
            }
        };
        delay.min(self.max_millis)
    }
}

/// What a queue makes of the priorities of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Priorities above this count as this.
    pub max: u8,
    /// The priority of a message that has none.
    pub usual: u8,
}

impl Ranks {
    /// How much more urgent a message of that priority is than a usual one.
    pub fn rank(self, priority: Option<u8>) -> i16 {
        i16::from(priority.unwrap_or(self.usual).min(self.max)) - i16::from(self.usual)
    }
}

/// When another consumer becomes the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// When the active one is gone (classic queues).
    WhenGone,
    /// Also when one of a higher priority has come: the active one gets nothing more, and makes room once it holds nothing (quorum queues).
    WhenOutranked,
}
