//! The hot loop: consume, publish, wait for the confirm, acknowledge. One connection's life; others decide where it begins.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Consumer, PublisherConfirm};
use tokio::time::{sleep, timeout};

use crate::crew::Shared;
use crate::fingerprint::Fingerprint;
use crate::journal::Journal;
use crate::link::{self, Gone, Link, Stalled};
use crate::plan::Task;
use crate::reconcile::Resumption;

/// Most messages that are written down and published together.
const BATCH_MAX: usize = 256;
/// How long a source may say nothing, with nothing on its way, until its queue is looked at.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// What quorum queues add to a message that they deliver again: it is theirs, not the message's.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// Why a message cannot be put into the target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the target refuses a message (basic.nack): its queue is full, perhaps")]
    Nack,
    #[error("the target sends a message back: {0}")]
    Returned(String),
}

/// The source is not as the last run left it.
#[derive(Debug, thiserror::Error)]
#[error(
    "message {place} of the source is not the one that was moved from there: somebody else has published, or consumed; \
     --accept-duplicates moves all that the source has"
)]
pub(crate) struct Stranger {
    place: u64,
}

/// What comes next.
enum Next {
    Deliveries(Vec<Delivery>),
    Confirmed(Box<lapin::Result<Confirmation>>),
    Silence,
}

/// A message that is on its way.
struct Sent {
    tag: u64,
    confirm: PublisherConfirm,
}

/// One consumer and one publisher, until the queue is empty or a connection breaks.
pub(crate) struct Pump<'a> {
    link: &'a Link,
    task: &'a Task,
    shared: &'a Shared,
    journal: &'a mut Journal,
    source: Channel,
    target: Channel,
    sent: VecDeque<Sent>,
    /// The place in the list of the message that comes next.
    place: u64,
    /// Messages that are still at the source, though they were moved: from `place` on.
    moved: VecDeque<Fingerprint>,
    has_passage: bool,
}

impl<'a> Pump<'a> {
    /// Begins where `resumption` says.
    pub(crate) async fn prime(
        link: &'a Link,
        task: &'a Task,
        shared: &'a Shared,
        journal: &'a mut Journal,
        resumption: &Resumption,
    ) -> anyhow::Result<Self> {
        let source = link::channel(&link.source).await.context("the source")?;
        source
            .basic_qos(shared.window(task), BasicQosOptions::default())
            .await?;
        let target = link::channel(&link.target).await.context("the target")?;
        target.confirm_select(ConfirmSelectOptions::default()).await?;
        let moved = journal.messages(resumption.removed..resumption.moved)?;
        Ok(Self {
            link,
            task,
            shared,
            journal,
            source,
            target,
            sent: VecDeque::new(),
            place: resumption.removed,
            moved: moved.into(),
            has_passage: false,
        })
    }

    /// Moves until the queue is empty; how many messages fewer came out than the source had.
    pub(crate) async fn run(mut self) -> anyhow::Result<u64> {
        let mut consumer = self.consume().await.context("the source")?;
        let expected = self.journal.leg.source_before;
        let mut silence = Duration::ZERO;
        while self.place < expected || !self.sent.is_empty() {
            let room = usize::from(self.shared.window(self.task)).saturating_sub(self.sent.len());
            let left = usize::try_from(expected - self.place).unwrap_or(usize::MAX);
            match self.next(&mut consumer, room.min(left)).await? {
                Next::Deliveries(deliveries) => self.take(deliveries).await?,
                Next::Confirmed(confirmation) => self.confirmed(*confirmation).await?,
                Next::Silence if link::count(&self.link.source, &self.task.queue).await?.ready == 0 => break,
                Next::Silence => {
                    silence += SILENCE_MAX;
                    ensure!(silence < self.shared.patience, Stalled("source", silence));
                    continue;
                }
            }
            silence = Duration::ZERO;
        }
        // The answer to this says that the acknowledgements before it have arrived.
        let closed = timeout(link::ANSWER_MAX, self.source.close(200, "done".into())).await;
        closed.context("the source gives no answer in time")??;
        Ok(expected - self.place)
    }

