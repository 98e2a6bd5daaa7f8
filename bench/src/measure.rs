//! One run: prepare the broker, connect, warm up, measure, drain, check, clean up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::block::{Block, Recipe, Route};
use crate::board::{Board, Phase, Totals};
use crate::consumer::{self, Consumer};
use crate::pace::Pace;
use crate::process::{self, Machine, Usage};
use crate::producer::{self, Producer};
use crate::report::{Ending, Report, Run};
use crate::setup::{Options, Session};
use crate::url::Url;
use crate::worker::{Backlog, Client, Harvest, Worker};
use crate::workload::{Ack, QueueKind, Workload};

/// A drain in which nothing comes for so long, or for half the time it has, is given up.
const STALLS_AFTER: Duration = Duration::from_secs(10);
/// The broker's memory is looked at this often.
const MEMORY_EVERY: Duration = Duration::from_millis(250);
/// Above so many (queue, producer) pairs the check of ids would cost more memory than it is worth.
const CHECK_LANES_MAX: usize = 1 << 24;

/// Which broker, and how to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker's address.
    pub url: Url,
    /// The broker's process, if it runs on this machine.
    pub broker_pid: Option<u32>,
    /// Load before the measurement.
    pub warm_up: Duration,
    /// Load that is measured.
    pub duration: Duration,
    /// How long to wait for what is under way after the measurement; zero ends at once and checks nothing.
    pub drain: Duration,
    /// Threads of the generator: with one, it does everything; with more, half publish and half consume.
    pub threads: usize,
    /// Ids in all messages.
    pub check: bool,
    /// Heartbeat and frame size.
    pub options: Options,
    /// Leave queues and exchange behind.
    pub keep: bool,
}

/// Puts `workload` on the broker of `plan` once.
pub fn measure(workload: &Workload, plan: &Plan) -> anyhow::Result<Report> {
    workload
        .validate()
        .map_err(|reason| anyhow!("this workload cannot run: {reason}"))?;
    let mut session = Session::open(&plan.url, plan.options)?;
    let topology = Topology::new(workload);
    let result = topology
        .declare(&mut session)
        .and_then(|()| load(workload, plan, &topology, &mut session));
    if !plan.keep {
        let removed = topology.remove(plan);
        if result.is_ok() {
            removed.context("cannot remove the queues of the run")?;
        }
    }
    session.close();
    result
}

/// The queues and the exchange of a run, with names of its own.
struct Topology {
    queues: Vec<String>,
    exchange: Option<String>,
    kind: QueueKind,
}

impl Topology {
    fn new(workload: &Workload) -> Self {
        static RUN: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "eb{:x}-{:x}",
            std::process::id(),
            RUN.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            queues: (0..workload.queues)
                .map(|index| format!("{prefix}.{index}"))
                .collect(),
            exchange: workload.fanout.then_some(prefix),
            kind: workload.queue,
        }
    }

    fn declare(&self, session: &mut Session) -> anyhow::Result<()> {
        if let Some(exchange) = &self.exchange {
            session
                .declare_fanout(exchange, self.kind != QueueKind::Transient)
                .with_context(|| format!("cannot declare exchange {exchange}"))?;
        }
        for queue in &self.queues {
            session
                .declare_queue(queue, self.kind, false)
                .with_context(|| format!("cannot declare queue {queue}"))?;
            if let Some(exchange) = &self.exchange {
                session
                    .bind(queue, exchange)
                    .with_context(|| format!("cannot bind queue {queue}"))?;
            }
        }
        Ok(())
    }

    /// On a connection of its own, for the one of the run may be broken.
    fn remove(&self, plan: &Plan) -> anyhow::Result<()> {
        let mut session = Session::open(&plan.url, plan.options)?;
        for queue in &self.queues {
            session.delete_queue(queue)?;
        }
        if let Some(exchange) = &self.exchange {
            session.delete_exchange(exchange)?;
        }
        session.close();
        Ok(())
    }

    fn routes(&self, queues: &[u16]) -> Vec<Route> {
        if let Some(exchange) = &self.exchange {
            return vec![Route {
                exchange: exchange.clone(),
                routing_key: String::new(),
            }];
        }
        let route = |queue: &u16| Route {
            exchange: String::new(),
            routing_key: self.queues[usize::from(*queue)].clone(),
        };
        queues.iter().map(route).collect()
    }
}

