//! Verbs about messages that are set aside: parked, or retained after they were handed over without acknowledgement; and what
//! operators order about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use everack_broker::catalog::{Command, Guard, NoAckGuard, Queue};
use everack_broker::ids::Seq;
use everack_broker::partition::{ParkedFate, Store};
use everack_node::catalog_service::CatalogRequest;
use everack_node::report::{Inquirer, Report};
use everack_node::request::{Request, Unpark};

use super::{Teller, take, take_as};
use crate::client::Client;
use crate::node::{Core, Node};
use crate::oracle::{Fate, number_of};

/// Hears whether an order was answered.
#[derive(Debug, Default)]
struct Ear(AtomicBool);

impl Inquirer for Ear {
    fn told(&self, _report: Report) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Teller {
    /// From now on all queues retain what is handed over without acknowledgement.
    pub(crate) fn retain_all(&mut self) {
        if self.dead() {
            return;
        }
        let guard = NoAckGuard {
            guard: Guard::Retain,
            ..NoAckGuard::default()
        };
        let command = Command::GuardNoAck {
            vhost: "/".into(),
            guard,
        };
        self.node.core().post_catalog(CatalogRequest::Command {
            command,
            reply: None,
            fate: None,
        });
        self.node.core().pump();
    }

    /// A client takes messages of a queue that retains them, and does not acknowledge.
    pub(crate) fn poll_some(&mut self, queue: &str, count: usize) {
        let taken = take_as(&mut self.client, queue, count, true);
        let numbers = taken.iter().filter_map(|message| number_of(&message.body));
        self.set_aside.extend(numbers);
    }

    /// A second client takes messages of a queue that allows no failure, and dies with them.
    pub(crate) fn park_some(&mut self, queue: &str, count: usize) {
        let mut other = Client::connect(self.node.core());
        let taken = take(&mut other, queue, count);
        other.vanish();
        let numbers = taken.iter().filter_map(|message| number_of(&message.body));
        self.set_aside.extend(numbers);
    }

    /// An operator brings everything back from a store of a queue.
    pub(crate) fn bring_back(&mut self, queue: &str, store: Store) {
        if order(self.node.core(), queue, store, ParkedFate::Redrive) && !self.dead() {
            self.set_aside.clear();
        }
    }

    /// An operator discards everything in a store of a queue. Once that is answered, none of it may come back.
    pub(crate) fn discard(&mut self, queue: &str, store: Store) {
        if self.dead() {
            return;
        }
        let numbers = std::mem::take(&mut self.set_aside);
        for &number in &numbers {
            self.ledger.note(queue, number, Fate::Settling);
        }
        if order(self.node.core(), queue, store, ParkedFate::Discard) {
            for &number in &numbers {
                self.ledger.note(queue, number, Fate::Settled);
            }
        }
    }
}

/// Brings everything back that a restarted node has set aside, so that all of it can be looked at.
pub(super) fn bring_all_back(node: &Node, queues: &[&str]) {
    for queue in queues {
        for store in [Store::Parked, Store::Retained] {
            order(node.core(), queue, store, ParkedFate::Redrive);
        }
    }
}

/// Whether the order was answered; not, if the queue is not there, or the disk has crashed meanwhile.
fn order(core: &Core, queue: &str, store: Store, fate: ParkedFate) -> bool {
    let Some(queue) = find(core, queue) else {
        return false;
    };
    let ear = Arc::new(Ear::default());
    let unpark = Unpark {
        queue: queue.id,
        store,
        first: Seq(0),
        end: Seq(u64::MAX),
        fate,
        preview: false,
        inquirer: ear.clone(),
    };
    core.post(usize::from(queue.partition.0), Request::Unpark(unpark));
    core.pump();
    ear.0.load(Ordering::Relaxed)
}

fn find(core: &Core, queue: &str) -> Option<Arc<Queue>> {
    let snapshot = core.shared.snapshot();
    snapshot.vhost(b"/")?.queue(queue.as_bytes()).cloned()
}
