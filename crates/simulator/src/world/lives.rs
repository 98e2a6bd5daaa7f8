//! The lives of a history: starts, ends, what the disk does to them, and the readings in between.

use std::rc::Rc;

use everack_node::opening::{CannotOpen, Plan as NodePlan};
use everack_storage::OpenError;
use everack_storage::disk::{Fault, Memory, Outcome};

use super::plan::{End, Life};
use super::{World, audit, delays, rot};
use crate::book::{Crash, Event};
use crate::disk::Watched;
use crate::node::{Node, PLAN};
use crate::properties::Violation;

/// Attempts to start a node; more are not needed for what a history has in store.
const STARTS_MAX: usize = 20;
/// How long nobody does anything, so that the log is marked as quiet, in microseconds.
const SIESTA_US: u64 = 1_500_000;
/// Steps without an end: a history that comes to no end has come to a halt.
const STEPS_MAX: u64 = 100_000;

impl World {
    /// All lives, and the last reading.
    pub(super) fn live(&self) {
        let lives = self.plan.lives.clone();
        let last = lives.len() - 1;
        for (index, life) in lives.iter().enumerate() {
            if !self.start(life) {
                return;
            }
            if life.audited && index > 0 && !self.audit() && !self.core().is_dead() {
                return;
            }
            self.run_life(life);
            if self.is_broken() {
                return;
            }
            let alive = index == last && self.plan.ends_alive && !self.core().is_dead();
            if alive {
                self.end_alive();
                return;
            }
            self.end(life);
        }
        self.heal();
        let quiet = Life {
            crash_in_recovery: Vec::new(),
            rot_record: false,
            rot_checkpoint: false,
            crash_call: None,
            crash_in_upkeep: None,
            broken_call: None,
            ..lives[last].clone()
        };
        if self.start(&quiet) {
            self.audit();
        }
    }

    /// The disk is given room, and no more trouble.
    fn heal(&self) {
        let memory = self.memory.borrow();
        memory.set_capacity(None);
    }

    /// The disk in use is given room.
    fn heal_now(&self) {
        self.memory_in_use().set_capacity(None);
        self.heal();
        if let Some(node) = &*self.node.borrow() {
            node.prepare();
        }
        self.core().pump();
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.memory.borrow().capacity().is_some()
    }

    pub(super) fn break_off(&self, property: &'static str, text: String) {
        let at_us = self.now_us.get();
        let violation = Violation {
            property,
            text,
            at_us,
        };
        self.desk.borrow_mut().violations.push(violation);
    }

    /// Starts a node on what the last life left behind; with crashes in between, if the life has any in store. False if there is no
    /// point in going on.
    fn start(&self, life: &Life) -> bool {
        self.rot_before(life);
        let mut crashes = life.crash_in_recovery.iter();
        for _ in 0..STARTS_MAX {
            let memory = self.memory.borrow().clone();
            let crash = crashes.next();
            if let Some(call) = crash {
                memory.crash_at(*call);
            }
            let seed = self.random.borrow_mut().number();
            let disk = Watched::new(&memory, self.plan.pace, seed, self.flaw);
            let opened = Node::open(&disk, &self.node_plan(), self.flaw, self.now_us.get());
            self.note_calls(&disk);
            let error = match opened {
                Ok(node) if !memory.crashed() => return self.begin(node, disk, life),
                Ok(_) => None,
                Err(error) => Some(error),
            };
            if !self.may_try_again(&memory, &disk, error) {
                return false;
            }
        }
        self.break_off(
            "starts",
            format!("the node did not start in {STARTS_MAX} attempts"),
        );
        false
    }

    fn node_plan(&self) -> NodePlan {
        NodePlan {
            partitions: self.plan.partitions,
            resident_bytes_max: self.plan.resident_bytes_max,
            ..PLAN
        }
    }

    /// Why a start failed, and what to do about it.
    fn may_try_again(&self, memory: &Memory, disk: &Watched, error: Option<CannotOpen>) -> bool {
        let seed = self.random.borrow_mut().number();
        if memory.crashed() {
            self.desk.borrow_mut().hit("crashes during recovery");
            let outcome = *self.random.borrow_mut().pick(&Outcome::ALL);
            *self.memory.borrow_mut() = memory.restart(outcome, seed);
            return true;
        }
        let Some(error) = error else { return true };
        self.desk.borrow().trace.line(|| format!("no start: {error}"));
        let full = matches!(error, CannotOpen::Log(OpenError::Full { .. })) || disk.seen().full > 0;
        if full && self.is_bounded() {
            // Somebody makes room.
            self.heal();
        } else if disk.seen().broken == 0 {
            self.break_off("starts", format!("the node does not start: {error}"));
            return false;
        }
        let next = memory.kill();
        *self.memory.borrow_mut() = next;
        true
    }

