//! Messages get their numbers: which go through the log, which do not, which find no room, and when they expire.

use everack_broker::ids::{Location, Millis, PartitionId, QueueId, Seq};
use everack_broker::partition::{Death, Run};

use super::Partition;
use super::admission::{self, Deadline, Reserved, Taken};
use crate::dead_letters::DeadLetter;
use crate::messages::Messages;
use crate::record::Target;
use crate::request::RoutedRun;

/// What became of some messages; a buffer that is used again.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    /// Through the log.
    pub(super) durable: Vec<Target>,
    /// Into transient queues.
    pub(super) transient: Vec<Target>,
    /// Those of the durable ones that expire.
    pub(super) deadlines: Vec<Deadline>,
    /// Those of the transient ones that expire.
    pub(super) fleeting: Vec<Deadline>,
    /// The room that they take up before they are in their queues.
    pub(super) reserved: Vec<Reserved>,
    /// Spans of the batch that a queue has no room for, in no order and perhaps more than once.
    pub(super) refused: Vec<(u16, u16)>,
    /// Those among them that go through the dead-letter exchange of the queue.
    pub(super) dead: Vec<DeadLetter>,
}

/// Whether a queue that is full may say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// What finds no room is refused.
    Refuses,
    /// Everything is taken: parts of a transaction cannot be left out.
    Takes,
}

impl Numbered {
    pub(super) fn clear(&mut self) {
        self.durable.clear();
        self.transient.clear();
        self.deadlines.clear();
        self.fleeting.clear();
        self.reserved.clear();
        self.refused.clear();
        self.dead.clear();
    }
}

impl Partition {
    /// Gives the messages of a run their numbers in each queue of this partition.
    pub(super) fn number(
        &mut self,
        messages: &Messages,
        run: &RoutedRun,
        expires: bool,
        full: Full,
        now: Millis,
        numbered: &mut Numbered,
    ) {
        for target in run.route.targets.iter() {
            if target.partition != self.id {
                continue;
            }
            // A queue that was deleted after the message was routed: the delete came first.
            let Some(stage) = self.queues.get_mut(&target.queue) else {
                continue;
            };
            if stage.admission.is_some() && full == Full::Refuses {
                self.number_where_there_is_room(messages, run, target.queue, now, numbered);
                continue;
            }
            let first = stage.next;
            stage.next = first.plus(u64::from(run.to - run.from));
            let (kept, deadlines) = if stage.durable {
                (&mut numbered.durable, &mut numbered.deadlines)
            } else {
                (&mut numbered.transient, &mut numbered.fleeting)
            };
            kept.push(Target {
                queue: target.queue,
                first,
                from: run.from,
                to: run.to,
            });
            if expires || stage.admission.is_some() {
                let terms = stage.admission.as_ref().map(|admission| &admission.terms);
                let (span, queue) = ((run.from, run.to), (target.queue, first));
                admission::deadlines(messages, span, queue, terms, now, deadlines);
            }
        }
    }

    #[inline(never)]
    fn number_where_there_is_room(
        &mut self,
        messages: &Messages,
        run: &RoutedRun,
        queue: QueueId,
        now: Millis,
        numbered: &mut Numbered,
    ) {
        let ready = Taken::ready(&self.machine, queue);
        let id = self.id;
        let Some(stage) = self.queues.get_mut(&queue) else {
            return;
        };
        let (durable, next) = (stage.durable, &mut stage.next);
        let Some(admission) = &mut stage.admission else {
            return;
        };
        let refuses = admission.terms.refuses();
        let spans = if refuses {
            admission.admitted(messages, run.from, run.to, ready)
        } else {
            vec![(run.from, run.to)]
        };
        let mut behind = run.from;
        for &(from, to) in spans.iter().chain([&(run.to, run.to)]) {
            if behind < from {
                numbered.refused.push((behind, from));
                if admission.dead_letters_refused() {
                    numbered
                        .dead
                        .push(refused_letter(id, queue, messages, behind, from));
                }
            }
            behind = to;
            if from == to {
                continue;
            }
            let first = *next;
            *next = first.plus(u64::from(to - from));
            let (kept, deadlines) = if durable {
                (&mut numbered.durable, &mut numbered.deadlines)
            } else {
                (&mut numbered.transient, &mut numbered.fleeting)
            };
            kept.push(Target {
                queue,
                first,
                from,
                to,
            });
            if refuses {
                let taken = Taken::of(messages, from, to);
                admission.on_the_way.add(taken);
                numbered.reserved.push(Reserved { queue, taken });
            }
            let terms = Some(&admission.terms);
            admission::deadlines(messages, (from, to), (queue, first), terms, now, deadlines);
        }
    }

    /// Messages have entered their queues, or never will: the room that they took up on their way is free again.
    pub(super) fn release_room(&mut self, reserved: &[Reserved]) {
        for Reserved { queue, taken } in reserved {
            let stage = self.queues.get_mut(queue);
            if let Some(admission) = stage.and_then(|stage| stage.admission.as_mut()) {
                admission.on_the_way.subtract(*taken);
            }
        }
    }
}

/// What a full queue refuses was never its own: it is dead-lettered out of memory.
fn refused_letter(
    partition: PartitionId,
    queue: QueueId,
    messages: &Messages,
    from: u16,
    to: u16,
) -> DeadLetter {
    DeadLetter {
        partition,
        queue,
        owned: false,
        death: Death::Overflow,
        run: Run {
            first: Seq(0),
            location: Location::NOWHERE,
            content: Some(messages.clone()),
            bytes: 0,
            from,
            to,
        },
        pin: None,
        charge: None,
        traced: Vec::new(),
    }
}
