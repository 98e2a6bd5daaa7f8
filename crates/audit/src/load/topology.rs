//! Queues and exchanges of the run: declared, looked for after each start, counted, deleted.

use super::session::{Session, connect};
use crate::journal::{Entry, Journal};
use crate::workload::Plan;
use anyhow::Context;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ErrorKind, ExchangeKind};
use std::time::{Duration, Instant};

/// How long a queue may take to be available after a start: those of a quorum elect a leader first.
const AVAILABLE_MAX: Duration = Duration::from_secs(60);
/// `NOT_FOUND`.
const NOT_FOUND: u16 = 404;

/// Everything that is declared.
pub(crate) struct Topology {
    url: String,
    pub(crate) plans: Vec<Plan>,
}

impl Topology {
    pub(crate) fn new(url: &str, plans: Vec<Plan>) -> Self {
        Self {
            url: url.to_owned(),
            plans,
        }
    }

    /// The numbers of a plan's queues in the journal: all queues of the run are counted through.
    pub(crate) fn numbers(&self, plan: usize) -> Vec<u16> {
        let before: usize = self.plans[..plan].iter().map(|plan| plan.queues.len()).sum();
        (before..before + self.plans[plan].queues.len())
            .map(|number| number as u16)
            .collect()
    }

    /// Declares everything for the first time, and writes down which queue is which.
    pub(crate) async fn declare(&self, journal: &Journal) -> anyhow::Result<()> {
        let session = connect(&self.url, "audit").await?;
        for (index, plan) in self.plans.iter().enumerate() {
            for (queue, number) in plan.queues.iter().zip(self.numbers(index)) {
                journal.append(&[Entry::Queue {
                    queue: number,
                    workload: plan.kind,
                    name: queue.name.clone(),
                }]);
            }
            self.declare_plan(&session, plan).await.with_context(|| {
                format!(
                    "the broker does not offer what the workload `{}` needs",
                    plan.kind.name()
                )
            })?;
        }
        session.close().await;
        Ok(())
    }

    async fn declare_plan(&self, session: &Session, plan: &Plan) -> anyhow::Result<()> {
        let channel = &session.channel;
        if let Some(exchange) = &plan.exchange {
            let durable = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            let name = exchange.as_str().into();
            let (kind, arguments) = if plan.delays() {
                let mut arguments = FieldTable::default();
                arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
                (ExchangeKind::Custom("x-delayed-message".to_owned()), arguments)
            } else {
                (ExchangeKind::Fanout, FieldTable::default())
            };
            channel.exchange_declare(name, kind, durable, arguments).await?;
        }
        for queue in &plan.queues {
            let durable = QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            };
            let name = queue.name.as_str();
            channel
                .queue_declare(name.into(), durable, queue.arguments.clone())
                .await?;
            if let Some(exchange) = &plan.exchange {
                let options = QueueBindOptions::default();
                channel
                    .queue_bind(
                        name.into(),
                        exchange.as_str().into(),
                        "".into(),
                        options,
                        FieldTable::default(),
                    )
                    .await?;
            }
        }
        Ok(())
    }

    /// Looks whether everything is still there, and declares again what is not. Messages in the queues, plan by plan.
    pub(crate) async fn look(&self, journal: &Journal) -> anyhow::Result<Vec<u64>> {
        let mut session = connect(&self.url, "audit").await?;
        let mut messages = Vec::new();
        for (index, plan) in self.plans.iter().enumerate() {
            let mut sum = 0;
            for (queue, number) in plan.queues.iter().zip(self.numbers(index)) {
                match count(&mut session, &queue.name).await? {
                    Some(count) => sum += u64::from(count),
                    None => {
                        journal.append(&[Entry::QueueGone { queue: number }]);
                        self.declare_plan(&session, plan).await?;
                    }
                }
            }
            messages.push(sum);
        }
        session.close().await;
        Ok(messages)
    }

    /// Leaves the broker as it was found.
    pub(crate) async fn delete(&self) -> anyhow::Result<()> {
        let session = connect(&self.url, "audit").await?;
        for plan in &self.plans {
            for queue in &plan.queues {
                let options = QueueDeleteOptions::default();
                session
                    .channel
                    .queue_delete(queue.name.as_str().into(), options)
                    .await?;
            }
            if let Some(exchange) = &plan.exchange {
                let options = ExchangeDeleteOptions::default();
                session
                    .channel
                    .exchange_delete(exchange.as_str().into(), options)
                    .await?;
            }
        }
        session.close().await;
        Ok(())
    }
}

/// The messages that wait in a queue; `None` if there is no such queue. Waits while the broker says that it is not available.
async fn count(session: &mut Session, queue: &str) -> anyhow::Result<Option<u32>> {
    let passive = QueueDeclareOptions {
        passive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let deadline = Instant::now() + AVAILABLE_MAX;
    loop {
        let declare = session
            .channel
            .queue_declare(queue.into(), passive, FieldTable::default());
        let error = match tokio::time::timeout(AVAILABLE_MAX, declare).await {
            Ok(Ok(declared)) => return Ok(Some(declared.message_count())),
            Ok(Err(error)) => error,
            Err(_) => anyhow::bail!("the broker does not say how many messages {queue} has"),
        };
        let code = match error.kind() {
            ErrorKind::ProtocolError(error) => error.get_id(),
            _ => return Err(error).context("the connection was lost"),
        };
        session.reopen().await?;
        if code == NOT_FOUND {
            return Ok(None);
        }
        if Instant::now() > deadline {
            return Err(error).with_context(|| format!("{queue} is not available"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
