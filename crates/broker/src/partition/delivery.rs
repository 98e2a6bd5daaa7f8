//! The end of a round: who gets what.
//!
//! Only touched queues and awakened rings are looked at. In a queue, the consumers of the highest priority that can
//! take messages get them in turn; one that cannot leaves the line until something changes for it, so that
//! nobody is asked twice in vain.

use super::consumer::{Standing, Unsettled};
use super::effect::{Delivery, Effect};
use super::run::{Content, Run};
use super::slots::Slot;
use super::{Awakened, Partition, SettleReason, Totals, settlement};

/// Most messages that a consumer gets in one turn while others are ready too.
const TURN_MESSAGES_MAX: u64 = 16;

impl<C: Content> Partition<C> {
    pub(super) fn deliver(&mut self) {
        if !self.impatient.is_empty() {
            self.look_at_consumers();
        }
        if !self.retrying.is_empty() {
            self.look_at_delayed();
        }
        if !self.timers.is_empty() {
            self.look_at_timers();
        }
        // Those who had to wait come before those who did not.
        while let Some(ring) = self.awakened.pop_front() {
            self.serve_awakened(ring);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            if self
                .queues
                .get_mut(slot)
                .is_some_and(|queue| std::mem::take(&mut queue.touched))
            {
                self.serve(slot);
                if self.queues[slot].lifecycle.is_some() {
                    self.tend(slot);
                }
                self.settle_in(slot);
            }
        }
        debug_assert!(self.touched.is_empty(), "serving a queue touches no other");
        self.touched = touched;
    }

    /// Lets the members of a ring back into their lines one by one, and serves their queues, until what they waited
    /// for is used up. Whoever is served last time waits behind the others the next time.
    fn serve_awakened(&mut self, ring: Awakened) {
        for _ in 0..self.ring_len(ring) {
            let Some(consumer) = self.ring_first(ring) else {
                return;
            };
            if !self.has_room(consumer, ring) {
                return;
            }
            let queue = self.consumers[consumer].queue;
            self.stand(consumer, Standing::InLine);
            self.serve(queue);
            if self.queues[queue].lifecycle.is_some() {
                self.touch(queue);
            }
        }
    }

    fn has_room(&self, consumer: Slot, ring: Awakened) -> bool {
        let consumer = &self.consumers[consumer];
        match (ring, &consumer.limit) {
            (Awakened::Gate(_), _) => consumer.gate.room() > 0,
            (Awakened::Limit(_), Some(limit)) => limit.has_room(),
            (Awakened::Limit(_), None) => true,
        }
    }

    /// Delivers from one queue until it is empty or nobody in line can take more.
    pub(super) fn serve(&mut self, slot: Slot) {
        let ready = self.queues[slot].ready;
        let mut turn = None;
        while self.queues[slot].ready > 0 {
            if self.queues[slot].lifecycle.is_some() {
                self.expire_head(slot, false);
                if self.queues[slot].ready == 0 {
                    return;
                }
            }
            let Some((consumer, left)) = self.turn(slot, turn, ready) else {
                return;
            };
            let queue = &self.queues[slot];
            let front = queue.front().expect("a queue with ready messages has a front");
            let timely = match &queue.lifecycle {
                Some(lifecycle) => lifecycle.timely(front, self.now),
                None => left,
            };
            match self.consumers[consumer].accept(front, left.min(timely)) {
                Err(standing) => {
                    self.stand(consumer, standing);
                    turn = None;
                }
                Ok(count) => {
                    self.hand_over(slot, consumer, count);
                    turn = Some((consumer, left - u64::from(count)));
                }
            }
        }
        // The next round begins with the next consumer, so that messages that come one by one go round too.
        if let Some((consumer, _)) = turn {
            self.turn(slot, Some((consumer, 0)), ready);
        }
    }

