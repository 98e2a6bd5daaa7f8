//! How long a consumer may hold a message without settling it: whoever takes longer is cancelled, and what it holds returns.
//!
//! Deliveries are known by groups ([`super::times`]): what is in one is due together, when the last of it may be. So a message is never
//! given up on too early, and at most a 32nd too late.

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
    /// When it is to be looked at, as the partition's timers know it.
    pub(super) timer: Option<Millis>,
}

impl Patience {
    pub(super) fn new(millis: u64) -> Self {
        Self { millis, timer: None }
    }
}

impl<C: Content> Consumer<C> {
    /// When its patience ends. If it holds nothing, the next delivery is noted in any case, and sets a timer.
    fn due(&mut self) -> Option<Millis> {
        let patience = self.patience.as_ref()?;
        let oldest = self.window.front().map(|held| held.delivery);
        let until = self.times.oldest_until(oldest)?;
        Some(until.plus(patience.millis))
    }
}

impl<C: Content> Partition<C> {
    /// A delivery that begins a group.
    #[inline(never)]
    pub(super) fn note_delivery(&mut self, slot: Slot, delivery: u64) {
        let consumer = &mut self.consumers[slot];
        let oldest = consumer.window.front().map_or(delivery, |held| held.delivery);
        consumer.times.note(delivery, oldest, self.now);
        let patience = consumer.patience.as_ref();
        if patience.is_some_and(|patience| patience.timer.is_none()) {
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
