//! A load generator for any AMQP 0-9-1 broker: what it costs, how fast it is, how long a message takes.
//!
//! It measures; it does not judge durability (that is `everack audit`), and it knows nothing of the broker it loads
//! but its address and its process id. Its own cost is kept near 0.1 us of CPU a message, so that what is measured
//! is the broker: plain threads, nonblocking sockets and epoll, publish frames encoded once and sent again and
//! again, a frame scanner instead of a decoder, one clock reading a batch, and no allocation a message.
//!
//! From the outside in: [`Args`] (the command line) names a [`workload`], [`measure`] runs it once against one
//! broker, [`compare`] runs many alternately against several and prints a table, [`suite`] runs all that has a target. Inside a run, [`setup`] opens
//! connections, [`worker`] threads drive [`producer`]s and [`consumer`]s, and [`board`] is where they count.

pub mod args;
pub mod compare;
pub mod peer;
pub mod suite;
pub mod workload;

pub mod measure;
pub mod report;

pub mod setup;
pub mod worker;

pub mod consumer;
pub mod producer;

pub mod block;
pub mod board;
pub mod echo;
pub mod histogram;
pub mod link;
pub mod outstanding;
pub mod pace;
pub mod process;
pub mod scanner;
pub mod url;
pub mod wire;

use std::process::ExitCode;

pub use args::Args;

/// Does what the command line says. The exit code tells a missed floor or a failed check apart from success;
/// an `Err` is a run that could not be carried out.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args::dispatch(args)
}
