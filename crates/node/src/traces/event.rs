//! What happens to messages that are followed.

use std::sync::Arc;

use everack_broker::ids::{ConsumerId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::{Death, SettleReason};
use everack_storage::Position;

use super::{Publisher, Trace};

/// One thing that has happened, told in the order in which it did. A copy of a message is known by its queue and its number there.
#[derive(Debug)]
pub enum Event {
    /// A message came from its publisher.
    Published {
        /// Which.
        trace: Arc<Trace>,
        /// Where it goes.
        fate: Fate,
        /// Whether its channel is told when all is done.
        confirms: bool,
    },
    /// A copy is in a queue: if it is durable, it is so from now on.
    Entered {
        /// Whose copy.
        trace: Arc<Trace>,
        /// Where.
        queue: QueueId,
        /// Its number there.
        seq: Seq,
        /// Where its record lies in the log.
        location: Option<Position>,
        /// The copy that it goes on from, as its queue and its number there, if it does not come from its publisher.
        origin: Option<(QueueId, Seq)>,
    },
    /// Queues have no room for it, or are gone.
    Missed {
        /// Whose copies.
        trace: Arc<Trace>,
        /// How many queues.
        places: u32,
    },
    /// A copy goes to a consumer, or to who has asked for a message.
    Delivered {
        /// Where it was.
        queue: QueueId,
        /// Its number there.
        seq: Seq,
        /// To whom.
        consumer: ConsumerId,
        /// Whether it may have been delivered before.
        redelivered: bool,
    },
    /// A copy is where it was, in another condition.
    Became {
        /// Where.
        queue: QueueId,
        /// Its number there.
        seq: Seq,
        /// What is so now.
        phase: Phase,
    },
    /// A copy is in its queue no more.
    Left {
        /// Where it was.
        queue: QueueId,
        /// Its number there.
        seq: Seq,
        /// Why.
        reason: SettleReason,
    },
    /// A copy is not followed further, in favour of younger ones.
    Forgotten {
        /// Where it is.
        queue: QueueId,
        /// Its number there.
        seq: Seq,
    },
    /// Somebody may get messages from now on.
    ConsumerBegins {
        /// Who.
        consumer: ConsumerId,
        /// By which name its client knows it; empty for `basic.get`.
        tag: Name,
        /// On which channel.
        channel: u16,
        /// On which connection.
        peer: Arc<Publisher>,
    },
    /// It does not any more.
    ConsumerEnds {
        /// Who.
        consumer: ConsumerId,
    },
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To so many queues.
    Queues(u32),
    /// Past all queues, to who has asked.
    Answer,
    /// Back to its publisher.
    Returned,
    /// Nowhere; its publisher is told.
    Refused,
    /// Nowhere; its publisher is not told.
    Dropped,
}

/// What a copy in a queue may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It came back after a delivery, which counts as failed or not, and is ready.
    Returned {
        /// Whether that counts.
        failed: bool,
    },
    /// Its consumer rejected it, and it goes through the dead-letter exchange.
    Rejected,
    /// It has died, and goes through the dead-letter exchange.
    Dying(Death),
    /// It is set aside until an operator decides.
    Parked(Death),
    /// It was handed over without acknowledgement, and is retained for a while.
    Retained,
    /// It is ready again, by order.
    Ready,
}
