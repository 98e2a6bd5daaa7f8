//! What a queue costs: a run through it, a single acknowledgement, a redelivery, a message of a long backlog.
//!
//! `cargo bench -p everack-broker --bench queue`. The memory of a backlog is printed first, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use everack_broker::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};
use everack_broker::partition::{Command, Content, Effect, Gate, Limits, Partition, Run, SettleOutcome};

/// A batch of messages of 100 bytes.
#[derive(Clone, Debug)]
struct Batch(Arc<u64>);

impl Content for Batch {
    fn bytes(&self, from: u16, to: u16) -> u64 {
        *self.0 * u64::from(to - from)
    }
}

/// A partition, the number of the next message of each queue, and what the last round told.
struct Bench {
    partition: Partition<Batch>,
    batch: Batch,
    next: Vec<u64>,
    effects: Vec<Effect<Batch>>,
}

impl Bench {
    fn new(queues: u64) -> Self {
        let mut partition = Partition::new(Limits::default());
        for queue in 0..queues {
            partition.apply(
                Command::CreateQueue {
                    queue: QueueId(queue),
                    durable: true,
                    auto_delete: false,
                    rules: Box::default(),
                },
                Millis(0),
            );
        }
        Self {
            partition,
            batch: Batch(Arc::new(100)),
            next: vec![1; queues as usize],
            effects: Vec::new(),
        }
    }

    fn consume(&mut self, queue: u64, consumer: u64, prefetch: u16, gate: u64) {
        let command = Command::Consume {
            consumer: ConsumerId(consumer),
            connection: ConnectionId(consumer),
            queue: QueueId(queue),
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch,
            patience_millis: None,
            gate: Arc::new(Gate::new(gate)),
            limit: None,
            ticket: Ticket(0),
        };
        self.partition.apply(command, Millis(0));
    }

    fn enqueue(&mut self, queue: u64, count: u16, location: Location) {
        let first = Seq(self.next[queue as usize]);
        self.next[queue as usize] += u64::from(count);
        let (content, bytes) = (Some(self.batch.clone()), u32::from(count) * 100);
        let run = Run {
            first,
            location,
            content,
            bytes,
            from: 0,
            to: count,
        };
        self.partition.apply(
            Command::Enqueue {
                queue: QueueId(queue),
                run,
            },
            Millis(0),
        );
    }

    fn settle(&mut self, consumer: u64, first: u64, count: u32, outcome: SettleOutcome) {
        self.partition.apply(
            Command::Settle {
                consumer: ConsumerId(consumer),
                first,
                count,
                outcome,
            },
            Millis(0),
        );
    }

    fn round(&mut self) -> usize {
        self.effects.clear();
        self.partition.finish(&mut self.effects);
        black_box(&self.effects).len()
    }
}

const LOGGED: Location = Location(1 << 32 | 64);

/// Enqueue, deliver and settle whole runs.
fn whole_runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("enqueue, deliver, settle");
    for count in [1, 100, 600] {
        for (kind, location) in [("transient", Location::NOWHERE), ("durable", LOGGED)] {
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                let mut bench = Bench::new(1);
                bench.consume(0, 1, 0, u64::MAX);
                let mut delivery = 0;
                bencher.iter(|| {
                    bench.enqueue(0, count, location);
                    bench.round();
                    bench.settle(1, delivery, u32::from(count), SettleOutcome::Done);
                    delivery += u64::from(count);
                });
            });
        }
    }
    group.finish();
}

/// Single acknowledgements of a consumer that holds a window of messages, in the order of delivery.
fn single_acks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("single ack in order");
    for (kind, location, count) in [
        ("transient runs of", Location::NOWHERE, 100),
        ("durable runs of", LOGGED, 100),
        ("durable runs of", LOGGED, 1),
    ] {
        group.bench_function(BenchmarkId::new(kind, count), |bencher| {
            bencher.iter_custom(|acks| {
                let mut bench = Bench::new(1);
                bench.consume(0, 1, 0, u64::MAX);
                let (mut spent, mut delivery) = (Duration::ZERO, 0);
                while delivery < acks {
                    (0..1000 / count).for_each(|_| bench.enqueue(0, count, location));
                    bench.round();
                    let begin = Instant::now();
                    for _ in 0..1000 {
                        bench.settle(1, delivery, 1, SettleOutcome::Done);
                        delivery += 1;
                    }
                    bench.round();
                    spent += begin.elapsed();
                }
                spent.mul_f64(acks as f64 / delivery as f64)
            });
        });
    }
    group.finish();
}

