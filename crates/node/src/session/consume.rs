//! Consumers, `basic.get`, prefetch, and what clients say of their deliveries.

use std::sync::Arc;

use everack_amqp::connection::Delivery as Handed;
use everack_amqp::deliveries::DeliveryRange;
use everack_amqp::encoding::DeliverHead;
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::event::Outcome;
use everack_amqp::wire::method::{basic, queue};
use everack_amqp::wire::primitive::ShortString;
use everack_broker::arguments::Arguments;
use everack_broker::catalog::{Queue, QueueKind};
use everack_broker::ids::ConsumerId;
use everack_broker::partition::{SettleOutcome, SharedLimit};

use super::Session;
use super::counted::counted;
use super::growth::to_be_shown;
use super::guard::Reading;
use super::outgoing::{Got, Outgoing};
use super::topology::Handled;
use super::waiting::Waiting;
use crate::large::LARGE_BYTES;
use crate::notice::{Answer, Delivered};
use crate::replies::REPLY_TO;
use crate::request::{Consume, Request, Settle};
use crate::shared::partition_of;
use crate::translate::from_amqp;

/// A consumer of this connection.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) channel: u16,
    pub(super) tag: ShortString,
    pub(super) no_ack: bool,
    pub(super) head: DeliverHead,
    pub(super) queue: Arc<Queue>,
    /// It is told how often a message came back.
    pub(super) counts: bool,
    pub(super) exclusive: bool,
    pub(super) prefetch: u16,
    pub(super) patience_millis: Option<u64>,
    pub(super) arguments: Arguments,
}

impl Session {
    pub(super) fn basic_consume(&mut self, channel: u16, consume: basic::Consume) -> Handled {
        if consume.queue.as_bytes() == REPLY_TO {
            return self.consume_replies(channel, &consume);
        }
        let queue = self.queue_to_read(channel, &consume.queue)?;
        let tag = self.consumer_tag(channel, &consume.consumer_tag)?;
        let settings = self.consumer_settings(&queue, &from_amqp::arguments(&consume.arguments))?;
        let state = self.channels.get(&channel);
        let limited = state.and_then(|state| state.limit.as_ref());
        may_be_limited(&queue, limited.is_some_and(|limit| limit.most() > 0))?;
        let consumers = state.map_or(0, |state| state.consumers.len());
        self.may_consume(consumers)?;
        if consume.no_ack {
            self.may_read_no_ack(&queue)?;
        }
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let consumer = self.shared.next_consumer(queue.partition);
        state.consumers.insert(tag.as_bytes().into(), consumer);
        state.holders.push(consumer);
        let (prefetch, limit) = (state.prefetch, state.limit.clone());
        let head = DeliverHead::new(channel, tag.as_bytes());
        let entry = Consumer {
            channel,
            tag: tag.clone(),
            no_ack: consume.no_ack,
            head,
            queue: queue.clone(),
            counts: queue.counts_failures(),
            exclusive: consume.exclusive,
            prefetch,
            patience_millis: queue.patience_millis(&settings),
            arguments: from_amqp::arguments(&to_be_shown(consume.arguments)),
        };
        self.consumers.insert(consumer, Arc::new(entry));
        self.trace_consumer(consumer, tag.as_bytes(), channel);
        let request = Consume {
            consumer,
            queue: queue.id,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority: settings.priority.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            prefetch,
            patience_millis: queue.patience_millis(&settings).filter(|_| !consume.no_ack),
            limit: limit.filter(|_| !consume.no_ack),
            reply: self.reply(channel),
        };
        self.requests.push((queue.partition, Request::Consume(request)));
        self.wait(
            channel,
            Waiting::Consume {
                queue,
                consumer,
                tag,
                nowait: consume.nowait,
            },
        );
        Ok(())
    }

