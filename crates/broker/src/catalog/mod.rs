//! The topology machine: virtual hosts, exchanges, queues, bindings, users and permissions, and the policies and limits on them.
//!
//! [`Catalog::apply`] is the only way in which it changes while it runs, [`Catalog::replay`] the way in which it is rebuilt.
//! Everybody else reads a [`Snapshot`], which costs nothing to take and never changes. Low rate, totally ordered.
//!
//! Not responsible for the contents of queues and their consumers (see [`crate::partition`]), for who may give which
//! command (asked beforehand: [`Snapshot::authorise`]), nor for writing facts anywhere. There is no randomness here: names
//! that the broker makes up, and the key of the hashes, are passed in.
//!
//! ```text
//! Command --authorise--> apply --> Outcome { facts, .. } --log--> durable --> snapshot published, client answered
//!                          '--> Refusal: nothing happened
//! ```

mod apply;
mod argument_checks;
mod authorise;
mod binding;
mod bound;
mod command;
mod consumer_arguments;
mod default_kind;
mod delayed;
mod description;
mod equivalence;
mod erlang;
pub(crate) mod exchange;
mod fact;
mod govern;
mod limit;
mod no_ack_guard;
mod outcome;
mod permission;
mod policies;
mod policy;
mod policy_setting;
mod policy_settings;
mod queue_arguments;
mod queue_definition;
mod refusal;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;
mod together;
mod topic_permission;
mod unroutable;
mod user;
mod validate;
pub(crate) mod vhost;

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

pub use self::binding::{Binding, Destination};
pub(crate) use self::bound::Bound;
pub use self::command::{Command, DeclareExchange, DeclareQueue};
pub use self::consumer_arguments::ConsumerSettings;
pub use self::delayed::DelayBounds;
pub use self::description::Description;
pub use self::exchange::{Exchange, ExchangeKind};
pub use self::fact::Fact;
pub use self::govern::Governance;
pub use self::limit::{LimitName, LimitSet, UserLimit, VhostLimit};
pub use self::no_ack_guard::{Guard, NoAckGuard};
pub use self::outcome::Outcome;
pub use self::permission::{Access, Permissions, Resource};
use self::policy::Governed;
pub use self::policy::{ApplyTo, Policy, PolicyDefinition, PolicyKind};
pub use self::queue_arguments::{Overflow, QueueKind, QueueSettings};
pub use self::queue_definition::Queue;
pub use self::refusal::{Refusal, RefusalKind, resource};
pub use self::replay::Contradiction;
use self::snapshot::State;
pub use self::snapshot::{Snapshot, VhostView};
pub use self::topic_permission::TopicPermission;
pub use self::unroutable::{UNROUTABLE_STORE, Unroutable};
pub use self::user::User;
use self::vhost::Vhost;
use crate::ids::{PartitionId, QueueId};
use crate::name::Name;
use crate::routing::keyed_hash::Keyed;
use crate::routing::small_map::Map;

/// The topology. See the module. A copy costs a few counters and goes its own way.
#[derive(Clone, Debug)]
pub struct Catalog {
    state: State,
    /// At most `state.queue_ids_below`.
    queue_id_next: QueueId,
    /// How many queues each partition has. May be longer than the number of partitions that new queues go to.
    partition_queues: Vec<u64>,
    partitions: u16,
    delay_bounds: DelayBounds,
}

/// What a catalog is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// New queues go to partitions `0..partitions`; at least one.
    pub partitions: u16,
    /// Unknown to clients, so that they cannot choose names that collide. Has no influence on any outcome.
    pub hash_key: u64,
}

/// Ids are reserved in blocks, so that declaring a queue that makes no other fact makes one only so often.
const QUEUE_IDS_RESERVED: u64 = 1024;

impl Catalog {
    /// A catalog without even a virtual host.
    ///
    /// # Panics
    /// Without partitions.
    pub fn new(options: Options) -> Self {
        assert!(
            options.partitions > 0,
            "a catalog places queues in at least one partition"
        );
        let keyed = Keyed::new(options.hash_key);
        let state = State {
            keyed,
            epoch: 0,
            vhosts: OrdMap::new(),
            users: OrdMap::new(),
            permissions: OrdMap::new(),
            topic_permissions: OrdMap::new(),
            global_parameters: OrdMap::new(),
            declared: None,
            queues: Map::with_hasher(keyed),
            exclusive: OrdSet::new(),
            queue_ids_below: QueueId(1),
        };
        let partition_queues = vec![0; options.partitions.into()];
        Self {
            state,
            queue_id_next: QueueId(1),
            partition_queues,
            partitions: options.partitions,
            delay_bounds: DelayBounds::default(),
        }
    }

    /// Bounds what may wait in each delayed exchange. Not a fact: what is there when the catalog is made holds for it. To be called
    /// before anything is declared or replayed.
    #[must_use]
    pub fn with_delay_bounds(self, delay_bounds: DelayBounds) -> Self {
        Self { delay_bounds, ..self }
    }

