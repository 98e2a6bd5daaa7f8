//! Publishing: from a batch of messages to requests of the partitions that hold their queues.
//!
//! The protocol hands over neighbouring messages with the same address as one group, so that a route is looked up once a group.
//! The channel keeps the last routes it used; they are good as long as the topology's epoch has not changed. Only exchanges that look at
//! more than the routing key are asked for every message, and only messages with properties that concern the broker are looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use everack_amqp::content::{Batch, Group};
use everack_amqp::error::{Error, ReplyCode};
use everack_broker::catalog::{Access, Resource, VhostView};
use everack_broker::ids::PartitionId;
use everack_broker::name::Name;
use everack_broker::routing::{Headers, NoHeaders, Route, RouteError, Undelayed};

use super::Session;
use super::channel::BufferedPublish;
use super::message::Message;
use super::properties::{self, Demands, Publisher};
use super::replies::Answering;
use super::routes::LastRoute;
use super::traces::Ways;
use super::transaction::to_gather;
use crate::few::Few;
use crate::messages::Messages;
use crate::replies::REPLY_NAME;
use crate::report::Published;
use crate::request::{Publish, Request, RoutedRun};
use crate::traces::TracedBatch;
use crate::translate::to_amqp;

/// Class and method of `basic.publish`.
const PUBLISH: (u16, u16) = (60, 40);
/// The longest list of runs that is kept for the next batch.
const RUNS_KEPT: usize = 64;

/// A published batch with its routes, before it goes anywhere.
#[derive(Default)]
pub(super) struct Routed {
    pub(super) runs: Vec<RoutedRun>,
    /// Messages that nobody wants and whose publisher wants them back.
    pub(super) returned: Vec<u16>,
    /// Messages that nobody wants and that are refused: ranges, in order.
    pub(super) refused: Vec<(u16, u16)>,
    /// Messages that answer somebody past all queues.
    pub(super) answering: Vec<Answering>,
    /// Messages whose properties everybody else sees otherwise.
    rewritten: Vec<(u16, Vec<u8>)>,
    /// What ended the routing early; messages before it are published.
    failed: Option<(u16, Error)>,
}

impl Routed {
    /// Adds neighbours that go the same way, to those before them if they go on there.
    #[inline]
    pub(super) fn push(&mut self, route: Arc<Route>, from: u16, to: u16) {
        match self.runs.last_mut() {
            Some(last) if last.to == from && Arc::ptr_eq(&last.route, &route) => last.to = to,
            _ => self.runs.push(RoutedRun { route, from, to }),
        }
    }
}

impl Session {
    /// Takes a run of publishes of one channel.
    pub(super) fn publish(&mut self, channel: u16, batch: Batch, first_number: u64, transactional: bool) {
        let mut routed = self.route_batch(channel, &batch);
        let failed = routed.failed.take();
        let end = failed
            .as_ref()
            .map_or(batch.entries.len() as u16, |(index, _)| *index);
        let batch = if routed.rewritten.is_empty() {
            batch
        } else {
            batch.with_properties(&routed.rewritten)
        };
        let messages = Messages::new(if transactional { to_gather(batch) } else { batch });
        if transactional && !routed.refused.is_empty() {
            // What is committed is safe, so such a message cannot be part of it.
            let text =
                "no route for a message of a transaction, and the virtual host refuses what it cannot route";
            let error = Error::new(ReplyCode::PreconditionFailed, text);
            return self.fail_channel(channel, error.caused_by(PUBLISH));
        }
        if transactional {
            self.buffer_publish(
                channel,
                BufferedPublish {
                    messages,
                    runs: routed.runs,
                    returned: routed.returned,
                    answering: routed.answering,
                },
            );
        } else {
            let traced = match self.traces {
                Some(_) => self.trace_batch(channel, &messages, Ways::of(&routed), end, first_number > 0),
                None => None,
            };
            // Returns go out before the confirm of the same message, which this order guarantees.
            self.return_unroutable(channel, &messages, &routed.returned);
            if !routed.answering.is_empty() {
                self.answer_askers(channel, &messages, routed.answering);
            }
            let (runs, refused) = (routed.runs, &routed.refused);
            self.hand_over(channel, (messages, traced), runs, refused, first_number, end);
        }
        if let Some((_, error)) = failed {
            self.fail_channel(channel, error.caused_by(PUBLISH));
        }
    }

