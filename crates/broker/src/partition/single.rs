//! The single active consumer: one is delivered to, the others wait to take its place.
//!
//! ```text
//! waiting ──(nobody is active)──> active ──(cancelled, dead)──> gone
//!    ^                              │
//!    └──(holds nothing)── yielding <┘ (one of a higher priority waits, quorum queues)
//! ```

use std::collections::VecDeque;

use super::Partition;
use super::consumer::Standing;
use super::rules::Takeover;
use super::run::Content;
use super::slots::Slot;

/// Of a queue with a single active consumer.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) active: Option<Slot>,
    takeover: Takeover,
    /// By falling priority, then in the order in which they came.
    waiting: VecDeque<Waiter>,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    priority: i32,
    slot: Slot,
}

impl Single {
    pub(super) fn new(takeover: Takeover) -> Self {
        Self {
            active: None,
            takeover,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = Slot> {
        self.waiting.iter().map(|waiter| waiter.slot)
    }

    fn join(&mut self, slot: Slot, priority: i32) {
        let at = self.waiting.partition_point(|waiter| waiter.priority >= priority);
        self.waiting.insert(at, Waiter { priority, slot });
    }

    fn leave(&mut self, slot: Slot) {
        self.waiting.retain(|waiter| waiter.slot != slot);
        self.active = self.active.filter(|active| *active != slot);
    }

    /// Whether somebody waits whom the active consumer, of `priority`, has to make room for.
    fn outranks(&self, priority: i32) -> bool {
        self.takeover == Takeover::WhenOutranked
            && self
                .waiting
                .front()
                .is_some_and(|waiter| waiter.priority > priority)
    }
}

impl<C: Content> Partition<C> {
    /// A consumer has come to a queue with a single active one: it is that one, or waits.
    pub(super) fn wait_for_turn(&mut self, slot: Slot) {
        let consumer = &self.consumers[slot];
        let (queue, priority) = (consumer.queue, consumer.priority);
        if let Some(single) = &mut self.queues[queue].single {
            single.join(slot, priority);
        }
        self.stand(slot, Standing::Waiting);
        self.choose_active(queue);
    }

    /// A consumer of a queue with a single active one gets nothing more: another takes its place, if it was the active one.
    pub(super) fn give_up_turn(&mut self, slot: Slot) {
        let queue = self.consumers[slot].queue;
        if let Some(single) = &mut self.queues[queue].single {
            single.leave(slot);
        }
        self.choose_active(queue);
    }

    /// The active consumer makes room as it holds nothing any more; it waits behind those of its priority.
    pub(super) fn make_room(&mut self, slot: Slot) {
        let consumer = &self.consumers[slot];
        let (queue, priority) = (consumer.queue, consumer.priority);
        if let Some(single) = &mut self.queues[queue].single {
            single.leave(slot);
            single.join(slot, priority);
        }
        self.stand(slot, Standing::Waiting);
        self.choose_active(queue);
    }

    fn choose_active(&mut self, queue: Slot) {
        let Some(single) = &mut self.queues[queue].single else {
            return;
        };
        let Some(active) = single.active else {
            single.active = single.waiting.pop_front().map(|waiter| waiter.slot);
            if let Some(next) = single.active {
                self.line_up(next);
            }
            return;
        };
        let consumer = &self.consumers[active];
        let (standing, holds) = (consumer.standing, consumer.held() > 0);
        match (single.outranks(consumer.priority), standing) {
            (true, _) if !holds => self.make_room(active),
            (true, _) => self.stand(active, Standing::Yielding),
            // Whoever was to take its place has gone.
            (false, Standing::Yielding) if consumer.credit() == 0 => self.stand(active, Standing::Sated),
            (false, Standing::Yielding) => self.line_up(active),
            (false, _) => {}
        }
    }
}
