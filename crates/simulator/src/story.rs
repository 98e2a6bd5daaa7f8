//! What can happen in a story, verb by verb, and what the clients know afterwards. The stories themselves are [`tales`](crate::tales).
//!
//! A verb ends when nothing moves any more, so that the same story on the same disk makes the same calls.

mod aside;

use std::collections::BTreeMap;

use everack_amqp::wire::method::{Method, basic, confirm, exchange, queue, tx};
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};
use everack_storage::disk::Memory;

use crate::client::{Client, Received, short};
use crate::flaw::Flaw;
use crate::node::Node;
use crate::oracle::{Fate, Ledger, Move, body_of};
use crate::tales::Tale;

/// A story as far as it got.
pub struct Told {
    /// What the clients know.
    pub ledger: Ledger,
    /// Calls to the disk before the operation began that the story is about.
    pub prelude_calls: u64,
}

/// Who tells a story: a node, a client, and what is known.
pub struct Teller {
    pub(crate) node: Node,
    client: Client,
    ledger: Ledger,
    number: u64,
    published: u64,
    waiting: Vec<(u64, String, u64)>,
    /// Messages that the story has set aside, and not brought back or discarded yet.
    set_aside: Vec<u64>,
}

/// The queues of all stories.
/// What dies in `work` goes to `dead`, so `dead` is looked at after it.
pub const QUEUES: [&str; 10] = [
    "orders", "audit", "bulk", "gone", "late", "later", "narrow", "strict", "work", "dead",
];
/// How long a mortal message lives, as its property says it.
const LIFE_MILLIS: &str = "60000";
/// How long messages wait that do, in milliseconds.
const DELAY_MILLIS: i32 = 5_000;
/// Long enough after the beginning of every story that all that waits is due, and nothing mortal dead, in microseconds.
const DUE_US: u64 = 30_000_000;
/// Those that are there from the beginning, the first two bound to `amq.fanout`.
const DECLARED: [&str; 4] = ["orders", "audit", "bulk", "gone"];

/// Lives a story on `disk` until its end, or until the disk crashes.
pub fn tell(disk: &Memory, tale: &Tale) -> Told {
    tell_with(disk, tale, Flaw::None)
}

/// As [`tell`], on a node with a known bug.
pub fn tell_with(disk: &Memory, tale: &Tale, flaw: Flaw) -> Told {
    let Ok(node) = Node::start_with(disk, flaw) else {
        return Told {
            ledger: Ledger::default(),
            prelude_calls: 0,
        };
    };
    let client = Client::connect(node.core());
    let mut teller = Teller {
        node,
        client,
        ledger: Ledger::default(),
        number: 0,
        published: 0,
        waiting: Vec::new(),
        set_aside: Vec::new(),
    };
    DECLARED.iter().for_each(|name| teller.declare(name));
    ["orders", "audit"]
        .iter()
        .for_each(|name| teller.bind("amq.fanout", name, true));
    teller.client.say(confirm::Select { nowait: false });
    (tale.prelude)(&mut teller);
    let prelude_calls = disk.calls();
    (tale.operation)(&mut teller);
    Told {
        ledger: teller.ledger,
        prelude_calls,
    }
}

impl Teller {
    fn dead(&self) -> bool {
        self.node.core().is_dead()
    }

    /// The upkeep has its way.
    pub(crate) fn look_after(&mut self) {
        self.node.look_after();
    }

    /// A spare segment is made.
    pub(crate) fn prepare(&mut self) {
        self.node.upkeep_round(true, 0);
    }

    /// The node stops in order.
    pub(crate) fn stop(&mut self) {
        if !self.dead() {
            self.node.last_checkpoint();
            self.node.core().close_log();
        }
    }

    pub(crate) fn declare(&mut self, name: &str) {
        self.declare_with(name, Table::new());
    }

    /// As [`Teller::declare`], with arguments.
    pub(crate) fn declare_with(&mut self, name: &str, arguments: Table) {
        if self.dead() {
            return;
        }
        let before = self.ledger.declared.remove(name);
        let declare = queue::Declare {
            queue: short(name),
            durable: true,
            arguments,
            ..queue::Declare::default()
        };
        self.client.say(declare);
        self.client.run();
        let answered = self
            .client
            .answered(|method| matches!(method, Method::QueueDeclareOk(_)));
        if answered || before == Some(true) {
            self.ledger.declared.insert(name.to_owned(), true);
        }
    }

