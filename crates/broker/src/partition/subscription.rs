//! Consumers come and go; single messages are taken.

use std::sync::Arc;

use crate::ids::{ConnectionId, ConsumerId, QueueId, Ticket};

use super::Partition;
use super::consumer::{Consumer, Kind, Standing};
use super::effect::{Effect, Refusal};
use super::gate::Gate;
use super::limit::SharedLimit;
use super::patience::Patience;
use super::ring::Links;
use super::run::Content;
use super::slots::Slot;
use super::spans::Spans;
use super::standing::address;
use super::times::Times;

/// What a consumer asks for.
pub(super) struct Asked {
    pub(super) connection: ConnectionId,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i32,
    pub(super) prefetch: u16,
    pub(super) patience_millis: Option<u64>,
    pub(super) gate: Arc<Gate>,
    pub(super) limit: Option<Arc<SharedLimit>>,
}

/// Priorities beyond this count as this: lines are looked through one by one.
const PRIORITY_MAX: i32 = 100;

impl<C: Content> Partition<C> {
    pub(super) fn consume(&mut self, id: ConsumerId, queue: QueueId, mut asked: Asked, ticket: Ticket) {
        assert!(
            !self.consumer_slots.contains_key(&id),
            "consumer {id} is there already"
        );
        let Some(&queue_slot) = self.queue_slots.get(&queue) else {
            return self.refuse(ticket, Refusal::NoQueue);
        };
        let queue = &mut self.queues[queue_slot];
        if queue.exclusive || asked.exclusive && (queue.consumers > 0 || queue.single.is_some()) {
            return self.refuse(ticket, Refusal::ExclusiveUse);
        }
        asked.priority = asked.priority.clamp(-PRIORITY_MAX, PRIORITY_MAX);
        queue.exclusive = asked.exclusive;
        queue.consumers += 1;
        let line = queue.line(asked.priority);
        queue.lines[line].members += 1;
        queue.line_first = 0;
        let alone = queue.single.is_some();
        self.totals.consumers += 1;
        let slot = self.join(id, queue_slot, Kind::Active, asked);
        self.effects.push(Effect::ConsumeOk { ticket });
        if alone {
            self.wait_for_turn(slot);
        } else {
            self.line_up(slot);
        }
    }

