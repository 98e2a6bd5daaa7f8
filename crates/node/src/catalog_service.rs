//! The topology machine with the log in front of it: declared means durable.
//!
//! A command is carried out at once, so that the next one sees it; but its answer, the new snapshot for routing, and what partitions
//! have to know of it wait until its facts are durable. Answers leave in the order of their commands, so a question that changes
//! nothing still waits for the changes before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use everack_broker::catalog::{Catalog, Command, Fact, Outcome, Queue, Refusal, RefusalKind, Snapshot};
use everack_broker::ids::{Millis, QueueId};
use everack_storage::{Frames, Position};

use crate::append::{AppendJob, JobId, Lane, Origin, Share};
use crate::few::Few;
use crate::machine::Machine;
use crate::notice::Notice;
use crate::outbox::Outbox;
use crate::record;
use crate::request::{Reply, Request};

/// So many facts are framed before the round ends.
const FACTS_TOGETHER: usize = 1024;
/// A job that has grown beyond this is handed out before the round ends: the log takes up to 1 GiB at once.
const JOB_BYTES_MAX: usize = 32 << 20;

/// What can be asked of the catalog.
#[derive(Debug)]
pub enum CatalogRequest {
    /// Carry out a command for a client.
    Command {
        /// The command, authorised already.
        command: Command,
        /// Who is told; nobody, where nobody waits.
        reply: Option<Reply>,
        /// The asking channel's fate: once one of its commands is refused, those behind it are not carried out any more, as the
        /// channel closes with the first refusal.
        fate: Option<Arc<AtomicBool>>,
    },
    /// An auto-delete queue has lost its last consumer.
    DeleteUnused {
        /// The queue.
        queue: QueueId,
    },
    /// A job of the catalog is durable.
    Committed {
        /// Which.
        job: JobId,
        /// Where it ends.
        end: Position,
    },
}

/// What became of a command.
#[derive(Debug)]
pub enum CatalogAnswer {
    /// It is done, durably. With the queue that it declared or found, and whether anything changed.
    Done {
        /// The queue of a declaration.
        queue: Option<Arc<Queue>>,
        /// Whether anything is different from before.
        changed: bool,
    },
    /// It is refused and has left no trace.
    Refused(Refusal),
    /// An earlier command of the same channel was refused, so this one was not carried out.
    Skipped,
}

/// See the module documentation.
#[derive(Debug)]
pub struct CatalogService {
    catalog: Catalog,
    frames: Frames,
    facts: Vec<Fact>,
    grows: bool,
    round: Vec<Pending>,
    jobs: VecDeque<Job>,
    job_next: JobId,
    changed: bool,
    applied: Position,
    churn: Churn,
}

/// How the names of queues begin that the broker makes for itself: they are no client's.
const OUR_QUEUES: &str = "amq.everack.";

/// How many queues have come and gone since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// Declarations of queues that were not refused.
    pub queues_declared: u64,
    /// Of those, the ones that made a queue.
    pub queues_created: u64,
    /// Queues that are gone.
    pub queues_deleted: u64,
}

/// A command that waits for its job.
#[derive(Debug)]
struct Pending {
    reply: Option<Reply>,
    answer: CatalogAnswer,
    effects: Vec<Told>,
}

/// What a partition has to be told.
#[derive(Debug)]
struct Told {
    queue: Arc<Queue>,
    news: News,
}

#[derive(Clone, Copy, Debug)]
enum News {
    Created,
    Removed,
    /// Policies make something else of it than before.
    Regulated,
}

#[derive(Debug)]
struct Job {
    /// None for commands without facts, which only wait for those before them.
    job: Option<JobId>,
    lane: Lane,
    pending: Vec<Pending>,
    /// The topology behind this job, if it is another one than before.
    snapshot: Option<Snapshot>,
}

impl CatalogService {
    /// A service around a catalog that everything before `applied` has been replayed into.
    pub fn new(catalog: Catalog, applied: Position) -> Self {
        Self {
            catalog,
            frames: Frames::default(),
            facts: Vec::new(),
            grows: false,
            round: Vec::new(),
            jobs: VecDeque::new(),
            job_next: JobId(1),
            changed: false,
            applied,
            churn: Churn::default(),
        }
    }

