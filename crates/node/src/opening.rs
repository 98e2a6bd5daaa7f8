//! From a data directory to a running engine: open the log, load the checkpoint, replay what is behind it, build the machines.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog_service::CatalogService;
use crate::names::NameKey;
use crate::partition::Partition;
use crate::progress::Progress;
use crate::recall::{ReadRecord, Recall};
use crate::recovery::checkpoint::{Checkpoint, CheckpointError};
use crate::recovery::{Recovered, Recovery, Report};
use crate::shared::Shared;
use everack_broker::catalog::{Catalog, DelayBounds, Options as CatalogOptions};
use everack_broker::ids::PartitionId;
use everack_broker::partition::{Limits, Partition as Queues};
use everack_cluster::Standalone;
use everack_storage::disk::Disk;
use everack_storage::{
    Checkpoints, Found, Log, OpenError, Options, Position, ReadError, Reader, RecoveryReport, ReplayError,
    SegmentNumber, checkpoint,
};

/// What a start needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Size of a segment file.
    pub segment_bytes: u32,
    /// Partitions that new queues go to.
    pub partitions: u16,
    /// Bytes of durable messages that are kept in memory, over all partitions.
    pub resident_bytes_max: u64,
    /// Random; keeps clients from choosing names that collide.
    pub hash_key: u64,
    /// Random; keeps clients from computing generated names.
    pub name_key: NameKey,
    /// How much may wait in each delayed exchange.
    pub delay_bounds: DelayBounds,
}

/// A recovered node, not running yet.
pub struct Opened<D: Disk> {
    /// The log, to be written to.
    pub log: Standalone<D>,
    /// Checkpoints, to be written.
    pub checkpoints: Checkpoints<D>,
    /// Reads the log.
    pub reader: Reader<D>,
    /// What all connections share.
    pub shared: Arc<Shared>,
    /// Reads messages back.
    pub recall: Arc<Recall>,
    /// The topology machine.
    pub catalog: CatalogService,
    /// The partitions, by their number.
    pub partitions: Vec<Partition>,
    /// How far the log has come.
    pub progress: Progress,
    /// What recovery found.
    pub report: Report,
    /// Segments that stay, as they hold what recovery could not place.
    pub protected: BTreeSet<SegmentNumber>,
}

