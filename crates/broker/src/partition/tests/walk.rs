//! A long random walk through all commands, judged by the model after every round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};
use crate::partition::{
    Command, Effect, Gate, Limits, Move, Partition, Run, SettleOutcome, SettleReason, SharedLimit,
};

use super::harness::Batch;
use super::model::{Message, Model, ModelConsumer, ModelQueue, Told};
use super::rules::rules;
use super::steps::{Kind, Step};

/// The machine and the model side by side.
pub(super) struct Walk {
    pub(super) partition: Partition<Batch>,
    pub(super) model: Model,
    pub(super) effects: Vec<Effect<Batch>>,
    pub(super) gates: Vec<Arc<Gate>>,
    pub(super) limits: Vec<Arc<SharedLimit>>,
    pub(super) late: Vec<(u64, Run<Batch>)>,
    /// Live bytes by segment, as the effects tell.
    pub(super) segments: BTreeMap<u64, i64>,
    next_seq: BTreeMap<u64, u64>,
    next_id: u64,
}

pub(super) const RESIDENT_BYTES_MAX: u64 = 3000;
pub(super) const GATE: u64 = 3000;

impl Walk {
    pub(super) fn new() -> Self {
        let limits = [4, 0, 2].map(|most| Arc::new(SharedLimit::new(most))).to_vec();
        let mut walk = Self {
            partition: Partition::new(Limits {
                resident_bytes_max: RESIDENT_BYTES_MAX,
            }),
            model: Model {
                limits: vec![4, 0, 2],
                gate: GATE,
                ..Model::default()
            },
            effects: Vec::new(),
            gates: (0..3).map(|_| Arc::new(Gate::new(GATE))).collect(),
            limits,
            late: Vec::new(),
            segments: BTreeMap::new(),
            next_seq: BTreeMap::new(),
            next_id: 0,
        };
        (0..3).for_each(|queue| walk.create(queue == 2));
        walk
    }

