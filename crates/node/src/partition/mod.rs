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
mod balance;
pub mod capture;
mod effects;
mod holding;
mod jobs;
mod moves;
mod numbering;
mod parking;
mod publishes;
mod ranking;
mod rescue;
mod schedule;
mod sending;
mod staged;
mod tracer;
mod traces;
mod transactions;

use std::collections::VecDeque;
use std::sync::Arc;

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConsumerId, Location, Millis, PartitionId, QueueId, Seq, Ticket};
use everack_broker::partition::{Command, Effect, Partition as Machine, Ranks, Restored, Rules, Run};
use everack_storage::Position;
use rustc_hash::FxHashMap;

use crate::append::JobId;
use crate::buffers::{Buffers, Lent};
use crate::link::Link;
use crate::machine::Machine as Passive;
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::record::{Counted, Range, SetAside, Target};
use crate::recovery::queue_image::QueueImage;
use crate::report::{PartitionReport, Report};
use crate::request::{Consume, Reply, Request, Settle};
use crate::space::Space;
use admission::Admission;
use numbering::Numbered;
use staged::{Staged, StagedJob};
use tracer::Tracer;

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
    frames: Lent,
    buffers: Arc<Buffers>,
    staged: Vec<Staged>,
    // Empty lists for the next jobs.
    staged_spares: Vec<Vec<Staged>>,
    urgent: bool,
    settled: Vec<Range>,
    counted: Vec<Counted>,
    asides: Vec<SetAside>,
    rejected: Vec<Range>,
    quarantined: Vec<Range>,
    jobs: VecDeque<StagedJob>,
    job_next: JobId,
    applied: Position,
    // Publishers held back because their queue is far behind its consumers.
    held: Vec<(Arc<Link>, usize)>,
    // Buffers that are used again each round.
    effects: Vec<Effect<Messages>>,
    numbered: Option<Box<Numbered>>,
    // While messages are followed on their way.
    tracer: Option<Box<Tracer>>,
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
            frames: Lent::default(),
            buffers: Arc::default(),
            staged: Vec::new(),
            staged_spares: Vec::new(),
            urgent: false,
            settled: Vec::new(),
            counted: Vec::new(),
            asides: Vec::new(),
            rejected: Vec::new(),
            quarantined: Vec::new(),
            jobs: VecDeque::new(),
            job_next: JobId(1),
            applied: Position(0),
            held: Vec::new(),
            effects: Vec::new(),
            numbered: None,
            tracer: None,
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
            Request::SendOff(send) => self.send_off(send, now, outbox),
            Request::Unpark(unpark) => self.unpark(unpark, now, outbox),
            Request::HandOn(hand_on) => self.hand_on(hand_on, now, outbox),
            Request::Holders { queues, inquirer } => self.tell_holders(&queues, inquirer, outbox),
            Request::ListScheduled(list) => self.list_scheduled(list, outbox),
            Request::Unschedule(unschedule) => self.unschedule(unschedule, now, outbox),
        }
    }

    /// Ends a round: delivers what can be delivered, hands out one job for all that was staged.
    fn finish_round(&mut self, outbox: &mut Outbox) {
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.finish(&mut effects);
        if self.tracer.is_some() {
            self.watch(&effects, outbox);
        }
        for effect in effects.drain(..) {
            self.carry_out(effect, outbox);
        }
        self.effects = effects;
        if !self.gone.is_empty() || !self.beginning.is_empty() {
            self.forget_consumers();
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