    /// Binds a queue to an exchange under its own name, or takes that back.
    pub(crate) fn bind(&mut self, exchange: &str, name: &str, there: bool) {
        if self.dead() {
            return;
        }
        let edge = (exchange.to_owned(), name.to_owned());
        self.ledger.bound.remove(&edge);
        if there {
            self.client.say(queue::Bind {
                queue: short(name),
                exchange: short(exchange),
                routing_key: short(name),
                ..queue::Bind::default()
            });
        } else {
            self.client.say(queue::Unbind {
                queue: short(name),
                exchange: short(exchange),
                routing_key: short(name),
                ..queue::Unbind::default()
            });
        }
        self.client.run();
        let answered = self
            .client
            .answered(|method| matches!(method, Method::QueueBindOk(_) | Method::QueueUnbindOk(_)));
        if answered {
            self.ledger.bound.insert(edge, there);
        }
    }

    pub(crate) fn publish_to(&mut self, exchange: &str, key: &str, queues: &[&str], bytes: usize) {
        self.queue_publish(exchange, key, queues, bytes);
        self.client.run();
        self.note_confirms();
    }

    /// Several messages in one piece of input, which become one batch.
    pub(crate) fn publish_many(&mut self, queue: &str, count: usize, bytes: usize) {
        for _ in 0..count {
            self.queue_publish("", queue, &[queue], bytes);
        }
        self.client.run();
        self.note_confirms();
    }

    fn queue_publish(&mut self, exchange: &str, key: &str, queues: &[&str], bytes: usize) {
        if self.dead() {
            return;
        }
        self.note_publish(queues);
        self.client.publish(exchange, key, &body_of(self.number, bytes));
    }

    fn note_publish(&mut self, queues: &[&str]) {
        self.number += 1;
        self.published += 1;
        for name in queues {
            self.ledger
                .queues
                .entry((*name).to_owned())
                .or_default()
                .insert(self.number, Fate::Unknown);
            self.waiting
                .push((self.published, (*name).to_owned(), self.number));
        }
    }

    fn note_confirms(&mut self) {
        let confirmed = self.client.confirmed;
        for (publish, queue, number) in &self.waiting {
            if *publish <= confirmed {
                self.ledger.note(queue, *number, Fate::Confirmed);
            }
        }
        self.waiting.retain(|(publish, ..)| *publish > confirmed);
    }

    /// Takes `count` messages of a queue and acknowledges them: the second first, the others together.
    pub(crate) fn settle_some(&mut self, queue: &str, count: usize) {
        let taken = take(&mut self.client, queue, count);
        if taken.is_empty() || self.dead() {
            return;
        }
        let numbers: Vec<u64> = taken
            .iter()
            .filter_map(|message| crate::oracle::number_of(&message.body))
            .collect();
        numbers
            .iter()
            .for_each(|number| self.ledger.note(queue, *number, Fate::Settling));
        if let Some(second) = taken.get(1) {
            self.client.say(basic::Ack {
                delivery_tag: second.tag,
                multiple: false,
            });
        }
        let last = taken
            .iter()
            .rfind(|message| message.tag != taken.get(1).map_or(0, |second| second.tag));
        if let Some(last) = last {
            self.client.say(basic::Ack {
                delivery_tag: last.tag,
                multiple: true,
            });
        }
        self.client.run();
        if !self.dead() {
            numbers
                .iter()
                .for_each(|number| self.ledger.note(queue, *number, Fate::Settled));
        }
    }

    /// Takes `count` messages of a queue and rejects them; they go to `target`.
    pub(crate) fn reject_some(&mut self, source: &str, target: &str, count: usize) {
        let taken = take(&mut self.client, source, count);
        let known = taken
            .iter()
            .filter_map(|message| crate::oracle::number_of(&message.body));
        let numbers: Vec<u64> = known.collect();
        self.begin_dying(source, Some(target), &numbers);
        for message in &taken {
            self.client.say(basic::Reject {
                delivery_tag: message.tag,
                requeue: false,
            });
        }
        self.client.run();
        self.end_dying(source, Some(target), &numbers);
    }

    /// Publishes messages one by one to a queue that holds at most `most`; its head makes room, and goes to `target` if there is one.
    pub(crate) fn publish_beyond(&mut self, source: &str, target: Option<&str>, most: usize, count: usize) {
        for _ in 0..count {
            let ready = self.confirmed_in(source);
            let beyond: Vec<u64> = ready
                .iter()
                .take((ready.len() + 1).saturating_sub(most))
                .copied()
                .collect();
            self.begin_dying(source, target, &beyond);
            self.publish_to("", source, &[source], 200);
            self.end_dying(source, target, &beyond);
        }
    }

