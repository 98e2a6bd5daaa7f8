//! What must add up in a partition between two rounds, at the cost of looking at everything: for tests.

use super::Partition;
use super::admission::Taken;

impl Partition {
    /// Checks all invariants: of the machine (the balance of each queue among them: `accepted = settled + live + dead-lettered + discarded`),
    /// and that no room is taken up by messages that are not on their way.
    ///
    /// # Errors
    /// What does not add up, in words.
    pub fn validate(&self) -> Result<(), String> {
        self.machine.validate()?;
        if !self.jobs.is_empty() {
            return Ok(());
        }
        let idle = |taken: Taken| taken == Taken::default();
        let mut stages = self.queues.iter();
        let held = stages.find(|(_, stage)| {
            let admission = stage.admission.as_ref();
            admission.is_some_and(|admission| !idle(admission.on_the_way))
        });
        match held {
            Some((queue, _)) => Err(format!(
                "queue {queue} keeps room for messages of which none is on its way"
            )),
            None => Ok(()),
        }
    }
}
