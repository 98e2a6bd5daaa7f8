//! A long random walk through all commands, judged by the model after every round.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};
use crate::partition::{
    Command, Effect, Gate, Limits, Move, Partition, Restored, Run, SettleOutcome, SettleReason, SharedLimit,
};

use super::harness::Batch;
use super::model::{Message, Model, ModelConsumer, ModelQueue, Told};

/// One step. Numbers choose among what is there, so that a step stays meaningful while a failure is shrunk.
#[derive(Clone, Debug)]
enum Step {
    Enqueue {
        queue: u8,
        count: u16,
        durable: bool,
        late: bool,
    },
    EnqueueLate {
        which: u8,
    },
    Consume {
        queue: u8,
        connection: u8,
        no_ack: bool,
        exclusive: bool,
        priority: i8,
        prefetch: u8,
        limit: u8,
    },
    Cancel {
        consumer: u8,
    },
    Get {
        queue: u8,
        no_ack: bool,
    },
    Settle {
        consumer: u8,
        at: u8,
        count: u8,
        outcome: u8,
    },
    Recover {
        consumer: u8,
    },
    ReturnAll {
        consumer: u8,
    },
    Sent {
        connection: u8,
        all: bool,
    },
    Limit {
        consumer: u8,
        limit: u8,
    },
    SetLimit {
        limit: u8,
        most: u8,
    },
    Purge {
        queue: u8,
    },
    CheckDelete {
        queue: u8,
        if_unused: bool,
        if_empty: bool,
    },
    Replace {
        queue: u8,
        auto_delete: bool,
    },
    Status {
        queue: u8,
    },
    Relocate {
        queue: u8,
        at: u8,
        count: u8,
        compact: bool,
    },
    Remove {
        queue: u8,
        at: u8,
        count: u8,
        quarantine: bool,
    },
    ReplayReturned {
        queue: u8,
        at: u8,
        count: u8,
    },
    Restart {
        slice: u8,
    },
    Round,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let byte = || 0..8u8;
    let small = || 0..40u8;
    let bool = any::<bool>;
    let step = prop_oneof![
        12 => (byte(), prop_oneof![1..4u16, 1..60u16], bool(), prop::bool::weighted(0.15))
            .prop_map(|(queue, count, durable, late)| Step::Enqueue { queue, count, durable, late }),
        3 => byte().prop_map(|which| Step::EnqueueLate { which }),
        6 => (byte(), byte(), prop::bool::weighted(0.2), prop::bool::weighted(0.1), -1..2i8, 0..6u8, 0..6u8).prop_map(
            |(queue, connection, no_ack, exclusive, priority, prefetch, limit)| {
                Step::Consume { queue, connection, no_ack, exclusive, priority, prefetch, limit }
            }
        ),
        2 => byte().prop_map(|consumer| Step::Cancel { consumer }),
        4 => (byte(), prop::bool::weighted(0.2)).prop_map(|(queue, no_ack)| Step::Get { queue, no_ack }),
        20 => (byte(), small(), prop_oneof![Just(1u8), small()], 0..5u8)
            .prop_map(|(consumer, at, count, outcome)| Step::Settle { consumer, at, count, outcome }),
        2 => byte().prop_map(|consumer| Step::Recover { consumer }),
        2 => byte().prop_map(|consumer| Step::ReturnAll { consumer }),
        8 => (byte(), bool()).prop_map(|(connection, all)| Step::Sent { connection, all }),
        2 => (byte(), byte()).prop_map(|(consumer, limit)| Step::Limit { consumer, limit }),
        2 => (byte(), 0..20u8).prop_map(|(limit, most)| Step::SetLimit { limit, most }),
        1 => byte().prop_map(|queue| Step::Purge { queue }),
        1 => (byte(), bool(), bool())
            .prop_map(|(queue, if_unused, if_empty)| Step::CheckDelete { queue, if_unused, if_empty }),
        1 => (byte(), bool()).prop_map(|(queue, auto_delete)| Step::Replace { queue, auto_delete }),
        1 => byte().prop_map(|queue| Step::Status { queue }),
        6 => (byte(), small(), small(), bool())
            .prop_map(|(queue, at, count, compact)| Step::Relocate { queue, at, count, compact }),
        2 => (byte(), small(), 0..5u8, bool())
            .prop_map(|(queue, at, count, quarantine)| Step::Remove { queue, at, count, quarantine }),
        1 => (byte(), small(), small()).prop_map(|(queue, at, count)| Step::ReplayReturned { queue, at, count }),
        1 => (1..20u8).prop_map(|slice| Step::Restart { slice }),
        12 => Just(Step::Round),
    ];
    prop::collection::vec(step, 1..120)
}

