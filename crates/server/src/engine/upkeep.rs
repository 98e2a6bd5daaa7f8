//! The thread that keeps the log small and the start short: rescues survivors, takes checkpoints, retires segments.
//!
//! ```text
//! when the log outgrows its bound, or enough has been appended:
//!   1. mostly dead segments: their survivors are written again at the end of the log
//!   2. segments without live bytes and readers are noted
//!   3. a checkpoint is taken, queue by queue
//!   4. the noted segments go, if they lie before everything that a start would replay
//! ```
//!
//! A segment is noted before the checkpoint and retired after it, so that no checkpoint ever points into one that is gone. The bound is
//! twice the live bytes and two segments (design, section 2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use everack_broker::ids::Seq;
use everack_node::alarms::Resource;
use everack_node::messages::Messages;
use everack_node::record::{self, RecordFact};
use everack_node::recovery::checkpoint;
use everack_node::request::{Request, Rescue, RescueDone, RescueTarget};
use everack_storage::disk::Os;
use everack_storage::{Checkpoints, Found, Maintenance, Position, Prepared, Reader, SegmentInfo, SegmentNumber};

use super::Engine;

/// How often the thread looks.
const ROUND: Duration = Duration::from_millis(100);
/// Records of one segment that are rescued at a time, in bytes: bounds what is in flight.
const RESCUE_BYTES_IN_FLIGHT: usize = 8 << 20;
/// Longest wait for rescued records to become durable before the round is given up and tried again.
const RESCUE_PATIENCE: Duration = Duration::from_secs(30);
/// Runs of a queue that are copied under its partition's lock at a time.
const SLICE_RUNS: usize = 16 * 1024;

/// What the thread watches besides the log itself.
pub(crate) struct Bounds {
    pub(crate) disk_free_bytes_min: u64,
    pub(crate) memory_bytes_max: u64,
}

/// See the module documentation.
pub(crate) struct Upkeep {
    engine: Arc<Engine>,
    maintenance: Maintenance<Os>,
    reader: Reader<Os>,
    checkpoints: Checkpoints<Os>,
    segment_bytes: u64,
    bounds: Bounds,
    checkpointed_at: u64,
    refused: Option<Instant>,
}

impl Upkeep {
    pub(crate) fn new(
        engine: Arc<Engine>,
        maintenance: Maintenance<Os>,
        reader: Reader<Os>,
        checkpoints: Checkpoints<Os>,
        segment_bytes: u64,
        bounds: Bounds,
    ) -> Self {
        Self { engine, maintenance, reader, checkpoints, segment_bytes, bounds, checkpointed_at: 0, refused: None }
    }

