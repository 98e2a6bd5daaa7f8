//! What the machines of a node say of themselves when somebody looks: plain data and closed enums, so that a partition that is
//! led by another node can be asked as well.
//!
//! Whoever wants to know is an [`Inquirer`]. It puts itself into [`crate::request::Request::Report`] or
//! [`crate::notice::Notice::Report`] and is told by each machine at the end of that machine's round. Nothing is counted for
//! it on the way of a message but plain numbers in the machine that owns the message anyway.
//!
//! Not here: what a socket knows (addresses, bytes), what the process knows (memory, disk), and topology, which is read from
//! the catalog's snapshot.

use std::fmt;

use everack_amqp::connection::{ChannelMode, Status};
use everack_broker::arguments::Arguments;
use everack_broker::ids::{ConnectionId, ConsumerId, Millis, PartitionId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::{Counters, Cursor, Depth, Holder, Holding, Looked, Run, Weighed};

use crate::messages::Messages;
use crate::space::Pin;

/// Somebody who has asked. Each machine that is asked holds it until it has told, so the question is over when nobody
/// holds it any more: a connection that ends in between leaves no gap to wait for.
pub trait Inquirer: Send + Sync + fmt::Debug {
    /// One machine's report.
    fn told(&self, report: Report);
}

/// What a machine has to say.
#[derive(Debug)]
pub enum Report {
    /// A partition's.
    Partition(PartitionReport),
    /// A connection's.
    Session(Box<SessionReport>),
    /// Messages of a queue.
    Listed(ListedReport),
    /// What became of messages that were set aside.
    Unparked(UnparkedReport),
    /// What has gone elsewhere.
    Moved(MovedReport),
    /// What waits for its time.
    Scheduled(ScheduledReport),
    /// What will not come.
    Unscheduled(UnscheduledReport),
    /// Who holds messages.
    Holders(HoldersReport),
    /// What became of a delivery.
    HandedOn(HandedOnReport),
}

/// Queues of one partition.
#[derive(Debug)]
pub struct PartitionReport {
    /// Which partition.
    pub partition: PartitionId,
    /// The queues that were asked for, as far as they are there.
    pub queues: Vec<(QueueId, Depth)>,
    /// What became of the messages of queues that are gone, since the start.
    pub deleted: Counters,
}

/// Messages of a queue, by their numbers; none of them is touched by being listed.
#[derive(Debug)]
pub struct ListedReport {
    /// The queue.
    pub queue: QueueId,
    /// The messages.
    pub runs: Vec<ListedMessages>,
    /// Where to go on, if there are more.
    pub next: Option<Cursor>,
}

/// Messages in a row.
#[derive(Debug)]
pub struct ListedMessages {
    /// The messages, and what is known of them; without content if they have to be read from the log ([`crate::recall::Recall`]).
    pub looked: Looked<Messages>,
    /// Until when they are retained, or when they expire: first number, number behind the last, when.
    pub deadlines: Vec<(Seq, Seq, Millis)>,
    /// Keeps the segment that holds the bytes from being deleted while somebody looks.
    pub pin: Option<Pin>,
}

/// What became of messages that were set aside; or would, if that was asked. A bounded number is looked at in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnparkedReport {
    /// The queue.
    pub queue: QueueId,
    /// How many, and where to go on.
    pub weighed: Weighed,
}

/// Messages that were sent elsewhere, all of them in one durable step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedReport {
    /// The queue that they leave.
    pub queue: QueueId,
    /// How many have left.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where to go on, if there are more.
    pub next: Option<Seq>,
    /// How many of those that were looked at stay where they are.
    pub stayed: u64,
    /// Why, if there were any.
    pub refused: Option<Unmoved>,
}

/// Why messages stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmoved {
    /// A target has no room.
    NoRoom,
    /// There is no target (any more).
    NoWay,
    /// They were taken away in between.
    Gone,
    /// They cannot be read back.
    Unreadable,
    /// They are too large to be written for that many partitions.
    TooLarge,
}

/// Messages that wait for their time in a queue, those that are due first in front.
#[derive(Debug)]
pub struct ScheduledReport {
    /// The queue.
    pub queue: QueueId,
    /// The messages.
    pub runs: Vec<ScheduledMessages>,
    /// Where to go on, if there are more.
    pub next: Option<(Millis, Seq)>,
}

/// Messages in a row that are due at the same time.
#[derive(Debug)]
pub struct ScheduledMessages {
    /// When.
    pub at: Millis,
    /// The messages, which have to be read from the log ([`crate::recall::Recall`]).
    pub run: Run<Messages>,
    /// Keeps the segment that holds the bytes from being deleted while somebody looks.
    pub pin: Pin,
}

/// Messages that waited have durably left their queue, and will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnscheduledReport {
    /// The queue.
    pub queue: QueueId,
    /// How many.
    pub messages: u64,
}

