//! The `everack` binary.

use std::process::ExitCode;

use clap::Parser as _;
use everack_ctl::rabbitmqctl::{self, Tool};
use everack_server::broker::Everack;
use everack_server::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Under the name of one of RabbitMQ's tools it is that tool.
    let mut words = std::env::args_os();
    if let Some(tool) = words.next().and_then(|programme| Tool::named(&programme)) {
        return rabbitmqctl::run(tool, words.map(|word| word.to_string_lossy().into_owned()));
    }
    match Cli::parse().run::<Everack>() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("everack: {error:#}");
            ExitCode::FAILURE
        }
    }
}