/// Why a data directory cannot be opened; the texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum CannotOpen {
    /// The log itself.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] OpenError),
    /// The newest checkpoint.
    #[error("the checkpoint cannot be read: {0}")]
    Checkpoint(#[from] checkpoint::Error),
    /// What is in it.
    #[error("the checkpoint cannot be understood: {0}")]
    Contents(#[from] CheckpointError),
    /// What lies behind it.
    #[error("the log cannot be replayed: {0}")]
    Replay(ReplayError<std::convert::Infallible>),
}

/// Records up to this size are read in one access of the disk; a read buffer's worth of messages is no larger.
const RECORD_BYTES_USUAL: usize = 128 << 10;

/// The log's records as the node reads them.
struct LogRecords<D: Disk>(Reader<D>);

impl<D: Disk> ReadRecord for LogRecords<D> {
    fn read(&self, position: Position) -> Result<bytes::Bytes, ReadError> {
        self.0.read(position, RECORD_BYTES_USUAL)
    }
}

/// Opens the log in `disk` and brings back what it holds.
pub fn open<D: Disk>(disk: D, plan: &Plan) -> Result<Opened<D>, CannotOpen> {
    let options = Options {
        segment_bytes: plan.segment_bytes,
        ..Options::default()
    };
    let (log, report) = Log::open(disk, options)?;
    tell_of_log(&report);
    let checkpoints = log.maintenance().checkpoints(CHECKPOINT_RESERVE_BYTES)?;
    let reader = log.reader();
    let recovered = replay(&checkpoints, &reader, &report, plan)?;
    tell_of_contents(&recovered.report);
    let end = log.end();
    let Recovered {
        catalog,
        queues,
        report,
        protected,
    } = recovered;
    let shared = Arc::new(Shared::new(catalog.snapshot(), plan.name_key, end.segment().0));
    let partitions = build_partitions(&catalog, queues, plan, end);
    let recall = Arc::new(Recall::new(Box::new(LogRecords(reader.clone()))));
    Ok(Opened {
        log: Standalone::new(log),
        checkpoints,
        reader,
        shared,
        recall,
        catalog: CatalogService::new(catalog, end),
        partitions,
        progress: Progress::recovered(end),
        report,
        protected,
    })
}

/// Space kept back so that a checkpoint can be written when the disk is full: it is what lets segments go.
const CHECKPOINT_RESERVE_BYTES: u64 = 4 << 20;

fn replay<D: Disk>(
    checkpoints: &Checkpoints<D>,
    reader: &Reader<D>,
    report: &RecoveryReport,
    plan: &Plan,
) -> Result<Recovered, CannotOpen> {
    let mut checkpoint = Checkpoint::default();
    let summary = checkpoints.load(|record| checkpoint.take(record).map_err(CannotOpen::from))?;
    let from = summary.as_ref().map_or(Position::ZERO, |summary| summary.covers);
    let catalog = Catalog::new(CatalogOptions {
        partitions: plan.partitions,
        hash_key: plan.hash_key,
    });
    let catalog = catalog.with_delay_bounds(plan.delay_bounds);
    let mut recovery = Recovery::load(summary.map(|_| checkpoint), catalog);
    if !report.damage.is_empty() {
        recovery.note_damage();
    }
    let replayed = reader.replay(from, |found| {
        match found {
            Found::Record { position, payload } => recovery.visit(position, payload),
            Found::Damage(damage) => {
                recovery.note_damage();
                tracing::error!(%damage, "a part of the log is damaged; what lies behind it is kept");
            }
        }
        Ok::<(), std::convert::Infallible>(())
    });
    match replayed {
        Ok(replayed) => tracing::debug!(records = replayed.records, bytes = replayed.bytes, "log replayed"),
        Err(error) => return Err(CannotOpen::Replay(error)),
    }
    Ok(recovery.finish())
}

fn build_partitions(
    catalog: &Catalog,
    queues: Vec<(
        PartitionId,
        everack_broker::ids::QueueId,
        crate::recovery::queue_image::QueueImage,
    )>,
    plan: &Plan,
    end: Position,
) -> Vec<Partition> {
    let snapshot = catalog.snapshot();
    // A queue stays where it is, also when there are to be fewer partitions than before.
    let used = snapshot
        .queues()
        .map(|queue| queue.partition.0 + 1)
        .max()
        .unwrap_or(0);
    let limits = Limits {
        resident_bytes_max: plan.resident_bytes_max / u64::from(plan.partitions),
    };
    let mut partitions: Vec<Partition> = (0..plan.partitions.max(used))
        .map(|id| Partition::new(PartitionId(id), Queues::new(limits)))
        .collect();
    let mut images: std::collections::HashMap<_, _> =
        queues.into_iter().map(|(_, id, image)| (id, image)).collect();
    for queue in snapshot.queues() {
        let image = images
            .remove(&queue.id)
            .unwrap_or_else(crate::recovery::fresh_image);
        partitions[usize::from(queue.partition.0)].restore(queue, image);
    }
    for partition in &mut partitions {
        partition.recovered(end);
    }
    partitions
}

fn tell_of_log(report: &RecoveryReport) {
    if let Some(cut) = &report.cut {
        tracing::warn!(position = %cut.position, "the last start ended in the middle of a write; its unconfirmed end is cut off");
    }
    for damage in &report.damage {
        tracing::error!(%damage, "a part of the log is damaged; what lies behind it is kept");
    }
    for name in &report.set_aside {
        tracing::warn!(%name, "set aside");
    }
}

fn tell_of_contents(report: &Report) {
    for (queue, messages) in &report.orphans {
        tracing::error!(
            queue = queue.0,
            messages,
            "messages of a queue that nobody declared: left in the log, see `everack inspect`"
        );
    }
    for (position, error) in &report.unreadable {
        tracing::error!(%position, %error, "a record cannot be understood and is passed over");
    }
    for gap in &report.gaps {
        tracing::error!(
            queue = gap.queue.0,
            first = gap.first.0,
            count = gap.count,
            "messages are missing from the log"
        );
    }
    for contradiction in &report.contradictions {
        tracing::error!(%contradiction, "the topology in the log contradicts itself");
    }
    tracing::info!(messages = report.live, replayed = report.replayed, "recovered");
}
