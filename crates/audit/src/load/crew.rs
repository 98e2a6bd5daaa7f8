//! Everybody who works on the broker, and what they share.

use super::consumer::Consumer;
use super::gate::Gate;
use super::phase::{Ear, Phase, Stage};
use super::publisher::Publisher;
use super::session::{Session, connect};
use super::topology::Topology;
use super::transactor::Transactor;
use crate::Id;
use crate::journal::{Entry, Journal, Route};
use crate::workload::{self, Habits};
use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a session may outlive the broker's life: then it is dropped, whatever it waits for.
const GRACE: Duration = Duration::from_millis(500);
/// How long somebody waits before he connects again.
const AGAIN: Duration = Duration::from_millis(50);

/// What all of them share.
pub(super) struct Shared {
    url: String,
    journal: Arc<Journal>,
    /// Consumers so far, over all connections.
    consumers: AtomicU32,
    /// Sessions that are open.
    sessions: AtomicU32,
    /// Connections that ended although nobody had ended them.
    broken: AtomicU64,
    confirmed: AtomicU64,
    delivered: AtomicU64,
    /// When something was delivered last, in microseconds of the journal.
    delivered_at: AtomicU64,
    /// Messages a second for each publisher; 0 for as fast as it goes.
    rate: f64,
}

/// Everybody.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    gates: Vec<Arc<Gate>>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Crew {
    /// Hires everybody; they wait until the broker is up. Writes down who is who.
    pub(crate) fn new(
        url: &str,
        journal: &Arc<Journal>,
        topology: &Topology,
        rate: Option<f64>,
        random: &mut fastrand::Rng,
    ) -> Self {
        let (phase, ear) = watch::channel(Phase {
            life: 0,
            up: false,
            ending: false,
            stage: Stage::Load,
        });
        let publishers: usize = topology.plans.iter().map(|plan| plan.publishers.len()).sum();
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            journal: Arc::clone(journal),
            consumers: AtomicU32::new(0),
            sessions: AtomicU32::new(0),
            broken: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            delivered_at: AtomicU64::new(0),
            rate: rate.map_or(0.0, |rate| rate / publishers.max(1) as f64),
        });
        let mut crew = Self {
            shared,
            phase,
            gates: Vec::new(),
            tasks: JoinSet::new(),
        };
        let mut number = 0;
        for (index, plan) in topology.plans.iter().enumerate() {
            let gate = Arc::new(Gate::new(plan.backlog));
            for publisher in &plan.publishers {
                number += 1;
                crew.hire_publisher(
                    number,
                    plan,
                    publisher,
                    &topology.numbers(index),
                    &gate,
                    &ear,
                    random,
                );
            }
            for consumer in &plan.consumers {
                crew.hire_consumer(plan, consumer, &topology.numbers(index), &gate, &ear, random);
            }
            crew.gates.push(gate);
        }
        crew
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one call, and each of them is another thing"
    )]
    fn hire_publisher(
        &mut self,
        number: u32,
        plan: &workload::Plan,
        publisher: &workload::Publisher,
        queues: &[u16],
        gate: &Arc<Gate>,
        ear: &watch::Receiver<Phase>,
        random: &mut fastrand::Rng,
    ) {
        self.shared.journal.append(&[Entry::Publisher {
            publisher: number,
            workload: plan.kind,
            route: publisher.route,
            queues: publisher.queues.iter().map(|queue| queues[*queue]).collect(),
        }]);
        let aimed = publisher.queues.iter();
        let post = Post {
            number,
            plan: publisher.clone(),
            keys: aimed.map(|queue| plan.queues[*queue].name.clone()).collect(),
            journal: Arc::clone(&self.shared.journal),
            gate: Arc::clone(gate),
            ear: Ear(ear.clone()),
            random: random.fork(),
            shared: Arc::clone(&self.shared),
            begun: Instant::now(),
            due: 0.0,
        };
        let (shared, ear) = (Arc::clone(&self.shared), Ear(ear.clone()));
        let (name, publisher) = (format!("audit publisher {number}"), Publisher::new(post));
        if publisher.post.plan.transactional {
            self.tasks
                .spawn(shared.employ(Transactor(publisher), name, ear, Stage::Load));
        } else {
            self.tasks.spawn(shared.employ(publisher, name, ear, Stage::Load));
        }
    }

    fn hire_consumer(
        &mut self,
        plan: &workload::Plan,
        consumer: &workload::Consumer,
        queues: &[u16],
        gate: &Arc<Gate>,
        ear: &watch::Receiver<Phase>,
        random: &mut fastrand::Rng,
    ) {
        let bench = Bench {
            consumer: 0,
            queue: queues[consumer.queue],
            queue_name: plan.queues[consumer.queue].name.clone(),
            habits: consumer.habits.clone(),
            journal: Arc::clone(&self.shared.journal),
            gate: Arc::clone(gate),
            ear: Ear(ear.clone()),
            random: random.fork(),
            shared: Arc::clone(&self.shared),
            dies: false,
        };
        let name = format!("audit consumer of {}", bench.queue_name);
        let shared = Arc::clone(&self.shared);
        self.tasks
            .spawn(shared.employ(Consumer { bench }, name, Ear(ear.clone()), Stage::Drain));
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Phase)) {
        self.phase.send_modify(change);
    }

    /// The broker's life.
    pub(crate) fn life(&self) -> u32 {
        self.phase.borrow().life
    }

    /// Waits until nobody has a connection of the life that ended.
    pub(crate) async fn all_home(&self) {
        let deadline = Instant::now() + 4 * GRACE;
        while self.shared.sessions.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether every plan has the backlog that it should keep.
    pub(crate) fn is_filled(&self) -> bool {
        self.gates.iter().all(|gate| gate.is_filled())
    }

    /// Messages that wait, over all plans.
    pub(crate) fn waiting(&self) -> u64 {
        self.gates.iter().map(|gate| gate.waiting()).sum()
    }

    /// Takes over what the broker counts, plan by plan.
    pub(crate) fn correct(&self, messages: &[u64]) {
        self.gates
            .iter()
            .zip(messages)
            .for_each(|(gate, messages)| gate.correct(*messages));
    }

    /// How long nothing has been delivered.
    pub(crate) fn quiet(&self) -> Duration {
        let last = self.shared.delivered_at.load(Ordering::Relaxed);
        Duration::from_micros(self.shared.journal.micros().saturating_sub(last))
    }

    /// Confirmed and delivered so far, and connections lost without a fault of ours.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (
            of(&self.shared.confirmed),
            of(&self.shared.delivered),
            of(&self.shared.broken),
        )
    }

    /// The error that ends the run, if somebody met one: he could not go on writing his journal.
    pub(crate) fn failure(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.context("a worker panicked")??;
        }
        Ok(())
    }

    /// Waits until everybody has said goodbye.
    pub(crate) async fn farewell(&mut self) -> anyhow::Result<()> {
        self.tell(|phase| phase.stage = Stage::Stop);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a worker panicked")??;
        }
        Ok(())
    }
}

