//! What all connections of a node share: the topology as last published, the alarms, and the next numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use everack_broker::catalog::Snapshot;
use everack_broker::ids::{ConnectionId, ConsumerId, PartitionId};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::alarms::Alarms;
use crate::large::LargeOutput;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::link::Link;
use crate::names::{NameKey, Names};
use crate::notice::Notice;
use crate::replies::Replies;
use crate::report::Inquirer;
use crate::tenants::Tenants;
use crate::traces::Choice;

/// See the module documentation.
#[derive(Debug)]
pub struct Shared {
    /// Alarms of this node.
    pub alarms: Alarms,
    /// Counters of what passes.
    pub counters: Counters,
    /// How many of a thing there may be.
    pub limits: Limits,
    /// Room for large messages on their way to clients.
    pub large: LargeOutput,
    /// What channels that are gone have published.
    pub ledger: Ledger,
    /// Channels that are answered past all queues.
    pub replies: Replies,
    /// How many connections and channels virtual hosts and users have.
    pub tenants: Tenants,
    snapshot: ArcSwap<Snapshot>,
    epoch: AtomicU64,
    connection_next: AtomicU64,
    consumer_next: AtomicU64,
    transaction_next: AtomicU64,
    trace_next: AtomicU64,
    choice: OnceLock<Choice>,
    names: Names,
    draw_next: AtomicU64,
    draw_seed: u64,
    links: Mutex<FxHashMap<ConnectionId, Weak<Link>>>,
}

/// Counters of what passes, by name of what they count.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that no queue wanted and whose publisher did not ask to have back.
    pub unroutable_dropped: AtomicU64,
    /// Messages that no queue wanted and that their virtual host keeps in its store.
    pub unroutable_kept: AtomicU64,
    /// Messages that no queue wanted and that were refused.
    pub unroutable_refused: AtomicU64,
    /// Messages that no queue wanted and that went back to their publisher.
    pub unroutable_returned: AtomicU64,
    /// Consumers that do not acknowledge, on durable queues, that were told of; and channels that poll so, by queue.
    pub no_ack_warned: AtomicU64,
    /// The same, that were refused.
    pub no_ack_refused: AtomicU64,
    /// Messages whose content could not be read back and was set aside.
    pub damaged: AtomicU64,
    /// Direct replies that found no room in the connection of the one who asked.
    pub replies_dropped: AtomicU64,
}

impl Shared {
    /// `key` is random and keeps clients from computing names; `start` numbers this start of the node and makes the numbers
    /// of transactions unique within the log.
    pub fn new(snapshot: Snapshot, key: NameKey, start: u32) -> Self {
        let names = Names::new(key);
        Self {
            alarms: Alarms::default(),
            counters: Counters::default(),
            limits: Limits::default(),
            large: LargeOutput::default(),
            ledger: Ledger::default(),
            replies: Replies::default(),
            tenants: Tenants::default(),
            epoch: AtomicU64::new(snapshot.epoch()),
            snapshot: ArcSwap::from_pointee(snapshot),
            connection_next: AtomicU64::new(1),
            consumer_next: AtomicU64::new(1),
            transaction_next: AtomicU64::new(u64::from(start) << 32 | 1),
            trace_next: AtomicU64::new(1),
            choice: OnceLock::new(),
            draw_next: AtomicU64::new(1),
            draw_seed: names.draw_seed(),
            names,
            links: Mutex::new(FxHashMap::default()),
        }
    }

    /// The topology as last published.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Changes with every publication of a snapshot; cheap enough to look at for every batch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Publishes a newer topology.
    pub fn publish(&self, snapshot: Snapshot) {
        let epoch = snapshot.epoch();
        self.snapshot.store(Arc::new(snapshot));
        self.epoch.store(epoch, Ordering::Release);
    }

    /// The next connection's id.
    pub fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connection_next.fetch_add(1, Ordering::Relaxed))
    }

    /// The next consumer's id; its low bits name the partition it reads from ([`partition_of`]).
    pub fn next_consumer(&self, partition: PartitionId) -> ConsumerId {
        let number = self.consumer_next.fetch_add(1, Ordering::Relaxed);
        ConsumerId(number << 16 | u64::from(partition.0))
    }

    /// The next transaction's number.
    pub fn next_transaction(&self) -> u64 {
        self.transaction_next.fetch_add(1, Ordering::Relaxed)
    }

    /// Connections to come follow messages, chosen so. Only the first call counts.
    pub fn follow(&self, choice: Choice) {
        let _ = self.choice.set(choice);
    }

    /// Which messages are followed on their way; none at all without it.
    pub fn choice(&self) -> Option<Choice> {
        self.choice.get().copied()
    }

    /// The next trace's number.
    pub(crate) fn next_trace(&self) -> u64 {
        self.trace_next.fetch_add(1, Ordering::Relaxed)
    }

    /// A fresh name such as `amq.gen-` and 22 characters, as RabbitMQ gives to what the client left unnamed.
    pub fn generate_name(&self, prefix: &str) -> String {
        self.names.generate(prefix)
    }

    /// A number by chance, another one at each call; for exchanges that choose so.
    pub fn draw(&self) -> u64 {
        let number = self.draw_next.fetch_add(1, Ordering::Relaxed);
        scramble(self.draw_seed ^ number)
    }

    /// Lets alarms reach this link.
    pub fn register(&self, link: &Arc<Link>) {
        self.links.lock().insert(link.connection, Arc::downgrade(link));
    }

    /// Forgets a link.
    pub fn deregister(&self, connection: ConnectionId) {
        self.links.lock().remove(&connection);
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.links.lock().len()
    }

    /// Wakes every connection, so that it looks at the alarms.
    pub fn wake_connections(&self) {
        for link in self.links() {
            link.wake();
        }
    }

    /// Asks every connection how it stands; says how many were asked.
    pub fn ask_connections(&self, inquirer: &Arc<dyn Inquirer>) -> usize {
        let links = self.links();
        for link in &links {
            let inquirer = inquirer.clone();
            link.push(Notice::Report { inquirer });
            link.wake();
        }
        links.len()
    }

    /// Asks a connection to close, for a reason that its client is told; says whether there is such a connection.
    pub fn close_connection(&self, connection: ConnectionId, reason: &str) -> bool {
        let link = self.links.lock().get(&connection).and_then(Weak::upgrade);
        if let Some(link) = &link {
            let reason = reason.to_owned();
            link.push(Notice::Close { reason });
            link.wake();
        }
        link.is_some()
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// The partition that a consumer reads from.
pub fn partition_of(consumer: ConsumerId) -> PartitionId {
    PartitionId(consumer.0 as u16)
}

/// The finaliser of SplitMix64: every input bit reaches every output bit. It can be run backwards, so nothing that it gives may be a
/// secret.
fn scramble(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
