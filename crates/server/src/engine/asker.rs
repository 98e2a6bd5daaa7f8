//! Somebody who asks machines for one thing at a time and waits for the answer, as a connection does, without being one: the management
//! API, and the start of the process.
//!
//! A command is answered when it is durable and every client sees it.

use std::sync::Arc;
use std::time::Duration;

use everack_broker::catalog::{Command, Queue, Refusal};
use everack_broker::ids::ConnectionId;
use everack_broker::partition::Gate;
use everack_node::catalog_service::{CatalogAnswer, CatalogRequest};
use everack_node::link::{Link, Wake};
use everack_node::notice::{Answer, Notice};
use everack_node::request::{Reply, Request};
use tokio::sync::Notify;

use super::Engine;

/// How long a change may take to be durable. Far more than a sync takes on a slow disk; a full disk takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing is delivered to an asker.
const GATE_BYTES: u64 = 1 << 20;
/// There is only one.
const CHANNEL: u16 = 1;

/// There is no answer yet: the disk is slow or full. What was asked for may happen still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not durable in time; it may be carried out yet, or the disk is full")]
pub(crate) struct Late;

/// See the module.
pub(crate) struct Asker<'a> {
    engine: &'a Engine,
    link: Arc<Link>,
    bell: Arc<Notify>,
}

struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl<'a> Asker<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        let bell = Arc::new(Notify::new());
        let gate = Arc::new(Gate::new(GATE_BYTES));
        let wake = Box::new(Bell(bell.clone()));
        let link = Arc::new(Link::new(engine.shared.next_connection(), gate, wake));
        Self { engine, link, bell }
    }

    /// Whose queues are its own: nobody's.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.link.connection
    }

    /// Brings a command to the catalog. The answer is to be waited for with [`Asker::outcome`].
    pub(crate) fn command(&self, command: Command) {
        self.engine.catalog.post(CatalogRequest::Command {
            command,
            reply: Some(self.reply()),
            fate: None,
        });
        self.engine.run_all();
    }

    /// Whether the command changed anything, once that is durable.
    pub(crate) async fn outcome(&self) -> Result<Result<bool, Refusal>, Late> {
        match self.notice().await? {
            Notice::Catalog {
                answer: CatalogAnswer::Done { changed, .. },
                ..
            } => Ok(Ok(changed)),
            Notice::Catalog {
                answer: CatalogAnswer::Refused(refusal),
                ..
            } => Ok(Err(refusal)),
            other => unreachable!("the catalog answers a command with {other:?}"),
        }
    }

    /// What a queue's partition says to a request that has [`Asker::reply`] in it.
    pub(crate) async fn ask(&self, queue: &Queue, request: Request) -> Result<Answer, Late> {
        let partition = &self.engine.partitions[usize::from(queue.partition.0)];
        partition.post(request);
        partition.run(self.engine);
        match self.notice().await? {
            Notice::Answer { answer, .. } => Ok(answer),
            other => unreachable!("a partition answers a request with {other:?}"),
        }
    }

    pub(crate) fn reply(&self) -> Reply {
        Reply {
            link: self.link.clone(),
            channel: CHANNEL,
        }
    }

    async fn notice(&self) -> Result<Notice, Late> {
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
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| Late)
    }
}
