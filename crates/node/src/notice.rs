//! What partitions and the catalog tell a connection.

use std::sync::Arc;

use everack_broker::ids::ConsumerId;
use everack_broker::partition::Delivery;

use crate::catalog_service::CatalogAnswer;
use crate::messages::Messages;
use crate::replies::Reply;
use crate::report::Inquirer;
use crate::space::Pin;

/// One notice to a connection.
#[derive(Debug)]
pub enum Notice {
    /// Messages for one of its consumers.
    Deliver(Delivered),
    /// All that one publish asked of one partition is done: the channel's confirm entry counts one part down.
    Confirm {
        /// The publishing channel.
        channel: u16,
        /// Its confirm entry.
        confirm: u64,
    },
    /// As `Confirm`, but a queue had no room for some of the messages.
    Refused {
        /// The publishing channel.
        channel: u16,
        /// Its confirm entry.
        confirm: u64,
        /// Spans of the batch, in no order and perhaps more than once.
        refused: Box<[(u16, u16)]>,
    },
    /// The answer of a partition to a request of this channel.
    Answer {
        /// The channel that asked.
        channel: u16,
        /// The answer.
        answer: Answer,
    },
    /// The answer of the catalog to a request of this channel.
    Catalog {
        /// The channel that asked.
        channel: u16,
        /// The answer.
        answer: CatalogAnswer,
    },
    /// A channel's shared prefetch limit has room again, which consumers in other partitions wait for.
    LimitFreed {
        /// A consumer of that channel.
        consumer: ConsumerId,
    },
    /// A consumer's queue is gone: consumer cancel notify.
    ConsumerGone {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// A consumer has held a message for too long: it is gone, and what it held is with its queue again.
    ConsumerTimedOut {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Messages that answer a request of one of its channels, past all queues.
    Reply(Reply),
    /// An operator closes this connection.
    Close {
        /// Why, for the client.
        reason: String,
    },
    /// How does this connection stand?
    Report {
        /// Who is told.
        inquirer: Arc<dyn Inquirer>,
    },
}

/// A delivery on its way to a connection.
#[derive(Debug)]
pub struct Delivered {
    /// The messages, for whom, and under which of the consumer's own numbers; without content if they have to be read from
    /// the log first.
    pub delivery: Delivery<Messages>,
    /// Keeps the segment that holds the bytes from being deleted while this delivery waits to be sent.
    pub pin: Option<Pin>,
}

/// Answers of a partition.
#[derive(Debug)]
pub enum Answer {
    /// The consumer is there; its deliveries follow.
    ConsumeOk,
    /// Another consumer has the queue for itself, or it cannot be had exclusively.
    ConsumeRefused,
    /// The queue is not there any more.
    QueueMissing,
    /// The consumer has stopped; nothing more will be delivered to it.
    Cancelled {
        /// Whether it still holds unsettled messages.
        holds: bool,
    },
    /// One message, and how many are ready behind it.
    Got {
        /// The message.
        delivery: Box<Delivered>,
        /// Ready messages left.
        remaining: u64,
    },
    /// Nothing to get.
    GotEmpty,
    /// How many ready messages and consumers a queue has.
    Counts {
        /// Ready messages.
        messages: u64,
        /// Consumers.
        consumers: u64,
    },
    /// The queue may be deleted; it holds this many ready messages.
    DeleteAllowed {
        /// Ready messages.
        messages: u64,
    },
    /// The queue has consumers.
    InUse,
    /// The queue has ready messages.
    NotEmpty,
    /// So many messages were removed.
    Purged {
        /// Ready messages removed.
        messages: u64,
    },
    /// This partition's part of the transaction is durable and applied.
    Committed,
}