    /// Nobody else may consume: exclusively, where the queue allows it.
    async fn consume(&self) -> anyhow::Result<Consumer> {
        let options = BasicConsumeOptions {
            exclusive: !self.task.single_active_consumer,
            ..BasicConsumeOptions::default()
        };
        let queue = self.task.queue.as_str().into();
        let consume =
            self.source
                .basic_consume(queue, "everack.migrate".into(), options, FieldTable::default());
        Ok(consume.await?)
    }

    async fn next(&mut self, consumer: &mut Consumer, room: usize) -> anyhow::Result<Next> {
        let is_idle = self.sent.is_empty();
        let confirm = async {
            match self.sent.front_mut() {
                Some(sent) => (&mut sent.confirm).await,
                None => std::future::pending().await,
            }
        };
        let mut confirm = pin!(confirm);
        let mut lost = pin!(self.link.lost());
        let patience = if is_idle {
            SILENCE_MAX
        } else {
            self.shared.patience
        };
        let mut silence = pin!(sleep(patience));
        tokio::select! {
            biased;
            confirmation = &mut confirm => Ok(Next::Confirmed(Box::new(confirmation))),
            delivery = consumer.next(), if room > 0 => {
                let Some(delivery) = delivery else { bail!(Gone("source")) };
                let mut deliveries = vec![delivery?];
                while deliveries.len() < room.min(self.shared.batch(BATCH_MAX)) {
                    match consumer.next().now_or_never() {
                        Some(Some(delivery)) => deliveries.push(delivery?),
                        Some(None) => bail!(Gone("source")),
                        None => break,
                    }
                }
                Ok(Next::Deliveries(deliveries))
            }
            () = &mut lost => bail!(Gone("source or the target")),
            () = &mut silence => {
                ensure!(is_idle, Stalled("target", patience));
                Ok(Next::Silence)
            }
        }
    }

    /// Publishes deliveries, but for those that were moved before: these are compared with the journal, and acknowledged.
    async fn take(&mut self, deliveries: Vec<Delivery>) -> anyhow::Result<()> {
        let mut fresh = Vec::with_capacity(deliveries.len());
        let mut known = None;
        for mut delivery in deliveries {
            let seen = identify(self.task, &mut delivery);
            // What nobody got before cannot have come back.
            let may_be_known = delivery.redelivered || !self.journal.leg.reopened;
            match self.moved.pop_front() {
                Some(moved) if moved == seen && may_be_known => known = Some(delivery.delivery_tag),
                Some(_) => bail!(Stranger {
                    place: self.place + 1
                }),
                None => fresh.push((delivery, seen)),
            }
            self.place += 1;
        }
        if let Some(tag) = known {
            self.acknowledge(tag, true).await?;
        }
        self.publish(fresh).await
    }

