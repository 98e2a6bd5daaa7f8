//! What the machine tells during the walk, compared with what the model expects.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Millis, QueueId, Seq};
use crate::partition::{Aside, Death, Effect, Gate, Kept, Limits, Marks, Partition, Restored, SharedLimit};

use super::harness::Batch;
use super::model::Told;
use super::turns::Turns;
use super::walk::{GATE, RESIDENT_BYTES_MAX, Walk};

impl Walk {
    /// Everything but durable messages is forgotten; those come back from what `live` lists, slice by slice.
    pub(super) fn restart(&mut self, slice: usize) {
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
                .for_each(|message| (message.held, message.delayed_until) = (None, None));
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
                            (run.marks, run.aside),
                        )
                    })
                })
                .collect();
            let known: Vec<_> = queue
                .messages
                .iter()
                .map(|(&seq, message)| {
                    let marks = Marks {
                        deliveries: message.deliveries,
                        failures: message.failures,
                        rank: message.rank,
                    };
                    let aside = message.parked.then_some(Aside::Parked(Death::DeliveryLimit));
                    (seq, message.location, message.index, (marks, aside))
                })
                .collect();
            assert_eq!(
                listed, known,
                "a checkpoint lists exactly what is durable and live, in order"
            );
            for run in &live {
                *self.segments.entry(run.location.0 >> 32).or_default() += i64::from(run.bytes);
            }
            let (auto_delete, rules) = (queue.auto_delete, Box::new(queue.rules.clone()));
            queue.turns = Turns::default();
            self.partition.restore_queue(
                Restored {
                    queue: QueueId(id),
                    durable: true,
                    auto_delete,
                    rules,
                    next_seq,
                },
                Kept::default(),
                live,
            );
            // A limit that was lowered meanwhile counts for what had failed before.
            let limit = queue.rules.delivery_limit;
            for (&seq, message) in &mut queue.messages {
                if !message.parked && limit.is_some_and(|limit| message.failures > limit) {
                    message.parked = true;
                    *self.model.expected.entry(Told::Parked(id, seq)).or_default() += 1;
                }
            }
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

    pub(super) fn round(&mut self) {
        self.tell();
        self.model.judge_rest();
    }

    /// Ends a round of the machine and compares all that it tells.
    pub(super) fn tell(&mut self) {
        self.partition.pass(Millis(self.model.now));
        self.model.end_delays();
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
                queue,
                first,
                count,
                failed,
                ..
            } => {
                (0..u64::from(count))
                    .for_each(|at| self.heard(Told::Returned(queue.0, first.0 + at, failed)));
            }
            Effect::Parked {
                queue, first, count, ..
            } => {
                (0..u64::from(count)).for_each(|at| self.heard(Told::Parked(queue.0, first.0 + at)));
            }
            Effect::Retained { first, .. } => panic!("message {first} is retained, and no queue does so"),
            Effect::Unparked {
                queue, first, count, ..
            } => {
                (0..u64::from(count)).for_each(|at| self.heard(Told::Unparked(queue.0, first.0 + at)));
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
            Effect::Rejected { first, .. } => answers.push(format!("rejected {first}")),
            Effect::Died { run, .. } => answers.push(format!("died {}", run.first)),
            Effect::Orphaned { run, .. } => answers.push(format!("orphaned {}", run.first)),
            Effect::LimitFreed { .. } => {}
            Effect::TimedOut { consumer, .. } => panic!("consumer {consumer} has all the time in the world"),
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
            assert_eq!(depth.delayed, self.model.delayed(id).len() as u64);
            assert_eq!(depth.parked, self.model.parked(id).len() as u64);
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
