//! A short life of a broker in which every kind of storage operation happens: declare, publish, fan out, settle one by one and
//! together, return, a transaction over two partitions, purge, delete, checkpoints, segments that roll, are rewritten and go.

use std::collections::BTreeMap;

use everack_amqp::wire::method::{Method, basic, confirm, queue, tx};
use everack_storage::disk::Memory;

use crate::client::{Client, Received, short};
use crate::flaw::Flaw;
use crate::node::Node;
use crate::oracle::{Fate, Ledger, body_of};

/// A story as far as it got.
pub struct Told {
    /// What the clients know.
    pub ledger: Ledger,
}

struct Teller {
    node: Node,
    client: Client,
    ledger: Ledger,
    number: u64,
    published: u64,
    waiting: Vec<(u64, String, u64)>,
}

/// The queues of the story, and how they are bound to `amq.fanout`.
pub const QUEUES: [&str; 4] = ["orders", "audit", "bulk", "gone"];

/// Lives the story on `disk` until its end, or until the disk crashes.
pub fn tell(disk: &Memory) -> Told {
    tell_with(disk, Flaw::None)
}

/// As [`tell`], on a node with a known bug.
pub fn tell_with(disk: &Memory, flaw: Flaw) -> Told {
    let Ok(node) = Node::start_with(disk, flaw) else {
        return Told {
            ledger: Ledger::default(),
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
    };
    teller.declare_all();
    teller.client.say(confirm::Select { nowait: false });
    teller.chapter_one();
    teller.chapter_two();
    teller.chapter_three();
    Told {
        ledger: teller.ledger,
    }
}

impl Teller {
    fn dead(&self) -> bool {
        self.node.core().is_dead()
    }

    fn declare_all(&mut self) {
        for name in QUEUES {
            let declare = queue::Declare {
                queue: short(name),
                durable: true,
                ..queue::Declare::default()
            };
            self.client.say(declare);
            self.client.run();
            if self
                .client
                .answered(|method| matches!(method, Method::QueueDeclareOk(_)))
            {
                self.ledger.declared.insert(name.to_owned(), true);
            }
        }
        for name in ["orders", "audit"] {
            let bind = queue::Bind {
                queue: short(name),
                exchange: short("amq.fanout"),
                ..queue::Bind::default()
            };
            self.client.say(bind);
        }
        self.client.run();
    }

    /// Orders come in and are worked on one by one; what one worker leaves another gets.
    fn chapter_one(&mut self) {
        for _ in 0..4 {
            self.publish_to("amq.fanout", "", &["orders", "audit"], 200);
        }
        self.settle_some("orders", 2);
        self.leave_some("orders", 1);
        for _ in 0..3 {
            self.publish_to("", "orders", &["orders"], 50);
        }
        self.node.look_after();
    }

    /// A backlog makes the log roll; most of it is purged, so that segments are rewritten and go.
    fn chapter_two(&mut self) {
        for part in 0..8 {
            self.publish_many("bulk", 6, 900);
            if part == 4 {
                // A segment whose own messages will all be gone holds this settlement of an older one.
                self.settle_some("orders", 1);
            }
        }
        self.settle_some("bulk", 5);
        self.purge("bulk");
        self.publish_many("bulk", 2, 300);
        self.node.look_after();
        self.node.look_after();
        self.settle_some("audit", 1);
    }

    /// A transaction over queues of both partitions, a queue with messages that is deleted, and some more work.
    fn chapter_three(&mut self) {
        self.publish_many("gone", 3, 100);
        self.delete("gone");
        self.transaction();
        self.publish_many("orders", 2, 700);
        self.settle_some("orders", 3);
        self.node.look_after();
        self.publish_to("amq.fanout", "", &["orders", "audit"], 20);
    }

    fn publish_to(&mut self, exchange: &str, key: &str, queues: &[&str], bytes: usize) {
        self.queue_publish(exchange, key, queues, bytes);
        self.client.run();
        self.note_confirms();
    }

    /// Several messages in one piece of input, which become one batch.
    fn publish_many(&mut self, queue: &str, count: usize, bytes: usize) {
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
        self.client.publish(exchange, key, &body_of(self.number, bytes));
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
    fn settle_some(&mut self, queue: &str, count: usize) {
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

    /// A second client takes messages and dies with them.
    fn leave_some(&mut self, queue: &str, count: usize) {
        let mut other = Client::connect(self.node.core());
        take(&mut other, queue, count);
        other.vanish();
    }

    fn purge(&mut self, queue: &str) {
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

    fn delete(&mut self, name: &str) {
        if self.dead() {
            return;
        }
        self.note_all(name, Fate::Settling);
        self.ledger.declared.remove(name);
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
    fn transaction(&mut self) {
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
    let before = client.received.len();
    for _ in 0..count {
        client.say(basic::Get {
            queue: short(queue),
            no_ack: false,
        });
        client.run();
    }
    client.received.split_off(before)
}

/// Everything that a restarted node holds: each queue's messages in order, none for a queue that is not there.
pub fn drain(node: &Node) -> BTreeMap<String, Option<Vec<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    for name in QUEUES {
        let mut client = Client::connect(node.core());
        client.say(basic::Get {
            queue: short(name),
            no_ack: true,
        });
        client.run();
        if client.answered(|method| matches!(method, Method::ChannelClose(_))) {
            found.insert(name.to_owned(), None);
            continue;
        }
        while !client.answered(|method| matches!(method, Method::BasicGetEmpty(_))) {
            client.say(basic::Get {
                queue: short(name),
                no_ack: true,
            });
            client.run();
            assert!(
                !node.core().is_dead(),
                "the disk crashed while the outcome was read"
            );
        }
        found.insert(
            name.to_owned(),
            Some(client.received.into_iter().map(|message| message.body).collect()),
        );
    }
    found
}
