//! What the terms of a queue mean to a message before it enters: when it expires, and whether there is room for it.
//!
//! Both are decided when the message gets its number. What is on its way to the log takes up room as what is ready does.

use everack_amqp::content::{Batch, flags};
use everack_amqp::wire::properties::expiration_ms;
use everack_amqp::wire::table::Table;
use everack_broker::ids::{Millis, QueueId, Seq};
use everack_broker::partition::Partition as Machine;
use everack_broker::routing::Headers as _;
use everack_broker::terms::{Overflow, Terms};

use crate::messages::Messages;
use crate::translate::from_amqp;

/// What a queue asks of messages before they enter. Plain queues have none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    pub(super) terms: Terms,
    /// Messages that have a number and are not in the queue yet, and the bytes of their bodies.
    pub(super) on_the_way: Taken,
}

/// Messages, and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// Messages `first..first + count` of `queue` expire at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The queue.
    pub queue: QueueId,
    /// The first message.
    pub first: Seq,
    /// How many.
    pub count: u32,
    /// When.
    pub at: Millis,
}

/// What is on its way to a queue that counts what is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    pub(super) queue: QueueId,
    pub(super) taken: Taken,
}

impl Admission {
    pub(super) fn of(terms: Terms) -> Option<Box<Self>> {
        let asks = terms.message_ttl_millis.is_some() || terms.refuses() || terms.scheduled;
        asks.then(|| {
            Box::new(Self {
                terms,
                on_the_way: Taken::default(),
            })
        })
    }

    /// Whether refused messages go through the dead-letter exchange.
    pub(super) fn dead_letters_refused(&self) -> bool {
        self.terms.overflow == Overflow::RejectPublishDlx && self.terms.dead_letters
    }

    /// How much room is left in a queue that holds `ready`.
    fn room(&self, ready: Taken) -> Taken {
        let left = |max: Option<u64>, taken: u64| max.map_or(u64::MAX, |max| max.saturating_sub(taken));
        Taken {
            messages: left(self.terms.messages_max, ready.messages + self.on_the_way.messages),
            bytes: left(self.terms.bytes_max, ready.bytes + self.on_the_way.bytes),
        }
    }

    /// Whether a queue that holds `ready` has room for all of it.
    pub(super) fn has_room_for(&self, wanted: Taken, ready: Taken) -> bool {
        let room = self.room(ready);
        wanted.messages <= room.messages && wanted.bytes <= room.bytes
    }

    /// Which of the messages `from..to` find room in a queue that holds `ready`, in rising order.
    pub(super) fn admitted(&self, batch: &Batch, from: u16, to: u16, ready: Taken) -> Vec<(u16, u16)> {
        let mut room = self.room(ready);
        let mut spans: Vec<(u16, u16)> = Vec::new();
        for index in from..to {
            let bytes = u64::from(batch.entries[usize::from(index)].body_len);
            if room.messages == 0 || bytes > room.bytes {
                continue;
            }
            room.messages -= 1;
            if room.bytes < u64::MAX {
                room.bytes -= bytes;
            }
            match spans.last_mut() {
                Some(last) if last.1 == index => last.1 = index + 1,
                _ => spans.push((index, index + 1)),
            }
        }
        spans
    }
}

impl Taken {
    /// What is ready in a queue.
    pub(super) fn ready(machine: &Machine<Messages>, queue: QueueId) -> Self {
        let (messages, bytes) = machine.taken(queue);
        Self { messages, bytes }
    }

    pub(super) fn of(batch: &Batch, from: u16, to: u16) -> Self {
        let entries = &batch.entries[usize::from(from)..usize::from(to)];
        Self {
            messages: u64::from(to - from),
            bytes: entries.iter().map(|entry| u64::from(entry.body_len)).sum(),
        }
    }

    pub(super) fn add(&mut self, other: Taken) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    pub(super) fn subtract(&mut self, other: Taken) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// Whether any message of a batch has an expiration of its own. The messages of a group carry the same flags.
pub(super) fn expires(batch: &Batch) -> bool {
    let mut groups = batch.groups.iter();
    groups.any(|group| batch.flags(usize::from(group.from)) & flags::HAS_EXPIRATION != 0)
}

/// When the messages `from..to`, numbered from `first` on, expire on these terms, or are due if they wait for that.
#[inline(never)]
pub(super) fn deadlines(
    batch: &Batch,
    span: (u16, u16),
    numbered: (QueueId, Seq),
    terms: Option<&Terms>,
    now: Millis,
    deadlines: &mut Vec<Deadline>,
) {
    match terms {
        Some(terms) if terms.scheduled => due(batch, span, numbered, now, deadlines),
        terms => {
            let ttl = terms.and_then(|terms| terms.message_ttl_millis);
            expiry(batch, span, numbered, ttl, now, deadlines);
        }
    }
}

/// The times that messages ask for which an exchange holds back.
fn due(
    batch: &Batch,
    (from, to): (u16, u16),
    (queue, first): (QueueId, Seq),
    now: Millis,
    deadlines: &mut Vec<Deadline>,
) {
    for index in from..to {
        let headers = batch.view(usize::from(index)).headers;
        let headers = headers.and_then(|bytes| Table::decode(bytes).ok());
        let delay = headers.and_then(|headers| from_amqp::arguments(&headers).delay_millis());
        let at = now.plus(delay.unwrap_or_default());
        push(deadlines, queue, first.plus(u64::from(index - from)), at);
    }
}

/// When messages expire: the smaller of the queue's and their own time to live counts.
fn expiry(
    batch: &Batch,
    (from, to): (u16, u16),
    (queue, first): (QueueId, Seq),
    queue_ttl_millis: Option<u64>,
    now: Millis,
    deadlines: &mut Vec<Deadline>,
) {
    for index in from..to {
        let expiration = (batch.flags(usize::from(index)) & flags::HAS_EXPIRATION != 0)
            .then(|| batch.view(usize::from(index)).expiration)
            .flatten();
        let own = expiration.and_then(|text| expiration_ms(text).ok());
        let Some(ttl) = own.into_iter().chain(queue_ttl_millis).min() else {
            continue;
        };
        push(
            deadlines,
            queue,
            first.plus(u64::from(index - from)),
            now.plus(ttl),
        );
    }
}

fn push(deadlines: &mut Vec<Deadline>, queue: QueueId, seq: Seq, at: Millis) {
    match deadlines.last_mut() {
        Some(last)
            if last.queue == queue && last.at == at && last.first.plus(u64::from(last.count)) == seq =>
        {
            last.count += 1;
        }
        _ => deadlines.push(Deadline {
            queue,
            first: seq,
            count: 1,
            at,
        }),
    }
}
