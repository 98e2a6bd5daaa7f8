//! The thread that runs the node's upkeep, and watches what runs short: memory and disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use everack_node::alarms::Resource;
use everack_node::catalog_service::CatalogService;
use everack_node::partition::Partition;
use everack_node::progress::Progress;
use everack_node::request::Request;
use everack_node::upkeep::{Machines, Upkeep};
use everack_storage::Prepared;
use everack_storage::disk::Os;

use super::Engine;
use super::disk_threads;
use crate::memory;

/// How often the thread looks.
const ROUND: Duration = Duration::from_millis(100);
/// So many rounds after something happened it looks less often, until something happens again.
const ROUNDS_AWAKE: u32 = 5;
/// How often it looks then.
const ROUND_ASLEEP: Duration = Duration::from_secs(1);
/// How often an idle process lets go of what only work needs.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The same while nobody is connected, who would have to wait for what is needed again.
const FORGOTTEN_ALONE: Duration = Duration::from_secs(3);
/// Looks at the disk in a round, when it is nearly full.
const LOOKS_A_ROUND: u32 = 10;
/// A round in which no more than this was appended is quiet.
const QUIET_BYTES: u64 = 4 << 20;
/// How often the allocator is asked to give back what is free.
const GIVEN_BACK: Duration = Duration::from_millis(500);
/// How often what few messages pin is freed.
const COMPACTED: Duration = Duration::from_secs(5);
/// How often the log is weighed.
const WEIGHED: Duration = Duration::from_secs(2);
/// How long a checkpoint that could not be written is left alone.
const REFUSED: Duration = Duration::from_secs(1);
/// How long the disk is waited for, in pauses of a millisecond.
const PAUSES_MAX: u32 = 30_000;

/// What runs short, and when.
pub(crate) struct Bounds {
    pub(crate) disk_free_bytes_min: u64,
    pub(crate) memory_bytes_max: u64,
}

/// See the module documentation.
pub(crate) struct UpkeepThread {
    upkeep: Upkeep<Os, Running>,
    bounds: Bounds,
    refused: Option<Instant>,
    appended_bytes: u64,
    compacted: Instant,
    given_back: Option<Instant>,
    weighed: Option<Instant>,
    forgotten: Option<Instant>,
    rounds_awake: u32,
    /// Less is free on the disk than twice what has to be.
    near_disk_min: bool,
}

impl UpkeepThread {
    pub(crate) fn new(upkeep: Upkeep<Os, Running>, bounds: Bounds) -> Self {
        let gauges = &upkeep.machines().0.gauges;
        gauges.limits(bounds.memory_bytes_max, bounds.disk_free_bytes_min);
        // Whoever looks before the first round shall not read nought.
        gauges.disk_free(upkeep.maintenance().free_bytes().unwrap_or_default());
        gauges.memory_used(resident_bytes().unwrap_or_default());
        Self {
            upkeep,
            bounds,
            refused: None,
            appended_bytes: 0,
            compacted: Instant::now(),
            given_back: None,
            weighed: None,
            forgotten: None,
            rounds_awake: ROUNDS_AWAKE,
            near_disk_min: false,
        }
    }

