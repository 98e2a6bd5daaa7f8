//! Looking into a partition without changing it.

use crate::ids::{ConsumerId, Location, Millis, QueueId, Seq, Ticket};

use super::command::Store;
use super::consumer::{Consumer, Kind};
use super::effect::{Effect, Refusal};
use super::marks::Marks;
use super::parking::Aside;
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::Span;
use super::{Counters, Partition};

/// How much is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Ready messages.
    pub ready: u64,
    /// Their bytes.
    pub ready_bytes: u64,
    /// Messages delivered and not settled.
    pub unsettled: u64,
    /// Messages that came back and wait before they are delivered again; of a queue on a schedule, those that wait for their time.
    pub delayed: u64,
    /// Their bytes.
    pub delayed_bytes: u64,
    /// Messages that were delivered too often and wait for an operator.
    pub parked: u64,
    /// Their bytes.
    pub parked_bytes: u64,
    /// Messages that were handed over without acknowledgement, and are retained for a while.
    pub retained: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Messages that have died and are not yet through the dead-letter exchange.
    pub dead: u64,
    /// Their bytes.
    pub dead_bytes: u64,
    /// Consumers.
    pub consumers: u32,
    /// Of those, the ones that do not acknowledge.
    pub consumers_no_ack: u32,
    /// Whether the queue was created as durable.
    pub durable: bool,
    /// Above all numbers that ever came.
    pub next_seq: Seq,
    /// What became of all its messages.
    pub counters: Counters,
    /// When what is held for longest was delivered; up to a second earlier, or a 32nd of the time, if much was delivered.
    pub oldest_unsettled: Option<Millis>,
}

/// Messages that are still there, ready or unsettled: what a checkpoint keeps of a durable run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRun {
    /// The first message.
    pub first: Seq,
    /// The record that holds them.
    pub location: Location,
    /// Their bytes.
    pub bytes: u32,
    /// Index of the first in the record.
    pub from: u16,
    /// Index behind the last.
    pub to: u16,
    /// How often they have been delivered and came back. Unsettled messages are as they were before their delivery.
    pub marks: Marks,
    /// Whether they are set aside, and why.
    pub aside: Option<Aside>,
    /// Whether they were rejected, and are not through the dead-letter exchange of their queue.
    pub rejected: bool,
}

/// Messages in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// Where they are.
    pub queue: QueueId,
    /// The first.
    pub first: Seq,
    /// How many.
    pub count: u32,
    /// Whether they are in the log.
    pub durable: bool,
}

impl<C: Content> Partition<C> {
    /// Ready messages of all queues.
    pub fn ready(&self) -> u64 {
        self.totals.ready
    }

    /// Bytes of the ready messages of all queues.
    pub fn ready_bytes(&self) -> u64 {
        self.totals.ready_bytes
    }

