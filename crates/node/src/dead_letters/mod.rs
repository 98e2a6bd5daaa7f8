//! Where dead messages go: reads them, writes what they died of into their headers, routes them through their queue's dead-letter
//! exchange, and has the partitions concerned move them in one append.
//!
//! ```text
//! partition ──DeadLetter──> DeadLetters ──MovePart──> each target's partition ┐
//!     ^                          │      └─MovePart──> the source's partition  ┴─> one job
//!     └── Keep, Bury, Damaged ───┘
//! ```
//!
//! It sees the topology's snapshot and the log, as sessions do and partitions do not, and holds no state: what is in its mailbox when
//! the process ends is still owned by its queue. How all of it fits together: docs/decisions/0016.

mod due;
pub mod headers;
mod moving;
mod transfer;

use std::sync::Arc;

use everack_amqp::content::flags;
use everack_amqp::wire::frame::ContentHeader;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;
use everack_broker::catalog::{Queue, Snapshot, VhostView};
use everack_broker::ids::{Millis, PartitionId, QueueId, Seq};
use everack_broker::partition::{Death, Run, SettleReason};
use everack_broker::routing::Route;

use crate::charge::Charge;
use crate::machine::Machine;
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::recall::Recall;
use crate::record::Range;
use crate::report::Unmoved;
use crate::request::{MovePart, Order, Request};
use crate::shared::Shared;
use crate::space::Pin;
use crate::traces::Trace;
use crate::transaction::Assembly;
use crate::translate::from_amqp;
use headers::DeathNote;
use moving::{Letter, MOVE_BYTES_MAX, Moving, Parts};
pub use transfer::Transfer;

/// Messages that leave their queue for others.
#[derive(Debug)]
pub enum Mail {
    /// They have died, or their time has come.
    Dead(DeadLetter),
    /// An operator sends them.
    Sent(Transfer),
}

/// Where messages come from.
#[derive(Clone, Copy, Debug)]
struct Sender {
    partition: PartitionId,
    queue: QueueId,
    /// Whether the queue owns them until they have arrived.
    owned: bool,
}

/// Messages that have died.
#[derive(Debug)]
pub struct DeadLetter {
    /// Where their queue is.
    pub partition: PartitionId,
    /// Their queue.
    pub queue: QueueId,
    /// Whether the queue owns them until they have arrived; if not, it never had them.
    pub owned: bool,
    /// What they died of.
    pub death: Death,
    /// The messages; without content if they have to be read from the log.
    pub run: Run<Messages>,
    /// Keeps the segment that they are read from.
    pub pin: Option<Pin>,
    /// What their publisher is charged until they are elsewhere, if their queue does not own them.
    pub charge: Option<Arc<Charge>>,
    /// Those that are followed, by their numbers; rising.
    pub traced: Vec<(Seq, Arc<Trace>)>,
}

/// See the module documentation.
#[derive(Debug)]
pub struct DeadLetters {
    shared: Arc<Shared>,
    recall: Arc<Recall>,
}

/// What does not go on.
#[derive(Default)]
struct Staying {
    cycles: Vec<Range>,
    unroutable: Vec<Range>,
    kept: Vec<Range>,
}

impl DeadLetters {
    /// Routes on what `shared` publishes, reads through `recall`.
    pub fn new(shared: Arc<Shared>, recall: Arc<Recall>) -> Self {
        Self { shared, recall }
    }

    fn send_on(&self, letter: &DeadLetter, now: Millis, outbox: &mut Outbox) {
        let Some(messages) = self.content(letter, outbox) else {
            return;
        };
        let snapshot = self.shared.snapshot();
        let sorter = Sorter::new(&snapshot, letter, &messages, now);
        let room = due::Room::new(&self.shared, &snapshot, letter, &messages);
        let (mut staying, mut moving) = (Staying::default(), Moving::default());
        for index in letter.run.from..letter.run.to {
            let one = range(letter, index, index + 1);
            let way = match letter.death {
                Death::Due => room.way(index),
                _ => sorter.way(index),
            };
            match way {
                Way::To(route, written) => {
                    let body = messages.body(usize::from(index));
                    if !moving.has_room_for(&written, body, &route) {
                        self.move_on(letter, std::mem::take(&mut moving), outbox);
                    }
                    moving.push(&written, body, route, one);
                    moving.follow(&letter.traced, one);
                }
                Way::Circle => push_range(&mut staying.cycles, one),
                Way::Away => push_range(&mut staying.unroutable, one),
                Way::Nowhere => push_range(&mut staying.kept, one),
            }
        }
        answer(letter, staying.kept, Request::keep, outbox);
        answer(letter, staying.cycles, Request::cycle, outbox);
        answer(letter, staying.unroutable, Request::unroutable, outbox);
        self.move_on(letter, moving, outbox);
    }

