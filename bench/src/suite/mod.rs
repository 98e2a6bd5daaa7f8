//! Everything that is promised about speed and size, measured in one go and held against its targets: the workloads of
//! [`crate::workload`], what a broker costs when it only starts, holds connections, declares and binds, and what the machine itself
//! can do in the same minutes.
//!
//! | room | what it does |
//! |---|---|
//! | [`case`] | one thing to measure, on one broker, once |
//! | [`machine`] | what the machine is, and what it can do at best: syncs, copies, the loopback |
//! | [`start`], [`connections`], [`declares`], [`bindings`], [`restart`], [`crowd`] | the cases that are no load |
//! | [`get`] | one request to the management API |
//! | `relay` | the least that a broker can do for durable messages |
//! | [`target`] | what must be reached, and whether it is |
//! | [`results`] | all figures, as JSON and as Markdown |
//! | [`scale`] | the cases that are a series: more and more of something |
//! | [`fairness`], [`greedy`] | modest clients beside such as take all that they get |
//! | [`plot`], [`lines`] | bars and series, as SVG |
//!
//! Each case has brokers of its own, so that none inherits another's memory. They take turns, round by round.

pub mod bindings;
pub mod case;
pub mod connections;
pub mod crowd;
pub mod declares;
pub mod fairness;
pub mod get;
pub mod greedy;
pub mod lines;
pub mod machine;
pub mod plot;
mod relay;
pub mod restart;
pub mod results;
pub mod scale;
pub mod start;
pub mod target;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::args::HowArgs;
use crate::peer::{self, Peer};
use crate::process;
use case::{Case, Setting};
use results::{Measured, Results};

/// What one run found out, by name; the unit is at the end of each name.
pub type Figures = BTreeMap<String, f64>;

/// The name of what is no broker but the machine under all of them.
pub const MACHINE: &str = "machine";

/// What a start took is given back within this time, or the memory is looked at again.
const REST_LOOK: Duration = Duration::from_secs(4);
const REST_LOOKS_MAX: usize = 5;

/// Measures everything that has a target.
#[derive(clap::Args, Debug)]
pub struct SuiteArgs {
    /// The Everack binary to measure; default: this one.
    #[arg(long)]
    everack: Option<PathBuf>,
    /// Measure a private RabbitMQ (Debian's rabbitmq-server) beside it.
    #[arg(long)]
    rabbitmq: bool,
    /// Measure a fake broker beside it that does next to nothing, where it can stand in for one: what the sockets, and being
    /// woken, cost on this machine whatever the broker.
    #[arg(long)]
    echo: bool,
    /// Where brokers keep their data; it decides what a sync costs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    base_dir: PathBuf,
    /// Only these cases, separated by commas; `scale-*` is all that begin so, `list` prints their names. Default: all but `scale-*`.
    #[arg(long = "case", value_delimiter = ',')]
    cases: Vec<String>,
    /// How often each case runs on each broker. A target is met when every round meets it.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Messages of the large backlog, connections, queues and bindings, as a part of what the targets are about: 0.01 is a trial.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// What was measured, for the results: a commit.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Write results.json, results.md and the plots into this directory.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write them into a directory below this one, named after the commit and the machine.
    #[arg(long, conflicts_with = "out")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
}

/// Runs the suite and prints what it found. A case that cannot be measured, on a machine that is too small for it, does not take the others
/// with it. Exit status 1: a target was missed, a run's books did not balance, or a case could not be measured.
pub fn suite(args: &SuiteArgs) -> anyhow::Result<ExitCode> {
    if args.cases.iter().any(|name| name == "list") {
        Case::all().iter().for_each(|case| println!("{case}"));
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(args.rounds >= 1, "--rounds takes 1 or more");
    ensure!(
        args.scale > 0.0 && args.scale <= 1.0,
        "--scale takes a part: above 0, 1 at most"
    );
    let cases = chosen(&args.cases)?;
    args.how.take_priority()?;
    let mut results = Results::new(&args.commit, args.scale);
    for case in &cases {
        if let Err(error) = measure(case, args, &mut results) {
            eprintln!("{case} could not be measured: {error:#}");
            results.fail(case, &error);
        }
    }
    results.judge();
    println!("{results}");
    let archived = args
        .archive
        .as_ref()
        .map(|below| below.join(results.directory_name()));
    if let Some(directory) = args.out.as_ref().or(archived.as_ref()) {
        keep(&results, directory)?;
    }
    Ok(if results.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Case>> {
    if names.is_empty() {
        return Ok(Case::usual());
    }
    let mut cases = Vec::new();
    for name in names {
        match name.strip_suffix('*') {
            None => cases.push(name.parse()?),
            Some(beginning) => {
                let all = Case::all().into_iter();
                cases.extend(all.filter(|case| case.to_string().starts_with(beginning)));
            }
        }
    }
    ensure!(
        !cases.is_empty(),
        "no case is called that; `--case list` prints them"
    );
    Ok(cases)
}

/// One case on all brokers, round by round, and the machine's own limits in each round where the case asks for them.
fn measure(case: &Case, args: &SuiteArgs, results: &mut Results) -> anyhow::Result<()> {
    let mut peers = vec![everack(args)?];
    if args.rabbitmq && case.suits_rabbitmq() {
        peers.push(Peer::rabbitmq(&args.base_dir)?);
    }
    if args.echo && case.suits_echo() {
        peers.push(Peer::echo(
            &peer::binary(args.everack.as_deref())?,
            &args.base_dir,
        )?);
    }
    for round in 1..=args.rounds {
        if case.needs_machine() {
            let figures = machine::limits(&args.base_dir).context("measuring the machine")?;
            results.add(Measured::new(case, MACHINE, round, figures));
        }
        for peer in &mut peers {
            if case.needs_rested_process() {
                rested(peer, round)?;
            }
            let setting = Setting {
                how: &args.how,
                scale: args.scale,
            };
            let name = peer.name();
            let found = case
                .run(peer, &setting)
                .with_context(|| format!("{case} on {name}, round {round}"))?;
            eprintln!(
                "[{round}/{}] {case} on {name}: {}",
                args.rounds,
                results::line(&found.figures)
            );
            results.add(Measured {
                series: found.series,
                problems: found.problems,
                ..Measured::new(case, name, round, found.figures)
            });
        }
    }
    Ok(())
}

/// A process for this round alone, whose memory has stopped changing.
fn rested(peer: &mut Peer, round: u32) -> anyhow::Result<()> {
    if round > 1 {
        peer.restart_with(&[])?;
    }
    let mut resident = None;
    for _ in 0..REST_LOOKS_MAX {
        let now = process::resident(peer.pid());
        if resident == Some(now) {
            break;
        }
        resident = Some(now);
        thread::sleep(REST_LOOK);
    }
    Ok(())
}

fn everack(args: &SuiteArgs) -> anyhow::Result<Peer> {
    let binary = peer::binary(args.everack.as_deref())?;
    Peer::everack(&binary, &args.base_dir, &[])
}

fn keep(results: &Results, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let mut files = vec![
        (
            "results.json".to_owned(),
            serde_json::to_string_pretty(results)? + "\n",
        ),
        ("results.md".to_owned(), results.to_string()),
    ];
    files.extend(plot::all(results));
    files.extend(lines::all(results));
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
