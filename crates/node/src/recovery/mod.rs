//! From a checkpoint and the log behind it back to the machines.
//!
//! 1. [`Recovery::load`] takes the newest checkpoint: the topology, and where the live messages of each durable queue lie.
//! 2. [`Recovery::visit`] takes every record of the log behind it, in order. Each queue's image says from which position on it
//!    is behind the log; records before that are passed over, so a checkpoint may be taken queue by queue while messages flow.
//! 3. [`Recovery::finish`] builds the catalog and the partitions.
//!
//! A transaction's records are held until the record that says it is whole; without that one they never happened. Contents of
//! a queue that nobody declared or deleted are set aside and reported, never thrown away. Everything that is recovered is flagged
//! `redelivered`, as deliveries are not logged and any of it may have been in a consumer's hands.

pub mod checkpoint;
pub mod queue_image;
pub mod returns;

use std::collections::{BTreeMap, BTreeSet};

use everack_broker::catalog::{Catalog, Fact};
use everack_broker::ids::{Location, PartitionId, QueueId, Seq};
use everack_broker::partition::Ranks;
use everack_storage::{Position, SegmentNumber};
use rustc_hash::FxHashMap;

use crate::partition::admission::Deadline;
use crate::record::{self, Placed, Range, Record, RecordError, RecordFact};
use checkpoint::Checkpoint;
use queue_image::{ImageRun, QueueImage};

/// See the module documentation.
#[derive(Debug)]
pub struct Recovery {
    catalog: Catalog,
    catalog_applied: Position,
    queues: FxHashMap<QueueId, QueueImage>,
    open: BTreeMap<u64, Vec<Visited>>,
    orphans: BTreeMap<QueueId, u64>,
    unreadable: Vec<(Position, RecordError)>,
    gaps: Vec<Range>,
    contradictions: Vec<String>,
    damaged: bool,
    protected: BTreeSet<SegmentNumber>,
    messages_seen: u64,
}

/// A record of the log that takes effect now or with its transaction.
#[derive(Debug)]
struct Visited {
    position: Position,
    record: Record,
    /// Of its messages, by entry, where some of its queues care.
    priorities: Vec<(u16, u8)>,
}

/// What recovery gives back.
#[derive(Debug)]
pub struct Recovered {
    /// The topology.
    pub catalog: Catalog,
    /// The live messages of each durable queue, by the partition that it lives in.
    pub queues: Vec<(PartitionId, QueueId, QueueImage)>,
    /// What to tell the operator.
    pub report: Report,
    /// Segments that hold something that could not be placed: they stay, for a person to look at.
    pub protected: BTreeSet<SegmentNumber>,
}

/// What recovery found, for the log and for `everack inspect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Live messages over all queues.
    pub live: u64,
    /// Enqueue records replayed behind the checkpoint, in messages.
    pub replayed: u64,
    /// Transactions that were never finished and therefore never happened.
    pub transactions_dropped: usize,
    /// Messages of queues that the catalog does not know: left where they are in the log.
    pub orphans: Vec<(QueueId, u64)>,
    /// Records with a good checksum that could not be understood.
    pub unreadable: Vec<(Position, RecordError)>,
    /// Messages missing from the log, by queue.
    pub gaps: Vec<Range>,
    /// Facts about the topology that cannot both be true.
    pub contradictions: Vec<String>,
}

/// Numbers that a queue leaves out at each start: whatever was numbered behind the last record that survived was seen by
/// nobody, and is still never used again.
pub const SEQ_GAP: u64 = 1 << 24;

impl Recovery {
    /// Begins with `checkpoint`, or with nothing.
    pub fn load(checkpoint: Option<Checkpoint>, catalog: Catalog) -> Self {
        let mut recovery = Self {
            catalog,
            catalog_applied: Position(0),
            queues: FxHashMap::default(),
            open: BTreeMap::new(),
            orphans: BTreeMap::new(),
            unreadable: Vec::new(),
            gaps: Vec::new(),
            contradictions: Vec::new(),
            damaged: false,
            protected: BTreeSet::new(),
            messages_seen: 0,
        };
        if let Some(checkpoint) = checkpoint {
            recovery.catalog_applied = checkpoint.catalog_applied;
            recovery.replay_facts(checkpoint.facts);
            recovery.queues = checkpoint.queues;
        }
        recovery
    }

