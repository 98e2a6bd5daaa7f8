//! One partition: the queue machine, and the pipeline that puts the log in front of it.
//!
//! ```text
//! Request::Publish ──> number the messages ──> frame a record ──> job ──> (disk) ──> Request::Committed
//!                                                                                      │
//!            Notice::Confirm, Notice::Deliver <── finish <── Command::Enqueue <────────┘
//! ```
//!
//! A durable queue sees a message only once it is durable: it is confirmed and delivered from there on, never before. A
//! transient queue sees it at once. Settlements change the queue at once and are logged behind it; nobody waits for them.
//!
//! The machine is passive. Its driver calls [`Partition::handle`] for each request of a batch, then [`Partition::finish`]
//! once; whoever brings work runs it. It knows no thread, lock, file or clock.

pub mod admission;
pub mod capture;
mod effects;
mod moves;
mod numbering;
mod parking;
mod ranking;
mod rescue;
mod schedule;
mod staged;

use std::collections::VecDeque;
use std::sync::Arc;

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConsumerId, Location, Millis, PartitionId, QueueId, Seq, Ticket};
use everack_broker::partition::{
    Command, Effect, Partition as Machine, Ranks, Restored, Rules, Run, SettleOutcome,
};
use everack_storage::{Frames, Position};
use rustc_hash::FxHashMap;

use crate::append::{AppendJob, JobId, Lane, Origin, Share};
use crate::link::Link;
use crate::machine::Machine as Passive;
use crate::messages::Messages;
use crate::notice::Notice;
use crate::outbox::Outbox;
use crate::record::{self, Counted, Range, SetAside, Target};
use crate::recovery::queue_image::QueueImage;
use crate::report::{Inquirer, PartitionReport, Report, UnscheduledReport};
use crate::request::{Consume, Publish, Reply, Request, Settle, TransactionPart};
use crate::space::Space;
use admission::Admission;
use numbering::{Full, Numbered};
use staged::{Accept, Extras, Staged, StagedJob};

/// See the module documentation.
pub struct Partition {
    id: PartitionId,
    machine: Machine<Messages>,
    queues: FxHashMap<QueueId, QueueStage>,
    consumers: FxHashMap<ConsumerId, Reply>,
    // Consumers that ended in this round: their last effects may still be on the way to them.
    gone: Vec<ConsumerId>,
    // Consumers that asked to begin in this round: those that were refused are not remembered.
    beginning: Vec<ConsumerId>,
    cancelling: Vec<(Ticket, ConsumerId)>,
    tickets: FxHashMap<Ticket, Reply>,
    ticket_next: u64,
    space: Space,
    // The job that this round is building, and those on their way.
    frames: Frames,
    staged: Vec<Staged>,
    urgent: bool,
    settled: Vec<Range>,
    counted: Vec<Counted>,
    asides: Vec<SetAside>,
    quarantined: Vec<Range>,
    called_off: Vec<(Arc<dyn Inquirer>, UnscheduledReport)>,
    jobs: VecDeque<StagedJob>,
    job_next: JobId,
    applied: Position,
    // Publishers held back because their queue is far behind its consumers.
    held: Vec<(Arc<Link>, usize)>,
    // Buffers that are used again each round.
    effects: Vec<Effect<Messages>>,
    numbered: Option<Box<Numbered>>,
}

/// What the pipeline has to know of a queue before its messages are durable.
#[derive(Debug)]
struct QueueStage {
    durable: bool,
    next: Seq,
    /// What it makes of priorities.
    ranks: Option<Ranks>,
    admission: Option<Box<Admission>>,
}

/// A publish to more queues than this becomes several records.
const RECORD_TARGETS_MAX: usize = 1 << 16;

/// A job that has grown beyond this is handed out before the round ends; one segment has to hold it.
const JOB_BYTES_MAX: usize = 32 << 20;

/// The largest buffer that a round begins with, in bytes.
const FRAMES_BYTES_KEPT: usize = 1 << 20;

/// Ready bytes of a partition beyond which its publishers are slowed to the pace of its consumers.
const READY_BYTES_SLOW: u64 = 8 << 20;

