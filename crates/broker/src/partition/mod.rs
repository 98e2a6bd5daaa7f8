//! The contents of queues: the high-rate machine.
//!
//! ```text
//! Enqueue ──> ready ──────────> delivered to a consumer, unsettled ──> settled, or discarded by order
//!               ^   (finish)                 │
//!               └──────── returned ──────────┘
//! ```
//!
//! [`Partition::apply`] takes one [`Command`] after the other, [`Partition::finish`] ends the round: it delivers from the
//! queues that the round has touched, and hands out every [`Effect`] in the order in which it came about. There is no other
//! way in or out. The unit of all work is the [`Run`], not the message.
//!
//! What it answers for: order, redelivery to the old place, exactly one owner of every message, the balance of
//! [`Counters`], and back-pressure by [`Gate`] and [`SharedLimit`]. What it does not: what is durable (it is told only
//! about committed messages), what messages mean (their [`Content`] is opaque), who may do what, and names.

mod apart;
mod command;
mod consumer;
mod counters;
mod dead_list;
mod delivery;
mod effect;
mod gate;
mod holding;
mod levels;
mod lifecycle;
mod limit;
mod look;
mod marks;
mod parking;
mod patience;
mod query;
mod queue;
mod recovery;
mod relocation;
mod removal;
mod retention;
mod retry;
mod ring;
mod rules;
mod run;
mod schedule;
mod sending;
mod settlement;
mod single;
mod slots;
mod spans;
mod standing;
mod subscription;
mod tending;
#[cfg(test)]
mod tests;
mod times;
mod validate;

use std::collections::{BTreeSet, VecDeque};

pub use command::{Command, Move, ParkedFate, SettleOutcome, SettleReason, Store};
pub use counters::Counters;
pub use dead_list::Death;
pub use effect::{Delivery, Effect, Refusal};
pub use gate::Gate;
pub use holding::{Holder, HolderKind, Holding};
pub use lifecycle::Kept;
pub use limit::SharedLimit;
pub use look::{Cursor, Looked, Place};
pub use marks::Marks;
pub use parking::{Aside, Parked, Weighed};
pub use query::{Depth, LiveRun, SeqRange};
pub use recovery::Restored;
pub use rules::{Ranks, Retry, RetryKind, Rules, Takeover};
pub use run::{Content, Run};
pub use schedule::ScheduledRun;

use crate::ids::{ConnectionId, ConsumerId, Millis, QueueId};
use consumer::Consumer;
use queue::Queue;
use ring::Ring;
use slots::{IdMap, Slot, Slots};

/// Some of the queues of a node, with their consumers.
#[derive(Debug)]
pub struct Partition<C> {
    queues: Slots<Queue<C>>,
    queue_slots: IdMap<QueueId, Slot>,
    consumers: Slots<Consumer<C>>,
    consumer_slots: IdMap<ConsumerId, Slot>,
    /// Consumers that wait for their connection to drain, by connection.
    at_gate: IdMap<ConnectionId, Ring>,
    /// Consumers that wait for their shared limit, by its address.
    at_limit: IdMap<usize, Ring>,
    /// Rings to be served when the round ends.
    awakened: VecDeque<Awakened>,
    /// Queues to be looked at when the round ends.
    touched: Vec<Slot>,
    /// Consumers whose patience has an end, by when.
    impatient: BTreeSet<(Millis, Slot)>,
    /// Queues in which messages wait to be delivered again, by when.
    retrying: BTreeSet<(Millis, Slot)>,
    /// Queues that want to be looked at later, by when.
    timers: BTreeSet<(Millis, Slot)>,
    /// The time as the last command gave it.
    now: Millis,
    /// What the round has brought about so far.
    effects: Vec<Effect<C>>,
    limits: Limits,
    totals: Totals,
}

/// What a partition may keep in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of durable messages that are kept at hand for delivery; what comes beyond is read from the log.
    pub resident_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resident_bytes_max: 64 << 20,
        }
    }
}

/// Sums over all queues.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    ready: u64,
    ready_bytes: u64,
    resident_bytes: u64,
    consumers: u64,
    /// Of the queues that have been deleted.
    deleted: Counters,
}

/// A ring whose members may be delivered to again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awakened {
    Gate(ConnectionId),
    Limit(usize),
}

