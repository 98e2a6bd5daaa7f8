//! What is in a data directory, and what is wrong with it. The field names are those of `--json`.

use everack_amqp::content::Batch;
use everack_broker::catalog::Snapshot;
use everack_broker::ids::{Location, QueueId};
use everack_node::record::{self, RecordFact};
use everack_node::recovery::queue_image::{ImageRun, QueueImage};
use everack_storage::disk::Disk as _;
use everack_storage::disk::Os;
use everack_storage::{Position, Reader};
use serde::Serialize;

use super::directory::{Directory, Recall};

/// Everything there is to say.
#[derive(Debug, Serialize)]
pub(super) struct Survey {
    pub(super) directory: String,
    pub(super) bytes: u64,
    pub(super) log: LogSurvey,
    pub(super) checkpoints: Vec<CheckpointSurvey>,
    pub(super) topology: Topology,
    pub(super) queues: Vec<QueueSurvey>,
    pub(super) messages: u64,
    /// Worth knowing, and all right.
    pub(super) notes: Vec<String>,
    /// What is wrong.
    pub(super) faults: Vec<String>,
}

/// The log.
#[derive(Debug, Default, Serialize)]
pub(super) struct LogSurvey {
    pub(super) segments: usize,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) closed_cleanly: bool,
    pub(super) by_kind: Kinds,
}

/// Records by what they say.
#[derive(Debug, Default, Serialize)]
pub(super) struct Kinds {
    pub(super) enqueued: u64,
    pub(super) moved: u64,
    pub(super) settled: u64,
    pub(super) returned: u64,
    pub(super) failed: u64,
    pub(super) parked: u64,
    pub(super) unparked: u64,
    pub(super) counted: u64,
    pub(super) aside: u64,
    pub(super) rejected: u64,
    pub(super) quarantined: u64,
    pub(super) expiring: u64,
    pub(super) topology: u64,
    pub(super) transaction_ends: u64,
}

/// One checkpoint file.
#[derive(Debug, Serialize)]
pub(super) struct CheckpointSurvey {
    pub(super) file: String,
    pub(super) covers: Option<String>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// The durable topology.
#[derive(Debug, Default, Serialize)]
pub(super) struct Topology {
    pub(super) vhosts: usize,
    pub(super) users: usize,
    pub(super) exchanges: usize,
    pub(super) queues: usize,
}

/// One durable queue.
#[derive(Debug, Serialize)]
pub(super) struct QueueSurvey {
    pub(super) vhost: String,
    pub(super) name: String,
    pub(super) id: u64,
    pub(super) partition: u16,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) unreadable: u64,
}

impl Survey {
    /// Looks at everything. Takes as long as it takes to read the log, and the live messages once more.
    pub(super) fn of(directory: &Directory) -> anyhow::Result<Self> {
        let mut faults = Vec::new();
        let checkpoints = checkpoints(directory, &mut faults)?;
        let mut by_kind = Kinds::default();
        let Recall {
            recovered,
            replayed,
            damage,
        } = directory.recover(|_, payload| by_kind.count(payload))?;
        faults.extend(damage.iter().map(ToString::to_string));
        let snapshot = recovered.catalog.snapshot();
        let mut queues = Vec::new();
        for (_, id, image) in recovered.queues {
            queues.push(queue(&directory.reader, &snapshot, id, image, &mut faults));
        }
        queues.sort_by(|one, other| (&one.vhost, &one.name).cmp(&(&other.vhost, &other.name)));
        let report = recovered.report;
        faults.extend(report.orphans.iter().map(|(queue, messages)| {
            format!(
                "{messages} messages of queue number {}, which was never declared: left where they are",
                queue.0
            )
        }));
        faults.extend(
            report
                .unreadable
                .iter()
                .map(|(position, error)| format!("the record at {position}: {error}")),
        );
        faults.extend(report.gaps.iter().map(|gap| {
            let last = gap.first.0 + u64::from(gap.count) - 1;
            format!(
                "messages {} to {last} of queue number {} are missing",
                gap.first.0, gap.queue.0
            )
        }));
        faults.extend(report.contradictions);
        Ok(Self {
            directory: directory.path.clone(),
            bytes: directory.disk.list()?.iter().map(|entry| entry.length).sum(),
            log: LogSurvey {
                segments: directory.report.segments.len(),
                records: replayed.records,
                bytes: replayed.bytes,
                closed_cleanly: directory.report.clean,
                by_kind,
            },
            checkpoints,
            topology: Topology::of(&snapshot),
            messages: queues.iter().map(|queue| queue.messages).sum(),
            queues,
            notes: notes(directory, report.transactions_dropped),
            faults,
        })
    }

