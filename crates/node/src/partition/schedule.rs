//! What operators ask of messages that wait for their time: which are there, and that they are called off.

use everack_broker::ids::{Millis, QueueId};
use everack_broker::partition::Command;

use super::Partition;
use super::staged::Staged;
use crate::outbox::Outbox;
use crate::report::{Report, ScheduledMessages, ScheduledReport, UnscheduledReport};
use crate::request::{ListScheduled, Unschedule};

/// Runs of waiting messages that are told of at once.
const RUNS_MAX: usize = 1_000;

impl Partition {
    /// Messages that wait for their time in a queue, or are on their way from it.
    pub fn waiting(&self, queue: QueueId) -> u64 {
        self.machine.scheduled_count(queue)
    }

    pub(super) fn list_scheduled(&mut self, list: ListScheduled, outbox: &mut Outbox) {
        let ListScheduled {
            queue,
            from,
            most,
            inquirer,
        } = list;
        let (runs, next) = self.machine.scheduled(queue, from, most.min(RUNS_MAX));
        let runs = runs.into_iter().map(|scheduled| ScheduledMessages {
            at: scheduled.at,
            pin: self.space.pin(scheduled.run.location),
            run: scheduled.run,
        });
        let report = ScheduledReport {
            queue,
            runs: runs.collect(),
            next,
        };
        outbox
            .seldom()
            .reports
            .push((inquirer, Report::Scheduled(report)));
    }

    /// Its records go to the log when the round ends; who has asked is told once they are durable: what was called off does not come, whatever
    /// happens.
    pub(super) fn unschedule(&mut self, unschedule: Unschedule, now: Millis, outbox: &mut Outbox) {
        let Unschedule {
            queue,
            first,
            end,
            inquirer,
        } = unschedule;
        let before = self.waiting(queue);
        self.machine.apply(Command::Unschedule { queue, first, end }, now);
        let messages = before - self.waiting(queue);
        let report = Report::Unscheduled(UnscheduledReport { queue, messages });
        if messages == 0 {
            outbox.seldom().reports.push((inquirer, report));
        } else {
            self.staged.push(Staged::Told { inquirer, report });
        }
    }
}
