//! What the clients of a history know, and nothing else: which messages must be there, which may be, which must not.
//!
//! ```text
//!              confirmed, or seen there                 acknowledged, purged ...              long before the crash, or
//!   Possible ───────────────────────────> Kept ─────────────────────────────────> Leaving ─────── answered for certain ──> Gone
//!      ^                                                                             │
//!      └──────────────────── the connection died, or a crash too soon after ─────────┘
//! ```
//!
//! A copy of a message in one queue is *possible* while nobody can know; *kept* it must be found; *leaving* it may be found only if
//! nobody took the settlement in or a crash came too soon; *gone* it must never be seen again. Whether broken promises follow from
//! that is for the [properties](crate::properties) to say: they look at the book before it takes an event in.

mod apply;
mod crowd;
mod event;
pub mod family;
mod history;
mod restart;

use std::collections::{BTreeMap, BTreeSet};

pub use event::{
    Address, Binding, ChannelId, Class, Crash, Delivered, Event, Found, Message, Name, Number, TransactionId,
    Verdict,
};
pub use history::{History, Presence};

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The simulated time, in microseconds.
    pub now_us: u64,
    /// Starts of the node so far.
    pub life: u32,
    /// When this life began.
    pub life_began_us: u64,
    /// All messages.
    pub messages: BTreeMap<Number, Publish>,
    /// All queues that anybody has declared.
    pub queues: BTreeMap<Name, Queue>,
    /// All bindings that anybody has asked for.
    pub bindings: BTreeMap<Binding, History>,
    /// All channels.
    pub channels: BTreeMap<ChannelId, Channel>,
    /// All consumers, by their number.
    pub consumers: BTreeMap<u64, Consumer>,
    /// All transactions that were begun.
    pub transactions: BTreeMap<TransactionId, Transaction>,
    /// Messages that bit rot may have taken.
    pub rotten: BTreeSet<Number>,
    /// Channels that may hold messages of a queue, whether it is known or not.
    pub readers: BTreeMap<Name, BTreeSet<ChannelId>>,
    /// A read has failed: the broker may have given messages back without anybody being told first.
    pub reads_failed: bool,
    /// There is a queue with a limit.
    has_limits: bool,
}

/// A publish, and what became of it.
#[derive(Clone, Debug)]
pub struct Publish {
    /// What was sent.
    pub message: Message,
    /// Its place among the publishes of its channel.
    pub order: u64,
    /// When it was sent.
    pub sent_us: u64,
    /// When its confirm was seen, or nothing more could be heard of it.
    pub resolved_us: Option<u64>,
    /// Its confirm was seen.
    pub confirmed: bool,
    /// It came back.
    pub returned: bool,
    /// It was refused: there was no room for it.
    pub refused: bool,
    /// It was rolled back, or its transaction never committed: it must not be seen.
    pub withdrawn: bool,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// What it promises.
    pub class: Class,
    /// Whether it is there.
    pub there: History,
    /// Present while a purge may be at work.
    pub purging: History,
    /// What is known of its messages.
    pub copies: BTreeMap<Number, Copy>,
    /// When its last deletion was answered.
    pub deleted_us: Option<u64>,
    /// When a deletion may last have taken effect, answered or not.
    pub doomed_us: Option<u64>,
    /// A deletion has been asked for, and nobody knows what became of it.
    pub dooming: bool,
    /// When a purge may last have taken effect.
    pub purged_us: Option<u64>,
    /// Messages that were deleted with the queue since its last purge was asked for: either may have come first.
    pub deleted_beside_purge: u64,
    /// When messages may last have come back to it.
    pub returned_us: Option<u64>,
    /// The others of its family, as far as anybody has declared them.
    pub heirs: BTreeMap<Name, Heir>,
    /// The consumer that was last delivered to, where that can only be one.
    pub active: Option<u64>,
    /// When an operator last ordered messages from here to another queue of the family.
    pub ordered_us: Option<u64>,
}

/// A queue that dead letters go to.
#[derive(Clone, Debug, Default)]
pub struct Heir {
    /// Whether it is there.
    pub there: Presence,
    /// A deletion has been asked for, and nobody knows what became of it.
    pub dooming: bool,
    /// When a deletion may last have taken effect.
    pub doomed_us: Option<u64>,
}

