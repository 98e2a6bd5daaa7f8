//! Many power cuts of a real broker under load: `powerfail campaign`. The load and the verdict are `everack audit`'s; the
//! disk is ours. Each run is one audit on a fresh disk; at the end come runs on a disk that lies, which have to
//! lose, or else the whole campaign proves nothing.
//!
//! One run is `run`; how brokers are started is `brokers`.

mod brokers;
mod run;

pub use brokers::Kind;

use crate::disk::Model;
use anyhow::{Context, ensure};
use run::{Figures, Run};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// A settlement that was received this long before a crash, plus the syncs that it waits for, must not be forgotten.
const SETTLEMENT_MS_MAX: f64 = 10.0;
/// The sync that was running when the settlement came, and its own.
const SETTLEMENT_SYNCS: f64 = 2.0;

/// Cuts the power of a broker again and again under load, with a backlog, and says whether anything that it had confirmed
/// was lost.
#[derive(clap::Args, Clone, Debug)]
pub struct Campaign {
    /// Power cuts under load; of Everack one in five is followed by another one while it recovers.
    #[arg(long, default_value_t = 300)]
    cuts: u64,
    /// Power cuts on one disk, before the next run begins with a fresh one.
    #[arg(long, default_value_t = 100)]
    cuts_per_run: u64,
    /// Runs at the end on a disk that lies.
    #[arg(long, default_value_t = 5)]
    lying_runs: u64,
    /// The everack binary: the audit that drives the load, and the broker unless another is named.
    #[arg(long, value_name = "PATH")]
    everack: PathBuf,
    /// The audit, if it is not a part of the binary above.
    #[arg(long, value_name = "PATH")]
    audit: Option<PathBuf>,
    /// The broker under test.
    #[arg(long, value_enum, default_value_t)]
    broker: Kind,
    /// What a power cut may take.
    #[arg(long, value_enum, default_value_t)]
    model: Model,
    /// Messages that wait on purpose.
    #[arg(long, default_value_t = 5000)]
    backlog: u64,
    /// Workloads of the audit.
    #[arg(long, default_value = "backlog,compete,fanout,tx,requeue,large")]
    workloads: String,
    /// What a busy machine may add to the bound of settlements, in milliseconds: for tests beside other work.
    #[arg(long, default_value_t = 0.0)]
    settlement_slack_ms: f64,
    /// Kind of queue: classic or quorum.
    #[arg(long, default_value = "classic")]
    queue_type: String,
    /// What is left to chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where journals, logs and disks lie while it runs; a folder of its own in the temporary folder if nothing is said.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print the figures as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

impl Campaign {
    /// Runs it. Exit status 0 if everything was kept and every lying disk was found out, 1 if not.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        ensure!(
            self.cuts > 0 && self.cuts_per_run > 0,
            "a campaign has at least one power cut"
        );
        let begun = Instant::now();
        let (temporary, folder) = self.folder()?;
        let mut honest = Figures::default();
        let mut left = self.cuts;
        let mut number = 0;
        while left > 0 {
            let cuts = left.min(self.cuts_per_run);
            let figures = self.one(number, cuts, false, &folder)?;
            eprintln!("run {number}: {figures}");
            honest.add(&figures);
            left -= cuts;
            number += 1;
        }
        let mut lying = Vec::new();
        for at in 0..self.lying_runs {
            let figures = self.one(number + at, 2, true, &folder)?;
            eprintln!("lying run {at}: {figures}");
            lying.push(figures);
        }
        let result = self.sum_up(&honest, &lying, begun.elapsed().as_secs_f64());
        self.print(&result);
        let fine = result["verdict"] == "clean";
        if let Some(temporary) = temporary.filter(|_| !fine) {
            eprintln!("journals and logs are kept in {}", temporary.keep().display());
        }
        Ok(ExitCode::from(u8::from(!fine)))
    }

    fn one(&self, number: u64, cuts: u64, lying: bool, folder: &std::path::Path) -> anyhow::Result<Figures> {
        let run = Run {
            campaign: self,
            number,
            cuts,
            lying,
            folder: folder.join(format!("run-{number}")),
        };
        run.run().with_context(|| format!("run {number}"))
    }

    /// The folder to work in; the first part removes it when dropped, if it was ours to make.
    fn folder(&self) -> anyhow::Result<(Option<tempfile::TempDir>, PathBuf)> {
        match &self.folder {
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                Ok((None, folder.canonicalize()?))
            }
            None => {
                let folder = tempfile::Builder::new().prefix("powerfail-").tempdir()?;
                let path = folder.path().to_path_buf();
                Ok((Some(folder), path))
            }
        }
    }

    fn sum_up(&self, honest: &Figures, lying: &[Figures], seconds: f64) -> Value {
        let lying_lost: Vec<u64> = lying.iter().map(Figures::lost_or_gone).collect();
        let found_out = lying_lost.iter().filter(|lost| **lost > 0).count();
        // A machine that is busy makes every sync longer than the disk itself knows.
        let sync_ms = honest.disk_sync_longest_ms.max(honest.audit_sync_longest_ms);
        let bound_ms = SETTLEMENT_MS_MAX + SETTLEMENT_SYNCS * sync_ms + self.settlement_slack_ms;
        let bound_applies = self.broker == Kind::Everack;
        let in_time = !bound_applies || honest.resurrected_oldest_ack_ms <= bound_ms;
        let clean = honest.is_clean() && in_time && found_out == lying.len() && honest.cuts >= self.cuts;
        json!({
            "verdict": if clean { "clean" } else { "broken" },
            "broker": self.broker.name(),
            "queue_type": self.queue_type,
            "model": self.model,
            "cuts": honest.cuts,
            "cuts_in_recovery": honest.cuts.saturating_sub(self.cuts),
            "confirmed": honest.confirmed,
            "lost": honest.lost,
            "damaged": honest.damaged,
            "phantom": honest.phantom,
            "reordered": honest.reordered,
            "resurrected": honest.resurrected,
            "resurrected_late": honest.resurrected_late,
            "resurrected_oldest_ack_ms": honest.resurrected_oldest_ack_ms,
            "resurrected_bound_ms": if bound_applies { json!(bound_ms) } else { Value::Null },
            "resurrected_one_sync_ms": if bound_applies { json!(SETTLEMENT_MS_MAX + sync_ms) } else { Value::Null },
            "duplicated": honest.duplicated,
            "queues_lost": honest.queues_lost,
            "torn_transactions": honest.torn_transactions,
            "not_back": honest.not_back,
            "unconfirmed_delivered": honest.unconfirmed_delivered,
            "backlog_min": honest.backlog_min,
            "backlog_max": honest.backlog_max,
            "sync_longest_ms": sync_ms,
            "sync_longest_disk_ms": honest.disk_sync_longest_ms,
            "syncs": honest.disk_syncs,
            "bytes_written": honest.disk_bytes_written,
            "lying_runs": lying.len(),
            "lying_runs_found_out": found_out,
            "lying_lost": lying_lost,
            "seconds": (seconds * 10.0).round() / 10.0,
            "seed": self.seed,
        })
    }

    fn print(&self, result: &Value) {
        if self.json {
            println!("{result}");
        } else if let Value::Object(figures) = result {
            for (name, value) in figures {
                println!("{name:<28}{value}");
            }
        }
    }
}