    pub(super) fn consumer_tag(&mut self, channel: u16, given: &ShortString) -> Result<ShortString, Error> {
        if given.is_empty() {
            let tag = self.shared.generate_name("amq.ctag-");
            return Ok(ShortString::shortened(&tag));
        }
        let used = self
            .channels
            .get(&channel)
            .is_some_and(|state| state.consumers.contains_key(given.as_bytes()));
        if used {
            let text = format!("attempt to reuse consumer tag '{given}'");
            return Err(Error::new(ReplyCode::NotAllowed, text));
        }
        Ok(given.clone())
    }

    pub(super) fn basic_cancel(&mut self, channel: u16, cancel: &basic::Cancel) -> Handled {
        let consumer = self
            .channels
            .get_mut(&channel)
            .and_then(|state| state.consumers.remove(cancel.consumer_tag.as_bytes()));
        let (tag, nowait) = (cancel.consumer_tag.clone(), cancel.nowait);
        let Some(consumer) = consumer else {
            self.cancel_replies(channel, &tag);
            if !nowait {
                self.connection
                    .reply(channel, &basic::CancelOk { consumer_tag: tag }.into());
            }
            return Ok(());
        };
        let reply = self.reply(channel);
        self.requests
            .push((partition_of(consumer), Request::Cancel { consumer, reply }));
        self.wait(
            channel,
            Waiting::Cancel {
                consumer,
                tag,
                nowait,
            },
        );
        Ok(())
    }

    pub(super) fn basic_get(&mut self, channel: u16, get: &basic::Get) -> Handled {
        let queue = self.queue_to_read(channel, &get.queue)?;
        may_get(&queue)?;
        if get.no_ack {
            self.poll_no_ack(channel, &queue)?;
        }
        let reply = self.reply(channel);
        let shared = self.shared.clone();
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let (holders, known) = (&mut state.holders, state.getters.len());
        let consumer = *state.getters.entry(queue.id).or_insert_with(|| {
            let consumer = shared.next_consumer(queue.partition);
            holders.push(consumer);
            consumer
        });
        if known < state.getters.len() {
            self.trace_consumer(consumer, b"", channel);
        }
        let request = Request::Get {
            consumer,
            queue: queue.id,
            no_ack: get.no_ack,
            reply,
        };
        self.requests.push((queue.partition, request));
        self.wait(
            channel,
            Waiting::Get {
                queue,
                no_ack: get.no_ack,
            },
        );
        Ok(())
    }

    /// Refuses, or tells the first time.
    fn poll_no_ack(&mut self, channel: u16, queue: &Queue) -> Handled {
        self.may_read_no_ack(queue)?;
        let state = self.channels.get_mut(&channel);
        if state.is_some_and(|state| state.polled_no_ack.insert(queue.id)) {
            self.warn_of_no_ack(channel, queue, Reading::Get);
        }
        Ok(())
    }

