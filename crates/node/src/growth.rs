//! Whether the topology may grow: the limits that the operator has set, and memory.
//!
//! Asked by whoever takes commands from outside, before they go to the catalog; who asks at the same time may get past a limit by a few.

use everack_broker::catalog::{Command, Refusal, RefusalKind, Snapshot, VhostView};

use crate::alarms::Resource;
use crate::shared::Shared;

impl Shared {
    /// Refuses a command that would make a virtual host grow beyond what there may be, with RabbitMQ's texts, or while memory is short.
    pub fn may_grow(&self, snapshot: &Snapshot, vhost: &VhostView, command: &Command) -> Result<(), Refusal> {
        let Some(what) = new_thing(vhost, command) else {
            return Ok(());
        };
        let refused = |text: String| Err(Refusal::new(RefusalKind::PreconditionFailed, text));
        let (queues, exchanges) = (self.limits.queues(), self.limits.exchanges());
        match command {
            Command::DeclareQueue(declare) if snapshot.queue_count() as u64 >= queues => {
                let name = &declare.name;
                refused(format!(
                    "cannot declare queue '{name}': queue limit in cluster ({queues}) is reached"
                ))
            }
            Command::DeclareExchange(declare) if snapshot.exchange_count() as u64 >= exchanges => {
                let (name, vhost) = (&declare.name, vhost.name());
                refused(format!(
                    "cannot declare exchange '{name}' in vhost '{vhost}': exchange limit of {exchanges} is reached"
                ))
            }
            _ if self.alarms.stands(Resource::Memory) => refused(format!("cannot {what}: low on memory")),
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// As [`Shared::may_grow`], for several commands that stand or fall together, by what was there before and would be there after.
    pub fn may_grow_to(&self, before: &Snapshot, after: &Snapshot) -> Result<(), Refusal> {
        let refused = |text: String| Err(Refusal::new(RefusalKind::PreconditionFailed, text));
        let grows = |before: usize, after: usize| after > before;
        let (queues, exchanges) = (self.limits.queues(), self.limits.exchanges());
        let more_queues = grows(before.queue_count(), after.queue_count());
        let more_exchanges = grows(before.exchange_count(), after.exchange_count());
        if more_queues && after.queue_count() as u64 > queues {
            return refused(format!(
                "cannot declare queues: queue limit in cluster ({queues}) is reached"
            ));
        }
        if more_exchanges && after.exchange_count() as u64 > exchanges {
            return refused(format!(
                "cannot declare exchanges: exchange limit of {exchanges} is reached"
            ));
        }
        if (more_queues || more_exchanges) && self.alarms.stands(Resource::Memory) {
            return refused("cannot declare queues and exchanges: low on memory".to_owned());
        }
        Ok(())
    }
}

/// What a command would add to the topology, in words; `None` when it adds nothing.
fn new_thing(vhost: &VhostView, command: &Command) -> Option<String> {
    match command {
        Command::DeclareQueue(declare) if !declare.passive && vhost.queue(&declare.name).is_none() => {
            Some(format!("declare queue '{}'", declare.name))
        }
        Command::DeclareExchange(declare) if !declare.passive && vhost.exchange(&declare.name).is_none() => {
            Some(format!("declare exchange '{}'", declare.name))
        }
        Command::Bind { binding, .. } if !vhost.has_binding(binding) => {
            Some(format!("bind to exchange '{}'", binding.source))
        }
        _ => None,
    }
}
