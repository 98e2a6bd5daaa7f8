//! The story, played twice: a shop at work, with everything killed that can be killed.
//!
//! ```text
//! scene      what is played: numbers, and what goes wrong when
//! stage      the processes and databases of one act
//! act        lets it happen: customers, mishaps, the end
//! verdict    compares orders with shipments, and judges
//! display    what a person sees
//! watch      what somebody sees who looks on over HTTP, and may kill
//! ```
//!
//! The services and the broker are processes of their own, started from [`Programs`]; this module is a customer, a
//! saboteur and an auditor, and knows the broker as little as the services do.

mod act;
mod customers;
mod databases;
mod display;
mod process;
mod scene;
mod stage;
mod verdict;
mod watch;

pub use process::Program;
pub use watch::Dress;

use act::Act;
use anyhow::{Context, Result, ensure};
use databases::Databases;
use display::Display;
use scene::Scene;
use stage::Stage;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use verdict::{Tally, Verdict};
use watch::Watch;

/// The flags of the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Orders to be sent, in each of the two acts
    #[arg(long, default_value_t = 1_000, value_parser = count(50, 1_000_000))]
    pub orders: usize,
    /// Order services to run
    #[arg(long, default_value_t = 3, value_parser = count(1, 32))]
    pub order_services: usize,
    /// Warehouses to run
    #[arg(long, default_value_t = 3, value_parser = count(1, 32))]
    pub warehouses: usize,
    /// Orders that a warehouse works on at the same time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: u16,
    /// How long it takes to ship an order, on average
    #[arg(long, default_value_t = 200, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub work_ms: u64,
    /// Orders that customers send in a second
    #[arg(long, default_value_t = 160.0, value_parser = rate)]
    pub rate: f64,
    /// Print one JSON object on the last line
    #[arg(long)]
    pub json: bool,
    /// A PostgreSQL database to use instead of SQLite files; a schema is made for each service and dropped in the end
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Keep databases, the broker's data and the logs of all processes in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Serve the story at this address of the loopback interface (port 0: a free one), to be watched while it is played, with buttons to
    /// kill whom you like; ends when it is interrupted
    #[arg(long, value_name = "ADDR:PORT", value_parser = loopback)]
    pub watch: Option<SocketAddr>,
    /// How to start the broker, with {port} and {data} to be filled in
    #[arg(long, hide = true, value_name = "COMMAND")]
    pub broker_cmd: Option<String>,
}

fn count(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => Err(format!("a number from {least} to {most} is needed")),
    }
}

/// Anybody who can reach the address may kill processes of the demo: so it is this machine's only.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("an address of this machine only is needed, such as 127.0.0.1:15680".to_owned()),
        Err(_) => Err("an address and port such as 127.0.0.1:15680 are needed".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (1.0..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 1 to 100000 is needed".to_owned()),
    }
}

/// What the demo starts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The broker; `{port}` and `{data}` in its arguments are filled in.
    pub broker: Program,
    /// The order service, without the flags that the demo adds.
    pub order_service: Program,
    /// The warehouse service, without the flags that the demo adds.
    pub warehouse_service: Program,
}

impl Programs {
    /// The `everack` binary that is running now: broker and services are its subcommands.
    pub fn of_everack() -> Result<Self> {
        let everack = std::env::current_exe().context("cannot find my own binary")?;
        Ok(Self {
            broker: Program::new(
                &everack,
                &["serve", "--data", "{data}", "--amqp", "127.0.0.1:{port}"],
            ),
            order_service: Program::new(&everack, &["shop-order-service"]),
            warehouse_service: Program::new(&everack, &["shop-warehouse-service"]),
        })
    }
}

/// Plays the story with the `everack` binary that is running now; the exit status is the verdict.
///
/// To be called from the main thread and not from within an async runtime: it brings its own, and the kernel binds the
/// children's lives to the calling thread.
///
/// What is served with `--watch` is JSON; `dress` puts pages before it.
pub fn run(args: Args, dress: Dress) -> Result<ExitCode> {
    run_with(args, Programs::of_everack()?, dress)
}

/// Plays the story with these programs. See [`run`].
pub fn run_with(args: Args, mut programs: Programs, dress: Dress) -> Result<ExitCode> {
    if let Some(command) = &args.broker_cmd {
        programs.broker = Program::parse(command)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Whichever way this ends, the stage is dropped, and with it every child.
        tokio::select! {
            status = performance(&args, &programs, dress) => status,
            _ = interrupt.recv() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
        }
    })
}

/// Both acts and the verdict. Whoever looks on can do so until the end of the process.
async fn performance(args: &Args, programs: &Programs, dress: Dress) -> Result<ExitCode> {
    let watch = match args.watch {
        Some(address) => Some(Watch::open(address, dress).await?),
        None => None,
    };
    let verdict = both_acts(args, programs, watch.as_ref()).await?;
    let status = report(args, &verdict);
    if watch.is_some() {
        println!("\n  The page stays until you press Ctrl-C.");
        std::future::pending::<()>().await;
    }
    Ok(status)
}

async fn both_acts(args: &Args, programs: &Programs, watch: Option<&Watch>) -> Result<Verdict> {
    let manual_ack = act(args, programs, watch, false)
        .await
        .context("in the act with manual ack")?;
    let auto_ack = act(args, programs, watch, true)
        .await
        .context("in the act with auto-ack")?;
    Ok(Verdict { manual_ack, auto_ack })
}

async fn act(args: &Args, programs: &Programs, watch: Option<&Watch>, auto_ack: bool) -> Result<Tally> {
    let (name, title) = match auto_ack {
        false => (
            "manual-ack",
            "Manual ack: the broker keeps each order until a warehouse says that it is shipped.",
        ),
        true => (
            "auto-ack",
            "Auto-ack: the broker forgets an order the moment it is handed over.",
        ),
    };
    let scene = Scene::of(args, auto_ack);
    let display = Display::open(title, scene.orders);
    if let Some(watch) = watch {
        watch.begin(title, scene.orders, auto_ack);
    }
    let temporary = tempfile::Builder::new().prefix("everack-demo-").tempdir()?;
    let directory = match &args.keep {
        Some(keep) => keep.join(name),
        None => temporary.path().to_owned(),
    };
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let used = std::fs::read_dir(&directory)?.next().is_some();
    ensure!(
        !used,
        "{} is not empty: the story begins with empty books",
        directory.display()
    );
    let databases = match &args.database {
        Some(url) => Databases::in_server(url).await?,
        None => Databases::in_files(&directory),
    };
    let stage = Stage::set(scene, programs, &directory, databases).await?;
    let tally = Act::new(scene, stage, &display, watch).play().await?;
    display.close(&tally);
    if let Some(watch) = watch {
        watch.end(&tally);
    }
    Ok(tally)
}

fn report(args: &Args, verdict: &Verdict) -> ExitCode {
    display::print_verdict(verdict);
    if args.json {
        println!("{}", verdict.to_json());
    }
    if verdict.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
