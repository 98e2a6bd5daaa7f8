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

use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::content::{Batch, Entry, Group, flags};
use everack_amqp::wire::frame::ContentHeader;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;
use everack_broker::catalog::{Queue, Snapshot, VhostView};
use everack_broker::ids::{Millis, PartitionId, QueueId};
use everack_broker::partition::{Death, Run, SettleReason};
use everack_broker::routing::Route;

use crate::machine::Machine;
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::recall::Recall;
use crate::record::Range;
use crate::request::{MovePart, Request, RoutedRun};
use crate::shared::Shared;
use crate::space::Pin;
use crate::transaction::Assembly;
use crate::translate::from_amqp;
use headers::DeathNote;

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
}

/// See the module documentation.
#[derive(Debug)]
pub struct DeadLetters {
    shared: Arc<Shared>,
    recall: Arc<Recall>,
}

/// What becomes of the messages of one run.
#[derive(Default)]
struct Sorted {
    chunk: BytesMut,
    entries: Vec<Entry>,
    groups: Vec<Group>,
    runs: Vec<RoutedRun>,
    moved: Vec<Range>,
    cycles: Vec<Range>,
    unroutable: Vec<Range>,
    kept: Vec<Range>,
}

/// One message on its way.
struct Letter {
    header: Vec<u8>,
    headers: Table,
    flags: u16,
    routing_key: Vec<u8>,
}

impl DeadLetters {
    /// Routes on what `shared` publishes, reads through `recall`.
    pub fn new(shared: Arc<Shared>, recall: Arc<Recall>) -> Self {
        Self { shared, recall }
    }

    fn send_on(&self, letter: &DeadLetter, now: Millis, outbox: &mut Outbox) {
        let run = &letter.run;
        let messages = match &run.content {
            Some(messages) => messages.clone(),
            None => match self.recall.messages(run.location) {
                Ok(messages) if usize::from(run.to) <= messages.len() => messages,
                Err(error) if error.may_pass() => {
                    tracing::warn!(%error, "dead messages cannot be read now; they are tried again");
                    return answer(letter, [range(letter, run.from, run.to)], Request::keep, outbox);
                }
                unreadable => {
                    let error = unreadable.err().map(|error| error.to_string());
                    tracing::error!(
                        ?error,
                        first = run.first.0,
                        "dead messages are damaged and set aside"
                    );
                    let damaged = [range(letter, run.from, run.to)];
                    return answer(letter, damaged, Request::damaged, outbox);
                }
            },
        };
        let snapshot = self.shared.snapshot();
        let mut sorted = match letter.death {
            Death::Due => due::sort(&self.shared, &snapshot, letter, &messages),
            _ => sort(&snapshot, letter, &messages, now),
        };
        let kept = std::mem::take(&mut sorted.kept);
        let cycles = std::mem::take(&mut sorted.cycles);
        let unroutable = std::mem::take(&mut sorted.unroutable);
        answer(letter, kept, Request::keep, outbox);
        answer(letter, cycles, Request::cycle, outbox);
        answer(letter, unroutable, Request::unroutable, outbox);
        self.move_on(letter, sorted, outbox);
    }

    /// Has all partitions concerned do their part of the move.
    fn move_on(&self, letter: &DeadLetter, sorted: Sorted, outbox: &mut Outbox) {
        if sorted.runs.is_empty() {
            return;
        }
        let batch = Batch::from_parts(sorted.chunk.freeze(), sorted.entries, sorted.groups);
        let messages = Messages::new(batch.expect("the parts were put together side by side"));
        let runs: Arc<[RoutedRun]> = sorted.runs.into();
        let mut partitions = crate::session::partitions_of(&runs);
        if letter.owned && !partitions.contains(&letter.partition) {
            partitions.push(letter.partition);
        }
        let transaction = self.shared.next_transaction();
        let assembly = Arc::new(Assembly::new(transaction, partitions.len()));
        for partition in partitions {
            let is_source = letter.owned && partition == letter.partition;
            let source = if is_source {
                sorted.moved.clone()
            } else {
                Vec::new()
            };
            let part = MovePart {
                assembly: assembly.clone(),
                messages: messages.clone(),
                runs: runs.clone(),
                source,
            };
            outbox.requests.push((partition, Request::Move(part)));
        }
    }
}

impl Machine for DeadLetters {
    type Request = DeadLetter;

