//! Messages that are set aside: they stay in their queue's accounting, out of everybody's way, until an operator has them
//! redriven or discarded.
//!
//! There are two stores. *Parked* is what was delivered too often, or died and lost the dead-letter exchange that it was to go
//! through; it stays for as long as nobody decides. *Retained* is what was handed over to somebody who does not acknowledge; it goes by
//! itself after a while ([`super::retention`]).

use crate::ids::{Millis, QueueId, Seq};

use super::Partition;
use super::command::{ParkedFate, SettleReason, Store};
use super::dead_list::Death;
use super::effect::Effect;
use super::marks::Marks;
use super::query::LiveRun;
use super::queue::Queue;
use super::run::{Content, Run};
use super::settlement::{tell_returned, tell_settled};
use super::slots::Slot;
use super::spans::{Keep, Span, Spans};

/// Why messages are set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aside {
    /// They are parked, and died of this.
    Parked(Death),
    /// They were handed over without acknowledgement, and are retained for a while.
    Retained,
}

impl Aside {
    /// Where they are.
    pub fn store(self) -> Store {
        match self {
            Aside::Parked(_) => Store::Parked,
            Aside::Retained => Store::Retained,
        }
    }
}

/// Messages in a row that are set aside for the same reason.
#[derive(Clone, Debug)]
pub struct Parked<C> {
    /// The messages. Without content if it has to be read from the log.
    pub run: Run<C>,
    /// How often each was delivered before.
    pub marks: Marks,
    /// Why they are here.
    pub why: Aside,
}

/// One store of a queue.
#[derive(Debug)]
pub(super) struct Parking<C> {
    pub(super) list: Spans<Parked<C>>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// What an order about messages that are set aside comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// How many it concerns.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many would go back, but find no room in their queue: they stay.
    pub no_room: u64,
    /// The number behind the last that it concerns.
    pub end: Seq,
    /// Where to go on, if there is more than was looked at.
    pub next: Option<Seq>,
}

impl<C> Default for Parking<C> {
    fn default() -> Self {
        Self {
            list: Spans::default(),
            messages: 0,
            bytes: 0,
        }
    }
}

impl<C: Content> Parking<C> {
    pub(super) fn put(&mut self, parked: Parked<C>) {
        self.messages += u64::from(parked.run.count());
        self.bytes += u64::from(parked.run.bytes);
        self.list.insert(parked);
    }

    /// Takes out messages `first..end`.
    pub(super) fn take(&mut self, first: Seq, end: Seq, mut taken: impl FnMut(Parked<C>)) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
        self.list.take(first.0, end.0, Keep::Content, |parked| {
            *messages -= u64::from(parked.run.count());
            *bytes -= u64::from(parked.run.bytes);
            taken(parked);
        });
    }
}

impl<C: Content> Queue<C> {
    /// One of its stores, if anything is there.
    pub(super) fn store(&self, store: Store) -> Option<&Parking<C>> {
        match store {
            Store::Parked => self.parked.as_deref(),
            Store::Retained => {
                let retained = self.lifecycle.as_ref()?.retained.as_ref()?;
                Some(&retained.parking)
            }
        }
    }

    /// All of its stores.
    pub(super) fn stores_mut(&mut self) -> impl Iterator<Item = &mut Parking<C>> {
        let lifecycle = self.lifecycle.iter_mut();
        let retained = lifecycle.flat_map(|lifecycle| lifecycle.retained.iter_mut());
        let parked = self.parked.iter_mut().map(|parked| &mut **parked);
        parked.chain(retained.map(|retained| &mut retained.parking))
    }

    /// Puts messages aside that are in no list now.
    pub(super) fn set_aside(&mut self, parked: Parked<C>) {
        match parked.why {
            Aside::Parked(_) => self.parked.get_or_insert_default().put(parked),
            Aside::Retained => self.retain(parked),
        }
    }

    /// Takes messages `first..end` out of a store.
    pub(super) fn take_aside(&mut self, store: Store, first: Seq, end: Seq) -> Vec<Parked<C>> {
        let mut taken = Vec::new();
        let parking = match store {
            Store::Parked => self.parked.as_deref_mut(),
            Store::Retained => {
                let lifecycle = self.lifecycle.as_mut();
                let retained = lifecycle.and_then(|lifecycle| lifecycle.retained.as_mut());
                retained.map(|retained| &mut retained.parking)
            }
        };
        if let Some(parking) = parking {
            parking.take(first, end, |parked| taken.push(parked));
        }
        self.parked = self.parked.take().filter(|parking| parking.messages > 0);
        self.forget_retained();
        taken
    }