    async fn publish(&mut self, fresh: Vec<(Delivery, Fingerprint)>) -> anyhow::Result<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        self.shared.pace(fresh.len()).await;
        let prints: Vec<Fingerprint> = fresh.iter().map(|(_, print)| *print).collect();
        self.journal.publishing(&prints)?;
        for (delivery, _) in fresh {
            let (exchange, key) = self.way(&delivery).await?;
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let publish = self.target.basic_publish(
                exchange.into(),
                key.into(),
                options,
                &delivery.data,
                delivery.properties,
            );
            let confirm = timeout(self.shared.patience, publish)
                .await
                .context("the target")??;
            self.sent.push_back(Sent {
                tag: delivery.delivery_tag,
                confirm,
            });
        }
        Ok(())
    }

    /// The exchange and routing key by which a message gets to the queue. One that came through the default exchange goes through it
    /// again, and is the same to its consumer; any other goes through an exchange of ours, and keeps its routing key.
    async fn way(&mut self, delivery: &Delivery) -> anyhow::Result<(String, String)> {
        let queue = &self.task.queue;
        let key = delivery.routing_key.as_str();
        let copies = delivery.properties.headers().as_ref().is_some_and(|headers| {
            let headers = headers.inner();
            headers.contains_key("CC") || headers.contains_key("BCC")
        });
        if delivery.exchange.as_str().is_empty() && key == queue && !copies {
            return Ok((String::new(), queue.clone()));
        }
        if !self.has_passage {
            link::open_passage(&self.target, &self.task.vhost, queue)
                .await
                .context("the target")?;
            self.has_passage = true;
        }
        Ok((link::passage(&self.task.vhost, queue), key.to_owned()))
    }

    /// The oldest message on its way is confirmed, and perhaps some behind it.
    async fn confirmed(&mut self, first: lapin::Result<Confirmation>) -> anyhow::Result<()> {
        let mut next = Some(first);
        let (mut count, mut last) = (0, None);
        while let Some(confirmation) = next {
            if let Err(refused) = verdict(&confirmation?) {
                self.settle(count, last).await?;
                self.gap().await?;
                return Err(refused.into());
            }
            let sent = self.sent.pop_front();
            last = sent.map(|sent| sent.tag).or(last);
            count += 1;
            next = self
                .sent
                .front_mut()
                .and_then(|sent| (&mut sent.confirm).now_or_never());
        }
        self.settle(count, last).await
    }

    /// First the journal, then the source.
    async fn settle(&mut self, count: u64, last: Option<u64>) -> anyhow::Result<()> {
        let Some(tag) = last else { return Ok(()) };
        self.journal.set_confirmed(self.journal.confirmed() + count)?;
        self.shared.moved(count);
        self.acknowledge(tag, true).await
    }

    /// After a refusal: waits for what is behind it, and takes away from the source exactly what the target has.
    async fn gap(&mut self) -> anyhow::Result<()> {
        self.journal.gap()?;
        // The refused one.
        self.sent.pop_front();
        while let Some(sent) = self.sent.pop_front() {
            let confirmation = timeout(self.shared.patience, sent.confirm)
                .await
                .context("the target")??;
            if verdict(&confirmation).is_ok() {
                self.acknowledge(sent.tag, false).await?;
                self.shared.moved(1);
            }
        }
        let closed = timeout(link::ANSWER_MAX, self.source.close(200, "refused".into())).await;
        closed.context("the source gives no answer in time")??;
        Ok(())
    }

    async fn acknowledge(&self, tag: u64, multiple: bool) -> anyhow::Result<()> {
        let options = BasicAckOptions { multiple };
        Ok(self.source.basic_ack(tag, options).await?)
    }
}

/// The fingerprint of a message, without what the source's queue, and not the publisher, has written on it; that is taken off.
pub(crate) fn identify(task: &Task, delivery: &mut Delivery) -> Fingerprint {
    clean(task, delivery);
    let (exchange, key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
    Fingerprint::of(exchange, key, &delivery.properties, &delivery.data)
}

fn clean(task: &Task, delivery: &mut Delivery) {
    let headers = delivery.properties.headers();
    let Some(headers) = headers.as_ref().filter(|_| task.quorum) else {
        return;
    };
    if headers.inner().contains_key(DELIVERY_COUNT) {
        let mut own = headers.inner().clone();
        own.remove(DELIVERY_COUNT);
        let properties = std::mem::take(&mut delivery.properties);
        delivery.properties = properties.with_headers(own.into());
    }
}

/// Only a plain ack is a confirm. A message that was sent back is in no queue, whatever follows.
fn verdict(confirmation: &Confirmation) -> Result<(), Refused> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => Err(Refused::Returned(returned.reply_text.to_string())),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(Refused::Nack),
    }
}
