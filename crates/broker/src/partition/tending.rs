//! What queues with terms need besides delivery: the old go, what is too much goes, the dead are sent on, an unused queue
//! goes, and the next look is noted.

use crate::ids::{ConsumerId, Millis, QueueId, Seq};
use crate::terms::Terms;

use super::dead_list::{Dead, Death};
use super::effect::Effect;
use super::lifecycle::{Kept, Lifecycle};
use super::marks::Marks;
use super::run::{Content, Run};
use super::slots::Slot;
use super::{Partition, SettleReason};

impl<C: Content> Partition<C> {
    /// Ready messages of a queue, and the bytes of their bodies if its terms count them; all of those on a schedule.
    pub fn taken(&self, queue: QueueId) -> (u64, u64) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return (0, 0);
        };
        let queue = &self.queues[slot];
        if let Some(held) = self.held_back(slot) {
            return held;
        }
        let bytes = queue
            .lifecycle
            .as_ref()
            .map_or(0, |lifecycle| lifecycle.ready_body_bytes);
        (queue.ready, bytes)
    }

    /// Whether all of these messages are on their way through the dead-letter exchange.
    pub fn is_dying(&self, queue: QueueId, first: Seq, count: u32) -> bool {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return false;
        };
        let lifecycle = self.queues[slot].lifecycle.as_ref();
        lifecycle.is_some_and(|lifecycle| lifecycle.dead.moves(first, count))
    }

    /// Whether what this consumer rejects goes through a dead-letter exchange.
    pub fn dead_letters(&self, consumer: ConsumerId) -> bool {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return false;
        };
        let lifecycle = &self.queues[self.consumers[slot].queue].lifecycle;
        lifecycle
            .as_ref()
            .is_some_and(|lifecycle| lifecycle.terms.dead_letters)
    }

    /// Deadlines and sizes of the messages `first..end` of a queue, for a checkpoint.
    pub fn kept(&self, queue: QueueId, first: Seq, end: Seq) -> Kept {
        let mut kept = Kept::default();
        let slot = self.queue_slots.get(&queue);
        if let Some(lifecycle) = slot.and_then(|&slot| self.queues[slot].lifecycle.as_ref()) {
            for (low, high, at) in lifecycle.deadlines.within(first.0, end.0) {
                kept.deadlines.set(low, high, at);
            }
            for (low, high, size) in lifecycle.body_sizes.within(first.0, end.0) {
                kept.body_sizes.set(low, high, size);
            }
        }
        kept
    }

    /// A queue keeps its messages on other terms from now on.
    pub(super) fn regulate(&mut self, slot: Slot, terms: Terms) {
        let queue = &mut self.queues[slot];
        let mut lifecycle = match queue.lifecycle.take() {
            None if terms.is_plain() => return,
            lifecycle => lifecycle.unwrap_or_else(|| Box::new(Lifecycle::new(terms))),
        };
        lifecycle.terms = terms;
        lifecycle.ready_body_bytes = 0;
        for run in queue.ready_runs() {
            lifecycle.measure(run);
            lifecycle.ready(run);
        }
        let held = queue
            .members
            .iter()
            .flat_map(|member| self.consumers[*member].window.iter());
        held.for_each(|held| lifecycle.measure(&held.run));
        let delayed = queue.delayed.iter().flat_map(|delayed| delayed.list.iter());
        delayed.for_each(|delayed| lifecycle.measure(&delayed.run));
        let parked = queue.parked.iter().flat_map(|parked| parked.list.iter());
        parked.for_each(|parked| lifecycle.measure(&parked.run));
        lifecycle.measure_retained();
        let homeless = match terms.dead_letters {
            true => Vec::new(),
            false => lifecycle.dead.take_waiting(),
        };
        queue.lifecycle = Some(lifecycle);
        self.park_homeless(slot, homeless);
        self.touch(slot);
    }

    pub(super) fn expire_at(&mut self, queue: QueueId, first: Seq, count: u32, at: Millis) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let lifecycle = &mut self.queues[slot].lifecycle;
        let lifecycle = lifecycle.get_or_insert_with(|| Box::new(Lifecycle::new(Terms::default())));
        lifecycle.deadlines.set(first.0, first.0 + u64::from(count), at);
    }

    /// Messages that are in no list of their queue any more either are counted out, or begin their way through its
    /// dead-letter exchange.
    pub(super) fn die(&mut self, slot: Slot, run: Run<C>, marks: Marks, death: Death) {
        let queue = &mut self.queues[slot];
        let lifecycle = queue.lifecycle.as_mut();
        let Some(lifecycle) = lifecycle.filter(|lifecycle| lifecycle.terms.dead_letters) else {
            return self.leave(slot, &run, death.reason());
        };
        let effects = &mut self.effects;
        lifecycle.dead.add(queue.id, run, marks, death, effects);
    }

    /// The dead have arrived elsewhere, or go nowhere.
    pub(super) fn bury(&mut self, queue: QueueId, first: Seq, count: u32, reason: SettleReason) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let (now, end) = (self.now, first.plus(u64::from(count)));
        let Some(lifecycle) = &mut self.queues[slot].lifecycle else {
            return;
        };
        if lifecycle.terms.scheduled {
            lifecycle.last_used = Some(now);
        }
        for run in lifecycle.dead.arrived(first, end, now) {
            self.leave(slot, &run, reason);
        }
        self.touch(slot);
    }

    /// The dead that have no dead-letter exchange to wait for any more: they are parked, as nobody has given them up.
    fn park_homeless(&mut self, slot: Slot, homeless: Vec<Dead<C>>) {
        for Dead {
            run, marks, death, ..
        } in homeless
        {
            self.park(slot, run, marks, death);
        }
    }

    /// The dead found no target, or none with room.
    pub(super) fn keep(&mut self, queue: QueueId, first: Seq, count: u32) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let (now, end) = (self.now, first.plus(u64::from(count)));
        self.bring_back(slot, first, end);
        if let Some(lifecycle) = &mut self.queues[slot].lifecycle {
            if lifecycle.terms.dead_letters {
                lifecycle.dead.keep(first, end, now);
            } else {
                let homeless = lifecycle.dead.take_back(first, end, now);
                self.park_homeless(slot, homeless);
            }
        }
        self.touch(slot);
    }

    /// Somebody uses the queue: its life is counted anew.
    pub(super) fn use_queue(&mut self, slot: Slot) {
        if let Some(lifecycle) = &mut self.queues[slot].lifecycle {
            lifecycle.last_used = Some(self.now);
            self.touch(slot);
        }
    }

    /// Has the queues looked at whose time has come.
    pub(super) fn look_at_timers(&mut self) {
        while let Some(&(at, slot)) = self.timers.first()
            && at <= self.now
        {
            self.timers.pop_first();
            if let Some(lifecycle) = &mut self.queues[slot].lifecycle {
                lifecycle.due = None;
            }
            self.touch(slot);
        }
    }

    /// What a queue that is not plain needs at the end of a round, after its deliveries.
    pub(super) fn tend(&mut self, slot: Slot) {
        self.expire_head(slot, true);
        self.drop_head(slot);
        self.give_up_retained(slot);
        let now = self.now;
        let queue = &mut self.queues[slot];
        let Some(lifecycle) = &mut queue.lifecycle else {
            return;
        };
        lifecycle.dead.hand_out(queue.id, now, &mut self.effects);
        if lifecycle.terms.scheduled {
            self.keep_schedule(slot);
            return self.note_due(slot);
        }
        let used = *lifecycle.last_used.get_or_insert(now);
        if queue.consumers > 0 {
            lifecycle.last_used = Some(now.max(used));
        } else if lifecycle.lease_ends().is_some_and(|at| at <= now) && !lifecycle.leaving {
            lifecycle.leaving = true;
            self.effects.push(Effect::Unused { queue: queue.id });
        }
        self.note_due(slot);
    }

    /// Takes the messages in front of a queue out that are past their deadline, or, if `reached`, at it.
    pub(super) fn expire_head(&mut self, slot: Slot, reached: bool) {
        let now = self.now;
        loop {
            let queue = &self.queues[slot];
            let (Some(lifecycle), Some(front)) = (&queue.lifecycle, queue.front()) else {
                return;
            };
            match lifecycle.expired(front, now, reached) {
                0 => return,
                count => self.take_out(slot, count, Death::Expired),
            }
        }
    }

    fn drop_head(&mut self, slot: Slot) {
        loop {
            let queue = &self.queues[slot];
            let (Some(lifecycle), Some(front)) = (&queue.lifecycle, queue.front()) else {
                return;
            };
            match lifecycle.beyond(front, queue.ready) {
                0 => return,
                count => self.take_out(slot, count, Death::Overflow),
            }
        }
    }

    fn take_out(&mut self, slot: Slot, count: u16, death: Death) {
        let (run, marks) = self.queues[slot].take_front(count);
        Self::unready(&mut self.totals, &run);
        self.die(slot, run, marks, death);
    }

    /// Notes when the queue is to be looked at next. A time that is noted already and comes before is left.
    fn note_due(&mut self, slot: Slot) {
        let queue = &mut self.queues[slot];
        let head = queue.front().map(|run| run.first);
        let Some(lifecycle) = &mut queue.lifecycle else {
            return;
        };
        if lifecycle.is_spent() {
            if let Some(due) = lifecycle.due {
                self.timers.remove(&(due, slot));
            }
            queue.lifecycle = None;
            return;
        }
        let lease = if queue.consumers == 0 && !lifecycle.leaving {
            lifecycle.lease_ends()
        } else {
            None
        };
        let expiry = head.and_then(|head| lifecycle.deadlines.get(head.0));
        let retained = lifecycle.retained.as_ref().and_then(|retained| retained.due());
        let due = [lease, expiry, lifecycle.dead.due(), retained];
        let due = due.into_iter().flatten().min();
        let Some(due) = due.filter(|due| lifecycle.due.is_none_or(|noted| *due < noted)) else {
            return;
        };
        if let Some(noted) = lifecycle.due.replace(due) {
            self.timers.remove(&(noted, slot));
        }
        self.timers.insert((due, slot));
    }

    /// Forgets the timer of a queue that goes.
    pub(super) fn forget_queue_timer(&mut self, slot: Slot) {
        let lifecycle = self.queues[slot].lifecycle.as_ref();
        if let Some(due) = lifecycle.and_then(|lifecycle| lifecycle.due) {
            self.timers.remove(&(due, slot));
        }
    }
}
