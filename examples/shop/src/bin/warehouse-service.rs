//! Takes orders from the broker and ships them.

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Takes orders from the broker and ships them.")]
struct Command {
    #[command(flatten)]
    args: everack_shop::warehouse_service::Args,
}

fn main() -> anyhow::Result<ExitCode> {
    everack_shop::warehouse_service::run(Command::parse().args)
}