    /// Looks after the log until `stop` is set, and takes a last checkpoint so that the next start has little to replay.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.rest();
            if let Err(error) = self.upkeep.maintenance().check() {
                disk_threads::die("upkeep", &error);
            }
            self.watch_memory();
            self.compact();
            self.prepare();
            self.watch_disk();
            self.weigh();
            if self.refused.is_none_or(|at| at.elapsed() > REFUSED) {
                self.refused = (!self.upkeep.look()).then(Instant::now);
            }
        }
        self.upkeep.checkpoint();
    }

    /// Waits for the next round. Near the bound of the disk that is looked at more often: in a round publishers write megabytes. And less
    /// often where nothing happens, and nobody waits for anything to get better.
    fn rest(&mut self) {
        if !self.near_disk_min {
            let engine = &self.upkeep.machines().0;
            if self.rounds_awake > 0 || engine.shared.alarms.any() {
                self.rounds_awake = self.rounds_awake.saturating_sub(1);
                return std::thread::park_timeout(ROUND);
            }
            return self.rest_well();
        }
        for _ in 0..LOOKS_A_ROUND {
            std::thread::park_timeout(ROUND / LOOKS_A_ROUND);
            self.watch_disk();
        }
    }

    fn rest_well(&mut self) {
        let engine = &self.upkeep.machines().0;
        let pause = match engine.shared.connection_count() {
            0 => FORGOTTEN_ALONE,
            _ => FORGOTTEN,
        };
        if self.forgotten.is_none_or(|at| at.elapsed() > pause) {
            self.forgotten = Some(Instant::now());
            give_back();
            memory::forget_code();
        }
        if engine.slumber.sleep(ROUND_ASLEEP) {
            self.rounds_awake = ROUNDS_AWAKE;
        }
    }

    /// Once half of the memory is taken, frees batches that only a few of their messages still hold. That looks at every message, so
    /// it is not done without need.
    fn compact(&mut self) {
        let short = resident_bytes().is_some_and(|resident| resident > self.bounds.memory_bytes_max / 2);
        if !short || self.compacted.elapsed() < COMPACTED {
            return;
        }
        self.compacted = Instant::now();
        let engine = &self.upkeep.machines().0;
        for partition in &engine.partitions {
            partition.inspect(engine, |partition| partition.compact());
        }
    }

    /// Has the next segment's file ready, written over once. While much is written, segments that have been retired serve for that,
    /// and the disk has better things to do.
    fn prepare(&mut self) {
        let appended = self.upkeep.machines().0.progress.appended_bytes();
        let written = appended - std::mem::replace(&mut self.appended_bytes, appended);
        if written > QUIET_BYTES {
            return;
        }
        if let Ok(Prepared::Full) = self.upkeep.maintenance().prepare() {
            tracing::debug!("there is no room for a spare segment");
        }
    }

    /// Tells how much of the log is needed. That asks every partition, so it is not done in every round.
    fn weigh(&mut self) {
        if self.weighed.is_some_and(|at| at.elapsed() < WEIGHED) {
            return;
        }
        self.weighed = Some(Instant::now());
        let (total, live) = self.upkeep.weigh();
        self.upkeep.machines().0.gauges.log(total, live);
    }

    fn watch_disk(&mut self) {
        let engine = &self.upkeep.machines().0;
        let unprepared = self.upkeep.maintenance().reserve_missing();
        let Ok(free) = self.upkeep.maintenance().free_bytes() else {
            return;
        };
        engine.gauges.disk_free(free);
        self.near_disk_min = free < self.bounds.disk_free_bytes_min.saturating_mul(2);
        let waits = engine.log_is_full.load(Ordering::Acquire);
        let low = free < self.bounds.disk_free_bytes_min || waits || unprepared;
        let changed = engine.raise(Resource::Disk, low);
        // The log may have run full since, and have raised what was just cleared.
        if !low && engine.log_is_full.load(Ordering::Acquire) {
            engine.raise(Resource::Disk, true);
            return;
        }
        if changed {
            if low {
                tracing::error!(
                    free,
                    "low on disk: publishers are blocked until there is room again, consumers go on"
                );
            } else {
                tracing::info!(free, "there is room on the disk again: publishers go on");
            }
        }
    }

    /// Memory that the process takes. Once that is too much, what the allocator keeps for later does not count: it gives it back.
    fn resident_bytes(&mut self, limit: u64) -> Option<u64> {
        let resident = resident_bytes()?;
        if resident <= limit || self.given_back.is_some_and(|at| at.elapsed() < GIVEN_BACK) {
            return Some(resident);
        }
        self.given_back = Some(Instant::now());
        give_back();
        resident_bytes()
    }

    fn watch_memory(&mut self) {
        let stands = self.upkeep.machines().0.shared.alarms.stands(Resource::Memory);
        // Some distance between the two marks, so that publishers are not blocked and released in turn.
        let limit = if stands {
            self.bounds.memory_bytes_max / 10 * 9
        } else {
            self.bounds.memory_bytes_max
        };
        let Some(resident) = self.resident_bytes(limit) else {
            return;
        };
        let engine = &self.upkeep.machines().0;
        engine.gauges.memory_used(resident);
        let high = resident > limit;
        if engine.raise(Resource::Memory, high) {
            if high {
                tracing::error!(
                    resident,
                    "low on memory: publishers are blocked until consumers have made room"
                );
            } else {
                tracing::info!(resident, "there is room in memory again: publishers go on");
            }
        }
    }
}

/// Has the allocator return what is free to the system. It does so by itself only while it is used, and a broker whose publishers are
/// blocked may be used by nobody: the alarm would stand for ever.
fn give_back() {
    // SAFETY: the function takes no pointers and may be called from any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Memory that the process takes, from the system; messages in memory are nearly all of it.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The engine as the upkeep sees it.
pub(crate) struct Running(pub(crate) Arc<Engine>);

impl Machines for Running {
    fn catalog<T>(&self, look: impl FnOnce(&mut CatalogService) -> T) -> T {
        self.0.catalog.inspect(&self.0, look)
    }

    fn partition<T>(&self, index: usize, look: impl FnOnce(&mut Partition) -> T) -> T {
        self.0.partitions[index].inspect(&self.0, look)
    }

    fn partitions(&self) -> usize {
        self.0.partitions.len()
    }

    fn post(&self, index: usize, request: Request) {
        self.0.partitions[index].post(request);
    }

    fn run(&self, index: usize) {
        self.0.partitions[index].run(&self.0);
    }

    fn progress(&self) -> &Progress {
        &self.0.progress
    }

    fn pause(&self, waited: &mut u32) -> bool {
        std::thread::sleep(Duration::from_millis(1));
        *waited += 1;
        *waited < PAUSES_MAX
    }
}
