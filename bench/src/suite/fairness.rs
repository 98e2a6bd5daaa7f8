//! Whether one who takes all that he gets takes it from others: twenty modest pairs at a low rate, and one publisher who asks for a confirm of
//! each message on a queue that others use too, first by themselves, then beside two publishers without confirms and without an end. One of
//! those has a queue of his own, the other one publishes to the shared queue.
//!
//! ```text
//! 20 x  publisher 50/s ──> queue ──> consumer         modest: their rate and latency, alone and beside
//!       publisher 50/s ──> shared                     modest: its confirms
//!       greedy         ──────^──> consumer
//!       greedy         ──> queue ──> consumer
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::Figures;
use super::case::{Found, Setting};
use super::greedy::{self, Greedy};
use crate::histogram::Histogram;
use crate::measure;
use crate::peer::Peer;
use crate::report::Report;
use crate::setup::{Options, Session};
use crate::workload::{Ack, QueueKind, Workload};

const PAIRS: u16 = 20;
/// Messages a second of each modest publisher.
const RATE: f64 = 50.0;
const BODY_BYTES: u32 = 100;
const OWN: &str = "bench.greedy.own";
const SHARED: &str = "bench.greedy.shared";

/// What the modest ones saw.
struct Seen {
    pairs: Report,
    /// Confirms on the shared queue.
    shared: Histogram,
    seconds: f64,
}

/// Measures the modest ones alone, then beside the greedy ones; all messages are of one kind.
pub fn measure(peer: &Peer, setting: &Setting<'_>, kind: QueueKind) -> anyhow::Result<Found> {
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    for queue in [OWN, SHARED] {
        session.declare_queue(queue, kind, false)?;
    }
    let alone = modest(peer, setting, kind)?;
    let own = Greedy::begin(peer.url(), OWN, kind)?;
    let other = Greedy::begin(peer.url(), SHARED, kind)?;
    let (began, before) = (Instant::now(), own.published() + other.published());
    let beside = modest(peer, setting, kind);
    let greedy = (own.published() + other.published() - before) as f64 / began.elapsed().as_secs_f64();
    own.end()?;
    other.end()?;
    let beside = beside.context("beside the greedy ones")?;
    for queue in [OWN, SHARED] {
        session.delete_queue(queue)?;
    }
    session.close();
    let mut found = Found {
        figures: Figures::from([
            ("greedy_published_per_second".to_owned(), greedy),
            (
                "rate_kept".to_owned(),
                beside.pairs.received_per_second / alone.pairs.received_per_second,
            ),
            (
                "shared_rate_kept".to_owned(),
                beside.shared_rate() / alone.shared_rate(),
            ),
        ]),
        ..Found::default()
    };
    alone.tell("alone", &mut found);
    beside.tell("beside", &mut found);
    Ok(found)
}

fn modest(peer: &Peer, setting: &Setting<'_>, kind: QueueKind) -> anyhow::Result<Seen> {
    let workload = Workload {
        name: "modest".to_owned(),
        producers: PAIRS,
        consumers: PAIRS,
        queues: u32::from(PAIRS),
        sizes: vec![BODY_BYTES],
        persistent: kind != QueueKind::Transient,
        queue: kind,
        window: 100,
        ack: Ack::Each,
        prefetch: 100,
        rate: RATE * f64::from(PAIRS),
        ..Workload::default()
    };
    let plan = setting.how.plan(peer.url().clone(), Some(peer.pid()))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let shared = scope.spawn(|| publish_to_shared(peer, kind, plan.warm_up, &over));
        let pairs = measure::measure(&workload, &plan);
        over.store(true, Ordering::Relaxed);
        let (shared, seconds) = shared
            .join()
            .map_err(|_| anyhow!("a thread of the bench failed"))??;
        Ok(Seen {
            pairs: pairs?,
            shared,
            seconds,
        })
    })
}

/// Publishes to the shared queue at the modest rate, each message once the one before is confirmed. A message that is late
/// counts from when it should have been sent. Answers how long confirms took after the warm-up, and how long that was.
fn publish_to_shared(
    peer: &Peer,
    kind: QueueKind,
    warm_up: Duration,
    over: &AtomicBool,
) -> anyhow::Result<(Histogram, f64)> {
    let mut session = Session::open(peer.url(), Options::PLAIN)?;
    session.confirm_select()?;
    let block = greedy::block(SHARED, kind, session.frame_max());
    let (every, began) = (Duration::from_secs_f64(1.0 / RATE), Instant::now());
    let (mut due, mut confirms) = (began, Histogram::default());
    while !over.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        session.publish_and_wait(&block)?;
        if due - began >= warm_up {
            confirms.record(due.elapsed().as_nanos() as u64, 1);
        }
        due += every;
    }
    session.close();
    Ok((confirms, (began.elapsed().saturating_sub(warm_up)).as_secs_f64()))
}

impl Seen {
    /// Confirms a second on the shared queue.
    fn shared_rate(&self) -> f64 {
        self.shared.total() as f64 / self.seconds.max(f64::EPSILON)
    }

    fn tell(&self, when: &str, found: &mut Found) {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let latencies = [
            ("confirm", self.pairs.confirm_us),
            ("end_to_end", self.pairs.end_to_end_us),
        ];
        for (name, latency) in latencies {
            let quantiles = latency.map(|latency| [("p50", latency.p50), ("p99", latency.p99)]);
            for (quantile, value) in quantiles.into_iter().flatten() {
                found
                    .figures
                    .insert(format!("{when}_{name}_{quantile}_us"), value);
            }
        }
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let value = us(self.shared.quantile(quantile));
            found
                .figures
                .insert(format!("{when}_shared_confirm_{name}_us"), value);
        }
        let problems = self
            .pairs
            .problems
            .iter()
            .map(|problem| format!("{when}: {problem}"));
        found.problems.extend(problems);
    }
}
