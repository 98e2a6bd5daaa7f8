//! From a data directory to a running engine: open the log, load the checkpoint, replay what is behind it, build the machines.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use everack_broker::catalog::{Catalog, Options as CatalogOptions};
use everack_broker::ids::PartitionId;
use everack_broker::partition::{Limits, Partition as Queues};
use everack_cluster::Standalone;
use everack_node::catalog_service::CatalogService;
use everack_node::partition::Partition;
use everack_node::progress::Progress;
use everack_node::recall::Recall;
use everack_node::recovery::checkpoint::Checkpoint;
use everack_node::recovery::{Recovered, Recovery, Report};
use everack_node::shared::Shared;
use everack_storage::disk::Os;
use everack_storage::{Checkpoints, Found, Log, Options, Position, Reader, RecoveryReport};

use super::clock::Clock;
use super::reader::DiskReader;

/// What a start needs to know.
pub(crate) struct Plan {
    pub(crate) segment_bytes: u32,
    pub(crate) partitions: u16,
    pub(crate) resident_bytes_max: u64,
    pub(crate) hash_key: u64,
    pub(crate) name_seed: u64,
}

/// A recovered node, not running yet.
pub(crate) struct Opened {
    pub(crate) log: Standalone<Os>,
    pub(crate) checkpoints: Checkpoints<Os>,
    pub(crate) reader: Reader<Os>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) recall: Arc<Recall>,
    pub(crate) catalog: CatalogService,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) progress: Progress,
    pub(crate) clock: Clock,
}

/// Opens the log in `disk` and brings back what it holds.
pub(crate) fn open(disk: Os, plan: &Plan) -> anyhow::Result<Opened> {
    let clock = Clock::start();
    let options = Options { segment_bytes: plan.segment_bytes, ..Options::default() };
    let (log, report) = Log::open(disk.clone(), options).context("the log cannot be opened")?;
    tell_of_log(&report);
    let checkpoints = Checkpoints::open(disk, CHECKPOINT_RESERVE_BYTES).context("the checkpoints cannot be opened")?;
    let reader = log.reader();
    let recovered = replay(&checkpoints, &reader, &report, plan)?;
    tell_of_contents(&recovered.report, clock);
    let end = log.end();
    let Recovered { catalog, queues, .. } = recovered;
    let shared = Arc::new(Shared::new(catalog.snapshot(), plan.name_seed, end.segment().0));
    let partitions = build_partitions(&catalog, queues, plan, end);
    let recall = Arc::new(Recall::new(Box::new(DiskReader(reader.clone()))));
    Ok(Opened {
        log: Standalone::new(log),
        checkpoints,
        reader,
        shared,
        recall,
        catalog: CatalogService::new(catalog),
        partitions,
        progress: Progress::recovered(end),
        clock,
    })
}

/// Space kept back so that a checkpoint can be written when the disk is full: it is what lets segments go.
const CHECKPOINT_RESERVE_BYTES: u64 = 4 << 20;

fn replay(
    checkpoints: &Checkpoints<Os>,
    reader: &Reader<Os>,
    report: &RecoveryReport,
    plan: &Plan,
) -> anyhow::Result<Recovered> {
    let mut checkpoint = Checkpoint::default();
    let summary = checkpoints
        .load(|record| checkpoint.take(record).map_err(anyhow::Error::from))
        .context("the checkpoint cannot be read")?;
    let from = summary.as_ref().map_or(Position::ZERO, |summary| summary.covers);
    let catalog = Catalog::new(CatalogOptions { partitions: plan.partitions, hash_key: plan.hash_key });
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
        Ok::<(), anyhow::Error>(())
    });
    match replayed {
        Ok(replayed) => tracing::debug!(records = replayed.records, bytes = replayed.bytes, "log replayed"),
        Err(error) => bail!("the log cannot be replayed: {error}"),
    }
    Ok(recovery.finish())
}

fn build_partitions(
    catalog: &Catalog,
    queues: Vec<(PartitionId, everack_broker::ids::QueueId, everack_node::recovery::queue_image::QueueImage)>,
    plan: &Plan,
    end: Position,
) -> Vec<Partition> {
    let snapshot = catalog.snapshot();
    // A queue stays where it is, also when there are to be fewer partitions than before.
    let used = snapshot.queues().map(|queue| queue.partition.0 + 1).max().unwrap_or(0);
    let limits = Limits { resident_bytes_max: plan.resident_bytes_max / u64::from(plan.partitions) };
    let mut partitions: Vec<Partition> = (0..plan.partitions.max(used))
        .map(|id| Partition::new(PartitionId(id), Queues::new(limits)))
        .collect();
    let mut images: std::collections::HashMap<_, _> = queues.into_iter().map(|(_, id, image)| (id, image)).collect();
    for queue in snapshot.queues() {
        let image = images.remove(&queue.id).unwrap_or_else(everack_node::recovery::fresh_image);
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

fn tell_of_contents(report: &Report, clock: Clock) {
    for (queue, messages) in &report.orphans {
        tracing::error!(queue = queue.0, messages, "messages of a queue that nobody declared: left in the log, see `everack inspect`");
    }
    for (position, error) in &report.unreadable {
        tracing::error!(%position, %error, "a record cannot be understood and is passed over");
    }
    for gap in &report.gaps {
        tracing::error!(queue = gap.queue.0, first = gap.first.0, count = gap.count, "messages are missing from the log");
    }
    for contradiction in &report.contradictions {
        tracing::error!(%contradiction, "the topology in the log contradicts itself");
    }
    let millis = clock.now().0;
    tracing::info!(messages = report.live, replayed = report.replayed, millis, "recovered");
}
