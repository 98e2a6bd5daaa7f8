//! A consumer: takes, checks, writes down, settles by its habits; holds back while the backlog is smaller than it should be.

use super::crew::{Bench, Worker};
use super::phase::Stage;
use super::probe::{AGE, Probe};
use super::session::Session;
use crate::journal::Entry;
use crate::{Id, identify};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRecoverOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use std::time::Duration;

/// Most deliveries that are dealt with at once.
const BATCH_MAX: usize = 64;
/// How long the last proof may take.
const PROOF_MAX: Duration = Duration::from_secs(10);

/// A consumer of the run. Each of its connections is a consumer of its own in the journal.
pub(super) struct Consumer {
    pub(super) bench: Bench,
}

/// What is done about a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settlement {
    Ack,
    Nack,
    Reject,
    /// Rejected for good.
    Discard,
}

/// One delivery that has been looked at.
struct Seen {
    tag: u64,
    /// `None` if it is damaged.
    id: Option<Id>,
    redelivered: bool,
    settlement: Settlement,
}

/// What comes next in a session.
enum Next {
    /// Deliveries; and whether nothing comes behind them.
    Batch(Vec<Delivery>, bool),
    Quiet,
    Recover,
    Stop,
    Gone,
}

impl Worker for Consumer {
    fn begin(&mut self, life: u32) {
        self.bench.open(life);
    }

    fn end(&mut self) -> bool {
        self.bench.close()
    }

    async fn work(&mut self, session: &Session) -> anyhow::Result<()> {
        if self.bench.habits.only_drains {
            self.bench.ear.stage(Stage::Drain).await;
        }
        let channel = &session.channel;
        let prefetch = self.bench.habits.prefetch;
        let ready = async {
            if self.bench.habits.transactional {
                channel.tx_select().await?;
            }
            channel.basic_qos(prefetch, BasicQosOptions::default()).await
        };
        if ready.await.is_err() {
            return Ok(());
        }
        let mut probe = Probe::new(self.bench.consumer, channel, &self.bench.journal, prefetch);
        let mut left = self.bench.deliveries_until_death();
        while let Some(mut deliveries) = self.consume(session).await {
            match self
                .consumption(session, &mut deliveries, &mut probe, &mut left)
                .await?
            {
                // What was given back is consumed again.
                Next::Recover if self.recover(session, &mut deliveries).await => {}
                Next::Stop => {
                    probe.all_proven(PROOF_MAX).await;
                    break;
                }
                _ => break,
            }
        }
        Ok(())
    }
}

impl Consumer {
    async fn consume(&self, session: &Session) -> Option<lapin::Consumer> {
        let options = BasicConsumeOptions::default();
        let queue = self.bench.queue_name.as_str().into();
        let consume = session
            .channel
            .basic_consume(queue, "".into(), options, FieldTable::default());
        consume.await.ok()
    }

    /// Takes and settles, until something else is to be done; `left` is how many deliveries this session may still see.
    async fn consumption(
        &mut self,
        session: &Session,
        deliveries: &mut lapin::Consumer,
        probe: &mut Probe,
        left: &mut Option<u32>,
    ) -> anyhow::Result<Next> {
        loop {
            let (batch, ended) = match self.next(deliveries, probe).await {
                Next::Batch(batch, ended) => (batch, ended),
                Next::Quiet => {
                    probe.ask_when_due();
                    continue;
                }
                other => return Ok(other),
            };
            *left = left.map(|left| left.saturating_sub(batch.len() as u32));
            if *left == Some(0) && self.bench.stage() == Stage::Load {
                self.die(&batch);
                return Ok(Next::Gone);
            }
            let seen: Vec<Seen> = batch.iter().map(|delivery| self.look_at(delivery)).collect();
            self.write_deliveries(&seen);
            if self.recovers() {
                self.write_returns(&seen);
                return Ok(Next::Recover);
            }
            if !self.settle_batch(session, &seen, probe).await || ended {
                return Ok(Next::Gone);
            }
            probe.ask_when_due();
        }
    }