    /// The messages, from memory or from the log; none if they cannot be read, and then their queue has been told.
    fn content(&self, letter: &DeadLetter, outbox: &mut Outbox) -> Option<Messages> {
        let run = &letter.run;
        if let Some(messages) = &run.content {
            return Some(messages.clone());
        }
        let all = [range(letter, run.from, run.to)];
        match self.recall.messages(run.location) {
            Ok(messages) if usize::from(run.to) <= messages.len() => return Some(messages),
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "dead messages cannot be read now; they are tried again");
                answer(letter, all, Request::keep, outbox);
            }
            unreadable => {
                let error = unreadable.err().map(|error| error.to_string());
                tracing::error!(
                    ?error,
                    first = run.first.0,
                    "dead messages are damaged and set aside"
                );
                answer(letter, all, Request::damaged, outbox);
            }
        }
        None
    }

    fn move_on(&self, letter: &DeadLetter, moving: Moving, outbox: &mut Outbox) {
        let Some(parts) = moving.into_parts() else {
            return;
        };
        let sender = Sender {
            partition: letter.partition,
            queue: letter.queue,
            owned: letter.owned,
        };
        self.hand_out(sender, parts, letter.charge.clone(), None, outbox);
    }

    /// Has all partitions concerned do their part of the move.
    fn hand_out(
        &self,
        sender: Sender,
        parts: Parts,
        charge: Option<Arc<Charge>>,
        order: Option<Order>,
        outbox: &mut Outbox,
    ) {
        let Parts {
            messages,
            runs,
            moved,
            traced,
        } = parts;
        let mut partitions = crate::session::partitions_of(&runs);
        if messages.chunk.len() * partitions.len() > MOVE_BYTES_MAX {
            tracing::error!(
                queue = sender.queue.0,
                bytes = messages.chunk.len(),
                partitions = partitions.len(),
                "a message is too large to be written for queues in that many partitions at once; its queue keeps it"
            );
            if let Some(order) = order {
                order.refused(Unmoved::TooLarge).tell(outbox);
            }
            return sender.tell(moved, Request::keep, outbox);
        }
        if sender.owned && !partitions.contains(&sender.partition) {
            partitions.push(sender.partition);
        }
        let transaction = self.shared.next_transaction();
        let assembly = Arc::new(Assembly::new(transaction, partitions.len()));
        for partition in partitions {
            let is_source = sender.owned && partition == sender.partition;
            let part = MovePart {
                assembly: assembly.clone(),
                messages: messages.clone(),
                runs: runs.clone(),
                source: if is_source { moved.clone() } else { Vec::new() },
                charge: charge.clone(),
                order: order.clone(),
                traced: traced.clone(),
            };
            outbox.requests.push((partition, Request::Move(part)));
        }
    }
}

impl Machine for DeadLetters {
    type Request = Mail;

    fn handle(&mut self, mail: Mail, now: Millis, outbox: &mut Outbox) {
        match mail {
            Mail::Dead(letter) => self.send_on(&letter, now, outbox),
            Mail::Sent(transfer) => self.transfer(transfer, outbox),
        }
    }

    fn finish(&mut self, _now: Millis, _outbox: &mut Outbox) {}
}

impl Request {
    fn keep(Range { queue, first, count }: Range) -> Self {
        Request::Keep { queue, first, count }
    }

    fn cycle(Range { queue, first, count }: Range) -> Self {
        let reason = SettleReason::Cycle;
        Request::Bury {
            queue,
            first,
            count,
            reason,
        }
    }

    fn unroutable(Range { queue, first, count }: Range) -> Self {
        let reason = SettleReason::Unroutable;
        Request::Bury {
            queue,
            first,
            count,
            reason,
        }
    }

    fn damaged(Range { queue, first, count }: Range) -> Self {
        Request::Damaged { queue, first, count }
    }
}

/// Tells the queue what does not go on. What it never had it need not hear of.
fn answer(
    letter: &DeadLetter,
    ranges: impl IntoIterator<Item = Range>,
    request: impl Fn(Range) -> Request,
    outbox: &mut Outbox,
) {
    let sender = Sender {
        partition: letter.partition,
        queue: letter.queue,
        owned: letter.owned,
    };
    sender.tell(ranges, request, outbox);
}

impl Sender {
    fn tell(
        self,
        ranges: impl IntoIterator<Item = Range>,
        request: impl Fn(Range) -> Request,
        outbox: &mut Outbox,
    ) {
        if self.owned {
            let requests = ranges.into_iter().map(|range| (self.partition, request(range)));
            outbox.requests.extend(requests);
        }
    }
}

/// Messages `from..to` of the batch, by their numbers in the queue.
fn range(letter: &DeadLetter, from: u16, to: u16) -> Range {
    Range {
        queue: letter.queue,
        first: letter.run.first.plus(u64::from(from - letter.run.from)),
        count: u32::from(to - from),
    }
}

