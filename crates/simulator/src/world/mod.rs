//! One history from one seed: a node, several clients, and the order in which they, the disk and the upkeep get their turn. Lives end by
//! power loss, by SIGKILL, or in order; the disk has its own troubles. What clients see goes to the [book](crate::book), and the first
//! broken [property](crate::properties) ends the history.
//!
//! Everything happens in steps of some simulated microseconds. A step is one thing that some thread of a process would do without being
//! interrupted: a connection's round, a machine's round, the disk thread taking jobs, the end of its sync. The upkeep is
//! synchronous code; it lets steps of others [come in between](crate::turn).

mod agent;
mod audit;
mod delays;
mod desk;
mod families;
mod family_audit;
mod hear;
mod lives;
mod network;
mod orders;
mod plan;
mod rest;
mod rot;
mod say;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use everack_storage::disk::Memory;

use crate::book::Event;
use crate::coverage::Coverage;
use crate::disk::Watched;
use crate::flaw::Flaw;
use crate::node::{Core, Node};
use crate::properties::Violation;
use crate::random::Random;
use crate::turn::Stage;
use agent::Agent;
use desk::Desk;
use orders::Operator;
use plan::Plan;

/// What a history came to.
#[derive(Clone, Debug)]
pub struct Told {
    /// The seed.
    pub seed: u64,
    /// What was broken; nothing, if all is well.
    pub violations: Vec<Violation>,
    /// What happened how often.
    pub coverage: Coverage,
    /// All calls to the disk and all bytes to clients, folded into one number.
    pub hash: u64,
    /// What happened, line by line, if that was asked for.
    pub lines: Vec<String>,
    /// The longest time that the disk took for one round, in simulated microseconds.
    pub longest_round_us: u64,
}

/// See the module documentation.
struct World {
    plan: Plan,
    flaw: Flaw,
    random: RefCell<Random>,
    desk: RefCell<Desk>,
    agents: Vec<RefCell<Agent>>,
    memory: RefCell<Memory>,
    disk: RefCell<Option<Watched>>,
    core: RefCell<Option<Rc<Core>>>,
    node: RefCell<Option<Node>>,
    now_us: Cell<u64>,
    /// Steps of the present life.
    steps: Cell<u64>,
    operator: RefCell<Operator>,
    upkeep_us: Cell<u64>,
    tick_us: Cell<u64>,
    upkeep_runs: Cell<bool>,
    nested: Cell<bool>,
    longest_round_us: Cell<u64>,
    /// The disk answered the writer with an error, and with a known bug it went on.
    fatal: Cell<bool>,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Actor {
    Act(usize),
    Listen(usize),
    Connection(usize),
    Lingering(usize, usize),
    Catalog,
    Partition(usize),
    DeadLetters,
    Wake,
    Disk,
    Upkeep,
    Tick,
    Operator,
}

/// What the upkeep wants free on a disk that has a bound.
const FREE_BYTES_MIN: u64 = 16 << 10;
/// How long nothing may happen before a history has come to a halt.
const STILL_US_MAX: u64 = 5_000_000;

/// Plays the history of `seed`, with a known bug or without.
pub fn play(seed: u64, flaw: Flaw, with_lines: bool) -> Told {
    let mut random = Random::new(seed);
    let mut plan = Plan::draw(&mut random);
    plan.ends_alive |= flaw.shows_alive();
    if !flaw.families().is_empty() {
        plan.families = flaw.families().to_vec();
    }
    let desk = Desk::new(plan.taste, plan.families.clone(), flaw, with_lines);
    desk.trace.line(|| format!("{plan:#?}"));
    let memory = Memory::new(random.number());
    // Every other history writes its log past the page cache.
    memory.set_direct(!seed.is_multiple_of(2));
    let agents = (0..plan.agents)
        .map(|_| RefCell::new(Agent::new(random.fork())))
        .collect();
    let world = Rc::new(World {
        flaw,
        desk: RefCell::new(desk),
        agents,
        memory: RefCell::new(memory),
        disk: RefCell::new(None),
        core: RefCell::new(None),
        node: RefCell::new(None),
        now_us: Cell::new(1000),
        steps: Cell::new(0),
        operator: RefCell::default(),
        upkeep_us: Cell::new(0),
        tick_us: Cell::new(u64::MAX),
        upkeep_runs: Cell::new(false),
        nested: Cell::new(false),
        longest_round_us: Cell::new(0),
        fatal: Cell::new(false),
        random: RefCell::new(random),
        plan,
    });
    let others = Rc::downgrade(&world);
    let stage = Stage::set(Rc::new(move |micros| {
        if let Some(world) = others.upgrade() {
            world.others(micros);
        }
    }));
    world.live();
    drop(stage);
    let longest_round_us = world.longest_round_us.get();
    let desk = &mut *world.desk.borrow_mut();
    Told {
        seed,
        violations: std::mem::take(&mut desk.violations),
        coverage: std::mem::take(&mut desk.coverage),
        hash: desk.trace.hash(),
        lines: desk.trace.take_lines(),
        longest_round_us,
    }
}

impl World {
    fn core(&self) -> Rc<Core> {
        let core = self.core.borrow();
        core.clone().expect("a life has begun")
    }

