//! A stopped broker's data directory, opened for looking.

use std::path::Path;

use anyhow::Context as _;
use everack_broker::catalog::{Catalog, Options};
use everack_node::recovery::checkpoint::Checkpoint;
use everack_node::recovery::{Recovered, Recovery};
use everack_storage::disk::{Disk as _, Os};
use everack_storage::segment;
use everack_storage::{Checkpoints, Damage, Found, Position, Reader, RecoveryReport, Replayed, manifest};

/// See the module documentation. Holds the directory's lock, so that no broker starts meanwhile.
pub(super) struct Directory {
    pub(super) path: String,
    pub(super) disk: Os,
    pub(super) reader: Reader<Os>,
    pub(super) report: RecoveryReport,
    pub(super) checkpoints: Checkpoints<Os>,
}

/// What a broker would make of the files, and what went by on the way.
pub(super) struct Recall {
    pub(super) recovered: Recovered,
    pub(super) replayed: Replayed,
    pub(super) damage: Vec<Damage>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let disk = Os::open_existing(path).with_context(|| format!("cannot open {}", path.display()))?;
        // Before the lock is taken, which leaves a file behind.
        let entries = disk
            .list()
            .with_context(|| format!("cannot list {}", path.display()))?;
        let ours = |name: &str| name == manifest::NAME || segment::parse_name(name).is_some();
        anyhow::ensure!(
            entries.iter().any(|entry| ours(&entry.name)),
            "{} is not the data directory of a broker: it holds neither {} nor log segments",
            path.display(),
            manifest::NAME
        );
        let (reader, report) = everack_storage::inspect(disk.clone())?;
        let checkpoints = Checkpoints::inspect(disk.clone()).context("the checkpoints cannot be opened")?;
        Ok(Self {
            path: path.display().to_string(),
            disk,
            reader,
            report,
            checkpoints,
        })
    }

    /// Reads the whole log, older parts included that a start would not need any more, and recovers from it the way a
    /// broker does. `see` is shown every record.
    pub(super) fn recover(&self, mut see: impl FnMut(Position, &[u8])) -> anyhow::Result<Recall> {
        let mut checkpoint = Checkpoint::default();
        let summary = self
            .checkpoints
            .load(|record| checkpoint.take(record).map_err(anyhow::Error::from))
            .context("no checkpoint can be read")?;
        let covered = summary.as_ref().map_or(Position::ZERO, |summary| summary.covers);
        let catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 0,
        });
        let mut recovery = Recovery::load(summary.map(|_| checkpoint), catalog);
        if !self.report.damage.is_empty() {
            recovery.note_damage();
        }
        let mut damage = Vec::new();
        let replayed = self.reader.replay(Position::ZERO, |found| {
            match found {
                Found::Record { position, payload } => {
                    see(position, payload);
                    if position >= covered {
                        recovery.visit(position, payload);
                    }
                }
                Found::Damage(found) => {
                    if found.position.forward(found.bytes as u32) > covered {
                        recovery.note_damage();
                    }
                    damage.push(found);
                }
            }
            Ok::<(), anyhow::Error>(())
        })?;
        Ok(Recall {
            recovered: recovery.finish(),
            replayed,
            damage,
        })
    }
}