    /// Takes one record of the log.
    pub fn visit(&mut self, position: Position, payload: &[u8]) {
        match record::decode(payload) {
            Ok(Record {
                transaction: Some(transaction),
                fact: RecordFact::Whole,
                ..
            }) => {
                for visited in self.open.remove(&transaction).unwrap_or_default() {
                    self.apply(visited);
                }
            }
            Ok(record) => {
                self.measure(position, payload, &record.fact);
                let priorities = self.priorities(&record, payload);
                let transaction = record.transaction;
                let visited = Visited {
                    position,
                    record,
                    priorities,
                };
                match transaction {
                    Some(transaction) => self.open.entry(transaction).or_default().push(visited),
                    None => self.apply(visited),
                }
            }
            Err(error) => {
                self.unreadable.push((position, error));
                self.protected.insert(position.segment());
            }
        }
    }

    /// The priorities of new messages, if any of their queues cares.
    fn priorities(&self, record: &Record, payload: &[u8]) -> Vec<(u16, u8)> {
        let RecordFact::Enqueued(placed) = &record.fact else {
            return Vec::new();
        };
        if placed
            .iter()
            .all(|placed| self.ranks(placed.target.queue).is_none())
        {
            return Vec::new();
        }
        record::priorities(payload).unwrap_or_default()
    }

    fn ranks(&self, queue: QueueId) -> Option<Ranks> {
        self.catalog.queue(queue)?.ranks()
    }

    /// Takes down the sizes of bodies for queues whose terms count them. Those of a transaction that never becomes whole do no
    /// harm: what is kept of messages that are not there is dropped in the end.
    fn measure(&mut self, position: Position, payload: &[u8], fact: &RecordFact) {
        let RecordFact::Enqueued(placed) = fact else {
            return;
        };
        for Placed { target, .. } in placed {
            let queue = self.catalog.queue(target.queue);
            let terms = queue.map(|queue| queue.terms()).unwrap_or_default();
            if terms.bytes_max.is_none() || terms.scheduled {
                continue;
            }
            let Ok(sizes) = record::sizes(payload, target.from, target.to, terms.counts_all_bytes) else {
                continue;
            };
            let image = self.queues.entry(target.queue).or_default();
            if position.0 >= image.applied {
                for (seq, size) in (target.first.0..).zip(sizes) {
                    image.kept.body_sizes.set(seq, seq + 1, size);
                }
            }
        }
    }

    /// Deadlines come before their messages, so the first record of a queue may be one of these.
    fn expiring(&mut self, position: Position, deadline: &Deadline) {
        if self.catalog.queue(deadline.queue).is_none() {
            return;
        }
        let image = self.queues.entry(deadline.queue).or_default();
        if position.0 >= image.applied {
            let (low, count) = (deadline.first.0, u64::from(deadline.count));
            image.kept.deadlines.set(low, low + count, deadline.at);
        }
    }

    fn apply(&mut self, visited: Visited) {
        let Visited {
            position,
            record,
            priorities,
        } = visited;
        match record.fact {
            RecordFact::Enqueued(placed) => placed
                .iter()
                .for_each(|placed| self.enqueued(position, placed, &priorities)),
            RecordFact::Moved(placed) => placed.iter().for_each(|placed| self.moved(position, placed)),
            RecordFact::Settled(ranges) | RecordFact::Quarantined(ranges) => {
                self.each(position, &ranges, QueueImage::settle);
            }
            RecordFact::Returned(ranges) => {
                self.each(position, &ranges, QueueImage::count_return);
            }
            RecordFact::Failed(ranges) => {
                self.each(position, &ranges, QueueImage::count_failure);
            }
            RecordFact::Parked(ranges) => {
                self.each(position, &ranges, QueueImage::park);
            }
            RecordFact::Unparked(ranges) => {
                self.each(position, &ranges, QueueImage::unpark);
            }
            RecordFact::Counted(counted) => {
                for counted in &counted {
                    if let Some(image) = self.behind(position, counted.queue) {
                        image.count(counted);
                    }
                }
            }
            RecordFact::Aside(asides) => {
                for aside in &asides {
                    if let Some(image) = self.behind(position, aside.queue) {
                        image.set_aside(aside);
                    }
                }
            }
            RecordFact::Rejected(ranges) => {
                self.each(position, &ranges, QueueImage::reject);
            }
            RecordFact::Expiring(deadlines) => {
                deadlines
                    .iter()
                    .for_each(|deadline| self.expiring(position, deadline));
            }
            RecordFact::Topology(facts) if position >= self.catalog_applied => self.replay_facts(facts),
            RecordFact::Topology(_) | RecordFact::Whole => (),
        }
    }

