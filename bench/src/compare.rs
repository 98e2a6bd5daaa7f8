//! Several brokers under the same work, side by side in one go: A, B, A, B, so that what disturbs the machine disturbs
//! both. Medians, spread, ratios, and floors that fail the comparison when they are missed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, anyhow, ensure};

use crate::args::{self, HowArgs};
use crate::measure;
use crate::peer::{self, Peer};
use crate::report::Report;
use crate::url::Url;
use crate::workload::Workload;

pub mod floor;
pub mod table;

use floor::Floor;
use table::{Comparison, Row};

/// Compares brokers.
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// A running broker: NAME=URL, with ,pid=PID behind it for its CPU. May be given several times.
    #[arg(long = "peer")]
    peers: Vec<PeerSpec>,
    /// Start a private Everack and compare it; with a path, that binary, else this one.
    #[arg(long, num_args = 0..=1, require_equals = true)]
    start_everack: Option<Option<PathBuf>>,
    /// Start a private RabbitMQ (Debian's rabbitmq-server) and compare it.
    #[arg(long)]
    start_rabbitmq: bool,
    /// Where brokers that are started keep their data; it decides what a sync costs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    base_dir: PathBuf,
    /// Workloads, separated by commas.
    #[arg(long = "workload", value_delimiter = ',', default_value = "w1a,w1b,w1c,w2")]
    workloads: Vec<String>,
    /// How often each workload runs on each broker.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The broker that others are measured against; default: the one named rabbitmq, else the last one.
    #[arg(long)]
    baseline: Option<String>,
    /// A floor, WORKLOAD=THROUGHPUT,CPU: `w2=10,20` asks for at least 10 times the baseline's throughput and at most 1/20
    /// of its CPU a message. Without any, those that the project has promised hold when the baseline is RabbitMQ.
    #[arg(long = "floor")]
    floors: Vec<Floor>,
    /// Hold nothing against any floor.
    #[arg(long)]
    no_floors: bool,
    #[command(flatten)]
    how: HowArgs,
    /// Print everything as JSON on the last line.
    #[arg(long)]
    json: bool,
}

/// A broker given on the command line.
#[derive(Clone, Debug)]
struct PeerSpec {
    name: String,
    url: Url,
    pid: Option<u32>,
}

impl FromStr for PeerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("NAME=URL or NAME=URL,pid=PID")?;
        let (url, pid) = match rest.rsplit_once(",pid=") {
            Some((url, pid)) => (url, Some(pid.parse().map_err(|_| "the pid is not a number")?)),
            None => (rest, None),
        };
        let url = url.parse().map_err(|error| format!("{error}"))?;
        Ok(Self {
            name: name.to_owned(),
            url,
            pid,
        })
    }
}

/// Runs the comparison and prints it.
pub fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let workloads = args
        .workloads
        .iter()
        .map(|name| args::named(name))
        .collect::<Result<Vec<_>, _>>()?;
    ensure!(args.rounds >= 1, "--rounds takes 1 or more");
    for floor in &args.floors {
        let runs = args.workloads.contains(&floor.workload);
        ensure!(runs, "there is a floor for {}, which is not run", floor.workload);
    }
    args.how.take_priority()?;
    let started = start(args)?;
    let mut contenders = args.peers.clone();
    contenders.extend(started.iter().map(|peer| PeerSpec {
        name: peer.name().to_owned(),
        url: peer.url().clone(),
        pid: Some(peer.pid()),
    }));
    ensure!(
        !contenders.is_empty(),
        "name at least one broker: --peer, --start-everack, --start-rabbitmq"
    );
    let baseline = baseline(args, &contenders)?;
    let rows = run_rounds(args, &workloads, &contenders)?;
    let floors = floors(args, &contenders[baseline].name);
    let comparison = Comparison::new(rows, &contenders[baseline].name, &floors);
    println!("{comparison}");
    if args.json {
        println!("{}", serde_json::to_string(&comparison)?);
    }
    Ok(if comparison.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Each workload on each broker in turn, round by round.
fn run_rounds(
    args: &CompareArgs,
    workloads: &[Workload],
    contenders: &[PeerSpec],
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workload in workloads {
        let mut reports: Vec<Vec<Report>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 1..=args.rounds {
            for (contender, reports) in contenders.iter().zip(&mut reports) {
                let plan = args.how.plan(contender.url.clone(), contender.pid)?;
                let report = measure::measure(workload, &plan)
                    .with_context(|| format!("{} on {}, round {round}", workload.name, contender.name))?;
                eprintln!("[{round}/{}] {}: {report}", args.rounds, contender.name);
                reports.push(report);
            }
        }
        for (contender, reports) in contenders.iter().zip(reports) {
            rows.push(Row::new(&workload.name, &contender.name, reports));
        }
    }
    Ok(rows)
}

fn start(args: &CompareArgs) -> anyhow::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    if let Some(binary) = &args.start_everack {
        let binary = peer::binary(binary.as_deref())?;
        peers.push(Peer::everack(&binary, &args.base_dir, &[])?);
    }
    if args.start_rabbitmq {
        peers.push(Peer::rabbitmq(&args.base_dir)?);
    }
    Ok(peers)
}

fn baseline(args: &CompareArgs, contenders: &[PeerSpec]) -> anyhow::Result<usize> {
    let position = |name: &str| contenders.iter().position(|contender| contender.name == name);
    match &args.baseline {
        Some(name) => position(name).ok_or_else(|| anyhow!("no broker is named {name}")),
        None => Ok(position("rabbitmq").unwrap_or(contenders.len() - 1)),
    }
}

fn floors(args: &CompareArgs, baseline: &str) -> Vec<Floor> {
    if args.no_floors {
        return Vec::new();
    }
    if args.floors.is_empty() && baseline == "rabbitmq" {
        return floor::promised();
    }
    args.floors.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read() {
        let peer: PeerSpec = "a=amqp://h:1/,pid=7".parse().expect("it parses");
        assert_eq!((peer.name.as_str(), peer.url.port, peer.pid), ("a", 1, Some(7)));
        let peer: PeerSpec = "b=amqp://h".parse().expect("it parses");
        assert_eq!((peer.url.port, peer.pid), (5672, None));
        assert!("amqp://h".parse::<PeerSpec>().is_err());
        assert!("c=amqp://h,pid=x".parse::<PeerSpec>().is_err());
    }
}