impl Partition {
    /// An empty partition.
    pub fn new(id: PartitionId, machine: Machine<Messages>) -> Self {
        Self {
            id,
            machine,
            queues: FxHashMap::default(),
            consumers: FxHashMap::default(),
            gone: Vec::new(),
            beginning: Vec::new(),
            cancelling: Vec::new(),
            tickets: FxHashMap::default(),
            ticket_next: 1,
            space: Space::default(),
            frames: Frames::default(),
            staged: Vec::new(),
            urgent: false,
            settled: Vec::new(),
            counted: Vec::new(),
            asides: Vec::new(),
            quarantined: Vec::new(),
            called_off: Vec::new(),
            jobs: VecDeque::new(),
            job_next: JobId(1),
            applied: Position(0),
            held: Vec::new(),
            effects: Vec::new(),
            numbered: None,
        }
    }

    /// Takes back a durable queue with its live messages after a restart.
    pub fn restore(&mut self, queue: &Queue, image: QueueImage) {
        let next = image.next;
        self.queues.insert(
            queue.id,
            QueueStage {
                durable: queue.durable,
                next,
                ranks: queue.ranks(),
                admission: Admission::of(queue.terms()),
            },
        );
        let restored = Restored {
            queue: queue.id,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            rules: queue.rules(),
            next_seq: next,
        };
        let space = &mut self.space;
        let mut image = image;
        let kept = image.take_kept();
        let runs = image
            .into_live_runs()
            .inspect(|run| space.add(run.location, u64::from(run.to - run.from), u64::from(run.bytes)));
        self.machine.restore_queue(restored, kept, runs);
    }

    /// Ends the restart: everything up to `end` of the log has taken effect.
    pub fn recovered(&mut self, end: Position) {
        self.applied = end;
        self.machine.recovered();
    }

    /// Copies messages that have been held for long out of the large batches that they keep in memory.
    pub fn compact(&mut self) {
        self.machine.compact();
    }

    /// Live messages and pins of the partition by segment.
    pub fn space(&mut self) -> &mut Space {
        &mut self.space
    }