    fn route_batch(&mut self, channel: u16, batch: &Batch) -> Routed {
        let mut routed = Routed {
            runs: self.empty_runs(batch.groups.len()),
            ..Routed::default()
        };
        for group in &batch.groups {
            let last = match self.last_route(channel, batch, group.from) {
                Ok(last) => last,
                Err(error) => {
                    routed.failed = Some((group.from, error));
                    break;
                }
            };
            let mut published = Published::default();
            // Neighbours carry the same kinds of properties.
            let plain = batch.flags(usize::from(group.from)) & properties::CHECKED == 0;
            match last {
                LastRoute::Fixed(route) if plain => {
                    let span = (group.from, group.to);
                    published = self.add_run(&mut routed, batch, route, span, group.mandatory);
                }
                last if plain => self.add_routed(&mut routed, batch, &last, *group, &mut published),
                last => self.add_checked(&mut routed, channel, batch, &last, *group, &mut published),
            }
            if let Some(state) = self.channels.get_mut(&channel) {
                state.publishing.add(published);
            }
            if routed.failed.is_some() {
                break;
            }
        }
        routed
    }

    /// Adds neighbours of one address whose properties have to be looked at, up to the first that is refused.
    fn add_checked(
        &mut self,
        routed: &mut Routed,
        channel: u16,
        batch: &Batch,
        last: &LastRoute,
        group: Group,
        published: &mut Published,
    ) {
        let mut from = group.from;
        for index in group.from..group.to {
            let before = Group {
                from,
                to: index,
                ..group
            };
            let demands = match self.check_properties(channel, batch, index) {
                Ok(demands) => demands,
                Err(error) => {
                    self.add_routed(routed, batch, last, before, published);
                    routed.failed = Some((index, error));
                    return;
                }
            };
            // An answer goes to the one who asked, and to nobody else.
            let mut held = false;
            if !demands.copies.is_empty() && !matches!(last, LastRoute::Reply) {
                self.add_routed(routed, batch, last, before, published);
                let route = self.route_copies(batch, usize::from(index), &demands.copies, group.mandatory);
                held = self.is_held(&route);
                published.add(self.add_run(routed, batch, route, (index, index + 1), group.mandatory));
                from = index + 1;
            }
            let replies = self
                .channels
                .get(&channel)
                .and_then(|state| state.replies.as_ref());
            let reply_name = replies.map(|consumer| &consumer.name);
            let properties = demands.rewrite(batch, usize::from(index), reply_name, held);
            let properties = properties.map(|properties| (index, properties));
            routed.rewritten.extend(properties);
        }
        self.add_routed(routed, batch, last, Group { from, ..group }, published);
    }

    /// Adds neighbours of one address.
    fn add_routed(
        &mut self,
        routed: &mut Routed,
        batch: &Batch,
        last: &LastRoute,
        group: Group,
        published: &mut Published,
    ) {
        let Group { from, to, mandatory } = group;
        match last {
            LastRoute::Fixed(route) => {
                published.add(self.add_run(routed, batch, route.clone(), (from, to), mandatory));
            }
            LastRoute::ByHeaders => {
                for index in from..to {
                    let route = self.route_by_message(batch, usize::from(index), mandatory);
                    published.add(self.add_run(routed, batch, route, (index, index + 1), mandatory));
                }
            }
            LastRoute::Reply => published.add(self.add_reply(routed, batch, group)),
        }
    }

    fn add_reply(&mut self, routed: &mut Routed, batch: &Batch, group: Group) -> Published {
        let Group { from, to, mandatory } = group;
        let name = batch.routing_key(usize::from(from));
        let messages = u64::from(to - from);
        let Some(asker) = self.asker(name).filter(|_| from < to) else {
            // Nobody was promised a reply, so none is kept.
            let mut published = Published {
                messages,
                not_mandatory: messages * u64::from(!mandatory),
                ..Published::default()
            };
            if mandatory {
                self.unroutable(routed, batch, (from, to), mandatory, &mut published);
            } else {
                published.dropped = messages;
                let dropped = &self.shared.counters.replies_dropped;
                dropped.fetch_add(messages, Ordering::Relaxed);
            }
            return published;
        };
        routed.answering.push(Answering {
            asker,
            name: Name::new(name),
            from,
            to,
            mandatory,
        });
        Published {
            messages,
            not_mandatory: messages * u64::from(!mandatory),
            routed: messages,
            ..Published::default()
        }
    }

    fn check_properties(&self, channel: u16, batch: &Batch, index: u16) -> Result<Demands, Error> {
        let replies = self
            .channels
            .get(&channel)
            .and_then(|state| state.replies.as_ref());
        let publisher = Publisher {
            user: &self.user,
            snapshot: &self.snapshot,
            reply_name: replies.map(|consumer| &consumer.name),
        };
        let demands = properties::check(batch, usize::from(index), &publisher)?;
        if !demands.copies.is_empty() {
            // A copy goes where its publisher could have sent the message itself.
            let copies = demands.copies.iter().map(Vec::as_slice);
            self.require_keys(batch.exchange(usize::from(index)), copies)?;
        }
        Ok(demands)
    }

