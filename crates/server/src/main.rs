//! The `everack` binary.

use std::process::ExitCode;

use clap::Parser as _;
use everack_server::broker::Everack;
use everack_server::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run::<Everack>() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("everack: {error:#}");
            ExitCode::FAILURE
        }
    }
}