    pub(super) fn apply(&mut self, command: Command<Batch>) {
        self.partition.apply(command, Millis(self.model.now));
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn create(&mut self, auto_delete: bool) {
        let queue = self.id();
        let rules = rules(queue);
        self.model.queues.insert(
            queue,
            ModelQueue {
                auto_delete,
                rules: rules.clone(),
                ..ModelQueue::default()
            },
        );
        self.apply(Command::CreateQueue {
            queue: QueueId(queue),
            durable: true,
            auto_delete,
            rules: Box::new(rules),
        });
    }

    pub(super) fn queue(&self, choice: u8) -> u64 {
        pick(self.model.queues.keys(), choice).expect("there are always queues")
    }

    pub(super) fn take(&mut self, step: Step) {
        let Step {
            kind,
            which,
            other,
            at,
            count,
            flag,
            rarely,
        } = step;
        match kind {
            Kind::Enqueue => self.enqueue(which, u16::from(count.max(1)), flag, rarely),
            Kind::EnqueueLate => self.enqueue_late(which),
            Kind::Consume => self.consume(step),
            Kind::Cancel => self.cancel(which),
            Kind::Get => self.get(which, rarely),
            Kind::Settle => self.settle(which, at, count, other),
            Kind::HandOn => self.hand_on(which, at),
            Kind::Recover => self.recover(which),
            Kind::ReturnAll => self.return_all(which),
            Kind::Sent => self.sent(u64::from(which) % 3, flag),
            Kind::Limit => self.limit(which, other),
            Kind::SetLimit => self.set_limit(usize::from(which) % self.limits.len(), u64::from(at) / 2),
            Kind::Purge => self.purge(which),
            Kind::CheckDelete => self.check_delete(which, flag, other < 4),
            Kind::Replace => self.replace(which, flag),
            Kind::Status => self.status(which),
            Kind::Relocate => self.relocate(which, at, count, flag),
            Kind::Remove => self.remove(which, at, count % 5, flag),
            Kind::ReplayReturned => self.replay_returned(which, at, count),
            Kind::Restart => self.restart(usize::from(at) / 2 + 1),
            Kind::Unpark => self.unpark(which, at, count, flag),
            Kind::Amend => self.amend(which, other, at),
            Kind::Pass => self.model.now += u64::from(at) * 3,
            Kind::Compact => self.partition.compact(),
            Kind::Round => self.round(),
        }
        self.model.take_turns();
    }

    fn enqueue(&mut self, queue: u8, count: u16, durable: bool, late: bool) {
        let queue = self.queue(queue);
        let record = self.id();
        // Segments of about a dozen records; some batches are much larger than what this queue gets of them.
        let location = if durable {
            Location((record / 12 + 1) << 32 | record << 3)
        } else {
            Location::NOWHERE
        };
        let from = (record % 3) as u16 * 20;
        let content = Batch::marked(record << 16, from + count + 1 + (record % 2) as u16 * 100);
        // Now and then the message in the middle of the batch is for another queue.
        let middle = if record.is_multiple_of(4) { count / 2 } else { 0 };
        for (from, to) in [(from, from + middle), (from + middle + 1, from + count + 1)] {
            let count = to - from;
            if count == 0 {
                continue;
            }
            let next = self.next_seq.entry(queue).or_insert(1);
            let first = Seq(*next);
            *next += u64::from(count);
            let bytes = content.size(from, to) as u32 + (record % 5) as u32;
            let run = Run {
                first,
                location,
                content: Some(content.clone()),
                bytes,
                from,
                to,
            };
            if late {
                self.late.push((queue, run));
            } else {
                self.enter(queue, run);
            }
        }
    }

    fn enqueue_late(&mut self, which: u8) {
        if !self.late.is_empty() {
            let (queue, run) = self.late.remove(usize::from(which) % self.late.len());
            self.enter(queue, run);
        }
    }

    fn enter(&mut self, queue: u64, run: Run<Batch>) {
        // Some queues have priorities, and not every message of theirs.
        let rank = match queue % 4 {
            3 => [0, 0, 2, -1, 5][(run.first.0 % 5) as usize],
            _ => 0,
        };
        if let Some(model) = self.model.queues.get_mut(&queue) {
            for at in 0..run.count() {
                let content = run.content.as_ref().expect("what enters has content");
                let message = Message {
                    mark: content.mark(run.from + at),
                    location: run.location.0,
                    index: run.from + at,
                    deliveries: 0,
                    failures: 0,
                    parked: false,
                    rank,
                    delayed_until: None,
                    held: None,
                };
                assert!(
                    model
                        .messages
                        .insert(run.first.0 + u64::from(at), message)
                        .is_none()
                );
            }
            *self.segments.entry(run.location.0 >> 32).or_default() += i64::from(run.bytes);
        } else {
            self.model.answers.push(format!("orphaned {}", run.first));
        }
        let queue = QueueId(queue);
        self.apply(if rank == 0 {
            Command::Enqueue { queue, run }
        } else {
            Command::EnqueueRanked { queue, run, rank }
        });
    }

    fn consume(&mut self, step: Step) {
        let limit = Some(usize::from(step.at % 6)).filter(|&limit| limit < self.limits.len());
        let consumer = ModelConsumer {
            queue: self.queue(step.which),
            connection: u64::from(step.other) % 3,
            active: true,
            getter: false,
            no_ack: step.rarely,
            exclusive: step.at % 10 == 9,
            priority: i32::from(step.at % 3),
            prefetch: u64::from(step.count) % 6,
            limit,
            next_delivery: 0,
            taken: BTreeSet::new(),
        };
        let id = self.id();
        let gate = self.gates[consumer.connection as usize].clone();
        let mut others = self
            .model
            .consumers
            .values()
            .filter(|other| other.active && other.queue == consumer.queue);
        let single = self.model.queues[&consumer.queue].rules.single_active.is_some();
        let refused = others.clone().any(|other| other.exclusive)
            || consumer.exclusive && (single || others.next().is_some());
        self.model
            .answers
            .push(if refused { "ExclusiveUse" } else { "consuming" }.into());
        let ModelConsumer {
            queue,
            connection,
            no_ack,
            exclusive,
            priority,
            prefetch,
            ..
        } = consumer;
        if !refused {
            if single {
                self.model
                    .queues
                    .get_mut(&queue)
                    .expect("picked")
                    .turns
                    .join(id, priority);
            }
            self.model.consumers.insert(id, consumer);
        }
        self.apply(Command::Consume {
            consumer: ConsumerId(id),
            connection: ConnectionId(connection),
            queue: QueueId(queue),
            no_ack,
            exclusive,
            priority,
            prefetch: prefetch as u16,
            patience_millis: None,
            gate,
            limit: limit.map(|limit| self.limits[limit].clone()),
            ticket: Ticket(0),
        });
    }

    fn cancel(&mut self, consumer: u8) {
        let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
            return;
        };
        self.model.answers.push("cancelled".into());
        self.model.withdraw(consumer);
        self.apply(Command::Cancel {
            consumer: ConsumerId(consumer),
            ticket: Ticket(0),
        });
    }

