//! From an exchange, a routing key and headers to queues, read-only on a snapshot of the catalog.
//!
//! The tables are kept by the catalog as bindings come and go; nothing here decides what may be bound (see
//! [`crate::catalog`]), nor who may publish. A message may have further routing keys besides its own (`CC`, `BCC`). Routing follows exchange-to-exchange bindings, visiting each exchange once, and
//! the alternate exchange of one that knows no destination.

pub(crate) mod bucket;
mod delay;
mod direct;
mod headers;
pub(crate) mod keyed_hash;
pub(crate) mod one_of;
mod route;
pub(crate) mod small_map;
pub(crate) mod table;
mod topic;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use delay::Undelayed;
pub use headers::{HeaderValue, Headers, NoHeaders, Property};
pub use route::{Route, Target};

use self::bucket::Bucket;
use self::table::Table;
use crate::catalog::exchange::Exchange;
use crate::catalog::vhost::Vhost;
use crate::catalog::{Refusal, RefusalKind, resource};

/// Why a message cannot be published to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is no such exchange.
    #[error("no such exchange")]
    NotFound,
    /// Only other exchanges may publish to it.
    #[error("the exchange is internal")]
    Internal,
}

impl RouteError {
    /// What the client is told; the message concerned `exchange` of `vhost`.
    pub fn refusal(self, vhost: &[u8], exchange: &[u8]) -> Refusal {
        let exchange = resource("exchange", exchange, vhost);
        match self {
            RouteError::NotFound => Refusal::new(RefusalKind::NotFound, format!("no {exchange}")),
            RouteError::Internal => Refusal::new(
                RefusalKind::AccessRefused,
                format!("cannot publish to internal {exchange}"),
            ),
        }
    }
}

/// Where a message published to `exchange` goes. `headers` are looked at only by headers exchanges.
pub(crate) fn route(
    vhost: &Vhost,
    exchange: &[u8],
    routing_key: &[u8],
    headers: &dyn Headers,
) -> Result<Arc<Route>, RouteError> {
    if exchange.is_empty() {
        return Ok(vhost
            .queues
            .get(routing_key)
            .map_or_else(|| Route::none(false), |queue| queue.route.clone()));
    }
    let exchange = vhost.exchanges.get(exchange).ok_or(RouteError::NotFound)?;
    if exchange.internal {
        return Err(RouteError::Internal);
    }
    Ok(route_from(vhost, exchange, routing_key, headers))
}

/// As [`route`] for what comes from within the broker: internal exchanges are open to it. None if there is no such exchange.
pub(crate) fn route_within(
    vhost: &Vhost,
    exchange: &[u8],
    routing_key: &[u8],
    headers: &dyn Headers,
) -> Option<Arc<Route>> {
    match vhost.exchanges.get(exchange).filter(|_| !exchange.is_empty()) {
        Some(exchange) => Some(route_from(vhost, exchange, routing_key, headers)),
        None => route(vhost, exchange, routing_key, headers).ok(),
    }
}

/// Where a message goes whose time has come, which is what `headers` say. None if there is no such exchange.
pub(crate) fn route_due(
    vhost: &Vhost,
    exchange: &[u8],
    routing_keys: &[&[u8]],
    headers: &dyn Headers,
) -> Option<Arc<Route>> {
    let exchange = vhost.exchanges.get(exchange)?;
    Some(Walk::new(vhost, exchange, routing_keys, headers).run())
}

fn route_from(vhost: &Vhost, exchange: &Exchange, routing_key: &[u8], headers: &dyn Headers) -> Arc<Route> {
    if exchange.room.is_some() {
        return Walk::new(vhost, exchange, &[routing_key], headers).run();
    }
    // The common cases: what is found in one place leads to queues only, whose route is ready-made, or nothing is found.
    let bucket = match &exchange.table {
        Table::Direct(direct) => direct.find(routing_key),
        Table::Fanout(bucket) => Some(bucket).filter(|bucket| !bucket.is_empty()),
        Table::Topic(_) | Table::Headers(_) | Table::OneOf(_) => {
            return Walk::new(vhost, exchange, &[routing_key], headers).run();
        }
    };
    match bucket {
        None if exchange.alternate.is_none() => Route::none(false),
        Some(bucket) if let Some(route) = bucket.route() => route.clone(),
        _ => Walk::new(vhost, exchange, &[routing_key], headers).run(),
    }
}

