//! The command line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use clap::Subcommand;

use crate::compare;
use crate::echo;
use crate::measure::{self, Plan};
use crate::setup::Options;
use crate::suite;
use crate::url::Url;
use crate::workload::{Ack, NAMES, QueueKind, Workload};

/// Loads an AMQP 0-9-1 broker and says what it costs and how long a message takes.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run workloads alternately against several brokers, print a table, and fail when a floor is missed.
    Compare(compare::CompareArgs),
    /// Measure everything that has a target, hold it against that, and write the results and plots into files.
    Suite(suite::SuiteArgs),
    /// List the named workloads.
    Workloads,
    /// Be a fake broker that does next to nothing, to measure the generator's own cost.
    Echo {
        /// The port to listen on, on 127.0.0.1; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
}

#[derive(clap::Args, Debug)]
struct RunArgs {
    /// The broker's address.
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    url: Url,
    /// The broker's process id, for its CPU and memory; its child processes are counted too.
    #[arg(long)]
    broker_pid: Option<u32>,
    /// A named workload (`everack bench workloads` lists them); the options below change it.
    #[arg(long)]
    workload: Option<String>,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    how: HowArgs,
    /// Print the report as JSON on the last line.
    #[arg(long)]
    json: bool,
}

/// Changes to a workload.
#[derive(clap::Args, Debug, Default)]
pub struct WorkArgs {
    /// Publishing connections.
    #[arg(long)]
    producers: Option<u16>,
    /// Consuming connections.
    #[arg(long)]
    consumers: Option<u16>,
    /// Queues; producers and consumers are dealt out to them.
    #[arg(long)]
    queues: Option<u32>,
    /// Message size in bytes; several, separated by commas, are taken in turn.
    #[arg(long, value_delimiter = ',')]
    size: Vec<u32>,
    /// Publish with delivery mode 2.
    #[arg(long)]
    persistent: bool,
    /// Messages carry headers, a priority and a time to live, and go through an exchange with ten keys a queue.
    #[arg(long)]
    dressed: bool,
    /// What kind of queue to declare.
    #[arg(long, value_enum)]
    queue: Option<QueueKind>,
    /// Publishes a producer may have unconfirmed; 0 publishes without confirms.
    #[arg(long)]
    window: Option<u32>,
    /// How consumers acknowledge: none, each, or a number of deliveries for one multiple ack.
    #[arg(long)]
    ack: Option<Ack>,
    /// Deliveries a consumer may have unacknowledged; 0 is no limit.
    #[arg(long)]
    prefetch: Option<u16>,
    /// Messages a second of all producers together; 0 is as fast as it goes.
    #[arg(long)]
    rate: Option<f64>,
    /// Send every message to every queue through a fanout exchange.
    #[arg(long)]
    fanout: bool,
    /// Publish with the mandatory flag.
    #[arg(long)]
    mandatory: bool,
    /// Hold producers back while so many messages are published and not received; 0 lets the backlog grow.
    #[arg(long)]
    backlog_max: Option<u64>,
    /// First publish so many messages with nobody consuming, then drain them; --duration says nothing then.
    #[arg(long)]
    backlog: Option<u64>,
}

/// How to measure, whatever the workload.
#[derive(clap::Args, Debug)]
pub struct HowArgs {
    /// Seconds to measure.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds that everything may take to arrive after the measurement; 0 does not wait and checks less.
    #[arg(long, default_value_t = 60.0)]
    drain: f64,
    /// Threads of the generator: one does everything, of more of them half publish and half consume.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Do not write and check message ids.
    #[arg(long)]
    no_check: bool,
    /// The heartbeat to ask for, in seconds; 0 asks for none.
    #[arg(long, default_value_t = 60)]
    heartbeat: u16,
    /// The largest frame to ask for, in bytes; 0 takes what the broker offers, 128 KiB at most.
    #[arg(long, default_value_t = 0)]
    frame_max: u32,
    /// Leave the queues behind.
    #[arg(long)]
    keep: bool,
    /// Run the generator, and the brokers that it starts, at this nice value (-20 is the highest priority and needs
    /// root): on a machine that others use, rates are then less theirs. A broker that runs already stays as it is.
    #[arg(long, allow_negative_numbers = true)]
    nice: Option<i32>,
}

impl WorkArgs {
    /// The workload with these changes.
    pub fn apply(&self, mut workload: Workload) -> Workload {
        fn set<T: Clone>(place: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *place = value.clone();
            }
        }
        set(&mut workload.producers, &self.producers);
        set(&mut workload.consumers, &self.consumers);
        set(&mut workload.queues, &self.queues);
        set(&mut workload.queue, &self.queue);
        set(&mut workload.window, &self.window);
        set(&mut workload.ack, &self.ack);
        set(&mut workload.prefetch, &self.prefetch);
        set(&mut workload.rate, &self.rate);
        set(&mut workload.backlog_max, &self.backlog_max);
        set(&mut workload.backlog, &self.backlog);
        if !self.size.is_empty() {
            workload.sizes.clone_from(&self.size);
        }
        workload.persistent |= self.persistent;
        workload.dressed |= self.dressed;
        workload.fanout |= self.fanout;
        workload.mandatory |= self.mandatory;
        workload
    }
}

impl HowArgs {
    /// Takes the priority asked for. Threads and processes started later inherit it.
    pub fn take_priority(&self) -> anyhow::Result<()> {
        if let Some(nice) = self.nice {
            rustix::process::nice(nice).with_context(|| format!("cannot take the nice value {nice}"))?;
        }
        Ok(())
    }

    /// A plan for one broker.
    pub fn plan(&self, url: Url, broker_pid: Option<u32>) -> anyhow::Result<Plan> {
        ensure!((1..=64).contains(&self.threads), "--threads takes 1 to 64");
        Ok(Plan {
            url,
            broker_pid,
            warm_up: seconds("--warm-up", self.warm_up)?,
            duration: seconds("--duration", self.duration)?,
            drain: seconds("--drain", self.drain)?,
            threads: self.threads,
            check: !self.no_check,
            options: Options {
                heartbeat_seconds: self.heartbeat,
                frame_max: self.frame_max,
            },
            keep: self.keep,
        })
    }
}

/// The workload of that name, or an error that names them all.
pub fn named(name: &str) -> anyhow::Result<Workload> {
    let names = || NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    Workload::named(name).ok_or_else(|| anyhow!("there is no workload {name}; there are {}", names()))
}

/// Does what the command line says.
pub fn dispatch(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        None => run(&args.run),
        Some(Command::Compare(args)) => compare::compare(&args),
        Some(Command::Suite(args)) => suite::suite(&args),
        Some(Command::Workloads) => {
            for (name, text) in NAMES {
                println!("{name:10} {text}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Echo { port }) => echo::serve(port),
    }
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let base = match &args.workload {
        Some(name) => named(name)?,
        None => Workload::default(),
    };
    let workload = args.work.apply(base);
    let plan = args.how.plan(args.url.clone(), args.broker_pid)?;
    args.how.take_priority()?;
    let report = measure::measure(&workload, &plan)?;
    println!("{report}");
    if args.json {
        println!("{}", report.json());
    }
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn seconds(name: &str, value: f64) -> anyhow::Result<Duration> {
    ensure!(
        (0.0..=86_400.0).contains(&value),
        "{name} takes 0 to 86400 seconds"
    );
    Ok(Duration::from_secs_f64(value))
}