    fn get(&mut self, queue: u8, no_ack: bool) {
        // A get takes from the queue at once: the model has to know all that went before, and is told of it right away.
        self.tell();
        let queue = self.queue(queue);
        let known = self
            .model
            .consumers
            .iter()
            .find(|(_, consumer)| consumer.getter && consumer.queue == queue);
        let known = known.map(|(&id, _)| id);
        let id = known.unwrap_or_else(|| self.id());
        let ready = self.model.ready(queue).count();
        if ready > 0 {
            let consumer = self.model.consumers.entry(id).or_insert(ModelConsumer {
                queue,
                connection: 9,
                active: false,
                getter: true,
                no_ack,
                exclusive: false,
                priority: 0,
                prefetch: 0,
                limit: None,
                next_delivery: 0,
                taken: BTreeSet::new(),
            });
            consumer.no_ack = no_ack;
        }
        self.model.answers.push(if ready > 0 {
            format!("got, {} left", ready - 1)
        } else {
            "empty".into()
        });
        let (consumer, connection, queue) = (ConsumerId(id), ConnectionId(9), QueueId(queue));
        self.apply(Command::Get {
            consumer,
            connection,
            queue,
            no_ack,
            ticket: Ticket(0),
        });
        self.tell();
    }

    fn settle(&mut self, consumer: u8, at: u8, count: u8, outcome: u8) {
        let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
            return;
        };
        let held = self.model.held_by(consumer);
        let taken = &mut self.model.consumers.get_mut(&consumer).expect("picked").taken;
        let lowest = held.first().map(|(delivery, _)| delivery);
        let Some(&lowest) = lowest.into_iter().chain(taken.first()).min() else {
            return;
        };
        let first = lowest + u64::from(at) % (held.len() as u64 + 3);
        taken.retain(|delivery| !(first..first + u64::from(count)).contains(delivery));
        let outcome = [
            SettleOutcome::Requeue,
            SettleOutcome::Discard,
            SettleOutcome::RequeueFailed,
        ]
        .get(usize::from(outcome))
        .copied();
        let outcome = outcome.unwrap_or(SettleOutcome::Done);
        let queue = self.model.consumers[&consumer].queue;
        for (_, seq) in held
            .into_iter()
            .filter(|&(delivery, _)| first <= delivery && delivery < first + u64::from(count))
        {
            match outcome {
                SettleOutcome::Done => self.model.settle(queue, seq, SettleReason::Done),
                SettleOutcome::Discard => self.model.settle(queue, seq, SettleReason::Rejected),
                SettleOutcome::Requeue => self.model.give_back(queue, seq, false),
                SettleOutcome::RequeueFailed => self.model.give_back(queue, seq, true),
            }
        }
        let told = self
            .partition
            .settled_by([(ConsumerId(consumer), first, u32::from(count))]);
        let told: u64 = told.iter().map(|range| u64::from(range.count)).sum();
        let before = self
            .partition
            .depth(QueueId(queue))
            .expect("the queue is there")
            .unsettled;
        self.apply(Command::Settle {
            consumer: ConsumerId(consumer),
            first,
            count: count.into(),
            outcome,
        });
        let after = self
            .partition
            .depth(QueueId(queue))
            .expect("the queue is there")
            .unsettled;
        assert_eq!(before - after, told, "what would be settled is what is settled");
    }

    /// What is handed on goes to others at once: the model is told of it right away.
    fn hand_on(&mut self, consumer: u8, at: u8) {
        self.tell();
        let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
            return;
        };
        let held = self.model.held_by(consumer);
        let Some(&(delivery, seq)) = held.get(usize::from(at) % held.len().max(1)) else {
            return;
        };
        let holder = self.model.consumers.get_mut(&consumer).expect("picked");
        holder.taken.insert(delivery);
        let queue = holder.queue;
        self.model.give_back(queue, seq, false);
        self.apply(Command::HandOn {
            consumer: ConsumerId(consumer),
            delivery,
        });
        self.model.take_turns();
        self.tell();
    }

    fn recover(&mut self, consumer: u8) {
        let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
            return;
        };
        self.model
            .consumers
            .get_mut(&consumer)
            .expect("picked")
            .taken
            .clear();
        self.model.give_back_all(consumer, false);
        self.apply(Command::Recover {
            consumer: ConsumerId(consumer),
        });
    }

    fn return_all(&mut self, consumer: u8) {
        let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
            return;
        };
        self.model.withdraw(consumer);
        self.model.give_back_all(consumer, true);
        self.model.consumers.remove(&consumer);
        self.apply(Command::ReturnAll {
            consumer: ConsumerId(consumer),
        });
    }

    fn sent(&mut self, connection: u64, all: bool) {
        let unsent = self.model.unsent.entry(connection).or_default();
        let weight = if all { *unsent } else { *unsent / 3 };
        *unsent -= weight;
        if !self.gates[connection as usize].sent(weight) {
            return;
        }
        let one = self
            .model
            .consumers
            .iter()
            .find(|(_, consumer)| consumer.active && consumer.connection == connection);
        if let Some((&consumer, _)) = one {
            self.apply(Command::Resume {
                consumer: ConsumerId(consumer),
            });
        }
    }

    fn limit(&mut self, consumer: u8, limit: u8) {
        let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
            return;
        };
        let under = self.model.consumers.get_mut(&consumer).expect("picked");
        if under.getter {
            return;
        }
        under.limit = Some(usize::from(limit)).filter(|&limit| limit < self.limits.len());
        let limit = under.limit.map(|limit| self.limits[limit].clone());
        self.apply(Command::Limit {
            consumer: ConsumerId(consumer),
            limit,
        });
    }

    fn set_limit(&mut self, limit: usize, most: u64) {
        self.limits[limit].set(most);
        self.model.limits[limit] = most;
        let under = self
            .model
            .consumers
            .iter()
            .find(|(_, consumer)| consumer.limit == Some(limit));
        if let Some((&consumer, _)) = under {
            self.apply(Command::Resume {
                consumer: ConsumerId(consumer),
            });
        }
    }

    fn purge(&mut self, queue: u8) {
        let queue = self.queue(queue);
        let mut ready: Vec<u64> = self.model.ready(queue).map(|(&seq, _)| seq).collect();
        ready.extend(self.model.delayed(queue));
        self.model.answers.push(format!("purged {}", ready.len()));
        ready
            .into_iter()
            .for_each(|seq| self.model.settle(queue, seq, SettleReason::Purged));
        self.apply(Command::Purge {
            queue: QueueId(queue),
            ticket: Ticket(0),
        });
    }

    fn status(&mut self, queue: u8) {
        let queue = self.queue(queue);
        let (ready, consumers) = (self.model.ready(queue).count(), self.model.consumers_of(queue));
        self.model
            .answers
            .push(format!("{ready} messages, {consumers} consumers"));
        self.apply(Command::Status {
            queue: QueueId(queue),
            ticket: Ticket(0),
        });
    }

    fn check_delete(&mut self, queue: u8, if_unused: bool, if_empty: bool) {
        let queue = self.queue(queue);
        let (ready, consumers) = (self.model.ready(queue).count(), self.model.consumers_of(queue));
        self.model.answers.push(match () {
            () if if_unused && consumers > 0 => "InUse".into(),
            () if if_empty
                && (ready > 0
                    || !self.model.parked(queue).is_empty()
                    || !self.model.delayed(queue).is_empty()) =>
            {
                "NotEmpty".into()
            }
            () => format!("delete with {ready}"),
        });
        self.apply(Command::CheckDelete {
            queue: QueueId(queue),
            if_unused,
            if_empty,
            ticket: Ticket(0),
        });
    }

    /// Deletes a queue and creates another.
    fn replace(&mut self, queue: u8, auto_delete: bool) {
        let queue = self.queue(queue);
        let messages: Vec<u64> = self.model.queues[&queue].messages.keys().copied().collect();
        messages
            .into_iter()
            .for_each(|seq| self.model.settle(queue, seq, SettleReason::Deleted));
        // The order in which consumers are told is the machine's own.
        let gone = self.model.consumers_of(queue);
        (0..gone).for_each(|_| self.model.answers.push("consumer gone".into()));
        self.model.consumers.retain(|_, consumer| consumer.queue != queue);
        self.model.queues.remove(&queue);
        self.apply(Command::DeleteQueue {
            queue: QueueId(queue),
        });
        self.create(auto_delete);
    }

    /// Rewrites some durable messages of a queue, dense or with gaps as they were.
    fn relocate(&mut self, queue: u8, at: u8, count: u8, compact: bool) {
        let queue = self.queue(queue);
        let record = self.id();
        let location = Location((record / 12 + 1) << 32 | record << 3);
        let messages = &mut self.model.queues.get_mut(&queue).expect("picked").messages;
        let chosen = messages.iter_mut().filter(|(_, message)| message.location != 0);
        let chosen: Vec<_> = chosen.skip(at.into()).take(count.into()).collect();
        let Some(lowest) = chosen.first().map(|(seq, _)| **seq) else {
            return;
        };
        let (mut moves, mut told) = (Vec::new(), Vec::new());
        for (index, (&seq, message)) in (0u16..).zip(chosen) {
            let from = if compact {
                index
            } else {
                ((seq - lowest) % 4000) as u16
            };
            (message.location, message.index) = (location.0, from);
            told.push(Told::Relocated(queue, seq));
            moves.push(Move {
                first: Seq(seq),
                count: 1,
                location,
                from,
            });
        }
        told.into_iter().for_each(|told| self.model.expect(told));
        // Neighbours move as one, sometimes together with messages that are settled already.
        moves.dedup_by(|next, step| {
            let joins =
                step.first.0 + u64::from(step.count) == next.first.0 && step.from + step.count == next.from;
            step.count += if joins { next.count } else { 0 };
            joins
        });
        moves.reverse();
        self.apply(Command::Relocate {
            queue: QueueId(queue),
            moves,
        });
    }

    fn remove(&mut self, queue: u8, at: u8, count: u8, quarantine: bool) {
        let queue = self.queue(queue);
        let Some(lowest) = self.model.queues[&queue].messages.keys().next().copied() else {
            return;
        };
        let (first, end) = (lowest + u64::from(at), lowest + u64::from(at) + u64::from(count));
        let reason = if quarantine {
            SettleReason::Quarantined
        } else {
            SettleReason::Done
        };
        let there: Vec<u64> = self.model.queues[&queue]
            .messages
            .range(first..end)
            .map(|(&seq, _)| seq)
            .collect();
        there
            .into_iter()
            .for_each(|seq| self.model.settle(queue, seq, reason));
        let (queue, first, count) = (QueueId(queue), Seq(first), u32::from(count));
        self.apply(match quarantine {
            true => Command::Quarantine { queue, first, count },
            false => Command::ReplaySettled {
                queue,
                first,
                count,
                reason,
            },
        });
    }

    fn replay_returned(&mut self, queue: u8, at: u8, count: u8) {
        let queue = self.queue(queue);
        let Some(lowest) = self.model.queues[&queue].messages.keys().next().copied() else {
            return;
        };
        let (first, end) = (lowest + u64::from(at), lowest + u64::from(at) + u64::from(count));
        let ready: Vec<u64> = self
            .model
            .ready(queue)
            .map(|(&seq, _)| seq)
            .filter(|&seq| first <= seq && seq < end)
            .collect();
        for seq in ready {
            self.model.give_back(queue, seq, false);
            // What the log tells of waits no more.
            let messages = &mut self.model.queues.get_mut(&queue).expect("picked").messages;
            messages.get_mut(&seq).expect("returned").delayed_until = None;
        }
        self.apply(Command::ReplayReturned {
            queue: QueueId(queue),
            first: Seq(first),
            count: count.into(),
        });
    }
}

pub(super) fn pick<'a>(mut keys: impl ExactSizeIterator<Item = &'a u64>, choice: u8) -> Option<u64> {
    let len = keys.len();
    if len == 0 {
        None
    } else {
        keys.nth(usize::from(choice) % len).copied()
    }
}