    pub(super) fn basic_qos(&mut self, channel: u16, qos: &basic::Qos) -> Handled {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Error::new(ReplyCode::NotImplemented, text));
        }
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        if qos.global {
            let most = u64::from(qos.prefetch_count);
            match &state.limit {
                Some(limit) => limit.set(most),
                None => state.limit = Some(Arc::new(SharedLimit::new(most))),
            }
            let limit = state.limit.clone();
            for &consumer in state.consumers.values() {
                let no_ack = self.consumers.get(&consumer).is_none_or(|known| known.no_ack);
                let limit = limit.clone().filter(|_| !no_ack);
                self.requests
                    .push((partition_of(consumer), Request::Limit { consumer, limit }));
                self.requests
                    .push((partition_of(consumer), Request::Resume { consumer }));
            }
        } else {
            state.prefetch = qos.prefetch_count;
        }
        self.connection.reply(channel, &basic::QosOk {}.into());
        Ok(())
    }

    /// A partition has answered.
    pub(super) fn partition_answer(&mut self, channel: u16, answer: Answer) {
        let Some(waiting) = self.answered(channel) else {
            self.answer_nobody_wants(answer);
            return;
        };
        let cause = waiting.cause();
        let handled = self.match_answer(channel, waiting, answer);
        if let Err(error) = handled {
            self.fail_channel(channel, error.caused_by(cause));
        }
    }

    fn match_answer(&mut self, channel: u16, waiting: Waiting, answer: Answer) -> Handled {
        match (waiting, answer) {
            (
                Waiting::Consume {
                    queue,
                    consumer,
                    tag,
                    nowait,
                },
                Answer::ConsumeOk,
            ) => {
                if self.consumers.get(&consumer).is_some_and(|known| known.no_ack) {
                    self.warn_of_no_ack(channel, &queue, Reading::Consumer(&tag));
                }
                if !nowait {
                    self.connection
                        .reply(channel, &basic::ConsumeOk { consumer_tag: tag }.into());
                }
            }
            (
                Waiting::Consume {
                    queue, consumer, tag, ..
                },
                refused,
            ) => {
                self.forget_consumer(channel, consumer, &tag);
                return Err(consume_refused(&queue, &refused));
            }
            (
                Waiting::Cancel {
                    consumer,
                    tag,
                    nowait,
                },
                answer,
            ) => {
                if matches!(answer, Answer::Cancelled { holds: false }) {
                    self.forget_holder(channel, consumer);
                }
                self.outgoing.push_back(Outgoing::CancelOk {
                    channel,
                    consumer,
                    tag,
                    nowait,
                });
            }
            (Waiting::Get { queue, no_ack }, Answer::Got { delivery, remaining }) => {
                self.got(channel, *delivery, remaining, no_ack, queue.counts_failures());
            }
            (Waiting::Get { .. }, Answer::GotEmpty) => self.get_empty(channel),
            (Waiting::Status { queue }, Answer::Counts { messages, consumers }) => {
                self.declare_ok(channel, &queue.name, messages, consumers);
            }
            (Waiting::Status { queue }, _) => self.declare_ok(channel, &queue.name, 0, 0),
            (Waiting::CheckDelete { queue, nowait }, Answer::DeleteAllowed { messages }) => {
                return self.delete_allowed(channel, &queue, nowait, messages);
            }
            (Waiting::CheckDelete { queue, nowait }, Answer::QueueMissing) => {
                return self.delete_allowed(channel, &queue, nowait, 0);
            }
            (Waiting::CheckDelete { queue, .. }, refused) => {
                return Err(Self::delete_refused(&queue, &refused));
            }
            (Waiting::Purge { nowait, .. }, Answer::Purged { messages }) => {
                self.purge_ok(channel, messages, nowait)
            }
            (Waiting::Commit { parts }, Answer::Committed) => self.part_committed(channel, parts),
            (Waiting::Get { queue, .. } | Waiting::Purge { queue, .. }, _) => {
                return Err(queue_missing(&queue));
            }
            (waiting, answer) => unreachable!("{answer:?} is no answer to {waiting:?}"),
        }
        Ok(())
    }

    /// The channel is gone that this was for. A message must not stay with it: its partition has been told that the holder is gone,
    /// in the order of requests, so it has it back already or never counted it as held.
    fn answer_nobody_wants(&mut self, answer: Answer) {
        if let Answer::Got { .. } = answer {
            tracing::debug!("a message was got for a channel that is gone; its queue has it back");
        }
    }

    /// A small message is written at once. A large one waits in the output for its room, and everything else that the client asks
    /// for waits behind it.
    fn got(&mut self, channel: u16, delivered: Delivered, remaining: u64, no_ack: bool, counts: bool) {
        let got = Got {
            channel,
            delivered,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            no_ack,
            counts,
        };
        let large = got.delivered.delivery.run.bytes as usize > LARGE_BYTES;
        if large || !self.write_got(&got) {
            self.get_waits = true;
            self.outgoing.push_back(Outgoing::Got(got));
        }
    }

    /// Encodes the answer to `basic.get`; `false` if there is no room for it yet.
    pub(super) fn write_got(&mut self, got: &Got) -> bool {
        let delivery = &got.delivered.delivery;
        // The channel may have failed meanwhile; then the message is back in its queue.
        if !self.channels.contains_key(&got.channel) {
            return true;
        }
        let Some(messages) = self.content(&delivery.run) else {
            self.set_aside(&got.delivered);
            self.get_empty(got.channel);
            return true;
        };
        if !self.take_room(messages.bytes(delivery.run.from, delivery.run.to) as usize) {
            return false;
        }
        let handed = Handed {
            source: delivery.consumer.0,
            first: delivery.first_delivery,
            no_ack: got.no_ack,
            redelivered: delivery.redelivered,
        };
        if let Some(state) = self.channels.get_mut(&got.channel) {
            let received = &mut state.received;
            *(if got.no_ack {
                &mut received.gotten_no_ack
            } else {
                &mut received.gotten
            }) += 1;
            received.redelivered += u64::from(delivery.redelivered);
        }
        let (messages, index) = if got.counts && delivery.marks.deliveries > 0 {
            let (from, marks) = (delivery.run.from, delivery.marks);
            (counted(&messages, from, from + 1, marks), 0)
        } else {
            (messages, delivery.run.from)
        };
        self.connection
            .get_ok(got.channel, &messages, index, handed, got.remaining);
        true
    }

    fn get_empty(&mut self, channel: u16) {
        if let Some(state) = self.channels.get_mut(&channel) {
            state.received.gotten_nothing += 1;
        }
        self.connection.reply(channel, &basic::GetEmpty {}.into());
    }

    fn purge_ok(&mut self, channel: u16, messages: u64, nowait: bool) {
        if !nowait {
            let message_count = u32::try_from(messages).unwrap_or(u32::MAX);
            self.connection
                .reply(channel, &queue::PurgeOk { message_count }.into());
        }
    }

    /// The client is done with deliveries, or wants them back in the queue, or rejects them.
    pub(super) fn settle(
        &mut self,
        channel: u16,
        outcome: Outcome,
        ranges: Vec<DeliveryRange>,
        transactional: bool,
    ) {
        let outcome = match outcome {
            Outcome::Ack => SettleOutcome::Done,
            Outcome::Nack { requeue: true } => SettleOutcome::Requeue,
            Outcome::Reject { requeue: true } => SettleOutcome::RequeueFailed,
            Outcome::Nack { requeue: false } | Outcome::Reject { requeue: false } => SettleOutcome::Discard,
        };
        if outcome == SettleOutcome::Done
            && let Some(state) = self.channels.get_mut(&channel)
        {
            let count: u64 = ranges.iter().map(|range| u64::from(range.count)).sum();
            state.received.acknowledged += count;
        }
        if transactional {
            self.gather_settles(channel, outcome, ranges);
            return;
        }
        for range in &ranges {
            self.push_settle(settle_of(range, outcome));
        }
        self.connection.take_back(ranges);
    }

    /// Hands a settlement on, together with the one before it if it goes on where that ends.
    fn push_settle(&mut self, settle: Settle) {
        if let Some((_, Request::Settle(last))) = self.requests.last_mut() {
            let follows =
                last.consumer == settle.consumer && last.first + u64::from(last.count) == settle.first;
            if follows && last.outcome == settle.outcome {
                last.count += settle.count;
                return;
            }
        }
        self.requests
            .push((partition_of(settle.consumer), Request::Settle(settle)));
    }

    /// Everything that the client has seen on the channel and not settled goes back to its queue (`basic.recover`). What is still
    /// on its way to the client stays with it.
    pub(super) fn recover(&mut self, unsettled: Vec<DeliveryRange>) {
        for range in unsettled {
            self.push_settle(settle_of(&range, SettleOutcome::Requeue));
        }
    }

    /// A consumer's queue is gone: the client is told, if it understands that.
    pub(super) fn consumer_gone(&mut self, consumer: ConsumerId) {
        let Some(known) = self.consumers.get(&consumer).cloned() else {
            return;
        };
        self.forget_consumer(known.channel, consumer, &known.tag);
        self.connection.cancel_consumer(known.channel, &known.tag);
    }

    /// A consumer has held a message for too long. Its client is told as of a lost queue; one that does not understand that
    /// loses the channel.
    pub(super) fn consumer_timed_out(&mut self, consumer: ConsumerId) {
        let Some(known) = self.consumers.get(&consumer).cloned() else {
            return;
        };
        let (channel, tag) = (known.channel, &known.tag);
        tracing::warn!(peer = %self.peer, channel, %tag, queue = %known.queue.name, "a consumer has held a message for too long");
        self.forget_consumer(channel, consumer, tag);
        if self.connection.understands_cancel() {
            self.connection.cancel_consumer(channel, tag);
            return;
        }
        let text = format!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: {} ms. This timeout value can be \
             configured, see consumers doc guide to learn more",
            known.patience_millis.unwrap_or_default()
        );
        self.fail_channel(channel, Error::new(ReplyCode::PreconditionFailed, text));
    }

    /// A channel's shared limit has room: its consumers in other partitions are told.
    pub(super) fn limit_freed(&mut self, consumer: ConsumerId) {
        // It may have been cancelled meanwhile, and hold messages still.
        let Some(state) = self
            .channels
            .values()
            .find(|state| state.holders.contains(&consumer))
        else {
            return;
        };
        for &other in state.consumers.values() {
            if partition_of(other) != partition_of(consumer) {
                self.requests
                    .push((partition_of(other), Request::Resume { consumer: other }));
            }
        }
    }

    /// A consumer that holds nothing has nothing to give back.
    fn forget_holder(&mut self, channel: u16, consumer: ConsumerId) {
        self.trace_consumer_ends(consumer);
        if let Some(state) = self.channels.get_mut(&channel) {
            state.holders.retain(|holder| *holder != consumer);
        }
    }

    fn forget_consumer(&mut self, channel: u16, consumer: ConsumerId, tag: &ShortString) {
        self.consumers.remove(&consumer);
        if let Some(state) = self.channels.get_mut(&channel) {
            state.consumers.remove(tag.as_bytes());
        }
        self.forget_holder(channel, consumer);
    }
}