impl Totals {
    fn add_ready<C>(&mut self, run: &Run<C>) {
        self.ready += u64::from(run.count());
        self.ready_bytes += u64::from(run.bytes);
    }
}

impl<C: Content> Partition<C> {
    /// A partition without queues.
    pub fn new(limits: Limits) -> Self {
        Self {
            queues: Slots::default(),
            queue_slots: IdMap::default(),
            consumers: Slots::default(),
            consumer_slots: IdMap::default(),
            at_gate: IdMap::default(),
            at_limit: IdMap::default(),
            awakened: VecDeque::new(),
            touched: Vec::new(),
            impatient: BTreeSet::new(),
            retrying: BTreeSet::new(),
            timers: BTreeSet::new(),
            now: Millis(0),
            effects: Vec::new(),
            limits,
            totals: Totals::default(),
        }
    }

    /// As [`Command::Enqueue`]. It comes with every message, so it has a way of its own.
    #[inline]
    pub fn apply_enqueue(&mut self, queue: QueueId, run: Run<C>, now: Millis) {
        self.now = now;
        self.enqueue(queue, run, 0);
    }

    /// Takes one command. Deliveries follow when the round ends. `now` is for what waits or may be held for so long only.
    pub fn apply(&mut self, command: Command<C>, now: Millis) {
        self.now = now;
        match command {
            Command::Enqueue { queue, run } => self.apply_enqueue(queue, run, now),
            Command::EnqueueRanked { queue, run, rank } => self.enqueue(queue, run, rank),
            Command::Settle {
                consumer,
                first,
                count,
                outcome,
            } => self.settle(consumer, first, count, outcome),
            Command::HandOn { consumer, delivery } => self.hand_on(consumer, delivery),
            Command::Commit {
                consumer,
                first,
                count,
            } => self.commit(consumer, first, count),
            Command::Resume { consumer } => self.resume(consumer),
            Command::Consume {
                consumer,
                connection,
                queue,
                no_ack,
                exclusive,
                priority,
                prefetch,
                patience_millis,
                gate,
                limit,
                ticket,
            } => {
                let asked = subscription::Asked {
                    connection,
                    no_ack,
                    exclusive,
                    priority,
                    prefetch,
                    patience_millis,
                    gate,
                    limit,
                };
                self.consume(consumer, queue, asked, ticket);
            }
            Command::Cancel { consumer, ticket } => self.cancel(consumer, ticket),
            Command::Get {
                consumer,
                connection,
                queue,
                no_ack,
                ticket,
            } => {
                self.get(consumer, connection, queue, no_ack, ticket);
            }
            Command::Recover { consumer } => self.recover(consumer),
            Command::ReturnAll { consumer } => self.return_all(consumer),
            Command::Limit { consumer, limit } => self.change_limit(consumer, limit),
            Command::Status { queue, ticket } => self.status(queue, ticket),
            Command::CreateQueue {
                queue,
                durable,
                auto_delete,
                rules,
            } => self.create_queue(queue, durable, auto_delete, &rules),
            Command::Amend { queue, rules } => self.amend(queue, &rules),
            Command::Expire {
                queue,
                first,
                count,
                at,
            } => self.expire_at(queue, first, count, at),
            Command::Bury {
                queue,
                first,
                count,
                reason,
            } => self.bury(queue, first, count, reason),
            Command::Keep { queue, first, count } => self.keep(queue, first, count),
            Command::DeleteQueue { queue } => self.delete_queue(queue),
            Command::CheckDelete {
                queue,
                if_unused,
                if_empty,
                ticket,
            } => {
                self.check_delete(queue, if_unused, if_empty, ticket);
            }
            Command::Purge { queue, ticket } => self.purge(queue, ticket),
            Command::Unpark {
                queue,
                store,
                first,
                end,
                fate,
            } => self.unpark(queue, store, first, end, fate),
            Command::SendOff {
                queue,
                store,
                first,
                end,
            } => self.send_off(queue, store, first, end),
            Command::Unschedule { queue, first, end } => self.unschedule(queue, first, end),
            Command::Relocate { queue, moves } => self.relocate(queue, moves),
            Command::Quarantine { queue, first, count } => {
                self.remove(queue, first, count, SettleReason::Quarantined);
            }
            Command::ReplaySettled {
                queue,
                first,
                count,
                reason,
            } => self.remove(queue, first, count, reason),
            Command::ReplayReturned { queue, first, count } => self.replay_returned(queue, first, count),
        }
    }

