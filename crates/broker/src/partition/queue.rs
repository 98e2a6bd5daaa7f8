//! One queue: what is ready in which order, who consumes, and what became of the rest.

use crate::ids::{QueueId, Seq};

use super::SettleReason;
use super::counters::Counters;
use super::levels::{self, Levels};
use super::lifecycle::Lifecycle;
use super::marks::Marks;
use super::parking::Parking;
use super::retry::{Delayed, Wait};
use super::ring::Ring;
use super::rules::Rules;
use super::run::{Content, Run};
use super::single::Single;
use super::slots::Slot;
use super::spans::{Keep, Span, Spans};

/// A queue. Ready messages are in two lists, in order of their numbers each; the lower front goes first.
#[derive(Debug)]
pub(super) struct Queue<C> {
    pub(super) id: QueueId,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    /// What came in order and was not delivered yet.
    pub(super) main: Spans<Run<C>>,
    /// What came back to its old place, or came out of order.
    pub(super) returned: Spans<Returned<C>>,
    /// What is more or less urgent than those, if anything is.
    pub(super) levels: Option<Box<Levels<C>>>,
    /// Ready messages in all lists.
    pub(super) ready: u64,
    pub(super) ready_bytes: u64,
    /// What was delivered too often, if anything was.
    pub(super) parked: Option<Box<Parking<C>>>,
    /// What waits before it is delivered again, or for its time, if the queue has a rule for that.
    pub(super) delayed: Option<Box<Delayed<C>>>,
    /// Whether failed deliveries are counted.
    pub(super) counts_failures: bool,
    /// How many of them a message may have.
    pub(super) delivery_limit: Option<u16>,
    /// Messages in the windows of consumers.
    pub(super) unsettled: u64,
    /// Above all numbers that ever came.
    pub(super) next_seq: Seq,
    /// Everything below was there at the last start and may have been delivered before it.
    pub(super) redelivered_below: Seq,
    pub(super) counters: Counters,
    /// Consumers that can take messages, by falling priority.
    pub(super) lines: Vec<Line>,
    /// No line before this one has anybody in it.
    pub(super) line_first: usize,
    /// All consumers that are delivered to or hold messages of this queue.
    pub(super) members: Vec<Slot>,
    /// Consumers that are delivered to.
    pub(super) consumers: u32,
    /// Whether its only consumer has it to itself.
    pub(super) exclusive: bool,
    /// If only one consumer is delivered to: which one, and who waits.
    pub(super) single: Option<Box<Single>>,
    /// Whether it is on the list of queues to look at when the round ends.
    pub(super) touched: bool,
    /// Runs that were appended since the last round.
    pub(super) fresh: usize,
    /// What a queue needs whose messages do not stay for ever.
    pub(super) lifecycle: Option<Box<Lifecycle<C>>>,
}

/// Consumers of one priority.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) priority: i32,
    pub(super) ring: Ring,
    /// Consumers of this priority, in the ring or not.
    pub(super) members: u32,
}

impl<C: Content> Queue<C> {
    pub(super) fn new(id: QueueId, durable: bool, auto_delete: bool, rules: &Rules) -> Self {
        Self {
            id,
            durable,
            auto_delete,
            main: Spans::default(),
            returned: Spans::default(),
            levels: None,
            ready: 0,
            ready_bytes: 0,
            parked: None,
            delayed: Wait::of(rules).map(|rule| Box::new(Delayed::new(rule))),
            counts_failures: rules.counts_failures,
            delivery_limit: rules.delivery_limit,
            unsettled: 0,
            next_seq: Seq(1),
            redelivered_below: Seq(0),
            counters: Counters::default(),
            lines: Vec::new(),
            line_first: 0,
            members: Vec::new(),
            consumers: 0,
            exclusive: false,
            single: rules
                .single_active
                .map(|takeover| Box::new(Single::new(takeover))),
            touched: false,
            fresh: 0,
            lifecycle: Lifecycle::of(rules.terms),
        }
    }