fn load(
    workload: &Workload,
    plan: &Plan,
    topology: &Topology,
    session: &mut Session,
) -> anyhow::Result<Report> {
    let producer_threads = if plan.threads == 1 || workload.consumers == 0 {
        plan.threads
    } else {
        plan.threads / 2
    };
    let board = Arc::new(Board::new(plan.threads));
    let builder = Builder {
        workload,
        plan,
        topology,
        board: &board,
    };
    let mut hands: Vec<Vec<Client>> = (0..plan.threads).map(|_| Vec::new()).collect();
    let consumer_threads = if plan.threads == 1 {
        0..1
    } else {
        producer_threads..plan.threads
    };
    for index in 0..workload.consumers {
        let hand = consumer_threads.start + usize::from(index) % consumer_threads.len();
        hands[hand].push(Client::Consumer(Box::new(builder.consumer(index)?)));
    }
    for index in 0..workload.producers {
        let hand = usize::from(index) % producer_threads;
        hands[hand].push(Client::Producer(Box::new(builder.producer(index)?)));
    }
    let backlog = Backlog {
        max: workload.backlog_max,
        copies: workload.copies(),
        producers: u64::from(workload.producers),
    };
    let mut crew = Crew {
        board: Arc::clone(&board),
        threads: Vec::new(),
    };
    for (index, clients) in hands.into_iter().enumerate() {
        let worker = Worker::new(index, Arc::clone(&board), clients, backlog)?;
        crew.threads.push(
            thread::Builder::new()
                .name(format!("bench-{index}"))
                .spawn(move || worker.run())?,
        );
    }
    let watch = Watch {
        workload,
        plan,
        board: &board,
    };
    let outcome = watch.phases();
    let harvest = crew.go_home();
    let (stretch, ending) = outcome?;
    let left_in_queues = match ending {
        Ending::Drained => Some(count_left(topology, session)?),
        _ => None,
    };
    Ok(Report::new(Run {
        workload: workload.clone(),
        url: plan.url.to_string(),
        server: session.server().clone(),
        checked: builder.checks(),
        stretch,
        totals: board.totals(),
        ending,
        left_in_queues,
        harvest,
    }))
}

/// Messages that are still in the queues although everything was received and acknowledged.
fn count_left(topology: &Topology, session: &mut Session) -> anyhow::Result<u64> {
    let mut left = 0;
    for queue in &topology.queues {
        left += u64::from(session.declare_queue(queue, topology.kind, true)?);
    }
    Ok(left)
}

/// The threads of a run; they end with it, also when it fails.
struct Crew {
    board: Arc<Board>,
    threads: Vec<JoinHandle<Harvest>>,
}

impl Crew {
    fn go_home(&mut self) -> Harvest {
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
struct Builder<'a> {
    workload: &'a Workload,
    plan: &'a Plan,
    topology: &'a Topology,
    board: &'a Arc<Board>,
}

impl Builder<'_> {
    fn checks(&self) -> bool {
        let lanes = usize::from(self.workload.queues) * usize::from(self.workload.producers);
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
            let name = &self.topology.queues[usize::from(*queue)];
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
            mandatory: self.workload.mandatory,
            frame_max: session.frame_max(),
        });
        let (link, scanner) = session.into_link(self.board.now())?;
        let orders = producer::Orders {
            index,
            check: self.checks(),
            window: u64::from(self.workload.window),
            pace: self.pace(index),
        };
        Ok(Producer::new(
            link,
            scanner,
            block,
            orders,
            Arc::clone(self.board),
        ))
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

