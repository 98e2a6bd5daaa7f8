//! The task that samples. It asks partitions for a bounded number of queues at a time and lets others in between, as every
//! question does ([`crate::http::inquiry`]), and sessions through their own tasks.
//!
//! While somebody looks, or has looked within ten minutes, it samples every five seconds; else every minute. Then histories
//! are coarser, but have no holes: a rate is that of the last minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everack_broker::catalog::{Queue, Snapshot};
use parking_lot::{RwLock, RwLockReadGuard};

use super::book::{Book, Seen};
use super::figures;
use super::{TICK_MILLIS, Tick};
use crate::engine::Engine;
use crate::http::inquiry;
use crate::http::refusal::Refusal;
use crate::shutdown::Closing;

/// How long after somebody has looked it is sampled at every moment.
const WATCHED: Duration = Duration::from_secs(600);
/// Moments between two samples when nobody looks.
const SELDOM: Tick = 12;

/// The history, and who looks at it.
#[derive(Debug)]
pub(crate) struct Statistics {
    book: RwLock<Book>,
    /// When somebody looked last, in milliseconds since 1970.
    watched_at_ms: AtomicU64,
}

impl Statistics {
    /// An empty history, which is watched at first.
    pub(crate) fn new() -> Self {
        Self {
            book: RwLock::default(),
            watched_at_ms: AtomicU64::new(now_ms()),
        }
    }

    /// The history, for somebody who wants to see it.
    pub(crate) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.watched_at_ms.store(now_ms(), Ordering::Relaxed);
        self.book.read()
    }

    /// Samples until the process begins to stop.
    pub(crate) async fn run(self: Arc<Self>, engine: Arc<Engine>, mut closing: Closing) {
        loop {
            let until_next = TICK_MILLIS - now_ms() % TICK_MILLIS;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(until_next)) => {}
                () = closing.requested() => return,
            }
            let at = (now_ms() / TICK_MILLIS) as Tick;
            if self.is_watched() || at.is_multiple_of(SELDOM) {
                self.sample(&engine, at).await;
            }
        }
    }

    fn is_watched(&self) -> bool {
        let watched_at = self.watched_at_ms.load(Ordering::Relaxed);
        now_ms().saturating_sub(watched_at) < WATCHED.as_millis() as u64
    }

    async fn sample(&self, engine: &Engine, at: Tick) {
        let snapshot = engine.shared.snapshot();
        let seen = match look(engine, &snapshot, at).await {
            Ok(seen) => seen,
            // A machine that does not answer within seconds has told why already.
            Err(refusal) => return tracing::debug!(?refusal, "nothing was sampled"),
        };
        let mut book = self.book.write();
        book.record(&seen);
        book.keep_vhosts(|vhost| snapshot.vhost(vhost).is_some());
    }
}

async fn look(engine: &Engine, snapshot: &Snapshot, at: Tick) -> Result<Seen, Refusal> {
    let queues: Vec<Arc<Queue>> = snapshot
        .vhosts()
        .flat_map(|vhost| vhost.queues().cloned().collect::<Vec<_>>())
        .collect();
    let depths = inquiry::queues(engine, queues.iter()).await?;
    let holders = inquiry::holders(engine, queues.iter()).await?;
    let connections = inquiry::connections(engine).await?;
    let gone = engine.shared.ledger.sums(|vhost, exchange| {
        let vhost = snapshot.vhost(vhost);
        vhost.is_some_and(|vhost| vhost.exchange(exchange).is_some())
    });
    let churn = figures::churn_row(
        engine.shared.tenants.churn(),
        engine.catalog.inspect(engine, |catalog| catalog.churn()),
    );
    Ok(Seen {
        at,
        queues,
        depths,
        connections,
        holders,
        gone,
        churn,
        node: node(engine),
    })
}

fn node(engine: &Engine) -> [u64; figures::NODE_STATS.len()] {
    let gauges = engine.gauges.read();
    let disk = engine.disk_figures.read();
    [
        gauges.memory_used,
        crate::process::descriptors_used().unwrap_or_default(),
        engine.shared.connection_count() as u64,
        gauges.disk_free,
        disk.jobs.count,
        engine.progress.appended_bytes(),
        disk.syncs.count,
    ]
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis() as u64
}
