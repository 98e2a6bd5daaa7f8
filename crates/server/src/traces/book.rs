//! From what happens to messages that are followed to stretches of their way, each with its beginning and its end.
//!
//! ```text
//! publish ┬─ wait ── deliver          a copy in each queue; another wait and another delivery whenever it comes back
//!         └─ wait ── dead-letter ── wait ── deliver
//! ```
//!
//! Told what happened and when, in that order; knows no clock. How many there may be is bounded where copies are followed
//! (`everack_node::partition`) and here for publishes and consumers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use everack_broker::ids::{ConsumerId, QueueId, Seq};
use everack_broker::name::Name;
use everack_broker::partition::{Death, SettleReason};
use everack_node::traces::{Event, Fate, Phase, Publisher, Trace};
use everack_storage::Position;

/// Nanoseconds since 1970.
pub(super) type Nanos = u64;

/// Syncs that are remembered, to find the one that made a message durable.
const SYNCS_KEPT: usize = 64;

/// A stretch of a message's way that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(super) trace: Arc<Trace>,
    /// Its own number, from which its id is made; none for the publish, which is found by the trace's number.
    pub(super) number: Option<u64>,
    /// The number of the stretch that led to it; none for the publish.
    pub(super) parent: Option<u64>,
    pub(super) begun: Nanos,
    pub(super) ended: Nanos,
    /// What it came to.
    pub(super) outcome: &'static str,
    pub(super) stretch: Stretch,
}

/// What kind of stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    Publish {
        confirms: bool,
        /// Queues that it went to, and queues among them that did not take it.
        places: u32,
        missed: u32,
        /// The sync that made it durable.
        sync: Option<(Nanos, Nanos)>,
    },
    InQueue {
        queue: Name,
        /// It had come back before.
        redelivered: bool,
        stage: Stage,
    },
}

/// Who gets messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    /// Empty for `basic.get`.
    pub(super) tag: Name,
    pub(super) channel: u16,
    pub(super) peer: Arc<Publisher>,
}

/// A publish that is not everywhere yet.
#[derive(Debug)]
struct Publish {
    trace: Arc<Trace>,
    begun: Nanos,
    confirms: bool,
    places: u32,
    left: u32,
    missed: u32,
    sync: Option<(Nanos, Nanos)>,
}

/// A copy in a queue.
#[derive(Debug)]
struct Copy {
    trace: Arc<Trace>,
    queue: Name,
    parent: Option<u64>,
    redelivered: bool,
    since: Nanos,
    /// The number of the stretch that it is in.
    number: u64,
    stage: Stage,
}

/// Where in its queue a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    With {
        consumer: Option<Arc<Consumer>>,
        redelivered: bool,
    },
    Dying(Death),
    Aside,
}

#[derive(Clone, Copy, Debug)]
struct Sync {
    begun: Nanos,
    ended: Nanos,
    durable: Position,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Book {
    publishes: BTreeMap<u64, Publish>,
    copies: HashMap<(QueueId, Seq), Copy>,
    consumers: HashMap<ConsumerId, Arc<Consumer>>,
    syncs: VecDeque<Sync>,
    number_next: u64,
    most: usize,
    ended: Vec<Ended>,
    /// Stretches that were let go before they ended, for want of room.
    pub(super) forgotten: u64,
}

impl Book {
    /// Follows `most` publishes at a time.
    pub(super) fn new(most: usize) -> Self {
        Self {
            publishes: BTreeMap::new(),
            copies: HashMap::new(),
            consumers: HashMap::new(),
            syncs: VecDeque::new(),
            number_next: 0,
            most,
            ended: Vec::new(),
            forgotten: 0,
        }
    }

    /// What has ended since the last call, in the order in which it did.
    pub(super) fn take(&mut self) -> std::vec::Drain<'_, Ended> {
        self.ended.drain(..)
    }

    /// Publishes under way and copies in queues.
    pub(super) fn open(&self) -> usize {
        self.publishes.len() + self.copies.len()
    }

