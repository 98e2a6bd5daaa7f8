//! Queues on a schedule: each message waits for the time that it came with, then goes where the dead go, those that are due first in
//! front and of equals the first that came. They are how exchanges hold messages back.
//!
//! ```text
//! Enqueue ──> waiting ──(due, and there is room)──> on its way (Died) ──> buried where it has arrived
//!                │                                         └─> stuck, and tried again
//!                └──> unscheduled by order
//! ```
//!
//! Nothing is ever ready here, so nobody gets anything. The times are the deadlines of other queues: logged with the messages, and
//! kept by checkpoints. Bodies are not kept in memory.

use crate::ids::{Millis, QueueId, Seq};

use super::dead_list::Death;
use super::marks::Marks;
use super::queue::{Queue, Returned};
use super::retry::Wait;
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::{Keep, Span};
use super::{Effect, Partition, SettleReason, settlement};

/// Messages that wait, as they are listed.
#[derive(Clone, Debug)]
pub struct ScheduledRun<C> {
    /// When they are due.
    pub at: Millis,
    /// The messages. Without content: it has to be read from the log.
    pub run: Run<C>,
}

impl<C: Content> Queue<C> {
    /// Messages wait for their times; those that came without one are due at once.
    pub(super) fn put_on_schedule(&mut self, mut run: Run<C>, marks: Marks) {
        self.next_seq = self.next_seq.max(run.end());
        if run.location.is_durable() {
            run.content = None;
        }
        let (Some(lifecycle), Some(delayed)) = (&self.lifecycle, &mut self.delayed) else {
            return;
        };
        let times = lifecycle.deadlines.within(run.first.0, run.end().0);
        let times: Vec<(u64, u64, Millis)> = times.collect();
        for (low, high, at) in times {
            if low > run.first.0 {
                let early = run.cut((low - run.first.0) as u16, Keep::Content);
                delayed.put(Returned { run: early, marks }, Millis(0));
            }
            if high == run.end().0 {
                return delayed.put(Returned { run, marks }, at);
            }
            let part = run.cut((high - low) as u16, Keep::Content);
            delayed.put(Returned { run: part, marks }, at);
        }
        delayed.put(Returned { run, marks }, Millis(0));
    }

    /// Messages that still have their times in the books wait no more: their entry goes with the last of it.
    fn strike(&mut self, run: &Run<C>) {
        let (Some(lifecycle), Some(delayed)) = (&self.lifecycle, &mut self.delayed) else {
            return;
        };
        let at = lifecycle.deadlines.get(run.first.0).unwrap_or_default();
        let before = delayed.due.range(..=(at, run.first.0, u64::MAX)).next_back();
        let Some(&entry) = before.filter(|(noted, _, end)| *noted == at && *end > run.first.0) else {
            return;
        };
        let next = delayed.list.iter_from(entry.1).next();
        if next.is_none_or(|next| next.run.first.0 >= entry.2) {
            delayed.due.remove(&entry);
        }
    }
}

impl<C: Content> Partition<C> {
    /// Messages come in that wait for their time.
    pub(super) fn schedule(&mut self, slot: Slot, run: Run<C>) {
        let queue = &mut self.queues[slot];
        queue.counters.enter(u64::from(run.count()), u64::from(run.bytes));
        queue.put_on_schedule(run, Marks::default());
        self.touch(slot);
    }

    /// What waits or is on its way in a queue on a schedule, and its bytes; none for any other queue.
    pub(super) fn held_back(&self, slot: Slot) -> Option<(u64, u64)> {
        let queue = &self.queues[slot];
        let lifecycle = queue.lifecycle.as_ref();
        let lifecycle = lifecycle.filter(|lifecycle| lifecycle.terms.scheduled)?;
        let delayed = queue.delayed.as_ref()?;
        let messages = delayed.messages + lifecycle.dead.messages;
        Some((messages, delayed.bytes + lifecycle.dead.bytes))
    }

