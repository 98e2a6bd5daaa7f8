//! The type that queues of a virtual host have if their declaration names none.
//!
//! It is written into the arguments of the declaration, as RabbitMQ does, before anything is checked or compared: so a queue keeps its type
//! when the default changes, and a restart does not have to know what the default was when it was declared.

use super::Catalog;
use super::command::DeclareQueue;
use super::fact::Fact;
use super::outcome::Outcome;
use super::queue_arguments::{QUEUE_TYPE, QueueKind};
use super::refusal::Refusal;
use super::vhost::Vhost;
use crate::arguments::Value;
use crate::name::Name;

impl Catalog {
    pub(super) fn set_default_kind(&mut self, vhost: Name, kind: QueueKind) -> Result<Outcome, Refusal> {
        let view = self.vhost_mut(&vhost)?;
        if view.default_kind == kind {
            return Ok(Outcome::unchanged());
        }
        view.default_kind = kind;
        Ok(Outcome::changed([Fact::DefaultQueueTypeSet { vhost, kind }]))
    }
}

impl Vhost {
    /// A declaration with the type that it does not name. What no quorum queue can be (it goes with its connection or its last consumer, or
    /// is not durable) is a classic queue all the same.
    pub(super) fn with_type(&self, declare: DeclareQueue) -> DeclareQueue {
        let possible = declare.durable && !declare.exclusive && !declare.auto_delete;
        // `undefined` is what some clients send to mean nothing.
        let given = declare.arguments.get(QUEUE_TYPE);
        let names_none = given.is_none_or(|given| given.as_long_string() == Some(b"undefined"));
        if self.default_kind == QueueKind::Classic || !possible || !names_none {
            return declare;
        }
        let others = declare
            .arguments
            .iter()
            .filter(|(name, _)| name.as_bytes() != QUEUE_TYPE.as_bytes());
        let kind = (QUEUE_TYPE.into(), Value::from(self.default_kind.name()));
        DeclareQueue {
            arguments: others.cloned().chain([kind]).collect(),
            ..declare
        }
    }
}