    /// A sync has made everything before `durable` so.
    pub(super) fn synced(&mut self, begun: Nanos, ended: Nanos, durable: Position) {
        if self.syncs.len() == SYNCS_KEPT {
            self.syncs.pop_front();
        }
        self.syncs.push_back(Sync {
            begun,
            ended,
            durable,
        });
    }

    /// `name` tells what a queue is called.
    pub(super) fn hear(&mut self, event: Event, now: Nanos, name: impl FnOnce(QueueId) -> Name) {
        match event {
            Event::Published {
                trace,
                fate,
                confirms,
            } => self.published(trace, fate, confirms, now),
            Event::Entered {
                trace,
                queue,
                seq,
                location,
                origin,
            } => {
                self.enters(&trace, (queue, seq), name(queue), origin, now);
                if origin.is_none() {
                    self.arrived_durably(&trace, location, now);
                }
            }
            Event::Missed { trace, places } => {
                if let Some(publish) = self.publishes.get_mut(&trace.number) {
                    publish.missed += places;
                    self.arrived(trace.number, places, now);
                }
            }
            Event::Delivered {
                queue,
                seq,
                consumer,
                redelivered,
            } => {
                let consumer = self.consumers.get(&consumer).cloned();
                let with = Stage::With {
                    consumer,
                    redelivered,
                };
                self.turn((queue, seq), with, "delivered", now);
            }
            Event::Became { queue, seq, phase } => self.became((queue, seq), phase, now),
            Event::Left { queue, seq, reason } => self.left((queue, seq), outcome(reason), now),
            Event::Forgotten { queue, seq } => {
                if self.copies.remove(&(queue, seq)).is_some() {
                    self.forgotten += 1;
                }
            }
            Event::ConsumerBegins {
                consumer,
                tag,
                channel,
                peer,
            } => {
                if self.consumers.len() < self.most {
                    let known = Consumer { tag, channel, peer };
                    self.consumers.insert(consumer, Arc::new(known));
                }
            }
            Event::ConsumerEnds { consumer } => {
                self.consumers.remove(&consumer);
            }
        }
    }

    fn published(&mut self, trace: Arc<Trace>, fate: Fate, confirms: bool, now: Nanos) {
        let places = match fate {
            Fate::Queues(places) => places,
            _ => 0,
        };
        let publish = Publish {
            trace: trace.clone(),
            begun: now,
            confirms,
            places,
            left: places,
            missed: 0,
            sync: None,
        };
        let outcome = match fate {
            Fate::Queues(_) => {
                self.publishes.insert(trace.number, publish);
                if self.publishes.len() > self.most {
                    self.publishes.pop_first();
                    self.forgotten += 1;
                }
                return;
            }
            Fate::Answer => "answered",
            Fate::Returned => "returned",
            Fate::Refused => "refused",
            Fate::Dropped => "dropped",
        };
        self.ended.push(publish.ended(outcome, now));
    }

    /// A copy is in a queue, and hangs below the stretch of the one that it goes on from.
    fn enters(
        &mut self,
        trace: &Arc<Trace>,
        key: (QueueId, Seq),
        queue: Name,
        origin: Option<(QueueId, Seq)>,
        now: Nanos,
    ) {
        let origin = origin.and_then(|origin| self.copies.get(&origin));
        let copy = Copy {
            trace: trace.clone(),
            queue,
            parent: origin.map(|origin| origin.number),
            redelivered: false,
            since: now,
            number: self.next_number(),
            stage: Stage::Waiting,
        };
        self.copies.insert(key, copy);
    }

    /// One of the places of a publish is done with: its copy is there, at `location` if it is durable.
    fn arrived_durably(&mut self, trace: &Trace, location: Option<Position>, now: Nanos) {
        if let Some(publish) = self.publishes.get_mut(&trace.number) {
            let sync = location.and_then(|location| self.syncs.iter().find(|sync| location < sync.durable));
            let sync = sync.map(|sync| (sync.begun, sync.ended));
            publish.sync = publish.sync.max(sync);
            self.arrived(trace.number, 1, now);
        }
    }

