//! What consumers do with what they got: done, discarded, or back to the old place.

use crate::ids::{ConsumerId, QueueId};

use super::consumer::{Kind, Standing, Unsettled};
use super::dead_list::Death;
use super::effect::Effect;
use super::marks::Marks;
use super::run::{Content, Run, segment};
use super::slots::Slot;
use super::spans::Keep;
use super::standing::address;
use super::{Awakened, Partition, SettleOutcome, SettleReason};

impl<C: Content> Partition<C> {
    pub(super) fn settle(&mut self, consumer: ConsumerId, first: u64, count: u32, outcome: SettleOutcome) {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return;
        };
        let end = first.saturating_add(u64::from(count));
        let taken = match self.consumers[slot].apart {
            Some(_) => self.consumers[slot].settle_apart(first, end),
            None => 0,
        };
        let count = match outcome {
            SettleOutcome::Done => self.settle_range(slot, first, end, SettleReason::Done),
            SettleOutcome::Discard => self.reject_range(slot, first, end),
            SettleOutcome::Requeue => self.return_range(slot, first, end, false),
            SettleOutcome::RequeueFailed => self.return_range(slot, first, end, true),
        };
        if outcome != SettleOutcome::Done {
            self.consumers[slot].otherwise += count;
        }
        self.release(slot, count + taken);
    }

    pub(super) fn recover(&mut self, consumer: ConsumerId) {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return;
        };
        let committing = self.consumers[slot].take_committing();
        let count = self.return_range(slot, 0, u64::MAX, false);
        let consumer = &mut self.consumers[slot];
        consumer.put_back(committing);
        consumer.otherwise += count;
        let taken = consumer.apart.as_mut().map_or(0, |apart| apart.forget_taken());
        self.release(slot, count + taken);
    }

    /// A transaction that is on its way to the log settles these deliveries. Until it does they stay with their consumer, whatever
    /// becomes of that one: nobody else gets them, and they do not die of anything.
    pub(super) fn commit(&mut self, consumer: ConsumerId, first: u64, count: u32) {
        if let Some(&slot) = self.consumer_slots.get(&consumer) {
            let end = first.saturating_add(u64::from(count));
            let apart = self.consumers[slot].apart.get_or_insert_default();
            apart.begin_commit(first, end);
        }
    }

    pub(super) fn return_all(&mut self, consumer: ConsumerId) {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return;
        };
        self.end_consumer(slot, true);
    }

    /// A consumer ends, and what it holds returns; `failed` says that it failed with what it had in work.
    pub(super) fn end_consumer(&mut self, slot: Slot, failed: bool) {
        self.withdraw(slot);
        let committing = self.consumers[slot].take_committing();
        let count = if failed {
            self.return_of_dead(slot)
        } else {
            self.return_range(slot, 0, u64::MAX, false)
        };
        let consumer = &mut self.consumers[slot];
        consumer.put_back(committing);
        consumer.otherwise += count;
        consumer.kind = Kind::Cancelled;
        let taken = consumer.apart.as_mut().map_or(0, |apart| apart.forget_taken());
        self.release(slot, count + taken);
    }

    /// Settles deliveries `first..end` of a consumer; says how many there were.
    pub(super) fn settle_range(&mut self, slot: Slot, first: u64, end: u64, reason: SettleReason) -> u64 {
        let Self {
            consumers,
            queues,
            effects,
            ..
        } = self;
        let consumer = &mut consumers[slot];
        let queue = &mut queues[consumer.queue];
        let mut total = 0;
        consumer
            .window
            .take(first, end, Keep::Nothing, |Unsettled { run, .. }| {
                total += u64::from(run.count());
                queue.leave(&run, reason);
                tell_settled(effects, queue.id, &run, reason);
            });
        queue.unsettled -= total;
        total
    }

    /// Rejects deliveries `first..end` of a consumer; says how many there were.
    fn reject_range(&mut self, slot: Slot, first: u64, end: u64) -> u64 {
        let consumer = &mut self.consumers[slot];
        let queue_slot = consumer.queue;
        if self.queues[queue_slot].lifecycle.is_none() {
            return self.settle_range(slot, first, end, SettleReason::Rejected);
        }
        let (mut total, mut rejected) = (0, Vec::new());
        consumer.window.take(first, end, Keep::Content, |held| {
            total += u64::from(held.run.count());
            rejected.push((held.run, held.marks));
        });
        let queue = &mut self.queues[queue_slot];
        queue.unsettled -= total;
        if queue.dead_letters() {
            rejected
                .iter()
                .for_each(|(run, _)| tell_rejected(&mut self.effects, queue.id, run));
        }
        for (run, marks) in rejected {
            self.die(queue_slot, run, marks, Death::Rejected);
        }
        if total > 0 {
            self.touch(queue_slot);
        }
        total
    }

    /// Returns all that a dead consumer holds. A failure is charged to what was in work: the oldest delivery, as the others have
    /// only been waiting; or all of them where each was asked for.
    fn return_of_dead(&mut self, slot: Slot) -> u64 {
        let consumer = &self.consumers[slot];
        let counts = self.queues[consumer.queue].counts_failures;
        let behind_first = match (consumer.kind, consumer.window.front()) {
            (_, None) => return 0,
            _ if !counts => return self.return_range(slot, 0, u64::MAX, false),
            (Kind::Getter, _) => u64::MAX,
            (_, Some(oldest)) => oldest.delivery + 1,
        };
        let charged = self.return_range(slot, 0, behind_first, true);
        charged + self.return_range(slot, behind_first, u64::MAX, false)
    }

    /// Returns deliveries `first..end` of a consumer to their old place, or wherever they go if they have failed too often; says
    /// how many there were.
    pub(super) fn return_range(&mut self, slot: Slot, first: u64, end: u64, failed: bool) -> u64 {
        let Self {
            consumers,
            queues,
            effects,
            totals,
            ..
        } = self;
        let consumer = &mut consumers[slot];
        let queue_slot = consumer.queue;
        let queue = &mut queues[queue_slot];
        let failed = failed && queue.counts_failures;
        let delays = queue.delays(failed);
        let (mut total, mut given_up, mut delayed) = (0, Vec::new(), Vec::new());
        let returned = |Unsettled { mut run, marks, .. }| {
            run.compact();
            total += u64::from(run.count());
            let marks = marks.returned(failed);
            tell_returned(effects, queue.id, &run, marks, failed);
            if failed && queue.gives_up(marks) {
                given_up.push((run, marks));
            } else if delays {
                delayed.push((run, marks));
            } else {
                totals.add_ready(&run);
                queue.put(run, marks);
            }
        };
        consumer.window.take(first, end, Keep::Content, returned);
        queue.unsettled -= total;
        queue.counters.returned += total;
        if total > 0 {
            self.touch(queue_slot);
        }
        for (run, marks) in given_up {
            self.limit_reached(queue_slot, run, marks);
        }
        for (run, marks) in delayed {
            self.delay(queue_slot, run, marks);
        }
        total
    }

    /// A consumer holds `count` messages fewer: it, and others of its channel, may get more.
    pub(super) fn release(&mut self, slot: Slot, count: u64) {
        let consumer = &mut self.consumers[slot];
        consumer.unsettled -= count;
        let (standing, credit) = (consumer.standing, consumer.credit());
        let gone = consumer.kind == Kind::Cancelled && consumer.unsettled == 0;
        self.release_limit(slot, count);
        if gone {
            self.forget(slot);
        } else if standing == Standing::Sated && credit > 0 {
            self.line_up(slot);
        } else if standing == Standing::Yielding && self.consumers[slot].held() == 0 {
            self.make_room(slot);
        }
    }

    pub(super) fn release_limit(&mut self, slot: Slot, count: u64) {
        let consumer = &self.consumers[slot];
        let Some(limit) = consumer.limit.as_ref().filter(|_| count > 0) else {
            return;
        };
        if limit.release(count) {
            let (connection, consumer, limit) = (consumer.connection, consumer.id, limit.clone());
            self.awaken(Awakened::Limit(address(&limit)));
            self.effects.push(Effect::LimitFreed {
                connection,
                consumer,
                limit,
            });
        }
    }
}

