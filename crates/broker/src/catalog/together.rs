//! Several commands as one: all are carried out or none, in one step for whoever looks.
//!
//! The catalog's maps are persistent, so the way back is a copy that costs a few counters.

use super::Catalog;
use super::command::Command;
use super::outcome::Outcome;
use super::refusal::Refusal;

impl Catalog {
    pub(super) fn together(&mut self, commands: Vec<Command>) -> Result<Outcome, Refusal> {
        let before = self.clone();
        let mut sum = Outcome::unchanged();
        for command in commands {
            match self.apply(command) {
                Ok(outcome) => sum.join(outcome),
                Err(refusal) => {
                    *self = before;
                    return Err(refusal);
                }
            }
        }
        Ok(sum)
    }
}

impl Outcome {
    /// Adds what was done after this.
    fn join(&mut self, then: Outcome) {
        self.changed |= then.changed;
        self.created_queues.extend(then.created_queues);
        self.removed_queues.extend(then.removed_queues);
        self.regulated_queues.extend(then.regulated_queues);
        self.removed_exchanges.extend(then.removed_exchanges);
        self.facts.extend(then.facts);
    }
}
