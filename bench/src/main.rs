//! The bench as a program of its own, for work on the bench itself. Users start it as `everack bench`.

use std::process::ExitCode;

use clap::Parser;

/// A load generator for any AMQP 0-9-1 broker.
#[derive(Parser)]
#[command(name = "everack-bench", version)]
struct Cli {
    #[command(flatten)]
    args: everack_bench::Args,
}

fn main() -> ExitCode {
    everack_bench::run(Cli::parse().args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
