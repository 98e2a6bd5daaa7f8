//! What a queue does beyond first in, first out.

/// Made from a queue's definition; the default is a plain queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Only one consumer is delivered to; the others wait to take its place.
    pub single_active: Option<Takeover>,
    /// Failed deliveries are counted; else every return is like any other.
    pub counts_failures: bool,
    /// How many failed deliveries a message may have, if they are counted; one more, and it is parked.
    pub delivery_limit: Option<u16>,
    /// How the priorities of messages are read, if they count. The queue machine itself is told the rank with each run.
    pub ranks: Option<Ranks>,
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
