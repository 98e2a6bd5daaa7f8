//! All that a partition makes happen.

use std::sync::Arc;

use crate::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};

use super::command::SettleReason;
use super::dead_list::Death;
use super::limit::SharedLimit;
use super::marks::Marks;
use super::run::Run;

/// One thing that has happened, in the order in which it did.
#[derive(Clone, Debug)]
pub enum Effect<C> {
    /// Messages go to a consumer.
    Deliver(Delivery<C>),
    /// The answer to `Get`.
    Got {
        /// Who asked.
        ticket: Ticket,
        /// The message.
        delivery: Box<Delivery<C>>,
        /// Ready messages that are left.
        remaining: u64,
    },
    /// The answer to `Get` where there is nothing.
    GotEmpty {
        /// Who asked.
        ticket: Ticket,
    },
    /// Messages are in no queue any more. Neighbours in one segment are told together.
    Settled {
        /// Where they were.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Where the first lies in the log; the others lie in the same segment. Nowhere if they were transient.
        location: Location,
        /// Their bytes; over the life of a run these add up to exactly its bytes.
        bytes: u64,
        /// Why.
        reason: SettleReason,
    },
    /// Messages that had been delivered came back; their delivery counts have gone up by one. They are ready, or else
    /// `Parked` follows.
    Returned {
        /// Where.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Whether they are in the log.
        durable: bool,
        /// Whether that counts as a failed delivery.
        failed: bool,
        /// How often each has come back by now.
        deliveries: u32,
        /// How often each has failed by now.
        failures: u16,
    },
    /// Messages have failed too often, or died and have nowhere to go, and stay aside until an operator decides. They do not expire
    /// meanwhile.
    Parked {
        /// Where.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Whether they are in the log.
        durable: bool,
        /// What they died of.
        why: Death,
    },
    /// Messages were handed over without acknowledgement, and are retained.
    Retained {
        /// Where.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many. They are in the log.
        count: u32,
        /// Until when.
        until: Millis,
    },
    /// Messages that were set aside are ready again, and their failures forgotten.
    Unparked {
        /// Where.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Whether they are in the log.
        durable: bool,
        /// When they expire now.
        expires: Option<Millis>,
    },
    /// Messages were rejected by their consumer. They leave the queue when they are through its dead-letter exchange.
    Rejected {
        /// Where.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Whether they are in the log.
        durable: bool,
    },
    /// The consumer has begun.
    ConsumeOk {
        /// Who asked.
        ticket: Ticket,
    },
    /// The consumer gets nothing more.
    Cancelled {
        /// Who asked.
        ticket: Ticket,
    },
    /// What was asked for cannot be.
    Refused {
        /// Who asked.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// The answer to `Status`.
    Counts {
        /// Who asked.
        ticket: Ticket,
        /// Ready messages.
        messages: u64,
        /// Consumers.
        consumers: u64,
    },
    /// The answer to `CheckDelete`.
    DeleteAllowed {
        /// Who asked.
        ticket: Ticket,
        /// Ready messages.
        messages: u64,
    },
    /// The answer to `Purge`.
    Purged {
        /// Who asked.
        ticket: Ticket,
        /// How many messages were removed.
        messages: u64,
    },
    /// A consumer has lost its queue.
    ConsumerGone {
        /// Which.
        consumer: ConsumerId,
        /// Whose it was.
        connection: ConnectionId,
    },
    /// A consumer has held a message for longer than it may. It is gone, and what it held has returned.
    TimedOut {
        /// Which.
        consumer: ConsumerId,
        /// Whose it was.
        connection: ConnectionId,
    },
    /// The last consumer of an auto-delete queue has gone, or a queue was unused for as long as its terms allow.
    Unused {
        /// The queue.
        queue: QueueId,
    },
    /// A shared limit has room again for which somebody waits, perhaps in another partition: post `Resume` for one
    /// consumer of the channel to each other partition that has any.
    LimitFreed {
        /// Whose limit it is.
        connection: ConnectionId,
        /// A consumer of the channel.
        consumer: ConsumerId,
        /// The limit.
        limit: Arc<SharedLimit>,
    },
    /// Live bytes are at another place in the log now. Neighbours with the same two segments are told together.
    Relocated {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Where the first was.
        old: Location,
        /// Where it is.
        location: Location,
        /// Bytes to take off the old segment and to add to the new one.
        bytes: u64,
    },
    /// Messages have died, and are to go through the dead-letter exchange of their queue, which still owns them: answer
    /// with `Bury` or `Keep`.
    Died {
        /// Whose messages.
        queue: QueueId,
        /// What they died of.
        death: Death,
        /// The messages. Without content if it has to be read from the log.
        run: Run<C>,
    },
    /// Messages came for a queue that is not there (any more).
    Orphaned {
        /// The queue they were meant for.
        queue: QueueId,
        /// The messages.
        run: Run<C>,
    },
}

// Effects are pushed, swapped and drained at the rate of runs.
const _: () = assert!(size_of::<Effect<Arc<()>>>() <= 80);

/// Messages on their way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery<C> {
    /// Which.
    pub consumer: ConsumerId,
    /// Whose it is.
    pub connection: ConnectionId,
    /// Where they come from.
    pub queue: QueueId,
    /// The messages. Without content if it has to be read from the log.
    pub run: Run<C>,
    /// The consumer's own number of the first of these deliveries.
    pub first_delivery: u64,
    /// How often each of them had been delivered before and came back, as far as is known.
    pub marks: Marks,
    /// Whether they may have been delivered before.
    pub redelivered: bool,
}

/// Why a question is answered with no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such queue (any more).
    NoQueue,
    /// Another consumer has the queue to itself, or it cannot be had exclusively as there are consumers.
    ExclusiveUse,
    /// The queue has consumers.
    InUse,
    /// The queue has ready messages.
    NotEmpty,
}