    /// Whether nothing is on its way to the log.
    pub fn is_quiet(&self) -> bool {
        self.jobs.is_empty() && self.round.is_empty()
    }

    /// The durable topology as facts, and the position from which on the log tells what has changed since; a checkpoint begins with it.
    /// `committed` is how far the log is durable. What is on its way is in the facts already, and is told by the log again.
    pub fn capture(&self, committed: Position) -> (Position, Vec<Fact>) {
        let applied = if self.is_quiet() {
            committed.max(self.applied)
        } else {
            self.applied
        };
        (applied, self.catalog.facts().collect())
    }

    /// How many queues have come and gone.
    pub fn churn(&self) -> Churn {
        self.churn
    }

    /// The topology, ahead of what is durable.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn command(&mut self, command: Command, reply: Option<Reply>, fate: Option<&AtomicBool>) {
        if fate.is_some_and(|failed| failed.load(Ordering::Acquire)) {
            self.round.push(Pending {
                reply,
                answer: CatalogAnswer::Skipped,
                effects: Vec::new(),
            });
            return;
        }
        let shrinks = matches!(
            command,
            Command::DeleteQueue { .. }
                | Command::RemoveQueue { .. }
                | Command::DeleteExchange { .. }
                | Command::Unbind { .. }
                | Command::ConnectionClosed { .. }
        );
        let applied = match command {
            together @ Command::Together { .. } => self.together(together),
            command => self.catalog.apply(command),
        };
        match applied {
            Ok(outcome) => {
                self.grows |= !shrinks && !outcome.facts.is_empty();
                self.changed |= outcome.changed;
                self.carried_out(outcome, reply);
            }
            Err(refusal) => {
                if let Some(failed) = fate {
                    failed.store(true, Ordering::Release);
                }
                let answer = CatalogAnswer::Refused(refusal);
                self.round.push(Pending {
                    reply,
                    answer,
                    effects: Vec::new(),
                });
            }
        }
    }

    /// Carries out commands that stand or fall together. Their facts are one record, since of several the last could be torn off.
    fn together(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let before = self.catalog.clone();
        let mut outcome = self.catalog.apply(command)?;
        let Some(packed) = record::pack_whole(&outcome.facts) else {
            self.catalog = before;
            let text = format!(
                "it takes more than {} bytes in the log: do it in several steps",
                record::WHOLE_BYTES_MAX
            );
            return Err(Refusal::new(RefusalKind::PreconditionFailed, text));
        };
        if !outcome.facts.is_empty() {
            self.frame_facts();
            record::encode_packed(&mut self.frames, &packed);
            self.grows = true;
            outcome.facts.clear();
        }
        Ok(outcome)
    }

    fn carried_out(&mut self, outcome: Outcome, reply: Option<Reply>) {
        let Outcome {
            changed,
            queue,
            created_queues,
            removed_queues,
            regulated_queues,
            facts,
            ..
        } = outcome;
        self.facts.extend(facts);
        let clients = |queues: &[Arc<Queue>]| {
            let own = queues
                .iter()
                .filter(|queue| queue.name.starts_with(OUR_QUEUES.as_bytes()));
            (queues.len() - own.count()) as u64
        };
        let created = clients(&created_queues);
        self.churn.queues_created += created;
        self.churn.queues_declared += created.max(u64::from(queue.is_some() && !changed));
        self.churn.queues_deleted += clients(&removed_queues);
        let tell = |news| {
            move |queue: &Arc<Queue>| Told {
                queue: queue.clone(),
                news,
            }
        };
        let created = created_queues.iter().map(tell(News::Created));
        let removed = removed_queues.iter().map(tell(News::Removed));
        let regulated = regulated_queues.iter().map(tell(News::Regulated));
        let effects = created.chain(regulated).chain(removed).collect();
        self.round.push(Pending {
            reply,
            answer: CatalogAnswer::Done { queue, changed },
            effects,
        });
    }

    /// Deletions may use the space that is kept back for a full disk, unless something waits for space that they would overtake:
    /// facts keep their order.
    fn lane(&mut self) -> Lane {
        let waits = self
            .jobs
            .iter()
            .any(|waiting| waiting.job.is_some() && waiting.lane == Lane::Publish);
        if std::mem::take(&mut self.grows) || waits {
            Lane::Publish
        } else {
            Lane::Settle
        }
    }

    fn frame_facts(&mut self) {
        record::encode_topology(&mut self.frames, &self.facts);
        self.facts.clear();
    }

    /// Closes this round's job, if there is anything for the log, and gives out what waits for nothing.
    fn seal(&mut self, outbox: &mut Outbox) {
        if self.round.is_empty() {
            return;
        }
        self.frame_facts();
        let job = (!self.frames.is_empty()).then_some(self.job_next);
        let lane = self.lane();
        if let Some(job) = job {
            self.job_next = JobId(job.0 + 1);
            outbox.jobs.push(AppendJob {
                frames: std::mem::take(&mut self.frames).into(),
                shares: Few::One(Share {
                    origin: Origin::Catalog,
                    job,
                }),
                lane,
                urgent: true,
            });
        }
        let pending = std::mem::take(&mut self.round);
        let snapshot = std::mem::take(&mut self.changed).then(|| self.catalog.snapshot());
        self.jobs.push_back(Job {
            job,
            lane,
            pending,
            snapshot,
        });
        self.release(outbox);
    }

    fn committed(&mut self, job: JobId, end: Position, outbox: &mut Outbox) {
        self.applied = self.applied.max(end);
        let done = self.jobs.iter_mut().find(|waiting| waiting.job == Some(job));
        let done = done.unwrap_or_else(|| panic!("topology job {} became durable twice", job.0));
        done.job = None;
        self.release(outbox);
    }

    /// Lets go of everything in front that waits for nothing any more.
    fn release(&mut self, outbox: &mut Outbox) {
        while self.jobs.front().is_some_and(|front| front.job.is_none()) {
            let Some(done) = self.jobs.pop_front() else { break };
            for pending in done.pending {
                give_out(pending, outbox);
            }
            // While later changes are on their way the catalog is ahead of the log. Routing by that would leave confirmed messages
            // out of a queue whose deletion a crash undoes: what is published is durable.
            let seldom = outbox.seldom();
            seldom.snapshot = done.snapshot.or(seldom.snapshot.take());
        }
    }
}