/// The machine and the model side by side.
struct Walk {
    partition: Partition<Batch>,
    model: Model,
    effects: Vec<Effect<Batch>>,
    gates: Vec<Arc<Gate>>,
    limits: Vec<Arc<SharedLimit>>,
    late: Vec<(u64, Run<Batch>)>,
    /// Live bytes by segment, as the effects tell.
    segments: BTreeMap<u64, i64>,
    next_seq: BTreeMap<u64, u64>,
    next_id: u64,
}

const RESIDENT_BYTES_MAX: u64 = 3000;
const GATE: u64 = 3000;

impl Walk {
    fn new() -> Self {
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

    fn apply(&mut self, command: Command<Batch>) {
        self.partition.apply(command, Millis(0));
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn create(&mut self, auto_delete: bool) {
        let queue = self.id();
        self.model.queues.insert(
            queue,
            ModelQueue {
                auto_delete,
                ..ModelQueue::default()
            },
        );
        self.apply(Command::CreateQueue {
            queue: QueueId(queue),
            durable: true,
            auto_delete,
        });
    }

    fn queue(&self, choice: u8) -> u64 {
        pick(self.model.queues.keys(), choice).expect("there are always queues")
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enqueue {
                queue,
                count,
                durable,
                late,
            } => self.enqueue(queue, count, durable, late),
            Step::EnqueueLate { which } => {
                if !self.late.is_empty() {
                    let (queue, run) = self.late.remove(usize::from(which) % self.late.len());
                    self.enter(queue, run);
                }
            }
            Step::Consume {
                queue,
                connection,
                no_ack,
                exclusive,
                priority,
                prefetch,
                limit,
            } => {
                let limit = Some(usize::from(limit)).filter(|&limit| limit < self.limits.len());
                let consumer = ModelConsumer {
                    queue: self.queue(queue),
                    connection: u64::from(connection) % 3,
                    active: true,
                    getter: false,
                    no_ack,
                    exclusive,
                    prefetch: u64::from(prefetch),
                    limit,
                    next_delivery: 0,
                };
                self.consume(consumer, i32::from(priority));
            }
            Step::Cancel { consumer } => {
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
            Step::Get { queue, no_ack } => self.get(queue, no_ack),
            Step::Settle {
                consumer,
                at,
                count,
                outcome,
            } => self.settle(consumer, at, count, outcome),
            Step::Recover { consumer } => {
                let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
                    return;
                };
                self.model.give_back_all(consumer);
                self.apply(Command::Recover {
                    consumer: ConsumerId(consumer),
                });
            }
            Step::ReturnAll { consumer } => {
                let Some(consumer) = pick(self.model.consumers.keys(), consumer) else {
                    return;
                };
                self.model.withdraw(consumer);
                self.model.give_back_all(consumer);
                self.model.consumers.remove(&consumer);
                self.apply(Command::ReturnAll {
                    consumer: ConsumerId(consumer),
                });
            }
            Step::Sent { connection, all } => self.sent(u64::from(connection) % 3, all),
            Step::Limit { consumer, limit } => self.limit(consumer, limit),
            Step::SetLimit { limit, most } => {
                self.set_limit(usize::from(limit) % self.limits.len(), u64::from(most))
            }
            Step::Purge { queue } => self.purge(queue),
            Step::CheckDelete {
                queue,
                if_unused,
                if_empty,
            } => self.check_delete(queue, if_unused, if_empty),
            Step::Replace { queue, auto_delete } => self.replace(queue, auto_delete),
            Step::Status { queue } => {
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
            Step::Relocate {
                queue,
                at,
                count,
                compact,
            } => self.relocate(queue, at, count, compact),
            Step::Remove {
                queue,
                at,
                count,
                quarantine,
            } => self.remove(queue, at, count, quarantine),
            Step::ReplayReturned { queue, at, count } => self.replay_returned(queue, at, count),
            Step::Restart { slice } => self.restart(usize::from(slice)),
            Step::Round => self.round(),
        }
    }

    fn enqueue(&mut self, queue: u8, count: u16, durable: bool, late: bool) {
        let queue = self.queue(queue);
        let next = self.next_seq.entry(queue).or_insert(1);
        let first = Seq(*next);
        *next += u64::from(count);
        // Segments of about a dozen records; some batches are much larger than the run that this queue gets of them.
        let record = self.id();
        let location = if durable {
            Location((record / 12 + 1) << 32 | record << 3)
        } else {
            Location::NOWHERE
        };
        let from = (record % 3) as u16 * 20;
        let content = Batch::marked(record << 16, from + count + (record % 2) as u16 * 100);
        let bytes = content.size(from, from + count) as u32 + (record % 5) as u32;
        let run = Run {
            first,
            location,
            content: Some(content),
            bytes,
            from,
            to: from + count,
        };
        if late {
            return self.late.push((queue, run));
        }
        self.enter(queue, run);
    }

    fn enter(&mut self, queue: u64, run: Run<Batch>) {
        if let Some(model) = self.model.queues.get_mut(&queue) {
            for at in 0..run.count() {
                let content = run.content.as_ref().expect("what enters has content");
                let message = Message {
                    mark: content.mark(run.from + at),
                    location: run.location.0,
                    index: run.from + at,
                    deliveries: 0,
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
        self.apply(Command::Enqueue {
            queue: QueueId(queue),
            run,
        });
    }

    fn consume(&mut self, consumer: ModelConsumer, priority: i32) {
        let id = self.id();
        let gate = self.gates[consumer.connection as usize].clone();
        let mut others = self
            .model
            .consumers
            .values()
            .filter(|other| other.active && other.queue == consumer.queue);
        let refused =
            others.clone().any(|other| other.exclusive) || consumer.exclusive && others.next().is_some();
        self.model
            .answers
            .push(if refused { "ExclusiveUse" } else { "consuming" }.into());
        let ModelConsumer {
            queue,
            connection,
            no_ack,
            exclusive,
            prefetch,
            limit,
            ..
        } = consumer;
        if !refused {
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
            gate,
            limit: limit.map(|limit| self.limits[limit].clone()),
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
                prefetch: 0,
                limit: None,
                next_delivery: 0,
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
        let Some(&(lowest, _)) = held.first() else { return };
        let first = lowest + u64::from(at) % (held.len() as u64 + 3);
        let outcome = [SettleOutcome::Requeue, SettleOutcome::Discard]
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
                SettleOutcome::Requeue => self.model.give_back(queue, seq),
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
        let ready: Vec<u64> = self.model.ready(queue).map(|(&seq, _)| seq).collect();
        self.model.answers.push(format!("purged {}", ready.len()));
        ready
            .into_iter()
            .for_each(|seq| self.model.settle(queue, seq, SettleReason::Purged));
        self.apply(Command::Purge {
            queue: QueueId(queue),
            ticket: Ticket(0),
        });
    }

    fn check_delete(&mut self, queue: u8, if_unused: bool, if_empty: bool) {
        let queue = self.queue(queue);
        let (ready, consumers) = (self.model.ready(queue).count(), self.model.consumers_of(queue));
        self.model.answers.push(match () {
            () if if_unused && consumers > 0 => "InUse".into(),
            () if if_empty && ready > 0 => "NotEmpty".into(),
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
        ready.into_iter().for_each(|seq| self.model.give_back(queue, seq));
        self.apply(Command::ReplayReturned {
            queue: QueueId(queue),
            first: Seq(first),
            count: count.into(),
        });
    }

    /// Everything but durable messages is forgotten; those come back from what `live` lists, slice by slice.
    fn restart(&mut self, slice: usize) {
        self.round();
        let old = std::mem::replace(
            &mut self.partition,
            Partition::new(Limits {
                resident_bytes_max: RESIDENT_BYTES_MAX,
            }),
        );
        self.segments.clear();
        for (&id, queue) in &mut self.model.queues {
            queue.messages.retain(|_, message| message.location != 0);
            queue
                .messages
                .values_mut()
                .for_each(|message| message.held = None);
            let next_seq = old.depth(QueueId(id)).expect("both have the queue").next_seq;
            queue.redelivered_below = next_seq.0;
            let mut live = Vec::new();
            let mut next = Some(Seq(0));
            while let Some(from) = next {
                next = old.live(QueueId(id), from, next_seq, slice, &mut live);
            }
            let listed: Vec<_> = live
                .iter()
                .flat_map(|run| {
                    (0..run.to - run.from).map(move |at| {
                        (
                            run.first.0 + u64::from(at),
                            run.location.0,
                            run.from + at,
                            run.deliveries,
                        )
                    })
                })
                .collect();
            let known: Vec<_> = queue
                .messages
                .iter()
                .map(|(&seq, message)| (seq, message.location, message.index, message.deliveries))
                .collect();
            assert_eq!(
                listed, known,
                "a checkpoint lists exactly what is durable and live, in order"
            );
            for run in &live {
                *self.segments.entry(run.location.0 >> 32).or_default() += i64::from(run.bytes);
            }
            let auto_delete = queue.auto_delete;
            self.partition.restore_queue(
                Restored {
                    queue: QueueId(id),
                    durable: true,
                    auto_delete,
                    next_seq,
                },
                live,
            );
        }
        self.partition.recovered();
        self.model.consumers.clear();
        self.model.unsent.clear();
        self.gates = (0..3).map(|_| Arc::new(Gate::new(GATE))).collect();
        self.limits = self
            .model
            .limits
            .iter()
            .map(|&most| Arc::new(SharedLimit::new(most)))
            .collect();
        // What was on its way to the queues when the process ended was committed nowhere.
        self.late.clear();
    }

    fn round(&mut self) {
        self.tell();
        self.model.judge_rest();
    }

    /// Ends a round of the machine and compares all that it tells.
    fn tell(&mut self) {
        self.partition.finish(&mut self.effects);
        if let Err(why) = self.partition.validate() {
            panic!("{why}");
        }
        let mut answers = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            self.hear(effect, &mut answers);
        }
        assert_eq!(
            std::mem::take(&mut self.model.answers),
            answers,
            "every question gets its answer, in order"
        );
        assert!(
            self.model.expected.is_empty(),
            "untold: {:?}",
            self.model.expected
        );
        self.model.sweep();
        self.balance();
    }

    fn hear(&mut self, effect: Effect<Batch>, answers: &mut Vec<String>) {
        match effect {
            Effect::Deliver(delivery) => self.model.delivered(&delivery, true),
            Effect::Got {
                delivery, remaining, ..
            } => {
                self.model.delivered(&delivery, false);
                answers.push(format!("got, {remaining} left"));
            }
            Effect::GotEmpty { .. } => answers.push("empty".into()),
            Effect::Settled {
                queue,
                first,
                count,
                location,
                bytes,
                reason,
            } => {
                *self.segments.entry(location.0 >> 32).or_default() -= bytes as i64;
                (0..u64::from(count))
                    .for_each(|at| self.heard(Told::Settled(queue.0, first.0 + at, reason as u8)));
            }
            Effect::Returned {
                queue, first, count, ..
            } => {
                (0..u64::from(count)).for_each(|at| self.heard(Told::Returned(queue.0, first.0 + at)));
            }
            Effect::Relocated {
                queue,
                first,
                count,
                old,
                location,
                bytes,
            } => {
                *self.segments.entry(old.0 >> 32).or_default() -= bytes as i64;
                *self.segments.entry(location.0 >> 32).or_default() += bytes as i64;
                (0..u64::from(count)).for_each(|at| self.heard(Told::Relocated(queue.0, first.0 + at)));
            }
            Effect::ConsumeOk { .. } => answers.push("consuming".into()),
            Effect::Cancelled { .. } => answers.push("cancelled".into()),
            Effect::Refused { refusal, .. } => answers.push(format!("{refusal:?}")),
            Effect::Counts {
                messages, consumers, ..
            } => answers.push(format!("{messages} messages, {consumers} consumers")),
            Effect::DeleteAllowed { messages, .. } => answers.push(format!("delete with {messages}")),
            Effect::Purged { messages, .. } => answers.push(format!("purged {messages}")),
            Effect::ConsumerGone { .. } => answers.push("consumer gone".into()),
            Effect::Unused { queue } => answers.push(format!("q{queue} unused")),
            Effect::Orphaned { run, .. } => answers.push(format!("orphaned {}", run.first)),
            Effect::LimitFreed { .. } => {}
        }
    }

    fn heard(&mut self, told: Told) {
        assert!(
            self.model.heard(told),
            "{told:?} was told, but did not happen (any more)"
        );
    }

    /// Counts and bytes of the machine and of the model agree.
    fn balance(&self) {
        let mut by_segment = BTreeMap::<u64, u64>::new();
        for (&id, queue) in &self.model.queues {
            let depth = self.partition.depth(QueueId(id)).expect("both have the queue");
            assert_eq!(depth.counters.live(), queue.messages.len() as u64);
            assert_eq!(depth.ready, self.model.ready(id).count() as u64);
            for message in queue.messages.values() {
                *by_segment.entry(message.location >> 32).or_default() += 1;
            }
        }
        let live: u64 = self
            .segments
            .values()
            .map(|&bytes| u64::try_from(bytes).expect("no segment below zero"))
            .sum();
        assert_eq!(
            live,
            self.partition.counters().live_bytes(),
            "bytes told and bytes counted agree"
        );
        for (segment, &bytes) in &self.segments {
            let messages = by_segment.get(segment).copied().unwrap_or(0);
            assert!(
                messages > 0 || bytes == 0,
                "segment {segment} has no live messages, but {bytes} live bytes"
            );
        }
        for (connection, gate) in (0u64..).zip(&self.gates) {
            assert_eq!(
                gate.unsent(),
                self.model.unsent.get(&connection).copied().unwrap_or(0)
            );
        }
    }
}

fn pick<'a>(mut keys: impl ExactSizeIterator<Item = &'a u64>, choice: u8) -> Option<u64> {
    let len = keys.len();
    if len == 0 {
        None
    } else {
        keys.nth(usize::from(choice) % len).copied()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_the_model(steps in steps()) {
        let mut walk = Walk::new();
        for step in steps {
            walk.take(step);
        }
        walk.round();
    }
}