    fn replay_facts(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            if let Fact::QueueDeleted { queue, .. } = fact {
                self.queues.remove(&queue);
            }
            if let Err(contradiction) = self.catalog.replay(fact) {
                self.contradictions.push(contradiction.to_string());
            }
        }
    }

    fn enqueued(&mut self, position: Position, placed: &Placed, priorities: &[(u16, u8)]) {
        let target = placed.target;
        match self.knows(target.queue) {
            Known::There => (),
            Known::Deleted => return,
            Known::Never => {
                *self.orphans.entry(target.queue).or_default() += u64::from(target.to - target.from);
                self.protected.insert(position.segment());
                return;
            }
        }
        let (damaged, ranks) = (self.damaged, self.ranks(target.queue));
        let image = self.queues.entry(target.queue).or_default();
        if position.0 < image.applied {
            return;
        }
        let missing = target.first.0.saturating_sub(image.next.0.max(1));
        // Numbers of a transaction that never became whole are missing too; only where the log is damaged a gap means loss.
        if damaged && missing > 0 && missing < SEQ_GAP && image.next.0 > 0 {
            let first = image.next;
            self.gaps.push(Range {
                queue: target.queue,
                first,
                count: missing as u32,
            });
        }
        self.messages_seen += u64::from(target.to - target.from);
        image.enqueue(image_run(position, placed));
        let Some(ranks) = ranks else { return };
        let own = priorities
            .iter()
            .filter(|(index, _)| (target.from..target.to).contains(index));
        for &(index, priority) in own {
            let seq = target.first.plus(u64::from(index - target.from));
            image.rank(seq, 1, ranks.rank(Some(priority)));
        }
    }

    fn moved(&mut self, position: Position, placed: &Placed) {
        if let Some(image) = self.behind(position, placed.target.queue) {
            image.relocate(image_run(position, placed));
        }
    }

    /// Changes the image of each range's queue by the range's first message and their count.
    fn each(&mut self, position: Position, ranges: &[Range], change: fn(&mut QueueImage, Seq, u32)) {
        for range in ranges {
            if let Some(image) = self.behind(position, range.queue) {
                change(image, range.first, range.count);
            }
        }
    }

    /// The image of `queue`, if the record at `position` is news to it.
    fn behind(&mut self, position: Position, queue: QueueId) -> Option<&mut QueueImage> {
        self.queues
            .get_mut(&queue)
            .filter(|image| position.0 >= image.applied)
    }

    /// Whether the queue exists. One that does not but whose id was given out has been deleted by order, unless parts of the log
    /// cannot be read: then its declaration may be among them.
    fn knows(&self, queue: QueueId) -> Known {
        if self.catalog.queue(queue).is_some() {
            Known::There
        } else if queue < self.catalog.next_queue_id() && !self.damaged {
            Known::Deleted
        } else {
            Known::Never
        }
    }

    /// Tells that a part of the log cannot be read, before the records behind it are visited.
    pub fn note_damage(&mut self) {
        self.damaged = true;
    }

    /// Builds the machines' beginnings.
    pub fn finish(mut self) -> Recovered {
        let mut queues = Vec::new();
        for (queue, mut image) in std::mem::take(&mut self.queues) {
            let Some(partition) = self.catalog.queue(queue).map(|queue| queue.partition) else {
                continue;
            };
            image.next = Seq(image.next.0 + SEQ_GAP);
            queues.push((partition, queue, image));
        }
        queues.sort_by_key(|(_, queue, _)| *queue);
        let report = Report {
            live: queues.iter().map(|(_, _, image)| image.live()).sum(),
            replayed: self.messages_seen,
            transactions_dropped: self.open.len(),
            orphans: self.orphans.into_iter().collect(),
            unreadable: self.unreadable,
            gaps: self.gaps,
            contradictions: self.contradictions,
        };
        Recovered {
            catalog: self.catalog,
            queues,
            report,
            protected: self.protected,
        }
    }
}

/// What the catalog has to say of a queue id found in the log.
enum Known {
    There,
    Deleted,
    Never,
}

/// A queue without messages, or whose messages went with damaged records.
pub fn fresh_image() -> QueueImage {
    QueueImage::empty(Seq(SEQ_GAP))
}

fn image_run(position: Position, placed: &Placed) -> ImageRun {
    let target = placed.target;
    ImageRun {
        first: target.first,
        location: Location(position.0),
        bytes: placed.bytes,
        from: target.from,
        to: target.to,
    }
}
