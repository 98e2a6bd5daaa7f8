//! The hot path of a queue allocates nothing once it is warm. One test in a binary of its own, as it counts what the
//! whole process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use everack_broker::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};
use everack_broker::partition::{
    Command, Content, Effect, Gate, Limits, Partition, Run, SettleOutcome, SharedLimit,
};

#[derive(Clone, Debug)]
struct Batch(#[expect(dead_code, reason = "it is counted, not read")] Arc<()>);

impl Content for Batch {
    fn bytes(&self, from: u16, to: u16) -> u64 {
        100 * u64::from(to - from)
    }
}

const CONSUMERS: u64 = 3;

/// Consumers of one queue behind one gate and under one limit, and how much of their deliveries they have settled.
struct Bench {
    partition: Partition<Batch>,
    batch: Batch,
    gate: Arc<Gate>,
    effects: Vec<Effect<Batch>>,
    next: u64,
    settled: [u64; CONSUMERS as usize],
    delivered: [u64; CONSUMERS as usize],
}

impl Bench {
    fn new() -> Self {
        let mut partition = Partition::new(Limits::default());
        let (gate, limit) = (Arc::new(Gate::new(20_000)), Some(Arc::new(SharedLimit::new(250))));
        let queue = QueueId(1);
        partition.apply(
            Command::CreateQueue {
                queue,
                durable: true,
                auto_delete: false,
                rules: Box::default(),
            },
            Millis(0),
        );
        for consumer in 0..CONSUMERS {
            let consume = Command::Consume {
                consumer: ConsumerId(consumer),
                connection: ConnectionId(1),
                queue,
                no_ack: false,
                exclusive: false,
                priority: 0,
                prefetch: 100,
                patience_millis: None,
                gate: gate.clone(),
                limit: limit.clone(),
                ticket: Ticket(0),
            };
            partition.apply(consume, Millis(0));
        }
        let batch = Batch(Arc::new(()));
        Self {
            partition,
            batch,
            gate,
            effects: Vec::new(),
            next: 1,
            settled: [0; 3],
            delivered: [0; 3],
        }
    }

    /// One publish of a batch, one round, and whatever the consumers make of it.
    fn cycle(&mut self, cycle: u64) {
        let location = if cycle.is_multiple_of(2) {
            Location::NOWHERE
        } else {
            Location(1 << 32 | cycle << 3)
        };
        let count = 1 + (cycle % 90) as u16;
        let content = Some(self.batch.clone());
        let run = Run {
            first: Seq(self.next),
            location,
            content,
            bytes: u32::from(count) * 100,
            from: 0,
            to: count,
        };
        self.next += u64::from(count);
        self.partition.apply(
            Command::Enqueue {
                queue: QueueId(1),
                run,
            },
            Millis(0),
        );
        // Until everything is settled, so that each cycle begins where the last one did.
        while self.partition.ready() > 0 || self.settled != self.delivered {
            self.round();
            (0..CONSUMERS).for_each(|consumer| self.settle(consumer, cycle));
        }
    }

    fn round(&mut self) {
        self.effects.clear();
        self.partition.finish(&mut self.effects);
        let mut sent = 0;
        for effect in &self.effects {
            if let Effect::Deliver(delivery) = effect {
                self.delivered[delivery.consumer.0 as usize] += u64::from(delivery.run.count());
                sent += delivery.run.weight();
            }
        }
        if self.gate.sent(sent) {
            self.partition.apply(
                Command::Resume {
                    consumer: ConsumerId(0),
                },
                Millis(0),
            );
        }
    }

    /// Everything at once, one by one, or all but the first back to the queue.
    fn settle(&mut self, consumer: u64, cycle: u64) {
        let at = consumer as usize;
        let (first, end) = (self.settled[at], self.delivered[at]);
        let mut settle = |first, count, outcome| {
            let consumer = ConsumerId(consumer);
            self.partition.apply(
                Command::Settle {
                    consumer,
                    first,
                    count,
                    outcome,
                },
                Millis(0),
            );
        };
        match cycle % 3 {
            _ if first == end => return,
            0 => settle(first, (end - first) as u32, SettleOutcome::Done),
            1 => (first..end).for_each(|delivery| settle(delivery, 1, SettleOutcome::Done)),
            _ => {
                settle(first, 1, SettleOutcome::Done);
                settle(first + 1, (end - first - 1) as u32, SettleOutcome::Requeue);
            }
        }
        self.settled[at] = end;
    }
}

#[test]
fn a_warm_queue_allocates_nothing() {
    let mut bench = Bench::new();
    (0..2000).for_each(|cycle| bench.cycle(cycle));
    let before = ALLOCATIONS.load(Relaxed);
    (2000..6000).for_each(|cycle| bench.cycle(cycle));
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    bench.partition.validate().expect("all invariants hold");
}

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged; the count has no part in it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises hold for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