    /// Sends on what is due, as far as there is room on the way, and says now and then that the queue is empty if it is.
    pub(super) fn keep_schedule(&mut self, slot: Slot) {
        while let Some((first, end)) = self.next_on_schedule(slot) {
            let mut due = Vec::new();
            if let Some(delayed) = &mut self.queues[slot].delayed {
                delayed.due.pop_first();
                delayed.take(first, end, |waited| due.push(waited));
            }
            for Returned { run, marks } in due {
                self.die(slot, run, marks, Death::Due);
            }
        }
        self.set_retry_timer(slot);
        let (now, empty) = (self.now, self.held_back(slot) == Some((0, 0)));
        let queue = &mut self.queues[slot];
        let Some(lifecycle) = &mut queue.lifecycle else {
            return;
        };
        let idle = lifecycle.lease_ends().is_some_and(|at| at <= now) && empty;
        if idle {
            self.effects.push(Effect::Unused { queue: queue.id });
        }
        if idle || !empty || lifecycle.last_used.is_none() {
            lifecycle.last_used = Some(now);
        }
    }

    /// The numbers that are next on their way.
    fn next_on_schedule(&self, slot: Slot) -> Option<(Seq, Seq)> {
        let queue = &self.queues[slot];
        if !queue.lifecycle.as_ref()?.dead.is_open() {
            return None;
        }
        let &(at, first, end) = queue.delayed.as_ref()?.due.first()?;
        (at <= self.now).then_some((Seq(first), Seq(end)))
    }

    /// Messages leave by order that wait for their time, or found no target when it came.
    pub(super) fn unschedule(&mut self, queue: QueueId, first: Seq, end: Seq) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        if self.held_back(slot).is_none() {
            return;
        }
        let mut gone = self.take_delayed(slot, first, end);
        if let Some(lifecycle) = &mut self.queues[slot].lifecycle {
            lifecycle.dead.remove_stuck(first, end, |run| gone.push(run));
        }
        for run in gone {
            let queue = &mut self.queues[slot];
            queue.strike(&run);
            queue.leave(&run, SettleReason::Purged);
            settlement::tell_settled(&mut self.effects, queue.id, &run, SettleReason::Purged);
        }
        self.touch(slot);
    }

    /// The number of the run behind the next `most` from `first` on, of a queue on a schedule, if it lies before `end`.
    pub(super) fn schedule_stop(&self, slot: Slot, first: Seq, end: Seq, most: usize) -> Seq {
        let delayed = self.queues[slot].delayed.as_ref();
        let delayed = delayed.filter(|delayed| delayed.rule == Wait::Schedule);
        let behind = delayed.and_then(|delayed| delayed.list.iter_from(first.0).nth(most.max(1)));
        behind.map_or(end, |behind| behind.run.first.min(end))
    }

    /// How many messages of a queue on a schedule can still be unscheduled or are on their way.
    pub fn scheduled_count(&self, queue: QueueId) -> u64 {
        let slot = self.queue_slots.get(&queue);
        let held = slot.and_then(|&slot| self.held_back(slot));
        held.map_or(0, |(messages, _)| messages)
    }

    /// Messages of `queue` that wait for their time, beginning with the one that is due at `from` with that number, or the next: up to
    /// `most` runs, and where to go on if there are more.
    pub fn scheduled(
        &self,
        queue: QueueId,
        from: (Millis, Seq),
        most: usize,
    ) -> (Vec<ScheduledRun<C>>, Option<(Millis, Seq)>) {
        let slot = self.queue_slots.get(&queue);
        let delayed = slot.and_then(|&slot| self.queues[slot].delayed.as_ref());
        let mut runs = Vec::new();
        let Some(delayed) = delayed else {
            return (runs, None);
        };
        for &(at, first, end) in delayed.due.range((from.0, 0, 0)..) {
            if at == from.0 && end <= from.1.0 {
                continue;
            }
            if runs.len() >= most.max(1) {
                return (runs, Some((at, Seq(first))));
            }
            let low = if at == from.0 { first.max(from.1.0) } else { first };
            let waiting = delayed.list.iter_from(low);
            for waiting in waiting.take_while(|waiting| waiting.run.first.0 < end) {
                let mut run = waiting.run.clone();
                cut_to(&mut run, low, end);
                runs.push(ScheduledRun { at, run });
            }
        }
        (runs, None)
    }
}

/// Leaves of a run what lies within `low..end`.
fn cut_to<C: Content>(run: &mut Run<C>, low: u64, end: u64) {
    let before = low.saturating_sub(run.first.0);
    if before > 0 {
        run.cut(before as u16, Keep::Nothing);
    }
    if run.end().0 > end {
        let kept = end - run.first.0;
        *run = run.cut(kept as u16, Keep::Nothing);
    }
}
