//! Watches the messages that are followed: tells of each effect that concerns one of them.
//!
//! There is a bound on how many are followed. When it is reached the oldest is let go, so that a queue that nobody reads does not
//! keep everything else from being followed.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use everack_broker::ids::{QueueId, Seq};
use everack_broker::partition::{Delivery, Effect, SettleReason};
use everack_storage::Position;
use rustc_hash::FxHashMap;

use crate::messages::Messages;
use crate::record::Target;
use crate::traces::{Event, Phase, Trace, Traced, among};

/// A copy that is followed.
#[derive(Debug)]
struct Followed {
    trace: Arc<Trace>,
    /// Its place among all, by age.
    age: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Tracer {
    queues: FxHashMap<QueueId, BTreeMap<Seq, Followed>>,
    ages: BTreeMap<u64, (QueueId, Seq)>,
    age_next: u64,
    most: usize,
    happened: Vec<Event>,
}

impl Tracer {
    /// Follows `most` copies at a time.
    pub(super) fn new(most: usize) -> Self {
        Self {
            queues: FxHashMap::default(),
            ages: BTreeMap::new(),
            age_next: 0,
            most,
            happened: Vec::new(),
        }
    }

    /// What has happened since the last call.
    pub(super) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.happened)
    }

    /// Messages have entered their queues.
    pub(super) fn enter(&mut self, targets: &[Target], traced: &[Traced], location: Option<Position>) {
        for target in targets {
            for one in among(traced, target.from, target.to) {
                let seq = target.first.plus(u64::from(one.index - target.from));
                self.follow(target.queue, seq, &one.trace);
                self.happened.push(Event::Entered {
                    trace: one.trace.clone(),
                    queue: target.queue,
                    seq,
                    location,
                    origin: one.origin,
                });
            }
        }
    }

    /// So many queues did not take it.
    pub(super) fn missed(&mut self, trace: &Arc<Trace>, places: u32) {
        let trace = trace.clone();
        self.happened.push(Event::Missed { trace, places });
    }

    fn follow(&mut self, queue: QueueId, seq: Seq, trace: &Arc<Trace>) {
        if self.ages.len() >= self.most
            && let Some((_, (queue, seq))) = self.ages.pop_first()
        {
            self.forget(queue, seq);
            self.happened.push(Event::Forgotten { queue, seq });
        }
        let age = self.age_next;
        self.age_next += 1;
        self.ages.insert(age, (queue, seq));
        let trace = trace.clone();
        let followed = Followed { trace, age };
        self.queues.entry(queue).or_default().insert(seq, followed);
    }

    fn forget(&mut self, queue: QueueId, seq: Seq) {
        let Some(followed) = self.queues.get_mut(&queue) else {
            return;
        };
        if let Some(gone) = followed.remove(&seq) {
            self.ages.remove(&gone.age);
        }
        if followed.is_empty() {
            self.queues.remove(&queue);
        }
    }

    /// Those of a queue that are followed, among `count` messages from `first` on.
    fn among(&self, queue: QueueId, first: Seq, count: u32) -> impl Iterator<Item = (Seq, &Arc<Trace>)> {
        let range = (Included(first), Excluded(first.plus(u64::from(count))));
        let followed = self.queues.get(&queue).filter(|_| count > 0);
        let followed = followed.into_iter().flat_map(move |all| all.range(range));
        followed.map(|(seq, followed)| (*seq, &followed.trace))
    }

    /// Those of a queue that are followed, among `count` messages from `first` on; rising.
    pub(super) fn followed(&self, queue: QueueId, first: Seq, count: u32) -> Vec<(Seq, Arc<Trace>)> {
        let followed = self.among(queue, first, count);
        followed.map(|(seq, trace)| (seq, trace.clone())).collect()
    }

    /// Tells of an effect, if it concerns somebody.
    pub(super) fn watch(&mut self, effect: &Effect<Messages>) {
        if self.ages.is_empty() {
            return;
        }
        match effect {
            Effect::Deliver(delivery) => self.delivered(delivery),
            Effect::Got { delivery, .. } => self.delivered(delivery),
            Effect::Settled {
                queue,
                first,
                count,
                reason,
                ..
            } => self.left(*queue, *first, *count, *reason),
            Effect::Returned {
                queue,
                first,
                count,
                failed,
                ..
            } => self.became(*queue, *first, *count, Phase::Returned { failed: *failed }),
            Effect::Parked {
                queue,
                first,
                count,
                why,
                ..
            } => self.became(*queue, *first, *count, Phase::Parked(*why)),
            Effect::Retained {
                queue, first, count, ..
            } => self.became(*queue, *first, *count, Phase::Retained),
            Effect::Unparked {
                queue, first, count, ..
            } => self.became(*queue, *first, *count, Phase::Ready),
            Effect::Rejected {
                queue, first, count, ..
            } => self.became(*queue, *first, *count, Phase::Rejected),
            Effect::Died { queue, death, run } => {
                self.became(*queue, run.first, u32::from(run.count()), Phase::Dying(*death));
            }
            Effect::Orphaned { queue, run } => {
                let reason = SettleReason::Deleted;
                self.left(*queue, run.first, u32::from(run.count()), reason);
            }
            _ => (),
        }
    }

    fn delivered(&mut self, delivery: &Delivery<Messages>) {
        let (queue, run) = (delivery.queue, &delivery.run);
        let events = self.among(queue, run.first, u32::from(run.count()));
        let events = events.map(|(seq, _)| Event::Delivered {
            queue,
            seq,
            consumer: delivery.consumer,
            redelivered: delivery.redelivered,
        });
        let events: Vec<Event> = events.collect();
        self.happened.extend(events);
    }

    fn became(&mut self, queue: QueueId, first: Seq, count: u32, phase: Phase) {
        let events = self.among(queue, first, count);
        let events: Vec<Event> = events
            .map(|(seq, _)| Event::Became { queue, seq, phase })
            .collect();
        self.happened.extend(events);
    }

    fn left(&mut self, queue: QueueId, first: Seq, count: u32, reason: SettleReason) {
        let gone: Vec<Seq> = self.among(queue, first, count).map(|(seq, _)| seq).collect();
        for seq in gone {
            self.forget(queue, seq);
            self.happened.push(Event::Left { queue, seq, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use everack_broker::ids::{ConnectionId, ConsumerId, Location};
    use everack_broker::name::Name;
    use everack_broker::partition::{Death, Marks, Run};

    use super::*;
    use crate::traces::Publisher;

    fn trace(number: u64) -> Arc<Trace> {
        Arc::new(Trace {
            number,
            parent: None,
            exchange: Name::default(),
            routing_key: Name::default(),
            message_id: None,
            correlation_id: None,
            body_bytes: 0,
            persistent: true,
            publisher: Arc::new(Publisher {
                peer: String::new(),
                user: Name::default(),
                vhost: Name::default(),
            }),
            channel: 1,
        })
    }

    fn run(first: u64, count: u16) -> Run<Messages> {
        Run {
            first: Seq(first),
            location: Location(1),
            content: None,
            bytes: 0,
            from: 0,
            to: count,
        }
    }

    fn delivered(first: u64, count: u16) -> Effect<Messages> {
        Effect::Deliver(Delivery {
            consumer: ConsumerId(1),
            connection: ConnectionId(1),
            queue: QueueId(1),
            run: run(first, count),
            first_delivery: 0,
            marks: Marks::default(),
            redelivered: false,
        })
    }

    fn settled(first: u64, count: u32) -> Effect<Messages> {
        Effect::Settled {
            queue: QueueId(1),
            first: Seq(first),
            count,
            location: Location(1),
            bytes: 0,
            reason: SettleReason::Done,
        }
    }

    /// A tracer of `most`, with those of the first queue's messages 11 to 20 followed whose places in their batch (2 to 11) are given; those in odd
    /// places go on from the ninth queue.
    fn following(most: usize, indexes: &[u16]) -> Tracer {
        let mut tracer = Tracer::new(most);
        let traced = indexes.iter().map(|&index| Traced {
            index,
            trace: trace(u64::from(index)),
            origin: (index % 2 == 1).then_some((QueueId(9), Seq(u64::from(index)))),
        });
        let traced: Vec<Traced> = traced.collect();
        let target = Target {
            queue: QueueId(1),
            first: Seq(11),
            from: 2,
            to: 12,
        };
        tracer.enter(&[target], &traced, None);
        tracer
    }

    fn told(event: &Event) -> String {
        match event {
            Event::Entered {
                trace, seq, origin, ..
            } => match origin {
                Some((queue, origin)) => format!("{} is {seq}, which was {queue}/{origin}", trace.number),
                None => format!("{} is {seq}", trace.number),
            },
            Event::Delivered { seq, .. } => format!("{seq} delivered"),
            Event::Became { seq, phase, .. } => format!("{seq} {phase:?}"),
            Event::Left { seq, reason, .. } => format!("{seq} {reason:?}"),
            Event::Forgotten { seq, .. } => format!("{seq} forgotten"),
            other => format!("{other:?}"),
        }
    }

    /// What is told of the effects, behind what is told of entering.
    #[track_caller]
    fn check(most: usize, indexes: &[u16], effects: &[Effect<Messages>], expected: &[&str]) {
        let mut tracer = following(most, indexes);
        effects.iter().for_each(|effect| tracer.watch(effect));
        let events: Vec<String> = tracer.take().iter().map(told).collect();
        assert_eq!(events, expected);
        assert!(tracer.take().is_empty());
        let followed: usize = tracer.queues.values().map(BTreeMap::len).sum();
        assert_eq!((tracer.ages.len(), followed <= most), (followed, true));
    }

    #[test]
    fn only_what_is_followed_is_told_of() {
        check(9, &[], &[delivered(11, 10), settled(11, 10)], &[]);
        check(9, &[0, 1, 12], &[delivered(11, 10)], &[]);
        check(
            9,
            &[2, 11],
            &[
                delivered(11, 9),
                delivered(20, 1),
                settled(11, 10),
                settled(11, 10),
            ],
            &[
                "2 is 11",
                "11 is 20, which was 9/11",
                "11 delivered",
                "20 delivered",
                "11 Done",
                "20 Done",
            ],
        );
        let died = Effect::Died {
            queue: QueueId(1),
            death: Death::Expired,
            run: run(12, 1),
        };
        let elsewhere = Effect::Died {
            queue: QueueId(2),
            death: Death::Expired,
            run: run(12, 1),
        };
        check(
            9,
            &[3],
            &[elsewhere, died],
            &["3 is 12, which was 9/3", "12 Dying(Expired)"],
        );
        let orphaned = Effect::Orphaned {
            queue: QueueId(1),
            run: run(11, 10),
        };
        check(
            9,
            &[3],
            &[orphaned, delivered(11, 10)],
            &["3 is 12, which was 9/3", "12 Deleted"],
        );
    }

    #[test]
    fn the_oldest_is_let_go() {
        check(
            2,
            &[2, 3, 4],
            &[delivered(11, 10)],
            &[
                "2 is 11",
                "3 is 12, which was 9/3",
                "11 forgotten",
                "4 is 13",
                "12 delivered",
                "13 delivered",
            ],
        );
    }

    #[test]
    fn who_goes_on_is_found_by_number() {
        let tracer = following(9, &[2, 4, 11]);
        let followed = tracer.followed(QueueId(1), Seq(12), 8);
        let followed: Vec<_> = followed
            .iter()
            .map(|(seq, trace)| (seq.0, trace.number))
            .collect();
        assert_eq!(followed, [(13, 4)]);
    }
}
