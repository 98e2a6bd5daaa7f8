//! One node, driven by hand: what the process does with threads happens here in one loop, in a fixed order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use everack_broker::catalog::Command;
use everack_broker::ids::Millis;
use everack_broker::name::Name;
use everack_cluster::{CommitLog as _, Standalone};
use everack_node::append::{AppendJob, Lane, Origin};
use everack_node::catalog_service::{CatalogRequest, CatalogService};
use everack_node::machine::Machine;
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
use everack_storage::{AppendError, Fatal, Position};

use crate::flaw::Flaw;

/// How a simulated node is configured: small segments, so that they roll, are rewritten and go within a short story.
pub const PLAN: Plan = Plan {
    segment_bytes: 16 << 10,
    partitions: 2,
    resident_bytes_max: 8 << 10,
    hash_key: 1,
    name_seed: 2,
};

/// A running node.
pub struct Node {
    core: Rc<Core>,
    upkeep: Upkeep<Memory, Handle>,
    /// What recovery found.
    pub report: Report,
}

/// The machines and the mail between them.
pub struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) recall: Arc<Recall>,
    catalog: RefCell<CatalogService>,
    partitions: Vec<RefCell<Partition>>,
    log: RefCell<Standalone<Memory>>,
    progress: Progress,
    mail: RefCell<Mail>,
    now: Cell<u64>,
    dead: Cell<bool>,
    flaw: Flaw,
}

#[derive(Default)]
struct Mail {
    catalog: Vec<CatalogRequest>,
    partitions: Vec<Vec<Request>>,
    jobs: Vec<AppendJob>,
}

/// A shared core, as the upkeep sees it.
pub struct Handle(Rc<Core>);

impl Node {
    /// Starts a node on `disk`, recovering what is there.
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
        let opened = opening::open(disk.clone(), &PLAN)?;
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
        let mail = Mail {
            partitions: partitions.iter().map(|_| Vec::new()).collect(),
            ..Mail::default()
        };
        let core = Rc::new(Core {
            shared,
            recall,
            catalog: RefCell::new(catalog),
            partitions: partitions.into_iter().map(RefCell::new).collect(),
            log: RefCell::new(log),
            progress,
            mail: RefCell::new(mail),
            now: Cell::new(0),
            dead: Cell::new(false),
            flaw,
        });
        let machines = Handle(core.clone());
        let upkeep = Upkeep::new(
            machines,
            maintenance,
            reader,
            checkpoints,
            u64::from(PLAN.segment_bytes),
            &protected,
        );
        let node = Self { core, upkeep, report };
        node.declare_guest();
        Ok(node)
    }

    /// The machines.
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Takes a checkpoint, rescues survivors and retires segments, due or not.
    pub fn look_after(&mut self) {
        if !self.core.dead.get() {
            if self.core.flaw == Flaw::RetiresEarly {
                self.retire_early();
            }
            self.upkeep.round();
        }
    }

    fn retire_early(&self) {
        let maintenance = self.upkeep.maintenance();
        for segment in maintenance
            .segments()
            .into_iter()
            .filter(|segment| !segment.active)
        {
            let partitions = &self.core.partitions;
            let live =
                |partition: &RefCell<Partition>| partition.borrow_mut().space().usage(segment.number.0).0;
            if partitions.iter().map(live).sum::<u64>() == 0 {
                // The disk may crash here as anywhere.
                let _ = maintenance.retire(segment.number);
            }
        }
    }

    fn declare_guest(&self) {
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
        self.core.pump();
    }
}

impl Core {
    /// Whether the log has failed: a process would have ended there and then.
    pub fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// The node's clock.
    pub fn now(&self) -> Millis {
        Millis(self.now.get())
    }

    /// Leaves a request for the catalog.
    pub fn post_catalog(&self, request: CatalogRequest) {
        self.mail.borrow_mut().catalog.push(request);
    }

    /// Leaves a request for a partition.
    pub fn post(&self, partition: usize, request: Request) {
        self.mail.borrow_mut().partitions[partition].push(request);
    }

    /// Runs the machines and the disk until nothing moves any more, or the disk has failed.
    pub fn pump(&self) {
        loop {
            self.now.set(self.now.get() + 1);
            let mut moved = self.run_catalog();
            for index in 0..self.partitions.len() {
                moved |= self.run_partition(index);
            }
            moved |= self.run_disk();
            if !moved || self.dead.get() {
                return;
            }
        }
    }

