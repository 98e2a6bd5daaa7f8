//! All that clients do and see, and what they are told of the machine below: the only input of the [`Book`](super::Book).

use std::rc::Rc;

/// A queue's name.
pub type Name = Rc<str>;
/// A message's number: never used twice in a history, and carried by the message itself.
pub type Number = u64;

/// A channel, told from all others of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// A transaction, told from all others of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionId(pub u64);

/// What a queue promises to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Durable; everything confirmed stays until it is settled.
    Durable,
    /// Durable, but consumers without acknowledgements take from it, so what is missing may have been theirs.
    Drained,
    /// Not durable: empty and gone after a restart.
    Transient,
    /// Exclusive or auto-delete: it may go at any time.
    Fleeting,
}

/// An edge from an exchange to a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The exchange.
    pub exchange: &'static str,
    /// The key, or `#` where the exchange looks at none.
    pub key: &'static str,
    /// The queue.
    pub queue: Name,
}

/// Where a message was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// To a queue, by the default exchange.
    Queue(Name),
    /// To an exchange with a key.
    Exchange(&'static str, &'static str),
}

/// A publish.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number.
    pub number: Number,
    /// The channel that sent it.
    pub publisher: ChannelId,
    /// Bytes of its body.
    pub bytes: usize,
    /// Whether it comes back if nobody wants it.
    pub mandatory: bool,
    /// Where to.
    pub address: Address,
    /// The transaction that it is part of.
    pub transaction: Option<TransactionId>,
    /// `expiration`, in milliseconds.
    pub expiration_ms: Option<u64>,
    /// `priority`.
    pub priority: Option<u8>,
}

/// One delivery or the answer of a get.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The queue, or the family that it is of.
    pub queue: Name,
    /// The queue itself.
    pub place: Name,
    /// The message's number; none if it carries none.
    pub number: Option<Number>,
    /// Whether its bytes are those that were sent.
    pub intact: bool,
    /// What the broker says of earlier deliveries.
    pub redelivered: bool,
    /// On which channel.
    pub channel: ChannelId,
    /// Under which tag.
    pub tag: u64,
    /// The consumer; none for a get.
    pub consumer: Option<u64>,
    /// Whether it is settled by being delivered.
    pub no_ack: bool,
    /// Whether it has gone back already: it was on its way when the client asked for everything to go back.
    pub void: bool,
    /// When it was asked for with `basic.get`.
    pub asked_us: Option<u64>,
    /// How many deliveries of it have failed, if the broker says so.
    pub failures: Option<u64>,
}

/// What is said of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done with: acknowledged.
    Done,
    /// Rejected: done with, or dead.
    Rejected,
    /// Back to the queue.
    Back,
    /// Back to the queue, and that counts as a failure where failures count.
    Failed,
}

/// One message that was found when a whole queue was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number; none if it carries none.
    pub number: Option<Number>,
    /// Whether its bytes are those that were sent.
    pub intact: bool,
    /// What the broker says of earlier deliveries.
    pub redelivered: bool,
    /// The queue that it was found in.
    pub place: Name,
    /// It came when the queue had been read once.
    pub late: bool,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub enum Event {
    /// `queue.declare` has been sent.
    DeclareSent(Name, Class),
    /// ... and answered.
    Declared(Name),
    /// `queue.delete` has been sent.
    DeleteSent(Name),
    /// ... and answered.
    Deleted(Name),
    /// `queue.bind` has been sent.
    BindSent(Binding),
    /// ... and answered.
    Bound(Binding),
    /// `queue.unbind` has been sent.
    UnbindSent(Binding),
    /// ... and answered.
    Unbound(Binding),
    /// An heir has been declared, and that was answered.
    HeirDeclared(Name),
    /// `queue.delete` has been sent for an heir.
    HeirDeleteSent(Name),
    /// ... and answered. If it never is, the next answer to a declaration of it comes behind it.
    HeirDeleted(Name),
    /// `queue.purge` has been sent.
    PurgeSent(Name),
    /// ... and answered, with the number of messages removed.
    Purged(Name, u64),
    /// ... or its connection is gone, for the broker too, and it will not happen any more.
    PurgeOver(Name),
    /// `basic.publish` has been sent.
    Sent(Message),
    /// `basic.ack` has been seen for these of a channel's publishes.
    Confirmed(ChannelId, Vec<Number>),
    /// `basic.nack` has been seen for these of a channel's publishes.
    Refused(ChannelId, Vec<Number>),
    /// A confirm has been seen for a number that was not outstanding.
    ConfirmedNothing(ChannelId, u64),
    /// `basic.return` has been seen.
    Returned(ChannelId, Number),
    /// `tx.commit` has been sent.
    CommitSent(TransactionId),
    /// ... and answered.
    Committed(TransactionId),
    /// `tx.rollback` has been answered.
    RolledBack(TransactionId),
    /// A consumer has been asked for: its number, its channel, its queue, its prefetch (0: none).
    Consuming(u64, ChannelId, Name, u64),
    /// Its end has been asked for.
    Cancelling(u64),
    /// The channel has a limit over all its consumers from now on.
    Limited(ChannelId, u64),
    /// A message of a queue has been asked for.
    Getting(ChannelId, Name),
    /// A message came.
    Delivered(Delivered),
    /// Deliveries of a channel have been settled; within a transaction if there is one.
    SettleSent(ChannelId, Vec<u64>, Verdict, Option<TransactionId>),
    /// The broker has taken in what was sent for these deliveries.
    SettleReceived(ChannelId, Vec<u64>),
    /// So many questions of the channel wait for an answer; each may turn out to be the channel's end.
    Asking(ChannelId, usize),
    /// Everything that the channel holds has been sent back (`basic.recover`), and that is answered or not.
    Recovering(ChannelId, bool),
    /// The channel is gone, for the client: closed, failed or its connection has died.
    ChannelLost(ChannelId),
    /// The channel is gone, for the broker.
    ChannelEnded(ChannelId),
    /// An operator has ordered messages of a family from its head to an heir.
    Ordered(Name),
    /// Something was answered although the broker's disk had failed before.
    AnsweredLate(&'static str),
    /// The disk has gone bad in a place that holds these messages.
    Rotted(Vec<Number>),
    /// A read has failed, so the broker may have ended connections by itself.
    ReadFailed,
    /// The process has ended.
    Crashed(Crash),
    /// A whole queue has been read, before anybody else could touch it; none if it is not there. With the count that its declaration told.
    Audited(Name, Option<Vec<Found>>, u64),
    /// All queues have been read.
    AuditEnded,
    /// The node died before all queues were read. Who read may have sent back what was parked, and its failures are forgotten then.
    AuditBroken,
}

/// How a process ended, as far as it matters for what may be lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crash {
    /// A settlement that was received longer before than this is durable, in microseconds.
    pub settled_within_us: u64,
    /// Jobs wait for room on the disk, and settlements that were taken in since this moment may be among them.
    pub waits_from_us: Option<u64>,
    /// Until this moment jobs waited for room.
    pub full_until_us: Option<u64>,
    /// The log was closed in order: every settlement is durable.
    pub orderly: bool,
}
