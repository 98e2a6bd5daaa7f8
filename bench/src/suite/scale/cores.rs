//! The same work with one, two and more processors for the broker. The generator may use all of them: on a machine that is no larger than the
//! broker's share, it takes a part of that.

use std::thread;

use anyhow::Context;

use super::Point;
use crate::peer::Peer;
use crate::process;
use crate::suite::Figures;
use crate::suite::case::{self, Found, Setting};
use crate::workload::Workload;

const WORKLOADS: [&str; 4] = ["w1c", "w2", "w5", "w5d"];

/// Processors of this machine.
pub(super) fn there_are() -> u64 {
    thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// Starts the broker with as many threads for connections as it gets processors, and binds it to them.
pub(super) fn measure(peer: &mut Peer, setting: &Setting<'_>, points: &[u64]) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for &cores in points {
        peer.restart_with(&[&format!("process.threads={cores}")])?;
        process::bind(peer.pid(), cores as usize)
            .with_context(|| format!("cannot bind the broker to {cores} processors"))?;
        let mut figures = Figures::new();
        for name in WORKLOADS {
            let workload = Workload::named(name).with_context(|| format!("there is no workload {name}"))?;
            let measured = case::load(&workload, peer, setting)?;
            found.take(&format!("{name}_"), measured, &mut figures);
        }
        found.series.push(Point {
            at: cores as f64,
            figures,
        });
    }
    Ok(found)
}