    fn run_catalog(&self) -> bool {
        let requests = std::mem::take(&mut self.mail.borrow_mut().catalog);
        self.run(&mut *self.catalog.borrow_mut(), requests)
    }

    fn run_partition(&self, index: usize) -> bool {
        let requests = std::mem::take(&mut self.mail.borrow_mut().partitions[index]);
        self.run(&mut *self.partitions[index].borrow_mut(), requests)
    }

    fn run<M: Machine>(&self, machine: &mut M, requests: Vec<M::Request>) -> bool {
        if requests.is_empty() || self.dead.get() {
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

    fn carry(&self, mut outbox: Outbox) {
        let mut mail = self.mail.borrow_mut();
        mail.jobs.append(&mut outbox.jobs);
        for (partition, request) in outbox.requests.drain(..) {
            mail.partitions[usize::from(partition.0)].push(request);
        }
        mail.catalog.append(&mut outbox.catalog);
        drop(mail);
        if let Some(snapshot) = outbox.snapshot.take() {
            self.shared.publish(snapshot);
        }
        outbox.give_answers();
        outbox.wake_all();
    }

    /// One sync; with the bug that confirms early it is left to the next round, and what is written counts.
    fn sync(&self, log: &mut Standalone<Memory>) -> Result<Position, Fatal> {
        if self.flaw == Flaw::ConfirmsEarly {
            Ok(log.appended())
        } else {
            log.commit()
        }
    }

    /// What the disk thread does: append all that is there, sync once, tell the origins.
    fn run_disk(&self) -> bool {
        let jobs = std::mem::take(&mut self.mail.borrow_mut().jobs);
        if jobs.is_empty() || self.dead.get() {
            return false;
        }
        let mut log = self.log.borrow_mut();
        let mut committed = Vec::new();
        if self.flaw == Flaw::ConfirmsEarly && log.commit().is_err() {
            self.dead.set(true);
        }
        for mut job in jobs {
            if self.flaw == Flaw::ForgetsSettlements && only_settles(&job) {
                let end = log.appended();
                committed.extend(job.shares.into_iter().map(|share| (share, end, end)));
                continue;
            }
            let appended = match job.lane {
                Lane::Publish => log.append(&mut job.frames),
                Lane::Settle => log.append_reserved(&mut job.frames),
            };
            match appended {
                Ok(base) => {
                    let end = log.appended();
                    self.progress.appended(end, job.frames.bytes() as u64);
                    committed.extend(job.shares.into_iter().map(|share| (share, base, end)));
                }
                Err(AppendError::Full) => self.mail.borrow_mut().jobs.push(job),
                Err(_) => self.dead.set(true),
            }
        }
        match self.sync(&mut log) {
            Ok(durable) => self.progress.committed(durable),
            Err(_) => self.dead.set(true),
        }
        if self.dead.get() {
            // Nothing may be confirmed any more.
            return false;
        }
        let told = !committed.is_empty();
        for (share, base, end) in committed {
            let job = share.job;
            match share.origin {
                Origin::Catalog => self.post_catalog(CatalogRequest::Committed { job, end }),
                Origin::Partition(id) => self.post(usize::from(id.0), Request::Committed { job, base, end }),
            }
        }
        told
    }
}

/// Whether a job holds nothing but records of settlements (`everack_node::record`, kind 2).
fn only_settles(job: &AppendJob) -> bool {
    job.frames
        .payloads()
        .all(|(_, payload)| job.frames.group()[payload.start] == 2)
}

impl Machines for Handle {
    fn catalog<T>(&self, look: impl FnOnce(&mut CatalogService) -> T) -> T {
        look(&mut self.0.catalog.borrow_mut())
    }

    fn partition<T>(&self, index: usize, look: impl FnOnce(&mut Partition) -> T) -> T {
        look(&mut self.0.partitions[index].borrow_mut())
    }

    fn partitions(&self) -> usize {
        self.0.partitions.len()
    }

    fn post(&self, index: usize, request: Request) {
        self.0.post(index, request);
    }

    fn run(&self, index: usize) {
        self.0.run_partition(index);
    }

    fn progress(&self) -> &Progress {
        &self.0.progress
    }

    fn pause(&self, waited: &mut u32) -> bool {
        self.0.pump();
        *waited += 1;
        *waited < 10 && !self.0.dead.get()
    }
}
