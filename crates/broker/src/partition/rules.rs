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
}

/// When another consumer becomes the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// When the active one is gone (classic queues).
    WhenGone,
    /// Also when one of a higher priority has come: the active one gets nothing more, and makes room once it holds nothing (quorum queues).
    WhenOutranked,
}