/// Somebody who works in sessions.
pub(super) trait Worker: Send {
    /// A session is about to be used: its life.
    fn begin(&mut self, _life: u32) {}
    /// Works until the session or the work ends; an error ends the run.
    fn work(&mut self, session: &Session) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// The session is over; whether it is to be cut without a word.
    fn end(&mut self) -> bool {
        false
    }
}

impl Shared {
    /// One session after the other, up to the stage where this worker's work ends.
    async fn employ(
        self: Arc<Self>,
        mut worker: impl Worker,
        name: String,
        mut ear: Ear,
        last: Stage,
    ) -> anyhow::Result<()> {
        while let Some(phase) = ear.up(last).await {
            let session = tokio::select! {
                session = connect(&self.url, &name) => session.ok(),
                () = over(ear.clone(), phase.life) => None,
            };
            // A connection that was made while the broker changed lives could belong to either.
            let same = |now: Phase| now.up && now.life == phase.life;
            let Some(session) = session.filter(|_| same(ear.now())) else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            self.sessions.fetch_add(1, Ordering::AcqRel);
            worker.begin(phase.life);
            let worked = tokio::select! {
                worked = worker.work(&session) => worked,
                () = session.lost() => Ok(()),
                () = over(ear.clone(), phase.life) => Ok(()),
            };
            let cuts = worker.end();
            let alive = same(ear.now());
            if cuts || !alive || ear.now().ending {
                drop(session);
            } else {
                // A goodbye to a broker that has died meanwhile would wait for an answer, and the next start for it.
                let mut ending = ear.clone();
                let lost = tokio::select! {
                    polite = session.close() => !polite && same(ear.now()) && !ear.now().ending,
                    () = ending.life_over(phase.life) => false,
                };
                self.broken.fetch_add(u64::from(lost), Ordering::Relaxed);
            }
            self.sessions.fetch_sub(1, Ordering::AcqRel);
            worked?;
            if alive && ear.now().stage < last {
                tokio::time::sleep(AGAIN).await;
            }
        }
        Ok(())
    }
}

