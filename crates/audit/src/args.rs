//! The command line of `everack audit`.

use crate::faults::{Fault, Schedule};
use crate::verdict::SettleBound;
use crate::workload::{Kind, QueueType};
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::time::Duration;

/// Audits a broker from outside: publishes and consumes, kills it meanwhile, and says whether anything that it confirmed was
/// lost.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "It ends with the status
  0  nothing that was confirmed is lost
  1  a promise was broken, and the verdict says which
  2  the audit itself failed
  3  the broker did not come back")]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What else can be done.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Judge the journals of an earlier run again.
    Check(CheckArgs),
}

/// `everack audit check`.
#[derive(clap::Args, Debug)]
pub(crate) struct CheckArgs {
    /// The directory that the run was given with --journal.
    #[arg(value_name = "DIR")]
    pub(crate) journals: PathBuf,
    /// Write report.md, report.html and report.json into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// How long before a crash a settlement must have been received to be kept: a time, to which is added what the journal itself needed at most, or
    /// none [default: what the run used].
    #[arg(long, value_name = "TIME", value_parser = settle_bound)]
    pub(crate) settle_bound: Option<SettleBound>,
    /// Print the verdict as one JSON object on the last line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `everack audit`.
#[derive(clap::Args, Debug)]
pub(crate) struct RunArgs {
    /// The broker's address.
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub(crate) url: String,
    /// How long the load lasts [default: as long as the faults need, or 60s without any].
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Starts the broker, with `sh -c`, in a process group of its own.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) start_cmd: Option<String>,
    /// Runs while the broker is down, in `between` faults, with AUDIT_FAULT_NUMBER and AUDIT_SEED in its environment.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) between_cmd: Option<String>,
    /// How long the broker may take to answer after a start.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) start_max: Duration,
    /// What to do to it, as in `kill9*5,pause:3,between*3,term*2`: mixed by the seed.
    #[arg(long, value_name = "FAULTS", default_value = "")]
    pub(crate) faults: Schedule,
    /// Workloads, separated by commas.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "backlog,compete,fanout,tx,requeue,large"
    )]
    pub(crate) workloads: Vec<Kind>,
    /// Publishers of each workload.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) publishers: u16,
    /// Consumers of each queue.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) consumers: u16,
    /// Queues of each workload.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) queues: u16,
    /// Messages that the workload `backlog` keeps waiting; the others keep a tenth of it.
    #[arg(long, default_value_t = 2000)]
    pub(crate) backlog: u64,
    /// Messages a second of all publishers together [default: as fast as it goes].
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// The size of all bodies in bytes, but for `large` [default: mixed, mostly small].
    #[arg(long)]
    pub(crate) size: Option<usize>,
    /// The kind of queue to declare.
    #[arg(long, value_enum, default_value = "classic")]
    pub(crate) queue_type: QueueType,
    /// Keep the journal in this directory, which must not have one [default: a temporary one, kept when something is broken].
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    /// Write report.md, report.html and report.json into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// What is random follows from it [default: a new one, which the report tells].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How long before a crash a settlement must have been received to be kept: a time, to which is added what the journal itself needed at most, or
    /// none [default: 10ms for Everack, none for brokers that do not promise it].
    #[arg(long, value_name = "TIME", value_parser = settle_bound)]
    pub(crate) settle_bound: Option<SettleBound>,
    /// Print the verdict as one JSON object on the last line.
    #[arg(long)]
    pub(crate) json: bool,
}

impl RunArgs {
    /// What clap cannot check.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let faults = &self.faults;
        ensure!(
            faults.0.is_empty() || self.start_cmd.is_some(),
            "--faults needs --start-cmd: only what the audit has started may be killed"
        );
        let between = faults.has(|fault| fault == Fault::Between);
        ensure!(
            !between || self.between_cmd.is_some(),
            "`between` needs --between-cmd"
        );
        ensure!(!self.workloads.is_empty(), "there is no workload");
        let classic = self.queue_type == QueueType::Classic;
        ensure!(
            classic || !self.workloads.contains(&Kind::Priority),
            "quorum queues have no x-max-priority: leave the workload `priority` out"
        );
        ensure!(
            self.size.is_none_or(|size| (16..=64 << 20).contains(&size)),
            "--size takes 16 to 67108864 bytes"
        );
        let rate = self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0);
        ensure!(rate, "--rate takes a number above 0");
        Ok(())
    }
}

/// `500ms`, `60s`, `5m`, `2h`; a bare number is seconds.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => anyhow::bail!("`{unit}` is no unit of time; there are ms, s, m and h"),
    };
    let number: f64 = digits.parse().context("a time is a number and ms, s, m or h")?;
    ensure!((0.0..=1e6).contains(&number), "a time is 0 to 1000000");
    Ok(Duration::from_secs_f64(number * seconds))
}

fn settle_bound(text: &str) -> anyhow::Result<SettleBound> {
    match text {
        "none" => Ok(SettleBound::None),
        text => duration(text).map(SettleBound::After),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> anyhow::Result<RunArgs> {
        let words = std::iter::once("audit").chain(line.split_whitespace());
        let run = Line::try_parse_from(words)?.args.run;
        run.check()?;
        Ok(run)
    }

    #[test]
    fn lines_that_are_refused() {
        for line in [
            "--faults kill9",
            "--faults kill9 --start-cmd x --workloads nothing",
            "--faults between --start-cmd x",
            "--faults kill --start-cmd x",
            "--queue-type quorum --workloads priority",
            "--rate 0",
            "--size 3",
            "--for 3d",
            "--settle-bound soon",
            "--publishers 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lines_that_are_taken() {
        let run =
            parse("--start-cmd x --between-cmd y --faults between*300 --for 2m --settle-bound none").unwrap();
        assert_eq!(run.faults.0.len(), 300);
        assert_eq!(run.duration, Some(Duration::from_secs(120)));
        assert_eq!(run.settle_bound, Some(SettleBound::None));
        let run = parse("--settle-bound 25ms --workloads compete,tx").unwrap();
        assert_eq!(
            run.settle_bound,
            Some(SettleBound::After(Duration::from_millis(25)))
        );
        assert_eq!(run.workloads, [Kind::Compete, Kind::Tx]);
        let line = ["audit", "check", "dir", "--json"];
        assert!(Line::try_parse_from(line).unwrap().args.command.is_some());
    }
}