    /// The line of a priority, which is made if it is missing.
    pub(super) fn line(&mut self, priority: i32) -> usize {
        let at = self.lines.partition_point(|line| line.priority > priority);
        if self.lines.get(at).is_none_or(|line| line.priority != priority) {
            self.lines.insert(
                at,
                Line {
                    priority,
                    ring: Ring::default(),
                    members: 0,
                },
            );
        }
        at
    }

    /// Messages that have died and are not yet through the dead-letter exchange.
    pub(super) fn dead(&self) -> u64 {
        self.lifecycle
            .as_ref()
            .map_or(0, |lifecycle| lifecycle.dead.messages)
    }

    /// Whether what dies goes through a dead-letter exchange.
    pub(super) fn dead_letters(&self) -> bool {
        let lifecycle = self.lifecycle.as_ref();
        lifecycle.is_some_and(|lifecycle| lifecycle.terms.dead_letters)
    }

    /// A run is ready no more.
    pub(super) fn unready(&mut self, run: &Run<C>) {
        self.ready -= u64::from(run.count());
        self.ready_bytes -= u64::from(run.bytes);
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.unready(run);
        }
    }

    /// Counts a run out that is in no list any more.
    pub(super) fn leave(&mut self, run: &Run<C>, reason: SettleReason) {
        self.counters
            .leave(u64::from(run.count()), u64::from(run.bytes), reason);
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.forget(run);
        }
    }

    /// The consumers of the highest priority that can take messages.
    pub(super) fn foremost(&mut self) -> Option<&mut Ring> {
        while self.lines.get(self.line_first)?.ring.is_empty() {
            self.line_first += 1;
        }
        Some(&mut self.lines[self.line_first].ring)
    }
}

impl<C: Content> Queue<C> {
    /// The run that is delivered next.
    pub(super) fn front(&self) -> Option<&Run<C>> {
        if let Some(levels) = &self.levels
            && let Some(front) = levels.front(self.usual_is_empty())
        {
            return Some(front);
        }
        levels::front(&self.main, &self.returned)
    }

    /// Takes the first `count` messages of the front run, and how often they had been delivered before.
    pub(super) fn take_front(&mut self, count: u16) -> (Run<C>, Marks) {
        let (run, marks) = if self.levels.is_some() {
            self.take_foremost(count)
        } else {
            take_first(&mut self.main, &mut self.returned, count, 0)
        };
        self.unready(&run);
        (run, marks)
    }

    #[inline(never)]
    fn take_foremost(&mut self, count: u16) -> (Run<C>, Marks) {
        let usual_is_empty = self.usual_is_empty();
        let level = self
            .levels
            .as_mut()
            .and_then(|levels| levels.foremost(usual_is_empty));
        let Some(level) = level else {
            return take_first(&mut self.main, &mut self.returned, count, 0);
        };
        let taken = take_first(&mut level.main, &mut level.returned, count, level.rank);
        if level.is_empty() {
            self.tidy();
        }
        taken
    }

    /// Forgets the lists of ranks that have no messages any more.
    pub(super) fn tidy(&mut self) {
        if let Some(levels) = &mut self.levels {
            levels.tidy();
        }
        self.levels = self.levels.take().filter(|levels| !levels.is_empty());
    }

    fn usual_is_empty(&self) -> bool {
        self.main.front().is_none() && self.returned.front().is_none()
    }

    /// The ready messages by lists, in no particular order of lists. Call [`Queue::tidy`] after taking any out.
    pub(super) fn lists_mut(
        &mut self,
    ) -> impl Iterator<Item = (&mut Spans<Run<C>>, &mut Spans<Returned<C>>)> {
        let levels = self.levels.iter_mut().flat_map(|levels| levels.iter_mut());
        let usual = std::iter::once((&mut self.main, &mut self.returned));
        usual.chain(levels.map(|level| (&mut level.main, &mut level.returned)))
    }

    /// As [`Queue::lists_mut`], with the rank of each.
    pub(super) fn lists(&self) -> impl Iterator<Item = (i16, &Spans<Run<C>>, &Spans<Returned<C>>)> {
        let levels = self.levels.iter().flat_map(|levels| levels.iter());
        let usual = std::iter::once((0, &self.main, &self.returned));
        usual.chain(levels.map(|level| (level.rank, &level.main, &level.returned)))
    }

