//! The clients of a run and the threads that carry them.

use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context;

use super::Plan;
use super::topology::Topology;
use crate::block::{Block, Recipe};
use crate::board::{Board, Phase};
use crate::consumer::{self, Consumer};
use crate::pace::Pace;
use crate::producer::{self, Producer};
use crate::setup::Session;
use crate::worker::{Backlog, Client, Harvest, Worker};
use crate::workload::{Ack, Workload};

/// Above so many (queue, producer) pairs the check of ids would cost more memory than it is worth.
const CHECK_LANES_MAX: usize = 1 << 24;
/// The blocks of all producers together take about so much memory at most.
const BLOCKS_BYTES_MAX: usize = 256 << 20;

/// The threads of a run; they end with it, also when it fails.
pub(super) struct Crew {
    board: Arc<Board>,
    threads: Vec<JoinHandle<Harvest>>,
}

impl Crew {
    /// Connects the clients and sets their threads to work; they wait for the board to leave `Ready`. With one
    /// thread it does everything; of more of them half publish and half consume, where there is something of both.
    pub(super) fn hire(
        builder: &Builder<'_>,
        producers: Range<u16>,
        consumers: Range<u16>,
    ) -> anyhow::Result<Self> {
        let threads = builder.plan.threads;
        let (publishing, consuming) = if threads == 1 || producers.is_empty() || consumers.is_empty() {
            (0..threads, 0..threads)
        } else {
            (0..threads / 2, threads / 2..threads)
        };
        let mut hands: Vec<Vec<Client>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, hand) in consumers.zip(consuming.cycle()) {
            hands[hand].push(Client::Consumer(Box::new(builder.consumer(index)?)));
        }
        for (index, hand) in producers.zip(publishing.cycle()) {
            hands[hand].push(Client::Producer(Box::new(builder.producer(index)?)));
        }
        let mut crew = Self {
            board: Arc::clone(builder.board),
            threads: Vec::new(),
        };
        for (index, clients) in hands.into_iter().enumerate() {
            let worker = Worker::new(index, Arc::clone(builder.board), clients, builder.backlog())?;
            let thread = thread::Builder::new().name(format!("bench-{index}"));
            crew.threads.push(thread.spawn(move || worker.run())?);
        }
        Ok(crew)
    }

    /// Ends the run and collects what the threads know.
    pub(super) fn go_home(&mut self) -> Harvest {
        self.board.enter(Phase::Stop);
        let mut all = Harvest::default();
        for thread in self.threads.drain(..) {
            if let Ok(harvest) = thread.join() {
                all.confirm.merge(&harvest.confirm);
                all.end_to_end.merge(&harvest.end_to_end);
                all.returned = all.returned.take().or(harvest.returned);
            }
        }
        all
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.go_home();
    }
}

/// Makes the clients of a run.
pub(super) struct Builder<'a> {
    pub(super) workload: &'a Workload,
    pub(super) plan: &'a Plan,
    pub(super) topology: &'a Topology,
    pub(super) board: &'a Arc<Board>,
}

impl Builder<'_> {
    fn backlog(&self) -> Backlog {
        Backlog {
            max: self.workload.backlog_max,
            copies: self.workload.copies(),
            producers: u64::from(self.workload.producers),
        }
    }

    /// Ids are written and looked at.
    pub(super) fn checks(&self) -> bool {
        let lanes = self.workload.queues as usize * usize::from(self.workload.producers);
        self.plan.check && lanes <= CHECK_LANES_MAX
    }

    fn consumer(&self, index: u16) -> anyhow::Result<Consumer> {
        let mut session = Session::open(&self.plan.url, self.plan.options)?;
        let queues = self.workload.queues_of(index, self.workload.consumers);
        let no_ack = self.workload.ack == Ack::None;
        if !no_ack && self.workload.prefetch > 0 {
            session
                .qos(self.workload.prefetch)
                .context("cannot set the prefetch")?;
        }
        for (tag, queue) in queues.iter().enumerate() {
            let name = &self.topology.queues[*queue as usize];
            session
                .consume(name, &tag.to_string(), no_ack)
                .with_context(|| format!("cannot consume from {name}"))?;
        }
        let (link, scanner) = session.into_link(self.board.now())?;
        let orders = consumer::Orders {
            ack: self.workload.ack,
            check: self.checks(),
            queues: queues.len(),
            producers: usize::from(self.workload.producers),
        };
        Ok(Consumer::new(link, scanner, orders, Arc::clone(self.board)))
    }

    fn producer(&self, index: u16) -> anyhow::Result<Producer> {
        let mut session = Session::open(&self.plan.url, self.plan.options)?;
        if self.workload.window > 0 {
            session.confirm_select().context("cannot switch confirms on")?;
        }
        let queues = self.workload.queues_of(index, self.workload.producers);
        let block = Block::new(&Recipe {
            sizes: self.workload.sizes.clone(),
            routes: self.topology.routes(&queues),
            persistent: self.workload.persistent,
            dressed: self.workload.dressed,
            mandatory: self.workload.mandatory,
            frame_max: session.frame_max(),
            bytes_aim: BLOCKS_BYTES_MAX / usize::from(self.workload.producers),
        });
        let (link, scanner) = session.into_link(self.board.now())?;
        let orders = producer::Orders {
            index,
            check: self.checks(),
            window: u64::from(self.workload.window),
            pace: self.pace(index),
            limit: self.limit(index),
        };
        Ok(Producer::new(
            link,
            scanner,
            block,
            orders,
            Arc::clone(self.board),
        ))
    }

    /// Of a backlog each producer publishes its share; else there is no limit.
    fn limit(&self, index: u16) -> u64 {
        let producers = u64::from(self.workload.producers);
        match self.workload.backlog {
            0 => u64::MAX,
            backlog => backlog / producers + u64::from(u64::from(index) < backlog % producers),
        }
    }

    /// Producers take turns: each has the same share of the rate, and their messages lie evenly between each other.
    fn pace(&self, index: u16) -> Option<Pace> {
        if self.workload.rate == 0.0 {
            return None;
        }
        let offset = f64::from(index) / self.workload.rate * 1e9;
        Some(Pace::new(
            self.workload.rate / f64::from(self.workload.producers),
            offset as u64,
        ))
    }
}
