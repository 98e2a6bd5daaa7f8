//! A node on a fake disk whose every step is taken by hand: what is handed to the log is written when the test says so.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use everack_amqp::content::{Batch, Entry, Group};
use everack_amqp::short_list::ShortList;
use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::{Command, DeclareQueue, DelayBounds, Queue};
use everack_broker::ids::{ConsumerId, Millis};
use everack_broker::name::Name;
use everack_broker::partition::Gate;
use everack_broker::routing::{Route, Target};
use everack_cluster::{CommitLog as _, Standalone};
use everack_node::append::{AppendJob, Lane, Origin, Share};
use everack_node::catalog_service::{CatalogRequest, CatalogService};
use everack_node::dead_letters::DeadLetters;
use everack_node::link::{Link, Wake};
use everack_node::machine::Machine;
use everack_node::messages::Messages;
use everack_node::names::NameKey;
use everack_node::notice::{Answer, Notice};
use everack_node::opening::{self, Opened, Plan};
use everack_node::outbox::Outbox;
use everack_node::partition::Partition;
use everack_node::progress::Progress;
use everack_node::recall::Recall;
use everack_node::recovery::Report;
use everack_node::request::{Publish, Reply, Request, RoutedRun};
use everack_node::shared::Shared;
use everack_node::upkeep::{Machines, Upkeep};
use everack_storage::disk::Memory;
use everack_storage::{Position, Reader};

pub(crate) const PLAN: Plan = Plan {
    segment_bytes: 64 << 10,
    partitions: 2,
    resident_bytes_max: 0,
    hash_key: 1,
    name_key: NameKey([0, 2]),
    delay_bounds: DelayBounds {
        messages_max: 1_000,
        bytes_max: 1 << 20,
    },
};

pub(crate) struct Desk {
    pub(crate) disk: Memory,
    pub(crate) shared: Arc<Shared>,
    pub(crate) recall: Arc<Recall>,
    pub(crate) partitions: Vec<RefCell<Partition>>,
    pub(crate) catalog: RefCell<CatalogService>,
    pub(crate) reader: Reader<Memory>,
    pub(crate) report: Report,
    protected: std::collections::BTreeSet<everack_storage::SegmentNumber>,
    /// Handed out, not written yet.
    pub(crate) jobs: RefCell<Vec<AppendJob>>,
    /// Written and synced, their origins not told yet.
    pub(crate) durable: RefCell<Vec<(Share, Position, Position)>>,
    log: RefCell<Standalone<Memory>>,
    progress: Progress,
    next_consumer: Cell<u64>,
    letters: RefCell<DeadLetters>,
    /// The time that machines are told.
    pub(crate) now: Cell<Millis>,
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Desk {
    pub(crate) fn new() -> Rc<Self> {
        Self::begin(&PLAN)
    }

    /// A new node on an empty disk.
    pub(crate) fn begin(plan: &Plan) -> Rc<Self> {
        let desk = Self::open(Memory::new(7), plan);
        let (user, vhost) = (Name::from("guest"), Name::from("/"));
        let all = || ".*".to_owned();
        desk.command(Command::DeclareVhost { vhost: vhost.clone() });
        desk.command(Command::DeclareUser {
            user: user.clone(),
            password_hash: "x".to_owned(),
            tags: Vec::new(),
        });
        desk.command(Command::SetPermissions {
            user,
            vhost,
            configure: all(),
            write: all(),
            read: all(),
        });
        desk.commit();
        desk
    }

    pub(crate) fn open(disk: Memory, plan: &Plan) -> Rc<Self> {
        let opened = opening::open(disk.clone(), plan).expect("the disk opens");
        let Opened {
            log,
            checkpoints: _,
            reader,
            shared,
            recall,
            catalog,
            partitions,
            progress,
            report,
            protected,
        } = opened;
        Rc::new(Self {
            disk,
            partitions: partitions.into_iter().map(RefCell::new).collect(),
            catalog: RefCell::new(catalog),
            reader,
            report,
            protected,
            jobs: RefCell::default(),
            durable: RefCell::default(),
            log: RefCell::new(log),
            progress,
            next_consumer: Cell::new(1 << 32),
            letters: RefCell::new(DeadLetters::new(shared.clone(), recall.clone())),
            now: Cell::new(Millis(0)),
            shared,
            recall,
        })
    }

    /// Kill -9, and a start on what was written.
    pub(crate) fn restart(&self) -> Rc<Self> {
        Self::open(self.disk.kill(), &PLAN)
    }

    pub(crate) fn command(&self, command: Command) {
        self.ask_catalog(CatalogRequest::Command {
            command,
            reply: None,
            fate: None,
        });
    }

    pub(crate) fn declare(&self, name: &str) -> Arc<Queue> {
        self.command(declare_queue(name));
        self.commit();
        self.queue(name).expect("just declared")
    }

    /// As [`Desk::declare`], with arguments.
    pub(crate) fn declare_with(&self, name: &str, arguments: Arguments) -> Arc<Queue> {
        let Command::DeclareQueue(declare) = declare_queue(name) else {
            unreachable!("that is what it makes");
        };
        self.command(Command::DeclareQueue(DeclareQueue { arguments, ..declare }));
        self.commit();
        self.queue(name).expect("just declared")
    }

    /// It is so much later, and every partition is told.
    pub(crate) fn pass(&self, millis: u64) {
        self.now.set(self.now.get().plus(millis));
        (0..self.partitions.len()).for_each(|index| self.ask(index, Request::Tick));
    }

    pub(crate) fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.shared
            .snapshot()
            .vhost(b"/")?
            .queue(name.as_bytes())
            .cloned()
    }

