//! What the log costs: building and appending records (with and without a real disk), syncing, reading, replaying.
//!
//! Files go to `EVERACK_BENCH_DIR`, or the target directory, so that it is a disk and not a tmpfs that is measured.

mod cpu_time;

use cpu_time::CpuTime;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everack_storage::{
    Found, Frames, Log, Options, Position,
    disk::{Disk, Entry, File, Os},
};
use std::{env, hint::black_box, io, path::PathBuf};

const RECORD_BYTES: usize = 1024;
/// Its group is 4 KiB long, so that every append goes to a page of its own.
const PAGE_RECORD_BYTES: usize = 4096 - 32 - 12;
const BATCHES: usize = 600;

/// A disk that forgets everything: what remains is our own work.
#[derive(Clone)]
struct Null;

struct NullFile(u64);

impl Disk for Null {
    type File = NullFile;
    type Lock = ();

    fn create(&self, _: &str) -> io::Result<NullFile> {
        Ok(NullFile(0))
    }
    fn open(&self, _: &str) -> io::Result<NullFile> {
        Ok(NullFile(64 << 20))
    }
    fn open_direct(&self, _: &str) -> io::Result<Option<NullFile>> {
        Ok(None)
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    fn lock(&self) -> io::Result<Option<()>> {
        Ok(Some(()))
    }
    fn random(&self) -> io::Result<u64> {
        Ok(4711)
    }
    fn place(&self) -> String {
        "nowhere".to_owned()
    }
}

impl File for NullFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0)
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
    fn written_bytes(&self) -> io::Result<u64> {
        Ok(self.0)
    }
    fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<()> {
        black_box(bytes);
        Ok(())
    }
    fn write_parts_at(&self, parts: &[&[u8]], _: u64) -> io::Result<()> {
        black_box(parts);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let base = env::var_os("EVERACK_BENCH_DIR").map(PathBuf::from);
        let base = base.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
        let path = base.join(format!("log-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the bench directory can be made");
        Scratch(path)
    }

    fn disk(&self) -> Os {
        Os::open(&self.0).expect("the bench directory opens")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(disk: Os) -> Log<Os> {
    Log::open(disk, Options::default()).expect("the log opens").0
}

/// Retire what is full, as a broker does whose consumers keep up.
fn retire_all<D: Disk>(log: &Log<D>) {
    let maintenance = log.maintenance();
    for segment in maintenance.segments().iter().filter(|segment| !segment.active) {
        maintenance
            .retire(segment.number)
            .expect("the segment is retired");
    }
}

fn append_without_disk(criterion: &mut Criterion<CpuTime>) {
    let payload = vec![0x5A; RECORD_BYTES];
    let mut group = criterion.benchmark_group("append, kernel excluded");
    for records in [1, 64] {
        let mut log = Log::open(Null, Options::default()).expect("the log opens").0;
        let mut frames = Frames::new();
        group.throughput(Throughput::Elements(records));
        group.bench_function(format!("{records} x 1 KiB"), |bencher| {
            bencher.iter(|| {
                for _ in 0..records {
                    frames.begin();
                    frames.buffer().extend_from_slice(black_box(&payload));
                    frames.end();
                }
                log.append(&mut frames).expect("nothing is full")
            });
        });
    }
    group.finish();
}

fn append_and_sync(criterion: &mut Criterion<CpuTime>) {
    let scratch = Scratch::new("append");
    let payload = vec![0x5A; RECORD_BYTES];
    let mut log = open(scratch.disk());
    let mut frames = Frames::new();
    let mut group = criterion.benchmark_group("append + sync");
    group.sample_size(10);
    group.throughput(Throughput::Bytes((BATCHES * RECORD_BYTES) as u64));
    for (name, records) in [("600 x 1 KiB, one sync each", 1), ("600 KiB, one sync", BATCHES)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for _ in 0..BATCHES / records {
                    for _ in 0..records {
                        frames.push(&payload);
                    }
                    log.append(&mut frames).expect("there is space");
                    log.sync().expect("the disk syncs");
                }
                retire_all(&log);
            });
        });
    }
    group.finish();
}

/// A page and its sync, on blocks never written before and on a recycled file.
fn sync_small(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append + sync of a page");
    group.sample_size(50);
    for (name, spares_max) in [("fresh space", 0), ("written over", 2)] {
        let scratch = Scratch::new("small");
        let options = Options {
            spares_max,
            ..Options::default()
        };
        let mut log = Log::open(scratch.disk(), options).expect("the log opens").0;
        let mut frames = Frames::new();
        // Go through enough segments that the active one has been another before, if there are spares.
        for _ in 0..40 {
            frames.push(&vec![1; 8 << 20]);
            log.append(&mut frames).expect("there is space");
            log.sync().expect("the disk syncs");
            retire_all(&log);
        }
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                frames.push(&[0x5A; PAGE_RECORD_BYTES]);
                log.append(&mut frames).expect("there is space");
                log.sync().expect("the disk syncs")
            });
        });
    }
    group.finish();
}

fn read_and_replay(criterion: &mut Criterion<CpuTime>) {
    let scratch = Scratch::new("read");
    let mut log = open(scratch.disk());
    let mut positions = Vec::new();
    let mut frames = Frames::new();
    for _ in 0..256 {
        let offsets: Vec<u32> = (0..1024)
            .map(|at| frames.push(&vec![at as u8; RECORD_BYTES]))
            .collect();
        let base = log.append(&mut frames).expect("there is space");
        positions.extend(offsets.into_iter().map(|offset| base.forward(offset)));
    }
    log.sync().expect("the disk syncs");
    let reader = log.reader();
    let mut next = 0;
    criterion.bench_function("read 1 KiB, cached", |bencher| {
        bencher.iter_batched(
            || {
                next = (next + 7919) % positions.len();
                positions[next]
            },
            |position| reader.read(position, RECORD_BYTES).expect("the record is there"),
            BatchSize::SmallInput,
        );
    });
    let mut group = criterion.benchmark_group("replay, cached");
    group.sample_size(10);
    group.throughput(Throughput::Bytes((positions.len() * RECORD_BYTES) as u64));
    group.bench_function("256 MiB of 1 KiB records", |bencher| {
        bencher.iter(|| {
            reader.replay(Position::ZERO, |found| match found {
                Found::Record { payload, .. } => {
                    black_box(payload);
                    Ok(())
                }
                Found::Damage(damage) => Err(damage),
            })
        });
    });
    group.finish();
}

criterion_group!(
    name = cpu;
    config = Criterion::default().with_measurement(CpuTime);
    targets = append_without_disk, append_and_sync, read_and_replay
);
criterion_group!(latency, sync_small);
criterion_main!(cpu, latency);