    /// The user's topic permissions, where the exchange is subject to them.
    fn require_keys<'a>(
        &self,
        exchange: &[u8],
        keys: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Error> {
        let exchange = self.vhost.as_ref().and_then(|vhost| vhost.exchange(exchange));
        let Some(exchange) = exchange else { return Ok(()) };
        for key in keys {
            let topic =
                self.snapshot
                    .require_topic(&self.user, &self.vhost_name, exchange, Access::Write, key);
            topic.map_err(to_amqp::error)?;
        }
        Ok(())
    }

    /// Adds neighbours that go the same way; says what that counts as.
    fn add_run(
        &mut self,
        routed: &mut Routed,
        batch: &Batch,
        route: Arc<Route>,
        (from, to): (u16, u16),
        mandatory: bool,
    ) -> Published {
        let messages = u64::from(to - from);
        let mut published = Published {
            messages,
            not_mandatory: messages * u64::from(!mandatory),
            routed: messages * route.targets.len() as u64,
            ..Published::default()
        };
        if from == to {
            return published;
        }
        if route.targets.is_empty() {
            self.unroutable(routed, batch, (from, to), mandatory, &mut published);
        } else {
            routed.push(route, from, to);
        }
        published
    }

    /// A route that the channel remembers, or a new look at the topology: does the exchange exist, may the user write to it, where
    /// does the key lead.
    #[inline]
    fn last_route(&mut self, channel: u16, batch: &Batch, index: u16) -> Result<LastRoute, Error> {
        let epoch = self.shared.epoch();
        let address = batch.address(usize::from(index));
        let state = self.channels.get(&channel);
        match state.and_then(|state| state.routes.last(epoch, address)) {
            Some(route) => Ok(route.clone()),
            None => self.turn_to(channel, batch, index, epoch),
        }
    }

    /// As [`Self::last_route`], for an address that is not the last one.
    fn turn_to(&mut self, channel: u16, batch: &Batch, index: u16, epoch: u64) -> Result<LastRoute, Error> {
        let address = batch.address(usize::from(index));
        let exchange = batch.exchange(usize::from(index));
        let state = self.channels.get_mut(&channel);
        let earlier = state.and_then(|state| state.routes.earlier(epoch, address));
        let route = match earlier.cloned() {
            Some(route) => route,
            None => {
                let route = self.look_up(exchange, batch.routing_key(usize::from(index)))?;
                if let Some(state) = self.channels.get_mut(&channel) {
                    state.routes.keep(epoch, address, route.clone());
                }
                route
            }
        };
        if let Some(state) = self.channels.get_mut(&channel) {
            let full = state.publishing.turn_to(exchange);
            if let Some(full) = full {
                self.shared.ledger.exchanges(&self.vhost_name, full);
            }
        }
        Ok(route)
    }

    fn look_up(&mut self, exchange: &[u8], key: &[u8]) -> Result<LastRoute, Error> {
        self.refresh();
        self.require(Access::Write, Resource::Exchange(exchange))?;
        let Some(vhost) = &self.vhost else {
            return Err(self.vhost_gone());
        };
        if exchange.is_empty() && key.starts_with(REPLY_NAME) {
            return Ok(LastRoute::Reply);
        }
        let route = vhost.route(exchange, key, &NoHeaders);
        let route = route.map_err(|error| to_amqp::error(error.refusal(&self.vhost_name, exchange)))?;
        self.require_keys(exchange, [key])?;
        Ok(if route.by_headers {
            LastRoute::ByHeaders
        } else {
            LastRoute::Fixed(route)
        })
    }

    /// The route of one message that is routed by more than its key. What nothing is found for goes nowhere: its exchange may
    /// have been deleted since the address was looked up.
    fn route_by_message(&self, batch: &Batch, index: usize, mandatory: bool) -> Arc<Route> {
        let message = Message::new(batch, index, &self.shared);
        self.route_wanted(&message, mandatory, |vhost, headers| {
            vhost.route(batch.exchange(index), batch.routing_key(index), headers)
        })
    }

    fn route_copies(&self, batch: &Batch, index: usize, copies: &[Vec<u8>], mandatory: bool) -> Arc<Route> {
        let message = Message::new(batch, index, &self.shared);
        let mut keys = vec![batch.routing_key(index)];
        keys.extend(copies.iter().map(Vec::as_slice));
        self.route_wanted(&message, mandatory, |vhost, headers| {
            vhost.route_copies(batch.exchange(index), &keys, headers)
        })
    }

