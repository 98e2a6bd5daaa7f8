//! One entry of the journal: something that a client saw or is about to do, or that was done to the broker.

use crate::Id;
use crate::faults::Fault;
use crate::workload::Kind;

/// Messages of one publisher that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whose.
    pub publisher: u32,
    /// The first of them.
    pub first: u64,
    /// How many, at least one.
    pub count: u32,
}

impl Range {
    /// The one message.
    pub fn one(id: Id) -> Self {
        Self {
            publisher: id.publisher,
            first: id.number,
            count: 1,
        }
    }

    /// The messages.
    pub fn ids(self) -> impl Iterator<Item = Id> {
        let publisher = self.publisher;
        (self.first..self.first + u64::from(self.count)).map(move |number| Id { publisher, number })
    }

    /// Whether this is one of them.
    pub fn contains(self, id: Id) -> bool {
        id.publisher == self.publisher
            && (self.first..self.first + u64::from(self.count)).contains(&id.number)
    }
}

/// How many copies of a message there must be, and in which of its publisher's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One in each queue.
    Every,
    /// One, in the queue that has the message's number modulo the number of queues.
    Turns,
    /// One, which moves from queue to queue.
    Chain,
}

/// An entry. Consumers are numbered over the whole run; each is one connection's lifetime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A queue of the run.
    Queue {
        /// Its number.
        queue: u16,
        /// Whose rules hold for it.
        workload: Kind,
        /// Its name at the broker.
        name: String,
    },
    /// A publisher of the run.
    Publisher {
        /// Its number.
        publisher: u32,
        /// Whose rules hold for it.
        workload: Kind,
        /// Where its messages go.
        route: Route,
        /// The queues.
        queues: Vec<u16>,
    },
    /// A consumer begins to work.
    Opened {
        /// Which one.
        consumer: u32,
        /// On this queue.
        queue: u16,
        /// In this life of the broker, counted from 0.
        life: u32,
        /// It settles in transactions.
        transactional: bool,
    },
    /// A consumer's channel is gone, or is about to be cut.
    Closed {
        /// Which one.
        consumer: u32,
    },
    /// About to be published. On disk before it is.
    Intended(Range),
    /// The broker has confirmed them, singly or by `tx.commit-ok`.
    Confirmed(Range),
    /// The broker has refused them with a nack, or sent them back.
    Refused(Range),
    /// They were intended as one transaction.
    Transaction(Range),
    /// Their transaction is about to be rolled back: nobody may ever see them.
    RolledBack(Range),
    /// A consumer got it.
    Delivered {
        /// Who.
        consumer: u32,
        /// What.
        id: Id,
        /// Flagged as redelivered.
        redelivered: bool,
    },
    /// A consumer got bytes that nobody sent.
    Damaged {
        /// Who.
        consumer: u32,
        /// What, by its properties, if they say.
        id: Option<Id>,
    },
    /// About to be acked: the ack may not arrive, but none is sent without this entry.
    Acked {
        /// By whom.
        consumer: u32,
        /// What.
        id: Id,
    },
    /// About to be given back to the queue.
    Returned {
        /// By whom.
        consumer: u32,
        /// What.
        id: Id,
    },
    /// About to be rejected for good, so that it moves to the next queue of its chain.
    Rejected {
        /// By whom.
        consumer: u32,
        /// What.
        id: Id,
    },
    /// Its ack was rolled back: the consumer holds it again.
    Withdrawn {
        /// By whom.
        consumer: u32,
        /// What.
        id: Id,
    },
    /// A synchronous method is about to be sent, behind all acks so far.
    Asked {
        /// By whom.
        consumer: u32,
    },
    /// The oldest question without an answer got it.
    Answered {
        /// To whom.
        consumer: u32,
    },
    /// A fault is about to be done.
    Fault(Fault),
    /// The signal that ends this life of the broker is about to be sent.
    Ending {
        /// Which life.
        life: u32,
    },
    /// Every process of this life is dead.
    Ended {
        /// Which life.
        life: u32,
    },
    /// The broker answers again, in this life.
    Started {
        /// Which life.
        life: u32,
    },
    /// A durable queue was not there any more after a start.
    QueueGone {
        /// Which one.
        queue: u16,
    },
    /// The load ends here: what follows drains.
    Draining,
    /// Everything was drained; `left` messages are in queues that do not give them out.
    Drained {
        /// How many.
        left: u64,
    },
    /// Messages confirmed and not acked, at this moment.
    Backlog {
        /// How many.
        messages: u64,
    },
    /// From an entry to its being on disk took the longest so far: what waited for a sync under way, its own, and a processor.
    Durable {
        /// How long it took, in microseconds.
        micros: u64,
    },
    /// An fdatasync of this journal was the longest so far.
    Synced {
        /// How long it took, in microseconds.
        micros: u64,
    },
}

impl Entry {
    /// Whether it tells something of this message.
    pub fn concerns(&self, wanted: Id) -> bool {
        match self {
            Self::Intended(range)
            | Self::Confirmed(range)
            | Self::Refused(range)
            | Self::Transaction(range)
            | Self::RolledBack(range) => range.contains(wanted),
            Self::Delivered { id, .. }
            | Self::Acked { id, .. }
            | Self::Returned { id, .. }
            | Self::Rejected { id, .. }
            | Self::Withdrawn { id, .. } => *id == wanted,
            Self::Damaged { id, .. } => *id == Some(wanted),
            _ => false,
        }
    }
}
