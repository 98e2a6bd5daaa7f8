//! What a queue keeps besides its messages when they do not stay for ever: deadlines, sizes of bodies, the dead, and when it
//! was last used. A plain queue has none of this.

use crate::ids::{Millis, Seq};
use crate::ranges::Ranges;
use crate::terms::{Overflow, Terms};

use super::dead_list::DeadList;
use super::retention::Retained;
use super::run::{Content, Run};

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Lifecycle<C> {
    pub(super) terms: Terms,
    /// When messages expire, by their numbers; those that never do are not in it.
    pub(super) deadlines: Ranges<Millis>,
    /// Bytes of each body, where the terms count them.
    pub(super) body_sizes: Ranges<u32>,
    /// Sum over the ready messages, where the terms count them.
    pub(super) ready_body_bytes: u64,
    pub(super) dead: DeadList<C>,
    /// What was handed over without acknowledgement and is retained, if anything is.
    pub(super) retained: Option<Box<Retained<C>>>,
    /// The queue's own life is counted from here; none before it has been looked at.
    pub(super) last_used: Option<Millis>,
    /// It has been told that the queue goes.
    pub(super) leaving: bool,
    /// When it is to be looked at, as the partition's timers know it.
    pub(super) due: Option<Millis>,
}

/// What a restart brings back of a queue besides its messages.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// When messages expire, by their numbers.
    pub deadlines: Ranges<Millis>,
    /// Bytes of each body, by number, where the terms count them.
    pub body_sizes: Ranges<u32>,
}

impl<C> Lifecycle<C> {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            deadlines: Ranges::default(),
            body_sizes: Ranges::default(),
            ready_body_bytes: 0,
            dead: DeadList::default(),
            retained: None,
            last_used: None,
            leaving: false,
            due: None,
        }
    }

    /// Of a queue with these terms; none if they are plain.
    pub(super) fn of(terms: Terms) -> Option<Box<Self>> {
        (!terms.is_plain()).then(|| Box::new(Self::new(terms)))
    }

    /// Whether there is nothing that a plain queue would not have.
    pub(super) fn is_spent(&self) -> bool {
        self.terms.is_plain() && self.deadlines.is_empty() && self.dead.is_empty() && self.retained.is_none()
    }

    /// Messages that enter get one chance to be delivered, however long the way through the log took them.
    pub(super) fn enter(&mut self, first: Seq, end: Seq, now: Millis) {
        let late = self
            .deadlines
            .within(first.0, end.0)
            .filter(|(_, _, at)| *at < now);
        let late: Vec<_> = late.collect();
        for (low, high, _) in late {
            self.deadlines.set(low, high, now);
        }
    }

    /// Messages begin their life anew; says when it ends.
    pub(super) fn renew<D>(&mut self, run: &Run<D>, now: Millis) -> Option<Millis> {
        let (first, end) = (run.first.0, run.end().0);
        self.deadlines.remove(first, end);
        let at = now.plus(self.terms.message_ttl_millis?);
        self.deadlines.set(first, end, at);
        Some(at)
    }

    /// Messages are in the queue no more.
    pub(super) fn forget<D>(&mut self, run: &Run<D>) {
        self.deadlines.remove(run.first.0, run.end().0);
        self.body_sizes.remove(run.first.0, run.end().0);
    }

    /// Whether the bytes of bodies count.
    pub(super) fn measures(&self) -> bool {
        // What is on a schedule is never ready: it counts with all that it takes up.
        self.terms.bytes_max.is_some() && !self.terms.scheduled
    }

    pub(super) fn body_bytes<D>(&self, run: &Run<D>) -> u64 {
        let sizes = self.body_sizes.within(run.first.0, run.end().0);
        sizes
            .map(|(low, high, size)| (high - low) * u64::from(size))
            .sum()
    }

    pub(super) fn ready<D>(&mut self, run: &Run<D>) {
        if self.measures() {
            self.ready_body_bytes += self.body_bytes(run);
        }
    }

    pub(super) fn unready<D>(&mut self, run: &Run<D>) {
        if self.measures() {
            self.ready_body_bytes -= self.body_bytes(run);
        }
    }

    /// How many messages in front of `run` are past their deadline, or, if `reached`, at it.
    pub(super) fn expired<D>(&self, run: &Run<D>, now: Millis, reached: bool) -> u16 {
        let mut end = run.first.0;
        for (low, high, at) in self.deadlines.within(run.first.0, run.end().0) {
            if low > end || !(at < now || reached && at == now) {
                break;
            }
            end = high;
        }
        (end - run.first.0) as u16
    }

    /// How many messages in front of `run` may still be delivered.
    pub(super) fn timely<D>(&self, run: &Run<D>, now: Millis) -> u64 {
        let mut deadlines = self.deadlines.within(run.first.0, run.end().0);
        let late = deadlines.find(|(_, _, at)| *at < now);
        late.map_or(u64::from(run.count()), |(low, _, _)| low - run.first.0)
    }

    /// How many messages in front of `run` are too many in a queue with `ready` messages that drops its head.
    pub(super) fn beyond<D>(&self, run: &Run<D>, ready: u64) -> u16 {
        if self.terms.overflow != Overflow::DropHead {
            return 0;
        }
        let by_count = self.terms.messages_max.map_or(0, |max| ready.saturating_sub(max));
        let by_count = by_count.min(u64::from(run.count())) as u16;
        by_count.max(self.beyond_bytes(run))
    }

    fn beyond_bytes<D>(&self, run: &Run<D>) -> u16 {
        let Some(max) = self.terms.bytes_max else {
            return 0;
        };
        let mut excess = self.ready_body_bytes.saturating_sub(max);
        let mut end = run.first.0;
        for (low, high, size) in self.body_sizes.within(run.first.0, run.end().0) {
            if excess == 0 {
                break;
            }
            let size = u64::from(size);
            let wanted = excess.div_ceil(size.max(1)).min(high - low);
            end = low + wanted;
            excess = excess.saturating_sub(wanted * size);
        }
        (end - run.first.0) as u16
    }

    /// When a queue without consumers goes.
    pub(super) fn lease_ends(&self) -> Option<Millis> {
        Some(self.last_used?.plus(self.terms.expires_millis?))
    }
}

impl<C: Content> Lifecycle<C> {
    /// As [`Lifecycle::measure`], for all that is retained.
    pub(super) fn measure_retained(&mut self) {
        let Some(retained) = self.retained.take() else {
            return;
        };
        let parking = &retained.parking;
        parking.list.iter().for_each(|parked| self.measure(&parked.run));
        self.retained = Some(retained);
    }

    /// Takes down the sizes of bodies where they count: as they are if the content is at hand or they are known already, else as
    /// even shares of what the messages take.
    pub(super) fn measure(&mut self, run: &Run<C>) {
        if !self.measures() {
            return;
        }
        let share = run.bytes / u32::from(run.count());
        for (offset, seq) in (run.first.0..run.end().0).enumerate() {
            if self.body_sizes.get(seq).is_none() {
                let (content, index) = (run.content.as_ref(), run.from + offset as u16);
                let size = content.map_or(share, |content| match self.terms.counts_all_bytes {
                    true => content.all_bytes(index),
                    false => content.body_bytes(index),
                });
                self.body_sizes.set(seq, seq + 1, size);
            }
        }
    }
}
