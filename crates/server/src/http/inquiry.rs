//! Asks the machines how they stand, and puts together what they tell.
//!
//! A partition is asked for a bounded number of queues at a time, since it stands still while it looks. A question is over
//! when every machine that got it has told or is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConsumerId, Millis, PartitionId, QueueId, Seq};
use everack_broker::partition::{Counters, Cursor, Depth, Holder};
use everack_node::report::{HandedOn, Inquirer, PartitionReport, Report, ScheduledReport, SessionReport};
use everack_node::request::{HandOn, ListScheduled, Request, Unschedule};
use tokio::sync::mpsc;

use super::refusal::Refusal;
use crate::engine::Engine;
use crate::net::sockets::Socket;

/// Queues that a partition looks at in one go: some hundred microseconds.
const QUEUES_AT_ONCE: usize = 1_000;
/// How long a question may take. A machine answers within its next round, so this is a broker that is in trouble.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection: what its session tells, and its socket.
pub(crate) struct Connected {
    pub(crate) session: SessionReport,
    pub(crate) socket: Arc<Socket>,
}

impl Connected {
    /// RabbitMQ's name of one of its channels.
    pub(crate) fn channel_name(&self, number: u16) -> String {
        format!("{} ({number})", self.socket.name())
    }
}

/// What partitions tell of queues.
#[derive(Default)]
pub(crate) struct Depths {
    queues: HashMap<QueueId, Depth>,
    /// Of queues that are gone, by partition.
    deleted: HashMap<PartitionId, Counters>,
}

impl Depths {
    /// One queue; none if it went in between.
    pub(crate) fn get(&self, queue: QueueId) -> Option<&Depth> {
        self.queues.get(&queue)
    }

    /// All queues that were asked for.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Depth> {
        self.queues.values()
    }

    /// What became of the messages of queues that are gone.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &Counters> {
        self.deleted.values()
    }

    fn add(&mut self, report: PartitionReport) {
        self.queues.extend(report.queues);
        self.deleted.insert(report.partition, report.deleted);
    }
}

/// Who holds messages, by what names them.
pub(crate) struct Holders(HashMap<ConsumerId, (QueueId, Holder)>);

impl Holders {
    /// Those that are told of.
    pub(crate) fn of(known: impl Iterator<Item = (QueueId, Holder)>) -> Self {
        Self(
            known
                .map(|(queue, holder)| (holder.consumer, (queue, holder)))
                .collect(),
        )
    }

    /// One of them; none if it went in between, or has not begun.
    pub(crate) fn get(&self, consumer: ConsumerId) -> Option<&Holder> {
        self.0.get(&consumer).map(|(_, holder)| holder)
    }

    /// All, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.0.values().map(|(_, holder)| holder)
    }

    /// All, with their queues, in the order in which they came.
    pub(crate) fn in_order(&self) -> Vec<(QueueId, Holder)> {
        let mut all: Vec<_> = self.0.values().copied().collect();
        all.sort_unstable_by_key(|(_, holder)| holder.consumer);
        all
    }
}

/// All connections that have opened a virtual host, in the order in which they came.
pub(crate) async fn connections(engine: &Engine) -> Result<Vec<Connected>, Refusal> {
    let (inquirer, answers) = question();
    engine.shared.ask_connections(&inquirer);
    drop(inquirer);
    let mut connected: Vec<Connected> = collect(answers)
        .await?
        .into_iter()
        .filter_map(|report| match report {
            Report::Session(session) if !session.vhost.is_empty() => {
                let socket = engine.sockets.get(session.connection)?;
                Some(Connected {
                    session: *session,
                    socket,
                })
            }
            _ => None,
        })
        .collect();
    connected.sort_unstable_by_key(|connected| connected.session.connection);
    Ok(connected)
}

/// How these queues stand.
pub(crate) async fn queues<'a>(
    engine: &Engine,
    queues: impl Iterator<Item = &'a Arc<Queue>>,
) -> Result<Depths, Refusal> {
    let reports = about(engine, queues, |queues, inquirer| Request::Report {
        queues,
        inquirer,
    });
    let mut depths = Depths::default();
    for report in reports.await? {
        if let Report::Partition(report) = report {
            depths.add(report);
        }
    }
    Ok(depths)
}

/// Who consumes from these queues, or holds messages of them.
pub(crate) async fn holders<'a>(
    engine: &Engine,
    queues: impl Iterator<Item = &'a Arc<Queue>>,
) -> Result<Holders, Refusal> {
    let reports = about(engine, queues, |queues, inquirer| Request::Holders {
        queues,
        inquirer,
    });
    let known = reports.await?.into_iter().flat_map(|report| match report {
        Report::Holders(report) => report.holders,
        _ => Vec::new(),
    });
    Ok(Holders::of(known))
}