/// A life is over, and there was time enough to notice.
async fn over(mut ear: Ear, life: u32) {
    ear.life_over(life).await;
    tokio::time::sleep(GRACE).await;
}

/// What a publisher has at hand.
pub(super) struct Post {
    pub(super) number: u32,
    pub(super) plan: workload::Publisher,
    /// Names of its queues.
    keys: Vec<String>,
    pub(super) journal: Arc<Journal>,
    pub(super) gate: Arc<Gate>,
    ear: Ear,
    pub(super) random: fastrand::Rng,
    shared: Arc<Shared>,
    begun: Instant,
    /// When the next window is due if there is a rate, in seconds since it began.
    due: f64,
}

impl Post {
    /// Waits for room in the backlog and for the rate; `false` when publishing is over.
    pub(super) async fn may_go_on(&mut self) -> bool {
        let mut ear = self.ear.clone();
        tokio::select! {
            () = self.room() => self.ear.now().stage == Stage::Load,
            () = ear.stage(Stage::Drain) => false,
        }
    }

    async fn room(&mut self) {
        self.gate.room().await;
        let late = self.due - self.begun.elapsed().as_secs_f64();
        if late > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(late)).await;
        }
    }

    /// Counts, and moves on what is due by the rate.
    pub(super) fn confirmed(&mut self, messages: u64) {
        self.shared.confirmed.fetch_add(messages, Ordering::Relaxed);
        if self.shared.rate > 0.0 {
            // Time lost while the broker was down is not made up for.
            let now = self.begun.elapsed().as_secs_f64();
            self.due = self.due.max(now - 1.0) + messages as f64 / self.shared.rate;
        }
    }

    /// Copies of each message that there will be.
    pub(super) fn copies(&self) -> u64 {
        match self.plan.route {
            Route::Every => self.keys.len() as u64,
            Route::Turns | Route::Chain => 1,
        }
    }

    /// The routing key of a message.
    pub(super) fn key(&self, id: Id) -> &str {
        match self.plan.route {
            Route::Turns => &self.keys[(id.number % self.keys.len() as u64) as usize],
            Route::Every | Route::Chain => &self.keys[0],
        }
    }
}

/// What a consumer has at hand.
pub(super) struct Bench {
    /// Its number in this session.
    pub(super) consumer: u32,
    queue: u16,
    pub(super) queue_name: String,
    pub(super) habits: Habits,
    pub(super) journal: Arc<Journal>,
    pub(super) gate: Arc<Gate>,
    pub(super) ear: Ear,
    pub(super) random: fastrand::Rng,
    shared: Arc<Shared>,
    /// This session ends with its death.
    pub(super) dies: bool,
}

impl Bench {
    /// A new session: the journal knows it as a new consumer.
    pub(super) fn open(&mut self, life: u32) {
        self.consumer = self.shared.consumers.fetch_add(1, Ordering::Relaxed) + 1;
        self.journal.append(&[Entry::Opened {
            consumer: self.consumer,
            queue: self.queue,
            life,
            transactional: self.habits.transactional,
        }]);
    }

    /// The session is over; whether its connection is to be cut.
    pub(super) fn close(&mut self) -> bool {
        let consumer = self.consumer;
        self.journal.append(&[Entry::Closed { consumer }]);
        std::mem::take(&mut self.dies)
    }

    pub(super) fn stage(&self) -> Stage {
        self.ear.now().stage
    }

    /// How many deliveries this session will see at most.
    pub(super) fn deliveries_until_death(&mut self) -> Option<u32> {
        let range = self.habits.dies_after.clone()?;
        Some(self.random.u32(range))
    }

    pub(super) fn damaged(&self, id: Option<Id>) {
        let consumer = self.consumer;
        self.journal.append(&[Entry::Damaged { consumer, id }]);
    }

    pub(super) fn delivered(&self, messages: u64) {
        self.shared.delivered.fetch_add(messages, Ordering::Relaxed);
        self.shared
            .delivered_at
            .store(self.journal.micros(), Ordering::Relaxed);
    }
}