    /// Whether nothing is wrong.
    pub(super) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Kinds {
    fn count(&mut self, payload: &[u8]) {
        // A record that cannot be understood is told by the recovery.
        let Ok(record) = record::decode(payload) else {
            return;
        };
        *match record.fact {
            RecordFact::Enqueued(_) => &mut self.enqueued,
            RecordFact::Moved(_) => &mut self.moved,
            RecordFact::Settled(_) => &mut self.settled,
            RecordFact::Returned(_) => &mut self.returned,
            RecordFact::Failed(_) => &mut self.failed,
            RecordFact::Parked(_) => &mut self.parked,
            RecordFact::Unparked(_) => &mut self.unparked,
            RecordFact::Counted(_) => &mut self.counted,
            RecordFact::Aside(_) => &mut self.aside,
            RecordFact::Rejected(_) => &mut self.rejected,
            RecordFact::Quarantined(_) => &mut self.quarantined,
            RecordFact::Expiring(_) => &mut self.expiring,
            RecordFact::Topology(_) => &mut self.topology,
            RecordFact::Whole => &mut self.transaction_ends,
        } += 1;
    }
}

impl Topology {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            vhosts: snapshot.vhosts().count(),
            users: snapshot.users().count(),
            exchanges: snapshot.vhosts().map(|vhost| vhost.exchanges().count()).sum(),
            queues: snapshot.queues().count(),
        }
    }
}

fn checkpoints(directory: &Directory, faults: &mut Vec<String>) -> anyhow::Result<Vec<CheckpointSurvey>> {
    let mut surveys = Vec::new();
    for checked in directory.checkpoints.check()? {
        let summary = checked.summary.as_ref().ok();
        surveys.push(CheckpointSurvey {
            covers: summary.map(|summary| summary.covers.to_string()),
            records: summary.map_or(0, |summary| summary.records),
            bytes: summary.map_or(0, |summary| summary.bytes),
            file: checked.name,
        });
        faults.extend(checked.summary.err().map(|error| error.to_string()));
    }
    Ok(surveys)
}

fn notes(directory: &Directory, transactions_dropped: usize) -> Vec<String> {
    let report = &directory.report;
    let mut notes = Vec::new();
    if let Some(cut) = &report.cut {
        let position = cut.position;
        notes.push(format!("the log ends in the middle of a write, at {position}; it was never confirmed, and the next start cuts it off"));
    } else if !report.clean {
        notes.push("the broker did not stop by itself; the next start recovers".to_owned());
    }
    if report.manifest_restored {
        notes.push(
            "MANIFEST is missing or damaged; the next start writes it again from the segments".to_owned(),
        );
    }
    if transactions_dropped > 0 {
        notes.push(format!(
            "{transactions_dropped} transactions were never finished, and so never happened"
        ));
    }
    notes.extend(
        report
            .set_aside
            .iter()
            .map(|name| format!("{name} is a damaged segment that was set aside")),
    );
    notes
}

fn queue(
    reader: &Reader<Os>,
    snapshot: &Snapshot,
    id: QueueId,
    image: QueueImage,
    faults: &mut Vec<String>,
) -> QueueSurvey {
    let (vhost, name, partition) = match snapshot.queue(id) {
        Some(queue) => (queue.vhost.to_string(), queue.name.to_string(), queue.partition.0),
        None => (String::new(), format!("number {}", id.0), 0),
    };
    let mut survey = QueueSurvey {
        vhost,
        name,
        id: id.0,
        partition,
        messages: 0,
        bytes: 0,
        unreadable: 0,
    };
    let mut contents = Contents::new(reader);
    for run in image.into_runs() {
        survey.messages += run.count();
        survey.bytes += u64::from(run.bytes);
        if let Err(error) = contents.of(&run) {
            survey.unreadable += run.count();
            let (first, last) = (run.first.0, run.first.0 + run.count().saturating_sub(1));
            faults.push(format!(
                "messages {first} to {last} of the queue {} cannot be read: {error}",
                survey.name
            ));
        }
    }
    survey
}

/// Fetches the contents of runs. Neighbouring runs often lie in one record, which is read once.
pub(super) struct Contents<'a> {
    reader: &'a Reader<Os>,
    last: Option<(Location, Batch)>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(reader: &'a Reader<Os>) -> Self {
        Self { reader, last: None }
    }

    /// The batch in which a run's messages are the entries `from..to`.
    pub(super) fn of(&mut self, run: &ImageRun) -> anyhow::Result<&Batch> {
        if self
            .last
            .as_ref()
            .is_none_or(|(location, _)| *location != run.location)
        {
            self.last = None;
            let payload = self.reader.read(Position(run.location.0), 128 << 10)?;
            let (batch, _) = record::decode_messages(payload)?;
            self.last = Some((run.location, batch));
        }
        let (_, batch) = self.last.as_ref().expect("it was put there above");
        let stored = (run.from..run.to).all(|entry| {
            let entry = usize::from(entry);
            entry < batch.len() && !batch.header(entry).is_empty()
        });
        anyhow::ensure!(stored, "the record does not hold them");
        Ok(batch)
    }
}
