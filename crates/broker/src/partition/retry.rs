//! Messages that came back and wait before they are delivered again.
//!
//! They are live and in no list of ready messages; a restart makes them ready at once, as the time that is left is not logged.
//! The list serves queues on a schedule too, whose messages wait from the start ([`super::schedule`]).

use std::collections::BTreeSet;

use crate::ids::{Millis, QueueId, Seq};

use super::Partition;
use super::marks::Marks;
use super::query::LiveRun;
use super::queue::Returned;
use super::rules::{Retry, Rules};
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::{Keep, Spans};

/// The waiting messages of one queue.
#[derive(Debug)]
pub(super) struct Delayed<C> {
    pub(super) rule: Wait,
    pub(super) list: Spans<Returned<C>>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// When messages are due: time, first number, number behind the last. May name some that are gone; a number never comes twice
    /// without having been due in between.
    pub(super) due: BTreeSet<(Millis, u64, u64)>,
    /// When the queue is to be looked at, as the partition's timers know it.
    pub(super) timer: Option<Millis>,
}

/// What waits here, and what becomes of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// What came back, before it is ready again.
    Retry(Retry),
    /// What comes in, before it goes where the dead go.
    Schedule,
}

impl Wait {
    /// Of a queue with these rules.
    pub(super) fn of(rules: &Rules) -> Option<Self> {
        if rules.terms.scheduled {
            return Some(Wait::Schedule);
        }
        rules.retry.map(Wait::Retry)
    }

    /// Whether a message that came back waits.
    pub(super) fn delays(self, failed: bool) -> bool {
        match self {
            Wait::Retry(retry) => retry.delays(failed),
            Wait::Schedule => false,
        }
    }
}

impl<C: Content> Delayed<C> {
    pub(super) fn new(rule: Wait) -> Self {
        Self {
            rule,
            list: Spans::default(),
            messages: 0,
            bytes: 0,
            due: BTreeSet::new(),
            timer: None,
        }
    }

    /// Takes out messages `first..end`.
    pub(super) fn take(&mut self, first: Seq, end: Seq, mut taken: impl FnMut(Returned<C>)) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
        self.list.take(first.0, end.0, Keep::Content, |delayed| {
            *messages -= u64::from(delayed.run.count());
            *bytes -= u64::from(delayed.run.bytes);
            taken(delayed);
        });
        if self.messages == 0 {
            self.due.clear();
        }
    }

    pub(super) fn put(&mut self, delayed: Returned<C>, at: Millis) {
        self.messages += u64::from(delayed.run.count());
        self.bytes += u64::from(delayed.run.bytes);
        let (first, end) = (delayed.run.first.0, delayed.run.end().0);
        self.due.insert((at, first, end));
        self.list.insert(delayed);
    }
}

impl<C: Content> Partition<C> {
    pub(super) fn amend(&mut self, queue: QueueId, rules: &Rules) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let queue = &mut self.queues[slot];
        queue.counts_failures = rules.counts_failures;
        queue.delivery_limit = rules.delivery_limit;
        self.regulate(slot, rules.terms);
        let queue = &mut self.queues[slot];
        match (&mut queue.delayed, Wait::of(rules)) {
            (Some(delayed), Some(rule)) => delayed.rule = rule,
            (None, Some(rule)) => queue.delayed = Some(Box::new(Delayed::new(rule))),
            (Some(_), None) => self.end_all_delays(slot),
            (None, None) => {}
        }
    }

    fn end_all_delays(&mut self, slot: Slot) {
        self.forget_retry_timer(slot);
        let Some(mut delayed) = self.queues[slot].delayed.take() else {
            return;
        };
        let mut ready = Vec::new();
        delayed.take(Seq(0), Seq(u64::MAX), |returned| ready.push(returned));
        for Returned { run, marks } in ready {
            self.put(slot, run, marks);
        }
    }

    /// Messages that came back wait; their queue has a rule that says so.
    pub(super) fn delay(&mut self, slot: Slot, run: Run<C>, marks: Marks) {
        let now = self.now;
        let queue = &mut self.queues[slot];
        let Some(delayed) = &mut queue.delayed else {
            return self.put(slot, run, marks);
        };
        let millis = match delayed.rule {
            Wait::Retry(retry) => retry.delay_millis(marks.failures),
            Wait::Schedule => 0,
        };
        let at = Millis(now.0.saturating_add(millis));
        delayed.put(Returned { run, marks }, at);
        self.set_retry_timer(slot);
    }

    /// What has waited long enough is ready again.
    pub(super) fn look_at_delayed(&mut self) {
        while let Some(&(at, slot)) = self.retrying.first() {
            if at > self.now {
                return;
            }
            self.retrying.pop_first();
            if let Some(delayed) = &mut self.queues[slot].delayed {
                delayed.timer = None;
                if delayed.rule == Wait::Schedule {
                    // They leave one by one when the round ends, as far as there is room on their way.
                    self.touch(slot);
                    continue;
                }
            }
            self.end_delays(slot);
            self.set_retry_timer(slot);
        }
    }

    fn end_delays(&mut self, slot: Slot) {
        let now = self.now;
        let Some(delayed) = &mut self.queues[slot].delayed else {
            return;
        };
        let mut ready = Vec::new();
        while let Some(&(at, first, end)) = delayed.due.first() {
            if at > now {
                break;
            }
            delayed.due.pop_first();
            delayed.take(Seq(first), Seq(end), |returned| ready.push(returned));
        }
        for Returned { run, marks } in ready {
            self.put(slot, run, marks);
        }
    }

    pub(super) fn set_retry_timer(&mut self, slot: Slot) {
        let now = self.now;
        let Some(delayed) = &mut self.queues[slot].delayed else {
            return;
        };
        // What is overdue on a schedule waits for room on its way, not for the time.
        let overdue = |at: &Millis| delayed.rule == Wait::Schedule && *at <= now;
        let due = delayed
            .due
            .first()
            .map(|(at, _, _)| *at)
            .filter(|at| !overdue(at));
        if due == delayed.timer {
            return;
        }
        if let Some(before) = std::mem::replace(&mut delayed.timer, due) {
            self.retrying.remove(&(before, slot));
        }
        if let Some(at) = due {
            self.retrying.insert((at, slot));
        }
    }

    /// The queue is about to go.
    pub(super) fn forget_retry_timer(&mut self, slot: Slot) {
        let timer = self.queues[slot]
            .delayed
            .as_mut()
            .and_then(|delayed| delayed.timer.take());
        if let Some(at) = timer {
            self.retrying.remove(&(at, slot));
        }
    }

    /// Takes messages out of the delayed ones, and says which.
    pub(super) fn take_delayed(&mut self, slot: Slot, first: Seq, end: Seq) -> Vec<Run<C>> {
        let mut taken = Vec::new();
        if let Some(delayed) = &mut self.queues[slot].delayed {
            delayed.take(first, end, |returned| taken.push(returned.run));
            self.set_retry_timer(slot);
        }
        taken
    }

    /// The delayed part of [`Partition::live`].
    pub(super) fn live_delayed(&self, slot: Slot, first: Seq, end: Seq, live: &mut Vec<LiveRun>) {
        let Some(delayed) = &self.queues[slot].delayed else {
            return;
        };
        let waiting = delayed.list.iter_from(first.0);
        for waiting in waiting.take_while(|waiting| waiting.run.first < end) {
            live.extend(LiveRun::within(&waiting.run, waiting.marks, first, end));
        }
    }
}