/// Asks partitions about queues, of a bounded number at a time.
async fn about<'a>(
    engine: &Engine,
    queues: impl Iterator<Item = &'a Arc<Queue>>,
    request: impl Fn(Vec<QueueId>, Arc<dyn Inquirer>) -> Request,
) -> Result<Vec<Report>, Refusal> {
    let mut wanted: Vec<Vec<QueueId>> = vec![Vec::new(); engine.partitions.len()];
    for queue in queues {
        wanted[usize::from(queue.partition.0)].push(queue.id);
    }
    let (inquirer, answers) = question();
    for (partition, wanted) in engine.partitions.iter().zip(&wanted) {
        // A partition without queues is asked as well: it knows of those that are gone.
        let slices = wanted.chunks(QUEUES_AT_ONCE).map(<[QueueId]>::to_vec);
        let nothing = wanted.is_empty().then(Vec::new);
        for queues in slices.chain(nothing) {
            partition.post(request(queues, inquirer.clone()));
            partition.run(engine);
            tokio::task::yield_now().await;
        }
    }
    drop(inquirer);
    collect(answers).await
}

/// Takes a delivery from its consumer, so that it goes on to another one; or only says who holds it.
pub(crate) async fn hand_on(
    engine: &Engine,
    queue: &Queue,
    message: Seq,
    delivery: Option<Cursor>,
    preview: bool,
) -> Result<HandedOn, Refusal> {
    let reports = ask(engine, queue.partition, |inquirer| {
        vec![Request::HandOn(HandOn {
            queue: queue.id,
            message,
            delivery,
            preview,
            inquirer: inquirer.clone(),
        })]
    });
    let fate = reports.await?.into_iter().find_map(|report| match report {
        Report::HandedOn(report) => Some(report.fate),
        _ => None,
    });
    fate.ok_or(Refusal::NotFound)
}

/// What waits in a queue on a schedule, from a time and a number on; none if the queue went in between.
pub(crate) async fn scheduled(
    engine: &Engine,
    queue: &Queue,
    from: (Millis, Seq),
    most: usize,
) -> Result<ScheduledReport, Refusal> {
    let reports = ask(engine, queue.partition, |inquirer| {
        vec![Request::ListScheduled(ListScheduled {
            queue: queue.id,
            from,
            most,
            inquirer: inquirer.clone(),
        })]
    });
    let report = reports.await?.into_iter().find_map(|report| match report {
        Report::Scheduled(report) => Some(report),
        _ => None,
    });
    report.ok_or(Refusal::NotFound)
}

/// Calls off what waits in a queue on a schedule, by numbers; says how many messages that were, once it is durable.
pub(crate) async fn unschedule(engine: &Engine, queue: &Queue, first: Seq, end: Seq) -> Result<u64, Refusal> {
    let reports = ask(engine, queue.partition, |inquirer| {
        vec![Request::Unschedule(Unschedule {
            queue: queue.id,
            first,
            end,
            inquirer: inquirer.clone(),
        })]
    });
    let messages = reports.await?.into_iter().map(|report| match report {
        Report::Unscheduled(report) => report.messages,
        _ => 0,
    });
    Ok(messages.sum())
}

/// Asks one partition all of these, and waits until everything is answered.
pub(crate) async fn ask(
    engine: &Engine,
    partition: PartitionId,
    requests: impl FnOnce(&Arc<dyn Inquirer>) -> Vec<Request>,
) -> Result<Vec<Report>, Refusal> {
    let (inquirer, answers) = question();
    let partition = &engine.partitions[usize::from(partition.0)];
    partition.post_all(requests(&inquirer));
    partition.run(engine);
    drop(inquirer);
    collect(answers).await
}

/// Passes on what it is told.
#[derive(Debug)]
struct Told(mpsc::UnboundedSender<Report>);

impl Inquirer for Told {
    fn told(&self, report: Report) {
        // Nobody listens any more if the question took too long.
        let _ = self.0.send(report);
    }
}

fn question() -> (Arc<dyn Inquirer>, mpsc::UnboundedReceiver<Report>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Told(sender)), receiver)
}

async fn collect(mut answers: mpsc::UnboundedReceiver<Report>) -> Result<Vec<Report>, Refusal> {
    let all = async {
        let mut reports = Vec::new();
        while let Some(report) = answers.recv().await {
            reports.push(report);
        }
        reports
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .map_err(|_| Refusal::Busy("the broker did not answer in time"))
}
