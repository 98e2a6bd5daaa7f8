//! One node, driven by hand: what the process does with threads and mailboxes happens here when somebody says so.
//!
//! | in the process | here |
//! |---|---|
//! | a runner drains a machine's mailbox | [`Core::run_catalog`], [`Core::run_partition`] |
//! | the disk thread | [`crate::writer`] |
//! | the upkeep thread | [`Node::look_after`]; it lets [others](crate::turn) come in between wherever a lock is let go or the disk is at work |
//! | a connection's task | [`crate::client`], or the network of [`crate::world`] |
//!
//! A machine may wait for its turn as long as the driver likes: whoever holds its lock in a process takes as long as it takes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use everack_broker::catalog::{Command, DelayBounds};
use everack_broker::ids::Millis;
use everack_broker::name::Name;
use everack_cluster::{CommitLog as _, Standalone};
use everack_node::alarms::Resource;
use everack_node::append::Origin;
use everack_node::catalog_service::{CatalogRequest, CatalogService};
use everack_node::dead_letters::{self, DeadLetters};
use everack_node::machine::Machine;
use everack_node::names::NameKey;
use everack_node::opening::{self, CannotOpen, Opened, Plan};
use everack_node::outbox::Outbox;
use everack_node::partition::Partition;
use everack_node::progress::Progress;
use everack_node::recall::Recall;
use everack_node::recovery::Report;
use everack_node::request::Request;
use everack_node::shared::Shared;
use everack_node::upkeep::{Machines, Upkeep};
use everack_storage::disk::Memory;

use crate::disk::{Pace, Watched};
use crate::flaw::Flaw;
use crate::flawed;
use crate::turn;
use crate::writer::Writer;

/// How a simulated node is configured: small segments, so that they roll, are rewritten and go within a short story.
pub const PLAN: Plan = Plan {
    segment_bytes: 16 << 10,
    partitions: 2,
    resident_bytes_max: 8 << 10,
    hash_key: 1,
    name_key: NameKey([0, 2]),
    delay_bounds: DelayBounds {
        messages_max: 1_000,
        bytes_max: 1 << 20,
    },
};

/// How long the upkeep waits for the disk, in pauses of a millisecond.
const PAUSES_MAX: u32 = 300;

/// A running node.
pub struct Node {
    core: Rc<Core>,
    upkeep: Upkeep<Watched, Handle>,
    /// What recovery found.
    pub report: Report,
}

/// The machines and the mail between them.
pub struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) recall: Arc<Recall>,
    pub(crate) disk: Watched,
    pub(crate) progress: Progress,
    pub(crate) flaw: Flaw,
    pub(crate) writer: RefCell<Writer>,
    catalog: RefCell<CatalogService>,
    partitions: Vec<RefCell<Partition>>,
    dead_letters: RefCell<DeadLetters>,
    mail: RefCell<Mail>,
    /// Transactions that are moves of dead letters.
    moves: RefCell<BTreeSet<u64>>,
    wants_tick: Cell<bool>,
    wake_at: Cell<Option<Millis>>,
    now_us: Cell<u64>,
    dead: Cell<bool>,
}

#[derive(Default)]
struct Mail {
    catalog: Vec<CatalogRequest>,
    partitions: Vec<Vec<Request>>,
    dead_letters: Vec<dead_letters::Mail>,
}

/// A shared core, as the upkeep sees it.
pub struct Handle(Rc<Core>);

impl Node {
    /// Starts a node on `disk`, recovering what is there, and declares the user that clients log in as.
    ///
    /// # Errors
    /// The disk crashed meanwhile, or recovery refuses what it finds.
    pub fn start(disk: &Memory) -> Result<Self, CannotOpen> {
        Self::start_with(disk, Flaw::None)
    }

    /// As [`Node::start`], with a known bug.
    ///
    /// # Errors
    /// The disk crashed meanwhile, or recovery refuses what it finds.
    pub fn start_with(disk: &Memory, flaw: Flaw) -> Result<Self, CannotOpen> {
        let node = Self::open(&Watched::new(disk, Pace::INSTANT, 0, flaw), &PLAN, flaw, 0)?;
        node.declare_guest();
        node.core.pump();
        Ok(node)
    }