fn give_out(pending: Pending, outbox: &mut Outbox) {
    for Told { queue, news } in pending.effects {
        let request = match news {
            News::Removed => Request::DeleteQueue { queue: queue.id },
            News::Regulated => Request::Amend {
                queue: queue.id,
                rules: queue.rules(),
            },
            News::Created => Request::CreateQueue {
                queue: queue.id,
                durable: queue.durable,
                auto_delete: queue.auto_delete,
                rules: queue.rules(),
            },
        };
        outbox.requests.push((queue.partition, request));
    }
    if let Some(Reply { link, channel }) = pending.reply {
        outbox.seldom().answers.push((
            link,
            Notice::Catalog {
                channel,
                answer: pending.answer,
            },
        ));
    }
}

impl Machine for CatalogService {
    type Request = CatalogRequest;

    fn handle(&mut self, request: CatalogRequest, _now: Millis, outbox: &mut Outbox) {
        match request {
            CatalogRequest::Command { command, reply, fate } => self.command(command, reply, fate.as_deref()),
            CatalogRequest::DeleteUnused { queue } => {
                self.command(Command::RemoveQueue { queue }, None, None)
            }
            CatalogRequest::Committed { job, end } => self.committed(job, end, outbox),
        }
        if self.facts.len() >= FACTS_TOGETHER {
            self.frame_facts();
        }
        if self.frames.bytes() > JOB_BYTES_MAX {
            self.seal(outbox);
        }
    }

    fn finish(&mut self, _now: Millis, outbox: &mut Outbox) {
        self.seal(outbox);
    }
}
