//! Takes orders over HTTP and passes them on to the broker.
//!
//! The two halves share nothing but the database. [`http`] writes an order and its outbox row in one transaction and
//! answers; [`relay`] brings outbox rows to the broker. So an order is accepted while the broker is down, and an order
//! that was accepted reaches the broker even if this process is killed before it could say a word to it.

mod http;
mod relay;
mod store;

pub use store::{Accepted, OutboxRow, Store};

use crate::service::{self, Shutdown};
use anyhow::{Context, Result};
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long an ending service waits for requests and confirms that are under way.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// The flags of the order service.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen for HTTP; port 0 takes a free one, the line on stdout says which
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Where orders and the outbox are kept: sqlite://FILE or postgres://USER@HOST/NAME
    #[arg(
        long,
        env = "SHOP_DATABASE",
        hide_env_values = true,
        default_value = "sqlite://orders.db",
        value_name = "URL"
    )]
    pub database: String,
    /// The broker
    #[arg(
        long,
        env = "SHOP_BROKER",
        hide_env_values = true,
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f",
        value_name = "URI",
        value_parser = crate::broker::uri
    )]
    pub broker: String,
    /// What this instance is called; unlike its siblings, and the same after a restart, which then takes up at once
    /// what it had claimed before (default: made from the host's name and the process id)
    #[arg(long)]
    pub name: Option<String>,
    /// Messages that may wait for their confirm, in each of the relay's two lanes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub window: u16,
    /// After this time without all confirms of a round, the connection counts as dead
    #[arg(long, default_value_t = 10_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub confirm_timeout_ms: u64,
    /// For how long confirmed outbox rows are kept before they are pruned
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    pub keep_confirmed_hours: u32,
}

/// Serves until SIGTERM or SIGINT. Not to be called from within an async runtime: it brings its own.
pub fn run(args: Args) -> Result<ExitCode> {
    service::run(|shutdown| serve(args, shutdown))
}

/// Serves until told to end.
pub async fn serve(args: Args, shutdown: Shutdown) -> Result<()> {
    let store = Store::open(&args.database).await?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;

    let settings = relay::Settings {
        broker: args.broker,
        name: args
            .name
            .unwrap_or_else(|| service::default_name("order-service")),
        window: usize::from(args.window),
        confirm_timeout: Duration::from_millis(args.confirm_timeout_ms),
    };
    let relay = relay::Relay::new(store.clone(), settings, shutdown.clone());
    let status = relay.status();
    let relay = tokio::spawn(relay.run());
    let pruning = tokio::spawn(prune(
        store.clone(),
        Duration::from_secs(3_600) * args.keep_confirmed_hours,
    ));

    println!("order-service ready on http://{address}");
    // Whoever started us reads this line through a pipe, where it would otherwise stay in the buffer.
    std::io::stdout().flush()?;

    let end = shutdown.clone();
    let serving = axum::serve(listener, http::router(store.clone(), status))
        .with_graceful_shutdown(async move { end.wait().await });
    tokio::select! {
        served = serving => served?,
        () = async { shutdown.wait().await; tokio::time::sleep(FAREWELL_MAX).await } => {}
    }
    pruning.abort();
    let _ = tokio::time::timeout(FAREWELL_MAX, relay).await;
    store.close().await;
    Ok(())
}

/// Deletes what was confirmed longer than `keep` ago, so that the outbox does not grow forever.
async fn prune(store: Store, keep: Duration) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3_600));
    loop {
        hourly.tick().await;
        let before_ms = service::now_ms() - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        match store.prune(before_ms).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "pruned the outbox"),
            Err(error) => tracing::warn!(%error, "cannot prune the outbox"),
        }
    }
}
