//! What a connection may ask of a partition, and what the log and the catalog tell it.
//!
//! A closed enum: to know all that a partition can be asked, read this file. Every variant is plain data plus the
//! link that the answer goes to, so that a partition led by another node becomes a change of transport.

use std::sync::Arc;

use everack_broker::ids::{ConsumerId, Millis, QueueId, Seq};
use everack_broker::partition::{
    Cursor, ParkedFate, Place, Rules, SettleOutcome, SettleReason, SharedLimit, Store,
};
use everack_broker::routing::Route;
use everack_storage::Position;

use crate::append::JobId;
use crate::charge::Charge;
use crate::few::Few;
use crate::link::Link;
use crate::messages::Messages;
use crate::record::Range;
use crate::report::{Inquirer, MovedReport};
use crate::traces::TracedBatch;
use crate::transaction::Assembly;

/// One request to a partition.
#[derive(Debug)]
pub enum Request {
    /// Messages for queues of this partition.
    Publish(Publish),
    /// Messages that a consumer has done with, wants back in the queue, or rejects.
    Settle(Settle),
    /// Start a consumer; answered by [`crate::notice::Answer::ConsumeOk`] or a refusal.
    Consume(Consume),
    /// Stop a consumer. What it holds stays settleable until its channel goes.
    Cancel {
        /// The consumer to stop.
        consumer: ConsumerId,
        /// Who is told.
        reply: Reply,
    },
    /// Take one message; the answer carries it.
    Get {
        /// The pseudo consumer that keeps the channel's gotten messages of this queue.
        consumer: ConsumerId,
        /// The queue.
        queue: QueueId,
        /// Whether the message is settled by being handed over.
        no_ack: bool,
        /// Who is told.
        reply: Reply,
    },
    /// All that a consumer holds goes back to its old place (`basic.recover`).
    Recover {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// The consumer's channel or connection is gone: stop it and return what it holds.
    Gone {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// The consumer's channel has another shared limit, or none.
    Limit {
        /// The consumer.
        consumer: ConsumerId,
        /// The bound over all consumers of the channel.
        limit: Option<Arc<SharedLimit>>,
    },
    /// Delivery to this consumer may go on: its connection has drained, or a shared prefetch limit has room.
    Resume {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Counts of a queue, for `queue.declare-ok`.
    Status {
        /// The queue.
        queue: QueueId,
        /// Who is told.
        reply: Reply,
    },
    /// May this queue be deleted under these conditions? The catalog deletes it afterwards.
    CheckDelete {
        /// The queue.
        queue: QueueId,
        /// Refuse if it has consumers.
        if_unused: bool,
        /// Refuse if it holds ready messages.
        if_empty: bool,
        /// Who is told.
        reply: Reply,
    },
    /// Remove all ready messages.
    Purge {
        /// The queue.
        queue: QueueId,
        /// Who is told.
        reply: Reply,
    },
    /// This partition's share of a `tx.commit`.
    Transaction(TransactionPart),
    /// The catalog has durably created a queue here.
    CreateQueue {
        /// Its id.
        queue: QueueId,
        /// Whether its messages go to the log.
        durable: bool,
        /// Whether it goes with its last consumer.
        auto_delete: bool,
        /// What it does beyond first in, first out.
        rules: Box<Rules>,
    },
    /// A queue follows other rules from now on.
    Amend {
        /// Its id.
        queue: QueueId,
        /// What it does beyond first in, first out; what it makes of priorities stays as it is.
        rules: Box<Rules>,
    },
    /// This partition's part of moving dead messages to other queues.
    Move(MovePart),
    /// A part of this partition was framed for a move that does not happen.
    Abandoned {
        /// The job that it would have been.
        job: JobId,
    },
    /// Dead messages have found no target: their queue keeps them for now.
    Keep {
        /// The queue.
        queue: QueueId,
        /// The first message.
        first: Seq,
        /// How many.
        count: u32,
    },
    /// Dead messages go nowhere, and are counted out for that reason.
    Bury {
        /// The queue.
        queue: QueueId,
        /// The first message.
        first: Seq,
        /// How many.
        count: u32,
        /// Why.
        reason: SettleReason,
    },
    /// The catalog has durably removed a queue.
    DeleteQueue {
        /// Its id.
        queue: QueueId,
    },
    /// A job of this partition is durable.
    Committed {
        /// Which.
        job: JobId,
        /// Where it begins in the log.
        base: Position,
        /// Where it ends.
        end: Position,
    },
    /// Content that could not be read back undamaged; it is set aside and reported, never delivered.
    Damaged {
        /// The queue.
        queue: QueueId,
        /// The first message of the run.
        first: Seq,
        /// How many.
        count: u32,
    },
    /// Which messages of a record are still alive? They are written again at the end of the log.
    Rescue(Rescue),
    /// Time has passed: publishers were held back, or a queue wants to be looked at.
    Tick,
    /// Which messages are there?
    List(List),
    /// Which messages wait for their time?
    ListScheduled(ListScheduled),
    /// Messages that wait for their time are called off.
    Unschedule(Unschedule),
    /// Messages go elsewhere by order.
    SendOff(SendOff),
    /// Messages that are set aside go back to their places, or away.
    Unpark(Unpark),
    /// A delivery is taken from its consumer, and goes on to another one.
    HandOn(HandOn),
    /// Who consumes from these queues, or holds messages of them? Ask for a bounded number at a time.
    Holders {
        /// The queues; those that are not here are passed over.
        queues: Vec<QueueId>,
        /// Who is told.
        inquirer: Arc<dyn Inquirer>,
    },
    /// How do these queues stand? Ask for a bounded number at a time: the partition stands still while it looks.
    Report {
        /// The queues; those that are not here are passed over.
        queues: Vec<QueueId>,
        /// Who is told.
        inquirer: Arc<dyn Inquirer>,
    },
}

/// Who asked: the answer goes to this channel of this connection.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The connection's link.
    pub link: Arc<Link>,
    /// The channel on it.
    pub channel: u16,
}

/// Neighbouring messages of a batch that go the same way.
#[derive(Clone, Debug)]
pub struct RoutedRun {
    /// Where they go.
    pub route: Arc<Route>,
    /// The first message of the run.
    pub from: u16,
    /// The one behind the last.
    pub to: u16,
}

/// See [`Request::Publish`].
#[derive(Clone, Debug)]
pub struct Publish {
    /// The messages.
    pub messages: Messages,
    /// Where they go; targets of other partitions are passed over.
    pub runs: Few<RoutedRun>,
    /// The publisher.
    pub reply: Reply,
    /// The channel's confirm entry that this partition has to complete, if the channel confirms.
    pub confirm: Option<u64>,
    /// Bytes counted against the publisher's window until the partition has accepted them.
    pub bytes: usize,
    /// Those that are followed.
    pub traced: Option<TracedBatch>,
}

/// See [`Request::Settle`].
#[derive(Clone, Copy, Debug)]
pub struct Settle {
    /// Who held the messages.
    pub consumer: ConsumerId,
    /// The first of the consumer's own delivery numbers.
    pub first: u64,
    /// How many deliveries in a row.
    pub count: u32,
    /// What becomes of them.
    pub outcome: SettleOutcome,
}

/// See [`Request::Consume`].
#[derive(Debug)]
pub struct Consume {
    /// The new consumer.
    pub consumer: ConsumerId,
    /// The queue that it reads.
    pub queue: QueueId,
    /// Whether messages are settled by being handed over.
    pub no_ack: bool,
    /// Whether it wants the queue for itself.
    pub exclusive: bool,
    /// Consumers of a higher priority are served first.
    pub priority: i32,
    /// Most unsettled messages of this consumer; 0 is no limit.
    pub prefetch: u16,
    /// How long it may hold a message, in milliseconds.
    pub patience_millis: Option<u64>,
    /// The channel's limit over all its consumers, if it set one (`basic.qos` with `global`).
    pub limit: Option<Arc<SharedLimit>>,
    /// Who is told; deliveries go to the same link.
    pub reply: Reply,
}

/// See [`Request::Transaction`].
#[derive(Debug)]
pub struct TransactionPart {
    /// Where the parts of all partitions meet to become one append.
    pub assembly: Arc<Assembly>,
    /// Messages to enqueue.
    pub publishes: Vec<(Messages, Arc<[RoutedRun]>)>,
    /// Deliveries to settle.
    pub settles: Vec<Settle>,
    /// Messages that are followed, by their place in `publishes`; rising.
    pub traced: Vec<(usize, TracedBatch)>,
    /// Who is told when this part is durable and applied.
    pub reply: Reply,
}

/// See [`Request::List`]; the answer is a [`crate::report::ListedReport`].
#[derive(Debug)]
pub struct List {
    /// Whose messages.
    pub queue: QueueId,
    /// Where in it.
    pub place: Place,
    /// What comes before is passed over.
    pub from: Cursor,
    /// Most runs to tell of at once; a thousand at the most.
    pub most: usize,
    /// Who is told.
    pub inquirer: Arc<dyn Inquirer>,
}

/// See [`Request::Unpark`]; the answer is a [`crate::report::UnparkedReport`], once what has been done is durable.
#[derive(Debug)]
pub struct Unpark {
    /// Whose messages.
    pub queue: QueueId,
    /// From where.
    pub store: Store,
    /// The first number concerned.
    pub first: Seq,
    /// The number behind the last; whatever is not there is passed over.
    pub end: Seq,
    /// What becomes of them.
    pub fate: ParkedFate,
    /// Nothing is done, and the answer is what would be.
    pub preview: bool,
    /// Who is told.
    pub inquirer: Arc<dyn Inquirer>,
}

/// See [`Request::HandOn`]; the answer is a [`crate::report::HandedOnReport`].
#[derive(Debug)]
pub struct HandOn {
    /// Whose message.
    pub queue: QueueId,
    /// Which.
    pub message: Seq,
    /// The delivery that is meant, if that has to be it.
    pub delivery: Option<Cursor>,
    /// Nothing is done, and the answer is who holds it.
    pub preview: bool,
    /// Who is told.
    pub inquirer: Arc<dyn Inquirer>,
}

/// See [`Request::SendOff`]; the answer is a [`crate::report::MovedReport`], once what has been done is durable.
#[derive(Debug)]
pub struct SendOff {
    /// Whose messages.
    pub queue: QueueId,
    /// From one of its stores; else those that are ready.
    pub store: Option<Store>,
    /// First numbers and numbers behind the last, rising; whatever is not there is passed over.
    pub ranges: Vec<(Seq, Seq)>,
    /// Most messages to send; there is a bound on what goes in one step.
    pub most: u64,
    /// Where they go; none if they leave for good.
    pub goal: Option<Goal>,
    /// Nothing is done, and the answer is what would be, but for what finds no room or no way.
    pub preview: bool,
    /// Who is told.
    pub inquirer: Arc<dyn Inquirer>,
}

/// Where messages go that are sent by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To this queue.
    Queue(QueueId),
    /// Once more to where they were published.
    Address,
}

/// Somebody who has ordered that messages move, and is told when they have.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who.
    pub inquirer: Arc<dyn Inquirer>,
    /// What has been done then.
    pub report: MovedReport,
}