    /// Whose turn it is in a queue that had `ready` messages, and for how many of them.
    fn turn(&mut self, slot: Slot, turn: Option<(Slot, u64)>, ready: u64) -> Option<(Slot, u64)> {
        let ring = self.queues[slot].foremost()?;
        match turn {
            Some((consumer, left)) if ring.first() == Some(consumer) => {
                if left > 0 {
                    return turn;
                }
                ring.rotate(&mut self.consumers);
            }
            _ => {}
        }
        let messages = match u64::from(ring.len()) {
            1 => u64::MAX,
            peers => ready.div_ceil(peers).clamp(1, TURN_MESSAGES_MAX),
        };
        Some((ring.first()?, messages))
    }

    /// Delivers the first `count` messages of a queue's front run.
    fn hand_over(&mut self, slot: Slot, consumer_slot: Slot, count: u16) {
        let delivery = self.take_for(slot, consumer_slot, count);
        let consumer = &self.consumers[consumer_slot];
        consumer.gate.charge(delivery.run.weight());
        let timely = self.now < consumer.times.next;
        let no_ack = consumer
            .no_ack
            .then(|| (delivery.run.without_content(), delivery.marks));
        let sated = consumer.credit() == 0;
        let first = delivery.first_delivery;
        self.effects.push(Effect::Deliver(delivery));
        if !timely {
            self.note_delivery(consumer_slot, first);
        }
        if let Some((run, marks)) = no_ack {
            self.part_with(slot, run, marks);
        } else if sated {
            self.stand(consumer_slot, Standing::Sated);
        }
    }

    /// Moves the first `count` messages of a queue's front run into a consumer's window, unless it does not acknowledge.
    pub(super) fn take_for(&mut self, slot: Slot, consumer_slot: Slot, count: u16) -> Delivery<C> {
        let queue = &mut self.queues[slot];
        let consumer = &mut self.consumers[consumer_slot];
        let (run, marks) = queue.take_front(count);
        Self::unready(&mut self.totals, &run);
        let redelivered = queue.is_redelivered(&run, marks);
        queue.counters.delivered += u64::from(count);
        queue.counters.redelivered += u64::from(count) * u64::from(redelivered);
        let first_delivery = consumer.next_delivery;
        consumer.next_delivery += u64::from(count);
        if !consumer.no_ack {
            let kept = kept_in_window(&run);
            consumer.window.push_back(Unsettled {
                delivery: first_delivery,
                run: kept,
                marks,
            });
            consumer.unsettled += u64::from(count);
            queue.unsettled += u64::from(count);
        }
        let (queue, connection) = (queue.id, consumer.connection);
        Delivery {
            consumer: consumer.id,
            connection,
            queue,
            run,
            first_delivery,
            marks,
            redelivered,
        }
    }

    /// Messages that were settled by being delivered, and were never in a window.
    pub(super) fn leave(&mut self, slot: Slot, run: &Run<C>, reason: SettleReason) {
        let queue = &mut self.queues[slot];
        queue.leave(run, reason);
        settlement::tell_settled(&mut self.effects, queue.id, run, reason);
    }

    /// What the round has appended and nobody took stays for longer: it shall not pin much memory for little.
    fn settle_in(&mut self, slot: Slot) {
        let queue = &mut self.queues[slot];
        let fresh = std::mem::take(&mut queue.fresh);
        if queue.ready == 0 {
            return;
        }
        let totals = &mut self.totals;
        queue
            .main
            .iter_mut_back()
            .take(fresh)
            .for_each(|run| settle_run(totals, run));
        let levels = queue.levels.iter_mut().flat_map(|levels| levels.iter_mut());
        for level in levels {
            let fresh = std::mem::take(&mut level.fresh);
            level
                .main
                .iter_mut_back()
                .take(fresh)
                .for_each(|run| settle_run(totals, run));
        }
    }
}

#[inline]
fn settle_run<C: Content>(totals: &mut Totals, run: &mut Run<C>) {
    if !run.location.is_durable() {
        run.compact();
    } else if run.is_wasteful() && !run.thin() {
        totals.resident_bytes -= u64::from(run.bytes);
    }
}

/// A transient run is in memory or nowhere; a durable one can be read again from the log.
pub(super) fn kept_in_window<C: Content>(run: &Run<C>) -> Run<C> {
    if run.location.is_durable() {
        run.without_content()
    } else {
        run.clone()
    }
}
