//! Messages that were handed over to somebody who does not acknowledge, and are kept for a while: a crash of the consumer, or a
//! connection that broke, need not be their end.
//!
//! They go by themselves when their time is over, or when there is too much of them; then those that were handed over first go first,
//! and are counted. What alone is larger than the bound in bytes is not kept at all, so that it displaces nobody.

use std::collections::BTreeSet;

use crate::ids::{Millis, Seq};
use crate::terms::Retention;

use super::effect::Effect;
use super::lifecycle::Lifecycle;
use super::marks::Marks;
use super::parking::{Aside, Parked, Parking};
use super::queue::Queue;
use super::run::{Content, Run};
use super::slots::Slot;
use super::{Partition, SettleReason};

/// The retained messages of one queue.
#[derive(Debug)]
pub(super) struct Retained<C> {
    pub(super) parking: Parking<C>,
    /// Until when, by time, first number, number behind the last. It may name some that are gone, or that are retained for longer by now.
    due: BTreeSet<(Millis, u64, u64)>,
}

impl<C> Default for Retained<C> {
    fn default() -> Self {
        Self {
            parking: Parking::default(),
            due: BTreeSet::new(),
        }
    }
}

impl<C> Retained<C> {
    /// When the first of them go.
    pub(super) fn due(&self) -> Option<Millis> {
        self.due.first().map(|(at, _, _)| *at)
    }

    fn note(&mut self, at: Millis, first: u64, end: u64) {
        let mut first = first;
        if let Some(&last) = self.due.last()
            && (last.0, last.2) == (at, first)
        {
            self.due.remove(&last);
            first = last.1;
        }
        self.due.insert((at, first, end));
    }

    /// How many messages of a run are too many, taken from its front.
    fn beyond(&self, bounds: Option<Retention>, run: &Run<C>) -> u64 {
        let Some(bounds) = bounds else { return 0 };
        let bytes = self.parking.bytes.saturating_sub(bounds.bytes_max);
        let by_bytes = bytes.div_ceil((u64::from(run.bytes) / u64::from(run.count())).max(1));
        self.parking
            .messages
            .saturating_sub(bounds.messages_max)
            .max(by_bytes)
    }
}

impl Retention {
    /// Whether there is room for such messages at all; they are judged by their average.
    fn holds<C>(&self, run: &Run<C>) -> bool {
        self.messages_max > 0 && u64::from(run.bytes) / u64::from(run.count()) <= self.bytes_max
    }
}

impl<C: Content> Queue<C> {
    /// Puts retained messages aside; their deadlines say for how long.
    pub(super) fn retain(&mut self, parked: Parked<C>) {
        let lifecycle = self
            .lifecycle
            .get_or_insert_with(|| Box::new(Lifecycle::new(Default::default())));
        let (first, end) = (parked.run.first.0, parked.run.end().0);
        let retained = lifecycle.retained.get_or_insert_default();
        let mut known = first;
        for (low, high, at) in lifecycle.deadlines.within(first, end) {
            if known < low {
                retained.note(Millis(0), known, low);
            }
            retained.note(at, low, high);
            known = high;
        }
        if known < end {
            retained.note(Millis(0), known, end);
        }
        retained.parking.put(parked);
    }

    /// Forgets the store once nothing is there.
    pub(super) fn forget_retained(&mut self) {
        if let Some(lifecycle) = &mut self.lifecycle {
            let retained = lifecycle.retained.take();
            lifecycle.retained = retained.filter(|retained| retained.parking.messages > 0);
        }
    }
}

impl<C: Content> Partition<C> {
    /// Messages were handed over to somebody who does not acknowledge: that settles them, or they are retained.
    #[inline]
    pub(super) fn part_with(&mut self, slot: Slot, run: Run<C>, marks: Marks) {
        let queue = &mut self.queues[slot];
        queue.counters.delivered_no_ack += u64::from(run.count());
        let lifecycle = queue.lifecycle.as_ref();
        let retention = lifecycle.and_then(|lifecycle| lifecycle.terms.retention);
        match retention {
            None => self.leave(slot, &run, SettleReason::NoAck),
            Some(retention) => self.retain(slot, run, marks, retention),
        }
    }

    #[inline(never)]
    fn retain(&mut self, slot: Slot, run: Run<C>, marks: Marks, retention: Retention) {
        let count = u64::from(run.count());
        let queue = &mut self.queues[slot];
        if !retention.holds(&run) || !run.location.is_durable() {
            queue.counters.displaced += count;
            return self.leave(slot, &run, SettleReason::NoAck);
        }
        queue.counters.retained += count;
        let until = self.now.plus(retention.millis);
        if let Some(lifecycle) = &mut queue.lifecycle {
            lifecycle.deadlines.set(run.first.0, run.end().0, until);
        }
        self.effects.push(Effect::Retained {
            queue: queue.id,
            first: run.first,
            count: u32::from(run.count()),
            until,
        });
        let why = Aside::Retained;
        queue.set_aside(Parked { run, marks, why });
    }

    /// What was retained for long enough, or is too much, is settled.
    pub(super) fn give_up_retained(&mut self, slot: Slot) {
        let now = self.now;
        let queue = &mut self.queues[slot];
        let Some(lifecycle) = &mut queue.lifecycle else {
            return;
        };
        let Some(mut retained) = lifecycle.retained.take() else {
            return;
        };
        let mut gone = Vec::new();
        while let Some((run, overdue)) = lifecycle.first_to_go(&mut retained, now) {
            if !overdue {
                queue.counters.displaced += u64::from(run.count());
            }
            gone.push(run);
        }
        lifecycle.retained = Some(retained).filter(|retained| retained.parking.messages > 0);
        for run in gone {
            self.leave(slot, &run, SettleReason::NoAck);
        }
    }
}

impl<C: Content> Lifecycle<C> {
    /// Takes the messages out that are to go first, if any are, and whether that is because their time is over.
    fn first_to_go(&self, retained: &mut Retained<C>, now: Millis) -> Option<(Run<C>, bool)> {
        while let Some(&(at, first, end)) = retained.due.first() {
            let overdue = at <= now;
            let bounds = self.terms.retention;
            // What has been brought back and handed over anew is retained for longer by now.
            let mut stale = self.deadlines.within(first, end);
            let stale = stale.find(|(_, _, until)| *until <= at);
            // What has no deadline any more is there no more, but for what a restart brought back without one.
            let (low, high) = match stale {
                Some((low, high, _)) => (low, high),
                None if at == Millis(0) => (first, end),
                None => {
                    retained.due.pop_first();
                    continue;
                }
            };
            let span = retained.parking.list.iter_from(low).next();
            let run = span.map(|span| &span.run).filter(|run| run.first.0 < high);
            let Some(run) = run else {
                retained.shorten(at, first, end, high);
                continue;
            };
            let (start, whole) = (run.first.0.max(low), run.end().0.min(high));
            let wanted = if overdue {
                u64::MAX
            } else {
                retained.beyond(bounds, run)
            };
            if wanted == 0 {
                return None;
            }
            let behind = start.saturating_add(wanted).min(whole);
            retained.shorten(at, first, end, behind);
            let mut taken = None;
            retained
                .parking
                .take(Seq(start), Seq(behind), |parked| taken = Some(parked.run));
            return taken.map(|run| (run, overdue));
        }
        None
    }
}

impl<C> Retained<C> {
    /// What is noted for `first..end` is done up to `to`.
    fn shorten(&mut self, at: Millis, first: u64, end: u64, to: u64) {
        self.due.remove(&(at, first, end));
        if to < end {
            self.due.insert((at, to, end));
        }
    }
}
