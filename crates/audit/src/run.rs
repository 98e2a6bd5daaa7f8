//! What the command line asks for, from end to end, and the exit status that tells how it went.

use crate::args::{Args, CheckArgs, Command, RunArgs};
use crate::campaign::Campaign;
use crate::journal::{self, Journal, Reader};
use crate::load::Topology;
use crate::nemesis::{Commands, Greeting, Nemesis, NotBack, hello};
use crate::report::{self, Facts};
use crate::verdict::{Judge, Promises, SettleBound, Verdict};
use crate::workload::Setup;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Something that the broker confirmed was not kept.
const BROKEN: u8 = 1;
/// The audit could not be carried out.
const FAILED: u8 = 2;
/// The broker did not come back.
const NOT_BACK: u8 = 3;
/// The load without faults and without a time.
const DURATION: Duration = Duration::from_secs(60);
/// Threads that publish and consume; each connection has one of the client library's own beside.
const THREADS: usize = 2;

/// Does what the command line says.
pub fn run(args: Args) -> ExitCode {
    let done = match &args.command {
        Some(Command::Check(check)) => check_journals(check),
        None => audit(&args.run),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BROKEN),
        Err(error) => {
            eprintln!("everack audit: {error:#}");
            ExitCode::from(if error.is::<NotBack>() { NOT_BACK } else { FAILED })
        }
    }
}

/// Judges again what was journaled.
fn check_journals(args: &CheckArgs) -> anyhow::Result<bool> {
    let mut facts = Facts::load(&args.journals)?;
    if let Some(bound) = args.settle_bound {
        facts.promises.settle = bound;
    }
    conclude(&args.journals, &facts, args.report.as_deref(), args.json)
}

/// The verdict over a directory's journal, told in all ways that were asked for; whether it is clean.
fn conclude(journals: &Path, facts: &Facts, report: Option<&Path>, as_json: bool) -> anyhow::Result<bool> {
    let verdict = judge(journals, facts.promises)?;
    if let Some(report) = report {
        report::write(report, journals, &verdict, facts)?;
    }
    println!("{verdict}");
    ensure!(
        verdict.drained,
        "the journal ends before the drain: nothing can be said about loss"
    );
    if as_json {
        println!("{}", report::json(&verdict, facts));
    }
    Ok(verdict.is_clean())
}

fn judge(journals: &Path, promises: Promises) -> anyhow::Result<Verdict> {
    let mut reader = Reader::open(&journals.join(journal::FILE))?;
    let mut judge = Judge::new(promises);
    while let Some((micros, entry)) = reader.entry()? {
        judge.see(micros, &entry);
    }
    Ok(judge.sum_up())
}

fn audit(args: &RunArgs) -> anyhow::Result<bool> {
    args.check()?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let (journals, temporary) = match &args.journal {
        Some(journals) => (journals.clone(), false),
        None => (temporary(), true),
    };
    std::fs::create_dir_all(&journals).with_context(|| format!("cannot create {}", journals.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    // On this thread, and not on one of the runtime's: the broker dies with the thread that starts it.
    let facts = runtime.block_on(async {
        tokio::select! {
            done = campaign(args, seed, &journals) => done,
            () = interrupted() => Err(anyhow::anyhow!("interrupted; the broker was ended")),
        }
    });
    // Workers that still wait for a broker must not keep us.
    runtime.shutdown_background();
    let concluded = facts.and_then(|facts| {
        facts.save(&journals)?;
        conclude(&journals, &facts, args.report.as_deref(), args.json)
    });
    match concluded {
        Ok(true) if temporary => std::fs::remove_dir_all(&journals)?,
        _ => eprintln!("everack audit: the journal is in {}", journals.display()),
    }
    concluded
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!(
        "everack-audit-{}-{:x}",
        std::process::id(),
        report::now()
    ))
}

async fn campaign(args: &RunArgs, seed: u64, journals: &Path) -> anyhow::Result<Facts> {
    let mut random = fastrand::Rng::with_seed(seed);
    let setup = Setup {
        // Names are new in each run: messages of an earlier one would be phantoms.
        prefix: format!("audit.{:x}.{:x}", report::now(), std::process::id()),
        queue_type: args.queue_type,
        publishers: args.publishers.into(),
        consumers: args.consumers.into(),
        queues: args.queues.into(),
        backlog: args.backlog,
        size: args.size,
    };
    let plans = args.workloads.iter().flat_map(|kind| kind.plans(&setup));
    let without_faults = args.faults.0.is_empty().then_some(DURATION);
    let campaign = Campaign {
        faults: args.faults.clone(),
        duration: args.duration.or(without_faults),
        topology: Topology::new(&args.url, plans.collect()),
        tidies: args.start_cmd.is_none(),
    };
    let journal = Arc::new(Journal::create(&journals.join(journal::FILE))?);
    let mut nemesis = args.start_cmd.as_ref().map(|start| {
        let commands = Commands {
            start: start.clone(),
            between: args.between_cmd.clone(),
            start_max: args.start_max,
            log: journals.join("broker.log"),
            seed,
        };
        Nemesis::new(commands, &args.url, &journal)
    });
    if nemesis.is_none() {
        hello(&args.url)
            .await
            .with_context(|| format!("no broker answers at {}", args.url))?;
    }
    let begun = report::now();
    let aftermath = campaign
        .run(&args.url, &mut nemesis, &journal, args.rate, &mut random)
        .await?;
    journal.close()?;
    let greeting = aftermath.greeting;
    Ok(Facts {
        command: report::command_line(),
        seed,
        promises: promised(&greeting, args.settle_bound),
        product: greeting.product,
        version: greeting.version,
        queue_type: args.queue_type.name().to_owned(),
        begun,
        connections_lost: aftermath.connections_lost,
        machine: report::Machine::this(journals),
    })
}

/// What the broker promises: Everack that a settlement waits for its sync 10 ms at most and that a transaction is atomic over all its
/// queues, others nothing of the kind. The command line may set another bound.
fn promised(greeting: &Greeting, bound: Option<SettleBound>) -> Promises {
    let everack = greeting.product == "Everack";
    let own = match everack {
        true => SettleBound::After(Duration::from_millis(10)),
        false => SettleBound::None,
    };
    Promises {
        settle: bound.unwrap_or(own),
        atomic_over_queues: everack,
    }
}

async fn interrupted() {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
