//! What operators ask of parked messages: which are there, and that they go back or away.

use everack_broker::ids::Millis;
use everack_broker::partition::Command;

use super::Partition;
use crate::outbox::Outbox;
use crate::report::{ParkedMessages, ParkedReport, Report, UnparkedReport};
use crate::request::{ListParked, Unpark};

/// Runs of parked messages that are told of at once.
const RUNS_MAX: usize = 1_000;

impl Partition {
    pub(super) fn list_parked(&mut self, list: ListParked, outbox: &mut Outbox) {
        let ListParked {
            queue,
            first,
            most,
            inquirer,
        } = list;
        let (runs, next) = self.machine.parked(queue, first, most.min(RUNS_MAX));
        let runs = runs.into_iter().map(|parked| {
            let run = parked.run;
            let pin = run.content.is_none().then(|| self.space.pin(run.location));
            ParkedMessages {
                run,
                marks: parked.marks,
                pin,
            }
        });
        let report = ParkedReport {
            queue,
            runs: runs.collect(),
            next,
        };
        outbox.seldom().reports.push((inquirer, Report::Parked(report)));
    }

    pub(super) fn unpark(&mut self, unpark: Unpark, now: Millis, outbox: &mut Outbox) {
        let Unpark {
            queue,
            first,
            end,
            fate,
            inquirer,
        } = unpark;
        let before = self.machine.parked_count(queue);
        self.machine.apply(
            Command::Unpark {
                queue,
                first,
                end,
                fate,
            },
            now,
        );
        let report = UnparkedReport {
            queue,
            messages: before - self.machine.parked_count(queue),
        };
        outbox.seldom().reports.push((inquirer, Report::Unparked(report)));
    }
}
