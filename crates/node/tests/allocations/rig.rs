//! A node on one thread. What the process does with mailboxes, runners and disk threads is done here in the same order, with lists that
//! are used again, so that whatever is allocated in a round is the node's.

use std::cell::Cell;
use std::sync::Arc;

use everack_amqp::settings::Settings;
use everack_broker::catalog::{Command, DelayBounds};
use everack_broker::ids::Millis;
use everack_broker::name::Name;
use everack_broker::partition::Gate;
use everack_cluster::{Commit as _, CommitLog as _, Standalone};
use everack_node::append::{AppendJob, Lane, Origin, Share, Written};
use everack_node::catalog_service::{CatalogRequest, CatalogService};
use everack_node::commits::Commits;
use everack_node::link::{Link, Wake};
use everack_node::machine::Machine as _;
use everack_node::names::NameKey;
use everack_node::opening::{self, Opened, Plan};
use everack_node::outbox::Outbox;
use everack_node::partition::Partition;
use everack_node::progress::Progress;
use everack_node::recall::Recall;
use everack_node::request::Request;
use everack_node::session::{Session, Setting};
use everack_node::shared::Shared;
use everack_storage::disk::Os;
use tempfile::TempDir;

const PLAN: Plan = Plan {
    // No segment ends while it is counted.
    segment_bytes: 64 << 20,
    partitions: 1,
    resident_bytes_max: 64 << 20,
    hash_key: 1,
    name_key: NameKey([0, 2]),
    delay_bounds: DelayBounds {
        messages_max: 1_000,
        bytes_max: 1 << 20,
    },
};

/// See the module documentation.
pub(crate) struct Rig {
    shared: Arc<Shared>,
    recall: Arc<Recall>,
    partition: Partition,
    catalog: CatalogService,
    log: Standalone<Os>,
    commits: Commits,
    progress: Progress,
    mailbox: Vec<Request>,
    batch: Vec<Request>,
    catalog_mailbox: Vec<CatalogRequest>,
    outbox: Outbox,
    jobs: Vec<AppendJob>,
    written: Vec<Written>,
    now: Cell<u64>,
    // Outlives the log.
    _directory: TempDir,
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Rig {
    /// A node on an empty disk, with the user `guest`.
    pub(crate) fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory of our own");
        let disk = Os::open(directory.path())
            .expect("it can be opened")
            .without_sync();
        let opened = opening::open(disk, &PLAN).expect("it is empty");
        let Opened {
            log,
            shared,
            recall,
            catalog,
            mut partitions,
            progress,
            ..
        } = opened;
        let mut rig = Self {
            shared,
            recall,
            partition: partitions.pop().expect("there is one"),
            catalog,
            log,
            commits: Commits::default(),
            progress,
            mailbox: Vec::new(),
            batch: Vec::new(),
            catalog_mailbox: Vec::new(),
            outbox: Outbox::default(),
            jobs: Vec::new(),
            written: Vec::new(),
            now: Cell::new(0),
            _directory: directory,
        };
        rig.declare_guest();
        rig
    }

    fn declare_guest(&mut self) {
        let (user, vhost) = (Name::from("guest"), Name::from("/"));
        let all = || ".*".to_owned();
        self.command(Command::DeclareVhost { vhost: vhost.clone() });
        self.command(Command::DeclareUser {
            user: user.clone(),
            password_hash: "none".to_owned(),
            tags: Vec::new(),
        });
        self.command(Command::SetPermissions {
            user,
            vhost,
            configure: all(),
            write: all(),
            read: all(),
        });
        self.settle_down();
    }

    fn command(&mut self, command: Command) {
        self.catalog_mailbox.push(CatalogRequest::Command {
            command,
            reply: None,
            fate: None,
        });
    }

    /// A connection that has said nothing yet.
    pub(crate) fn connect(&self) -> (Session, Arc<Link>) {
        let gate = Arc::new(Gate::new(1 << 20));
        let link = Arc::new(Link::new(self.shared.next_connection(), gate, Box::new(Nobody)));
        self.shared.register(&link);
        let setting = Setting {
            shared: self.shared.clone(),
            recall: self.recall.clone(),
            protocol: Arc::new(Settings::default()),
            link: link.clone(),
            peer: "a test".to_owned(),
        };
        (Session::new(setting, self.now()), link)
    }

    /// It is a little later at each look.
    pub(crate) fn now(&self) -> Millis {
        self.now.set(self.now.get() + 1);
        Millis(self.now.get() / 100)
    }

    /// Takes what a session wants of the machines, and runs them. What goes to the log waits for [`Rig::write`].
    pub(crate) fn submit(&mut self, session: &mut Session) {
        self.mailbox
            .extend(session.requests.drain(..).map(|(_, request)| request));
        self.catalog_mailbox.append(&mut session.catalog);
        self.run();
    }

    /// Until nothing is on its way any more.
    pub(crate) fn settle_down(&mut self) {
        self.run();
        while !self.jobs.is_empty() {
            self.write();
        }
    }

    /// Writes and syncs what waits for the log, as one group, and tells whom it concerns.
    pub(crate) fn write(&mut self) {
        for mut job in self.jobs.drain(..) {
            let bytes = job.frames.bytes() as u64;
            let base = match job.lane {
                Lane::Publish => self.log.append(&mut job.frames),
                Lane::Settle => self.log.append_reserved(&mut job.frames),
            };
            let (base, end) = (base.expect("there is room"), self.log.appended());
            self.progress.appended(end, bytes);
            self.written
                .extend(job.shares.iter().map(|share| (*share, base, end)));
        }
        let list = self.commits.list();
        let commit = self.log.begin_commit().expect("the disk works");
        let number = self.commits.begin(std::mem::replace(&mut self.written, list));
        let durable = commit.wait().expect("the disk works");
        self.commits.ended(number, durable);
        while let Some((durable, written)) = self.commits.next_ended() {
            self.progress.committed(durable);
            for &(Share { origin, job }, base, end) in &written {
                match origin {
                    Origin::Partition(_) => self.mailbox.push(Request::Committed { job, base, end }),
                    Origin::Catalog => self.catalog_mailbox.push(CatalogRequest::Committed { job, end }),
                }
            }
            self.commits.take_back(written);
        }
        self.run();
    }

    fn run(&mut self) {
        while !self.mailbox.is_empty() || !self.catalog_mailbox.is_empty() {
            let now = self.now();
            std::mem::swap(&mut self.mailbox, &mut self.batch);
            for request in self.batch.drain(..) {
                self.partition.handle(request, now, &mut self.outbox);
            }
            self.partition.finish(now, &mut self.outbox);
            self.carry();
            if !self.catalog_mailbox.is_empty() {
                for request in self.catalog_mailbox.drain(..) {
                    self.catalog.handle(request, now, &mut self.outbox);
                }
                self.catalog.finish(now, &mut self.outbox);
                self.carry();
            }
        }
    }

    fn carry(&mut self) {
        let outbox = &mut self.outbox;
        self.jobs.append(&mut outbox.jobs);
        self.mailbox
            .extend(outbox.requests.drain(..).map(|(_, request)| request));
        if let Some(seldom) = &mut outbox.seldom {
            assert!(seldom.dead.is_empty(), "nothing dies here");
            self.catalog_mailbox.append(&mut seldom.catalog);
            if let Some(snapshot) = seldom.snapshot.take() {
                self.shared.publish(snapshot);
            }
            outbox.give_answers();
        }
        outbox.wake_all();
    }

    /// Everything adds up.
    pub(crate) fn validate(&self) {
        self.partition.validate().expect("what was accepted is settled");
    }
}
