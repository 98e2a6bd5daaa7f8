//! The workloads: what is declared, who publishes what, who consumes how, and which rules hold in the verdict.
//!
//! One file each. A workload is data, [`Plan`]s; the load does what they say. It knows nothing of connections.

mod backlog;
mod compete;
mod delay;
mod dlx;
mod fanout;
mod large;
mod limit;
mod poison;
mod priority;
mod requeue;
mod retry;
mod ttl;
mod tx;

use crate::journal::Route;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use std::ops::Range;

/// The workloads by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
#[repr(u8)]
pub enum Kind {
    /// Messages that wait: half of them for the whole run, half behind slow consumers.
    Backlog,
    /// Several consumers on a queue.
    Compete,
    /// One publish into several bound queues: each of them must give it.
    Fanout,
    /// Publishes and acks in transactions: all or nothing, also over two queues.
    Tx,
    /// Nack, reject, recover, and consumers that die without acking.
    Requeue,
    /// Bodies of up to 4 MiB.
    Large,
    /// Dead-letter chains: rejected messages must come out at the end. Not in the default.
    Dlx,
    /// Queues with priorities. Not in the default.
    Priority,
    /// Delays by a message TTL and a dead-letter queue. Not in the default.
    Ttl,
    /// A length limit that refuses publishes. Not in the default.
    Limit,
    /// Delays by an exchange of type `x-delayed-message`. Not in the default.
    Delay,
    /// Rejected messages wait and come back to their queue. Not in the default.
    Retry,
    /// A delivery limit, and a dead-letter queue behind it. Not in the default.
    Poison,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Backlog,
        Self::Compete,
        Self::Fanout,
        Self::Tx,
        Self::Requeue,
        Self::Large,
        Self::Dlx,
        Self::Priority,
        Self::Ttl,
        Self::Limit,
        Self::Delay,
        Self::Retry,
        Self::Poison,
    ];

    /// Its name on the command line and in queue names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::Compete => "compete",
            Self::Fanout => "fanout",
            Self::Tx => "tx",
            Self::Requeue => "requeue",
            Self::Large => "large",
            Self::Dlx => "dlx",
            Self::Priority => "priority",
            Self::Ttl => "ttl",
            Self::Limit => "limit",
            Self::Delay => "delay",
            Self::Retry => "retry",
            Self::Poison => "poison",
        }
    }

    /// What the verdict holds it to.
    pub fn rules(self) -> Rules {
        match self {
            Self::Dlx => dlx::RULES,
            Self::Priority => priority::RULES,
            Self::Ttl => ttl::RULES,
            Self::Delay => delay::RULES,
            Self::Retry => retry::RULES,
            Self::Poison => poison::RULES,
            _ => Rules::STRICT,
        }
    }

    /// What it does.
    pub(crate) fn plans(self, setup: &Setup) -> Vec<Plan> {
        match self {
            Self::Backlog => backlog::plans(setup),
            Self::Compete => vec![compete::plan(setup)],
            Self::Fanout => vec![fanout::plan(setup)],
            Self::Tx => vec![tx::plan(setup)],
            Self::Requeue => vec![requeue::plan(setup)],
            Self::Large => vec![large::plan(setup)],
            Self::Dlx => vec![dlx::plan(setup)],
            Self::Priority => vec![priority::plan(setup)],
            Self::Ttl => vec![ttl::plan(setup)],
            Self::Limit => vec![limit::plan(setup)],
            Self::Delay => vec![delay::plan(setup)],
            Self::Retry => vec![retry::plan(setup)],
            Self::Poison => vec![poison::plan(setup)],
        }
    }
}

/// What the verdict holds a workload to, beyond that nothing may be lost, damaged or made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// First deliveries of a publisher's messages to one consumer come in order, within each of so many lanes (number modulo
    /// lanes). 0: in any order.
    pub lanes: u64,
    /// What is delivered again says so.
    pub flagged: bool,
}

impl Rules {
    /// As AMQP 0-9-1 has it for a plain queue.
    const STRICT: Self = Self {
        lanes: 1,
        flagged: true,
    };
}