    pub(crate) fn ask_catalog(&self, request: CatalogRequest) {
        let mut outbox = Outbox::default();
        let mut catalog = self.catalog.borrow_mut();
        catalog.handle(request, self.now.get(), &mut outbox);
        catalog.finish(self.now.get(), &mut outbox);
        drop(catalog);
        self.carry(outbox);
    }

    pub(crate) fn ask(&self, partition: usize, request: Request) {
        let mut outbox = Outbox::default();
        let mut machine = self.partitions[partition].borrow_mut();
        machine.handle(request, self.now.get(), &mut outbox);
        machine.finish(self.now.get(), &mut outbox);
        drop(machine);
        self.carry(outbox);
    }

    pub(crate) fn ask_of(&self, queue: &Queue, request: Request) {
        self.ask(usize::from(queue.partition.0), request);
    }

    fn carry(&self, mut outbox: Outbox) {
        self.jobs.borrow_mut().append(&mut outbox.jobs);
        for (partition, request) in std::mem::take(&mut outbox.requests) {
            self.ask(usize::from(partition.0), request);
        }
        let seldom = outbox.seldom();
        let letters = std::mem::take(&mut seldom.dead);
        let catalog = std::mem::take(&mut seldom.catalog);
        let snapshot = seldom.snapshot.take();
        for letter in letters {
            let mut moved = Outbox::default();
            self.letters
                .borrow_mut()
                .handle(letter, self.now.get(), &mut moved);
            self.carry(moved);
        }
        for request in catalog {
            self.ask_catalog(request);
        }
        if let Some(snapshot) = snapshot {
            self.shared.publish(snapshot);
        }
        outbox.give_answers();
        outbox.wake_all();
    }

    /// Writes and syncs the first `count` jobs; nobody is told yet.
    pub(crate) fn write(&self, count: usize) {
        let mut log = self.log.borrow_mut();
        for mut job in self.jobs.borrow_mut().drain(..count) {
            let bytes = job.frames.bytes() as u64;
            let base = match job.lane {
                Lane::Publish => log.append(&mut job.frames),
                Lane::Settle => log.append_reserved(&mut job.frames),
            };
            let (base, end) = (base.expect("there is room"), log.appended());
            self.progress.appended(end, bytes);
            self.durable
                .borrow_mut()
                .extend(job.shares.iter().map(|share| (*share, base, end)));
        }
        self.progress.committed(log.commit().expect("the disk works"));
    }

