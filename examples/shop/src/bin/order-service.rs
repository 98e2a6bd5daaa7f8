//! Takes orders over HTTP and passes them on to the broker.

use clap::Parser;
use everack_shop::{order_service, service};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Takes orders over HTTP and passes them on to the broker.")]
struct Command {
    #[command(flatten)]
    args: order_service::Args,
}

fn main() -> ExitCode {
    service::exit(order_service::run(Command::parse().args))
}