/// What happened between the start and the end of the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch {
    /// How long it was.
    pub seconds: f64,
    /// What the clients did in it.
    pub totals: Totals,
    /// What the broker used in it, if its process is known; memory is what it had at the end.
    pub broker: Option<Usage>,
    /// The most memory the broker was seen with, in bytes.
    pub resident_bytes_max: u64,
    /// CPU-seconds of the generator's threads.
    pub generator_cpu_seconds: f64,
    /// What the whole machine did.
    pub machine: Machine,
    /// Messages published and not received at the end, copies counted.
    pub backlog: i64,
}

struct Watch<'a> {
    workload: &'a Workload,
    plan: &'a Plan,
    board: &'a Board,
}

struct Snapshot {
    at: Instant,
    totals: Totals,
    broker: Option<Usage>,
    generator_cpu_seconds: f64,
    machine: Machine,
}

impl Watch<'_> {
    /// Leads the run through its phases; answers what was measured and how it ended.
    fn phases(&self) -> anyhow::Result<(Stretch, Ending)> {
        self.board.enter(Phase::WarmUp);
        self.wait(self.plan.warm_up)?;
        self.board.enter(Phase::Measure);
        let before = self.look()?;
        let resident_bytes_max = self.wait(self.plan.duration)?;
        let after = self.look()?;
        self.board.enter(Phase::Drain);
        let ending = self.drain()?;
        Ok((self.stretch(&before, &after, resident_bytes_max), ending))
    }

    /// Waits, unless the run fails. Answers the most memory the broker was seen with.
    fn wait(&self, duration: Duration) -> anyhow::Result<u64> {
        let until = Instant::now() + duration;
        let mut resident_max = 0;
        loop {
            if let Some(reason) = self.board.failure() {
                bail!(reason);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(resident_max);
            }
            thread::sleep(left.min(MEMORY_EVERY));
            if let Some(pid) = self.plan.broker_pid {
                resident_max = resident_max.max(process::resident(pid));
            }
        }
    }

    fn look(&self) -> anyhow::Result<Snapshot> {
        let broker = match self.plan.broker_pid {
            Some(pid) => Some(process::usage(pid).ok_or_else(|| anyhow!("there is no process {pid}"))?),
            None => None,
        };
        Ok(Snapshot {
            at: Instant::now(),
            totals: self.board.totals(),
            broker,
            generator_cpu_seconds: process::threads_cpu_seconds(&self.board.thread_ids()),
            machine: process::machine(),
        })
    }

    fn stretch(&self, before: &Snapshot, after: &Snapshot, resident_bytes_max: u64) -> Stretch {
        let published = after.totals.published * self.workload.copies();
        Stretch {
            seconds: (after.at - before.at).as_secs_f64(),
            totals: after.totals.since(&before.totals),
            broker: after
                .broker
                .zip(before.broker)
                .map(|(after, before)| after.since(&before)),
            resident_bytes_max,
            generator_cpu_seconds: after.generator_cpu_seconds - before.generator_cpu_seconds,
            machine: after.machine.since(&before.machine),
            backlog: published as i64 - after.totals.received as i64,
        }
    }

    /// Waits until everything is confirmed and received, or no longer.
    fn drain(&self) -> anyhow::Result<Ending> {
        let start = Instant::now();
        let stalls_after = STALLS_AFTER.min(self.plan.drain / 2);
        let mut moved = (Totals::default(), start);
        loop {
            if let Some(reason) = self.board.failure() {
                bail!(reason);
            }
            let done = self.board.publishing_done();
            let totals = self.board.totals();
            if done && self.all_received(&totals) {
                return Ok(Ending::Drained);
            }
            if (moved.0.confirmed, moved.0.received) != (totals.confirmed, totals.received) {
                moved = (totals, Instant::now());
            }
            if self.plan.drain.is_zero() {
                return Ok(Ending::Cut);
            }
            if moved.1.elapsed() > stalls_after {
                return Ok(Ending::Stalled);
            }
            if start.elapsed() >= self.plan.drain {
                return Ok(Ending::TimeUp);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn all_received(&self, totals: &Totals) -> bool {
        let accepted = totals.published - totals.returned - totals.nacked;
        self.workload.consumers == 0 || totals.received >= accepted * self.workload.copies()
    }
}