    /// Publishes messages that live for [`LIFE_MILLIS`].
    pub(crate) fn publish_mortal(&mut self, queue: &str, count: usize, bytes: usize) {
        for _ in 0..count {
            if self.dead() {
                return;
            }
            self.note_publish(&[queue]);
            let body = body_of(self.number, bytes);
            let mut properties = vec![0x11, 0, 2, LIFE_MILLIS.len() as u8];
            properties.extend_from_slice(LIFE_MILLIS.as_bytes());
            self.client.publish_with("", queue, &properties, &body);
        }
        self.client.run();
        self.note_confirms();
    }

    /// Declares an exchange that holds messages back, then routes them by their key.
    pub(crate) fn declare_delayed(&mut self, name: &str) {
        if self.dead() {
            return;
        }
        self.client.say(exchange::Declare {
            exchange: short(name),
            kind: short("x-delayed-message"),
            durable: true,
            arguments: Table::new().with("x-delayed-type", Value::String(b"direct".to_vec())),
            ..exchange::Declare::default()
        });
        self.client.run();
    }

    /// Publishes messages that wait for [`DELAY_MILLIS`] before they come to `queue`.
    pub(crate) fn publish_for_later(&mut self, exchange: &str, queue: &str, count: usize, bytes: usize) {
        let properties = Properties {
            headers: Some(Table::new().with("x-delay", Value::I32(DELAY_MILLIS))),
            delivery_mode: Some(2),
            ..Properties::default()
        };
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        for _ in 0..count {
            if self.dead() {
                return;
            }
            self.note_publish(&[queue]);
            let body = body_of(self.number, bytes);
            self.client.publish_with(exchange, queue, &encoded, &body);
        }
        self.client.run();
        self.note_confirms();
    }

    /// Lets time pass until everything that waits is due.
    pub(crate) fn come_due(&mut self) {
        let core = self.node.core();
        core.set_now(core.now_us() + DELAY_MILLIS as u64 * 1000);
        core.pump();
        self.client.run();
    }

    /// Lets time pass until everything in a queue has expired, and has gone to `target` if there is one.
    pub(crate) fn outlive(&mut self, source: &str, target: Option<&str>) {
        let numbers = self.confirmed_in(source);
        self.begin_dying(source, target, &numbers);
        let core = self.node.core();
        core.set_now(core.now().0 * 1000 + 61_000_000);
        self.client.run();
        self.end_dying(source, target, &numbers);
    }

    fn confirmed_in(&self, queue: &str) -> Vec<u64> {
        let known = self.ledger.queues.get(queue).into_iter().flatten();
        let confirmed = known.filter(|(_, fate)| **fate == Fate::Confirmed);
        confirmed.map(|(number, _)| *number).collect()
    }

    fn begin_dying(&mut self, source: &str, target: Option<&str>, numbers: &[u64]) {
        if self.dead() {
            return;
        }
        for &number in numbers {
            let Some(target) = target else {
                self.ledger.note(source, number, Fate::Settling);
                continue;
            };
            self.ledger.note(source, number, Fate::Unknown);
            self.ledger.note(target, number, Fate::Unknown);
            self.ledger.moves.push(Move {
                source: source.to_owned(),
                target: target.to_owned(),
                number,
            });
        }
    }

    fn end_dying(&mut self, source: &str, target: Option<&str>, numbers: &[u64]) {
        if self.dead() {
            return;
        }
        for &number in numbers {
            self.ledger.note(source, number, Fate::Settled);
            if let Some(target) = target {
                self.ledger.note(target, number, Fate::Confirmed);
            }
        }
        self.ledger.moves.clear();
    }

    /// A second client takes messages and dies with them.
    pub(crate) fn leave_some(&mut self, queue: &str, count: usize) {
        let mut other = Client::connect(self.node.core());
        take(&mut other, queue, count);
        other.vanish();
    }

    pub(crate) fn purge(&mut self, queue: &str) {
        self.note_all(queue, Fate::Settling);
        self.client.say(queue::Purge {
            queue: short(queue),
            nowait: false,
        });
        self.client.run();
        if self
            .client
            .answered(|method| matches!(method, Method::QueuePurgeOk(_)))
            && !self.dead()
        {
            self.note_all(queue, Fate::Settled);
        }
    }

