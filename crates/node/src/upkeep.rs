//! Keeps the log small and the start short: rescues survivors, takes checkpoints, retires segments.
//!
//! ```text
//! when the log outgrows its bound, or enough has been appended:
//!   1. mostly dead segments: their survivors are written again at the end of the log
//!   2. segments without live messages and readers are noted
//!   3. a checkpoint is taken, queue by queue
//!   4. the noted segments go, if they lie before everything that a start would replay
//! ```
//!
//! A segment is noted before the checkpoint and retired after it, so that no checkpoint ever points into one that is gone. The bound is
//! twice the live bytes and two segments (design, section 2).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::messages::Messages;
use crate::record::{self, RecordFact};
use crate::recovery::checkpoint;
use crate::request::{Request, Rescue, RescueDone, RescueTarget};
use everack_broker::ids::{QueueId, Seq};
use everack_storage::disk::Disk;
use everack_storage::{Checkpoints, Found, Maintenance, Position, Reader, SegmentInfo, SegmentNumber};

use crate::catalog_service::CatalogService;
use crate::partition::Partition;
use crate::progress::Progress;
use crate::space::Usage;

/// Records of one segment that are rescued at a time, in bytes: bounds what is in flight.
const RESCUE_BYTES_IN_FLIGHT: usize = 8 << 20;
/// How long a quiet moment of the topology is waited for, in pauses.
const QUIET_PAUSES_MAX: u32 = 20;
/// Records of one segment that become one write when their survivors are rescued, in bytes: alone each would take a sector.
const RESCUE_BYTES_TOGETHER: usize = 256 << 10;
/// Segments that are rescued in one round; bounds what a round writes.
const RESCUE_SEGMENTS_MAX: usize = 4;
/// Runs of a queue that are copied under its partition's lock at a time.
const SLICE_RUNS: usize = 16 * 1024;

/// The running machines, as their driver shows them to the upkeep.
pub trait Machines {
    /// Looks at the catalog between two of its rounds.
    fn catalog<T>(&self, look: impl FnOnce(&mut CatalogService) -> T) -> T;
    /// Looks at a partition between two of its rounds.
    fn partition<T>(&self, index: usize, look: impl FnOnce(&mut Partition) -> T) -> T;
    /// How many partitions there are.
    fn partitions(&self) -> usize;
    /// Gives a partition something to do.
    fn post(&self, index: usize, request: Request);
    /// Runs a partition.
    fn run(&self, index: usize);
    /// How far the log has come.
    fn progress(&self) -> &Progress;
    /// Lets the others get on; false if they have been waited for long enough.
    fn pause(&self, waited: &mut u32) -> bool;
}

/// See the module documentation.
pub struct Upkeep<D: Disk, M> {
    machines: M,
    maintenance: Maintenance<D>,
    reader: Reader<D>,
    checkpoints: Checkpoints<D>,
    segment_bytes: u64,
    checkpointed_at: u64,
    /// The last rescue made no room: addresses and padding are not counted as live, so small messages may look mostly dead.
    futile: bool,
}

impl<D: Disk, M: Machines> Upkeep<D, M> {
    /// Looks after the log that these belong to. `protected` segments hold what recovery could not place: their files are
    /// set aside when nothing else needs them.
    pub fn new(
        machines: M,
        maintenance: Maintenance<D>,
        reader: Reader<D>,
        checkpoints: Checkpoints<D>,
        segment_bytes: u64,
        protected: &BTreeSet<SegmentNumber>,
    ) -> Self {
        protected.iter().for_each(|segment| maintenance.keep(*segment));
        Self {
            machines,
            maintenance,
            reader,
            checkpoints,
            segment_bytes,
            checkpointed_at: 0,
            futile: false,
        }
    }

    /// The machines.
    pub fn machines(&self) -> &M {
        &self.machines
    }

    /// The log's files.
    pub fn maintenance(&self) -> &Maintenance<D> {
        &self.maintenance
    }

    /// Does what is due: the four steps, or nothing. False if a checkpoint could not be written; then try again later.
    pub fn look(&mut self) -> bool {
        !self.is_due() || self.round()
    }

