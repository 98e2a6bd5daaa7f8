//! One virtual host: its exchanges, queues and bindings, and the steps that change them.
//!
//! The steps keep the two indexes of bindings in line (by source, which is the routing table, and by destination); they
//! decide nothing. What may be done, and what follows from it, is decided in `apply`.

use std::sync::Arc;

use imbl::OrdMap;

use super::binding::{Binding, Destination};
use super::bound::Bound;
use super::delayed;
use super::description::Description;
use super::exchange::{self, Exchange, ExchangeKind};
use super::limit::{LimitSet, VhostLimit};
use super::no_ack_guard::NoAckGuard;
use super::policy::{Policy, PolicyKind};
use super::queue_arguments::QueueKind;
use super::queue_definition::Queue;
use super::unroutable::{UNROUTABLE_STORE, Unroutable};
use crate::arguments::Arguments;
use crate::name::Name;
use crate::routing::bucket::Member;
use crate::routing::keyed_hash::Keyed;
use crate::routing::small_map::{Map, SmallMap};

/// Persistent: a clone costs a few counters, and a change copies only what leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Vhost {
    pub(crate) name: Name,
    pub(crate) keyed: Keyed,
    pub(crate) description: Arc<Description>,
    pub(crate) limits: LimitSet<VhostLimit>,
    pub(crate) unroutable: Unroutable,
    pub(crate) default_kind: QueueKind,
    pub(crate) no_ack: NoAckGuard,
    pub(crate) policies: OrdMap<(PolicyKind, Name), Arc<Policy>>,
    pub(crate) exchanges: Map<Name, Arc<Exchange>>,
    pub(crate) queues: Map<Name, Arc<Queue>>,
    /// Queues that no client can name: where the messages of delayed exchanges wait, by the names of the rooms.
    pub(crate) rooms: Map<Name, Arc<Queue>>,
    /// Bindings by what they lead to; no entry where there are none.
    pub(crate) inbound: Map<Destination, SmallMap<Arc<Bound>, ()>>,
}