    /// Where `route` leads a message. A mandatory one is not held back if nobody would want it now: when its time comes, there is nobody
    /// to give it back to.
    fn route_wanted(
        &self,
        message: &Message<'_>,
        mandatory: bool,
        route: impl Fn(&VhostView, &dyn Headers) -> Result<Arc<Route>, RouteError>,
    ) -> Arc<Route> {
        let Some(vhost) = &self.vhost else {
            return Route::nowhere();
        };
        let found = route(vhost, message).unwrap_or_else(|_| Route::nowhere());
        if mandatory && self.is_held(&found) {
            let now = route(vhost, &Undelayed(message));
            if now.is_ok_and(|now| now.is_empty()) {
                return Route::nowhere();
            }
        }
        found
    }

    /// Whether a message that goes this way waits for its time, and does nothing else.
    fn is_held(&self, route: &Route) -> bool {
        let waits = |queue| {
            let queue = self.snapshot.queue(queue);
            queue.is_some_and(|queue| queue.waits_for().is_some())
        };
        route.by_headers && !route.is_empty() && route.targets.iter().all(|target| waits(target.queue))
    }

    /// Gives the batch to every partition that holds one of its queues, and opens the confirm that they complete. What was refused
    /// is a part of that confirm which is done already.
    fn hand_over(
        &mut self,
        channel: u16,
        (messages, traced): (Messages, Option<TracedBatch>),
        mut runs: Vec<RoutedRun>,
        refused: &[(u16, u16)],
        first_number: u64,
        end: u16,
    ) {
        if end == 0 {
            return;
        }
        let partitions = few_partitions_of(&runs);
        let mut confirm = None;
        if first_number > 0 {
            let last = first_number + u64::from(end) - 1;
            let parts = partitions.len() as u32 + u32::from(!refused.is_empty());
            let id = self.connection.expect_confirm(channel, last, parts);
            if let Some(id) = id.filter(|_| !refused.is_empty()) {
                self.connection.confirm_refused(channel, id, refused);
            }
            confirm = id.map(|id| id.0);
        }
        let Some((last, others)) = partitions.split_last() else {
            return;
        };
        let publish = Publish {
            bytes: messages.chunk.len(),
            messages,
            runs: runs.drain(..).collect(),
            reply: self.reply(channel),
            confirm,
            traced,
        };
        for partition in others {
            self.publish_to(*partition, publish.clone());
        }
        self.publish_to(*last, publish);
        self.keep(runs);
    }

    /// An empty list with room for so many runs.
    fn empty_runs(&mut self, count: usize) -> Vec<RoutedRun> {
        let mut runs = std::mem::take(&mut self.runs);
        runs.reserve(count);
        runs
    }

    /// Keeps an empty list for the next batch.
    fn keep(&mut self, runs: Vec<RoutedRun>) {
        if runs.capacity() <= RUNS_KEPT {
            self.runs = runs;
        }
    }

    fn publish_to(&mut self, partition: PartitionId, publish: Publish) {
        self.link.publish_begins(publish.bytes);
        self.requests.push((partition, Request::Publish(publish)));
    }

    /// Sends back what nobody wants (312 NO_ROUTE).
    pub(super) fn return_unroutable(&mut self, channel: u16, messages: &Messages, indexes: &[u16]) {
        for &index in indexes {
            self.connection.return_message(
                channel,
                messages,
                index,
                ReplyCode::NoRoute.number(),
                ReplyCode::NoRoute.name(),
            );
        }
    }
}

/// As [`partitions_of`]: one, mostly.
fn few_partitions_of(runs: &[RoutedRun]) -> Few<PartitionId> {
    let targets = runs.iter().flat_map(|run| run.route.targets.iter());
    let mut partitions = targets.map(|target| target.partition);
    let first = partitions.next();
    match first.filter(|first| partitions.all(|other| other == *first)) {
        Some(only) => Few::One(only),
        None => partitions_of(runs).into_iter().collect(),
    }
}

/// The partitions that hold queues of these runs, each once.
pub(crate) fn partitions_of(runs: &[RoutedRun]) -> Vec<PartitionId> {
    let mut partitions: Vec<PartitionId> = Vec::with_capacity(1);
    for target in runs.iter().flat_map(|run| run.route.targets.iter()) {
        if !partitions.contains(&target.partition) {
            partitions.push(target.partition);
        }
    }
    partitions
}
