//! The engine: the node's machines, each behind its runner, and the disk threads behind them all.

pub(crate) mod asker;
pub(crate) mod clock;
pub(crate) mod disk_figures;
pub(crate) mod disk_queue;
pub(crate) mod disk_threads;
pub(crate) mod gauges;
pub(crate) mod runner;
pub(crate) mod slumber;
mod timer;
pub(crate) mod upkeep_thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everack_broker::catalog::Catalog;
use everack_broker::ids::PartitionId;
use everack_node::alarms::Resource;
use everack_node::catalog_service::{CatalogRequest, CatalogService};
use everack_node::dead_letters::DeadLetters;
use everack_node::outbox::{Outbox, Seldom, TICK_MILLIS};
use everack_node::partition::Partition;
use everack_node::progress::Progress;
use everack_node::recall::Recall;
use everack_node::request::Request;
use everack_node::shared::Shared;
use everack_node::traces::Event;

use clock::Clock;
use disk_figures::DiskFigures;
use disk_queue::DiskQueue;
use gauges::Gauges;
use runner::Runner;
use slumber::Slumber;
use timer::Timer;

use crate::net::sockets::Sockets;
use crate::traces::Recorder;

/// See the module documentation.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) recall: Arc<Recall>,
    pub(crate) clock: Clock,
    pub(crate) partitions: Vec<Runner<Partition>>,
    pub(crate) catalog: Runner<CatalogService>,
    dead_letters: Runner<DeadLetters>,
    pub(crate) disk: DiskQueue,
    pub(crate) progress: Progress,
    pub(crate) sockets: Sockets,
    pub(crate) gauges: Gauges,
    pub(crate) disk_figures: DiskFigures,
    /// While messages are followed on their way.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// Of the upkeep thread.
    pub(crate) slumber: Slumber,
    /// Jobs wait for room on the disk.
    pub(crate) log_is_full: AtomicBool,
    timer: Arc<Timer>,
    /// A tick is on its way already.
    tick_is_due: AtomicBool,
    runtime: tokio::runtime::Handle,
    this: std::sync::Weak<Engine>,
}

impl Engine {
    /// A copy of the topology, ahead of what is durable.
    pub(crate) fn topology(&self) -> Catalog {
        self.catalog.inspect(self, |service| service.catalog().clone())
    }

    /// Assembles an engine from what recovery gave back.
    pub(crate) fn new(
        shared: Arc<Shared>,
        recall: Arc<Recall>,
        clock: Clock,
        (catalog, partitions): (CatalogService, Vec<Partition>),
        recorder: Option<Arc<Recorder>>,
        progress: Progress,
        runtime: tokio::runtime::Handle,
    ) -> Arc<Self> {
        let timer = Timer::new();
        let engine = Arc::new_cyclic(|this| Self {
            dead_letters: Runner::new(DeadLetters::new(shared.clone(), recall.clone())),
            timer: timer.clone(),
            shared,
            recall,
            clock,
            partitions: partitions.into_iter().map(Runner::new).collect(),
            catalog: Runner::new(catalog),
            disk: DiskQueue::new(),
            progress,
            sockets: Sockets::default(),
            gauges: Gauges::default(),
            disk_figures: DiskFigures::default(),
            recorder,
            slumber: Slumber::default(),
            log_is_full: AtomicBool::new(false),
            tick_is_due: AtomicBool::new(false),
            runtime,
            this: this.clone(),
        });
        // What was recovered may be due already.
        engine.timer.wake_at(engine.clock.now());
        engine.runtime.spawn(timer.run(engine.this.clone()));
        engine
    }

    /// Carries out what a round left, up to the point where others may see it; called under the machine's lock.
    pub(crate) fn carry(&self, outbox: &mut Outbox) {
        if !outbox.jobs.is_empty() {
            self.disk.push_all(outbox.jobs.drain(..));
        }
        for (partition, request) in outbox.requests.drain(..) {
            self.partitions[usize::from(partition.0)].post(request);
            outbox.posted = true;
        }
        if let Some(seldom) = &mut outbox.seldom {
            outbox.posted |= !seldom.catalog.is_empty();
            self.carry_seldom(seldom);
            outbox.give_answers();
        }
    }

    fn carry_seldom(&self, seldom: &mut Seldom) {
        if !seldom.catalog.is_empty() {
            self.catalog.post_all(seldom.catalog.drain(..));
        }
        if !seldom.dead.is_empty() {
            self.dead_letters.post_all(seldom.dead.drain(..));
            self.send_dead_letters_on();
        }
        if let Some(snapshot) = seldom.snapshot.take() {
            self.shared.publish(snapshot);
        }
        self.record(&mut seldom.traced);
    }

    /// What has happened to messages that are followed.
    pub(crate) fn record(&self, traced: &mut Vec<Event>) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !traced.is_empty()) {
            recorder.hear(traced.drain(..), &self.shared);
        }
    }

    /// Ends a round: wakes the connections that have news, runs the machines that got work from it.
    pub(crate) fn settle_round(&self, outbox: &mut Outbox) {
        outbox.wake_all();
        if std::mem::take(&mut outbox.posted) {
            self.run_all();
        }
        if std::mem::take(&mut outbox.wants_tick) {
            self.tick_soon();
        }
        if let Some(at) = outbox.wake_at.take() {
            self.timer.wake_at(at);
        }
    }

    /// Hands a connection's requests over and runs the machines they go to.
    pub(crate) fn submit(
        &self,
        requests: &mut Vec<(PartitionId, Request)>,
        catalog: &mut Vec<CatalogRequest>,
    ) {
        let mut touched = 0u64;
        for (partition, request) in requests.drain(..) {
            touched |= 1 << (partition.0 % 64);
            self.partitions[usize::from(partition.0)].post(request);
        }
        if !catalog.is_empty() {
            self.catalog.post_all(catalog.drain(..));
            self.catalog.run(self);
        }
        for (index, partition) in self.partitions.iter().enumerate() {
            if touched & (1 << (index % 64)) != 0 {
                partition.run(self);
            }
        }
    }

    /// Runs every machine that has work.
    pub(crate) fn run_all(&self) {
        self.catalog.run(self);
        for partition in &self.partitions {
            partition.run(self);
        }
    }

    /// Dead letters may have to be read from the log, which is not to hold up whoever has brought them: that may be the disk thread.
    fn send_dead_letters_on(&self) {
        let this = self.this.clone();
        self.runtime.spawn(async move {
            if let Some(engine) = this.upgrade() {
                engine.dead_letters.run(&engine);
            }
        });
    }

    fn tick_soon(&self) {
        if self.tick_is_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.this.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(TICK_MILLIS)).await;
            if let Some(engine) = this.upgrade() {
                engine.tick_is_due.store(false, Ordering::Release);
                for partition in &engine.partitions {
                    partition.post(Request::Tick);
                }
                engine.run_all();
            }
        });
    }

    /// Raises or clears an alarm and tells every connection; says whether that changed anything.
    pub(crate) fn raise(&self, resource: Resource, raised: bool) -> bool {
        let changed = self.shared.alarms.set(resource, raised);
        if changed {
            self.shared.wake_connections();
        }
        changed
    }
}