/// What every virtual host has from the start. The first is the default exchange, which has no bindings but leads to every
/// queue by its name.
pub(crate) const PREDECLARED: [(&str, ExchangeKind); 6] = [
    ("", ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.topic", ExchangeKind::Topic),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
];

impl Vhost {
    pub(crate) fn new(name: Name, keyed: Keyed) -> Self {
        let empty = || Map::with_hasher(keyed);
        let mut exchanges = empty();
        for (name, kind) in PREDECLARED {
            let arguments = Arguments::default();
            let declaration = exchange::Declaration {
                kind,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments,
            };
            exchanges.insert(
                Name::from(name),
                Arc::new(Exchange::new(name.into(), declaration)),
            );
        }
        Self {
            name,
            keyed,
            description: Arc::default(),
            limits: LimitSet::default(),
            unroutable: Unroutable::default(),
            default_kind: QueueKind::default(),
            no_ack: NoAckGuard::default(),
            policies: OrdMap::new(),
            exchanges,
            queues: Map::with_hasher(keyed),
            rooms: Map::with_hasher(keyed),
            inbound: Map::with_hasher(keyed),
        }
    }

    /// Where unroutable messages are kept, or were.
    pub(crate) fn store(&self) -> Option<&Arc<Queue>> {
        self.queues.get(UNROUTABLE_STORE.as_bytes())
    }

    /// Where the messages of that exchange wait, if they do, or did.
    pub(crate) fn room(&self, exchange: &[u8]) -> Option<&Arc<Queue>> {
        self.rooms.get(&delayed::room_of(exchange))
    }

    /// All queues, those that no client can name among them, in no particular order.
    pub(crate) fn all_queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.values().chain(self.rooms.values())
    }

    /// Whether both ends of a binding are there and durable, hence the binding too.
    pub(crate) fn is_durable(&self, source: &Name, destination: &Destination) -> bool {
        let from = self
            .exchanges
            .get(source)
            .is_some_and(|exchange| exchange.durable);
        let to = match destination {
            Destination::Queue(name) => self.queues.get(name).is_some_and(|queue| queue.durable),
            Destination::Exchange(name) => self.exchanges.get(name).is_some_and(|exchange| exchange.durable),
        };
        from && to
    }

    pub(crate) fn has_binding(&self, binding: &Binding) -> bool {
        self.find_binding(binding).is_some()
    }

    fn find_binding(&self, binding: &Binding) -> Option<&Arc<Bound>> {
        let inbound = self.inbound.get(&binding.destination)?;
        let bound = inbound.get_entry(&Bound::new(binding.clone(), Member::Exchange));
        bound.map(|(bound, ())| bound)
    }

    /// Adds a binding that is not there yet; gives it back if an end is missing.
    pub(crate) fn add_binding(&mut self, binding: Binding) -> Result<(), Binding> {
        let Some(member) = self.member(&binding.destination) else {
            return Err(binding);
        };
        let Some(exchange) = self.exchanges.get_mut(&binding.source) else {
            return Err(binding);
        };
        let destination = binding.destination.clone();
        let inbound = self.inbound.entry(destination).or_default();
        let bound = share_ends(Bound::new(binding, member), inbound);
        inbound.add(bound.clone(), ());
        let exchange = Arc::make_mut(exchange);
        exchange.table.add(bound, self.keyed);
        exchange.binding_count += 1;
        Ok(())
    }

    /// Removes a binding, if it is there.
    pub(crate) fn remove_binding(&mut self, binding: &Binding) {
        let Some(bound) = self.find_binding(binding).cloned() else {
            return;
        };
        self.remove_from_source(&bound);
        self.remove_from_destination(&bound);
    }

    /// Removes a queue with the bindings to it, and returns it with the names of the exchanges that led there.
    pub(crate) fn remove_queue(&mut self, name: &Name) -> Option<(Arc<Queue>, Vec<Name>)> {
        if let Some(room) = self.rooms.remove(name) {
            return Some((room, Vec::new()));
        }
        let queue = self.queues.get(name)?.clone();
        let sources = self.remove_inbound(&Destination::Queue(name.clone()));
        self.queues.remove(name);
        Some((queue, sources))
    }

    /// Removes an exchange with the bindings from and to it, and returns it with the names of the exchanges that led there.
    pub(crate) fn remove_exchange(&mut self, name: &Name) -> Option<(Arc<Exchange>, Vec<Name>)> {
        let mut sources = self.remove_inbound(&Destination::Exchange(name.clone()));
        // An exchange may be bound to itself; it is not left behind as one that led there.
        sources.retain(|source| source != name);
        let exchange = self.exchanges.remove(name)?;
        for binding in exchange.bound() {
            self.remove_from_destination(binding);
        }
        Some((exchange, sources))
    }

    fn remove_inbound(&mut self, destination: &Destination) -> Vec<Name> {
        let inbound = self.inbound.get(destination).cloned().unwrap_or_default();
        let mut sources = Vec::with_capacity(inbound.len());
        for (binding, ()) in inbound.iter() {
            self.remove_from_source(binding);
            sources.push(binding.source().clone());
        }
        self.inbound.remove(destination);
        // The order of the set depends on the key of its hash; what follows from it must not.
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn remove_from_source(&mut self, binding: &Bound) {
        let exchange = self
            .exchanges
            .get_mut(binding.source())
            .expect("a binding starts at what is there");
        let exchange = Arc::make_mut(exchange);
        exchange.table.remove(binding, self.keyed);
        exchange.binding_count -= 1;
    }

    fn remove_from_destination(&mut self, binding: &Bound) {
        let inbound = self
            .inbound
            .get_mut(binding.destination())
            .expect("a binding is known at its destination");
        inbound.remove(binding);
        if inbound.is_empty() {
            self.inbound.remove(binding.destination());
        }
    }

    fn member(&self, destination: &Destination) -> Option<Member> {
        match destination {
            Destination::Queue(name) => self.queues.get(name).map(|queue| queue.member()),
            Destination::Exchange(name) => self.exchanges.get(name).map(|_| Member::Exchange),
        }
    }
}

/// The binding, with the ends of one between the same ends that is there already. Bindings are ordered by their ends first, so that
/// if there are any such, one of them is a neighbour.
fn share_ends(new: Bound, inbound: &SmallMap<Arc<Bound>, ()>) -> Arc<Bound> {
    let new = Arc::new(new);
    let mut neighbours = inbound.neighbours(&new);
    match neighbours.find(|neighbour| neighbour.source() == new.source()) {
        Some(neighbour) => Arc::new(new.beside(neighbour)),
        None => new.clone(),
    }
}