/// See [`Request::ListScheduled`]; the answer is a [`crate::report::ScheduledReport`].
#[derive(Debug)]
pub struct ListScheduled {
    /// Whose messages.
    pub queue: QueueId,
    /// Messages that are due before this, or then with a lower number, are passed over.
    pub from: (Millis, Seq),
    /// About how many runs to tell of at once; a thousand at the most.
    pub most: usize,
    /// Who is told.
    pub inquirer: Arc<dyn Inquirer>,
}

/// See [`Request::Unschedule`]; the answer is a [`crate::report::UnscheduledReport`].
#[derive(Debug)]
pub struct Unschedule {
    /// Whose messages.
    pub queue: QueueId,
    /// The first number concerned.
    pub first: Seq,
    /// The number behind the last; whatever does not wait is passed over.
    pub end: Seq,
    /// Who is told.
    pub inquirer: Arc<dyn Inquirer>,
}

/// See [`Request::Move`].
#[derive(Debug)]
pub struct MovePart {
    /// Where the parts of all partitions meet to become one append.
    pub assembly: Arc<Assembly>,
    /// The messages as they are from now on.
    pub messages: Messages,
    /// Where they go; targets of other partitions are passed over.
    pub runs: Arc<[RoutedRun]>,
    /// What they were in the queue that they leave; only the partition that holds it is told.
    pub source: Vec<Range>,
    /// What their publisher is charged until they are durable, if no queue had them before.
    pub charge: Option<Arc<Charge>>,
    /// Who has ordered it, if somebody has.
    pub order: Option<Order>,
    /// Those that are followed.
    pub traced: Option<TracedBatch>,
}

/// See [`Request::Rescue`].
#[derive(Debug)]
pub struct Rescue {
    /// Where the record lies now.
    pub location: Position,
    /// The messages in it.
    pub messages: Messages,
    /// Which queues hold which of them, as the record says.
    pub targets: Vec<RescueTarget>,
    /// Called once the survivors (if any) are durable at their new place.
    pub done: Arc<dyn RescueDone>,
}

/// One queue's slice of a record.
#[derive(Clone, Copy, Debug)]
pub struct RescueTarget {
    /// The queue.
    pub queue: QueueId,
    /// The number of its first message in the slice.
    pub first: Seq,
    /// The slice within the record.
    pub from: u16,
    /// Its end.
    pub to: u16,
}

/// Learns that a record has been dealt with.
pub trait RescueDone: Send + Sync + std::fmt::Debug {
    /// The record's survivors are durable elsewhere, or it had none.
    fn rescued(&self);
}