pub(super) fn settle_of(range: &DeliveryRange, outcome: SettleOutcome) -> Settle {
    Settle {
        consumer: ConsumerId(range.source),
        first: range.first,
        count: range.count,
        outcome,
    }
}

/// A quorum queue's consumers know no limit that others share.
fn may_be_limited(queue: &Queue, limited: bool) -> Result<(), Error> {
    if queue.kind() == QueueKind::Classic || !limited {
        return Ok(());
    }
    let text = format!(
        "queue '{}' in vhost '{}' does not support global qos",
        queue.name, queue.vhost
    );
    Err(Error::new(ReplyCode::NotImplemented, text))
}

/// A quorum queue with a single active consumer cannot be polled.
fn may_get(queue: &Queue) -> Result<(), Error> {
    if queue.kind() == QueueKind::Classic || !queue.settings.single_active_consumer {
        return Ok(());
    }
    let text = format!(
        "cannot obtain access to locked queue '{}' in vhost '{}'. basic.get operations are not supported by \
         quorum queues with single active consumer",
        queue.name, queue.vhost
    );
    Err(Error::new(ReplyCode::ResourceLocked, text))
}

fn consume_refused(queue: &Queue, refused: &Answer) -> Error {
    if matches!(refused, Answer::QueueMissing) {
        return queue_missing(queue);
    }
    let text = format!(
        "queue '{}' in vhost '{}' in exclusive use",
        queue.name, queue.vhost
    );
    Error::new(ReplyCode::AccessRefused, text)
}

fn queue_missing(queue: &Queue) -> Error {
    Error::new(
        ReplyCode::NotFound,
        format!("no queue '{}' in vhost '{}'", queue.name, queue.vhost),
    )
}