    /// All ready runs, in no particular order.
    pub(super) fn ready_runs(&self) -> impl Iterator<Item = &Run<C>> {
        self.lists()
            .flat_map(|(_, main, returned)| main.iter().chain(returned.iter().map(|returned| &returned.run)))
    }

    /// Makes messages ready that are not in the queue now.
    #[inline]
    pub(super) fn put(&mut self, run: Run<C>, marks: Marks) {
        self.ready += u64::from(run.count());
        self.ready_bytes += u64::from(run.bytes);
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.ready(&run);
        }
        if marks.rank != 0 {
            return self.put_ranked(run, marks);
        }
        if marks == Marks::default() && run.first >= self.next_seq {
            self.next_seq = run.end();
            self.fresh += 1;
            self.main.push_back(run);
        } else {
            self.next_seq = self.next_seq.max(run.end());
            self.returned.insert(Returned { run, marks });
        }
    }

    /// Puts messages back that counted as ready all along.
    pub(super) fn put_back(&mut self, run: Run<C>, marks: Marks) {
        if marks.rank == 0 {
            self.returned.insert(Returned { run, marks });
        } else {
            self.put_ranked(run, marks);
        }
    }

    fn put_ranked(&mut self, run: Run<C>, marks: Marks) {
        let in_order = marks == Marks::ranked(marks.rank) && run.first >= self.next_seq;
        self.next_seq = self.next_seq.max(run.end());
        self.levels.get_or_insert_default().put(run, marks, in_order);
    }

    /// Whether these messages may have been delivered before.
    pub(super) fn is_redelivered(&self, run: &Run<C>, marks: Marks) -> bool {
        marks.deliveries > 0 || run.first < self.redelivered_below
    }

    /// Whether there are messages that a condition on emptiness is to keep.
    pub(super) fn keeps_any(&self) -> bool {
        let delayed = self.delayed.as_ref().map_or(0, |delayed| delayed.messages);
        self.ready + delayed + self.dead() > 0 || self.parked.is_some()
    }

    /// Whether what came back waits before it is delivered again.
    pub(super) fn delays(&self, failed: bool) -> bool {
        let delayed = self.delayed.as_ref();
        delayed.is_some_and(|delayed| delayed.rule.delays(failed))
    }

    /// Whether messages with these marks have failed too often.
    pub(super) fn gives_up(&self, marks: Marks) -> bool {
        self.delivery_limit.is_some_and(|limit| marks.failures > limit)
    }
}

/// Takes the first `count` messages of the front run of two lists, of which `main` has messages of one rank that were never
/// delivered.
#[inline(always)]
fn take_first<C: Content>(
    main: &mut Spans<Run<C>>,
    returned: &mut Spans<Returned<C>>,
    count: u16,
    rank: i16,
) -> (Run<C>, Marks) {
    if levels::returned_first(main, returned) {
        let Returned { run, marks } = take_front(returned, count);
        (run, marks)
    } else {
        (take_front(main, count), Marks::ranked(rank))
    }
}

#[inline(always)]
fn take_front<T: Span>(spans: &mut Spans<T>, count: u16) -> T {
    let front = spans.front_mut().expect("the caller has seen the front");
    if count < front.count() {
        return front.cut(count, Keep::Content);
    }
    spans.pop_front().expect("the caller has seen the front")
}

/// Messages that are ready again.
#[derive(Debug)]
pub(super) struct Returned<C> {
    pub(super) run: Run<C>,
    /// How often they have been delivered and came back; nothing for those that only came out of order.
    pub(super) marks: Marks,
}

impl<C: Content> Span for Returned<C> {
    fn start(&self) -> u64 {
        self.run.first.0
    }

    fn count(&self) -> u16 {
        self.run.count()
    }

    fn seq(&self) -> u64 {
        self.run.first.0
    }

    fn cut(&mut self, count: u16, keep: Keep) -> Self {
        Returned {
            run: self.run.cut(count, keep),
            marks: self.marks,
        }
    }

    fn shrink(&mut self) {
        self.run.compact();
    }

    fn absorb(&mut self, next: &Self) -> bool {
        self.marks == next.marks && self.run.absorb(&next.run)
    }
}
