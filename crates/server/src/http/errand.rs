//! Changes: takes a command to the catalog, or a request to a partition, and waits for the answer, as a connection does.
//!
//! A command is answered when it is durable and every client sees it.

use std::sync::Arc;
use std::time::Duration;

use everack_broker::catalog::{Command, Queue};
use everack_broker::ids::ConnectionId;
use everack_broker::partition::Gate;
use everack_node::catalog_service::{CatalogAnswer, CatalogRequest};
use everack_node::link::{Link, Wake};
use everack_node::notice::{Answer, Notice};
use everack_node::request::{Reply, Request};
use tokio::sync::Notify;

use super::caller::Caller;
use super::refusal::Refusal;
use crate::engine::Engine;

/// How long a change may take to be durable. Far more than a sync takes on a slow disk; a full disk takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing is delivered to an errand.
const GATE_BYTES: u64 = 1 << 20;
/// There is only one.
const CHANNEL: u16 = 1;

/// Somebody who asks for one thing at a time. Queues that are another connection's are not its own.
pub(super) struct Errand<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
    link: Arc<Link>,
    bell: Arc<Notify>,
}

struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl<'a> Errand<'a> {
    pub(super) fn new(engine: &'a Engine, caller: &'a Caller) -> Self {
        let bell = Arc::new(Notify::new());
        let gate = Arc::new(Gate::new(GATE_BYTES));
        let wake = Box::new(Bell(bell.clone()));
        let link = Arc::new(Link::new(engine.shared.next_connection(), gate, wake));
        Self {
            engine,
            caller,
            link,
            bell,
        }
    }

    /// Whose queues are its own: nobody's.
    pub(super) fn connection(&self) -> ConnectionId {
        self.link.connection
    }

    /// Deletes a queue, perhaps only if nobody consumes from it or nothing is ready in it.
    pub(super) async fn delete_queue(
        &self,
        queue: &Queue,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<(), Refusal> {
        let asker = Some(self.link.connection);
        queue.check_access(asker)?;
        let command = Command::DeleteQueue {
            vhost: queue.vhost.clone(),
            name: queue.name.clone(),
            connection: asker,
        };
        let snapshot = self.engine.shared.snapshot();
        snapshot.authorise(&self.caller.user.name, &command)?;
        if if_unused || if_empty {
            let check = Request::CheckDelete {
                queue: queue.id,
                if_unused,
                if_empty,
                reply: self.reply(),
            };
            let why = match self.ask(queue, check).await? {
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
        queue.check_access(Some(self.link.connection))?;
        let purge = Request::Purge {
            queue: queue.id,
            reply: self.reply(),
        };
        match self.ask(queue, purge).await? {
            Answer::QueueMissing => Err(Refusal::NotFound),
            _ => Ok(()),
        }
    }

    /// Carries a command out, if the caller may; says whether it changed anything.
    pub(super) async fn carry_out(&self, command: Command) -> Result<bool, Refusal> {
        let snapshot = self.engine.shared.snapshot();
        snapshot.authorise(&self.caller.user.name, &command)?;
        let vhost = command.vhost().and_then(|vhost| snapshot.vhost(vhost));
        if let Some(vhost) = vhost {
            self.engine.shared.may_grow(&snapshot, &vhost, &command)?;
        }
        self.engine.catalog.post(CatalogRequest::Command {
            command,
            reply: Some(self.reply()),
            fate: None,
        });
        self.engine.run_all();
        match self.notice().await? {
            Notice::Catalog {
                answer: CatalogAnswer::Done { changed, .. },
                ..
            } => Ok(changed),
            Notice::Catalog {
                answer: CatalogAnswer::Refused(refusal),
                ..
            } => Err(refusal.into()),
            other => unreachable!("the catalog answers a command with {other:?}"),
        }
    }

    async fn ask(&self, queue: &Queue, request: Request) -> Result<Answer, Refusal> {
        let partition = &self.engine.partitions[usize::from(queue.partition.0)];
        partition.post(request);
        partition.run(self.engine);
        match self.notice().await? {
            Notice::Answer { answer, .. } => Ok(answer),
            other => unreachable!("a partition answers a request with {other:?}"),
        }
    }

    async fn notice(&self) -> Result<Notice, Refusal> {
        let answered = async {
            loop {
                self.link.begin_turn();
                let mut notices = Vec::new();
                self.link.take(&mut notices);
                if let Some(notice) = notices.pop() {
                    return notice;
                }
                self.bell.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, answered)
            .await
            .map_err(|_| Refusal::Busy("not durable in time; it may be carried out yet, or the disk is full"))
    }

    fn reply(&self) -> Reply {
        Reply {
            link: self.link.clone(),
            channel: CHANNEL,
        }
    }
}