    /// Time has passed: what is due by now happens when the round ends.
    pub fn pass(&mut self, now: Millis) {
        self.now = now;
    }

    /// When the partition wants a round at the latest, if nothing else happens before.
    pub fn next_due(&self) -> Option<Millis> {
        let first = [self.impatient.first(), self.retrying.first(), self.timers.first()];
        first.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Ends a round: delivers what can be delivered and appends all effects of the round to `effects`.
    pub fn finish(&mut self, effects: &mut Vec<Effect<C>>) {
        self.deliver();
        if effects.is_empty() {
            std::mem::swap(&mut self.effects, effects);
        } else {
            effects.append(&mut self.effects);
        }
    }

    /// Copies out whatever transient messages pin much more memory than they are, ready or unsettled. Queues do so by themselves
    /// where a run is split or stays behind; what a consumer got as a small part of a batch and keeps for long they
    /// notice only here. Looks at every run: call it when memory runs short, or every few seconds.
    pub fn compact(&mut self) {
        for (_, queue) in self.queues.iter_mut() {
            for (main, returned) in queue.lists_mut() {
                main.iter_mut_back().for_each(Run::compact);
                returned
                    .iter_mut_back()
                    .for_each(|returned| returned.run.compact());
            }
            let parked = queue.stores_mut().flat_map(|store| store.list.iter_mut_back());
            parked.for_each(|parked| parked.run.compact());
            let delayed = queue.delayed.iter_mut().map(|delayed| &mut delayed.list);
            delayed
                .flat_map(|list| list.iter_mut_back())
                .for_each(|delayed| delayed.run.compact());
            let lifecycles = queue.lifecycle.iter_mut();
            let dead = lifecycles.flat_map(|lifecycle| lifecycle.dead.lists_mut());
            dead.flat_map(|list| list.iter_mut_back())
                .for_each(|dead| dead.run.compact());
        }
        for (_, consumer) in self.consumers.iter_mut() {
            consumer
                .window
                .iter_mut_back()
                .for_each(|held| held.run.compact());
        }
    }

    fn enqueue(&mut self, queue: QueueId, mut run: Run<C>, rank: i16) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return self.effects.push(Effect::Orphaned { queue, run });
        };
        assert!(run.from < run.to, "a run of queue {queue} is empty");
        assert!(
            run.location.is_durable() || run.content.is_some(),
            "a transient run of queue {queue} has no content"
        );
        let queue = &mut self.queues[slot];
        if let Some(lifecycle) = &mut queue.lifecycle {
            if lifecycle.terms.scheduled {
                return self.schedule(slot, run);
            }
            lifecycle.enter(run.first, run.end(), self.now);
            lifecycle.measure(&run);
        }
        queue.counters.enter(u64::from(run.count()), u64::from(run.bytes));
        self.limit_residence(&mut run);
        self.put(slot, run, Marks::ranked(rank));
    }

    /// Makes messages ready, and has their queue looked at when the round ends.
    #[inline]
    fn put(&mut self, slot: Slot, run: Run<C>, marks: Marks) {
        self.totals.add_ready(&run);
        self.queues[slot].put(run, marks);
        self.touch(slot);
    }

    /// A durable run stays in memory only within the partition's bound.
    fn limit_residence(&mut self, run: &mut Run<C>) {
        if run.location.is_durable() && run.content.is_some() {
            if self.totals.resident_bytes >= self.limits.resident_bytes_max {
                run.content = None;
            } else {
                self.totals.resident_bytes += u64::from(run.bytes);
            }
        }
    }

    /// A run that was ready is so no more, whatever becomes of it.
    fn unready(totals: &mut Totals, run: &Run<C>) {
        totals.ready -= u64::from(run.count());
        totals.ready_bytes -= u64::from(run.bytes);
        if run.location.is_durable() && run.content.is_some() {
            totals.resident_bytes -= u64::from(run.bytes);
        }
    }

    fn touch(&mut self, slot: Slot) {
        let queue = &mut self.queues[slot];
        if !queue.touched {
            queue.touched = true;
            self.touched.push(slot);
        }
    }
}
