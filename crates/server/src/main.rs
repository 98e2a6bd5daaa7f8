//! The `everack` binary.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use everack_server::cli::Cli;
use everack_server::net::{Peer, Stream};
use everack_server::serve::{Broker, Start};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run::<Closed>() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("everack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps the process complete until the broker is joined to it: lets nobody in.
struct Closed {
    _start: Start,
}

impl Broker for Closed {
    async fn open(start: Start) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self { _start: start }))
    }

    async fn connection(self: Arc<Self>, _stream: Stream, peer: Peer) {
        tracing::warn!(peer = %peer.address, "closed");
    }

    async fn reload(self: Arc<Self>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn failed(&self) -> anyhow::Error {
        std::future::pending().await
    }

    async fn close(self: Arc<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}