    /// What its limits leave room for.
    fn room(&self) -> Room {
        let Some(lifecycle) = &self.lifecycle else {
            return Room::ENDLESS;
        };
        let left = |max: Option<u64>, taken: u64| max.map_or(u64::MAX, |max| max.saturating_sub(taken));
        Room {
            messages: left(lifecycle.terms.messages_max, self.ready),
            bytes: left(lifecycle.terms.bytes_max, lifecycle.ready_body_bytes),
        }
    }

    /// How many of the messages `low..high` fit in, in their order; takes the room that they need.
    fn fitting(&self, low: u64, high: u64, room: &mut Room) -> u64 {
        if room.is_endless() {
            return high - low;
        }
        let sizes = self.lifecycle.as_ref().map(|lifecycle| &lifecycle.body_sizes);
        let size = |seq| sizes.and_then(|sizes| sizes.get(seq)).map_or(0, u64::from);
        (low..high).take_while(|&seq| room.take(size(seq))).count() as u64
    }
}

/// How much more may be ready in a queue.
struct Room {
    messages: u64,
    bytes: u64,
}

impl Room {
    const ENDLESS: Self = Self {
        messages: u64::MAX,
        bytes: u64::MAX,
    };

    fn is_endless(&self) -> bool {
        self.messages == u64::MAX && self.bytes == u64::MAX
    }

    /// Takes the room of one message, if there is so much.
    fn take(&mut self, bytes: u64) -> bool {
        if self.messages == 0 || bytes > self.bytes {
            return false;
        }
        for (left, taken) in [(&mut self.messages, 1), (&mut self.bytes, bytes)] {
            if *left < u64::MAX {
                *left -= taken;
            }
        }
        true
    }
}

impl<C: Content> Partition<C> {
    /// Messages came back that have failed more often than their queue allows.
    pub(super) fn limit_reached(&mut self, slot: Slot, run: Run<C>, marks: Marks) {
        if self.queues[slot].dead_letters() {
            return self.die(slot, run, marks, Death::DeliveryLimit);
        }
        self.park(slot, run, marks, Death::DeliveryLimit);
    }

    /// Messages that are in no list any more are parked. Their time stands still.
    pub(super) fn park(&mut self, slot: Slot, run: Run<C>, marks: Marks, why: Death) {
        let queue = &mut self.queues[slot];
        if let Some(lifecycle) = &mut queue.lifecycle {
            lifecycle.deadlines.remove(run.first.0, run.end().0);
        }
        self.effects.push(Effect::Parked {
            queue: queue.id,
            first: run.first,
            count: u32::from(run.count()),
            durable: run.location.is_durable(),
            why,
        });
        let why = Aside::Parked(why);
        queue.set_aside(Parked { run, marks, why });
    }