/// Where the dead-letter exchange leads the message. One that keeps its key goes to the further ones that it was published with as
/// well; where the queue has given it another key, these are off it.
fn route(vhost: &VhostView, exchange: &[u8], letter: &Letter<'_>) -> Option<Arc<Route>> {
    let arguments = from_amqp::arguments(&letter.headers);
    let mut keys = vec![letter.routing_key.as_slice()];
    keys.extend(headers::copies(&letter.headers));
    match keys[..] {
        [key] => vhost.route_dead_letter(exchange, key, &arguments),
        _ => vhost.route_dead_letter_copies(exchange, &keys, &arguments),
    }
}

/// Where a message goes.
enum Way<'a> {
    To(Arc<Route>, Letter<'a>),
    /// Only back to where it died before.
    Circle,
    /// Nobody wants it, and the virtual host does not keep such messages.
    Away,
    /// The exchange is missing, or nobody is bound.
    Nowhere,
}

/// Finds the way of each message of a run.
struct Sorter<'a> {
    snapshot: &'a Snapshot,
    /// None if there is nowhere to go.
    source: Option<Source<'a>>,
    death: Death,
    messages: &'a Messages,
    now: Millis,
}

/// Where the messages come from, and which exchange they go through.
struct Source<'a> {
    queue: &'a Queue,
    vhost: VhostView,
    exchange: &'a [u8],
}

impl<'a> Sorter<'a> {
    fn new(snapshot: &'a Snapshot, letter: &DeadLetter, messages: &'a Messages, now: Millis) -> Self {
        let queue = snapshot.queue(letter.queue);
        let source = queue.and_then(|queue| {
            Some(Source {
                queue,
                vhost: snapshot.vhost(&queue.vhost)?,
                exchange: queue.settings.dead_letter_exchange.as_ref()?,
            })
        });
        Self {
            snapshot,
            source,
            death: letter.death,
            messages,
            now,
        }
    }

    fn way(&self, index: u16) -> Way<'a> {
        let Some(from) = &self.source else {
            return Way::Nowhere;
        };
        let written = write_letter(from, self.death, self.messages, usize::from(index), self.now);
        let route = route(&from.vhost, from.exchange, &written);
        let Some(route) = route.filter(|route| !route.is_empty()) else {
            return Way::Nowhere;
        };
        let circles = |queue: QueueId| {
            let queue = self.snapshot.queue(queue);
            let queue = queue.filter(|queue| queue.vhost == *from.vhost.name());
            queue.is_some_and(|queue| headers::is_cycle(&written.headers, &queue.name))
        };
        let targets = route.targets.iter().filter(|target| !circles(target.queue));
        let targets: Box<[_]> = targets.copied().collect();
        match targets.len() {
            0 => Way::Circle,
            all if all == route.targets.len() => Way::To(route, written),
            _ => {
                let by_headers = true;
                Way::To(Arc::new(Route { targets, by_headers }), written)
            }
        }
    }
}

/// The message as it goes on: what it died of is in its headers, its expiration is off it.
fn write_letter<'a>(
    from: &Source<'a>,
    death: Death,
    messages: &Messages,
    index: usize,
    now: Millis,
) -> Letter<'a> {
    let queue = from.queue;
    let mut properties = Properties::decode(messages.properties(index)).unwrap_or_default();
    let own_key = messages.routing_key(index);
    let expiration = properties.expiration.take();
    let note = DeathNote {
        death,
        queue: &queue.name,
        exchange: messages.exchange(index),
        routing_key: own_key,
        expiration: expiration.as_ref().map(|text| text.as_bytes()),
        time_s: now.0 / 1000,
    };
    let mut headers = headers::record_death(properties.headers.take().unwrap_or_default(), &note);
    let key = &queue.settings.dead_letter_routing_key;
    if key.is_some() {
        // The further addresses were those of the message as it was published.
        headers = without_copies(&headers);
    }
    properties.headers = Some(headers.clone());
    let mut header = messages.header(index)[..ContentHeader::FIXED_BYTES].to_vec();
    properties.encode(&mut header);
    let kept = messages.flags(index) & !(flags::HAS_EXPIRATION | flags::MANDATORY);
    Letter {
        exchange: from.exchange,
        header,
        headers,
        flags: kept | flags::HAS_HEADERS,
        routing_key: key.as_ref().map_or(own_key, |key| key).to_vec(),
    }
}

fn without_copies(headers: &Table) -> Table {
    let kept = headers.iter().filter(|(name, _)| name.as_bytes() != b"CC");
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn push_range(ranges: &mut Vec<Range>, one: Range) {
    match ranges.last_mut() {
        Some(last) if last.first.plus(u64::from(last.count)) == one.first => last.count += one.count,
        _ => ranges.push(one),
    }
}
