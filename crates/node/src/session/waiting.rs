//! What a connection waits for.
//!
//! Answers of the catalog come in the order of the commands; of a partition, one at a time is awaited. So one queue of expectations is
//! enough for the whole connection. While it is not empty, only further commands for the catalog are taken from the client.

use std::sync::Arc;

use everack_amqp::error::Error;
use everack_amqp::wire::method::{Method, basic, queue, tx};
use everack_amqp::wire::primitive::ShortString;
use everack_broker::catalog::Queue;
use everack_broker::ids::ConsumerId;

use super::replies::means_replies;

/// Class and method of what was asked. A close names them, and some clients build their messages from that.
pub(super) type Cause = (u16, u16);

/// One expected answer.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A change of the topology that has nothing to tell but `ok`, or not even that.
    Topology { ok: Option<Method>, cause: Cause },
    /// The catalog's answer to `queue.declare`.
    QueueDeclare { nowait: bool },
    /// The counts of a queue that was there already.
    Status { queue: Arc<Queue> },
    /// Whether a queue may be deleted.
    CheckDelete { queue: Arc<Queue>, nowait: bool },
    /// The catalog's answer to `queue.delete`.
    QueueDelete { nowait: bool, messages: u64 },
    /// How much a purge removed.
    Purge { queue: Arc<Queue>, nowait: bool },
    /// Whether a consumer could start.
    Consume {
        queue: Arc<Queue>,
        consumer: ConsumerId,
        tag: ShortString,
        nowait: bool,
    },
    /// That a consumer has stopped.
    Cancel {
        consumer: ConsumerId,
        tag: ShortString,
        nowait: bool,
    },
    /// One message, or none.
    Get { queue: Arc<Queue>, no_ack: bool },
    /// The parts of a transaction that are still to become durable.
    Commit { parts: usize },
    /// Nothing: a method was refused, and its channel closes behind the answers that come before.
    Refused { error: Error },
}

impl Waiting {
    /// The method that gets the blame if the answer is a refusal.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Topology { cause, .. } => *cause,
            Self::QueueDeclare { .. } | Self::Status { .. } => {
                (queue::Declare::CLASS, queue::Declare::METHOD)
            }
            Self::CheckDelete { .. } | Self::QueueDelete { .. } => {
                (queue::Delete::CLASS, queue::Delete::METHOD)
            }
            Self::Purge { .. } => (queue::Purge::CLASS, queue::Purge::METHOD),
            Self::Consume { .. } => (basic::Consume::CLASS, basic::Consume::METHOD),
            Self::Cancel { .. } => (basic::Cancel::CLASS, basic::Cancel::METHOD),
            Self::Get { .. } => (basic::Get::CLASS, basic::Get::METHOD),
            Self::Commit { .. } => (tx::Commit::CLASS, tx::Commit::METHOD),
            Self::Refused { error } => (error.class, error.method),
        }
    }

    /// Whether it is the catalog that has to answer.
    pub(super) fn is_topology(&self) -> bool {
        matches!(
            self,
            Self::Topology { .. } | Self::QueueDeclare { .. } | Self::QueueDelete { .. }
        )
    }
}

/// Whether it is a command for the catalog.
pub(super) fn is_topology(method: &Method) -> bool {
    matches!(
        method,
        Method::ExchangeDeclare(_)
            | Method::ExchangeDelete(_)
            | Method::ExchangeBind(_)
            | Method::ExchangeUnbind(_)
            | Method::QueueDeclare(_)
            | Method::QueueBind(_)
            | Method::QueueUnbind(_)
    )
}

/// Whether a method is about what queues hold, so that it has to find what its client has published before. Durable messages are not in
/// their queue before their sync.
pub(super) fn asks_for_contents(method: &Method) -> bool {
    matches!(
        method,
        Method::BasicGet(_) | Method::QueuePurge(_) | Method::QueueDelete(_)
    )
}

/// Whether a method leaves out the queue's name, and so waits for the declaration that may be right before it; or names one
/// that the catalog does not know, so that its answer would come too early.
pub(super) fn means_the_last_queue(method: &Method) -> bool {
    match method {
        Method::QueueDeclare(declare) => {
            (declare.passive && declare.queue.is_empty()) || means_replies(declare.queue.as_bytes())
        }
        Method::QueueBind(bind) => bind.queue.is_empty(),
        Method::QueueUnbind(unbind) => unbind.queue.is_empty(),
        _ => false,
    }
}
