//! Takes orders over HTTP and passes them on to the broker.

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Takes orders over HTTP and passes them on to the broker.")]
struct Command {
    #[command(flatten)]
    args: everack_shop::order_service::Args,
}

fn main() -> anyhow::Result<ExitCode> {
    everack_shop::order_service::run(Command::parse().args)
}
