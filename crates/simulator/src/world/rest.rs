//! The end of a history in which nobody does anything any more but consume and acknowledge, and the disk gives no more trouble: whatever
//! somebody consumes has to come to him. A wake-up that was lost shows here.

use std::sync::Arc;

use everack_broker::ids::QueueId;
use everack_broker::partition::Depth;
use everack_node::report::{Inquirer, Report};
use everack_node::request::Request;
use parking_lot::Mutex;

use super::World;
use super::agent::{Agent, ChanState, Line, Op, Phase};
use super::desk::Desk;
use crate::book::{Name, family};
use crate::random::Random;

/// For so long nothing is delivered and nothing written, and then nothing is to come, in microseconds.
const STILL_US: u64 = 1_500_000;
/// So long without a delivery the disk may be at work; then it does not come to an end, in microseconds.
const SILENCE_US_MAX: u64 = 300_000_000;
/// Deliveries at rest for each message there ever was; more, and something goes round for ever.
const DELIVERIES_MAX: u64 = 10;
/// How often a client at rest looks at what it has, at most, in microseconds.
const PAUSE_US: u64 = 6_000;
/// Consumers that each channel has at rest.
const CONSUMERS: usize = 2;

impl World {
    /// Whether a history comes to rest before its last reading. Nothing is left then, so where the oldest have to make room it mostly does
    /// not: what everybody holds comes back at once when they leave, and may be too much.
    pub(super) fn rests(&self) -> bool {
        let mut heads = self.plan.families.iter().filter_map(|name| family::place(name));
        let drops = heads.any(|head| head.drops() && head.messages_max.is_some());
        !drops || self.random.borrow_mut().once_in(3)
    }

    /// Lets everybody consume and acknowledge until nothing comes any more, and looks whether anything should.
    pub(super) fn rest(&self) {
        for agent in &self.agents {
            agent.borrow_mut().rests = true;
        }
        self.operator.borrow_mut().begin(None);
        let messages = self.desk.borrow().book.messages.len() as u64;
        let delivered_max = self.delivered() + DELIVERIES_MAX * messages;
        let (mut last_us, mut stalled) = (self.now_us.get(), None);
        // Many messages, one a transaction, on a slow disk: that takes its time.
        while self.delivered() <= delivered_max && self.now_us.get() < last_us + SILENCE_US_MAX {
            let before = self.delivered();
            self.pass(STILL_US);
            if self.core().is_dead() || self.is_broken() {
                return;
            }
            if self.delivered() > before {
                last_us = self.now_us.get();
            }
            if self.delivered() > before || !self.core().writer.borrow().is_idle() {
                stalled = None;
                continue;
            }
            // What was on its way a moment ago has come by the second look.
            match (stalled, self.stalled()) {
                (_, None) => return self.desk.borrow_mut().hit("histories that came to rest"),
                (None, found) => stalled = found,
                (Some(_), Some(text)) => return self.break_off("stalled", text),
            }
        }
        self.break_off("stalled", "it never came to rest".to_owned());
    }

    fn pass(&self, micros: u64) {
        let until = self.now_us.get() + micros;
        while self.now_us.get() < until && !self.core().is_dead() && !self.is_broken() {
            self.step(until);
        }
    }

    fn delivered(&self) -> u64 {
        self.desk.borrow().coverage.count("messages delivered")
    }

    /// A queue that has messages for consumers who could take them.
    fn stalled(&self) -> Option<String> {
        let names: Vec<Name> = self.desk.borrow().book.queues.keys().cloned().collect();
        let heirs = |name: &Name| {
            let places = family::places(name).filter(|place| family::is_heir(place.name));
            places.map(|place| Name::from(place.name)).collect::<Vec<_>>()
        };
        let places = names
            .iter()
            .flat_map(|name| [vec![name.clone()], heirs(name)].concat());
        let mut waiting = places.filter_map(|name| Some((self.depth(&name)?, name)));
        let (depth, name) = waiting.find(|(depth, _)| depth.ready > 0 && depth.consumers > 0)?;
        Some(format!(
            "{name} has {} messages ready, {} in hand and {} consumers, and nothing moves",
            depth.ready, depth.unsettled, depth.consumers
        ))
    }

    /// What a queue says of itself; none if it is not there.
    fn depth(&self, name: &Name) -> Option<Depth> {
        let core = self.core();
        let snapshot = core.shared.snapshot();
        let queue = snapshot.vhost(b"/")?.queue(name.as_bytes())?.clone();
        let inquirer = Arc::new(Ask::default());
        let partition = usize::from(queue.partition.0);
        let report = Request::Report {
            queues: vec![queue.id],
            inquirer: inquirer.clone(),
        };
        core.post(partition, report);
        core.run_partition(partition);
        let told = inquirer.0.lock().take();
        told.map(|(_, depth)| depth)
    }
}

/// Hears what one queue says.
#[derive(Debug, Default)]
struct Ask(Mutex<Option<(QueueId, Depth)>>);

impl Inquirer for Ask {
    fn told(&self, report: Report) {
        if let Report::Partition(report) = report {
            *self.0.lock() = report.queues.into_iter().next();
        }
    }
}

impl Agent {
    /// Acknowledges what it has, ends transactions, and consumes.
    pub(super) fn wind_up(&mut self, desk: &mut Desk) {
        let Some(line) = &mut self.line else { return };
        if line.phase != Phase::Open {
            return;
        }
        for index in 0..line.channels.len() {
            let chan = &line.channels[index];
            let undecided = chan
                .awaiting
                .iter()
                .any(|op| matches!(op, Op::Recover | Op::Rollback(_) | Op::Commit(_)));
            match chan.state {
                ChanState::Closed => line.open_channel(index),
                ChanState::Open if !undecided => line.wind_up(index, &mut self.random, desk),
                _ => (),
            }
        }
    }

    /// When it looks again.
    pub(super) fn rest_us(&mut self) -> u64 {
        self.random.between(PAUSE_US / 3, PAUSE_US)
    }
}

impl Line {
    fn wind_up(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        self.acknowledge_all(index, desk);
        let chan = &self.channels[index];
        if !chan.awaiting.is_empty() {
            return;
        }
        if chan.transaction.is_some() {
            self.commit(index, random, desk);
        } else if chan.consumers.len() < CONSUMERS {
            if self.channels[index].may_be_limited() && random.once_in(2) {
                self.limit(index, random, desk);
            }
            self.consume(index, random, desk);
        }
    }
}