    /// Recovers a node; nobody has been declared yet and nothing runs.
    ///
    /// # Errors
    /// The disk crashed meanwhile, or recovery refuses what it finds.
    pub fn open(disk: &Watched, plan: &Plan, flaw: Flaw, now_us: u64) -> Result<Self, CannotOpen> {
        let opened = flawed::opened(opening::open(disk.clone(), plan)?, plan, flaw);
        let Opened {
            log,
            checkpoints,
            reader,
            shared,
            recall,
            catalog,
            partitions,
            progress,
            report,
            protected,
        } = opened;
        let maintenance = log.upkeep();
        let core = Core::new(
            disk, flaw, now_us, log, shared, recall, catalog, partitions, progress,
        );
        if flawed::bends(flaw) {
            core.rule_again();
        }
        let upkeep = Upkeep::new(
            Handle(core.clone()),
            maintenance,
            reader,
            checkpoints,
            u64::from(plan.segment_bytes),
            &protected,
        );
        Ok(Self { core, upkeep, report })
    }

    /// The machines.
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Takes a checkpoint, rescues survivors and retires segments, due or not. False if a checkpoint could not be written.
    pub fn look_after(&mut self) -> bool {
        if self.core.is_dead() {
            return true;
        }
        if self.core.flaw == Flaw::RetiresEarly {
            flawed::retire_early(self.upkeep.maintenance(), &self.core.partitions);
        }
        self.upkeep.round()
    }

    /// One round of the upkeep's thread: a spare segment if it is `quiet`, the alarm of the disk, and what is due of the rest.
    pub fn upkeep_round(&mut self, quiet: bool, free_bytes_min: u64) {
        if self.core.is_dead() {
            return;
        }
        if quiet {
            self.prepare();
        }
        self.watch_disk(free_bytes_min);
        if self.core.flaw == Flaw::RetiresEarly {
            flawed::retire_early(self.upkeep.maintenance(), &self.core.partitions);
        }
        self.upkeep.look();
    }

    /// Has the reserve and a spare segment made, as the upkeep does when room has returned.
    pub fn prepare(&self) {
        // As in the process, an error shows with the next append: the log is poisoned.
        let _ = self.upkeep.maintenance().prepare();
    }

    /// The last checkpoint of an orderly stop.
    pub fn last_checkpoint(&mut self) {
        self.upkeep.checkpoint();
    }

    fn watch_disk(&self, free_bytes_min: u64) {
        let unprepared = self.upkeep.maintenance().reserve_missing();
        let Ok(free) = self.upkeep.maintenance().free_bytes() else {
            return;
        };
        let waits = self.core.writer.borrow().is_full();
        self.core
            .raise(Resource::Disk, free < free_bytes_min || waits || unprepared);
    }

    /// Has the catalog declare what the configuration of a process would.
    pub fn declare_guest(&self) {
        let (user, vhost) = (Name::from("guest"), Name::from("/"));
        let all = || ".*".to_owned();
        let commands = [
            Command::DeclareVhost { vhost: vhost.clone() },
            Command::DeclareUser {
                user: user.clone(),
                password_hash: "none".to_owned(),
                tags: Vec::new(),
            },
            Command::SetPermissions {
                user,
                vhost,
                configure: all(),
                write: all(),
                read: all(),
            },
        ];
        for command in commands {
            self.core.post_catalog(CatalogRequest::Command {
                command,
                reply: None,
                fate: None,
            });
        }
    }
}