    /// Does the four steps whether they are due or not.
    pub fn round(&mut self) -> bool {
        let before = self.log_bytes();
        let rescued = self.rescue_survivors();
        // What was written again does not count as new, or one round would call for the next.
        let appended = self.machines.progress().appended_bytes();
        // What is written and not yet applied shows no live messages: segments that hold any of it are not looked at.
        let floor = self.applied();
        let dead = self.dead_segments(floor);
        let Some(covers) = self.checkpoint() else {
            return false;
        };
        self.checkpointed_at = appended;
        for segment in dead.into_iter().filter(|segment| *segment < covers.segment()) {
            self.retire(segment);
        }
        if let Some(first) = self.maintenance.segments().first() {
            self.machines.progress().trimmed(Position::new(first.number, 0));
        }
        self.futile = rescued && self.log_bytes() + self.segment_bytes > before;
        true
    }

    /// Bytes of the log, and of the messages in it that are still there.
    pub fn weigh(&self) -> (u64, u64) {
        (self.log_bytes(), self.live_bytes())
    }

    fn log_bytes(&self) -> u64 {
        self.maintenance
            .segments()
            .iter()
            .map(|segment| segment.bytes)
            .sum()
    }

    /// Enough has been appended to make the next start slow, or the log is larger than it has to be.
    fn is_due(&self) -> bool {
        let appended = self.machines.progress().appended_bytes() - self.checkpointed_at;
        let many = appended >= 4 * self.segment_bytes;
        many || (appended > 0 && !self.futile && self.excess(&self.maintenance.segments()) > 0)
    }

    /// How far the log is beyond its bound, in bytes.
    fn excess(&self, segments: &[SegmentInfo]) -> u64 {
        let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        total.saturating_sub(2 * self.live_bytes() + 2 * self.segment_bytes)
    }

    /// Writes the survivors of some mostly dead segments again; says whether there were any.
    fn rescue_survivors(&mut self) -> bool {
        let mut segments = self.maintenance.segments();
        let mut rescued = 0;
        while rescued < RESCUE_SEGMENTS_MAX && self.excess(&segments) > 0 {
            let mostly_dead = segments.iter().position(|segment| {
                let live = self.usage(segment.number);
                let little = live.messages > 0 && live.bytes * 2 < segment.bytes;
                !segment.active && !segment.damaged && little
            });
            let Some(index) = mostly_dead else { break };
            let segment = segments.remove(index);
            if !self.rescue(segment.number) {
                break;
            }
            rescued += 1;
        }
        rescued > 0
    }

    /// Hands the records of a segment to their partitions, which write the survivors again; waits until that is durable.
    fn rescue(&self, segment: SegmentNumber) -> bool {
        let in_flight = Arc::new(InFlight::default());
        let mut together = 0;
        let visited = self.reader.replay_one(segment, |found| {
            if let Found::Record { position, payload } = found {
                self.rescue_record(position, payload, &in_flight);
                together += payload.len();
            }
            if together < RESCUE_BYTES_TOGETHER {
                return Ok(());
            }
            together = 0;
            self.run_partitions();
            if self.wait_below(&in_flight, RESCUE_BYTES_IN_FLIGHT) {
                Ok(())
            } else {
                Err(())
            }
        });
        self.run_partitions();
        visited.is_ok() && self.wait_below(&in_flight, 1)
    }

    fn run_partitions(&self) {
        (0..self.machines.partitions()).for_each(|index| self.machines.run(index));
    }

    fn rescue_record(&self, position: Position, payload: &[u8], in_flight: &Arc<InFlight>) {
        let Ok(record) = record::decode(payload) else {
            return;
        };
        let (RecordFact::Enqueued(placed) | RecordFact::Moved(placed)) = record.fact else {
            return;
        };
        if usize::from(record.partition.0) >= self.machines.partitions() {
            // There were more partitions once. This one's queues are gone, or it would have been brought back.
            return;
        }
        let payload_bytes = bytes::Bytes::copy_from_slice(payload);
        let Ok((batch, _)) = record::decode_messages(payload_bytes) else {
            return;
        };
        let targets = placed.iter().map(|placed| {
            let target = placed.target;
            RescueTarget {
                queue: target.queue,
                first: target.first,
                from: target.from,
                to: target.to,
            }
        });
        let rescue = Rescue {
            location: position,
            messages: Messages::new(batch),
            targets: targets.collect(),
            done: in_flight.begin(payload.len()),
        };
        self.machines
            .post(usize::from(record.partition.0), Request::Rescue(rescue));
    }

    /// Segments that hold nothing live and that no delivery on its way reads from.
    fn dead_segments(&self, floor: Position) -> Vec<SegmentNumber> {
        let segments = self.maintenance.segments().into_iter();
        let dead = segments.filter(|segment| {
            let applied = segment.number < floor.segment();
            applied && !segment.active && self.usage(segment.number).is_none()
        });
        dead.map(|segment| segment.number).collect()
    }

