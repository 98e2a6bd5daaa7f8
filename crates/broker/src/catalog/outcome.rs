//! What became of a command.

use std::sync::Arc;

use super::fact::Fact;
use super::queue_definition::Queue;
use crate::name::Name;

/// What a command did. The caller logs the facts and answers the client once they are durable.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether the command changed anything: a declaration that created, a deletion that found something.
    pub changed: bool,
    /// The queue that a declaration created or found.
    pub queue: Option<Arc<Queue>>,
    /// The queues that are new, to be created in their partitions before they are told anything else.
    pub created_queues: Vec<Arc<Queue>>,
    /// The queues that are gone, to be deleted in their partitions. Their consumers are to be told.
    pub removed_queues: Vec<Arc<Queue>>,
    /// The queues whose settings in effect have changed, as they are now. Their partitions are to be told.
    pub regulated_queues: Vec<Arc<Queue>>,
    /// The exchanges that are gone, as virtual host and name.
    pub removed_exchanges: Vec<(Name, Name)>,
    /// What of it survives a restart. All of them go to the log together, or the command did not happen.
    pub facts: Vec<Fact>,
}

impl Outcome {
    /// Nothing had to be done.
    pub(crate) fn unchanged() -> Self {
        Self::default()
    }

    /// Something was done, of which `facts` survive.
    pub(crate) fn changed(facts: impl IntoIterator<Item = Fact>) -> Self {
        Self {
            changed: true,
            facts: facts.into_iter().collect(),
            ..Self::default()
        }
    }
}