    /// Tells the origins of what is durable.
    pub(crate) fn tell(&self) {
        self.tell_some(usize::MAX);
    }

    /// Tells the first `count` origins.
    pub(crate) fn tell_some(&self, count: usize) {
        let mut durable = std::mem::take(&mut *self.durable.borrow_mut());
        *self.durable.borrow_mut() = durable.split_off(count.min(durable.len()));
        for (Share { origin, job }, base, end) in durable {
            match origin {
                Origin::Catalog => self.ask_catalog(CatalogRequest::Committed { job, end }),
                Origin::Partition(id) => self.ask(usize::from(id.0), Request::Committed { job, base, end }),
            }
        }
    }

    /// Until nothing is on its way any more.
    pub(crate) fn commit(&self) {
        while !(self.jobs.borrow().is_empty() && self.durable.borrow().is_empty()) {
            let count = self.jobs.borrow().len();
            self.write(count);
            self.tell();
        }
    }

    pub(crate) fn committed(&self) -> Position {
        self.progress.committed_position()
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::new(Link::new(
            self.shared.next_connection(),
            Arc::new(Gate::new(1 << 20)),
            Box::new(Nobody),
        ))
    }

    pub(crate) fn reply(&self) -> Reply {
        Reply {
            link: self.link(),
            channel: 1,
        }
    }

    pub(crate) fn consumer(&self, queue: &Queue) -> ConsumerId {
        self.next_consumer.set(self.next_consumer.get() + 1);
        ConsumerId(self.next_consumer.get() << 16 | u64::from(queue.partition.0))
    }

    /// Publishes `batch` to all of `queues`, without waiting.
    pub(crate) fn publish(&self, batch: Batch, queues: &[&Queue]) {
        let all = (0, batch.entries.len() as u16);
        self.publish_runs(batch, &[all], queues);
    }

    /// As [`Desk::publish`], in several runs.
    pub(crate) fn publish_runs(&self, batch: Batch, spans: &[(u16, u16)], queues: &[&Queue]) {
        let targets = queues.iter().map(|queue| Target {
            partition: queue.partition,
            queue: queue.id,
            durable: true,
        });
        let route = Arc::new(Route {
            targets: targets.collect(),
            by_headers: false,
        });
        let runs = spans
            .iter()
            .map(|&(from, to)| RoutedRun {
                route: route.clone(),
                from,
                to,
            })
            .collect();
        let publish = Publish {
            messages: Messages::new(batch),
            runs,
            reply: self.reply(),
            confirm: None,
            bytes: 0,
            traced: None,
        };
        self.ask_of(queues[0], Request::Publish(publish));
    }

    /// What a partition answers at once.
    pub(crate) fn answer(&self, queue: &Queue, request: impl FnOnce(Reply) -> Request) -> Answer {
        let reply = self.reply();
        let link = reply.link.clone();
        self.ask_of(queue, request(reply));
        let mut notices = Vec::new();
        link.take(&mut notices);
        match notices.into_iter().next() {
            Some(Notice::Answer { answer, .. }) => answer,
            other => panic!("no answer but {other:?}"),
        }
    }

    pub(crate) fn ready(&self, queue: &Queue) -> u64 {
        let answer = self.answer(queue, |reply| Request::Status {
            queue: queue.id,
            reply,
        });
        let Answer::Counts { messages, .. } = answer else {
            panic!("no counts but {answer:?}")
        };
        messages
    }