    /// Messages that were set aside go back to their old place, as if they had never failed, or leave for good.
    pub(super) fn unpark(&mut self, queue: QueueId, store: Store, first: Seq, end: Seq, fate: ParkedFate) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        match (fate, store) {
            (ParkedFate::Redrive, _) => self.redrive(slot, store, first, end),
            (ParkedFate::Discard, Store::Parked) => {
                self.remove_aside(slot, store, first, end, SettleReason::ParkedDiscarded);
            }
            // Who got them has been done with them all along.
            (ParkedFate::Discard, Store::Retained) => {
                self.remove_aside(slot, store, first, end, SettleReason::NoAck);
            }
        }
    }

    /// What there is room for goes back. Nothing is let in that the limits of the queue would have dropped at once.
    fn redrive(&mut self, slot: Slot, store: Store, first: Seq, end: Seq) {
        let (now, queue) = (self.now, &mut self.queues[slot]);
        let weighed = queue.weigh(store, first, end, ParkedFate::Redrive, usize::MAX);
        for Parked { run, mut marks, .. } in queue.take_aside(store, first, weighed.end) {
            let (id, count) = (queue.id, u32::from(run.count()));
            if store == Store::Retained {
                marks = marks.returned(false);
                queue.counters.returned += u64::from(count);
                tell_returned(&mut self.effects, id, &run, marks, false);
            }
            marks.failures = 0;
            let lifecycle = queue.lifecycle.as_mut();
            let expires = lifecycle.and_then(|lifecycle| lifecycle.renew(&run, now));
            self.effects.push(Effect::Unparked {
                queue: id,
                first: run.first,
                count,
                durable: run.location.is_durable(),
                expires,
            });
            self.totals.add_ready(&run);
            queue.put(run, marks);
        }
        self.touch(slot);
    }

    /// Messages that were set aside are in no list any more.
    pub(super) fn remove_aside(
        &mut self,
        slot: Slot,
        store: Store,
        first: Seq,
        end: Seq,
        reason: SettleReason,
    ) {
        let Self { queues, effects, .. } = self;
        let queue = &mut queues[slot];
        for Parked { run, .. } in queue.take_aside(store, first, end) {
            queue.leave(&run, reason);
            tell_settled(effects, queue.id, &run, reason);
        }
    }

    /// Messages of `queue` that are set aside, from `first` on, up to `most` runs; and where to go on if there are more.
    pub fn set_aside(
        &self,
        queue: QueueId,
        store: Store,
        first: Seq,
        most: usize,
    ) -> (Vec<Parked<C>>, Option<Seq>) {
        let slot = self.queue_slots.get(&queue);
        let parking = slot.and_then(|&slot| self.queues[slot].store(store));
        let mut left = parking
            .into_iter()
            .flat_map(|parking| parking.list.iter_from(first.0));
        let listed = |parked: &Parked<C>| Parked {
            run: parked.run.starting_at(first),
            ..*parked
        };
        let runs = left.by_ref().take(most.max(1)).map(listed).collect();
        (runs, left.next().map(|parked| parked.run.first))
    }

    /// What [`super::Command::Unpark`] of these messages would come to, of `most` runs at the most.
    pub fn weigh(
        &self,
        queue: QueueId,
        store: Store,
        first: Seq,
        end: Seq,
        fate: ParkedFate,
        most: usize,
    ) -> Weighed {
        let slot = self.queue_slots.get(&queue);
        slot.map_or_else(Weighed::default, |&slot| {
            self.queues[slot].weigh(store, first, end, fate, most)
        })
    }

    /// Until when retained messages are, and when others expire.
    pub fn deadline(&self, queue: QueueId, seq: Seq) -> Option<Millis> {
        let slot = self.queue_slots.get(&queue)?;
        self.queues[*slot].lifecycle.as_ref()?.deadlines.get(seq.0)
    }

    /// The part of [`Partition::live`] that is set aside.
    pub(super) fn live_aside(&self, slot: Slot, first: Seq, end: Seq, live: &mut Vec<LiveRun>) {
        for store in [Store::Parked, Store::Retained] {
            let Some(parking) = self.queues[slot].store(store) else {
                continue;
            };
            let parked = parking.list.iter_from(first.0);
            for parked in parked.take_while(|parked| parked.run.first < end) {
                let part = LiveRun::within(&parked.run, parked.marks, first, end);
                let aside = Some(parked.why);
                live.extend(part.map(|part| LiveRun { aside, ..part }));
            }
        }
    }
}

impl<C: Content> Queue<C> {
    fn weigh(&self, store: Store, first: Seq, end: Seq, fate: ParkedFate, most: usize) -> Weighed {
        let mut weighed = Weighed {
            end: first,
            ..Weighed::default()
        };
        let mut room = match fate {
            ParkedFate::Redrive => self.room(),
            ParkedFate::Discard => Room::ENDLESS,
        };
        let runs = self.store(store).into_iter();
        let runs = runs.flat_map(|parking| parking.list.iter_from(first.0));
        for (at, Parked { run, .. }) in runs.enumerate() {
            if run.first >= end {
                break;
            }
            if at == most {
                weighed.next = Some(run.first);
                break;
            }
            let (low, high) = (run.first.0.max(first.0), run.end().0.min(end.0));
            let fits = match weighed.no_room {
                0 => self.fitting(low, high, &mut room),
                _ => 0,
            };
            weighed.no_room += high - low - fits;
            if fits > 0 {
                weighed.messages += fits;
                weighed.bytes += u64::from(run.bytes) * fits / u64::from(run.count());
                weighed.end = Seq(low + fits);
            }
        }
        weighed
    }
}

impl<C: Content> Span for Parked<C> {
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
        Parked {
            run: self.run.cut(count, keep),
            ..*self
        }
    }

    fn shrink(&mut self) {
        self.run.compact();
    }

    fn absorb(&mut self, next: &Self) -> bool {
        (self.marks, self.why) == (next.marks, next.why) && self.run.absorb(&next.run)
    }
}