    /// Bytes of durable ready messages that are in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.totals.resident_bytes
    }

    /// Consumers of all queues.
    pub fn consumer_count(&self) -> u64 {
        self.totals.consumers
    }

    /// Whether a consumer is there: delivered to, cancelled but holding messages, or a pseudo consumer of `Get`.
    pub fn knows(&self, consumer: ConsumerId) -> bool {
        self.consumer_slots.contains_key(&consumer)
    }

    /// What became of all messages, those of deleted queues included. Looks at every queue.
    pub fn counters(&self) -> Counters {
        let mut sum = self.totals.deleted;
        self.queues.iter().for_each(|(_, queue)| sum.add(&queue.counters));
        sum
    }

    /// What became of the messages of queues that are gone.
    pub fn deleted_counters(&self) -> Counters {
        self.totals.deleted
    }

    /// All queues, in no particular but a repeatable order.
    pub fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.queues.iter().map(|(_, queue)| queue.id)
    }

    /// How much is in a queue; `None` if it is not there.
    pub fn depth(&self, queue: QueueId) -> Option<Depth> {
        let queue = &self.queues[*self.queue_slots.get(&queue)?];
        let retained = queue.store(Store::Retained);
        let members = || queue.members.iter().map(|&member| &self.consumers[member]);
        let no_ack = members().filter(|member| member.no_ack && member.kind == Kind::Active);
        Some(Depth {
            ready: queue.ready,
            ready_bytes: queue.ready_bytes,
            unsettled: queue.unsettled,
            delayed: queue.delayed.as_ref().map_or(0, |delayed| delayed.messages),
            delayed_bytes: queue.delayed.as_ref().map_or(0, |delayed| delayed.bytes),
            parked: queue.parked.as_ref().map_or(0, |parking| parking.messages),
            parked_bytes: queue.parked.as_ref().map_or(0, |parking| parking.bytes),
            retained: retained.map_or(0, |retained| retained.messages),
            retained_bytes: retained.map_or(0, |retained| retained.bytes),
            dead: queue.dead(),
            dead_bytes: queue
                .lifecycle
                .as_ref()
                .map_or(0, |lifecycle| lifecycle.dead.bytes),
            consumers: queue.consumers,
            consumers_no_ack: no_ack.count() as u32,
            durable: queue.durable,
            next_seq: queue.next_seq,
            counters: queue.counters,
            oldest_unsettled: members().filter_map(Consumer::oldest_at).min(),
        })
    }

    /// Appends the live durable messages of `queue` within `first..end` to `live`, by rising number, and returns where to
    /// go on if there are more. It stops after about `most` ready runs, or as many on a schedule; the unsettled messages between them are all there.
    ///
    /// Serves checkpoints (in slices, so that nobody waits for ten million runs) and the rewriting of a segment (what
    /// of it is still alive?). It looks into the window of every consumer, so ask for wide ranges, not for single records.
    pub fn live(
        &self,
        queue: QueueId,
        first: Seq,
        end: Seq,
        most: usize,
        live: &mut Vec<LiveRun>,
    ) -> Option<Seq> {
        let &slot = self.queue_slots.get(&queue)?;
        let begin = live.len();
        let stop = self.live_ready(slot, first, end, most, live);
        let stop = self.schedule_stop(slot, first, stop, most);
        self.live_aside(slot, first, stop, live);
        self.live_delayed(slot, first, stop, live);
        for &consumer in &self.queues[slot].members {
            let window = &self.consumers[consumer].window;
            for unsettled in window.iter_seqs(first.0, stop.0) {
                live.extend(LiveRun::within(&unsettled.run, unsettled.marks, first, stop));
            }
        }
        if let Some(lifecycle) = &self.queues[slot].lifecycle {
            let dead = lifecycle.dead.lists().into_iter();
            let dead = dead.flat_map(|list| list.iter_seqs(first.0, stop.0));
            live.extend(dead.filter_map(|dead| dead.live(first, stop)));
        }
        live[begin..].sort_unstable_by_key(|run| run.first);
        (stop < end).then_some(stop)
    }

    /// Which messages the deliveries `first..first + count` of consumers are, as far as they are unsettled.
    pub fn settled_by(&self, deliveries: impl IntoIterator<Item = (ConsumerId, u64, u32)>) -> Vec<SeqRange> {
        let mut ranges: Vec<SeqRange> = Vec::new();
        for (consumer, first, count) in deliveries {
            let Some(&slot) = self.consumer_slots.get(&consumer) else {
                continue;
            };
            let consumer = &self.consumers[slot];
            let (queue, end) = (
                self.queues[consumer.queue].id,
                first.saturating_add(u64::from(count)),
            );
            for unsettled in consumer
                .window
                .iter_from(first)
                .take_while(|span| span.delivery < end)
            {
                let before = first.saturating_sub(unsettled.delivery);
                let behind = unsettled.end().saturating_sub(end);
                let count = u64::from(unsettled.run.count()) - before - behind;
                let first = unsettled.run.first.plus(before);
                add_range(
                    &mut ranges,
                    queue,
                    first,
                    count as u32,
                    unsettled.run.location.is_durable(),
                );
            }
        }
        ranges
    }

    pub(super) fn status(&mut self, queue: QueueId, ticket: Ticket) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return self.refuse(ticket, Refusal::NoQueue);
        };
        self.use_queue(slot);
        let queue = &self.queues[slot];
        let (messages, consumers) = (queue.ready, u64::from(queue.consumers));
        self.effects.push(Effect::Counts {
            ticket,
            messages,
            consumers,
        });
    }

    /// The ready part of [`Partition::live`]; returns the number up to which it is complete.
    fn live_ready(&self, slot: Slot, first: Seq, end: Seq, most: usize, live: &mut Vec<LiveRun>) -> Seq {
        let mut lists = self.listed(slot, first);
        for _ in 0..most.max(1) {
            let foremost = lists
                .iter_mut()
                .filter(|list| list.first < end)
                .min_by_key(|list| list.first);
            let Some((run, marks)) = foremost.and_then(Listed::take) else {
                return end;
            };
            live.extend(LiveRun::within(run, marks, first, end));
        }
        let next = lists.iter().map(|list| list.first).min();
        next.map_or(end, |next| next.min(end))
    }
}