    fn is_broken(&self) -> bool {
        !self.desk.borrow().violations.is_empty()
    }

    fn set_now(&self, now_us: u64) {
        self.now_us.set(now_us);
        self.desk.borrow_mut().book.now_us = now_us;
        if let Some(core) = &*self.core.borrow() {
            core.set_now(now_us);
        }
    }

    /// The upkeep lets others get on: for so long, or for a step or two, or not at all.
    fn others(&self, micros: u64) {
        if !self.upkeep_runs.get() || self.nested.replace(true) {
            return;
        }
        let until = self.now_us.get() + micros;
        let mut steps = if micros == 0 {
            self.random.borrow_mut().below(4)
        } else {
            u64::MAX
        };
        while steps > 0 && !self.core().is_dead() && !self.is_broken() {
            if micros > 0 && self.now_us.get() >= until {
                break;
            }
            self.step(until.max(self.now_us.get() + 200));
            steps -= 1;
        }
        self.nested.set(false);
    }

    /// One thing happens, or time passes, until `until_us` at most.
    fn step(&self, until_us: u64) {
        let actors = self.actors();
        if actors.is_empty() {
            self.set_now(self.next_us().min(until_us).max(self.now_us.get() + 1));
            return;
        }
        let actor = *self.random.borrow_mut().pick(&actors);
        self.run(actor);
        self.steps.set(self.steps.get() + 1);
        let micros = self.random.borrow_mut().between(1, 25);
        self.set_now(self.now_us.get() + micros);
    }

    /// Everybody who could do something at this moment.
    fn actors(&self) -> Vec<Actor> {
        let (now, core) = (self.now_us.get(), self.core());
        let mut actors = Vec::with_capacity(16);
        for (index, agent) in self.agents.iter().enumerate() {
            let agent = agent.borrow();
            if agent.next_us <= now {
                actors.push(Actor::Act(index));
            }
            if let Some(line) = &agent.line {
                let news = !line.connection.down.is_empty() || line.connection.ended;
                if news && agent.reads_from_us <= now {
                    actors.push(Actor::Listen(index));
                }
                if line.connection.wants_turn(now) {
                    actors.push(Actor::Connection(index));
                }
            }
            let lingering = agent.lingering.iter().enumerate();
            let turns = lingering.filter(|(_, (connection, _))| connection.wants_turn(now));
            actors.extend(turns.map(|(which, _)| Actor::Lingering(index, which)));
        }
        if core.catalog_has_mail() {
            actors.push(Actor::Catalog);
        }
        let partitions = (0..core.partition_count()).filter(|index| core.partition_has_mail(*index));
        actors.extend(partitions.map(Actor::Partition));
        if core.has_dead_letters() {
            actors.push(Actor::DeadLetters);
        }
        if core.wake_at().is_some_and(|at| at <= core.now()) {
            actors.push(Actor::Wake);
        }
        if core.writer.borrow().due(self.flaw) <= now {
            actors.push(Actor::Disk);
        }
        if self.tick_us.get() <= now {
            actors.push(Actor::Tick);
        }
        if self.upkeep_us.get() <= now && !self.upkeep_runs.get() {
            actors.push(Actor::Upkeep);
        }
        if self.operator.borrow().next_us <= now {
            actors.push(Actor::Operator);
        }
        actors
    }

    /// The next moment at which somebody has something to do.
    fn next_us(&self) -> u64 {
        let mut next = self.core().writer.borrow().due(self.flaw).min(self.tick_us.get());
        next = next.min(self.operator.borrow().next_us);
        if let Some(at) = self.core().wake_at() {
            next = next.min(at.0 * 1000);
        }
        if !self.upkeep_runs.get() {
            next = next.min(self.upkeep_us.get());
        }
        for agent in &self.agents {
            let agent = agent.borrow();
            next = next.min(agent.next_us);
            if let Some(line) = &agent.line {
                next = next.min(line.connection.next_us);
                if !line.connection.down.is_empty() || line.connection.ended {
                    next = next.min(agent.reads_from_us);
                }
            }
            let lingering = agent.lingering.iter();
            next = lingering.fold(next, |next, (connection, _)| next.min(connection.next_us));
        }
        next.min(self.now_us.get() + STILL_US_MAX)
    }

