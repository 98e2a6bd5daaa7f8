//! A queue machine as one would write it first: a map of messages, each with its state. It predicts what commands do, and
//! judges every delivery; whom a message goes to is the machine's own choice among those who may have it.

use std::collections::{BTreeMap, BTreeSet};

use crate::partition::{Delivery, Rules, SettleReason};

use super::harness::Batch;
use super::turns::Turns;

/// What the machine has to tell of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Settled(u64, u64, u8),
    Returned(u64, u64, bool),
    Parked(u64, u64),
    Unparked(u64, u64),
    Relocated(u64, u64),
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    /// What its content is known by.
    pub(super) mark: u64,
    pub(super) location: u64,
    pub(super) index: u16,
    pub(super) deliveries: u32,
    pub(super) failures: u16,
    pub(super) parked: bool,
    pub(super) rank: i16,
    /// It waits until then.
    pub(super) delayed_until: Option<u64>,
    /// The consumer that holds it, and its delivery number.
    pub(super) held: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ModelQueue {
    pub(super) auto_delete: bool,
    pub(super) rules: Rules,
    pub(super) turns: Turns,
    pub(super) messages: BTreeMap<u64, Message>,
    pub(super) redelivered_below: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ModelConsumer {
    pub(super) queue: u64,
    pub(super) connection: u64,
    pub(super) active: bool,
    pub(super) getter: bool,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i32,
    pub(super) prefetch: u64,
    pub(super) limit: Option<usize>,
    pub(super) next_delivery: u64,
    /// Deliveries that were taken away, and not settled by its client.
    pub(super) taken: BTreeSet<u64>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) queues: BTreeMap<u64, ModelQueue>,
    pub(super) consumers: BTreeMap<u64, ModelConsumer>,
    /// The bound of each shared limit.
    pub(super) limits: Vec<u64>,
    /// Unsent weight by connection, and how much shuts a gate.
    pub(super) unsent: BTreeMap<u64, u64>,
    pub(super) gate: u64,
    /// What commands have brought about and the machine has not told yet, and how often.
    pub(super) expected: BTreeMap<Told, u32>,
    /// Answers, in order.
    pub(super) answers: Vec<String>,
}

impl Model {
    pub(super) fn ready(&self, queue: u64) -> impl Iterator<Item = (&u64, &Message)> {
        let messages = self.queues.get(&queue).map(|queue| &queue.messages);
        messages.into_iter().flatten().filter(|(_, message)| {
            message.held.is_none() && !message.parked && message.delayed_until.is_none()
        })
    }

    pub(super) fn held_by(&self, consumer: u64) -> Vec<(u64, u64)> {
        let Some(held_by) = self.consumers.get(&consumer) else {
            return Vec::new();
        };
        let Some(queue) = self.queues.get(&held_by.queue) else {
            return Vec::new();
        };
        let mut held: Vec<_> = queue
            .messages
            .iter()
            .filter_map(|(&seq, message)| {
                message
                    .held
                    .filter(|held| held.0 == consumer)
                    .map(|held| (held.1, seq))
            })
            .collect();
        held.sort_unstable();
        held
    }

    /// What counts for a consumer's limits.
    fn counted(&self, consumer: u64) -> u64 {
        let taken = self.consumers.get(&consumer).map_or(0, |known| known.taken.len());
        (self.held_by(consumer).len() + taken) as u64
    }

