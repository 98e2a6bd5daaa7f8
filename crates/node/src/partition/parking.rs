//! What operators ask of messages that are set aside: which are there, and that they go back or away.

use everack_broker::ids::{Millis, Seq};
use everack_broker::partition::Command;

use super::Partition;
use super::staged::Staged;
use crate::outbox::Outbox;
use crate::report::{ListedMessages, ListedReport, Report, UnparkedReport};
use crate::request::{List, Unpark};

/// Runs of messages that are told of, or moved, at once.
const RUNS_MAX: usize = 1_000;

impl Partition {
    pub(super) fn list(&mut self, list: List, outbox: &mut Outbox) {
        let List {
            queue,
            place,
            from,
            most,
            inquirer,
        } = list;
        let (runs, next) = self.machine.look(queue, place, from, most.min(RUNS_MAX));
        let runs = runs.into_iter().map(|looked| {
            let run = &looked.run;
            let kept = self.machine.kept(queue, run.first, run.end());
            let deadlines = kept.deadlines.iter();
            let pin = run.content.is_none().then(|| self.space.pin(run.location));
            ListedMessages {
                deadlines: deadlines
                    .map(|(low, high, at)| (Seq(low), Seq(high), at))
                    .collect(),
                looked,
                pin,
            }
        });
        let report = ListedReport {
            queue,
            runs: runs.collect(),
            next,
        };
        outbox.seldom().reports.push((inquirer, Report::Listed(report)));
    }

    /// Does what was ordered, as far as one go reaches. Its record goes to the log when the round ends; whoever has asked is told when
    /// that is durable, so that what was answered is not taken back by a crash.
    pub(super) fn unpark(&mut self, unpark: Unpark, now: Millis, outbox: &mut Outbox) {
        let Unpark {
            queue,
            store,
            first,
            end,
            fate,
            preview,
            inquirer,
        } = unpark;
        let weighed = self.machine.weigh(queue, store, first, end, fate, RUNS_MAX);
        let report = Report::Unparked(UnparkedReport { queue, weighed });
        if preview || weighed.messages == 0 {
            return outbox.seldom().reports.push((inquirer, report));
        }
        let command = Command::Unpark {
            queue,
            store,
            first,
            end: weighed.end,
            fate,
        };
        self.machine.apply(command, now);
        if self.queues.get(&queue).is_some_and(|stage| stage.durable) {
            self.staged.push(Staged::Told { inquirer, report });
        } else {
            outbox.seldom().reports.push((inquirer, report));
        }
    }
}