/// Who consumes from queues, or holds messages of them.
#[derive(Debug)]
pub struct HoldersReport {
    /// With the queue.
    pub holders: Vec<(QueueId, Holder)>,
}

/// A delivery that was to go on to another consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOnReport {
    /// The queue.
    pub queue: QueueId,
    /// The message.
    pub message: Seq,
    /// What became of it.
    pub fate: HandedOn,
}

/// See [`HandedOnReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOn {
    /// Nobody holds it.
    NotHeld,
    /// This one holds it, and another delivery was meant.
    Elsewhere(Holding),
    /// It stays with this one: a transaction on its way to the log settles it.
    Committing(Holding),
    /// It would be taken from this one.
    Preview(Holding),
    /// It is in its place again, or waits to be delivered again, or another consumer has it already.
    Taken {
        /// From whom.
        from: Holding,
        /// Who has it.
        to: Option<Holding>,
    },
}

/// One connection.
#[derive(Debug)]
pub struct SessionReport {
    /// Which.
    pub connection: ConnectionId,
    /// Who has logged in, or tries to.
    pub user: Name,
    /// The virtual host; empty before it is open.
    pub vhost: Name,
    /// The protocol's side.
    pub status: Status,
    /// It publishes, and is not read because of an alarm.
    pub blocked: bool,
    /// It is not read for a moment: what it has published is not accepted yet, or it is ahead of the consumers.
    pub held_back: bool,
    /// What the client says of itself.
    pub client_properties: Arguments,
    /// Publishes confirmed on all its channels, closed ones included.
    pub confirmed: u64,
    /// Its open channels, by number.
    pub channels: Vec<ChannelReport>,
}

/// One channel.
#[derive(Debug)]
pub struct ChannelReport {
    /// Its number.
    pub number: u16,
    /// How its publishes are answered.
    pub mode: ChannelMode,
    /// Most unsettled messages of each consumer to come; 0 is no limit.
    pub prefetch: u16,
    /// Most unsettled messages over all consumers; 0 is no limit.
    pub prefetch_global: u64,
    /// Deliveries that the client has not settled.
    pub unsettled: u64,
    /// Publishes that wait for their confirm.
    pub unconfirmed: u64,
    /// Publishes that have been confirmed.
    pub confirmed: u64,
    /// Messages published in a transaction that is not committed yet.
    pub uncommitted: u64,
    /// Settlements in a transaction that is not committed yet.
    pub settlements_uncommitted: u64,
    /// What it has received.
    pub received: Received,
    /// What it has published.
    pub published: Published,
    /// The same by exchange, for the exchanges that it has published to most lately.
    pub exchanges: Vec<(Name, Published)>,
    /// Its consumers, by tag.
    pub consumers: Vec<ConsumerReport>,
    /// All that may hold deliveries of it: consumers, cancelled ones, and those that stand for `basic.get`.
    pub holders: Vec<ConsumerId>,
}

/// One consumer.
#[derive(Debug)]
pub struct ConsumerReport {
    /// Its id, as [`Holder::consumer`] names it.
    pub id: ConsumerId,
    /// Its tag.
    pub tag: Name,
    /// The queue that it reads.
    pub queue: Name,
    /// Messages are settled by being delivered.
    pub no_ack: bool,
    /// Only one of the queue's consumers is delivered to at a time.
    pub single_active: bool,
    /// It has the queue for itself.
    pub exclusive: bool,
    /// Most unsettled messages; 0 is no limit.
    pub prefetch: u16,
    /// As given.
    pub arguments: Arguments,
}

/// Messages that went to a channel, each delivery counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// To consumers that acknowledge.
    pub delivered: u64,
    /// To consumers that do not.
    pub delivered_no_ack: u64,
    /// With `basic.get`, to be acknowledged.
    pub gotten: u64,
    /// With `basic.get`, without.
    pub gotten_no_ack: u64,
    /// `basic.get` that found nothing.
    pub gotten_nothing: u64,
    /// Of all these, those that may have been delivered before.
    pub redelivered: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
}

/// Messages that came from a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// All.
    pub messages: u64,
    /// Of those, the ones that were not published as mandatory: if no queue wants them, nobody is told.
    pub not_mandatory: u64,
    /// How often they went to a queue; a message that goes to three counts three times.
    pub routed: u64,
    /// Those that no queue wanted and that went back to their publisher.
    pub returned: u64,
    /// Those that no queue wanted and that are gone.
    pub dropped: u64,
    /// Those that no queue wanted and that their virtual host keeps.
    pub kept: u64,
    /// Those that no queue wanted and that were refused.
    pub refused: u64,
}

impl Published {
    /// Adds what another one counted.
    pub fn add(&mut self, other: Published) {
        self.messages += other.messages;
        self.not_mandatory += other.not_mandatory;
        self.routed += other.routed;
        self.returned += other.returned;
        self.dropped += other.dropped;
        self.kept += other.kept;
        self.refused += other.refused;
    }
}
