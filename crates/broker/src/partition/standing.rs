//! Moving consumers between rings: in line, waiting at a gate or a limit, or in no ring at all.

use std::sync::Arc;

use crate::ids::ConsumerId;

use super::consumer::Standing;
use super::limit::SharedLimit;
use super::ring::Ring;
use super::run::Content;
use super::slots::Slot;
use super::{Awakened, Partition};

impl<C: Content> Partition<C> {
    /// Takes a consumer out of the ring it is in and puts it where it stands from now on.
    pub(super) fn stand(&mut self, slot: Slot, standing: Standing) {
        let consumer = &mut self.consumers[slot];
        let before = std::mem::replace(&mut consumer.standing, standing);
        if before == standing {
            return;
        }
        self.leave_ring(slot, before);
        self.enter_ring(slot, standing);
    }

    fn leave_ring(&mut self, slot: Slot, standing: Standing) {
        let consumer = &self.consumers[slot];
        match standing {
            Standing::InLine => {
                let queue = &mut self.queues[consumer.queue];
                let line = queue.line(consumer.priority);
                queue.lines[line].ring.remove(&mut self.consumers, slot);
            }
            Standing::AtGate => {
                let connection = consumer.connection;
                let ring = self
                    .at_gate
                    .get_mut(&connection)
                    .expect("a ring for every consumer that waits");
                ring.remove(&mut self.consumers, slot);
                if ring.is_empty() {
                    self.at_gate.remove(&connection);
                }
            }
            Standing::AtLimit => {
                let limit = consumer.limit.as_ref().map_or(0, address);
                let ring = self
                    .at_limit
                    .get_mut(&limit)
                    .expect("a ring for every consumer that waits");
                ring.remove(&mut self.consumers, slot);
                if ring.is_empty() {
                    self.at_limit.remove(&limit);
                }
            }
            Standing::Sated | Standing::Waiting | Standing::Yielding | Standing::Aside => {}
        }
    }

    fn enter_ring(&mut self, slot: Slot, standing: Standing) {
        let consumer = &self.consumers[slot];
        match standing {
            Standing::InLine => {
                let queue = &mut self.queues[consumer.queue];
                let line = queue.line(consumer.priority);
                queue.line_first = queue.line_first.min(line);
                queue.lines[line].ring.push_back(&mut self.consumers, slot);
            }
            Standing::AtGate => {
                let ring = self.at_gate.entry(consumer.connection).or_default();
                ring.push_back(&mut self.consumers, slot);
            }
            Standing::AtLimit => {
                let limit = consumer.limit.as_ref().map_or(0, address);
                self.at_limit
                    .entry(limit)
                    .or_default()
                    .push_back(&mut self.consumers, slot);
            }
            Standing::Sated | Standing::Waiting | Standing::Yielding | Standing::Aside => {}
        }
    }

    /// A consumer may be delivered to again; its queue is looked at when the round ends.
    pub(super) fn line_up(&mut self, slot: Slot) {
        self.stand(slot, Standing::InLine);
        let queue = self.consumers[slot].queue;
        self.touch(queue);
    }

    pub(super) fn resume(&mut self, consumer: ConsumerId) {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return self.awaken_all();
        };
        let consumer = &self.consumers[slot];
        let limit = consumer.limit.as_ref().map(address);
        self.awaken(Awakened::Gate(consumer.connection));
        if let Some(limit) = limit {
            self.awaken(Awakened::Limit(limit));
        }
    }

    /// Whoever posted a resume took note that somebody waits, and named a consumer that has gone since. Nobody will be told
    /// again, so everybody who waits is looked at; rings that find no room leave a new note.
    fn awaken_all(&mut self) {
        let gates = self
            .at_gate
            .iter()
            .map(|(&connection, ring)| (ring.first(), Awakened::Gate(connection)));
        let limits = self
            .at_limit
            .iter()
            .map(|(&limit, ring)| (ring.first(), Awakened::Limit(limit)));
        let mut rings: Vec<_> = gates.chain(limits).collect();
        // The same order in every run, wherever the limits happen to lie in memory.
        rings.sort_unstable_by_key(|(first, _)| *first);
        rings.into_iter().for_each(|(_, ring)| self.awaken(ring));
    }

    /// Has a ring served when the round ends, if anybody is in it.
    pub(super) fn awaken(&mut self, ring: Awakened) {
        if self.ring_len(ring) > 0 && self.awakened.back() != Some(&ring) {
            self.awakened.push_back(ring);
        }
    }

    pub(super) fn ring_len(&self, ring: Awakened) -> u32 {
        self.ring(ring).map_or(0, Ring::len)
    }

    pub(super) fn ring_first(&self, ring: Awakened) -> Option<Slot> {
        self.ring(ring)?.first()
    }

    pub(super) fn ring(&self, ring: Awakened) -> Option<&Ring> {
        match ring {
            Awakened::Gate(connection) => self.at_gate.get(&connection),
            Awakened::Limit(limit) => self.at_limit.get(&limit),
        }
    }
}

/// What a limit is known by; it stays where it is as long as a consumer has it.
pub(super) fn address(limit: &Arc<SharedLimit>) -> usize {
    Arc::as_ptr(limit) as usize
}
