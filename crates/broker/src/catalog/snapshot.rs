//! The catalog at one moment, for all to read.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::binding::{Binding, Destination};
use super::consumer_arguments::ConsumerSettings;
use super::description::Description;
use super::exchange::{Exchange, ExchangeKind};
use super::limit::{LimitSet, VhostLimit};
use super::no_ack_guard::NoAckGuard;
use super::permission::{Access, Permissions};
use super::policy::Policy;
use super::queue_arguments::QueueKind;
use super::queue_definition::Queue;
use super::refusal::{Refusal, RefusalKind, resource};
use super::topic_permission::TopicPermission;
use super::unroutable::Unroutable;
use super::user::User;
use super::vhost::{PREDECLARED, Vhost};
use crate::arguments::Arguments;
use crate::ids::{ConnectionId, QueueId};
use crate::name::Name;
use crate::routing::keyed_hash::Keyed;
use crate::routing::small_map::Map;
use crate::routing::{self, Headers, Route, RouteError};

/// All that the catalog knows, made of persistent maps: a clone costs a few counters.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) keyed: Keyed,
    pub(crate) epoch: u64,
    pub(crate) vhosts: OrdMap<Name, Arc<Vhost>>,
    pub(crate) users: OrdMap<Name, Arc<User>>,
    /// By user and virtual host.
    pub(crate) permissions: OrdMap<(Name, Name), Arc<Permissions>>,
    /// By user, virtual host and exchange.
    pub(crate) topic_permissions: OrdMap<(Name, Name, Name), Arc<TopicPermission>>,
    /// By name, as JSON.
    pub(crate) global_parameters: OrdMap<Name, Arc<str>>,
    /// What the configuration has declared last.
    pub(crate) declared: Option<Arc<str>>,
    pub(crate) queues: Map<QueueId, Arc<Queue>>,
    pub(crate) exclusive: OrdSet<(ConnectionId, QueueId)>,
    /// No id from here on was ever used. Every id that is in use was reserved by a fact before.
    pub(crate) queue_ids_below: QueueId,
}

/// The catalog at one moment. Immutable and cheap to clone and to keep.
#[derive(Clone, Debug)]
pub struct Snapshot(pub(crate) Arc<State>);

/// One virtual host at one moment. Immutable and cheap to clone and to keep.
#[derive(Clone, Debug)]
pub struct VhostView(pub(crate) Arc<Vhost>);

impl Snapshot {
    /// Grows with each change. What was derived from a snapshot holds as long as the epoch is the same.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// The virtual host of that name.
    pub fn vhost(&self, name: &[u8]) -> Option<VhostView> {
        self.0.vhosts.get(name).cloned().map(VhostView)
    }

    /// All virtual hosts, by name.
    pub fn vhosts(&self) -> impl Iterator<Item = VhostView> {
        self.0.vhosts.values().cloned().map(VhostView)
    }

    /// The virtual host, if that user may be in it.
    pub fn open_vhost(&self, user: &Name, vhost: &Name) -> Result<VhostView, Refusal> {
        let refused = |text| Refusal::new(RefusalKind::NotAllowed, text);
        let view = self
            .vhost(vhost)
            .ok_or_else(|| refused(format!("vhost {vhost} not found")))?;
        match self.permissions(user, vhost) {
            Some(_) => Ok(view),
            None => Err(refused(format!(
                "access to vhost '{vhost}' refused for user '{user}'"
            ))),
        }
    }

    /// The user of that name.
    pub fn user(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.0.users.get(name)
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.0.users.values()
    }

    /// What a user may do in a virtual host; none if it may not even enter.
    pub fn permissions(&self, user: &Name, vhost: &Name) -> Option<Arc<Permissions>> {
        self.0.permissions.get(&(user.clone(), vhost.clone())).cloned()
    }

    /// All permissions, by user and virtual host.
    pub fn all_permissions(&self) -> impl Iterator<Item = &Arc<Permissions>> {
        self.0.permissions.values()
    }

