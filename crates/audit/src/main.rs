//! `everack-audit`: the audit alone, for work on the audit itself. Users have it as `everack audit`.

use clap::Parser;
use std::process::ExitCode;

/// Audits an AMQP 0-9-1 broker from outside.
#[derive(Parser)]
#[command(name = "everack-audit", version)]
struct Cli {
    #[command(flatten)]
    args: everack_audit::Args,
}

fn main() -> ExitCode {
    everack_audit::run(Cli::parse().args)
}
