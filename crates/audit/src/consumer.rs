//! One consumer: takes, checks, writes down, acks; holds back while the backlog is smaller than it should be.

use crate::{Entry, Journal, identify};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, message::Delivery};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PREFETCH: u16 = 30;
/// One in so many messages is given back once instead of being acked.
const RETURN_ONE_IN: u32 = 40;
/// How long a held message waits before it looks at the backlog again.
const HOLD: Duration = Duration::from_millis(3);

/// A consumer: one connection's lifetime.
pub(crate) struct Consumer {
    pub(crate) number: u64,
    pub(crate) queue: String,
    pub(crate) journal: Arc<Journal>,
    /// Messages confirmed and not acked yet.
    pub(crate) backlog: Arc<AtomicU64>,
    /// Acks only while the backlog is larger than this.
    pub(crate) backlog_min: u64,
}

impl Consumer {
    /// Consumes until the connection fails or, with `idle`, until nothing has come for that long.
    pub(crate) async fn run(&self, channel: &Channel, idle: Option<Duration>) -> anyhow::Result<()> {
        if channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await
            .is_err()
        {
            return Ok(());
        }
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(
                self.queue.as_str().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await;
        let Ok(mut deliveries) = consumer else {
            return Ok(());
        };
        loop {
            let next = match idle {
                Some(idle) => tokio::time::timeout(idle, deliveries.next())
                    .await
                    .unwrap_or(None),
                None => deliveries.next().await,
            };
            let Some(Ok(delivery)) = next else { return Ok(()) };
            if !self.work(delivery).await? {
                return Ok(());
            }
        }
    }

    /// Deals with one message; `false` when the connection is gone.
    async fn work(&self, delivery: Delivery) -> anyhow::Result<bool> {
        let Some(id) = identify(&delivery.data) else {
            self.journal.write(Entry::Damaged {
                consumer: self.number,
            })?;
            return Ok(delivery.ack(BasicAckOptions::default()).await.is_ok());
        };
        let redelivered = delivery.redelivered;
        self.journal.write(Entry::Delivered {
            consumer: self.number,
            id,
            redelivered,
        })?;
        if !redelivered && fastrand::u32(0..RETURN_ONE_IN) == 0 {
            self.journal.write(Entry::Returned(id))?;
            let requeue = BasicNackOptions {
                requeue: true,
                ..BasicNackOptions::default()
            };
            return Ok(delivery.nack(requeue).await.is_ok());
        }
        while self.backlog.load(Ordering::Relaxed) < self.backlog_min {
            tokio::time::sleep(HOLD).await;
        }
        self.journal.write(Entry::Acked(id))?;
        // An unknown publish that came all the same was never counted.
        let _ = self
            .backlog
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        Ok(delivery.ack(BasicAckOptions::default()).await.is_ok())
    }
}
