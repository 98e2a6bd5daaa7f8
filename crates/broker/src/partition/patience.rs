//! How long a consumer may hold a message without settling it: whoever takes longer is cancelled, and what it holds returns.
//!
//! Deliveries are noted in groups: what was handed over within a 64th of the patience is due together, when the last of it may
//! be. So a message is never given up on too early, at most a 64th too late, and no consumer has more than some seventy groups.

use std::collections::VecDeque;

use crate::ids::Millis;

use super::Partition;
use super::consumer::{Consumer, Kind};
use super::effect::Effect;
use super::run::Content;
use super::slots::Slot;

/// Of a consumer whose patience has an end.
#[derive(Debug)]
pub(super) struct Patience {
    millis: u64,
    /// Groups of deliveries, by the number of the first.
    groups: VecDeque<Group>,
    /// When it is to be looked at, as the partition's timers know it.
    pub(super) timer: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first: u64,
    /// Deliveries until then are part of it.
    until: Millis,
    due: Millis,
}

impl Patience {
    pub(super) fn new(millis: u64) -> Self {
        Self {
            millis,
            groups: VecDeque::new(),
            timer: None,
        }
    }

    /// A delivery was made.
    pub(super) fn note(&mut self, delivery: u64, now: Millis) {
        if self.groups.back().is_some_and(|group| now <= group.until) {
            return;
        }
        let until = Millis(now.0.saturating_add(self.millis / 64));
        self.groups.push_back(Group {
            first: delivery,
            until,
            due: Millis(until.0.saturating_add(self.millis)),
        });
    }

    /// When it ends, if `oldest` is the first delivery that is not settled.
    pub(super) fn due(&mut self, oldest: Option<u64>) -> Option<Millis> {
        let Some(oldest) = oldest else {
            self.groups.clear();
            return None;
        };
        while self.groups.get(1).is_some_and(|next| next.first <= oldest) {
            self.groups.pop_front();
        }
        self.groups.front().map(|group| group.due)
    }
}

impl<C: Content> Consumer<C> {
    fn due(&mut self) -> Option<Millis> {
        let oldest = self.window.front().map(|held| held.delivery);
        self.patience.as_mut()?.due(oldest)
    }
}

impl<C: Content> Partition<C> {
    /// A delivery to a consumer whose patience has an end.
    pub(super) fn note_delivery(&mut self, slot: Slot, delivery: u64) {
        let consumer = &mut self.consumers[slot];
        let Some(patience) = &mut consumer.patience else {
            return;
        };
        patience.note(delivery, self.now);
        if patience.timer.is_none() {
            let due = consumer.due();
            self.set_timer(slot, due);
        }
    }

    /// Nobody waits for this consumer any more.
    pub(super) fn forget_timer(&mut self, consumer: &Consumer<C>, slot: Slot) {
        if let Some(at) = consumer.patience.as_ref().and_then(|patience| patience.timer) {
            self.impatient.remove(&(at, slot));
        }
    }

    /// Cancels consumers that have held a message for too long.
    pub(super) fn look_at_consumers(&mut self) {
        while let Some(&(at, slot)) = self.impatient.first() {
            if at > self.now {
                return;
            }
            self.impatient.pop_first();
            let consumer = &mut self.consumers[slot];
            if let Some(patience) = &mut consumer.patience {
                patience.timer = None;
            }
            match consumer.due() {
                Some(due) if due <= self.now => self.time_out(slot),
                due => self.set_timer(slot, due),
            }
        }
    }

    fn set_timer(&mut self, slot: Slot, at: Option<Millis>) {
        if let (Some(at), Some(patience)) = (at, &mut self.consumers[slot].patience) {
            patience.timer = Some(at);
            self.impatient.insert((at, slot));
        }
    }

    /// What it holds goes back, and is charged to nobody, as RabbitMQ does it.
    fn time_out(&mut self, slot: Slot) {
        let consumer = &self.consumers[slot];
        if consumer.kind == Kind::Active {
            self.effects.push(Effect::TimedOut {
                consumer: consumer.id,
                connection: consumer.connection,
            });
        }
        self.end_consumer(slot, false);
    }
}