    /// So many places of a publish are done with.
    fn arrived(&mut self, number: u64, places: u32, now: Nanos) {
        let Some(publish) = self.publishes.get_mut(&number) else {
            return;
        };
        publish.left = publish.left.saturating_sub(places);
        if publish.left > 0 {
            return;
        }
        if let Some(publish) = self.publishes.remove(&number) {
            let outcome = match publish.missed {
                0 => "enqueued",
                missed if missed < publish.places => "partly refused",
                _ => "refused",
            };
            self.ended.push(publish.ended(outcome, now));
        }
    }

    fn became(&mut self, key: (QueueId, Seq), phase: Phase, now: Nanos) {
        let Some(copy) = self.copies.get_mut(&key) else {
            return;
        };
        match phase {
            Phase::Returned { failed } => {
                copy.redelivered = true;
                let outcome = if failed { "failed" } else { "returned" };
                self.turn(key, Stage::Waiting, outcome, now);
            }
            Phase::Rejected => self.turn(key, Stage::Dying(Death::Rejected), "rejected", now),
            Phase::Dying(_) if matches!(copy.stage, Stage::Dying(_)) => (),
            Phase::Dying(death) => self.turn(key, Stage::Dying(death), died_of(death), now),
            Phase::Parked(death) => self.turn(key, Stage::Aside, died_of(death), now),
            Phase::Retained => self.turn(key, Stage::Aside, "no-ack", now),
            Phase::Ready => self.turn(key, Stage::Waiting, "ready", now),
        }
    }

    /// A copy goes from one stage to the next. A wait that ends where it began was none.
    fn turn(&mut self, key: (QueueId, Seq), stage: Stage, outcome: &'static str, now: Nanos) {
        let number = self.next_number();
        let Some(copy) = self.copies.get_mut(&key) else {
            return;
        };
        let was_none = matches!(copy.stage, Stage::Waiting) && copy.since == now && copy.redelivered;
        if !was_none {
            self.ended.push(copy.ended(outcome, now));
        }
        copy.since = now;
        copy.number = number;
        copy.stage = stage;
    }

    fn left(&mut self, key: (QueueId, Seq), outcome: &'static str, now: Nanos) {
        if let Some(copy) = self.copies.remove(&key) {
            self.ended.push(copy.ended(outcome, now));
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number_next += 1;
        self.number_next
    }
}

impl Publish {
    fn ended(self, outcome: &'static str, now: Nanos) -> Ended {
        Ended {
            trace: self.trace,
            number: None,
            parent: None,
            begun: self.begun,
            ended: now,
            outcome,
            stretch: Stretch::Publish {
                confirms: self.confirms,
                places: self.places,
                missed: self.missed,
                sync: self.sync,
            },
        }
    }
}

impl Copy {
    /// The stretch that it is in, which ends now.
    fn ended(&self, outcome: &'static str, now: Nanos) -> Ended {
        Ended {
            trace: self.trace.clone(),
            number: Some(self.number),
            parent: self.parent,
            begun: self.since,
            ended: now,
            outcome,
            stretch: Stretch::InQueue {
                queue: self.queue.clone(),
                redelivered: self.redelivered,
                stage: self.stage.clone(),
            },
        }
    }
}

/// What a message has died of.
pub(super) fn died_of(death: Death) -> &'static str {
    match death {
        Death::Rejected => "rejected",
        Death::Expired => "expired",
        Death::Overflow => "overflowed",
        Death::DeliveryLimit => "delivery limit",
        Death::Due => "due",
    }
}

/// Why a message has left its queue.
fn outcome(reason: SettleReason) -> &'static str {
    match reason {
        SettleReason::Done => "acknowledged",
        SettleReason::NoAck => "no-ack",
        SettleReason::Rejected => "rejected",
        SettleReason::Purged => "purged",
        SettleReason::Deleted => "queue deleted",
        SettleReason::Quarantined => "damaged",
        SettleReason::ParkedDiscarded => "discarded",
        SettleReason::Expired => "expired",
        SettleReason::Overflowed => "overflowed",
        SettleReason::DeliveryLimit => "delivery limit",
        SettleReason::DeadLettered => "dead-lettered",
        SettleReason::Moved => "moved",
        SettleReason::Cycle => "cycle",
        SettleReason::Unroutable => "unroutable",
    }
}
