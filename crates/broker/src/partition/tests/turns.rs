//! The single active consumer as the model has it: a list of who waits, in the order in which they take over.

use crate::partition::Takeover;

use super::model::Model;

/// Of a queue with a single active consumer.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    pub(super) active: Option<u64>,
    /// Priority and consumer.
    waiting: Vec<(i32, u64)>,
}

impl Turns {
    pub(super) fn join(&mut self, consumer: u64, priority: i32) {
        let at = self.waiting.iter().take_while(|(other, _)| *other >= priority);
        self.waiting.insert(at.count(), (priority, consumer));
    }

    pub(super) fn leave(&mut self, consumer: u64) {
        self.waiting.retain(|(_, waiter)| *waiter != consumer);
        self.active = self.active.filter(|active| *active != consumer);
    }
}

impl Model {
    /// Whether a consumer is one that its queue delivers to, as far as turns go.
    pub(super) fn has_turn(&self, consumer: u64) -> bool {
        let known = &self.consumers[&consumer];
        let queue = &self.queues[&known.queue];
        let Some(takeover) = queue.rules.single_active else {
            return true;
        };
        let outranked = takeover == Takeover::WhenOutranked
            && queue
                .turns
                .waiting
                .first()
                .is_some_and(|(priority, _)| *priority > known.priority);
        queue.turns.active == Some(consumer) && !outranked
    }

    /// After each step: whoever is to be active is.
    pub(super) fn take_turns(&mut self) {
        let queues: Vec<u64> = self.queues.keys().copied().collect();
        for queue in queues {
            let Some(takeover) = self.queues[&queue].rules.single_active else {
                continue;
            };
            let active = self.queues[&queue].turns.active;
            let outranked = active.filter(|&active| {
                takeover == Takeover::WhenOutranked
                    && !self.has_turn(active)
                    && self.held_by(active).is_empty()
            });
            let priority = outranked.map(|active| self.consumers[&active].priority);
            let turns = &mut self.queues.get_mut(&queue).expect("listed").turns;
            if let (Some(active), Some(priority)) = (outranked, priority) {
                turns.leave(active);
                turns.join(active, priority);
            }
            if turns.active.is_none() && !turns.waiting.is_empty() {
                turns.active = Some(turns.waiting.remove(0).1);
            }
        }
    }
}