impl<C: Content> Partition<C> {
    /// Ready messages of `queue` from `first` on, by rising number, up to `most` runs; and where to go on if there are more.
    pub fn ready_from(&self, queue: QueueId, first: Seq, most: usize) -> (Vec<(Run<C>, Marks)>, Option<Seq>) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return (Vec::new(), None);
        };
        let mut lists = self.listed(slot, first);
        let mut ready = Vec::new();
        while ready.len() < most.max(1) {
            let foremost = lists.iter_mut().min_by_key(|list| list.first);
            let Some((run, marks)) = foremost.and_then(Listed::take) else {
                return (ready, None);
            };
            ready.push((run.starting_at(first), marks));
        }
        let next = lists.iter().map(|list| list.first).min();
        (ready, next.filter(|next| next.0 < u64::MAX))
    }

    /// The lists of ready messages from `first` on.
    fn listed(&self, slot: Slot, first: Seq) -> Vec<Listed<'_, C, Marks>> {
        let lists = self.queues[slot].lists().flat_map(|(rank, main, returned)| {
            let main = main.iter_from(first.0).map(move |run| (run, Marks::ranked(rank)));
            let returned = returned.iter_from(first.0).map(|span| (&span.run, span.marks));
            [Listed::new(main), Listed::new(returned)]
        });
        lists.collect()
    }
}

/// What is left of a list of runs, and where it goes on.
pub(super) struct Listed<'a, C, M> {
    runs: Box<dyn Iterator<Item = (&'a Run<C>, M)> + 'a>,
    next: Option<(&'a Run<C>, M)>,
    /// The number of the next message; above all if there is none.
    pub(super) first: Seq,
}

impl<'a, C, M> Listed<'a, C, M> {
    pub(super) fn new(runs: impl Iterator<Item = (&'a Run<C>, M)> + 'a) -> Self {
        let mut list = Self {
            runs: Box::new(runs),
            next: None,
            first: Seq(0),
        };
        list.take();
        list
    }

    pub(super) fn take(&mut self) -> Option<(&'a Run<C>, M)> {
        let taken = std::mem::replace(&mut self.next, self.runs.next());
        self.first = self.next.as_ref().map_or(Seq(u64::MAX), |(run, _)| run.first);
        taken
    }
}

impl LiveRun {
    /// The part of a durable run that lies within `first..end`. Its bytes are an even share.
    pub(super) fn within<C>(run: &Run<C>, marks: Marks, first: Seq, end: Seq) -> Option<Self> {
        let before = first.0.saturating_sub(run.first.0).min(u64::from(run.count())) as u16;
        let behind = run
            .end()
            .0
            .saturating_sub(end.0)
            .min(u64::from(run.count() - before)) as u16;
        let count = run.count() - before - behind;
        if count == 0 || !run.location.is_durable() {
            return None;
        }
        let (from, to) = (run.from + before, run.to - behind);
        let bytes = (u64::from(run.bytes) * u64::from(count) / u64::from(run.count())) as u32;
        Some(Self {
            first: run.first.plus(u64::from(before)),
            location: run.location,
            bytes,
            from,
            to,
            marks,
            aside: None,
            rejected: false,
        })
    }
}

fn add_range(ranges: &mut Vec<SeqRange>, queue: QueueId, first: Seq, count: u32, durable: bool) {
    if let Some(last) = ranges.last_mut()
        && last.queue == queue
        && last.durable == durable
        && last.first.plus(u64::from(last.count)) == first
        && let Some(sum) = last.count.checked_add(count)
    {
        last.count = sum;
        return;
    }
    ranges.push(SeqRange {
        queue,
        first,
        count,
        durable,
    });
}