/// A message in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whether it must be there.
    pub fate: Fate,
    /// The delivery that holds it.
    pub holder: Option<(ChannelId, u64)>,
    /// When somebody last saw it.
    pub seen_us: Option<u64>,
    /// A transaction that settles it, and of which nobody knows whether it counts.
    pub doubt: Option<TransactionId>,
    /// Where in its family it was last seen.
    pub place: Option<Name>,
    /// Somebody has rejected it, so that it went on within its family.
    pub rejected: bool,
    /// It has been seen with an heir.
    pub moved: bool,
    /// When failures of it were taken in that are not forgotten.
    pub failures: Vec<u64>,
    /// When it was put back, if the broker has taken that in and nobody has had it since.
    pub back_us: Option<u64>,
    /// When it was done with.
    pub left_us: Option<u64>,
}

impl Copy {
    /// Nobody has seen it yet.
    pub fn new(fate: Fate) -> Self {
        Self {
            fate,
            holder: None,
            seen_us: None,
            doubt: None,
            place: None,
            rejected: false,
            moved: false,
            failures: Vec::new(),
            back_us: None,
            left_us: None,
        }
    }
}

/// See the module documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may be there.
    Possible,
    /// It must be there.
    Kept,
    /// It has been settled; the broker took that in at this moment, if it has.
    Leaving {
        /// See above.
        since_us: Option<u64>,
    },
    /// It must not be there.
    Gone,
}

/// A channel.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// How many messages have been published on it.
    pub published: u64,
    /// The last delivery tag.
    pub tag: u64,
    /// What it holds, by tag.
    pub held: BTreeMap<u64, Held>,
    /// Settled, and not known to be taken in yet.
    pub settling: BTreeMap<u64, Held>,
    /// Put back as failed, and not known to be taken in yet.
    pub failing: BTreeMap<u64, Held>,
    /// Put back, and when; not known to be taken in yet.
    pub returning: BTreeMap<u64, (Held, u64)>,
    /// The limit over its consumers.
    pub limit: u64,
    /// Since when there has been one.
    pub limited_us: u64,
    /// The order of the last message that a consumer got for the first time, by queue, publisher and rank. Without a consumer: by `basic.get`,
    /// whose answers do not wait behind deliveries.
    pub last: BTreeMap<(Name, ChannelId, Option<u64>, u8), u64>,
    /// The client has lost it.
    pub lost: bool,
    /// Questions that wait for an answer.
    pub asking: usize,
    /// Everything has been sent back, and that is not answered yet.
    pub recovering: bool,
}

/// A delivery that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The queue, or the family that it is of.
    pub queue: Name,
    /// The queue itself.
    pub place: Name,
    /// The message.
    pub number: Number,
    /// The consumer; none for a get.
    pub consumer: Option<u64>,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its channel.
    pub channel: ChannelId,
    /// Its queue.
    pub queue: Name,
    /// Its client has asked for its end.
    pub cancelling: bool,
    /// Most messages that it may hold; 0 is no limit.
    pub prefetch: u64,
    /// When it was asked for.
    pub since_us: u64,
}

/// A transaction.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Its channel.
    pub channel: ChannelId,
    /// Its publishes.
    pub publishes: Vec<Number>,
    /// The tags that it settles, with what was held under them.
    pub settles: Vec<(u64, Held, Option<Verdict>)>,
    /// How it stands.
    pub state: TransactionState,
    /// When its commit was sent.
    pub commit_us: u64,
}

/// How a transaction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionState {
    /// It is being gathered.
    #[default]
    Open,
    /// Its commit was sent, and no answer has been seen.
    InDoubt,
    /// It counts.
    Committed,
    /// It does not.
    Undone,
    /// Nobody needs to know any more.
    Settled,
}

impl Queue {
    /// How many messages are known that may be there.
    pub fn held_at_most(&self) -> u64 {
        let there = self.copies.values().filter(|copy| copy.fate != Fate::Gone);
        there.count() as u64
    }
}

impl Class {
    /// Whether what is confirmed stays until it is settled, as long as the queue is there.
    pub fn keeps(self) -> bool {
        matches!(self, Class::Durable | Class::Transient)
    }

    /// Whether the queue is there after a restart.
    pub fn survives(self) -> bool {
        matches!(self, Class::Durable | Class::Drained)
    }
}

impl Book {
    /// Where a message goes if the topology stays as it is known: which queues surely, and all the time from its publish until `to_us`.
    pub fn surely_to(&self, publish: &Publish, to_us: u64) -> Vec<Name> {
        let from = publish.sent_us;
        let kept = |name: &Name| {
            self.queues.get(name).is_some_and(|queue| {
                queue.class.keeps() && queue.there.surely(from, to_us) && !queue.purging.possibly(from, to_us)
            })
        };
        self.routes(&publish.message.address, |history| history.surely(from, to_us))
            .into_iter()
            .filter(kept)
            .collect()
    }