    fn handle(&mut self, letter: DeadLetter, now: Millis, outbox: &mut Outbox) {
        self.send_on(&letter, now, outbox);
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
    if letter.owned {
        let requests = ranges.into_iter().map(|range| (letter.partition, request(range)));
        outbox.requests.extend(requests);
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

/// Finds the way of each message.
fn sort(snapshot: &Snapshot, letter: &DeadLetter, messages: &Messages, now: Millis) -> Sorted {
    let mut sorted = Sorted::default();
    let queue = snapshot.queue(letter.queue);
    let settings = queue.map(|queue| &queue.settings);
    let exchange = settings.and_then(|settings| settings.dead_letter_exchange.as_ref());
    let vhost = queue.and_then(|queue| snapshot.vhost(&queue.vhost));
    for index in letter.run.from..letter.run.to {
        let one = range(letter, index, index + 1);
        let (Some(queue), Some(exchange), Some(vhost)) = (queue, exchange, &vhost) else {
            push_range(&mut sorted.kept, one);
            continue;
        };
        let written = write_letter(queue, letter.death, messages, usize::from(index), now);
        let route = route(vhost, exchange, &written);
        match way(snapshot, vhost, route, &written.headers) {
            Way::To(route) => {
                sorted.push(exchange, &written, messages.body(usize::from(index)), route);
                push_range(&mut sorted.moved, one);
            }
            Way::Circle => push_range(&mut sorted.cycles, one),
            Way::Nowhere => push_range(&mut sorted.kept, one),
        }
    }
    sorted
}

/// Where the dead-letter exchange leads the message. One that keeps its key goes to the further ones that it was published with as
/// well; where the queue has given it another key, these are off it.
fn route(vhost: &VhostView, exchange: &[u8], letter: &Letter) -> Option<Arc<Route>> {
    let arguments = from_amqp::arguments(&letter.headers);
    let mut keys = vec![letter.routing_key.as_slice()];
    keys.extend(headers::copies(&letter.headers));
    match keys[..] {
        [key] => vhost.route_dead_letter(exchange, key, &arguments),
        _ => vhost.route_dead_letter_copies(exchange, &keys, &arguments),
    }
}

/// Where a message goes.
enum Way {
    To(Arc<Route>),
    /// Only back to where it died before.
    Circle,
    /// The exchange is missing, or nobody is bound.
    Nowhere,
}

fn way(snapshot: &Snapshot, vhost: &VhostView, route: Option<Arc<Route>>, headers: &Table) -> Way {
    let Some(route) = route.filter(|route| !route.is_empty()) else {
        return Way::Nowhere;
    };
    let circles = |queue: QueueId| {
        let queue = snapshot.queue(queue).filter(|queue| queue.vhost == *vhost.name());
        queue.is_some_and(|queue| headers::is_cycle(headers, &queue.name))
    };
    let targets = route.targets.iter().filter(|target| !circles(target.queue));
    let targets: Box<[_]> = targets.copied().collect();
    match targets.len() {
        0 => Way::Circle,
        all if all == route.targets.len() => Way::To(route),
        _ => Way::To(Arc::new(Route {
            targets,
            by_headers: true,
        })),
    }
}

/// The message as it goes on: what it died of is in its headers, its expiration is off it.
fn write_letter(queue: &Queue, death: Death, messages: &Messages, index: usize, now: Millis) -> Letter {
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

impl Sorted {
    fn push(&mut self, exchange: &[u8], letter: &Letter, body: &[u8], route: Arc<Route>) {
        let index = self.entries.len() as u16;
        let address_off = self.chunk.len() as u32;
        for part in [exchange, &letter.routing_key] {
            // Names and keys that are longer than a short string were refused when they came in.
            let part = &part[..part.len().min(255)];
            self.chunk.extend_from_slice(&[part.len() as u8]);
            self.chunk.extend_from_slice(part);
        }
        let header_off = self.chunk.len() as u32;
        self.chunk.extend_from_slice(&letter.header);
        self.chunk.extend_from_slice(body);
        self.entries.push(Entry {
            address_off,
            address_len: (header_off - address_off) as u16,
            header_off,
            header_len: letter.header.len() as u32,
            body_off: header_off + letter.header.len() as u32,
            body_len: body.len() as u32,
            flags: letter.flags,
        });
        // Each in a group of its own: no two need share an address.
        self.groups.push(Group {
            from: index,
            to: index + 1,
            mandatory: false,
        });
        match self.runs.last_mut() {
            Some(last) if last.to == index && last.route.targets == route.targets => last.to = index + 1,
            _ => self.runs.push(RoutedRun {
                route,
                from: index,
                to: index + 1,
            }),
        }
    }
}

fn push_range(ranges: &mut Vec<Range>, one: Range) {
    match ranges.last_mut() {
        Some(last) if last.first.plus(u64::from(last.count)) == one.first => last.count += one.count,
        _ => ranges.push(one),
    }
}