/// A hundred thousand unsettled messages, acknowledged one by one in random order.
fn random_acks(criterion: &mut Criterion) {
    const MESSAGES: u64 = 100_000;
    let mut group = criterion.benchmark_group("single ack at random among 100,000");
    group.sample_size(10);
    for count in [1u16, 100] {
        group.bench_function(BenchmarkId::new("runs of", count), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let mut bench = Bench::new(1);
                    bench.consume(0, 1, 0, u64::MAX);
                    (0..MESSAGES / u64::from(count)).for_each(|_| bench.enqueue(0, count, LOGGED));
                    bench.round();
                    let begin = Instant::now();
                    // A step that has no divisor in common with the size visits all.
                    (0..MESSAGES)
                        .for_each(|n| bench.settle(1, n * 61_803 % MESSAGES, 1, SettleOutcome::Done));
                    bench.round();
                    spent += begin.elapsed();
                }
                spent / MESSAGES as u32
            });
        });
    }
    group.finish();
}

/// Messages that come back and are delivered again.
fn redelivery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("return and deliver again");
    group.bench_function("a run of 100", |bencher| {
        let mut bench = Bench::new(1);
        bench.consume(0, 1, 0, u64::MAX);
        bench.enqueue(0, 100, LOGGED);
        bench.round();
        let mut delivery = 0;
        bencher.iter(|| {
            bench.settle(1, delivery, 100, SettleOutcome::Requeue);
            delivery += 100;
            bench.round()
        });
    });
    group.bench_function("100 single messages of a consumer that dies", |bencher| {
        let mut bench = Bench::new(1);
        (0..100).for_each(|_| bench.enqueue(0, 1, LOGGED));
        bench.consume(0, 0, 0, u64::MAX);
        bench.round();
        let mut consumer = 0;
        bencher.iter(|| {
            bench.partition.apply(
                Command::ReturnAll {
                    consumer: ConsumerId(consumer),
                },
                Millis(0),
            );
            consumer += 1;
            bench.consume(0, consumer, 0, u64::MAX);
            bench.round()
        });
    });
    group.finish();
}

/// Many of everything: the cost of a message must not depend on how many others stand by.
fn crowds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a message through a crowd");
    group.bench_function("one of 10,000 queues", |bencher| {
        let mut bench = Bench::new(10_000);
        (0..10_000).for_each(|queue| bench.consume(queue, queue, 0, u64::MAX));
        let mut at = 0;
        bencher.iter(|| {
            let (queue, delivery) = (at * 61_803 % 10_000, at / 10_000);
            at += 1;
            bench.enqueue(queue, 1, LOGGED);
            bench.round();
            bench.settle(queue, delivery, 1, SettleOutcome::Done);
        });
    });
    group.bench_function("one of 10,000 consumers of a queue, prefetch 1", |bencher| {
        let mut bench = Bench::new(1);
        (0..10_000).for_each(|consumer| bench.consume(0, consumer, 1, u64::MAX));
        let mut at = 0;
        bencher.iter(|| {
            bench.enqueue(0, 1, LOGGED);
            bench.round();
            bench.settle(at % 10_000, at / 10_000, 1, SettleOutcome::Done);
            at += 1;
        });
    });
    group.bench_function("one of 10,000 consumers, the others' gates shut", |bencher| {
        let mut bench = Bench::new(1);
        (0..10_000).for_each(|consumer| bench.consume(0, consumer, 0, 1));
        (0..10_000).for_each(|_| bench.enqueue(0, 1, LOGGED));
        bench.round();
        bench.consume(0, 10_000, 0, u64::MAX);
        let mut at = 0;
        bencher.iter(|| {
            bench.enqueue(0, 1, LOGGED);
            bench.round();
            bench.settle(10_000, at, 1, SettleOutcome::Done);
            at += 1;
        });
    });
    group.finish();
}

/// Bytes of memory a message of a backlog of ten million.
fn backlog_memory(_: &mut Criterion) {
    for count in [1u16, 100] {
        let before = ALLOCATED.load(Relaxed);
        let mut bench = Bench::new(1);
        let begin = Instant::now();
        for at in 0..10_000_000 / u64::from(count) {
            bench.enqueue(0, count, Location(1 << 32 | at << 3));
            bench.round();
        }
        let (spent, bytes) = (begin.elapsed(), ALLOCATED.load(Relaxed) - before);
        println!(
            "backlog of 10,000,000 in runs of {count}: {:.2} B a message, built in {spent:.2?}",
            bytes as f64 / 1e7
        );
        let begin = Instant::now();
        let mut live = Vec::with_capacity(70_000);
        let mut next = Some(Seq(0));
        while let Some(from) = next {
            live.clear();
            next = bench
                .partition
                .live(QueueId(0), from, Seq(u64::MAX), 65_536, &mut live);
        }
        println!("  listed for a checkpoint in {:.2?}", begin.elapsed());
        let begin = Instant::now();
        bench.partition.apply(
            Command::Purge {
                queue: QueueId(0),
                ticket: Ticket(0),
            },
            Millis(0),
        );
        println!("  purged in {:.2?}, {} effects", begin.elapsed(), bench.round());
    }
}

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged; the count has no part in it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promises hold for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = backlog_memory, whole_runs, single_acks, random_acks, redelivery, crowds
}
criterion_main!(benches);
