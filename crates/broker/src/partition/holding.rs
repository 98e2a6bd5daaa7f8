//! Who holds what, and since when; and how a delivery is taken away from its consumer so that another one gets it.
//!
//! ```text
//! held by A ──HandOn──> back in its place, as if requeued ──> handed to another consumer that can take it now
//!                                                        └──> else ready: to whoever can take it first, A too
//! ```
//!
//! The client of A does not know. Until it settles the delivery, or is gone, the delivery goes on to count against the prefetch that it
//! asked for, so that it never has more in its hands than it wanted; and what it says then of the delivery does nothing else.

use crate::ids::{ConsumerId, Millis, QueueId, Seq};

use super::Partition;
use super::consumer::{Consumer, Kind, Standing};
use super::run::Content;
use super::slots::Slot;

/// A consumer, or whoever else holds messages of a queue, and how it gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub consumer: ConsumerId,
    /// What it is to the queue.
    pub kind: HolderKind,
    /// It is the one that is delivered to, if that can only be one at a time.
    pub single_active: bool,
    /// Messages are settled by being delivered.
    pub no_ack: bool,
    /// Deliveries to it.
    pub delivered: u64,
    /// Of these, the ones that it has acknowledged; none, if it does not have to.
    pub acknowledged: u64,
    /// Messages that it holds.
    pub unsettled: u64,
    /// Messages that were taken away from it, and that its client has not settled.
    pub released: u64,
    /// When the oldest that it holds was delivered; up to a second earlier, or a 32nd of the time, if much was delivered.
    pub oldest: Option<Millis>,
}

/// What somebody who holds messages is to their queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    /// A consumer.
    Consumer,
    /// One that was cancelled.
    Cancelled,
    /// A channel that gets messages one by one.
    Getter,
}

/// A delivery that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who holds it.
    pub consumer: ConsumerId,
    /// The consumer's own number of it.
    pub delivery: u64,
    /// When it was made; up to a second earlier, or a 32nd of the time, if much was delivered.
    pub at: Option<Millis>,
    /// A transaction on its way to the log settles it.
    pub committing: bool,
}

impl<C: Content> Partition<C> {
    /// Who consumes from a queue, or holds messages of it; in no particular but a repeatable order.
    pub fn holders(&self, queue: QueueId) -> impl Iterator<Item = Holder> {
        let slot = self.queue_slots.get(&queue);
        let members = slot.into_iter().flat_map(|&slot| &self.queues[slot].members);
        members.map(|&member| {
            let consumer = &self.consumers[member];
            let single = self.queues[consumer.queue].single.as_ref();
            Holder {
                single_active: single.is_some_and(|single| single.active == Some(member)),
                ..Holder::of(consumer)
            }
        })
    }

    /// Who holds a message; none if nobody does.
    pub fn holding(&self, queue: QueueId, message: Seq) -> Option<Holding> {
        let &slot = self.queue_slots.get(&queue)?;
        let &(holder, delivery, _) = self.held(slot, message, message.plus(1)).first()?;
        let consumer = &self.consumers[holder];
        let apart = consumer.apart.as_ref();
        Some(Holding {
            consumer: consumer.id,
            delivery,
            at: consumer.times.at(delivery),
            committing: apart.is_some_and(|apart| apart.is_committing(delivery)),
        })
    }

    /// A delivery is taken from its consumer and handed on. What a transaction on its way settles stays.
    pub(super) fn hand_on(&mut self, consumer: ConsumerId, delivery: u64) {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return;
        };
        let apart = self.consumers[slot].apart.as_ref();
        if apart.is_some_and(|apart| apart.is_committing(delivery)) {
            return;
        }
        let count = self.return_range(slot, delivery, delivery.saturating_add(1), false);
        if count == 0 {
            return;
        }
        let consumer = &mut self.consumers[slot];
        consumer.otherwise += count;
        consumer.apart.get_or_insert_default().take_away(delivery);
        self.serve_others(slot);
        // A single active consumer that was to make room when it holds nothing does so now.
        self.release(slot, 0);
    }

    /// Delivers what is ready in a consumer's queue to others, as far as they can take it now.
    fn serve_others(&mut self, slot: Slot) {
        let consumer = &self.consumers[slot];
        let (queue, in_line) = (consumer.queue, consumer.standing == Standing::InLine);
        if in_line {
            self.stand(slot, Standing::Aside);
        }
        self.serve(queue);
        if in_line {
            self.line_up(slot);
        }
    }
}

impl Holder {
    fn of<C: Content>(consumer: &Consumer<C>) -> Self {
        Self {
            consumer: consumer.id,
            kind: match consumer.kind {
                Kind::Active => HolderKind::Consumer,
                Kind::Cancelled => HolderKind::Cancelled,
                Kind::Getter => HolderKind::Getter,
            },
            single_active: false,
            no_ack: consumer.no_ack,
            delivered: consumer.next_delivery,
            acknowledged: if consumer.no_ack {
                0
            } else {
                consumer.acknowledged()
            },
            unsettled: consumer.held(),
            released: consumer.taken(),
            oldest: consumer.oldest_at(),
        }
    }
}