    /// Bytes of messages in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.machine.resident_bytes()
    }

    /// Takes one request. Nothing leaves before [`Partition::finish`].
    fn handle_request(&mut self, request: Request, now: Millis, outbox: &mut Outbox) {
        match request {
            Request::Publish(publish) => self.publish(publish, now, outbox),
            Request::Settle(settle) => self.settle(settle, now),
            Request::Committed { job, base, end } => self.committed(job, base, end, now, outbox),
            Request::Resume { consumer } => self.machine.apply(Command::Resume { consumer }, now),
            Request::Consume(consume) => self.consume(consume, now),
            Request::Cancel { consumer, reply } => {
                let ticket = self.ticket(reply);
                self.cancelling.push((ticket, consumer));
                self.machine.apply(Command::Cancel { consumer, ticket }, now);
            }
            Request::Get {
                consumer,
                queue,
                no_ack,
                reply,
            } => {
                let ticket = self.ticket(reply.clone());
                let connection = reply.link.connection;
                self.consumers.insert(consumer, reply);
                self.machine.apply(
                    Command::Get {
                        consumer,
                        connection,
                        queue,
                        no_ack,
                        ticket,
                    },
                    now,
                );
            }
            Request::Recover { consumer } => self.machine.apply(Command::Recover { consumer }, now),
            Request::Limit { consumer, limit } => self.machine.apply(Command::Limit { consumer, limit }, now),
            Request::Gone { consumer } => {
                self.machine.apply(Command::ReturnAll { consumer }, now);
                self.gone.push(consumer);
            }
            Request::Status { queue, reply } => {
                let ticket = self.ticket(reply);
                self.machine.apply(Command::Status { queue, ticket }, now);
            }
            Request::CheckDelete {
                queue,
                if_unused,
                if_empty,
                reply,
            } => {
                let ticket = self.ticket(reply);
                self.machine.apply(
                    Command::CheckDelete {
                        queue,
                        if_unused,
                        if_empty,
                        ticket,
                    },
                    now,
                );
            }
            Request::Purge { queue, reply } => {
                let ticket = self.ticket(reply);
                self.machine.apply(Command::Purge { queue, ticket }, now);
            }
            Request::Transaction(part) => self.transaction(part, now, outbox),
            Request::CreateQueue {
                queue,
                durable,
                auto_delete,
                rules,
            } => {
                self.queues.insert(
                    queue,
                    QueueStage {
                        durable,
                        next: Seq(1),
                        ranks: rules.ranks,
                        admission: Admission::of(rules.terms),
                    },
                );
                self.machine.apply(
                    Command::CreateQueue {
                        queue,
                        durable,
                        auto_delete,
                        rules,
                    },
                    now,
                );
            }
            Request::Amend { queue, rules } => self.amend(queue, rules, now),
            Request::Move(part) => self.take_part(part, now, outbox),
            Request::Abandoned { job } => self.abandoned(job, now),
            Request::Keep { queue, first, count } => {
                self.machine.apply(Command::Keep { queue, first, count }, now);
            }
            Request::Bury {
                queue,
                first,
                count,
                reason,
            } => self.bury(queue, first, count, reason, now),
            Request::DeleteQueue { queue } => {
                self.queues.remove(&queue);
                self.machine.apply(Command::DeleteQueue { queue }, now);
            }
            Request::Damaged { queue, first, count } => self.damaged(queue, first, count, now),
            Request::Rescue(rescue) => self.rescue(rescue, outbox),
            Request::Tick => {
                self.machine.pass(now);
                self.release_held(outbox);
            }
            Request::Report { queues, inquirer } => {
                outbox.seldom().reports.push((inquirer, self.report(&queues)));
            }
            Request::List(list) => self.list(list, outbox),
            Request::Unpark(unpark) => self.unpark(unpark, now, outbox),
            Request::ListScheduled(list) => self.list_scheduled(list, outbox),
            Request::Unschedule(unschedule) => self.unschedule(unschedule, now, outbox),
        }
    }

    /// Ends a round: delivers what can be delivered, hands out one job for all that was staged.
    fn finish_round(&mut self, outbox: &mut Outbox) {
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.finish(&mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect, outbox);
        }
        self.effects = effects;
        if !self.gone.is_empty() || !self.beginning.is_empty() {
            self.forget_consumers();
        }
        if !self.called_off.is_empty() {
            self.stage_called_off();
        }
        self.seal_job(outbox);
        if !self.held.is_empty() && self.machine.ready_bytes() < READY_BYTES_SLOW {
            self.release_held(outbox);
        }
        outbox.wants_tick |= !self.held.is_empty();
        outbox.wake_at = [outbox.wake_at, self.machine.next_due()]
            .into_iter()
            .flatten()
            .min();
    }

    /// Those that went in this round, and those that were refused.
    fn forget_consumers(&mut self) {
        for consumer in self.gone.drain(..) {
            self.consumers.remove(&consumer);
        }
        for consumer in self.beginning.drain(..) {
            if !self.machine.knows(consumer) {
                self.consumers.remove(&consumer);
            }
        }
    }

    fn report(&self, queues: &[QueueId]) -> Report {
        let depth = |&queue| Some((queue, self.machine.depth(queue)?));
        Report::Partition(PartitionReport {
            partition: self.id,
            queues: queues.iter().filter_map(depth).collect(),
            deleted: self.machine.deleted_counters(),
        })
    }

    fn ticket(&mut self, reply: Reply) -> Ticket {
        let ticket = Ticket(self.ticket_next);
        self.ticket_next += 1;
        self.tickets.insert(ticket, reply);
        ticket
    }

    fn publish(&mut self, publish: Publish, now: Millis, outbox: &mut Outbox) {
        let mut numbered = self.numbered.take().unwrap_or_default();
        numbered.clear();
        let expires = admission::expires(&publish.messages);
        for run in publish.runs.iter() {
            let before = numbered.durable.len();
            self.number(&publish.messages, run, expires, Full::Refuses, now, &mut numbered);
            if before > RECORD_TARGETS_MAX && numbered.durable.len() > before {
                // Thousands of queues by thousands of keys: one record would outgrow what the log takes.
                let rest = numbered.durable.split_off(before);
                self.stage(&publish.messages, &numbered.durable, None, None);
                numbered.durable = rest;
            }
        }
        if !numbered.transient.is_empty() {
            self.set_deadlines(&numbered.fleeting, now);
            self.enqueue_transient(&numbered.transient, &publish.messages, now);
        }
        if !numbered.dead.is_empty() {
            outbox.seldom().dead.append(&mut numbered.dead);
        }
        let accept = Accept {
            reply: publish.reply,
            confirm: publish.confirm,
            bytes: publish.bytes,
            refused: (*numbered.refused).into(),
        };
        if numbered.durable.is_empty() {
            self.release_room(&numbered.reserved);
            self.accept(accept, outbox);
        } else {
            let (deadlines, reserved) = (&mut numbered.deadlines, &mut numbered.reserved);
            let extras = Extras::of(std::mem::take(deadlines), std::mem::take(reserved));
            self.stage(&publish.messages, &numbered.durable, Some(accept), extras);
            if self.frames.bytes() > JOB_BYTES_MAX {
                self.seal_job(outbox);
            }
        }
        self.numbered = Some(numbered);
    }

    /// Frames a record of these messages; they enter their queues, and their publisher is told, when it is durable.
    fn stage(
        &mut self,
        messages: &Messages,
        targets: &[Target],
        accept: Option<Accept>,
        extras: Option<Box<Extras>>,
    ) {
        let deadlines = extras.as_ref().map_or(&[][..], |extras| &extras.deadlines);
        let offset = record::encode_entering(&mut self.frames, self.id, None, messages, targets, deadlines);
        let (targets, messages) = (targets.into(), messages.clone());
        self.staged.push(Staged::Publish {
            offset,
            targets,
            messages,
            accept,
            extras,
        });
        self.urgent = true;
    }

    /// A queue follows other rules from now on.
    fn amend(&mut self, queue: QueueId, rules: Box<Rules>, now: Millis) {
        if let Some(stage) = self.queues.get_mut(&queue) {
            let on_the_way = stage.admission.take().map(|admission| admission.on_the_way);
            stage.admission = Admission::of(rules.terms);
            if let (Some(admission), Some(on_the_way)) = (&mut stage.admission, on_the_way) {
                admission.on_the_way = on_the_way;
            }
        }
        self.machine.apply(Command::Amend { queue, rules }, now);
    }

    /// The publish is where it has to be: confirms it, and gives its bytes back to the publisher's window, now or when the
    /// queues have caught up.
    fn accept(&mut self, accept: Accept, outbox: &mut Outbox) {
        let Accept {
            reply,
            confirm,
            bytes,
            refused,
        } = accept;
        if let Some(confirm) = confirm {
            let channel = reply.channel;
            let notice = if refused.is_empty() {
                Notice::Confirm { channel, confirm }
            } else {
                Notice::Refused {
                    channel,
                    confirm,
                    refused,
                }
            };
            outbox.notify(&reply.link, notice);
        }
        if self.machine.ready_bytes() > READY_BYTES_SLOW && self.machine.consumer_count() > 0 {
            self.held.push((reply.link, bytes));
        } else if reply.link.publish_ends(bytes) {
            outbox.touch(&reply.link);
        }
    }

    fn release_held(&mut self, outbox: &mut Outbox) {
        for (link, bytes) in self.held.drain(..) {
            if link.publish_ends(bytes) {
                outbox.touch(&link);
            }
        }
    }

    fn settle(&mut self, settle: Settle, now: Millis) {
        let Settle {
            consumer,
            first,
            count,
            outcome,
        } = settle;
        self.machine.apply(
            Command::Settle {
                consumer,
                first,
                count,
                outcome,
            },
            now,
        );
    }

    fn consume(&mut self, consume: Consume, now: Millis) {
        let Consume {
            consumer,
            queue,
            no_ack,
            exclusive,
            priority,
            prefetch,
            patience_millis,
            limit,
            reply,
        } = consume;
        let ticket = self.ticket(reply.clone());
        let (connection, gate) = (reply.link.connection, reply.link.gate.clone());
        self.consumers.insert(consumer, reply);
        self.beginning.push(consumer);
        self.machine.apply(
            Command::Consume {
                consumer,
                connection,
                queue,
                no_ack,
                exclusive,
                priority,
                prefetch,
                patience_millis,
                gate,
                limit,
                ticket,
            },
            now,
        );
    }

    /// Frames this partition's part of a transaction. Its settlements and messages take effect when it is durable.
    fn transaction(&mut self, part: TransactionPart, now: Millis, outbox: &mut Outbox) {
        let TransactionPart {
            assembly,
            publishes,
            settles,
            reply,
        } = part;
        // What the transaction puts back into its queue stays alive; its return is logged when it takes effect. What it rejects is
        // done with when it has gone through the queue's dead-letter exchange, if there is one.
        let ends = settles.iter().filter(|settle| match settle.outcome {
            SettleOutcome::Done => true,
            SettleOutcome::Discard => !self.machine.dead_letters(settle.consumer),
            SettleOutcome::Requeue | SettleOutcome::RequeueFailed => false,
        });
        let ends = ends.map(|settle| (settle.consumer, settle.first, settle.count));
        let settled = self.machine.settled_by(ends);
        let durable = settled.iter().filter(|range| range.durable);
        let ranges = durable.map(|range| Range {
            queue: range.queue,
            first: range.first,
            count: range.count,
        });
        let ranges: Vec<Range> = ranges.collect();
        let numbered: Vec<_> = publishes
            .into_iter()
            .map(|(messages, runs)| {
                // Transient targets wait for the transaction too.
                let mut numbered = Numbered::default();
                let expires = admission::expires(&messages);
                for run in runs.iter() {
                    self.number(&messages, run, expires, Full::Takes, now, &mut numbered);
                }
                (messages, numbered)
            })
            .collect();
        let job = self.next_job();
        let mut staged = Vec::with_capacity(numbered.len() + 1);
        let (id, transaction) = (self.id, assembly.transaction);
        let origin = Origin::Partition(id);
        let contribution = assembly.contribute(origin, job, |frames| {
            for (messages, numbered) in numbered {
                let Numbered {
                    durable: targets,
                    transient,
                    deadlines,
                    fleeting,
                    ..
                } = numbered;
                let offset =
                    record::encode_entering(frames, id, Some(transaction), &messages, &targets, &deadlines);
                staged.push(Staged::Publish {
                    offset,
                    targets: targets.into(),
                    messages: messages.clone(),
                    accept: None,
                    extras: Extras::of(deadlines, Vec::new()),
                });
                staged.push(Staged::Transient {
                    targets: transient,
                    messages,
                    deadlines: fleeting,
                });
            }
            if !ranges.is_empty() {
                record::encode_settled(frames, id, Some(transaction), &ranges);
            }
        });
        staged.push(Staged::TransactionEnd {
            settles,
            settled,
            reply,
        });
        self.jobs.push_back(StagedJob { job, staged });
        self.contributed(contribution, outbox);
    }

    fn next_job(&mut self) -> JobId {
        let job = self.job_next;
        self.job_next = JobId(job.0 + 1);
        job
    }

    /// How often messages came back, then what is set aside or is so no more: whoever would write it the other way round calls this
    /// in between.
    fn frame_returns(&mut self) {
        if !self.counted.is_empty() {
            record::encode_counted(&mut self.frames, self.id, &self.counted);
            self.counted.clear();
        }
        if !self.asides.is_empty() {
            record::encode_aside(&mut self.frames, self.id, &self.asides);
            self.asides.clear();
        }
    }

    /// Closes this round's job, if it has anything for the log.
    fn seal_job(&mut self, outbox: &mut Outbox) {
        if !self.settled.is_empty() {
            record::encode_settled(&mut self.frames, self.id, None, &self.settled);
            self.settled.clear();
        }
        self.frame_returns();
        if !self.quarantined.is_empty() {
            record::encode_quarantined(&mut self.frames, self.id, &self.quarantined);
            self.quarantined.clear();
        }
        if self.frames.is_empty() {
            return;
        }
        // The next round will need about as much; growing there from nothing would copy everything twice.
        let next_frames = Frames::with_capacity(self.frames.bytes().min(FRAMES_BYTES_KEPT));
        let job = self.next_job();
        let lane = if self.urgent { Lane::Publish } else { Lane::Settle };
        outbox.jobs.push(AppendJob {
            frames: std::mem::replace(&mut self.frames, next_frames),
            shares: vec![Share {
                origin: Origin::Partition(self.id),
                job,
            }],
            lane,
            urgent: std::mem::take(&mut self.urgent),
        });
        self.jobs.push_back(StagedJob {
            job,
            staged: std::mem::take(&mut self.staged),
        });
    }
}

impl Passive for Partition {
    type Request = Request;

    fn handle(&mut self, request: Request, now: Millis, outbox: &mut Outbox) {
        self.handle_request(request, now, outbox);
    }

    fn finish(&mut self, _now: Millis, outbox: &mut Outbox) {
        self.finish_round(outbox);
    }
}

/// A queue's view of entries `from..to` of `messages`.
fn queue_run(target: Target, location: Location, messages: Messages, bytes: u32) -> Run<Messages> {
    Run {
        first: target.first,
        location,
        content: Some(messages),
        bytes,
        from: target.from,
        to: target.to,
    }
}
