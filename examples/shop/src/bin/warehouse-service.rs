//! Takes orders from the broker and ships them.

use clap::Parser;
use everack_shop::{service, warehouse_service};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Takes orders from the broker and ships them.")]
struct Command {
    #[command(flatten)]
    args: warehouse_service::Args,
}

fn main() -> ExitCode {
    service::exit(warehouse_service::run(Command::parse().args))
}
