//! Where messages go that were delivered too often: they stay in their queue's accounting, out of everybody's way, until an
//! operator has them redriven or discarded.
//!
//! Where there is a dead-letter exchange they go there instead: [`Partition::limit_reached`] is where the two part.

use crate::ids::{QueueId, Seq};

use super::Partition;
use super::command::{ParkedFate, SettleReason};
use super::dead_list::Death;
use super::effect::Effect;
use super::marks::Marks;
use super::query::LiveRun;
use super::queue::Returned;
use super::run::{Content, Run};
use super::settlement::tell_settled;
use super::slots::Slot;
use super::spans::{Keep, Span, Spans};

/// The parked messages of one queue.
#[derive(Debug)]
pub(super) struct Parked<C> {
    pub(super) list: Spans<Returned<C>>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// Parked messages, as they are listed.
#[derive(Clone, Debug)]
pub struct ParkedRun<C> {
    /// The messages. Without content if it has to be read from the log.
    pub run: Run<C>,
    /// How often each was delivered.
    pub marks: Marks,
}

impl<C> Default for Parked<C> {
    fn default() -> Self {
        Self {
            list: Spans::default(),
            messages: 0,
            bytes: 0,
        }
    }
}

impl<C: Content> Parked<C> {
    pub(super) fn put(&mut self, parked: Returned<C>) {
        self.messages += u64::from(parked.run.count());
        self.bytes += u64::from(parked.run.bytes);
        self.list.insert(parked);
    }

    /// Takes out messages `first..end`.
    pub(super) fn take(&mut self, first: Seq, end: Seq, mut taken: impl FnMut(Returned<C>)) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
        self.list.take(first.0, end.0, Keep::Content, |parked| {
            *messages -= u64::from(parked.run.count());
            *bytes -= u64::from(parked.run.bytes);
            taken(parked);
        });
    }
}

impl<C: Content> Partition<C> {
    /// Messages came back that have failed more often than their queue allows.
    pub(super) fn limit_reached(&mut self, slot: Slot, run: Run<C>, marks: Marks) {
        let queue = &mut self.queues[slot];
        if queue.dead_letters() {
            return self.die(slot, run, marks, Death::DeliveryLimit);
        }
        self.effects.push(Effect::Parked {
            queue: queue.id,
            first: run.first,
            count: u32::from(run.count()),
            durable: run.location.is_durable(),
        });
        queue.parked.get_or_insert_default().put(Returned { run, marks });
    }

    /// Parked messages go back to their old place, as if they had never failed, or leave for good.
    pub(super) fn unpark(&mut self, queue: QueueId, first: Seq, end: Seq, fate: ParkedFate) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let reason = match fate {
            ParkedFate::Redrive => return self.redrive(slot, first, end),
            ParkedFate::Discard => SettleReason::ParkedDiscarded,
        };
        self.remove_parked(slot, first, end, reason);
    }

    fn redrive(&mut self, slot: Slot, first: Seq, end: Seq) {
        let Self {
            queues,
            effects,
            totals,
            ..
        } = self;
        let queue = &mut queues[slot];
        let Some(mut parking) = queue.parked.take() else {
            return;
        };
        parking.take(first, end, |Returned { run, mut marks }| {
            marks.failures = 0;
            effects.push(Effect::Unparked {
                queue: queue.id,
                first: run.first,
                count: u32::from(run.count()),
                durable: run.location.is_durable(),
            });
            totals.add_ready(&run);
            queue.put(run, marks);
        });
        queue.parked = Some(parking).filter(|parking| parking.messages > 0);
        self.touch(slot);
    }

    /// Parked messages are in no list any more.
    pub(super) fn remove_parked(&mut self, slot: Slot, first: Seq, end: Seq, reason: SettleReason) {
        let Self { queues, effects, .. } = self;
        let queue = &mut queues[slot];
        let Some(mut parking) = queue.parked.take() else {
            return;
        };
        parking.take(first, end, |Returned { run, .. }| {
            queue.leave(&run, reason);
            tell_settled(effects, queue.id, &run, reason);
        });
        queue.parked = Some(parking).filter(|parking| parking.messages > 0);
    }

    /// Parked messages of `queue` from `first` on, up to `most` runs; and where to go on if there are more.
    pub fn parked(&self, queue: QueueId, first: Seq, most: usize) -> (Vec<ParkedRun<C>>, Option<Seq>) {
        let slot = self.queue_slots.get(&queue);
        let parking = slot.and_then(|&slot| self.queues[slot].parked.as_ref());
        let mut left = parking
            .into_iter()
            .flat_map(|parking| parking.list.iter_from(first.0));
        let listed = |parked: &Returned<C>| {
            let mut run = parked.run.clone();
            let before = first.0.saturating_sub(run.first.0);
            if before > 0 {
                run.cut(before as u16, Keep::Nothing);
            }
            ParkedRun {
                run,
                marks: parked.marks,
            }
        };
        let runs = left.by_ref().take(most.max(1)).map(listed).collect();
        (runs, left.next().map(|parked| parked.run.first))
    }

    /// How many messages are parked in `queue`.
    pub fn parked_count(&self, queue: QueueId) -> u64 {
        let slot = self.queue_slots.get(&queue);
        let parking = slot.and_then(|&slot| self.queues[slot].parked.as_ref());
        parking.map_or(0, |parking| parking.messages)
    }

    /// The parked part of [`Partition::live`].
    pub(super) fn live_parked(&self, slot: Slot, first: Seq, end: Seq, live: &mut Vec<LiveRun>) {
        let Some(parking) = &self.queues[slot].parked else {
            return;
        };
        let parked = parking.list.iter_from(first.0);
        for parked in parked.take_while(|parked| parked.run.first < end) {
            let part = LiveRun::within(&parked.run, parked.marks, first, end);
            live.extend(part.map(|part| LiveRun { parked: true, ..part }));
        }
    }
}