/// The kind of queue to declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum QueueType {
    /// `x-queue-type: classic`.
    Classic,
    /// `x-queue-type: quorum`.
    Quorum,
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// What the command line says about all workloads.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the names of all queues and exchanges of this run begin with.
    pub prefix: String,
    /// The kind of queue.
    pub queue_type: QueueType,
    /// Publishers of each workload.
    pub publishers: usize,
    /// Consumers of each queue.
    pub consumers: usize,
    /// Queues of each workload.
    pub queues: usize,
    /// Messages that the backlog workload keeps waiting.
    pub backlog: u64,
    /// The size of all bodies, in bytes; mixed if not given.
    pub size: Option<usize>,
}

impl Setup {
    /// The name of something of a workload.
    fn name(&self, kind: Kind, part: &str) -> String {
        format!("{}.{}.{part}", self.prefix, kind.name())
    }

    /// A queue with these arguments beside its type.
    fn queue(&self, kind: Kind, part: &str, arguments: &[(&str, AMQPValue)]) -> Queue {
        self.queue_of(kind, self.queue_type, part, arguments)
    }

    /// A queue of this type, whatever the others are.
    fn queue_of(
        &self,
        kind: Kind,
        queue_type: QueueType,
        part: &str,
        arguments: &[(&str, AMQPValue)],
    ) -> Queue {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), text(queue_type.name()));
        for (key, value) in arguments {
            table.insert(ShortString::from(*key), value.clone());
        }
        Queue {
            name: self.name(kind, part),
            arguments: table,
        }
    }

    /// The workload's queues, `0`, `1` and so on.
    fn queues(&self, kind: Kind) -> Vec<Queue> {
        (0..self.queues)
            .map(|number| self.queue(kind, &number.to_string(), &[]))
            .collect()
    }

    /// Messages that a workload keeps waiting if waiting is not what it is about.
    fn floor(&self) -> u64 {
        self.backlog / 10
    }

    fn sizes(&self) -> Sizes {
        self.size.map_or(Sizes::Mixed, Sizes::Fixed)
    }

    /// Publishers with confirms that take the queues in turns, one queue each, through the default exchange.
    fn publishers(&self, queues: usize) -> Vec<Publisher> {
        let publisher = |number: usize| Publisher::confirming(self, "", Route::Every, vec![number % queues]);
        // A queue without a publisher would test nothing.
        (0..self.publishers.max(queues)).map(publisher).collect()
    }

    /// So many consumers of each queue as there should be.
    fn consumers(&self, queues: usize, habits: &Habits) -> Vec<Consumer> {
        let consumer = |number: usize| Consumer {
            queue: number % queues,
            habits: habits.clone(),
        };
        (0..self.consumers * queues).map(consumer).collect()
    }
}

/// A text as a table's value.
fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// What to declare, and who works on it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) queues: Vec<Queue>,
    /// A durable fanout exchange to which all queues are bound; a delayed one if publishers delay.
    pub(crate) exchange: Option<String>,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) backlog: Backlog,
}

/// How many messages wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// Consumers do not ack while fewer wait.
    pub(crate) floor: u64,
    /// Publishers hold back while more wait.
    pub(crate) ceiling: u64,
}

impl Plan {
    /// Whether its exchange is one that holds messages back.
    pub(crate) fn delays(&self) -> bool {
        self.publishers.iter().any(|publisher| publisher.delay_ms > 0)
    }
}

impl Backlog {
    /// A floor, and room above it for what is on its way.
    fn above(floor: u64, room: u64) -> Self {
        Self {
            floor,
            ceiling: floor + room,
        }
    }
}

/// A durable queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) arguments: FieldTable,
}

