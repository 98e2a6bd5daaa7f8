//! All that can be asked of a partition.

use std::sync::Arc;

use crate::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};

use super::gate::Gate;
use super::limit::SharedLimit;
use super::rules::Rules;
use super::run::Run;

/// One thing to do. Commands never fail: a question is answered by an effect that carries its ticket, and a
/// command about a queue or consumer that is gone has nothing left to do.
#[derive(Clone, Debug)]
pub enum Command<C> {
    /// A queue begins. One that exists already stays as it is.
    CreateQueue {
        /// Its id, never used before.
        queue: QueueId,
        /// Whether it survives a restart; told back in [`super::Depth`], the machine treats both alike.
        durable: bool,
        /// Whether [`super::Effect::Unused`] tells of the leaving of its last consumer.
        auto_delete: bool,
        /// What it does beyond first in, first out.
        rules: Box<Rules>,
    },
    /// A queue follows other rules from now on. Whether it has a single active consumer stays as it is; what waits by a
    /// rule that is no more is ready.
    Amend {
        /// Which.
        queue: QueueId,
        /// The rules.
        rules: Box<Rules>,
    },
    /// Messages expire at a time, wherever they are; sent before they enter.
    Expire {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// When.
        at: Millis,
    },
    /// Messages that [`super::Effect::Died`] told of are durable elsewhere, or go nowhere: they leave.
    Bury {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// `DeadLettered` or `Cycle`.
        reason: SettleReason,
    },
    /// Messages that [`super::Effect::Died`] told of could not go where they should: they are tried again later.
    Keep {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
    },
    /// A queue ends, whatever it holds: its messages count as discarded, its consumers are told.
    DeleteQueue {
        /// Which.
        queue: QueueId,
    },
    /// May this queue be deleted under these conditions? Answered by `DeleteAllowed` or `Refused`.
    CheckDelete {
        /// Which.
        queue: QueueId,
        /// Not if it has consumers.
        if_unused: bool,
        /// Not if it has ready messages.
        if_empty: bool,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// All ready messages are discarded; unsettled ones stay. Answered by `Purged` or `Refused`.
    Purge {
        /// Which.
        queue: QueueId,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// Messages enter a queue: committed ones, or transient ones. They may come out of order of their numbers, but no
    /// number twice.
    Enqueue {
        /// Where to.
        queue: QueueId,
        /// The messages.
        run: Run<C>,
    },
    /// As `Enqueue`, for messages that are more or less urgent than the usual ones of their queue.
    EnqueueRanked {
        /// Where to.
        queue: QueueId,
        /// The messages.
        run: Run<C>,
        /// Higher ranks are delivered first; usual messages have rank 0.
        rank: i16,
    },
    /// A consumer begins. Answered by `ConsumeOk` or `Refused`.
    Consume {
        /// Its id, never used before.
        consumer: ConsumerId,
        /// Whose it is. All consumers of a connection share its gate.
        connection: ConnectionId,
        /// What it reads.
        queue: QueueId,
        /// Whether a message is settled by being delivered.
        no_ack: bool,
        /// Whether it wants to be the only consumer of the queue.
        exclusive: bool,
        /// Consumers of a higher priority are served first as long as they can take messages. 0 if nothing was said;
        /// beyond 100 either way it counts as 100.
        priority: i32,
        /// Most unsettled messages it may have; 0 is no limit.
        prefetch: u16,
        /// How long it may hold a message, in milliseconds; then it is cancelled, and `TimedOut` tells of it.
        patience_millis: Option<u64>,
        /// The back-pressure of its connection.
        gate: Arc<Gate>,
        /// The bound that it shares with other consumers of its channel.
        limit: Option<Arc<SharedLimit>>,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// A consumer gets nothing more. What it has not settled stays with it, to be settled or returned later. Answered
    /// by `Cancelled`, even if the consumer is unknown.
    Cancel {
        /// Which.
        consumer: ConsumerId,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// One message is taken. Answered by `Got`, `GotEmpty` or `Refused`.
    Get {
        /// Stands for all messages that this channel takes from this queue; a fresh id on first use.
        consumer: ConsumerId,
        /// Whose it is.
        connection: ConnectionId,
        /// Where from.
        queue: QueueId,
        /// Whether the message is settled by being handed over.
        no_ack: bool,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// Deliveries `first..first + count` of a consumer are done with. Those that are settled already are passed over.
    Settle {
        /// Whose deliveries.
        consumer: ConsumerId,
        /// The consumer's own number of the first.
        first: u64,
        /// How many.
        count: u32,
        /// What becomes of them.
        outcome: SettleOutcome,
    },
    /// A delivery is taken from its consumer: the message goes back to its place as by `SettleOutcome::Requeue`, and to another consumer if
    /// one can take it now. It goes on to count as unsettled for the consumer's limits until its client settles it, which does nothing
    /// else. One that is settled already, or that a transaction on its way settles, stays as it is.
    HandOn {
        /// Whose delivery.
        consumer: ConsumerId,
        /// The consumer's own number of it.
        delivery: u64,
    },
    /// A transaction that settles these deliveries is on its way to the log: a `Settle` of the same ones follows. Until then they stay
    /// with their consumer, also if it ends, or asks for `Recover`.
    Commit {
        /// Whose deliveries.
        consumer: ConsumerId,
        /// The consumer's own number of the first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// All that a consumer has not settled returns to its queue; the consumer goes on (`basic.recover`).
    Recover {
        /// Which.
        consumer: ConsumerId,
    },
    /// The channel or connection of a consumer is gone: it ends, and what it has not settled returns to its queue. Send it for
    /// the pseudo consumers of `Get` too.
    ReturnAll {
        /// Which.
        consumer: ConsumerId,
    },
    /// The gate of this consumer's connection has opened, or its shared limit has room: whoever waits for either in
    /// this partition is served in turn. One consumer of the connection is enough for its gate, one of the channel for
    /// its limit, whether or not that one waits itself. One that has gone in the meantime will do too.
    Resume {
        /// Which.
        consumer: ConsumerId,
    },
    /// A consumer comes under another shared limit, or none; what it has not settled counts from now on.
    Limit {
        /// Which.
        consumer: ConsumerId,
        /// The bound that it shares.
        limit: Option<Arc<SharedLimit>>,
    },
    /// How much is in a queue? Answered by `Counts` or `Refused`.
    Status {
        /// Which.
        queue: QueueId,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// Messages that were set aside go back to their places or leave: `Unparked` or `Settled` tells which. What would go back and finds
    /// no room in its queue stays.
    Unpark {
        /// Whose messages.
        queue: QueueId,
        /// From where.
        store: Store,
        /// The first number concerned.
        first: Seq,
        /// The number behind the last; whatever is not there is passed over.
        end: Seq,
        /// What becomes of them.
        fate: ParkedFate,
    },
    /// Messages go to another queue by order: they are on their way until `Bury` says that they have arrived, or `Keep` that they have not;
    /// then they are where they were. What is not there is passed over.
    SendOff {
        /// Whose messages.
        queue: QueueId,
        /// From one of its stores; else those that are ready.
        store: Option<Store>,
        /// The first number concerned.
        first: Seq,
        /// The number behind the last.
        end: Seq,
    },
    /// Messages that wait for their time leave for good, as by a purge. What is on its way already, or not there, is passed over.
    Unschedule {
        /// Where.
        queue: QueueId,
        /// The first number concerned.
        first: Seq,
        /// The number behind the last.
        end: Seq,
    },
    /// Survivors of an old segment have been written again. What has been settled meanwhile is passed over; for the
    /// rest `Relocated` tells which bytes have moved.
    Relocate {
        /// Whose messages.
        queue: QueueId,
        /// Which went where. Send all moves of a queue at once: unsettled windows are searched once a command.
        moves: Vec<Move>,
    },
    /// Content that cannot be read back undamaged: the messages leave the queue, wherever they are, and `Settled` tells of
    /// it with the reason `Quarantined`.
    Quarantine {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
    },
    /// The log says that messages were settled (replay). As `Quarantine`, but with the reason that the log gives.
    ReplaySettled {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
        /// Why.
        reason: SettleReason,
    },
    /// The log says that ready messages had been delivered and came back (replay).
    ReplayReturned {
        /// Whose messages.
        queue: QueueId,
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
    },
}

/// What a client does with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// `basic.ack`.
    Done,
    /// `basic.nack` with requeue: back to its old place.
    Requeue,
    /// `basic.reject` with requeue: the same, and it counts as a failed delivery.
    RequeueFailed,
    /// `basic.nack` or `basic.reject` without requeue.
    Discard,
}

impl SettleOutcome {
    /// Whether the message goes back to its queue.
    pub fn requeues(self) -> bool {
        matches!(self, SettleOutcome::Requeue | SettleOutcome::RequeueFailed)
    }
}

/// Where a queue has messages that nobody gets for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// They were delivered too often, or died and have nowhere to go.
    Parked,
    /// They were handed over to somebody who does not acknowledge, and are kept for a while.
    Retained,
}

/// What becomes of messages that were set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedFate {
    /// Back to their old places, as if they had never failed, and with all their time to live.
    Redrive,
    /// They leave for good.
    Discard,
}

/// Why a message is in no queue any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleReason {
    /// Acknowledged.
    Done,
    /// Delivered to a consumer that does not acknowledge.
    NoAck,
    /// Rejected without requeue.
    Rejected,
    /// Purged by order.
    Purged,
    /// Its queue was deleted.
    Deleted,
    /// Its content was found damaged.
    Quarantined,
    /// It was parked, and discarded by order.
    ParkedDiscarded,
    /// It was too old, and there is no dead-letter exchange.
    Expired,
    /// There was no room for it, and there is no dead-letter exchange.
    Overflowed,
    /// It was delivered too often, and there is no dead-letter exchange.
    DeliveryLimit,
    /// It went on through the dead-letter exchange.
    DeadLettered,
    /// It went to another queue by order.
    Moved,
    /// It would have gone in a circle through dead-letter exchanges, with nobody rejecting it on the way.
    Cycle,
    /// Its time had come, nobody wanted it, and its virtual host says that such messages go.
    Unroutable,
}

/// Messages `first..first + count` are from now on the messages `from..from + count` of the record at `location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The first message.
    pub first: Seq,
    /// How many.
    pub count: u16,
    /// The new record.
    pub location: Location,
    /// Index of the first message in it.
    pub from: u16,
}
