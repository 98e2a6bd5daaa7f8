//! Messages that leave by order: purge, delete, and what the log or a damaged disk says.

use crate::ids::{QueueId, Seq, Ticket};

use super::command::Store;
use super::consumer::{Kind, Standing};
use super::effect::{Effect, Refusal};
use super::queue::{Queue, Returned};
use super::rules::Rules;
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::Keep;
use super::{Partition, SettleReason, settlement};

impl<C: Content> Partition<C> {
    pub(super) fn create_queue(&mut self, id: QueueId, durable: bool, auto_delete: bool, rules: &Rules) {
        if !self.queue_slots.contains_key(&id) {
            let slot = self.queues.insert(Queue::new(id, durable, auto_delete, rules));
            self.queue_slots.insert(id, slot);
            self.use_queue(slot);
        }
    }

    pub(super) fn delete_queue(&mut self, queue: QueueId) {
        let Some(slot) = self.queue_slots.remove(&queue) else {
            return;
        };
        self.remove_ready(slot, SettleReason::Deleted);
        for store in [Store::Parked, Store::Retained] {
            self.remove_aside(slot, store, Seq(0), Seq(u64::MAX), SettleReason::Deleted);
        }
        self.remove_dead(slot, Seq(0), Seq(u64::MAX), SettleReason::Deleted);
        self.forget_queue_timer(slot);
        for consumer in std::mem::take(&mut self.queues[slot].members) {
            self.lose_queue(consumer);
        }
        self.forget_retry_timer(slot);
        let queue = self.queues.remove(slot);
        self.totals.deleted.add(&queue.counters);
    }

    pub(super) fn check_delete(&mut self, queue: QueueId, if_unused: bool, if_empty: bool, ticket: Ticket) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return self.refuse(ticket, Refusal::NoQueue);
        };
        let queue = &self.queues[slot];
        if if_unused && queue.consumers > 0 {
            self.refuse(ticket, Refusal::InUse);
        } else if if_empty && queue.keeps_any() {
            self.refuse(ticket, Refusal::NotEmpty);
        } else {
            self.effects.push(Effect::DeleteAllowed {
                ticket,
                messages: queue.ready,
            });
        }
    }

    pub(super) fn purge(&mut self, queue: QueueId, ticket: Ticket) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return self.refuse(ticket, Refusal::NoQueue);
        };
        let messages = self.remove_ready(slot, SettleReason::Purged);
        self.effects.push(Effect::Purged { ticket, messages });
    }

    /// Removes messages by their numbers, wherever they are.
    pub(super) fn remove(&mut self, queue: QueueId, first: Seq, count: u32, reason: SettleReason) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let end = first.plus(u64::from(count));
        let Self {
            queues,
            effects,
            totals,
            ..
        } = self;
        let queue = &mut queues[slot];
        let mut gone: Vec<Run<C>> = Vec::new();
        for (main, returned) in queue.lists_mut() {
            // The content is kept until here: it says what leaves the memory.
            returned.take(first.0, end.0, Keep::Content, |Returned { run, .. }| {
                gone.push(run)
            });
            main.take(first.0, end.0, Keep::Content, |run| gone.push(run));
        }
        queue.tidy();
        for run in gone {
            Self::unready(totals, &run);
            queue.discard(&run, reason);
            settlement::tell_settled(effects, queue.id, &run, reason);
        }
        for store in [Store::Parked, Store::Retained] {
            self.remove_aside(slot, store, first, end, reason);
        }
        self.remove_delayed(slot, first, end, reason);
        self.remove_dead(slot, first, end, reason);
        for (consumer, delivery, end) in self.held(slot, first, end) {
            let count = self.settle_range(consumer, delivery, end, reason);
            self.consumers[consumer].otherwise += count;
            self.release(consumer, count);
        }
    }

    fn remove_dead(&mut self, slot: Slot, first: Seq, end: Seq, reason: SettleReason) {
        let Some(lifecycle) = &mut self.queues[slot].lifecycle else {
            return;
        };
        let mut removed = Vec::new();
        lifecycle.dead.remove(first, end, |run| removed.push(run));
        if !removed.is_empty() {
            // Others may have waited for room on the way.
            self.touch(slot);
        }
        for run in removed {
            self.leave(slot, &run, reason);
        }
    }

    /// What is ready, or will be.
    fn remove_ready(&mut self, slot: Slot, reason: SettleReason) -> u64 {
        let delayed = self.remove_delayed(slot, Seq(0), Seq(u64::MAX), reason);
        let Self {
            queues,
            effects,
            totals,
            ..
        } = self;
        let queue = &mut queues[slot];
        let ready = queue.ready;
        let (mut main, mut returned) = (
            std::mem::take(&mut queue.main),
            std::mem::take(&mut queue.returned),
        );
        let levels = queue.levels.take();
        let mut gone = |run: Run<C>| {
            Self::unready(totals, &run);
            queue.discard(&run, reason);
            settlement::tell_settled(effects, queue.id, &run, reason);
        };
        returned.drain(|Returned { run, .. }| gone(run));
        main.drain(&mut gone);
        for mut level in levels.into_iter().flat_map(|levels| levels.into_levels()) {
            level.returned.drain(|Returned { run, .. }| gone(run));
            level.main.drain(&mut gone);
        }
        ready + delayed
    }

    /// Removes messages from those that wait; says how many there were.
    fn remove_delayed(&mut self, slot: Slot, first: Seq, end: Seq, reason: SettleReason) -> u64 {
        let mut count = 0;
        for run in self.take_delayed(slot, first, end) {
            count += u64::from(run.count());
            let queue = &mut self.queues[slot];
            queue.leave(&run, reason);
            settlement::tell_settled(&mut self.effects, queue.id, &run, reason);
        }
        count
    }

    /// A consumer's queue is gone, and with it what the consumer holds.
    fn lose_queue(&mut self, slot: Slot) {
        self.settle_range(slot, 0, u64::MAX, SettleReason::Deleted);
        self.release_limit(slot, self.consumers[slot].unsettled);
        self.stand(slot, Standing::Aside);
        let consumer = self.consumers.remove(slot);
        self.forget_timer(&consumer, slot);
        self.consumer_slots.remove(&consumer.id);
        if consumer.kind == Kind::Active {
            self.totals.consumers -= 1;
            self.effects.push(Effect::ConsumerGone {
                consumer: consumer.id,
                connection: consumer.connection,
            });
        }
    }
}

impl<C: Content> Queue<C> {
    /// Counts a ready run out.
    fn discard(&mut self, run: &Run<C>, reason: SettleReason) {
        self.unready(run);
        self.leave(run, reason);
    }
}