    pub(crate) fn delete(&mut self, name: &str) {
        if self.dead() {
            return;
        }
        self.note_all(name, Fate::Settling);
        self.ledger.declared.remove(name);
        self.ledger.bound.retain(|(_, queue), _| queue != name);
        self.client.say(queue::Delete {
            queue: short(name),
            ..queue::Delete::default()
        });
        self.client.run();
        if self
            .client
            .answered(|method| matches!(method, Method::QueueDeleteOk(_)))
        {
            self.ledger.declared.insert(name.to_owned(), false);
        }
    }

    fn note_all(&mut self, queue: &str, fate: Fate) {
        if self.dead() {
            return;
        }
        for known in self
            .ledger
            .queues
            .entry(queue.to_owned())
            .or_default()
            .values_mut()
        {
            if *known != Fate::Settled {
                *known = fate;
            }
        }
    }

    /// Publishes to two queues and settles a message of a third, all or nothing.
    pub(crate) fn transaction(&mut self) {
        if self.dead() {
            return;
        }
        let mut other = Client::connect(self.node.core());
        other.say(tx::Select {});
        let taken = take(&mut other, "audit", 1);
        let mut parts = Vec::new();
        for name in ["orders", "bulk"] {
            self.number += 1;
            self.ledger
                .queues
                .entry(name.to_owned())
                .or_default()
                .insert(self.number, Fate::Unknown);
            other.publish("", name, &body_of(self.number, 150));
            parts.push((name.to_owned(), self.number));
        }
        let settled = taken
            .first()
            .and_then(|message| crate::oracle::number_of(&message.body));
        if let (Some(message), Some(number)) = (taken.first(), settled) {
            other.say(basic::Ack {
                delivery_tag: message.tag,
                multiple: false,
            });
            self.ledger.note("audit", number, Fate::Settling);
        }
        other.say(tx::Commit {});
        self.ledger.transactions.push(parts.clone());
        other.run();
        if other.answered(|method| matches!(method, Method::TxCommitOk(_))) {
            parts
                .iter()
                .for_each(|(queue, number)| self.ledger.note(queue, *number, Fate::Confirmed));
            if let Some(number) = settled {
                self.ledger.note("audit", number, Fate::Settled);
            }
            // From here on they are messages like any other.
            self.ledger.transactions.clear();
        }
        other.vanish();
    }
}

impl Ledger {
    fn note(&mut self, queue: &str, number: u64, fate: Fate) {
        self.queues
            .entry(queue.to_owned())
            .or_default()
            .insert(number, fate);
    }
}

/// Gets up to `count` messages of a queue, without settling them.
fn take(client: &mut Client, queue: &str, count: usize) -> Vec<Received> {
    take_as(client, queue, count, false)
}

fn take_as(client: &mut Client, queue: &str, count: usize, no_ack: bool) -> Vec<Received> {
    let before = client.received.len();
    for _ in 0..count {
        client.say(basic::Get {
            queue: short(queue),
            no_ack,
        });
        client.run();
    }
    client.received.split_off(before)
}

/// Everything that a restarted node holds: each queue's messages in order, what was set aside in its old place, none for a queue that is
/// not there.
///
/// # Panics
/// When the disk crashes meanwhile.
pub fn drain(node: &Node) -> BTreeMap<String, Option<Vec<Vec<u8>>>> {
    // What waits for its time comes before anybody looks; the clock of a node that has just started shows the beginning.
    node.core().set_now(node.core().now_us().max(DUE_US));
    node.core().pump();
    aside::bring_all_back(node, &QUEUES);
    let drained = QUEUES.map(|name| (name.to_owned(), drain_queue(node, name)));
    assert!(
        !node.core().is_dead(),
        "the disk crashed while the outcome was read"
    );
    drained.into()
}

fn drain_queue(node: &Node, name: &str) -> Option<Vec<Vec<u8>>> {
    let mut client = Client::connect(node.core());
    let get = basic::Get {
        queue: short(name),
        no_ack: true,
    };
    loop {
        client.say(get.clone());
        client.run();
        if client.answered(|method| matches!(method, Method::ChannelClose(_))) {
            return None;
        }
        if node.core().is_dead() || client.answered(|method| matches!(method, Method::BasicGetEmpty(_))) {
            break;
        }
    }
    Some(client.received.into_iter().map(|message| message.body).collect())
}

/// Whether a message for `name` to `exchange` comes to the queue of this name. All queues have been emptied before.
pub fn is_bound(node: &Node, exchange: &str, name: &str) -> bool {
    let mut client = Client::connect(node.core());
    client.publish(exchange, name, b"a probe");
    client.run();
    let found = drain_queue(node, name);
    QUEUES.iter().for_each(|other| drop(drain_queue(node, other)));
    found.is_some_and(|found| !found.is_empty())
}