    /// The catalog as it is now. Costs a few counters; the next change after it copies the path that it touches.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::new(self.state.clone()))
    }

    fn vhost(&self, name: &Name) -> Result<&Vhost, Refusal> {
        let vhost = self.state.vhosts.get(name);
        vhost
            .map(Arc::as_ref)
            .ok_or_else(|| Refusal::not_found(format!("vhost '{name}'")))
    }

    fn vhost_mut(&mut self, name: &Name) -> Result<&mut Vhost, Refusal> {
        let vhost = self.state.vhosts.get_mut(name);
        vhost
            .map(Arc::make_mut)
            .ok_or_else(|| Refusal::not_found(format!("vhost '{name}'")))
    }

    fn add_vhost(&mut self, name: Name) {
        let vhost = Vhost::new(name.clone(), self.state.keyed);
        self.state.vhosts.insert(name, Arc::new(vhost));
    }

    /// Removes a virtual host and returns its queues in the order of their ids.
    fn remove_vhost(&mut self, name: &Name) -> Option<Vec<Arc<Queue>>> {
        let vhost = self.state.vhosts.remove(name)?;
        let mut queues: Vec<Arc<Queue>> = vhost.all_queues().cloned().collect();
        queues.sort_unstable_by_key(|queue| queue.id);
        queues.iter().for_each(|queue| self.forget_queue(queue));
        self.remove_permissions(|(_, vhost)| vhost == name);
        self.remove_topic_permissions(|(_, vhost, _)| vhost == name);
        Some(queues)
    }

    fn remove_user(&mut self, name: &Name) -> bool {
        self.remove_permissions(|(user, _)| user == name);
        self.remove_topic_permissions(|(user, _, _)| user == name);
        self.state.users.remove(name).is_some()
    }

    fn remove_permissions(&mut self, concerned: impl Fn(&(Name, Name)) -> bool) {
        let keys: Vec<(Name, Name)> = self
            .state
            .permissions
            .keys()
            .filter(|key| concerned(key))
            .cloned()
            .collect();
        keys.iter()
            .for_each(|key| drop(self.state.permissions.remove(key)));
    }

    /// Adds an exchange whose name is free, governed by the policies that match it.
    fn add_exchange(&mut self, vhost: &Name, mut exchange: Exchange) -> Result<(), Refusal> {
        let vhost = self.vhost_mut(vhost)?;
        exchange.govern(vhost.governance(Governed::Exchange(&exchange.name)));
        vhost.exchanges.insert(exchange.name.clone(), Arc::new(exchange));
        Ok(())
    }

    /// Adds a queue whose virtual host is there and whose name is free, governed by the policies that match it.
    fn add_queue(
        &mut self,
        id: QueueId,
        partition: PartitionId,
        vhost_name: Name,
        name: Name,
        declaration: queue_definition::Declaration,
    ) -> Arc<Queue> {
        let delay_bounds = self.delay_bounds;
        let vhost = self
            .vhost_mut(&vhost_name)
            .expect("the virtual host was found before");
        let kind = QueueKind::asked_for(&declaration.arguments);
        let is_room = name.starts_with(delayed::ROOM_PREFIX.as_bytes());
        let governance = if is_room {
            delay_bounds.governance()
        } else {
            vhost.governance(Governed::Queue(&name, kind))
        };
        let queue = Arc::new(Queue::new(
            id,
            partition,
            vhost_name,
            name,
            declaration,
            governance,
        ));
        let named = if is_room {
            &mut vhost.rooms
        } else {
            &mut vhost.queues
        };
        named.insert(queue.name.clone(), queue.clone());
        if let Some(owner) = queue.owner {
            self.state.exclusive.insert((owner, queue.id));
        }
        *self.queues_in(queue.partition) += 1;
        self.state.queues.insert(queue.id, queue.clone());
        queue
    }

    /// Removes a queue with its bindings, and returns it with the names of the exchanges that led there.
    fn drop_queue(&mut self, id: QueueId) -> Option<(Arc<Queue>, Vec<Name>)> {
        let queue = self.state.queues.get(&id)?.clone();
        let vhost = self
            .vhost_mut(&queue.vhost)
            .expect("a queue is in a virtual host");
        let removed = vhost
            .remove_queue(&queue.name)
            .expect("a queue is known by its name");
        self.forget_queue(&queue);
        Some(removed)
    }

    /// Takes a queue out of the indexes that span virtual hosts.
    fn forget_queue(&mut self, queue: &Queue) {
        self.state.queues.remove(&queue.id);
        if let Some(owner) = queue.owner {
            self.state.exclusive.remove(&(owner, queue.id));
        }
        *self.queues_in(queue.partition) -= 1;
    }

    fn queues_in(&mut self, partition: PartitionId) -> &mut u64 {
        let at = usize::from(partition.0);
        if at >= self.partition_queues.len() {
            self.partition_queues.resize(at + 1, 0);
        }
        &mut self.partition_queues[at]
    }

    /// The partition with the fewest queues; of equals the first.
    fn choose_partition(&self) -> PartitionId {
        let fewest = (0..self.partitions).min_by_key(|at| self.partition_queues[usize::from(*at)]);
        PartitionId(fewest.expect("there is at least one partition"))
    }

    /// An id that was never used. A block of them is reserved by a fact before the first of it is.
    fn take_queue_id(&mut self, facts: &mut Vec<Fact>) -> QueueId {
        let id = self.queue_id_next;
        self.queue_id_next = QueueId(id.0 + 1);
        if id >= self.state.queue_ids_below {
            self.state.queue_ids_below = QueueId(id.0 + QUEUE_IDS_RESERVED);
            facts.push(Fact::QueueIds {
                below: self.state.queue_ids_below,
            });
        }
        id
    }

    /// Never gives out an id below this one.
    fn forget_queue_ids(&mut self, below: QueueId) {
        self.state.queue_ids_below = self.state.queue_ids_below.max(below);
        self.queue_id_next = self.queue_id_next.max(self.state.queue_ids_below);
    }

    /// The queue with that id, in whatever virtual host.
    pub fn queue(&self, queue: QueueId) -> Option<&Arc<Queue>> {
        self.state.queues.get(&queue)
    }

    /// The id that the next queue gets.
    pub fn next_queue_id(&self) -> QueueId {
        self.queue_id_next
    }
}