    /// Whether a message may have entered a queue at all, up to now.
    pub fn possibly_in(&self, publish: &Publish, queue: &Name) -> bool {
        let (from, to) = (publish.sent_us, publish.resolved_us.unwrap_or(self.now_us));
        let there = self
            .queues
            .get(queue)
            .is_some_and(|queue| queue.there.possibly(from, to));
        let routed = || self.routes(&publish.message.address, |history| history.possibly(from, to));
        there && !publish.withdrawn && routed().contains(queue)
    }

    /// Whether nobody can have wanted a message, up to now.
    pub fn surely_nowhere(&self, publish: &Publish) -> bool {
        let names = self.queues.keys();
        !publish.withdrawn && names.into_iter().all(|name| !self.possibly_in(publish, name))
    }

    fn routes(&self, address: &Address, counts: impl Fn(&History) -> bool) -> Vec<Name> {
        match address {
            Address::Queue(name) => vec![name.clone()],
            Address::Exchange(exchange, key) => {
                let bindings = self.bindings.iter().filter(|(binding, history)| {
                    binding.exchange == *exchange
                        && (binding.key == "#" || binding.key == *key)
                        && counts(history)
                });
                let names: BTreeSet<Name> = bindings.map(|(binding, _)| binding.queue.clone()).collect();
                names.into_iter().collect()
            }
        }
    }

    /// What is known of a message in a queue.
    pub fn copy(&self, queue: &Name, number: Number) -> Option<&Copy> {
        self.queues.get(queue)?.copies.get(&number)
    }

    /// How many deliveries a consumer holds for certain.
    pub fn held_by(&self, consumer: u64) -> u64 {
        let channel = self.consumers.get(&consumer).map(|known| known.channel);
        let held = channel.into_iter().flat_map(|channel| self.in_hand_of(channel));
        let held = held.filter(|held| held.consumer == Some(consumer) && self.is_held(held));
        held.count() as u64
    }

    /// What a channel has in hand: also what it has settled in a transaction that it has not asked to be committed.
    pub fn in_hand_of(&self, channel: ChannelId) -> impl Iterator<Item = &Held> {
        let open = self.transactions.values().filter(move |transaction| {
            transaction.channel == channel && transaction.state == TransactionState::Open
        });
        let settled = open.flat_map(|transaction| transaction.settles.iter().map(|(_, held, _)| held));
        let known = self.channels.get(&channel).into_iter();
        known.flat_map(|known| known.held.values()).chain(settled)
    }

    /// Whether a message is still in the hands that it was given to: not if its queue has been deleted or may be so by now, as one that goes
    /// with its last consumer may be once any of them is to end, whoever came meanwhile; or a transaction of which nobody has heard may have
    /// settled it.
    pub fn is_held(&self, held: &Held) -> bool {
        let Some(queue) = self.queues.get(&held.queue) else {
            return false;
        };
        let heir = queue.heirs.get(&held.place);
        let heir_stayed = heir.is_none_or(|heir| {
            !heir.dooming && heir.doomed_us.is_none_or(|doomed| doomed < self.life_began_us)
        });
        let stayed = heir_stayed
            && queue.doomed_us.is_none_or(|doomed| doomed < self.life_began_us)
            && (queue.class != Class::Fleeting || self.all_stay(&held.queue));
        let certain = queue
            .copies
            .get(&held.number)
            .is_some_and(|copy| copy.doubt.is_none());
        stayed && certain && queue.there.now() == Presence::Present
    }

    /// Whether every consumer that a queue has had is there still, for certain.
    fn all_stay(&self, queue: &Name) -> bool {
        let mut consumers = self.consumers.values().filter(|known| known.queue == *queue);
        consumers.all(|known| {
            let channel = self.channels.get(&known.channel);
            !known.cancelling && channel.is_some_and(|channel| !channel.lost)
        })
    }

    /// Whether the broker may have taken back what a channel holds without anybody having been told.
    pub fn is_unsteady(&self, channel: ChannelId) -> bool {
        let unsteady = |channel: &Channel| channel.lost || channel.recovering || channel.asking > 0;
        self.reads_failed || self.channels.get(&channel).is_none_or(unsteady)
    }

    /// Whether messages may be coming back to a queue right now.
    pub fn may_come_back(&self, queue: &Name) -> bool {
        let readers = self.readers.get(queue);
        readers.is_some_and(|readers| readers.iter().any(|channel| self.is_unsteady(*channel)))
    }

    /// Whether somebody may be reading from a queue right now.
    pub fn has_readers(&self, queue: &Name) -> bool {
        self.readers.get(queue).is_some_and(|readers| !readers.is_empty())
    }
}