    /// All topic permissions, by user, virtual host and exchange.
    pub fn topic_permissions(&self) -> impl Iterator<Item = &Arc<TopicPermission>> {
        self.0.topic_permissions.values()
    }

    /// The parameters of the whole broker, by name; the values are JSON.
    pub fn global_parameters(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.0
            .global_parameters
            .iter()
            .map(|(name, value)| (name, &**value))
    }

    /// The parameter of the whole broker of that name, as JSON.
    pub fn global_parameter(&self, name: &[u8]) -> Option<&str> {
        self.0.global_parameters.get(name).map(|value| &**value)
    }

    /// What the configuration has declared last, as it was remembered; none if it never was.
    pub fn declared(&self) -> Option<&str> {
        self.0.declared.as_deref()
    }

    /// Refuses a routing key that the user may not use on that exchange. Only topic exchanges ask; on others a key is no topic.
    pub fn require_topic(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: &Exchange,
        access: Access,
        routing_key: &[u8],
    ) -> Result<(), Refusal> {
        if exchange.kind != ExchangeKind::Topic || self.0.topic_permissions.is_empty() {
            return Ok(());
        }
        let key = (user.clone(), vhost.clone(), exchange.name.clone());
        match self.0.topic_permissions.get(&key) {
            Some(permission) => permission.require(access, routing_key),
            None => Ok(()),
        }
    }

    /// The queue with that id, in whatever virtual host.
    pub fn queue(&self, queue: QueueId) -> Option<&Arc<Queue>> {
        self.0.queues.get(&queue)
    }

    /// How many queues there are, over all virtual hosts.
    pub fn queue_count(&self) -> usize {
        self.0.queues.len()
    }

    /// How many exchanges there are, over all virtual hosts, besides those that each of them has; or rooms of delayed exchanges that have
    /// gone, if that is more.
    pub fn exchange_count(&self) -> usize {
        let vhosts = self.0.vhosts.values();
        vhosts
            .map(|vhost| {
                let exchanges = vhost.exchanges.len().saturating_sub(PREDECLARED.len());
                exchanges.max(vhost.rooms.len())
            })
            .sum()
    }

    /// All queues of all virtual hosts, in no particular order.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.0.queues.values()
    }
}

impl VhostView {
    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// What it is for.
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// How much it may have.
    pub fn limits(&self) -> LimitSet<VhostLimit> {
        self.0.limits
    }

    /// What becomes of messages that no queue wants, where nobody has asked to have them back.
    pub fn unroutable(&self) -> Unroutable {
        self.0.unroutable
    }

    /// The type of queues that are declared without one.
    pub fn default_queue_type(&self) -> QueueKind {
        self.0.default_kind
    }

    /// What is done about consumers that do not acknowledge, unless a policy says otherwise.
    pub fn no_ack_guard(&self) -> NoAckGuard {
        self.0.no_ack
    }

    /// Where unroutable messages are kept, or were.
    pub fn store(&self) -> Option<&Arc<Queue>> {
        self.0.store()
    }

    /// The way to the store, if unroutable messages are to be kept.
    pub fn route_to_store(&self) -> Option<Arc<Route>> {
        let kept = matches!(self.0.unroutable, Unroutable::Keep { .. });
        let store = self.0.store().filter(|_| kept);
        store.map(|store| store.route.clone())
    }

