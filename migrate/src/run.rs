//! From the command line to the exit status: read, plan, declare, move, report.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use regex::Regex;
use tokio::time::Instant;

use crate::address;
use crate::api::{open, read};
use crate::args::{Args, Definitions};
use crate::crew::{self, Shared};
use crate::definitions;
use crate::journal::Journals;
use crate::link::{Ends, Link};
use crate::plan::{Filter, Plan, Scene, importable, plan};
use crate::report::{self, Row};

/// The status when a queue's counts do not agree.
const DISAGREES: u8 = 1;
/// The status when nothing could be moved at all.
const FAILED: u8 = 2;
/// Threads that move; each connection has one of the client library's own beside.
const THREADS: usize = 2;

/// Moves from one broker to the other. The status is 0 if the counts of all queues agree, 1 if not, 2 if it could not begin.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match work(&args) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::from(DISAGREES)),
        Err(error) => {
            eprintln!("everack migrate: {error:#}");
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// Whether everything agrees.
fn work(args: &Args) -> anyhow::Result<bool> {
    let ca = args.ca.as_deref();
    let source = open("--from", &args.from, ca)?;
    let target = open("--to", &args.to, ca)?;
    let ends = Ends {
        from: address::amqp(source.target(), "--from-amqp", args.from_amqp.as_deref())?,
        to: address::amqp(target.target(), "--to-amqp", args.to_amqp.as_deref())?,
    };
    let filter = Filter {
        queues: args
            .queues
            .as_deref()
            .map(Regex::new)
            .transpose()
            .context("--queues")?,
        vhosts: args.vhosts.clone(),
    };
    let scene = Scene {
        definitions: read(&source, "/api/definitions").context("the source")?,
        queues: read(&source, "/api/queues").context("the source")?,
        target: read(&target, "/api/overview").context("the target")?,
    };
    let mut plan = plan(&scene, &filter);
    if args.dry_run {
        print(args, &report::plan_text(&plan), &report::plan_json(&plan))?;
        return Ok(plan.left.is_empty());
    }
    match args.definitions {
        Definitions::All => definitions::import(&target, &importable(&scene))?,
        Definitions::Topology => definitions::declare(&target, &importable(&scene), &filter)?,
        Definitions::None => {}
    }
    if args.no_messages {
        plan.tasks.clear();
        plan.left.clear();
    } else if args.definitions != Definitions::None {
        definitions::declare_missing(&target, &scene.queues, &plan.tasks)?;
    }
    plan.heed(&read(&target, "/api/queues").context("the target")?);
    let rows = move_messages(args, ends, &mut plan)?;
    print(
        args,
        &report::text(&rows, &plan.notes),
        &report::json(&rows, &plan.notes),
    )?;
    Ok(rows.iter().all(Row::agrees))
}

fn move_messages(args: &Args, ends: Ends, plan: &mut Plan) -> anyhow::Result<Vec<Row>> {
    let tasks = std::mem::take(&mut plan.tasks);
    let mut rows: Vec<Row> = plan.left.iter().map(Row::left).collect();
    let Some(first) = tasks.first() else {
        return Ok(rows);
    };
    let vhost = first.vhost.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let moved = runtime.block_on(async {
        // A wrong password or address is said at once, and not after all patience.
        Link::open(&ends, &vhost).await?.close().await;
        let shared = Shared {
            ends,
            journals: Journals::open(&args.state)?,
            patience: args.patience(),
            adds: args.add,
            accepts_duplicates: args.accept_duplicates,
            window: args.window,
            window_bytes: args.window_bytes,
            rate: args.pace,
            slot: Mutex::new(Instant::now()),
            moved: AtomicU64::new(0),
        };
        anyhow::Ok(crew::work(Arc::new(shared), tasks, usize::from(args.parallel)).await)
    })?;
    rows.extend(moved);
    Ok(rows)
}

fn print(args: &Args, text: &str, json: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{json:#}")?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush().context("standard output")
}
