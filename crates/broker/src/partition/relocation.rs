//! Survivors of old segments are somewhere else now.

use crate::ids::{QueueId, Seq};

use super::command::Move;
use super::consumer::Unsettled;
use super::dead_list::Dead;
use super::effect::Effect;
use super::parking::Parked;
use super::queue::Returned;
use super::run::{Content, Run, segment};
use super::slots::Slot;
use super::spans::{Keep, Span, Spans};
use super::{Partition, Totals};

impl<C: Content> Partition<C> {
    pub(super) fn relocate(&mut self, queue: QueueId, mut moves: Vec<Move>) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        moves.sort_unstable_by_key(|step| step.first);
        let (Some(first), Some(last)) = (moves.first(), moves.last()) else {
            return;
        };
        let held = self.held(slot, first.first, last.end());
        let Self {
            queues,
            consumers,
            effects,
            totals,
            ..
        } = self;
        let mut moving = Moving {
            queue,
            totals,
            effects,
        };
        let queue = &mut queues[slot];
        for step in &moves {
            for (main, returned) in queue.lists_mut() {
                moving.relocate(main, step.first.0, step.end().0, step);
                moving.relocate(returned, step.first.0, step.end().0, step);
            }
            for parking in queue.stores_mut() {
                moving.relocate(&mut parking.list, step.first.0, step.end().0, step);
            }
            if let Some(delayed) = &mut queue.delayed {
                moving.relocate(&mut delayed.list, step.first.0, step.end().0, step);
            }
            if let Some(lifecycle) = &mut queue.lifecycle {
                for list in lifecycle.dead.lists_mut() {
                    moving.relocate(list, step.first.0, step.end().0, step);
                }
            }
        }
        for (consumer, delivery, end) in held {
            moving.relocate_window(&mut consumers[consumer].window, delivery, end, &moves);
        }
    }

    /// Which deliveries of which consumers are messages `first..end` of a queue: (consumer, first delivery, the one behind).
    pub(super) fn held(&self, slot: Slot, first: Seq, end: Seq) -> Vec<(Slot, u64, u64)> {
        let mut held = Vec::new();
        let queue = &self.queues[slot];
        if queue.unsettled == 0 {
            return held;
        }
        for &consumer in &queue.members {
            for unsettled in self.consumers[consumer].window.iter_seqs(first.0, end.0) {
                let run = &unsettled.run;
                let low = unsettled.delivery + first.0.saturating_sub(run.first.0);
                let high = unsettled.end() - run.end().0.saturating_sub(end.0);
                held.push((consumer, low, high));
            }
        }
        held
    }
}

impl Move {
    fn end(&self) -> Seq {
        self.first.plus(u64::from(self.count))
    }
}

/// What is told and counted while messages move.
struct Moving<'a, C> {
    queue: QueueId,
    totals: &'a mut Totals,
    effects: &'a mut Vec<Effect<C>>,
}

impl<C: Content> Moving<'_, C> {
    /// Applies one move to what lies within `start..end` of a list.
    fn relocate<T: Span + Relocatable<C>>(
        &mut self,
        spans: &mut Spans<T>,
        start: u64,
        end: u64,
        step: &Move,
    ) {
        let mut moved = Vec::new();
        spans.take(start, end, Keep::Content, |span| moved.push(span));
        for mut span in moved {
            self.relocate_run(span.run(), step);
            spans.insert(span);
        }
    }

    /// Applies all moves to deliveries `start..end`, which are neighbours in the queue as well.
    fn relocate_window(&mut self, window: &mut Spans<Unsettled<C>>, start: u64, end: u64, moves: &[Move]) {
        let Some(span) = window.iter_from(start).next() else {
            return;
        };
        let offset = |seq: Seq| span.delivery + seq.0.saturating_sub(span.run.first.0);
        let at = moves.partition_point(|step| step.end() <= span.run.first);
        let parts: Vec<_> = moves[at..]
            .iter()
            .map(|step| (offset(step.first), offset(step.end()).min(end), step))
            .take_while(|(low, _, _)| *low < end)
            .collect();
        for (low, high, step) in parts {
            self.relocate(window, low, high, step);
        }
    }

    fn relocate_run(&mut self, run: &mut Run<C>, step: &Move) {
        // A transient run is nowhere, and a second telling of the same move changes nothing.
        if !run.location.is_durable() || run.location == step.location {
            return;
        }
        let from = step.from + (run.first.0 - step.first.0) as u16;
        self.tell(run, step);
        if from != run.from && run.content.take().is_some() {
            // The batch in memory has other indices than the new record: it is read from there when it is needed.
            self.totals.resident_bytes -= u64::from(run.bytes);
        }
        run.to = from + run.count();
        run.from = from;
        run.location = step.location;
    }

    fn tell(&mut self, run: &Run<C>, step: &Move) {
        let run_bytes = u64::from(run.bytes);
        if let Some(Effect::Relocated {
            queue,
            first,
            count,
            old,
            location,
            bytes,
        }) = self.effects.last_mut()
            && *queue == self.queue
            && first.plus(u64::from(*count)) == run.first
            && segment(*old) == segment(run.location)
            && segment(*location) == segment(step.location)
            && let Some(sum) = count.checked_add(u32::from(run.count()))
        {
            *count = sum;
            *bytes += run_bytes;
            return;
        }
        self.effects.push(Effect::Relocated {
            queue: self.queue,
            first: run.first,
            count: u32::from(run.count()),
            old: run.location,
            location: step.location,
            bytes: run_bytes,
        });
    }
}

/// A span that is about one run.
trait Relocatable<C> {
    fn run(&mut self) -> &mut Run<C>;
}

impl<C> Relocatable<C> for Run<C> {
    fn run(&mut self) -> &mut Run<C> {
        self
    }
}

impl<C> Relocatable<C> for Returned<C> {
    fn run(&mut self) -> &mut Run<C> {
        &mut self.run
    }
}

impl<C> Relocatable<C> for Parked<C> {
    fn run(&mut self) -> &mut Run<C> {
        &mut self.run
    }
}

impl<C> Relocatable<C> for Dead<C> {
    fn run(&mut self) -> &mut Run<C> {
        &mut self.run
    }
}

impl<C> Relocatable<C> for Unsettled<C> {
    fn run(&mut self) -> &mut Run<C> {
        &mut self.run
    }
}