    fn run(&self, actor: Actor) {
        let core = self.core();
        match actor {
            Actor::Act(index) => self.act(index),
            Actor::Listen(index) => {
                let agent = &mut *self.agents[index].borrow_mut();
                agent.listen(&mut self.desk.borrow_mut());
            }
            Actor::Connection(index) => self.connection_turn(index),
            Actor::Lingering(index, which) => {
                let agent = &mut *self.agents[index].borrow_mut();
                let connection = &mut agent.lingering[which].0;
                connection.turn(&mut self.random.borrow_mut(), self.now_us.get());
                // Nobody reads what comes: it must not keep the connection from ending.
                connection.down.clear();
                agent.bury(&mut self.desk.borrow_mut());
            }
            Actor::Catalog => drop(core.run_catalog()),
            Actor::Partition(index) => drop(core.run_partition(index)),
            Actor::DeadLetters => drop(core.run_dead_letters()),
            Actor::Wake => drop(core.wake()),
            Actor::Disk => self.write(&core),
            Actor::Tick => {
                self.tick_us.set(u64::MAX);
                (0..core.partition_count())
                    .for_each(|index| core.post(index, everack_node::request::Request::Tick));
            }
            Actor::Upkeep => self.look_after(),
            Actor::Operator => self.order(),
        }
        if core.take_wants_tick() && self.tick_us.get() == u64::MAX {
            let tick_us = everack_node::outbox::TICK_MILLIS * 1000;
            self.tick_us.set(self.now_us.get() + tick_us);
        }
    }

    fn act(&self, index: usize) {
        let agent = &mut *self.agents[index].borrow_mut();
        let desk = &mut *self.desk.borrow_mut();
        if agent.rests {
            match agent.line {
                Some(_) => agent.wind_up(desk),
                None => agent.connect(&self.core(), desk),
            }
            agent.next_us = self.now_us.get() + agent.rest_us();
            return;
        }
        if agent.line.is_some() {
            agent.act(desk);
        } else {
            agent.connect(&self.core(), desk);
        }
        let pause = match agent.random.below(8) {
            0 => agent.random.below(4_000),
            1 | 2 => agent.random.below(600),
            _ => agent.random.below(60),
        };
        agent.next_us = self.now_us.get() + 1 + pause;
    }

    fn connection_turn(&self, index: usize) {
        let agent = &mut *self.agents[index].borrow_mut();
        let desk = &mut *self.desk.borrow_mut();
        let Some(line) = &mut agent.line else { return };
        let before = self.disk_seen();
        line.connection
            .turn(&mut self.random.borrow_mut(), self.now_us.get());
        let after = self.disk_seen();
        desk.coverage
            .add("messages in the log read back", after.0 - before.0);
        if after.1 > before.1 {
            desk.see(Event::ReadFailed);
        }
        agent.note_receipts(desk);
    }

    /// Reads of the disk so far, and calls that were answered with EIO.
    fn disk_seen(&self) -> (u64, u64) {
        let disk = self.disk.borrow();
        disk.as_ref().map_or((0, 0), |disk| disk.reads_and_errors())
    }

    fn write(&self, core: &Rc<Core>) {
        let (_, before) = self.disk_seen();
        core.write();
        let longest = core.writer.borrow().tally.longest_us;
        self.longest_round_us
            .set(self.longest_round_us.get().max(longest));
        if self.disk_seen().1 > before && !self.fatal.replace(true) {
            // A process is gone now. One with the bug that passes errors over goes on, and whatever it promises is told apart.
            for agent in &self.agents {
                if let Some(line) = &mut agent.borrow_mut().line {
                    line.fatal_total = Some(line.connection.sent_total);
                }
            }
        }
    }

    fn look_after(&self) {
        let Some(mut node) = self.node.borrow_mut().take() else {
            return;
        };
        self.arm_upkeep();
        self.upkeep_runs.set(true);
        let (quiet, forced) = {
            let random = &mut *self.random.borrow_mut();
            (random.once_in(3), random.once_in(6))
        };
        let bounded = self.is_bounded();
        node.upkeep_round(quiet, if bounded { FREE_BYTES_MIN } else { 0 });
        if forced {
            node.look_after();
        }
        self.upkeep_runs.set(false);
        if self.core().is_dead() && self.memory.borrow().crashed() {
            self.desk.borrow_mut().hit("crashes during the upkeep");
        }
        *self.node.borrow_mut() = Some(node);
        self.upkeep_us.set(self.now_us.get() + self.plan.upkeep_us);
    }
}