/// Tells of settled messages, together with their neighbours if those were the last effect.
pub(super) fn tell_settled<C>(
    effects: &mut Vec<Effect<C>>,
    queue: QueueId,
    run: &Run<C>,
    reason: SettleReason,
) {
    if let Some(Effect::Settled {
        queue: last,
        first,
        count,
        location,
        bytes,
        reason: why,
    }) = effects.last_mut()
        && *last == queue
        && *why == reason
        && first.plus(u64::from(*count)) == run.first
        && segment(*location) == segment(run.location)
        && let Some(sum) = count.checked_add(u32::from(run.count()))
    {
        *count = sum;
        *bytes += u64::from(run.bytes);
        return;
    }
    let Run {
        first,
        location,
        bytes,
        ..
    } = *run;
    let (count, bytes) = (u32::from(run.count()), u64::from(bytes));
    effects.push(Effect::Settled {
        queue,
        first,
        count,
        location,
        bytes,
        reason,
    });
}

/// Tells of returned messages, together with their neighbours if those were the last effect.
pub(super) fn tell_returned<C>(
    effects: &mut Vec<Effect<C>>,
    queue: QueueId,
    run: &Run<C>,
    marks: Marks,
    failed: bool,
) {
    let is_durable = run.location.is_durable();
    if let Some(Effect::Returned {
        queue: last,
        first,
        count,
        durable,
        failed: charged,
        deliveries,
        failures,
    }) = effects.last_mut()
        && *last == queue
        && (*durable, *charged) == (is_durable, failed)
        && (*deliveries, *failures) == (marks.deliveries, marks.failures)
        && first.plus(u64::from(*count)) == run.first
        && let Some(sum) = count.checked_add(u32::from(run.count()))
    {
        *count = sum;
        return;
    }
    effects.push(Effect::Returned {
        queue,
        first: run.first,
        count: u32::from(run.count()),
        durable: is_durable,
        failed,
        deliveries: marks.deliveries,
        failures: marks.failures,
    });
}

/// Tells of rejected messages, together with their neighbours if those were the last effect.
fn tell_rejected<C>(effects: &mut Vec<Effect<C>>, queue: QueueId, run: &Run<C>) {
    let is_durable = run.location.is_durable();
    if let Some(Effect::Rejected {
        queue: last,
        first,
        count,
        durable,
    }) = effects.last_mut()
        && (*last, *durable) == (queue, is_durable)
        && first.plus(u64::from(*count)) == run.first
        && let Some(sum) = count.checked_add(u32::from(run.count()))
    {
        *count = sum;
        return;
    }
    effects.push(Effect::Rejected {
        queue,
        first: run.first,
        count: u32::from(run.count()),
        durable: is_durable,
    });
}