    fn held_under(&self, limit: usize) -> u64 {
        let under = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.limit == Some(limit));
        under.map(|(&consumer, _)| self.counted(consumer)).sum()
    }

    pub(super) fn consumers_of(&self, queue: u64) -> usize {
        self.consumers
            .values()
            .filter(|consumer| consumer.queue == queue && consumer.active)
            .count()
    }

    pub(super) fn expect(&mut self, told: Told) {
        *self.expected.entry(told).or_default() += 1;
    }

    /// Crosses out what the machine has told; false if it had no reason to.
    pub(super) fn heard(&mut self, told: Told) -> bool {
        let Some(left) = self.expected.get_mut(&told) else {
            return false;
        };
        *left -= 1;
        if *left == 0 {
            self.expected.remove(&told);
        }
        true
    }

    /// A message leaves for good.
    pub(super) fn settle(&mut self, queue: u64, seq: u64, reason: SettleReason) {
        let gone = self
            .queues
            .get_mut(&queue)
            .and_then(|queue| queue.messages.remove(&seq));
        assert!(gone.is_some(), "message {seq} is settled once");
        self.expect(Told::Settled(queue, seq, reason as u8));
    }

    pub(super) fn give_back(&mut self, queue_id: u64, seq: u64, failed: bool) {
        let queue = self.queues.get_mut(&queue_id).expect("it is there");
        let failed = failed && queue.rules.counts_failures;
        let message = queue.messages.get_mut(&seq).expect("held");
        message.held = None;
        message.deliveries += 1;
        message.failures += u16::from(failed);
        message.parked = queue
            .rules
            .delivery_limit
            .is_some_and(|limit| failed && message.failures > limit);
        let parked = message.parked;
        let retry = queue.rules.retry.filter(|retry| !parked && retry.delays(failed));
        message.delayed_until = retry.map(|retry| self.now + retry.delay_millis(message.failures));
        self.expect(Told::Returned(queue_id, seq, failed));
        if parked {
            self.expect(Told::Parked(queue_id, seq));
        }
    }

    /// A dead consumer has failed with its oldest message only; what was gotten one by one has failed altogether.
    pub(super) fn give_back_all(&mut self, consumer: u64, dead: bool) {
        let Some((queue, getter)) = self
            .consumers
            .get(&consumer)
            .map(|consumer| (consumer.queue, consumer.getter))
        else {
            return;
        };
        for (at, (_, seq)) in self.held_by(consumer).into_iter().enumerate() {
            self.give_back(queue, seq, dead && (getter || at == 0));
        }
    }

    /// What has waited long enough is ready.
    pub(super) fn end_delays(&mut self) {
        for queue in self.queues.values_mut() {
            for message in queue.messages.values_mut() {
                message.delayed_until = message.delayed_until.filter(|until| *until > self.now);
            }
        }
    }

    pub(super) fn delayed(&self, queue: u64) -> Vec<u64> {
        let messages = self.queues[&queue].messages.iter();
        let delayed = messages.filter(|(_, message)| message.delayed_until.is_some());
        delayed.map(|(&seq, _)| seq).collect()
    }

    pub(super) fn parked(&self, queue: u64) -> Vec<u64> {
        let messages = self.queues[&queue].messages.iter();
        let parked = messages.filter(|(_, message)| message.parked);
        parked.map(|(&seq, _)| seq).collect()
    }

    pub(super) fn withdraw(&mut self, consumer: u64) {
        let Some(gone) = self
            .consumers
            .get_mut(&consumer)
            .filter(|consumer| consumer.active)
        else {
            return;
        };
        gone.active = false;
        let queue = gone.queue;
        self.queues
            .get_mut(&queue)
            .expect("it is there")
            .turns
            .leave(consumer);
        if self.queues[&queue].auto_delete && self.consumers_of(queue) == 0 {
            self.answers.push(format!("q{queue} unused"));
        }
    }

    /// Forgets consumers that are there no more.
    pub(super) fn sweep(&mut self) {
        let gone: Vec<u64> = self
            .consumers
            .iter()
            .filter(|(id, consumer)| !consumer.active && !consumer.getter && self.counted(**id) == 0)
            .map(|(&id, _)| id)
            .collect();
        for id in gone {
            self.consumers.remove(&id);
        }
    }

    /// Judges a delivery, and takes note of it. `weighs` says whether it went through the gate.
    pub(super) fn delivered(&mut self, delivery: &Delivery<Batch>, weighs: bool) {
        let (queue_id, consumer_id) = (delivery.queue.0, delivery.consumer.0);
        let run = &delivery.run;
        let consumer = self
            .consumers
            .get(&consumer_id)
            .expect("a consumer that is there")
            .clone();
        assert_eq!(consumer.queue, queue_id, "a consumer gets from its own queue");
        assert_eq!(
            consumer.next_delivery, delivery.first_delivery,
            "deliveries are numbered in a row"
        );
        if weighs {
            assert!(consumer.active, "only who consumes is delivered to");
            assert!(
                self.has_turn(consumer_id),
                "only the active consumer is delivered to"
            );
            let unsent = self.unsent.entry(consumer.connection).or_default();
            assert!(*unsent < self.gate, "a gate that is shut lets nothing through");
            *unsent += run.weight();
        }
        for at in 0..u64::from(run.count()) {
            let seq = run.first.0 + at;
            let foremost = self
                .ready(queue_id)
                .min_by_key(|&(&seq, message)| (-message.rank, seq));
            let foremost = foremost.map(|(&seq, _)| seq);
            assert_eq!(
                foremost,
                Some(seq),
                "the most urgent, then the oldest message goes first"
            );
            let queue = self.queues.get_mut(&queue_id).expect("the queue is there");
            let message = queue.messages.get_mut(&seq).expect("the message is there");
            judge(message, delivery, at, queue.redelivered_below);
            if consumer.no_ack {
                self.settle(queue_id, seq, SettleReason::NoAck);
            } else {
                message.held = Some((consumer_id, delivery.first_delivery + at));
            }
        }
        self.consumers
            .get_mut(&consumer_id)
            .expect("seen above")
            .next_delivery += u64::from(run.count());
        self.judge_credit(consumer_id);
    }

    fn judge_credit(&self, consumer_id: u64) {
        let consumer = &self.consumers[&consumer_id];
        if consumer.no_ack || consumer.getter {
            return;
        }
        let held = self.counted(consumer_id);
        assert!(
            consumer.prefetch == 0 || held <= consumer.prefetch,
            "nobody gets more than the prefetch"
        );
        if let Some(limit) = consumer.limit {
            let most = self.limits[limit];
            assert!(
                most == 0 || self.held_under(limit) <= most,
                "nobody gets more than the shared limit"
            );
        }
    }

    /// After a round nothing is ready that somebody could take.
    pub(super) fn judge_rest(&self) {
        for (&id, consumer) in self.consumers.iter().filter(|(_, consumer)| consumer.active) {
            let sated = !consumer.no_ack && consumer.prefetch > 0 && self.counted(id) >= consumer.prefetch;
            let limited = consumer.limit.is_some_and(|limit| {
                let most = self.limits[limit];
                !consumer.no_ack && most > 0 && self.held_under(limit) >= most
            });
            let shut = self
                .unsent
                .get(&consumer.connection)
                .is_some_and(|&unsent| unsent > self.gate / 2);
            let ready = self.ready(consumer.queue).count();
            assert!(
                sated || limited || shut || ready == 0 || !self.has_turn(id),
                "{ready} messages wait although consumer {id} could take them"
            );
        }
    }
}

fn judge(message: &Message, delivery: &Delivery<Batch>, at: u64, redelivered_below: u64) {
    let run = &delivery.run;
    let index = run.from + at as u16;
    assert_eq!(
        run.location.0, message.location,
        "a message is where it was written"
    );
    match &run.content {
        Some(content) => assert_eq!(content.mark(index), message.mark, "content is what was published"),
        None => assert!(run.location.is_durable(), "a transient message has its content"),
    }
    if run.location.is_durable() {
        assert_eq!(
            index, message.index,
            "a message is where it was written within its record"
        );
    }
    let marks = (message.deliveries, message.failures, message.rank);
    let told = delivery.marks;
    let told = (told.deliveries, told.failures, told.rank);
    assert_eq!(told, marks, "deliveries and failures are counted");
    let again = message.deliveries > 0 || run.first.0 < redelivered_below;
    assert_eq!(
        delivery.redelivered, again,
        "what was delivered before is flagged, and nothing else"
    );
}
