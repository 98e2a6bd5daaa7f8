//! Takes orders from the broker and ships them.
//!
//! [`consumer`] decides when the broker is told what; [`books`] is the database that knows what was shipped;
//! [`shipping`] stands for the work in the real world.

mod books;
mod consumer;
mod shipping;

pub use books::{Books, Delivered, Totals};

use crate::service::{self, Shutdown};
use anyhow::Result;
use std::process::ExitCode;
use std::time::Duration;

/// The flags of the warehouse service.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where shipments are recorded: sqlite://FILE or postgres://USER@HOST/NAME
    #[arg(
        long,
        env = "SHOP_DATABASE",
        hide_env_values = true,
        default_value = "sqlite://warehouse.db",
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
    /// What this warehouse is called in the books (default: made from the host's name and the process id)
    #[arg(long)]
    pub name: Option<String>,
    /// Orders in work at the same time, and at most handed out by the broker before it hears of them again
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: u16,
    /// How long shipping one order takes on average; each takes between half and one and a half times that
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub work_ms: u64,
    /// How many shipments in a hundred fail, to try out what happens then
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub fail_percent: u8,
    /// After this many failures an order is parked in the books for a person to look at
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub failures_max: u32,
    /// THE MISTAKE, for comparison: let the broker forget an order the moment it is handed over
    #[arg(long)]
    pub auto_ack: bool,
}

/// Works until SIGTERM or SIGINT. Not to be called from within an async runtime: it brings its own.
pub fn run(args: Args) -> Result<ExitCode> {
    service::run(|shutdown| serve(args, shutdown))
}

/// Works until told to end.
pub async fn serve(args: Args, shutdown: Shutdown) -> Result<()> {
    let books = Books::open(&args.database).await?;
    let settings = consumer::Settings {
        broker: args.broker,
        name: args.name.unwrap_or_else(|| service::default_name("warehouse")),
        prefetch: args.prefetch,
        failures_max: args.failures_max,
        auto_ack: args.auto_ack,
        shipping: shipping::Shipping {
            work: Duration::from_millis(args.work_ms),
            fail_percent: args.fail_percent,
        },
    };
    consumer::Consumer::new(books.clone(), settings, shutdown)
        .run()
        .await;
    books.close().await;
    Ok(())
}
