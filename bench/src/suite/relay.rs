//! The least that a broker can do for durable messages: take their bytes from one socket, write and sync them, and give them to
//! another. No protocol, no queue, no copy of its own; what it costs in CPU is the kernel's price, and no broker can be below it.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use anyhow::{Context, anyhow};
use rustix::time::{ClockId, clock_gettime};

use super::machine::pair;

/// What `w2` makes of a window of 1000 messages of a kibibyte: nearly half of them in each sync.
const GROUP_BYTES: usize = 456 << 10;
const GROUPS: usize = 1500;
/// The file is written over again and again within this size, as the log's segments are.
const FILE_BYTES: usize = GROUP_BYTES * 128;

/// CPU of the one that relays, in microseconds for each KiB; the file lies below `base`.
pub(super) fn cpu_us_per_kib(base: &Path) -> anyhow::Result<f64> {
    let path = base.join(format!("everack-bench-relay-{}", std::process::id()));
    let measured = measure(&path);
    let removed = fs::remove_file(&path);
    let seconds = measured.with_context(|| format!("relaying through {}", path.display()))?;
    removed?;
    let kib = (GROUPS * GROUP_BYTES) as f64 / 1024.0;
    Ok(seconds * 1e6 / kib)
}

fn measure(path: &Path) -> anyhow::Result<f64> {
    let (source, from) = pair()?;
    let (to, sink) = pair()?;
    let source = thread::spawn(move || send(source));
    let sink = thread::spawn(move || swallow(sink));
    let path = path.to_owned();
    let relay = thread::spawn(move || relay(&path, from, to));
    let failed = |_| anyhow!("a thread of the relay failed");
    let seconds = relay.join().map_err(failed)?;
    source.join().map_err(failed)?.context("sending")?;
    sink.join().map_err(failed)?.context("receiving")?;
    Ok(seconds?)
}

fn send(mut socket: TcpStream) -> std::io::Result<()> {
    let group = vec![7; GROUP_BYTES];
    (0..GROUPS).try_for_each(|_| socket.write_all(&group))
}

fn swallow(mut socket: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; GROUP_BYTES];
    while socket.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Returns the seconds of CPU that this thread took, the first writing of the file left out.
fn relay(path: &Path, mut from: TcpStream, mut to: TcpStream) -> std::io::Result<f64> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut group = vec![0; GROUP_BYTES];
    for offset in (0..FILE_BYTES).step_by(GROUP_BYTES) {
        file.write_all_at(&group, offset as u64)?;
    }
    file.sync_all()?;
    let before = cpu_seconds();
    for number in 0..GROUPS {
        from.read_exact(&mut group)?;
        file.write_all_at(&group, (number * GROUP_BYTES % FILE_BYTES) as u64)?;
        file.sync_data()?;
        to.write_all(&group)?;
    }
    Ok(cpu_seconds() - before)
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
