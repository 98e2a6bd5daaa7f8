//! Coming back after a restart: queues as a checkpoint has them, then what the log says since.

use crate::ids::{QueueId, Seq};

use super::Partition;
use super::dead_list::Death;
use super::lifecycle::{Kept, Lifecycle};
use super::marks::Marks;
use super::parking::Parked;
use super::query::LiveRun;
use super::queue::{Queue, Returned};
use super::rules::Rules;
use super::run::{Content, Run};
use super::settlement;
use super::spans::Keep;

/// A queue as a checkpoint has it, without its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its id.
    pub queue: QueueId,
    /// See [`super::Command::CreateQueue`].
    pub durable: bool,
    /// See [`super::Command::CreateQueue`].
    pub auto_delete: bool,
    /// See [`super::Command::CreateQueue`].
    pub rules: Box<Rules>,
    /// Above all numbers that were ever given.
    pub next_seq: Seq,
}

impl<C: Content> Partition<C> {
    /// Brings a queue back with its live messages, in rising order of their numbers. They count as accepted.
    ///
    /// Then replay what came later in the log: `Enqueue`, `ReplaySettled`, `ReplayReturned`, `Relocate`,
    /// `Quarantine`; draw the effects now and then with `finish`; end with [`Partition::recovered`].
    pub fn restore_queue(&mut self, restored: Restored, kept: Kept, runs: impl IntoIterator<Item = LiveRun>) {
        let Restored {
            queue: id,
            durable,
            auto_delete,
            rules,
            next_seq,
        } = restored;
        assert!(
            !self.queue_slots.contains_key(&id),
            "queue {id} is restored twice"
        );
        let mut rejected = Vec::new();
        let mut queue = Queue::new(id, durable, auto_delete, &rules);
        if queue.lifecycle.is_some() || !kept.deadlines.is_empty() {
            let lifecycle = queue
                .lifecycle
                .get_or_insert_with(|| Box::new(Lifecycle::new(rules.terms)));
            (lifecycle.deadlines, lifecycle.body_sizes) = (kept.deadlines, kept.body_sizes);
        }
        let mut failed = Vec::new();
        for LiveRun {
            first,
            location,
            bytes,
            from,
            to,
            marks,
            aside,
            rejected: was_rejected,
        } in runs
        {
            let run = Run {
                first,
                location,
                content: None,
                bytes,
                from,
                to,
            };
            queue.counters.enter(u64::from(run.count()), u64::from(bytes));
            if let Some(lifecycle) = &mut queue.lifecycle {
                lifecycle.measure(&run);
            }
            match aside {
                _ if was_rejected => rejected.push((run, marks)),
                Some(why) => queue.set_aside(Parked { run, marks, why }),
                None if rules.terms.scheduled => queue.put_on_schedule(run, marks),
                None if queue.gives_up(marks) => failed.push((run, marks)),
                None => {
                    self.totals.add_ready(&run);
                    queue.put(run, marks);
                }
            }
        }
        queue.next_seq = queue.next_seq.max(next_seq);
        queue.fresh = 0;
        let slot = self.queues.insert(queue);
        self.queue_slots.insert(id, slot);
        for (run, marks) in rejected {
            if self.queues[slot].dead_letters() {
                self.die(slot, run, marks, Death::Rejected);
            } else {
                // Its dead-letter exchange went, and nobody has given these up.
                self.park(slot, run, marks, Death::Rejected);
            }
        }
        // They had died of it, and have not gone anywhere yet.
        for (run, marks) in failed {
            self.limit_reached(slot, run, marks);
        }
    }

    /// The replay is over. Everything that is there may have been delivered before, and is flagged so.
    pub fn recovered(&mut self) {
        let mut slots: Vec<_> = self.queue_slots.values().copied().collect();
        // The same order in every run.
        slots.sort_unstable();
        for slot in slots {
            let queue = &mut self.queues[slot];
            queue.redelivered_below = queue.next_seq;
            queue.counters.begin();
            if queue.lifecycle.is_some() {
                self.touch(slot);
            }
        }
        self.totals.deleted.begin();
    }

    pub(super) fn replay_returned(&mut self, id: QueueId, first: Seq, count: u32) {
        let Some(&slot) = self.queue_slots.get(&id) else {
            return;
        };
        let (start, end) = (first.0, first.plus(u64::from(count)).0);
        let queue = &mut self.queues[slot];
        let ranks: Vec<i16> = queue.lists().map(|(rank, _, _)| rank).collect();
        let mut back = Vec::new();
        for (rank, (main, returned)) in ranks.into_iter().zip(queue.lists_mut()) {
            let mut came_back = |run, marks: Marks| {
                back.push(Returned {
                    run,
                    marks: marks.returned(false),
                });
            };
            let taken = |Returned { run, marks }| came_back(run, marks);
            returned.take(start, end, Keep::Content, taken);
            main.take(start, end, Keep::Content, |run| {
                came_back(run, Marks::ranked(rank))
            });
        }
        for Returned { run, marks } in back {
            queue.counters.returned += u64::from(run.count());
            settlement::tell_returned(&mut self.effects, id, &run, marks, false);
            queue.put_back(run, marks);
        }
        queue.tidy();
    }
}
