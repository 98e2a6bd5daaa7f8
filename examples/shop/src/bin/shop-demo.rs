//! The demo with any AMQP broker, and with the services' own binaries: `everack demo` without everack.

use anyhow::{Context, Result};
use clap::Parser;
use everack_shop::demo::{self, Program, Programs};
use everack_shop::service;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Plays the order story with a broker of your choice.")]
struct Command {
    /// How to start the broker; {port} and {data} are filled in, and words are split at white space
    #[arg(
        long,
        default_value = "everack serve --data {data} --amqp 127.0.0.1:{port}",
        value_name = "COMMAND"
    )]
    broker: String,
    #[command(flatten)]
    args: demo::Args,
}

fn main() -> ExitCode {
    service::exit(play(Command::parse()))
}

fn play(command: Command) -> Result<ExitCode> {
    let me = std::env::current_exe()?;
    let beside = |name: &str| Program::new(me.with_file_name(name), &[]);
    let programs = Programs {
        broker: Program::parse(&command.broker).context("--broker")?,
        order_service: beside("order-service"),
        warehouse_service: beside("warehouse-service"),
    };
    demo::run_with(command.args, programs, |story| story)
}