    fn rot_before(&self, life: &Life) {
        let memory = self.memory.borrow();
        let random = &mut *self.random.borrow_mut();
        let desk = &mut *self.desk.borrow_mut();
        if life.rot_record
            && let Some(numbers) = rot::in_record(&memory, PLAN.segment_bytes, random)
        {
            desk.hit("bit rot in a record");
            desk.see(Event::Rotted(numbers));
        }
        if life.rot_checkpoint && rot::in_checkpoint(&memory, random) {
            desk.hit("bit rot in a checkpoint");
        }
    }

    /// A node has been recovered and begins to live.
    fn begin(&self, node: Node, disk: Watched, life: &Life) -> bool {
        let dropped = node.report.transactions_dropped as u64;
        self.desk
            .borrow()
            .trace
            .line(|| format!("started: {:?}", node.report));
        self.desk
            .borrow_mut()
            .coverage
            .add("transactions dropped by recovery", dropped);
        let core = node.core().clone();
        let memory = disk.memory().clone();
        *self.core.borrow_mut() = Some(core.clone());
        *self.disk.borrow_mut() = Some(disk);
        node.declare_guest();
        delays::declare(&core);
        core.pump();
        self.set_now(core.now_us());
        *self.node.borrow_mut() = Some(node);
        self.steps.set(0);
        self.fatal.set(false);
        self.tick_us.set(u64::MAX);
        self.upkeep_us.set(self.now_us.get() + self.plan.upkeep_us / 4);
        self.operator
            .borrow_mut()
            .begin(self.has_operator().then(|| self.now_us.get()));
        if let Some(call) = life.crash_call {
            memory.crash_at(memory.calls() + call);
        }
        if let Some(call) = life.broken_call {
            memory.fail_at(memory.calls() + call, Fault::Io);
        }
        true
    }

    /// Reads all queues; false if something was broken or the node died.
    fn audit(&self) -> bool {
        let core = self.core();
        if !self.plan.families.is_empty() {
            // Dead letters wait for room, and a reading sees only what has arrived.
            self.heal_now();
        }
        let whole = audit::run(&core, &mut self.desk.borrow_mut());
        self.check_balance();
        self.set_now(core.now_us());
        whole && !self.is_broken()
    }

    fn run_life(&self, life: &Life) {
        let (mut total, mut troubled) = (0, None);
        while self.steps.get() < life.steps && total < STEPS_MAX {
            total += 1;
            if self.core().is_dead() || self.is_broken() {
                return;
            }
            // Time may pass without a step, and trouble comes once.
            if troubled.replace(self.steps.get()) != Some(self.steps.get()) {
                self.trouble(life);
            }
            self.step(u64::MAX);
        }
    }

    /// What the life has in store for the disk at this step.
    fn trouble(&self, life: &Life) {
        let steps = self.steps.get();
        if let Some((from, bytes, lasts)) = life.full {
            let memory = self.memory_in_use();
            if steps >= from && steps < from + lasts && memory.capacity().is_none() {
                memory.set_capacity(Some(memory.used_bytes() + bytes));
            } else if steps >= from + lasts && memory.capacity().is_some() {
                memory.set_capacity(None);
            }
        }
        if life.siesta == Some(steps) {
            for agent in &self.agents {
                let agent = &mut *agent.borrow_mut();
                agent.next_us = agent.next_us.max(self.now_us.get()) + SIESTA_US;
            }
        }
        if life.rot_alive == Some(steps) {
            let memory = self.memory_in_use();
            let random = &mut *self.random.borrow_mut();
            if let Some(numbers) = rot::in_record(&memory, PLAN.segment_bytes, random) {
                let desk = &mut *self.desk.borrow_mut();
                desk.hit("bit rot in a record");
                desk.see(Event::Rotted(numbers));
            }
        }
    }

    fn memory_in_use(&self) -> Memory {
        let disk = self.disk.borrow();
        disk.as_ref()
            .map(|disk| disk.memory().clone())
            .expect("a life has begun")
    }

    /// Half of the steps are over, and a crash is in store for the upkeep.
    pub(super) fn arm_upkeep(&self) {
        let life = self.desk.borrow().book.life as usize;
        let Some(life) = self.plan.lives.get(life) else {
            return;
        };
        if self.steps.get() > life.steps / 2
            && let Some(call) = life.crash_in_upkeep
        {
            let memory = self.memory_in_use();
            memory.crash_at(memory.calls() + call);
        }
    }