/// Where a message goes that has further routing keys besides the one that it was published with, which is the first.
pub(crate) fn route_copies(
    vhost: &Vhost,
    exchange: &[u8],
    routing_keys: &[&[u8]],
    headers: &dyn Headers,
) -> Result<Arc<Route>, RouteError> {
    if exchange.is_empty() {
        let queues = routing_keys.iter().filter_map(|key| vhost.queues.get(*key));
        return Ok(Route::new(queues.map(|queue| queue.target()).collect(), true));
    }
    let exchange = vhost.exchanges.get(exchange).ok_or(RouteError::NotFound)?;
    if exchange.internal {
        return Err(RouteError::Internal);
    }
    Ok(Walk::new(vhost, exchange, routing_keys, headers).run())
}

/// As [`route_copies`] for what comes from within the broker: internal exchanges are open to it. None if there is no such exchange.
pub(crate) fn route_copies_within(
    vhost: &Vhost,
    exchange: &[u8],
    routing_keys: &[&[u8]],
    headers: &dyn Headers,
) -> Option<Arc<Route>> {
    match vhost.exchanges.get(exchange).filter(|_| !exchange.is_empty()) {
        Some(exchange) => Some(Walk::new(vhost, exchange, routing_keys, headers).run()),
        None => route_copies(vhost, exchange, routing_keys, headers).ok(),
    }
}

/// The walk from exchange to exchange.
struct Walk<'a> {
    vhost: &'a Vhost,
    routing_keys: &'a [&'a [u8]],
    headers: &'a dyn Headers,
    start: &'a Exchange,
    /// Where the walk came by after the start. Each exchange is entered once, which is what ends the walk when bindings
    /// form a circle.
    seen: BTreeSet<*const Exchange>,
    pending: Vec<&'a Exchange>,
    targets: Vec<Target>,
    by_headers: bool,
}

impl<'a> Walk<'a> {
    fn new(
        vhost: &'a Vhost,
        start: &'a Exchange,
        routing_keys: &'a [&'a [u8]],
        headers: &'a dyn Headers,
    ) -> Self {
        let (seen, pending, targets) = (BTreeSet::new(), Vec::new(), Vec::new());
        Walk {
            vhost,
            routing_keys,
            headers,
            start,
            seen,
            pending,
            targets,
            by_headers: false,
        }
    }

    fn run(mut self) -> Arc<Route> {
        let mut found = Vec::new();
        let mut next = Some(self.start);
        while let Some(exchange) = next {
            found.clear();
            if self.holds(exchange) {
                next = self.pending.pop();
                continue;
            }
            self.by_headers |= exchange.table.is_by_message();
            exchange
                .table
                .find(self.routing_keys, self.headers, self.vhost.keyed, &mut found);
            if let Some(route) = self.ready_made(&found) {
                return route;
            }
            self.take(exchange, &found);
            next = self.pending.pop();
        }
        Route::new(self.targets, self.by_headers)
    }

    /// Whether the message has to wait before this exchange looks at it: then its room is where it goes for now.
    fn holds(&mut self, exchange: &Exchange) -> bool {
        let Some(room) = &exchange.room else { return false };
        self.by_headers = true;
        let room = self.vhost.rooms.get(room);
        let room = room.filter(|_| self.headers.delay_millis().is_some());
        self.targets.extend(room.map(|room| room.target()));
        room.is_some()
    }

    /// The route of the only bucket, where nothing else is to be found.
    fn ready_made(&self, found: &[&'a Bucket]) -> Option<Arc<Route>> {
        let [bucket] = found else { return None };
        let alone =
            self.pending.is_empty() && self.targets.is_empty() && !self.by_headers && !bucket.is_empty();
        if alone { bucket.route().cloned() } else { None }
    }

    fn take(&mut self, exchange: &'a Exchange, found: &[&'a Bucket]) {
        let mut nowhere = true;
        for binding in found.iter().flat_map(|bucket| bucket.bindings()) {
            nowhere = false;
            match binding.member().target() {
                Some(target) => self.targets.push(target),
                None => self.visit(binding.destination().name()),
            }
        }
        if nowhere && let Some(alternate) = &exchange.alternate {
            self.visit(alternate);
        }
    }

    /// An exchange that is not there (an alternate need not be) leads nowhere. The default exchange as an alternate leads
    /// to the queue of that name, like any publish to it.
    fn visit(&mut self, name: &'a [u8]) {
        if name.is_empty() {
            let queues = self
                .routing_keys
                .iter()
                .filter_map(|key| self.vhost.queues.get(*key));
            self.targets.extend(queues.map(|queue| queue.target()));
            return;
        }
        let Some(exchange) = self.vhost.exchanges.get(name) else {
            return;
        };
        if !std::ptr::eq(self.start, exchange.as_ref())
            && self.seen.insert(std::ptr::from_ref(exchange.as_ref()))
        {
            self.pending.push(exchange);
        }
    }
}
