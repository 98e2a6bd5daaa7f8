//! One queue as the catalog knows it: what was declared, its number and its place. The messages are the partition's.

use std::sync::Arc;

use super::consumer_arguments::ConsumerSettings;
use super::delayed::ROOM_PREFIX;
use super::equivalence;
use super::govern::Governance;
use super::no_ack_guard::Guard;
use super::policy_setting::CONSUMER_TIMEOUT;
use super::queue_arguments::{QueueKind, QueueSettings};
use super::refusal::{Refusal, resource};
use super::unroutable::UNROUTABLE_STORE;
use crate::arguments::{Arguments, Value};
use crate::ids::{ConnectionId, PartitionId, QueueId};
use crate::name::Name;
use crate::partition::{Ranks, Rules, Takeover};
use crate::routing::bucket::Member;
use crate::routing::{Route, Target};
use crate::terms::Terms;

/// The limit of a quorum queue that names none.
const DELIVERY_LIMIT_QUORUM: i64 = 20;

/// How long a waiting room has to be empty before the catalog is asked whether it may go.
const ROOM_IDLE_MILLIS: u64 = 60_000;

/// How long consumers of a quorum queue may hold a message if nobody says anything: half an hour, as in RabbitMQ.
const CONSUMER_TIMEOUT_QUORUM_MILLIS: u64 = 1_800_000;

/// One queue. Never changes once it is declared, but for what policies make of it: then another one takes its place here.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Never used again for another queue.
    pub id: QueueId,
    /// Where its messages are.
    pub partition: PartitionId,
    /// Its virtual host.
    pub vhost: Name,
    /// Unique in its virtual host.
    pub name: Name,
    /// Whether it survives a restart. An exclusive queue does not, whatever was asked for: it goes with its connection.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The connection that alone may use it.
    pub owner: Option<ConnectionId>,
    /// As declared.
    pub arguments: Arguments,
    /// Which policies govern it, and what they set.
    pub governance: Governance,
    /// The arguments as they are in effect: as declared, and what policies add to that or bound.
    pub effective: Arguments,
    /// What the arguments in effect mean.
    pub settings: QueueSettings,
    /// The route of what is published to it through the default exchange.
    pub(crate) route: Arc<Route>,
}

/// What was asked for when a queue is declared.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) arguments: Arguments,
}

impl Declaration {
    /// Of a queue that the broker keeps for itself.
    pub(crate) fn of_the_broker() -> Self {
        Self {
            durable: true,
            auto_delete: false,
            owner: None,
            arguments: Arguments::default(),
        }
    }
}

impl Queue {
    pub(crate) fn new(
        id: QueueId,
        partition: PartitionId,
        vhost: Name,
        name: Name,
        declaration: Declaration,
        governance: Governance,
    ) -> Self {
        let Declaration {
            durable,
            auto_delete,
            owner,
            arguments,
        } = declaration;
        let route = Route::new(
            vec![Target {
                partition,
                queue: id,
                durable,
            }],
            false,
        );
        let effective = governance.effective(&arguments);
        Queue {
            id,
            partition,
            vhost,
            name,
            durable,
            auto_delete,
            owner,
            settings: QueueSettings::read(&effective),
            arguments,
            governance,
            effective,
            route,
        }
    }

    /// The same queue governed otherwise.
    pub(crate) fn governed(&self, governance: Governance) -> Self {
        let effective = governance.effective(&self.arguments);
        Queue {
            settings: QueueSettings::read(&effective),
            governance,
            effective,
            ..self.clone()
        }
    }

    /// The queue as a destination.
    pub fn target(&self) -> Target {
        Target {
            partition: self.partition,
            queue: self.id,
            durable: self.durable,
        }
    }

    /// The queue as a member of routing tables.
    pub(crate) fn member(&self) -> Member {
        Member::Queue(self.route.clone())
    }

    /// Whether only one connection may use it.
    pub fn is_exclusive(&self) -> bool {
        self.owner.is_some()
    }

    /// Whether it keeps the unroutable messages of its virtual host.
    pub fn is_store(&self) -> bool {
        self.name.as_bytes() == UNROUTABLE_STORE.as_bytes()
    }

    /// The exchange whose messages wait here for their time; none if it is a queue like any other.
    pub fn waits_for(&self) -> Option<&[u8]> {
        self.name.strip_prefix(ROOM_PREFIX.as_bytes())
    }

    /// The type that was asked for.
    pub fn kind(&self) -> QueueKind {
        self.settings.kind
    }