    pub(super) fn cancel(&mut self, consumer: ConsumerId, ticket: Ticket) {
        self.effects.push(Effect::Cancelled { ticket });
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return;
        };
        self.withdraw(slot);
        self.release(slot, 0);
    }

    pub(super) fn get(
        &mut self,
        id: ConsumerId,
        connection: ConnectionId,
        queue: QueueId,
        no_ack: bool,
        ticket: Ticket,
    ) {
        let Some(&queue_slot) = self.queue_slots.get(&queue) else {
            return self.refuse(ticket, Refusal::NoQueue);
        };
        if self.queues[queue_slot].lifecycle.is_some() {
            self.use_queue(queue_slot);
            self.expire_head(queue_slot, false);
        }
        let queue = &mut self.queues[queue_slot];
        if queue.ready == 0 {
            queue.counters.gotten_nothing += 1;
            return self.effects.push(Effect::GotEmpty { ticket });
        }
        queue.counters.gotten += 1;
        queue.counters.gotten_no_ack += u64::from(no_ack);
        let slot = match self.consumer_slots.get(&id) {
            Some(&slot) => slot,
            None => self.join(id, queue_slot, Kind::Getter, Asked::getter(connection)),
        };
        let consumer = &self.consumers[slot];
        assert!(
            consumer.queue == queue_slot && consumer.kind == Kind::Getter,
            "consumer {id} gets from another queue"
        );
        // Each get says anew whether it acknowledges.
        self.consumers[slot].no_ack = no_ack;
        let delivery = Box::new(self.take_for(queue_slot, slot, 1));
        if !no_ack && self.now >= self.consumers[slot].times.next {
            self.note_delivery(slot, delivery.first_delivery);
        }
        let run = no_ack.then(|| (delivery.run.without_content(), delivery.marks));
        let remaining = self.queues[queue_slot].ready;
        self.effects.push(Effect::Got {
            ticket,
            delivery,
            remaining,
        });
        if let Some((run, marks)) = run {
            self.part_with(queue_slot, run, marks);
        }
    }

    pub(super) fn change_limit(&mut self, consumer: ConsumerId, limit: Option<Arc<SharedLimit>>) {
        let Some(&slot) = self.consumer_slots.get(&consumer) else {
            return;
        };
        let consumer = &self.consumers[slot];
        if consumer.kind == Kind::Getter {
            return;
        }
        // Out of the limit and in again would leave a gap for consumers in other partitions to slip through.
        if consumer.limit.as_ref().map(address) == limit.as_ref().map(address) {
            return;
        }
        let (standing, unsettled) = (consumer.standing, consumer.unsettled);
        if standing == Standing::AtLimit {
            self.line_up(slot);
        }
        self.release_limit(slot, unsettled);
        if let Some(limit) = &limit {
            limit.charge(unsettled);
        }
        self.consumers[slot].limit = limit;
    }

    /// Adds a consumer to a queue, in no ring yet.
    fn join(&mut self, id: ConsumerId, queue: Slot, kind: Kind, asked: Asked) -> Slot {
        let Asked {
            connection,
            no_ack,
            priority,
            prefetch,
            patience_millis,
            gate,
            limit,
            ..
        } = asked;
        let member = self.queues[queue].members.len();
        let slot = self.consumers.insert(Consumer {
            id,
            connection,
            queue,
            member,
            kind,
            no_ack,
            priority,
            prefetch,
            gate,
            limit,
            standing: Standing::Aside,
            links: Links::default(),
            patience: patience_millis.map(|millis| Box::new(Patience::new(millis))),
            next_delivery: 0,
            unsettled: 0,
            window: Spans::default(),
            times: if no_ack {
                Times::never()
            } else {
                Times::new(patience_millis)
            },
            otherwise: 0,
            apart: None,
        });
        self.queues[queue].members.push(slot);
        self.consumer_slots.insert(id, slot);
        slot
    }

    /// A consumer is delivered to no more. What it holds stays with it.
    pub(super) fn withdraw(&mut self, slot: Slot) {
        if self.consumers[slot].kind != Kind::Active {
            return;
        }
        self.stand(slot, Standing::Aside);
        let consumer = &mut self.consumers[slot];
        consumer.kind = Kind::Cancelled;
        self.totals.consumers -= 1;
        let queue = &mut self.queues[consumer.queue];
        queue.consumers -= 1;
        queue.exclusive = false;
        let line = queue.line(consumer.priority);
        queue.lines[line].members -= 1;
        if queue.lines[line].members == 0 {
            queue.lines.remove(line);
            queue.line_first = 0;
        }
        if queue.auto_delete && queue.consumers == 0 {
            self.effects.push(Effect::Unused { queue: queue.id });
        }
        let single = queue.single.is_some();
        let queue = consumer.queue;
        self.use_queue(queue);
        if single {
            self.give_up_turn(slot);
        }
    }

    /// A consumer that holds nothing is forgotten.
    pub(super) fn forget(&mut self, slot: Slot) {
        let consumer = self.consumers.remove(slot);
        self.forget_timer(&consumer, slot);
        self.consumer_slots.remove(&consumer.id);
        let members = &mut self.queues[consumer.queue].members;
        members.swap_remove(consumer.member);
        if let Some(&moved) = members.get(consumer.member) {
            self.consumers[moved].member = consumer.member;
        }
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.effects.push(Effect::Refused { ticket, refusal });
    }
}

impl Asked {
    /// What `Get` takes is under no limit: it asks for each message.
    fn getter(connection: ConnectionId) -> Self {
        let gate = Arc::new(Gate::new(u64::MAX));
        Self {
            connection,
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            patience_millis: None,
            gate,
            limit: None,
        }
    }
}