    /// Looks after the log until `stop` is set, and takes a last checkpoint so that the next start has little to replay.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            std::thread::park_timeout(ROUND);
            self.watch_memory();
            self.prepare();
            self.watch_disk();
            if self.is_due() {
                self.round();
            }
        }
        self.checkpoint();
    }

    fn round(&mut self) {
        let appended = self.engine.progress.appended_bytes();
        self.rescue_survivors();
        let dead = self.dead_segments();
        let Some(covers) = self.checkpoint() else { return };
        self.checkpointed_at = appended;
        for segment in dead.into_iter().filter(|segment| *segment < covers.segment()) {
            self.retire(segment);
        }
    }

    /// Enough has been appended to make the next start slow, or the log is larger than it has to be.
    fn is_due(&self) -> bool {
        if self.refused.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return false;
        }
        let appended = self.engine.progress.appended_bytes() - self.checkpointed_at;
        appended >= 4 * self.segment_bytes || (appended > 0 && self.excess(&self.maintenance.segments()) > 0)
    }

    /// How far the log is beyond its bound, in bytes.
    fn excess(&self, segments: &[SegmentInfo]) -> u64 {
        let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        total.saturating_sub(2 * self.engine.live_bytes() + 2 * self.segment_bytes)
    }

    fn rescue_survivors(&mut self) {
        let mut segments = self.maintenance.segments();
        while self.excess(&segments) > 0 {
            let mostly_dead = segments.iter().position(|segment| {
                let (live, _) = self.engine.usage(segment.number);
                !segment.active && !segment.damaged && live > 0 && live * 2 < segment.bytes
            });
            let Some(index) = mostly_dead else { return };
            let segment = segments.remove(index);
            if !self.rescue(segment.number) {
                return;
            }
        }
    }

    /// Hands the records of a segment to their partitions, which write the survivors again; waits until that is durable.
    fn rescue(&self, segment: SegmentNumber) -> bool {
        let in_flight = Arc::new(InFlight::default());
        let visited = self.reader.replay_one(segment, |found| {
            if let Found::Record { position, payload } = found {
                self.rescue_record(position, payload, &in_flight);
            }
            if in_flight.wait_below(RESCUE_BYTES_IN_FLIGHT) { Ok(()) } else { Err(()) }
        });
        visited.is_ok() && in_flight.wait_below(1)
    }

    fn rescue_record(&self, position: Position, payload: &[u8], in_flight: &Arc<InFlight>) {
        let Ok(record) = record::decode(payload) else { return };
        let (RecordFact::Enqueued(placed) | RecordFact::Moved(placed)) = record.fact else { return };
        let payload_bytes = bytes::Bytes::copy_from_slice(payload);
        let Ok((batch, _)) = record::decode_messages(payload_bytes) else { return };
        let targets = placed.iter().map(|placed| {
            let target = placed.target;
            RescueTarget { queue: target.queue, first: target.first, from: target.from, to: target.to }
        });
        let rescue = Rescue {
            location: position,
            messages: Messages::new(batch),
            targets: targets.collect(),
            done: in_flight.begin(payload.len()),
        };
        let partition = &self.engine.partitions[usize::from(record.partition.0)];
        partition.post(Request::Rescue(rescue));
        partition.run(&self.engine);
    }

    /// Segments that hold nothing live and that no delivery on its way reads from.
    fn dead_segments(&self) -> Vec<SegmentNumber> {
        let segments = self.maintenance.segments().into_iter();
        let dead = segments.filter(|segment| !segment.active && self.engine.usage(segment.number) == (0, false));
        dead.map(|segment| segment.number).collect()
    }

    /// Takes a checkpoint; returns the position from which a start has to replay.
    fn checkpoint(&mut self) -> Option<Position> {
        let (records, covers) = self.capture();
        let written = self.checkpoints.write(covers, |sink| records.iter().try_for_each(|record| sink.push(record)));
        match written {
            Ok(_) => {
                self.refused = None;
                // Each queue's cut says that everything before it has taken effect.
                self.engine.progress.applied(covers);
                self.engine.progress.checkpointed(covers);
                Some(covers)
            }
            Err(error) => {
                tracing::error!(%error, "no checkpoint could be written; the log grows until one can");
                self.refused = Some(Instant::now());
                None
            }
        }
    }

    fn capture(&self) -> (Vec<Vec<u8>>, Position) {
        let (applied, facts) = loop {
            let committed = self.engine.progress.committed_position();
            if let Some(captured) = self.engine.catalog.inspect(&self.engine, |catalog| catalog.capture(committed)) {
                break captured;
            }
            // Declarations are on their way to the disk: they are there in a moment.
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut covers = applied;
        let mut records = vec![checkpoint::encode_topology(applied, &facts)];
        for partition in &self.engine.partitions {
            for queue in partition.inspect(&self.engine, |partition| partition.durable_queues()) {
                let committed = self.engine.progress.committed_position();
                let Some(cut) = partition.inspect(&self.engine, |partition| partition.cut(queue, committed)) else { continue };
                covers = covers.min(cut.applied);
                let mut from = Some(Seq(0));
                while let Some(first) = from {
                    let mut runs = Vec::new();
                    from = partition.inspect(&self.engine, |partition| partition.slice(cut, first, SLICE_RUNS, &mut runs));
                    records.push(checkpoint::encode_queue(queue, cut.next, cut.applied, &runs));
                }
            }
        }
        (records, covers)
    }

    fn retire(&self, segment: SegmentNumber) {
        match self.maintenance.retire(segment) {
            Ok(_) => self.engine.forget(segment),
            Err(error) => tracing::error!(%error, %segment, "a segment could not be retired"),
        }
    }

    fn prepare(&self) {
        if let Ok(Prepared::Full) = self.maintenance.prepare() {
            self.engine.raise(Resource::Disk, true);
        }
    }

    fn watch_disk(&self) {
        let Ok(free) = self.maintenance.free_bytes() else { return };
        let low = free < self.bounds.disk_free_bytes_min || self.engine.log_is_full.load(Ordering::Acquire);
        if self.engine.raise(Resource::Disk, low) {
            if low {
                tracing::error!(free, "low on disk: publishers are blocked until there is room again, consumers go on");
            } else {
                tracing::info!(free, "there is room on the disk again: publishers go on");
            }
        }
    }

    fn watch_memory(&self) {
        let resident = self.engine.resident_bytes();
        // Some distance between the two marks, so that publishers are not blocked and released in turn.
        let limit = if self.engine.shared.alarms.stands(Resource::Memory) {
            self.bounds.memory_bytes_max / 10 * 9
        } else {
            self.bounds.memory_bytes_max
        };
        let high = resident > limit;
        if self.engine.raise(Resource::Memory, high) {
            if high {
                tracing::error!(resident, "low on memory: publishers are blocked until consumers have made room");
            } else {
                tracing::info!(resident, "there is room in memory again: publishers go on");
            }
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
        Arc::new(One { bytes, of: self.clone() })
    }

    /// Waits until less than `limit` bytes are in flight; false if that takes too long.
    fn wait_below(&self, limit: usize) -> bool {
        let begun = Instant::now();
        while self.bytes.load(Ordering::Acquire) >= limit {
            if begun.elapsed() > RESCUE_PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl RescueDone for One {
    fn rescued(&self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
