//! Dead messages on their way from one queue to others: each partition concerned frames its part of the move, and the last one
//! closes it, as with a transaction. A part that cannot be done keeps all of them from happening.

use everack_broker::ids::{Millis, QueueId, Seq};
use everack_broker::partition::{Command, SettleReason};

use super::Partition;
use super::admission::{self, Taken};
use super::numbering::{Full, Numbered};
use super::staged::{Framing, Staged, StagedJob};
use crate::append::{JobId, Origin};
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::record::{self, Range};
use crate::report::Unmoved;
use crate::request::{MovePart, Order, Request, RoutedRun};
use crate::transaction::Contribution;

impl Partition {
    /// Whether a queue has been deleted since the messages were routed: they still belong to their source, which has them routed again.
    fn lacks_targets(&self, runs: &[RoutedRun]) -> bool {
        let mut targets = runs.iter().flat_map(|run| run.route.targets.iter());
        targets.any(|target| target.partition == self.id && !self.queues.contains_key(&target.queue))
    }

    /// Frames this partition's part of a move, or refuses it.
    pub(super) fn take_part(&mut self, part: MovePart, now: Millis, outbox: &mut Outbox) {
        let gone = !part
            .source
            .iter()
            .all(|range| self.machine.is_dying(range.queue, range.first, range.count));
        let why = if gone {
            Some(Unmoved::Gone)
        } else if self.lacks_targets(&part.runs) {
            Some(Unmoved::NoWay)
        } else {
            self.is_full_for(&part.messages, &part.runs)
                .then_some(Unmoved::NoRoom)
        };
        if let Some(why) = why {
            if let Some(order) = part.order {
                order.refused(why).tell(outbox);
            }
            for Range { queue, first, count } in part.source {
                self.machine.apply(Command::Keep { queue, first, count }, now);
            }
            let contribution = part.assembly.refuse();
            return self.contributed(contribution, outbox);
        }
        let mut numbered = Numbered::default();
        // What has died has lost its expiration; what was held back has it still, and it counts from now.
        let expires = admission::expires(&part.messages);
        for run in part.runs.iter() {
            // There is room for all of it, as was just seen.
            self.number(&part.messages, run, expires, Full::Refuses, now, &mut numbered);
        }
        assert!(
            numbered.refused.is_empty(),
            "a queue that had room for a move has none for a part of it"
        );
        let job = self.next_job();
        let mut staged = Vec::with_capacity(3);
        let (id, transaction) = (self.id, Some(part.assembly.transaction));
        let durable_source: Vec<Range> = part
            .source
            .iter()
            .copied()
            .filter(|range| self.queues.get(&range.queue).is_some_and(|stage| stage.durable))
            .collect();
        let contribution = part.assembly.contribute(Origin::Partition(id), job, |frames| {
            let mut framing = Framing::within(frames, &mut staged, id, transaction);
            framing.enter_together(&part.messages, numbered, part.traced);
            if !durable_source.is_empty() {
                record::encode_settled(frames, id, transaction, &durable_source);
            }
        });
        let (source, charge) = (part.source, part.charge);
        let order = part.order.filter(|_| !source.is_empty());
        staged.push(Staged::Moved {
            source,
            charge,
            order,
        });
        self.jobs.push_back(StagedJob { job, staged });
        self.contributed(contribution, outbox);
    }

    /// Whether a queue here that refuses what it has no room for would have to refuse any of these.
    fn is_full_for(&self, messages: &Messages, runs: &[RoutedRun]) -> bool {
        let mut wanted: Vec<(QueueId, Taken)> = Vec::new();
        for run in runs {
            let targets = run
                .route
                .targets
                .iter()
                .filter(|target| target.partition == self.id);
            for target in targets {
                let taken = Taken::of(messages, run.from, run.to);
                match wanted.iter_mut().find(|(queue, _)| *queue == target.queue) {
                    Some((_, sum)) => sum.add(taken),
                    None => wanted.push((target.queue, taken)),
                }
            }
        }
        wanted.into_iter().any(|(queue, taken)| {
            let stage = self.queues.get(&queue);
            let admission = stage.and_then(|stage| stage.admission.as_ref());
            let admission = admission.filter(|admission| admission.terms.refuses());
            admission
                .is_some_and(|admission| !admission.has_room_for(taken, Taken::ready(&self.machine, queue)))
        })
    }

    /// Whoever leaves the last part of an assembly carries it on.
    pub(super) fn contributed(&mut self, contribution: Contribution, outbox: &mut Outbox) {
        match contribution {
            Contribution::Waits => (),
            Contribution::Whole(job) => outbox.jobs.push(job),
            Contribution::Abandoned(shares) => {
                for share in shares {
                    let Origin::Partition(partition) = share.origin else {
                        unreachable!("the catalog takes no part in moves");
                    };
                    outbox
                        .requests
                        .push((partition, Request::Abandoned { job: share.job }));
                }
            }
        }
    }

    /// Another partition refused its part: none of it happens.
    pub(super) fn abandoned(&mut self, job: JobId, now: Millis) {
        let index = self.jobs.iter().position(|pending| pending.job == job);
        let index = index.unwrap_or_else(|| panic!("job {} was abandoned but never handed out", job.0));
        let abandoned = self.jobs.remove(index).expect("the index was just found");
        for staged in abandoned.staged {
            match staged {
                Staged::Publish {
                    extras: Some(extras), ..
                } => self.release_room(&extras.reserved),
                Staged::Moved { source, .. } => {
                    for Range { queue, first, count } in source {
                        self.machine.apply(Command::Keep { queue, first, count }, now);
                    }
                }
                _ => (),
            }
        }
    }

    /// The move is durable: the source forgets what has gone.
    pub(super) fn moved(
        &mut self,
        source: Vec<Range>,
        order: Option<Order>,
        now: Millis,
        outbox: &mut Outbox,
    ) {
        let reason = match order {
            Some(_) => SettleReason::Moved,
            None => SettleReason::DeadLettered,
        };
        for Range { queue, first, count } in source {
            self.bury(queue, first, count, reason, now);
        }
        if let Some(order) = order {
            order.tell(outbox);
        }
    }

    /// Dead messages have arrived elsewhere, or go nowhere: their queue is rid of them.
    pub(super) fn bury(&mut self, queue: QueueId, first: Seq, count: u32, reason: SettleReason, now: Millis) {
        let bury = Command::Bury {
            queue,
            first,
            count,
            reason,
        };
        self.machine.apply(bury, now);
    }

    /// Deadlines take effect before the messages that they are about.
    pub(super) fn set_deadlines(&mut self, deadlines: &[admission::Deadline], now: Millis) {
        for deadline in deadlines {
            self.machine.apply(
                Command::Expire {
                    queue: deadline.queue,
                    first: deadline.first,
                    count: deadline.count,
                    at: deadline.at,
                },
                now,
            );
        }
    }
}
