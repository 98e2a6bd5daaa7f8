//! What the machine is, and what it can do at best, measured beside the brokers: a broker that confirms a synced message cannot be
//! faster than the disk's own sync.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::results::plain;
use super::{Figures, relay};
use crate::histogram::Histogram;

/// What a durable message of a kibibyte makes the log write.
const BLOCK_BYTES: usize = 4096;
/// The file is written over again and again within this size.
const FILE_BYTES: usize = 16 << 20;
const SYNCS: usize = 1500;
const COPY_BYTES: usize = 64 << 20;
const LOOPBACK_FOR: Duration = Duration::from_millis(500);
const CHUNK_BYTES: usize = 256 << 10;
const ROUND_TRIPS: usize = 10_000;
const PING_BYTES: usize = 128;

/// Of a processor's name, so much goes into the name of a directory.
const CPU_NAME_MAX: usize = 24;

/// The machine, for who reads the results elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Of the first processor.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// Of memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// A short name for a directory: `2x-intel-r-xeon-r-23g`.
    pub fn name(&self) -> String {
        let mut cpu = plain(self.cpu.split('@').next().unwrap_or_default());
        cpu.truncate(CPU_NAME_MAX);
        let gibibytes = self.memory_bytes >> 30;
        format!("{}x-{}-{gibibytes}g", self.cores, cpu.trim_end_matches('-'))
    }

    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory
            .split(' ')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.unwrap_or_default() * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// Its limits: a sync of 4 KiB over blocks that were written before, below `base`; copying memory; the loopback; what relaying a
/// durable KiB costs.
pub fn limits(base: &Path) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let syncs = sync_latency(base)?;
    let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    figures.insert("fdatasync_p50_us".to_owned(), us(syncs.quantile(0.5)));
    figures.insert("fdatasync_p99_us".to_owned(), us(syncs.quantile(0.99)));
    figures.insert("copy_bytes_per_second".to_owned(), copy_speed());
    figures.insert("loopback_bytes_per_second".to_owned(), loopback_speed()?);
    figures.insert("relay_cpu_us_per_kib".to_owned(), relay::cpu_us_per_kib(base)?);
    let round_trips = round_trips()?;
    figures.insert(
        "loopback_round_trip_p50_us".to_owned(),
        us(round_trips.quantile(0.5)),
    );
    Ok(figures)
}

fn sync_latency(base: &Path) -> anyhow::Result<Histogram> {
    let path = base.join(format!("everack-bench-syncs-{}", std::process::id()));
    let measured = written_over(&path);
    let removed = fs::remove_file(&path);
    let histogram = measured.with_context(|| format!("writing {}", path.display()))?;
    removed?;
    Ok(histogram)
}

fn written_over(path: &Path) -> anyhow::Result<Histogram> {
    let mut options = OpenOptions::new();
    let file: File = options.write(true).create_new(true).open(path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let block = [7; BLOCK_BYTES];
    let mut histogram = Histogram::default();
    for number in 0..SYNCS {
        let began = Instant::now();
        file.write_all_at(&block, (number * BLOCK_BYTES % FILE_BYTES) as u64)?;
        file.sync_data()?;
        histogram.record(began.elapsed().as_nanos() as u64, 1);
    }
    Ok(histogram)
}

/// Bytes a second from one place in memory to another, both larger than the caches.
fn copy_speed() -> f64 {
    let (from, mut to) = (vec![1_u8; COPY_BYTES], vec![0_u8; COPY_BYTES]);
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let began = Instant::now();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        best = best.max(COPY_BYTES as f64 / began.elapsed().as_secs_f64());
    }
    best
}

/// Two ends of a connection over the loopback.
pub(super) fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn loopback_speed() -> anyhow::Result<f64> {
    let (mut near, mut far) = pair()?;
    let reader = thread::spawn(move || -> std::io::Result<u64> {
        let (mut buffer, mut total) = (vec![0; CHUNK_BYTES], 0);
        loop {
            match far.read(&mut buffer)? {
                0 => return Ok(total),
                got => total += got as u64,
            }
        }
    });
    let began = Instant::now();
    let chunk = vec![0; CHUNK_BYTES];
    while began.elapsed() < LOOPBACK_FOR {
        near.write_all(&chunk)?;
    }
    drop(near);
    let total = reader.join().map_err(|_| anyhow!("the reader failed"))??;
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

fn round_trips() -> anyhow::Result<Histogram> {
    let (mut near, mut far) = pair()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut ping = [0; PING_BYTES];
        for _ in 0..ROUND_TRIPS {
            far.read_exact(&mut ping)?;
            far.write_all(&ping)?;
        }
        Ok(())
    });
    let (mut histogram, mut ping) = (Histogram::default(), [0; PING_BYTES]);
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        near.write_all(&ping)?;
        near.read_exact(&mut ping)?;
        histogram.record(began.elapsed().as_nanos() as u64, 1);
    }
    echo.join().map_err(|_| anyhow!("the echo failed"))??;
    Ok(histogram)
}
