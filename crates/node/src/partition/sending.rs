//! Messages that an operator sends elsewhere: takes a bounded step of them out of their queue, which owns them until they have arrived.

use everack_broker::ids::{Millis, Seq};
use everack_broker::partition::{Command, Cursor, Place, Run, SettleReason};

use super::Partition;
use super::staged::Staged;
use crate::dead_letters::{Mail, Transfer};
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::report::{MovedReport, Report};
use crate::request::{Order, SendOff};

/// Most messages of a step; they become durable in one write.
const STEP_MESSAGES: u64 = 1_000;
/// Bytes of a step, after which it ends; one message may go beyond.
const STEP_BYTES: u64 = 1 << 20;
/// Runs that are looked at for a step.
const STEP_RUNS: usize = 1_000;

/// What a step takes.
#[derive(Default)]
struct Step {
    runs: Vec<Run<Messages>>,
    messages: u64,
    bytes: u64,
    /// Where the next one begins, if this is not all.
    next: Option<Seq>,
}

impl Partition {
    pub(super) fn send_off(&mut self, send: SendOff, now: Millis, outbox: &mut Outbox) {
        let step = self.step(&send);
        let report = MovedReport {
            queue: send.queue,
            messages: step.messages,
            bytes: step.bytes,
            next: step.next,
            stayed: 0,
            refused: None,
        };
        let inquirer = send.inquirer;
        if send.preview || step.messages == 0 {
            return outbox.seldom().reports.push((inquirer, Report::Moved(report)));
        }
        for run in &step.runs {
            let off = Command::SendOff {
                queue: send.queue,
                store: send.store,
                first: run.first,
                end: run.end(),
            };
            self.machine.apply(off, now);
        }
        let Some(goal) = send.goal else {
            for run in &step.runs {
                let (first, count) = (run.first, u32::from(run.count()));
                self.bury(send.queue, first, count, SettleReason::Purged, now);
            }
            let report = Report::Moved(report);
            return if self.queues.get(&send.queue).is_some_and(|stage| stage.durable) {
                self.staged.push(Staged::Told { inquirer, report });
            } else {
                outbox.seldom().reports.push((inquirer, report));
            };
        };
        let followed = step.runs.iter();
        let followed = followed.map(|run| self.followed(send.queue, run.first, u32::from(run.count())));
        let traced = followed.flatten().collect();
        let runs = step.runs.into_iter().map(|run| {
            let pin = run.content.is_none().then(|| self.space.pin(run.location));
            (run, pin)
        });
        let transfer = Transfer {
            partition: self.id,
            queue: send.queue,
            runs: runs.collect(),
            goal,
            order: Order { inquirer, report },
            traced,
        };
        outbox.seldom().dead.push(Mail::Sent(transfer));
    }

    /// What is there of the ranges, as far as one step goes.
    fn step(&self, send: &SendOff) -> Step {
        let place = send.store.map_or(Place::Ready, Place::Aside);
        let (messages_max, mut step) = (send.most.clamp(1, STEP_MESSAGES), Step::default());
        for &(first, end) in &send.ranges {
            let from = Cursor::message(first);
            let (runs, next) = self.machine.look(send.queue, place, from, STEP_RUNS);
            for run in runs.into_iter().map(|looked| looked.run) {
                if run.first >= end {
                    break;
                }
                let wanted = (end.0 - run.first.0).min(u64::from(run.count()));
                let count = wanted.min(step.room(messages_max, &run));
                step.take(&run, count);
                if count < wanted {
                    step.next = Some(run.first.plus(count));
                    return step;
                }
            }
            if let Some(next) = next.filter(|next| next.number < end.0) {
                step.next = Some(Seq(next.number));
                return step;
            }
        }
        step
    }
}

impl Step {
    /// How many messages of a run still fit, judged by their average; the first one always does.
    fn room(&self, messages_max: u64, run: &Run<Messages>) -> u64 {
        if self.messages == 0 {
            return self.fitting(run).clamp(1, messages_max);
        }
        if self.runs.len() >= STEP_RUNS {
            return 0;
        }
        self.fitting(run).min(messages_max - self.messages)
    }

    fn fitting(&self, run: &Run<Messages>) -> u64 {
        let each = (u64::from(run.bytes) / u64::from(run.count())).max(1);
        STEP_BYTES.saturating_sub(self.bytes) / each
    }

    fn take(&mut self, run: &Run<Messages>, count: u64) {
        if count > 0 {
            let taken = run.shortened(count as u16);
            self.messages += count;
            self.bytes += u64::from(taken.bytes);
            self.runs.push(taken);
        }
    }
}
