//! An operator who sends messages from one queue of a family to another, a few at a time: in one write each, or not at all.

use std::sync::Arc;

use everack_broker::catalog::Queue;
use everack_broker::ids::Seq;
use everack_node::report::{Inquirer, MovedReport, Report};
use everack_node::request::{Goal, Request, SendOff};
use parking_lot::Mutex;

use super::World;
use crate::book::{Event, Name, family};
use crate::node::Core;

/// Most messages of an order.
const MESSAGES_MAX: u64 = 8;
/// How long an operator waits between two orders, at most, in microseconds.
const PAUSE_US: u64 = 3_000;

/// Where an operator stands.
#[derive(Default)]
pub(super) struct Operator {
    /// When he gives his next order.
    pub(super) next_us: u64,
    /// The order that he waits for, if it is not over: somebody else holds it as well then.
    waits_for: Option<Arc<Answer>>,
}

/// What becomes of an order.
#[derive(Debug, Default)]
struct Answer(Mutex<Option<MovedReport>>);

impl Inquirer for Answer {
    fn told(&self, report: Report) {
        if let Report::Moved(report) = report {
            *self.0.lock() = Some(report);
        }
    }
}

impl Operator {
    /// A life begins, in which he has something to do from this moment on, or nothing. Whoever was to answer is gone.
    pub(super) fn begin(&mut self, at_us: Option<u64>) {
        self.waits_for = None;
        self.next_us = at_us.unwrap_or(u64::MAX);
    }
}

impl World {
    /// Whether there is anything that an operator could order.
    pub(super) fn has_operator(&self) -> bool {
        self.plan.families.iter().any(|name| sent_to(name).is_some())
    }

    /// Gives the next order, once the last one is over.
    pub(super) fn order(&self) {
        let operator = &mut *self.operator.borrow_mut();
        let random = &mut *self.random.borrow_mut();
        operator.next_us = self.now_us.get() + random.between(PAUSE_US / 10, PAUSE_US);
        if let Some(answer) = operator
            .waits_for
            .take_if(|answer| Arc::strong_count(answer) == 1)
        {
            self.note(answer.0.lock().take());
        }
        let ways: Vec<_> = self
            .plan
            .families
            .iter()
            .filter_map(|name| Some((*name, sent_to(name)?)))
            .collect();
        let (from, to) = *random.pick(&ways);
        let core = self.core();
        let (Some(source), Some(target)) = (queue(&core, from), queue(&core, to)) else {
            return;
        };
        if operator.waits_for.is_some() {
            return;
        }
        let answer = Arc::new(Answer::default());
        operator.waits_for = Some(answer.clone());
        self.desk.borrow_mut().see(Event::Ordered(Name::from(from)));
        let send = SendOff {
            queue: source.id,
            store: None,
            ranges: vec![(Seq(0), Seq(u64::MAX))],
            most: random.between(1, MESSAGES_MAX),
            goal: Some(Goal::Queue(target.id)),
            preview: false,
            inquirer: answer,
        };
        core.post(usize::from(source.partition.0), Request::SendOff(send));
    }

    fn note(&self, report: Option<MovedReport>) {
        let Some(report) = report else { return };
        let coverage = &mut self.desk.borrow_mut().coverage;
        coverage.add("messages sent elsewhere by order", report.messages);
        coverage.add("messages that stayed in spite of an order", report.stayed);
    }
}

fn sent_to(name: &str) -> Option<&'static str> {
    family::place(name)?.sent_to
}

fn queue(core: &Core, name: &str) -> Option<Arc<Queue>> {
    let snapshot = core.shared.snapshot();
    let vhost = snapshot.vhost(b"/")?;
    vhost.queue(name.as_bytes()).cloned()
}
