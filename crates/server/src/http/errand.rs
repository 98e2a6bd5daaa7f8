//! Changes that a caller asks for: whether it may, then the machines.
//!
//! What the configuration declares is not the API's to change. A change that could is tried on a copy of the catalog first
//! ([`Errand::govern`]); from there until it is handed over no other such change and no reload come in between.

use everack_broker::catalog::{Command, Queue};
use everack_broker::ids::ConnectionId;
use everack_node::notice::Answer;
use everack_node::request::Request;

use super::Node;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::auth::declared::Declared;
use crate::engine::Engine;
use crate::engine::asker::{Asker, Late};

/// Somebody who asks for one thing at a time. Queues that are another connection's are not its own.
pub(super) struct Errand<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
    asker: Asker<'a>,
}

impl From<Late> for Refusal {
    fn from(_: Late) -> Self {
        Refusal::Busy("not durable in time; it may be carried out yet, or the disk is full")
    }
}

impl<'a> Errand<'a> {
    pub(super) fn new(engine: &'a Engine, caller: &'a Caller) -> Self {
        Self {
            engine,
            caller,
            asker: Asker::new(engine),
        }
    }

    /// Whose queues are its own: nobody's.
    pub(super) fn connection(&self) -> ConnectionId {
        self.asker.connection()
    }

    /// Deletes a queue, perhaps only if nobody consumes from it or nothing is ready in it.
    pub(super) async fn delete_queue(
        &self,
        queue: &Queue,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<(), Refusal> {
        let asker = Some(self.asker.connection());
        queue.check_access(asker)?;
        let command = Command::DeleteQueue {
            vhost: queue.vhost.clone(),
            name: queue.name.clone(),
            connection: asker,
        };
        let snapshot = self.engine.shared.snapshot();
        self.caller.authorise(&snapshot, &command)?;
        if if_unused || if_empty {
            let check = Request::CheckDelete {
                queue: queue.id,
                if_unused,
                if_empty,
                reply: self.asker.reply(),
            };
            let why = match self.asker.ask(queue, check).await? {
                Answer::QueueMissing => return Err(Refusal::NotFound),
                Answer::InUse => Some("in use"),
                Answer::NotEmpty => Some("not empty"),
                _ => None,
            };
            if let Some(why) = why {
                let (name, vhost) = (&queue.name, &queue.vhost);
                return Err(Refusal::Bad(format!("queue '{name}' in vhost '{vhost}' {why}")));
            }
        }
        // The queue that was looked at: another may have been declared under its name since.
        let gone = self.carry_out(Command::RemoveQueue { queue: queue.id }).await?;
        gone.then_some(()).ok_or(Refusal::NotFound)
    }

    /// Removes what is ready in a queue.
    pub(super) async fn purge(&self, queue: &Queue) -> Result<(), Refusal> {
        queue.check_access(Some(self.asker.connection()))?;
        let purge = Request::Purge {
            queue: queue.id,
            reply: self.asker.reply(),
        };
        match self.asker.ask(queue, purge).await? {
            Answer::QueueMissing => Err(Refusal::NotFound),
            _ => Ok(()),
        }
    }

    /// Carries a command out, if the caller may; says whether it changed anything.
    pub(super) async fn carry_out(&self, command: Command) -> Result<bool, Refusal> {
        let snapshot = self.engine.shared.snapshot();
        self.caller.authorise(&snapshot, &command)?;
        let vhost = command.vhost().and_then(|vhost| snapshot.vhost(vhost));
        if let Some(vhost) = vhost {
            self.engine.shared.may_grow(&snapshot, &vhost, &command)?;
        }
        self.asker.command(command);
        Ok(self.asker.outcome().await??)
    }

    /// Carries a command out about what the configuration may declare, if the caller may and the configuration declares nothing else; says
    /// whether it changed anything.
    pub(super) async fn govern(&self, node: &Node, command: Command) -> Result<bool, Refusal> {
        let turn = node.governing.lock().await;
        self.caller.authorise(&self.engine.shared.snapshot(), &command)?;
        let mut trial = self.engine.topology();
        let before = trial.snapshot();
        trial.apply(command.clone())?;
        let undone = Declared::by(&node.config.load()).undone(&before, &trial.snapshot());
        respect(undone.as_ref())?;
        self.asker.command(command);
        drop(turn);
        Ok(self.asker.outcome().await??)
    }
}

/// Refuses what would undo something that the configuration declares.
pub(super) fn respect(undone: Option<&String>) -> Result<(), Refusal> {
    undone.map_or(Ok(()), |what| {
        Err(Refusal::Bad(format!(
            "{what} is declared by the configuration file: change it there and reload the broker"
        )))
    })
}