/// One publisher.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    /// The exchange; the default one if empty, with the queue's name as the routing key.
    pub(crate) exchange: String,
    pub(crate) route: Route,
    /// Indexes into the plan's queues.
    pub(crate) queues: Vec<usize>,
    pub(crate) sizes: Sizes,
    /// Publishes in transactions instead of with confirms.
    pub(crate) transactional: bool,
    /// Priorities given out in turns; 0 for none.
    pub(crate) priorities: u8,
    /// How long the exchange is to hold each message back, in milliseconds; 0 for an ordinary exchange.
    pub(crate) delay_ms: u16,
}

impl Publisher {
    /// Publishes with confirms, and asks for nothing else: through this exchange, to these of the plan's queues.
    fn confirming(setup: &Setup, exchange: &str, route: Route, queues: Vec<usize>) -> Self {
        Self {
            exchange: exchange.to_owned(),
            route,
            queues,
            sizes: setup.sizes(),
            transactional: false,
            priorities: 0,
            delay_ms: 0,
        }
    }
}

/// How large bodies are.
#[derive(Clone, Debug)]
pub(crate) enum Sizes {
    /// Mostly small, sometimes larger than a frame.
    Mixed,
    /// 64 KiB to 4 MiB.
    Large,
    /// All the same.
    Fixed(usize),
}

impl Sizes {
    /// The next body's size in bytes.
    pub(crate) fn next(&self, random: &mut fastrand::Rng) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Large => random.usize(64 << 10..4 << 20),
            Self::Mixed => match random.u32(0..1000) {
                0..900 => random.usize(16..300),
                900..999 => random.usize(300..5_000),
                _ => random.usize(5_000..300_000),
            },
        }
    }

    /// Most messages that a publisher has on the way.
    pub(crate) fn window(&self) -> u32 {
        match self {
            Self::Large => 3,
            _ => 400,
        }
    }
}

/// One consumer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    /// Index into the plan's queues.
    pub(crate) queue: usize,
    pub(crate) habits: Habits,
}

/// What a consumer does beside acking.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) prefetch: u16,
    /// One in so many first deliveries is given back; 0 for none.
    pub(crate) return_one_in: u32,
    /// One in so many deliveries is rejected for good; 0 for none.
    pub(crate) reject_one_in: u32,
    /// One in so many deliveries is rejected back into its queue, as often as it comes; 0 for none.
    pub(crate) fail_one_in: u32,
    /// One in so many batches is given back whole, with recover; 0 for none.
    pub(crate) recover_one_in: u32,
    /// Its connection is cut after so many deliveries.
    pub(crate) dies_after: Option<Range<u32>>,
    /// Acks in transactions, some of which it rolls back.
    pub(crate) transactional: bool,
    /// Comes only when everything is drained.
    pub(crate) only_drains: bool,
}

impl Habits {
    /// A consumer that acks everything.
    fn plain(prefetch: u16) -> Self {
        Self {
            prefetch,
            return_one_in: 0,
            reject_one_in: 0,
            fail_one_in: 0,
            recover_one_in: 0,
            dies_after: None,
            transactional: false,
            only_drains: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup {
            prefix: "audit.x".into(),
            queue_type: QueueType::Classic,
            publishers: 2,
            consumers: 2,
            queues: 3,
            backlog: 1000,
            size: None,
        }
    }

    #[test]
    fn every_plan_can_be_carried_out() {
        for kind in Kind::ALL {
            for plan in kind.plans(&setup()) {
                let named = plan.queues.iter().all(|queue| queue.name.starts_with("audit.x."));
                assert!(named, "{kind:?}");
                let aimed = plan.publishers.iter().flat_map(|publisher| &publisher.queues);
                assert!(
                    aimed.into_iter().all(|queue| *queue < plan.queues.len()),
                    "{kind:?}"
                );
                for queue in 0..plan.queues.len() {
                    // What waits in the queue of a delay leaves it by itself.
                    let emptied = plan.consumers.iter().any(|consumer| consumer.queue == queue);
                    assert!(
                        emptied || matches!(kind, Kind::Ttl | Kind::Retry),
                        "{kind:?}: nobody drains queue {queue}"
                    );
                }
                assert!(plan.backlog.floor <= plan.backlog.ceiling, "{kind:?}");
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_journal() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