    /// Waits for deliveries and takes all that are there, up to a bound.
    async fn next(&mut self, deliveries: &mut lapin::Consumer, probe: &Probe) -> Next {
        let first = tokio::select! {
            biased;
            next = deliveries.next() => next,
            () = tokio::time::sleep(AGE), if probe.owes() => return Next::Quiet,
            () = self.bench.ear.stage(Stage::Stop) => return Next::Stop,
        };
        let Some(Ok(first)) = first else {
            return Next::Gone;
        };
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX.min(usize::from(self.bench.habits.prefetch)) {
            match deliveries.next().now_or_never() {
                Some(Some(Ok(delivery))) => batch.push(delivery),
                Some(_) => return Next::Batch(batch, true),
                None => break,
            }
        }
        Next::Batch(batch, false)
    }

    /// Settles a batch; `false` when the connection is gone.
    async fn settle_batch(&mut self, session: &Session, seen: &[Seen], probe: &mut Probe) -> bool {
        self.hold().await;
        self.write_settlements(seen);
        if self.bench.habits.transactional {
            return self.transaction(session, seen).await;
        }
        let sent = self.settle(session, seen).await;
        probe.settled(seen.len() as u32);
        sent
    }

    fn look_at(&mut self, delivery: &Delivery) -> Seen {
        let named = delivery.properties.message_id().as_ref();
        let named = named.and_then(|name| Id::parse(name.as_str()));
        // A body with the properties of another message is damage as well.
        let id = identify(&delivery.data).filter(|id| named == Some(*id));
        Seen {
            tag: delivery.delivery_tag,
            id,
            redelivered: delivery.redelivered,
            settlement: match id {
                Some(_) => self.settlement(delivery.redelivered),
                None => {
                    self.bench.damaged(named);
                    Settlement::Ack
                }
            },
        }
    }

    fn settlement(&mut self, redelivered: bool) -> Settlement {
        let habits = &self.bench.habits;
        let random = &mut self.bench.random;
        let mut one_in = |n: u32| n > 0 && random.u32(0..n) == 0;
        if one_in(habits.reject_one_in) {
            return Settlement::Discard;
        }
        if one_in(habits.fail_one_in) {
            return Settlement::Reject;
        }
        let drains = self.bench.ear.now().stage != Stage::Load;
        if drains || redelivered || !one_in(habits.return_one_in) {
            return Settlement::Ack;
        }
        if random.bool() {
            Settlement::Nack
        } else {
            Settlement::Reject
        }
    }

    fn write_deliveries(&self, seen: &[Seen]) {
        let consumer = self.bench.consumer;
        let delivered = |seen: &Seen| {
            Some(Entry::Delivered {
                consumer,
                id: seen.id?,
                redelivered: seen.redelivered,
            })
        };
        let entries: Vec<Entry> = seen.iter().filter_map(delivered).collect();
        self.bench.journal.append(&entries);
        self.bench.delivered(seen.len() as u64);
    }