impl Core {
    #[expect(
        clippy::too_many_arguments,
        reason = "it takes apart what recovery gives back"
    )]
    fn new(
        disk: &Watched,
        flaw: Flaw,
        now_us: u64,
        log: Standalone<Watched>,
        shared: Arc<Shared>,
        recall: Arc<Recall>,
        catalog: CatalogService,
        partitions: Vec<Partition>,
        progress: Progress,
    ) -> Rc<Self> {
        let mail = Mail {
            partitions: partitions.iter().map(|_| Vec::new()).collect(),
            ..Mail::default()
        };
        Rc::new(Self {
            dead_letters: RefCell::new(DeadLetters::new(shared.clone(), recall.clone())),
            wake_at: Cell::new(Some(Millis(now_us / 1000))),
            shared,
            recall,
            disk: disk.clone(),
            progress,
            flaw,
            writer: RefCell::new(Writer::new(log)),
            catalog: RefCell::new(catalog),
            partitions: partitions.into_iter().map(RefCell::new).collect(),
            mail: RefCell::new(mail),
            moves: RefCell::new(BTreeSet::new()),
            wants_tick: Cell::new(false),
            now_us: Cell::new(now_us),
            dead: Cell::new(false),
        })
    }

    /// Whether the log has failed: a process would have ended there and then.
    pub fn is_dead(&self) -> bool {
        self.dead.get() || self.disk.memory().crashed()
    }

    pub(crate) fn die(&self) {
        self.dead.set(true);
    }

    /// The node's clock.
    pub fn now(&self) -> Millis {
        Millis(self.now_us.get() / 1000)
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Sets the clock.
    pub fn set_now(&self, now_us: u64) {
        self.now_us.set(now_us);
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// Leaves a request for the catalog.
    pub fn post_catalog(&self, request: CatalogRequest) {
        self.mail.borrow_mut().catalog.push(request);
    }

    /// Leaves a request for a partition.
    pub fn post(&self, partition: usize, request: Request) {
        if let Some(request) = flawed::request(self.flaw, request) {
            self.mail.borrow_mut().partitions[partition].push(request);
        }
    }

    /// Tells every queue its rules once more: with a bug in them those that recovery has brought back have it too.
    fn rule_again(&self) {
        let snapshot = self.shared.snapshot();
        for vhost in snapshot.vhosts() {
            for queue in vhost.queues() {
                let rules = queue.rules();
                self.post(
                    usize::from(queue.partition.0),
                    Request::Amend {
                        queue: queue.id,
                        rules,
                    },
                );
            }
        }
    }

    /// Checks that everything adds up in every partition.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn validate(&self) -> Result<(), String> {
        self.partitions
            .iter()
            .try_for_each(|partition| partition.borrow().validate())
    }

    /// Whether the catalog has work.
    pub fn catalog_has_mail(&self) -> bool {
        !self.mail.borrow().catalog.is_empty()
    }

    /// Whether a partition has work.
    pub fn partition_has_mail(&self, index: usize) -> bool {
        !self.mail.borrow().partitions[index].is_empty()
    }

    /// Whether publishers are held back; whoever asks sends a tick later.
    pub fn take_wants_tick(&self) -> bool {
        self.wants_tick.take()
    }

    /// When a queue wants to be looked at, at the earliest.
    pub fn wake_at(&self) -> Option<Millis> {
        self.wake_at.get()
    }

    /// Tells the partitions that time has passed, if a queue wants to be looked at by now; says whether one did.
    pub fn wake(&self) -> bool {
        let due = self.wake_at.get().is_some_and(|at| at <= self.now());
        if due {
            self.wake_at.set(None);
            (0..self.partitions.len()).for_each(|index| self.post(index, Request::Tick));
        }
        due
    }

    /// Whether dead letters wait to be sent on.
    pub fn has_dead_letters(&self) -> bool {
        !self.mail.borrow().dead_letters.is_empty()
    }

    /// Sends dead letters on; says whether there were any.
    pub fn run_dead_letters(&self) -> bool {
        if !self.has_dead_letters() {
            return false;
        }
        let letters = std::mem::take(&mut self.mail.borrow_mut().dead_letters);
        self.run(&mut *self.dead_letters.borrow_mut(), letters)
    }

    /// Runs the machines and the disk until nothing moves any more, or the disk has failed. What nobody waits for is written too.
    pub fn pump(&self) {
        loop {
            self.set_now(self.now_us() + 1000);
            let mut moved = self.wake() | self.run_catalog() | self.run_dead_letters();
            for index in 0..self.partitions.len() {
                moved |= self.run_partition(index);
            }
            moved |= self.write_at_once();
            if !moved || self.is_dead() {
                return;
            }
        }
    }

    /// Drains the catalog's mailbox; says whether there was anything in it.
    pub fn run_catalog(&self) -> bool {
        let requests = std::mem::take(&mut self.mail.borrow_mut().catalog);
        self.run(&mut *self.catalog.borrow_mut(), requests)
    }

    /// Drains a partition's mailbox; says whether there was anything in it.
    pub fn run_partition(&self, index: usize) -> bool {
        let requests = std::mem::take(&mut self.mail.borrow_mut().partitions[index]);
        self.run(&mut *self.partitions[index].borrow_mut(), requests)
    }

    fn run<M: Machine>(&self, machine: &mut M, requests: Vec<M::Request>) -> bool {
        if requests.is_empty() || self.is_dead() {
            return false;
        }
        let (now, mut outbox) = (self.now(), Outbox::default());
        for request in requests {
            machine.handle(request, now, &mut outbox);
        }
        machine.finish(now, &mut outbox);
        self.carry(outbox);
        true
    }

    /// In the order of the process (`everack_node::outbox`).
    fn carry(&self, mut outbox: Outbox) {
        self.writer
            .borrow_mut()
            .push_all(outbox.jobs.drain(..), self.now_us());
        if self.flaw == Flaw::AnswersTopologyEarly {
            let early = self.writer.borrow_mut().take_topology_shares();
            let end = self.progress.committed_position();
            early
                .into_iter()
                .for_each(|job| self.post_catalog(CatalogRequest::Committed { job, end }));
        }
        for (partition, request) in outbox.requests.drain(..) {
            if let Request::Move(part) = &request {
                self.moves.borrow_mut().insert(part.assembly.transaction);
            }
            self.post(usize::from(partition.0), request);
        }
        let wake_at = [outbox.wake_at, self.wake_at.get()].into_iter().flatten().min();
        self.wake_at.set(wake_at);
        if let Some(seldom) = &mut outbox.seldom {
            self.mail.borrow_mut().catalog.append(&mut seldom.catalog);
            self.mail.borrow_mut().dead_letters.append(&mut seldom.dead);
            if let Some(snapshot) = seldom.snapshot.take() {
                self.shared.publish(snapshot);
            }
            outbox.give_answers();
        }
        if self.flaw == Flaw::LosesWakeUps && outbox.dirty.len() > 1 {
            outbox.dirty.pop();
        }
        outbox.wake_all();
        if outbox.wants_tick {
            self.wants_tick.set(true);
        }
    }

    /// Whether a job moves dead letters.
    pub(crate) fn is_move(&self, job: &everack_node::append::AppendJob) -> bool {
        flawed::transaction(job).is_some_and(|transaction| self.moves.borrow().contains(&transaction))
    }

    /// Tells an origin that its job is durable.
    pub(crate) fn tell(
        &self,
        share: everack_node::append::Share,
        base: everack_storage::Position,
        end: everack_storage::Position,
    ) {
        let job = share.job;
        match share.origin {
            Origin::Catalog => self.post_catalog(CatalogRequest::Committed { job, end }),
            Origin::Partition(id) => self.post(usize::from(id.0), Request::Committed { job, base, end }),
        }
    }

    /// Raises or clears an alarm and wakes the connections if that changed anything.
    pub(crate) fn raise(&self, resource: Resource, raised: bool) {
        if self.shared.alarms.set(resource, raised) {
            self.shared.wake_connections();
        }
    }
}

impl Machines for Handle {
    fn catalog<T>(&self, look: impl FnOnce(&mut CatalogService) -> T) -> T {
        turn::others(0);
        let seen = look(&mut self.0.catalog.borrow_mut());
        self.0.run_catalog();
        seen
    }

    fn partition<T>(&self, index: usize, look: impl FnOnce(&mut Partition) -> T) -> T {
        turn::others(0);
        let seen = look(&mut self.0.partitions[index].borrow_mut());
        self.0.run_partition(index);
        seen
    }

    fn partitions(&self) -> usize {
        self.0.partitions.len()
    }

    fn post(&self, index: usize, request: Request) {
        self.0.post(index, request);
    }

    fn run(&self, index: usize) {
        turn::others(0);
        self.0.run_partition(index);
    }

    fn progress(&self) -> &Progress {
        &self.0.progress
    }

    fn pause(&self, waited: &mut u32) -> bool {
        if turn::is_set() {
            turn::others(1000);
        } else {
            self.0.pump();
        }
        *waited += 1;
        *waited < PAUSES_MAX && !self.0.is_dead()
    }
}