    /// The process ends, in whatever way, and the disk is what the next start finds.
    fn end(&self, life: &Life) {
        let core = self.core();
        let memory = self.memory_in_use();
        let died = core.is_dead();
        let end = match (died, memory.crashed()) {
            // The power went in the middle of a call.
            (_, true) => match life.end {
                End::Power(outcome) => End::Power(outcome),
                _ => End::Power(Outcome::Sectors),
            },
            // The process has ended itself.
            (true, false) if life.end == End::Stop => End::Kill,
            _ => life.end,
        };
        if core.writer.borrow().is_syncing() {
            self.desk.borrow_mut().hit("crashes during a sync");
        }
        let orderly = end == End::Stop && self.stop();
        let end = if memory.crashed() && end == End::Stop {
            End::Power(Outcome::Prefix)
        } else {
            end
        };
        self.note_life(died && !memory.crashed());
        self.desk.borrow_mut().hit(end.kind());
        for agent in &self.agents {
            agent.borrow_mut().lose_node(&mut self.desk.borrow_mut());
        }
        let crash = self.crash(orderly);
        self.desk.borrow_mut().see(Event::Crashed(crash));
        drop(self.node.borrow_mut().take());
        *self.core.borrow_mut() = None;
        *self.disk.borrow_mut() = None;
        drop(core);
        let seed = self.random.borrow_mut().number();
        *self.memory.borrow_mut() = match end {
            End::Power(outcome) => memory.restart(outcome, seed),
            End::Kill | End::Stop => memory.kill(),
        };
        self.set_now(self.now_us.get() + 1_000_000);
    }

    /// The process is asked to stop. False if the disk failed meanwhile.
    fn stop(&self) -> bool {
        if let Some(node) = &mut *self.node.borrow_mut() {
            node.last_checkpoint();
        }
        self.core().close_log()
    }

    /// What the end of this life may cost.
    fn crash(&self, orderly: bool) -> Crash {
        let core = self.core();
        let writer = core.writer.borrow();
        let tally = writer.tally;
        Crash {
            settled_within_us: writer.settled_within_us(self.now_us.get()),
            waits_from_us: tally.waits_from_us,
            full_until_us: tally.full_until_us,
            orderly,
        }
    }

    /// What a queue has accepted is settled, discarded for a reason, or there.
    fn check_balance(&self) {
        if let Err(text) = self.core().validate() {
            self.break_off("balance", text);
        }
    }

    /// Adds what the node and its disk have been through to the coverage.
    fn note_life(&self, by_itself: bool) {
        self.check_balance();
        let core = self.core();
        let tally = core.writer.borrow().tally;
        let seen = core.disk.seen();
        let desk = &mut *self.desk.borrow_mut();
        let coverage = &mut desk.coverage;
        coverage.add("survivors written again", tally.rescues);
        coverage.add("transactions over several partitions", tally.shared_transactions);
        coverage.add("log marked while idle", tally.marks);
        coverage.add("rounds beside a long sync", tally.overtaking);
        coverage.add("syncs that ended before an older one", tally.overtaken);
        coverage.add("ENOSPC: jobs parked", tally.parked);
        coverage.add("ENOSPC: room again", tally.resumed);
        coverage.add("segments begun", seen.segments_begun);
        coverage.add("segments recycled", seen.segments_recycled);
        coverage.add("segments removed", seen.segments_removed);
        coverage.add("checkpoints", seen.checkpoints);
        let damaged = core
            .shared
            .counters
            .damaged
            .load(std::sync::atomic::Ordering::Relaxed);
        coverage.add("messages set aside as damaged", damaged);
        if seen.broken > 0 {
            coverage.hit(if by_itself {
                "EIO: the process ended"
            } else {
                "EIO: it went on"
            });
        }
        desk.trace.number(seen.calls.value());
    }

    fn note_calls(&self, disk: &Watched) {
        self.desk.borrow().trace.number(disk.seen().calls.value());
    }

    /// The history ends without a crash: everybody leaves, and what they held goes back.
    fn end_alive(&self) {
        let core = self.core();
        let memory = self.memory_in_use();
        memory.set_capacity(None);
        memory.crash_at(u64::MAX);
        if self.rests() {
            self.rest();
        }
        if self.is_broken() {
            return;
        }
        for agent in &self.agents {
            let (agent, desk) = (&mut *agent.borrow_mut(), &mut *self.desk.borrow_mut());
            if let Some(line) = &mut agent.line {
                line.connection.hang_up(false);
            }
            agent.give_up(desk, false);
            for (connection, _) in &mut agent.lingering {
                connection.hang_up(true);
            }
            agent.bury(desk);
        }
        core.pump();
        if let Some(node) = &*self.node.borrow() {
            node.prepare();
        }
        core.pump();
        self.set_now(core.now_us());
        self.note_life(core.is_dead());
        if !core.is_dead() {
            self.audit();
        }
        drop(self.node.borrow_mut().take());
        *self.core.borrow_mut() = None;
        *self.disk.borrow_mut() = None;
        drop(Rc::clone(&core));
    }
}