    /// What is about to be sent goes into the journal before.
    fn write_settlements(&self, seen: &[Seen]) {
        let consumer = self.bench.consumer;
        let settled = |seen: &Seen| {
            let id = seen.id?;
            Some(match seen.settlement {
                Settlement::Ack => Entry::Acked { consumer, id },
                Settlement::Nack | Settlement::Reject => Entry::Returned { consumer, id },
                Settlement::Discard => Entry::Rejected { consumer, id },
            })
        };
        let entries: Vec<Entry> = seen.iter().filter_map(settled).collect();
        self.bench.journal.append(&entries);
        let acked = entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Acked { .. }));
        self.bench.gate.acked(acked.count() as u64);
    }

    /// Waits while the backlog is smaller than it should be, unless everything is drained.
    async fn hold(&mut self) {
        tokio::select! {
            () = self.bench.gate.above_floor() => {}
            () = self.bench.ear.stage(Stage::Drain) => {}
        }
    }

    async fn settle(&mut self, session: &Session, seen: &[Seen]) -> bool {
        let channel = &session.channel;
        let all_acked = seen.iter().all(|seen| seen.settlement == Settlement::Ack);
        // Everything before this batch is settled: one ack may speak for all of it.
        if all_acked && let Some(last) = seen.last().filter(|_| self.bench.random.bool()) {
            let multiple = BasicAckOptions { multiple: true };
            return channel.basic_ack(last.tag, multiple).await.is_ok();
        }
        let requeue = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        // Queued in order when first polled, as publishes are.
        let sent = join_all(seen.iter().map(|seen| async move {
            match seen.settlement {
                Settlement::Ack => channel.basic_ack(seen.tag, BasicAckOptions::default()).await,
                Settlement::Nack => channel.basic_nack(seen.tag, requeue).await,
                Settlement::Reject => {
                    let requeue = BasicRejectOptions { requeue: true };
                    channel.basic_reject(seen.tag, requeue).await
                }
                Settlement::Discard => {
                    let discard = BasicRejectOptions { requeue: false };
                    channel.basic_reject(seen.tag, discard).await
                }
            }
        }));
        sent.await.iter().all(Result::is_ok)
    }

    /// Settles a batch in a transaction, at times after a first try that is rolled back. Its answer is the proof of its acks.
    async fn transaction(&mut self, session: &Session, seen: &[Seen]) -> bool {
        let channel = &session.channel;
        let consumer = self.bench.consumer;
        if self.bench.random.u32(0..10) == 0 {
            if !self.settle(session, seen).await || channel.tx_rollback().await.is_err() {
                return false;
            }
            let withdrawn = |seen: &Seen| {
                Some(Entry::Withdrawn {
                    consumer,
                    id: seen.id?,
                })
            };
            let entries: Vec<Entry> = seen.iter().filter_map(withdrawn).collect();
            self.bench.journal.append(&entries);
            self.write_settlements(seen);
        }
        if !self.settle(session, seen).await {
            return false;
        }
        self.bench.journal.append(&[Entry::Asked { consumer }]);
        if channel.tx_commit().await.is_err() {
            return false;
        }
        self.bench.journal.append(&[Entry::Answered { consumer }]);
        true
    }

    fn recovers(&mut self) -> bool {
        let one_in = self.bench.habits.recover_one_in;
        one_in > 0 && self.bench.stage() == Stage::Load && self.bench.random.u32(0..one_in) == 0
    }

    /// Gives back everything that this channel holds. The consumer is cancelled first, so that nothing which is on its way to us
    /// is given back unseen. `false` when the connection is gone.
    async fn recover(&mut self, session: &Session, deliveries: &mut lapin::Consumer) -> bool {
        let cancel = BasicCancelOptions::default();
        let cancelled = session.channel.basic_cancel(deliveries.tag(), cancel).await;
        if cancelled.is_err() {
            return false;
        }
        while let Some(Some(Ok(delivery))) = deliveries.next().now_or_never() {
            let seen = [self.look_at(&delivery)];
            self.write_deliveries(&seen);
            self.write_returns(&seen);
        }
        let requeue = BasicRecoverOptions { requeue: true };
        session.channel.basic_recover(requeue).await.is_ok()
    }

    fn write_returns(&self, seen: &[Seen]) {
        let consumer = self.bench.consumer;
        let returned = |seen: &Seen| {
            Some(Entry::Returned {
                consumer,
                id: seen.id?,
            })
        };
        let entries: Vec<Entry> = seen.iter().filter_map(returned).collect();
        self.bench.journal.append(&entries);
    }

    /// Cuts the connection while it holds these.
    fn die(&mut self, batch: &[Delivery]) {
        let seen: Vec<Seen> = batch.iter().map(|delivery| self.look_at(delivery)).collect();
        self.write_deliveries(&seen);
        self.bench.dies = true;
    }
}