    /// What the queue does with its messages beyond first in, first out.
    pub fn rules(&self) -> Box<Rules> {
        let takeover = match self.kind() {
            QueueKind::Classic => Takeover::WhenGone,
            QueueKind::Quorum => Takeover::WhenOutranked,
        };
        Box::new(Rules {
            single_active: self.settings.single_active_consumer.then_some(takeover),
            counts_failures: self.counts_failures(),
            delivery_limit: self.delivery_limit(),
            retry: self.settings.retry,
            ranks: self.ranks(),
            terms: self.terms(),
        })
    }

    /// What the queue makes of the priorities of messages. RabbitMQ's quorum queues have 32 levels, and a message without a
    /// priority is in the fifth.
    pub fn ranks(&self) -> Option<Ranks> {
        match (self.kind(), self.settings.priority_max) {
            (QueueKind::Quorum, _) => Some(Ranks { max: 31, usual: 4 }),
            (QueueKind::Classic, None | Some(0)) => None,
            (QueueKind::Classic, Some(max)) => Some(Ranks { max, usual: 0 }),
        }
    }

    /// How long a consumer with these settings may hold a message. A quorum queue's have a limit unless they ask for none, with 0; an
    /// operator's limit stands whatever they ask for.
    pub fn patience_millis(&self, consumer: &ConsumerSettings) -> Option<u64> {
        let given = consumer.timeout_millis.or(self.settings.consumer_timeout_millis);
        let default = match self.kind() {
            QueueKind::Classic => None,
            QueueKind::Quorum => Some(CONSUMER_TIMEOUT_QUORUM_MILLIS),
        };
        let given = given.or(default).filter(|millis| *millis > 0);
        let bound = self
            .governance
            .bounds
            .get(CONSUMER_TIMEOUT)
            .and_then(Value::as_integer);
        let bound = bound
            .and_then(|millis| u64::try_from(millis).ok())
            .filter(|millis| *millis > 0);
        match (given, bound) {
            (Some(given), Some(bound)) => Some(given.min(bound)),
            (given, bound) => given.or(bound),
        }
    }

    /// Whether failed deliveries are counted, and consumers told of them.
    pub fn counts_failures(&self) -> bool {
        let settings = &self.settings;
        self.kind() == QueueKind::Quorum || settings.delivery_limit.is_some() || settings.retry.is_some()
    }

    /// How many failed deliveries a message may have. A quorum queue has a limit unless it asks for none.
    fn delivery_limit(&self) -> Option<u16> {
        let given = self.settings.delivery_limit;
        let default = match self.kind() {
            QueueKind::Classic => None,
            QueueKind::Quorum => Some(DELIVERY_LIMIT_QUORUM),
        };
        let limit = given.or(default).filter(|limit| *limit >= 0);
        limit.map(|limit| u16::try_from(limit).unwrap_or(u16::MAX))
    }

    /// On which terms its partition keeps its messages.
    pub fn terms(&self) -> Terms {
        let settings = &self.settings;
        let scheduled = self.waits_for().is_some();
        Terms {
            message_ttl_millis: settings.message_ttl_millis,
            expires_millis: settings.expires_millis.or(scheduled.then_some(ROOM_IDLE_MILLIS)),
            messages_max: settings.messages_max,
            bytes_max: settings.bytes_max,
            overflow: settings.overflow,
            dead_letters: scheduled || settings.dead_letter_exchange.is_some(),
            scheduled,
            // The store's bounds are about all that it holds, as nobody else bounds it.
            counts_all_bytes: self.is_store(),
            retention: (self.no_ack_guard() == Guard::Retain).then_some(self.governance.no_ack.retention),
        }
    }

    /// What is done about consumers that do not acknowledge. What a queue would not keep through a restart, or is one connection's
    /// own, is not guarded.
    pub fn no_ack_guard(&self) -> Guard {
        match self.durable && !self.is_exclusive() {
            true => self.governance.no_ack.guard,
            false => Guard::Allow,
        }
    }

    /// Whether `connection` may use the queue; none stands for the broker itself or an operator.
    pub fn check_access(&self, connection: Option<ConnectionId>) -> Result<(), Refusal> {
        if self.owner.is_none() || self.owner == connection {
            Ok(())
        } else {
            Err(Refusal::locked(self.describe()))
        }
    }

    /// Whether a declaration says the same as this.
    pub(crate) fn check_equivalence(&self, declared: &Declaration) -> Result<(), Refusal> {
        let resource = self.describe();
        if self.owner != declared.owner {
            return Err(Refusal::locked(resource));
        }
        equivalence::check_property("durable", &resource, self.durable, declared.durable)?;
        equivalence::check_property("auto_delete", &resource, self.auto_delete, declared.auto_delete)?;
        let names = self.settings.kind.argument_names();
        equivalence::check_arguments(names, &resource, &self.arguments, &declared.arguments)
    }

    pub(crate) fn describe(&self) -> String {
        resource("queue", &self.name, &self.vhost)
    }
}