    /// Its policies and operator policies, by kind and name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.0.policies.values()
    }

    /// Where a message goes that is published to `exchange`. `headers` are looked at only if a headers exchange takes part.
    pub fn route(
        &self,
        exchange: &[u8],
        routing_key: &[u8],
        headers: &dyn Headers,
    ) -> Result<Arc<Route>, RouteError> {
        routing::route(&self.0, exchange, routing_key, headers)
    }

    /// Where a message goes that died: as [`VhostView::route`], but internal exchanges are open to it. None if there is no such
    /// exchange.
    pub fn route_dead_letter(
        &self,
        exchange: &[u8],
        routing_key: &[u8],
        headers: &dyn Headers,
    ) -> Option<Arc<Route>> {
        routing::route_within(&self.0, exchange, routing_key, headers)
    }

    /// As [`VhostView::route_dead_letter`], for one with further routing keys; the first is its own. The answer holds for this message
    /// only.
    pub fn route_dead_letter_copies(
        &self,
        exchange: &[u8],
        routing_keys: &[&[u8]],
        headers: &dyn Headers,
    ) -> Option<Arc<Route>> {
        routing::route_copies_within(&self.0, exchange, routing_keys, headers)
    }

    /// Where a message goes from that exchange whose time has come; internal exchanges are open to it. The first key is the one that it
    /// was published with; `headers` have no delay any more. None if there is no such exchange.
    pub fn route_due(
        &self,
        exchange: &[u8],
        routing_keys: &[&[u8]],
        headers: &dyn Headers,
    ) -> Option<Arc<Route>> {
        routing::route_due(&self.0, exchange, routing_keys, headers)
    }

    /// Where a message goes that has further routing keys; the first is the one that it was published with. The answer holds
    /// for this message only.
    pub fn route_copies(
        &self,
        exchange: &[u8],
        routing_keys: &[&[u8]],
        headers: &dyn Headers,
    ) -> Result<Arc<Route>, RouteError> {
        routing::route_copies(&self.0, exchange, routing_keys, headers)
    }

    /// The queue of that name.
    pub fn queue(&self, name: &[u8]) -> Option<&Arc<Queue>> {
        self.0.queues.get(name)
    }

    /// The queue of that name, if `connection` may use it: what consuming, getting, purging and asking passively begin with.
    pub fn require_queue(
        &self,
        name: &[u8],
        connection: Option<ConnectionId>,
    ) -> Result<&Arc<Queue>, Refusal> {
        let queue = self
            .queue(name)
            .ok_or_else(|| Refusal::not_found(resource("queue", name, self.name())))?;
        queue.check_access(connection)?;
        Ok(queue)
    }

    /// The exchange of that name; the empty name is the default exchange.
    pub fn exchange(&self, name: &[u8]) -> Option<&Arc<Exchange>> {
        self.0.exchanges.get(name)
    }

    /// The exchange of that name.
    pub fn require_exchange(&self, name: &[u8]) -> Result<&Arc<Exchange>, Refusal> {
        self.exchange(name)
            .ok_or_else(|| Refusal::not_found(resource("exchange", name, self.name())))
    }

    /// What the arguments of a consumer of that queue mean, if they are right.
    pub fn consumer_settings(
        &self,
        queue: &Queue,
        arguments: &Arguments,
    ) -> Result<ConsumerSettings, Refusal> {
        ConsumerSettings::parse(arguments, queue.kind(), &queue.describe())
    }

    /// Whether there is such a binding.
    pub fn has_binding(&self, binding: &Binding) -> bool {
        self.0.has_binding(&binding.clone().normalized())
    }

    /// All queues, in no particular order. The store of unroutable messages is none of them: see [`VhostView::store`].
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.0.queues.values().filter(|queue| !queue.is_store())
    }

    /// Where the messages of that exchange wait for their time, if they do, or did before it went.
    pub fn room(&self, exchange: &[u8]) -> Option<&Arc<Queue>> {
        self.0.room(exchange)
    }

    /// The rooms in which messages wait for their time, in no particular order.
    pub fn rooms(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.0.rooms.values()
    }

    /// All exchanges, in no particular order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.0.exchanges.values()
    }

    /// The bindings that lead to a queue or an exchange, in no particular order. That every queue is bound to the default
    /// exchange by its name is not among them.
    pub fn bindings_to(&self, destination: &Destination) -> impl Iterator<Item = Binding> {
        self.0
            .inbound
            .get(destination)
            .into_iter()
            .flat_map(|inbound| inbound.iter().map(|(binding, ())| binding.binding()))
    }
}
