//! A campaign: load on a broker that is killed again and again, then a full drain.

use crate::consumer::Consumer;
use crate::publisher::Publisher;
use crate::{Entry, Journal};
use anyhow::{Context, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a client may take to get a connection.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// A queue is drained when it is empty and nothing has come for this long.
const IDLE: Duration = Duration::from_millis(1500);
/// How often the drain looks whether the queues are empty.
const DRAIN_ROUNDS_MAX: usize = 100;

/// Who starts and kills the broker.
pub trait Nemesis {
    /// Where the broker listens.
    fn url(&self) -> String;
    /// SIGKILL: it has no chance to write anything more.
    fn kill(&mut self) -> anyhow::Result<()>;
    /// Starts it again, on the same data.
    fn restart(&mut self) -> anyhow::Result<()>;
}

/// What to do to the broker, and how often.
pub struct Campaign {
    /// How often it is killed under load.
    pub kills: u32,
    /// How long it lives between two kills, in milliseconds.
    pub life_ms: Range<u64>,
    /// One life in so many is longer by this many milliseconds, so that acks get old enough to be counted on.
    pub long_life: (u32, u64),
    /// Publishers, spread over the queues.
    pub publishers: u32,
    /// Consumers of each queue.
    pub consumers: u32,
    /// Durable queues.
    pub queues: u32,
    /// Messages that are kept waiting on purpose: loss hides where consumers keep up.
    pub backlog: u64,
}

impl Campaign {
    /// Kills the broker again and again under load, then drains it; what was seen is in the journal.
    pub async fn run(&self, nemesis: &mut impl Nemesis, journal: &Arc<Journal>) -> anyhow::Result<()> {
        let mut crew = Crew::new(self, journal);
        for kill in 0..self.kills {
            let longer = if kill % self.long_life.0 == self.long_life.0 - 1 {
                self.long_life.1
            } else {
                0
            };
            let life = Duration::from_millis(fastrand::u64(self.life_ms.clone()) + longer);
            crew.live(&nemesis.url(), life, nemesis, journal)
                .await
                .with_context(|| format!("life {kill}"))?;
            nemesis.restart().with_context(|| format!("restart {kill}"))?;
        }
        crew.drain(&nemesis.url()).await
    }

    /// Only publishes, until the backlog is there. For tests that damage the data afterwards.
    pub async fn fill(&self, nemesis: &mut impl Nemesis, journal: &Arc<Journal>) -> anyhow::Result<()> {
        let mut crew = Crew::new(self, journal);
        crew.consumers = 0;
        let deadline = Instant::now() + CONNECT_MAX;
        while crew.backlog.load(Ordering::Relaxed) < self.backlog {
            ensure!(Instant::now() < deadline, "the backlog never filled");
            crew.live(&nemesis.url(), Duration::from_millis(1500), nemesis, journal)
                .await?;
            nemesis.restart()?;
        }
        nemesis.kill()
    }

    /// Only drains.
    pub async fn drain(&self, nemesis: &mut impl Nemesis, journal: &Arc<Journal>) -> anyhow::Result<()> {
        Crew::new(self, journal).drain(&nemesis.url()).await
    }

    fn queue(&self, index: u32) -> String {
        format!("audit-{}", index % self.queues)
    }
}

/// Everybody who works on the broker.
struct Crew {
    publishers: Vec<Publisher>,
    queues: Vec<String>,
    consumers: u32,
    consumers_ever: u64,
    journal: Arc<Journal>,
    backlog: Arc<AtomicU64>,
    backlog_min: u64,
}

impl Crew {
    fn new(campaign: &Campaign, journal: &Arc<Journal>) -> Self {
        let backlog = Arc::new(AtomicU64::new(0));
        let publisher = |number: u32| Publisher {
            number,
            queue: campaign.queue(number),
            journal: Arc::clone(journal),
            backlog: Arc::clone(&backlog),
            next: 0,
        };
        Self {
            publishers: (0..campaign.publishers).map(publisher).collect(),
            queues: (0..campaign.queues).map(|index| campaign.queue(index)).collect(),
            consumers: campaign.consumers,
            consumers_ever: 0,
            journal: Arc::clone(journal),
            backlog: Arc::clone(&backlog),
            backlog_min: campaign.backlog,
        }
    }

    /// One life of the broker: everybody works until it is killed.
    async fn live(
        &mut self,
        url: &str,
        life: Duration,
        nemesis: &mut impl Nemesis,
        journal: &Journal,
    ) -> anyhow::Result<()> {
        self.declare(url).await?;
        let mut consuming = JoinSet::new();
        for consumer in self.consumers(self.backlog_min) {
            let url = url.to_owned();
            consuming.spawn(async move {
                // The kill may come before the connection is there; then there was nothing to see.
                let Ok((_connection, channel)) = connect(&url).await else {
                    return Ok(());
                };
                consumer.run(&channel, None).await
            });
        }
        let mut publishing = JoinSet::new();
        for mut publisher in self.publishers.drain(..) {
            let url = url.to_owned();
            publishing.spawn(async move {
                if let Ok((_connection, channel)) = connect(&url).await {
                    publisher.run(&channel).await?;
                }
                anyhow::Ok(publisher)
            });
        }
        tokio::time::sleep(life).await;
        nemesis.kill()?;
        // Nobody may write a line about the old life after this one.
        consuming.shutdown().await;
        while let Some(publisher) = publishing.join_next().await {
            self.publishers.push(publisher??);
        }
        journal.write(Entry::Killed)?;
        journal.sync()
    }

    fn consumers(&mut self, backlog_min: u64) -> Vec<Consumer> {
        let count = self.consumers as usize * self.queues.len();
        let queues = self.queues.iter().cycle().take(count);
        let mut consumers = Vec::new();
        for queue in queues {
            self.consumers_ever += 1;
            consumers.push(Consumer {
                number: self.consumers_ever,
                queue: queue.clone(),
                journal: Arc::clone(&self.journal),
                backlog: Arc::clone(&self.backlog),
                backlog_min,
            });
        }
        consumers
    }

    /// Takes everything that is left, until every queue says that it is empty.
    async fn drain(&mut self, url: &str) -> anyhow::Result<()> {
        self.consumers = 1;
        for _ in 0..DRAIN_ROUNDS_MAX {
            self.declare(url).await?;
            let mut consuming = JoinSet::new();
            for consumer in self.consumers(0) {
                let url = url.to_owned();
                consuming.spawn(async move {
                    let (connection, channel) = connect(&url).await?;
                    consumer.run(&channel, Some(IDLE)).await?;
                    // Acks are not answered: a polite close makes sure that they arrived.
                    connection.close(200, "drained".into()).await?;
                    anyhow::Ok(())
                });
            }
            while let Some(consumer) = consuming.join_next().await {
                consumer??;
            }
            if self.declare(url).await? == 0 {
                return self.journal.sync();
            }
        }
        anyhow::bail!("the queues never became empty")
    }

    /// Makes sure that the queues are there; the number of messages that they hold.
    async fn declare(&self, url: &str) -> anyhow::Result<u32> {
        let (connection, channel) = connect(url).await?;
        let mut messages = 0;
        for queue in &self.queues {
            let durable = QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            };
            let declared = channel
                .queue_declare(queue.as_str().into(), durable, FieldTable::default())
                .await?;
            messages += declared.message_count();
        }
        connection.close(200, "declared".into()).await?;
        Ok(messages)
    }
}

/// A connection with one channel; lapin's own errors after that are the broker's death, and expected.
async fn connect(url: &str) -> anyhow::Result<(Connection, Channel)> {
    let attempt = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok::<_, lapin::Error>((connection, channel))
    };
    Ok(tokio::time::timeout(CONNECT_MAX, attempt)
        .await
        .context("no connection in time")??)
}