    /// Takes a message; its body as the log gives it back, or none.
    pub(crate) fn get(&self, queue: &Queue, consumer: ConsumerId) -> Option<Vec<u8>> {
        let answer = self.answer(queue, |reply| Request::Get {
            consumer,
            queue: queue.id,
            no_ack: false,
            reply,
        });
        let Answer::Got { delivery, .. } = answer else {
            return None;
        };
        let run = delivery.delivery.run;
        let messages = match run.content {
            Some(messages) => messages,
            None => self.recall.messages(run.location).expect("the log has it"),
        };
        Some(messages.body(usize::from(run.from)).to_vec())
    }

    /// A round of upkeep, during which `at_catalog` happens when the catalog is looked at.
    pub(crate) fn look_after(self: &Rc<Self>, at_catalog: impl Fn(&Desk)) -> bool {
        let maintenance = self.log.borrow().upkeep();
        let checkpoints = maintenance.checkpoints(0).expect("the disk works");
        let machines = Caring {
            desk: self.clone(),
            at_catalog,
        };
        Upkeep::new(
            machines,
            maintenance,
            self.reader.clone(),
            checkpoints,
            u64::from(PLAN.segment_bytes),
            &self.protected,
        )
        .round()
    }
}

/// At the end of every test, everything adds up.
impl Drop for Desk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // Who was just opened looks at all queues first, as in a process.
        (0..self.partitions.len()).for_each(|index| self.ask(index, Request::Tick));
        for partition in &self.partitions {
            let validated = partition.borrow().validate();
            validated.expect("what was accepted is settled, discarded or there");
        }
    }
}

struct Caring<F> {
    desk: Rc<Desk>,
    at_catalog: F,
}

impl<F: Fn(&Desk)> Machines for Caring<F> {
    fn catalog<T>(&self, look: impl FnOnce(&mut CatalogService) -> T) -> T {
        (self.at_catalog)(&self.desk);
        look(&mut self.desk.catalog.borrow_mut())
    }

    fn partition<T>(&self, index: usize, look: impl FnOnce(&mut Partition) -> T) -> T {
        look(&mut self.desk.partitions[index].borrow_mut())
    }

    fn partitions(&self) -> usize {
        self.desk.partitions.len()
    }

    fn post(&self, index: usize, request: Request) {
        self.desk.ask(index, request);
    }

    fn run(&self, _index: usize) {}

    fn progress(&self) -> &Progress {
        &self.desk.progress
    }

    fn pause(&self, waited: &mut u32) -> bool {
        self.desk.commit();
        *waited += 1;
        *waited < 10
    }
}

pub(crate) fn arguments(values: &[(&str, Value)]) -> Arguments {
    values.iter().cloned().collect()
}

pub(crate) fn declare_queue(name: &str) -> Command {
    Command::DeclareQueue(DeclareQueue {
        vhost: Name::from("/"),
        name: Name::from(name),
        generated: false,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Arguments::default(),
        connection: None,
    })
}

/// Persistent messages with these bodies, published to the default exchange with the key `k`.
pub(crate) fn batch(bodies: &[&[u8]]) -> Batch {
    let mut chunk = BytesMut::new();
    chunk.extend_from_slice(b"\x00\x01k");
    let entries: ShortList<Entry> = bodies
        .iter()
        .map(|body| {
            let header_off = chunk.len() as u32;
            chunk.extend_from_slice(&[0, 60, 0, 0]);
            chunk.extend_from_slice(&(body.len() as u64).to_be_bytes());
            chunk.extend_from_slice(&[0x10, 0, 2]);
            let body_off = chunk.len() as u32;
            chunk.extend_from_slice(body);
            Entry {
                address_off: 0,
                address_len: 3,
                header_off,
                header_len: 15,
                body_off,
                body_len: body.len() as u32,
                flags: everack_amqp::content::flags::PERSISTENT,
            }
        })
        .collect();
    let to = entries.len() as u16;
    Batch {
        chunk: chunk.freeze(),
        entries,
        groups: ShortList::one(Group {
            from: 0,
            to,
            mandatory: false,
        }),
    }
}

/// Counts how often it was told.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) AtomicUsize);

impl everack_node::request::RescueDone for Told {
    fn rescued(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