    /// Everything before this position has taken effect in all partitions.
    fn applied(&self) -> Position {
        let committed = self.machines.progress().committed_position();
        (0..self.machines.partitions())
            .map(|index| {
                self.machines
                    .partition(index, |partition| partition.applied(committed))
            })
            .min()
            .unwrap_or(committed)
    }

    /// Takes a checkpoint; returns the position from which a start has to replay.
    pub fn checkpoint(&mut self) -> Option<Position> {
        let (records, covers) = self.capture();
        let written = self.checkpoints.write(covers, |sink| {
            records.iter().try_for_each(|record| sink.push(record))
        });
        match written {
            Ok(_) => {
                // Each queue's cut says that everything before it has taken effect.
                self.machines.progress().applied(covers);
                self.machines.progress().checkpointed(covers);
                Some(covers)
            }
            Err(error) => {
                tracing::error!(%error, "no checkpoint could be written; the log grows until one can");
                None
            }
        }
    }

    fn capture(&self) -> (Vec<Vec<u8>>, Position) {
        // Declarations on their way to the disk are there in a moment, unless it is full; then they are taken as they are.
        let mut waited = 0;
        while waited < QUIET_PAUSES_MAX && !self.machines.catalog(|catalog| catalog.is_quiet()) {
            if !self.machines.pause(&mut waited) {
                break;
            }
        }
        let committed = self.machines.progress().committed_position();
        let (applied, facts) = self.machines.catalog(|catalog| catalog.capture(committed));
        let mut covers = applied;
        let mut records = checkpoint::encode_topology(applied, &facts);
        for index in 0..self.machines.partitions() {
            for queue in self
                .machines
                .partition(index, |partition| partition.durable_queues())
            {
                covers = covers.min(self.capture_queue(index, queue, &mut records).unwrap_or(covers));
            }
        }
        (records, covers)
    }

    /// Writes down one queue, a slice at a time; returns its position. None if it is gone.
    fn capture_queue(&self, index: usize, queue: QueueId, records: &mut Vec<Vec<u8>>) -> Option<Position> {
        let committed = self.machines.progress().committed_position();
        let cut = self
            .machines
            .partition(index, |partition| partition.cut(queue, committed))?;
        let mut from = Some(Seq(0));
        while let Some(first) = from {
            let mut runs = Vec::new();
            let (next, kept) = self.machines.partition(index, |partition| {
                let next = partition.slice(cut, first, SLICE_RUNS, &mut runs);
                (next, partition.kept(cut, first, next))
            });
            from = next;
            records.push(checkpoint::encode_queue(queue, cut.next, cut.applied, &runs));
            records.extend(checkpoint::encode_kept(queue, &kept));
        }
        Some(cut.applied)
    }

    /// What a segment is needed for, over all partitions.
    fn usage(&self, segment: SegmentNumber) -> Usage {
        let usages = (0..self.machines.partitions()).map(|index| {
            self.machines
                .partition(index, |partition| partition.space().usage(segment.0))
        });
        usages.fold(Usage::default(), Usage::and)
    }

    fn live_bytes(&self) -> u64 {
        (0..self.machines.partitions())
            .map(|index| {
                self.machines
                    .partition(index, |partition| partition.space().live_bytes())
            })
            .sum()
    }

    fn forget(&self, segment: SegmentNumber) {
        for index in 0..self.machines.partitions() {
            self.machines
                .partition(index, |partition| partition.space().forget(segment.0));
        }
    }

    /// Waits until less than `limit` bytes are in flight; false if that takes too long.
    fn wait_below(&self, in_flight: &InFlight, limit: usize) -> bool {
        let mut waited = 0;
        while in_flight.bytes.load(Ordering::Acquire) >= limit {
            if !self.machines.pause(&mut waited) {
                return false;
            }
        }
        true
    }

    fn retire(&self, segment: SegmentNumber) {
        match self.maintenance.retire(segment) {
            Ok(_) => self.forget(segment),
            Err(error) => tracing::error!(%error, %segment, "a segment could not be retired"),
        }
    }
}

/// Bytes of records whose rescue is not durable yet.
#[derive(Debug, Default)]
struct InFlight {
    bytes: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
struct One {
    bytes: usize,
    of: Arc<InFlight>,
}

impl InFlight {
    fn begin(self: &Arc<Self>, bytes: usize) -> Arc<dyn RescueDone> {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Arc::new(One {
            bytes,
            of: self.clone(),
        })
    }
}

impl RescueDone for One {
    fn rescued(&self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
