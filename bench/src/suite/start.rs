//! From the start of the process to the first connection, and what a broker uses when nobody wants anything.

use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::Figures;
use crate::peer::Peer;
use crate::process;

/// What a start leaves behind has calmed down then.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE_FOR: Duration = Duration::from_secs(3);

/// Kills the broker, starts it again on the same few files, and watches it do nothing.
pub fn measure(peer: &mut Peer) -> anyhow::Result<Figures> {
    peer.crash_and_restart()?;
    thread::sleep(SETTLE);
    let look = |peer: &Peer| process::usage(peer.pid()).context("the broker has ended");
    let before = look(peer)?;
    thread::sleep(IDLE_FOR);
    let idle = look(peer)?.since(&before);
    let seconds = IDLE_FOR.as_secs_f64();
    Ok(Figures::from([
        ("ready_ms".to_owned(), peer.ready_after().as_secs_f64() * 1e3),
        ("idle_bytes".to_owned(), idle.resident_bytes as f64),
        ("idle_cpu_cores".to_owned(), idle.cpu_seconds() / seconds),
        ("idle_sleeps_per_second".to_owned(), idle.sleeps as f64 / seconds),
    ]))
}
