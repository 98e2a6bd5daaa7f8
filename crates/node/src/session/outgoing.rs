//! Output in its order: deliveries, and the few answers that must not overtake them, or have to wait for room.
//!
//! Deliveries are encoded as late as possible, right before they are written: tags rise in the order in which messages really
//! leave, and a slow socket holds back runs, not copies of bodies. `basic.cancel-ok` waits in the same queue, so that it comes
//! behind the last delivery of its consumer.

use std::sync::atomic::Ordering;

use everack_amqp::connection::Delivery as Handed;
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::method::basic;
use everack_amqp::wire::primitive::ShortString;
use everack_broker::ids::ConsumerId;
use everack_broker::partition::{Delivery, Run};

use super::Session;
use super::counted::counted;
use crate::messages::Messages;
use crate::notice::Delivered;
use crate::replies::Reply;
use crate::request::Request;
use crate::shared::partition_of;

/// One thing to write.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Messages for a consumer.
    Deliver(Delivered),
    /// The answer to `basic.get`, with a large message.
    Got(Got),
    /// Messages that answer a request.
    Reply(Reply),
    /// The consumer has been cancelled by its client.
    CancelOk {
        channel: u16,
        consumer: ConsumerId,
        tag: ShortString,
        nowait: bool,
    },
    /// The consumer has lost its queue.
    ConsumerGone { consumer: ConsumerId },
    /// The consumer has held a message for too long.
    ConsumerTimedOut { consumer: ConsumerId },
}

/// A message for a client that asked for one.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) channel: u16,
    pub(super) delivered: Delivered,
    /// Messages that are left in the queue.
    pub(super) remaining: u32,
    pub(super) no_ack: bool,
    /// Whether the client is told how often the message came back.
    pub(super) counts: bool,
}

impl Session {
    /// Encodes what is due until the output is `limit` bytes long.
    pub fn fill(&mut self, limit: usize) {
        self.connection.flush_confirms();
        self.give_back_written();
        while self.connection.output().len() < limit && self.has_room_for_front() {
            match self.outgoing.pop_front() {
                Some(Outgoing::Deliver(delivered)) => self.write_delivered(delivered, limit),
                Some(Outgoing::Got(got)) => {
                    self.get_waits = !self.write_got(&got);
                    if self.get_waits {
                        self.outgoing.push_front(Outgoing::Got(got));
                    }
                }
                Some(Outgoing::Reply(reply)) => {
                    if !self.write_reply(&reply) {
                        self.outgoing.push_front(Outgoing::Reply(reply));
                    }
                }
                Some(Outgoing::CancelOk {
                    channel,
                    consumer,
                    tag,
                    nowait,
                }) => {
                    self.consumers.remove(&consumer);
                    if !nowait {
                        self.connection
                            .reply(channel, &basic::CancelOk { consumer_tag: tag }.into());
                    }
                }
                Some(Outgoing::ConsumerGone { consumer }) => self.consumer_gone(consumer),
                Some(Outgoing::ConsumerTimedOut { consumer }) => self.consumer_timed_out(consumer),
                None => break,
            }
        }
    }

    /// Whether deliveries wait to be written.
    pub fn has_output_due(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Writes as much of a delivery as fits; the rest goes back to the front.
    fn write_delivered(&mut self, mut delivered: Delivered, limit: usize) {
        let consumer = self.consumers.get(&delivered.delivery.consumer).cloned();
        let Some(consumer) = consumer else {
            // Its channel is gone; the partition has been told, and takes the messages back.
            self.gate_sent(delivered.delivery.run.weight());
            return;
        };
        let Some(messages) = self.content(&delivered.delivery.run) else {
            self.set_aside(&delivered);
            self.gate_sent(delivered.delivery.run.weight());
            return;
        };
        let room = limit.saturating_sub(self.connection.output().len());
        let count = fitting(&messages, &delivered.delivery.run, room);
        let (from, to) = (delivered.delivery.run.from, delivered.delivery.run.from + count);
        if !self.take_room(messages.bytes(from, to) as usize) {
            self.outgoing.push_front(Outgoing::Deliver(delivered));
            return;
        }
        let delivery = &mut delivered.delivery;
        let weight = delivery.run.weight();
        let handed = Handed {
            source: delivery.consumer.0,
            first: delivery.first_delivery,
            no_ack: consumer.no_ack,
            redelivered: delivery.redelivered,
        };
        let open = if consumer.counts && delivery.marks.deliveries > 0 {
            let shown = counted(&messages, from, to, delivery.marks);
            self.connection.deliver(&consumer.head, &shown, 0, count, handed)
        } else {
            self.connection
                .deliver(&consumer.head, &messages, from, to, handed)
        };
        if open && let Some(state) = self.channels.get_mut(&consumer.channel) {
            let received = &mut state.received;
            *(if consumer.no_ack {
                &mut received.delivered_no_ack
            } else {
                &mut received.delivered
            }) += u64::from(count);
            received.redelivered += u64::from(count) * u64::from(delivery.redelivered);
        }
        if !open || to == delivery.run.to {
            self.gate_sent(weight);
            return;
        }
        advance(delivery, messages, count);
        let rest = delivery.run.weight();
        self.outgoing.push_front(Outgoing::Deliver(delivered));
        self.gate_sent(weight - rest);
    }

    /// The messages of a run: at hand, or read from the log.
    pub(super) fn content(&mut self, run: &Run<Messages>) -> Option<Messages> {
        if let Some(messages) = &run.content {
            return Some(messages.clone());
        }
        match self.recall.messages(run.location) {
            Ok(messages) if usize::from(run.to) <= messages.len() => Some(messages),
            Ok(_) => {
                tracing::error!(
                    location = run.location.0,
                    first = run.first.0,
                    "the record has fewer messages than its queue"
                );
                None
            }
            Err(error) if error.may_pass() => {
                // The messages may be all right: they go back to their queue with everything else that the connection holds.
                tracing::error!(%error, first = run.first.0, count = run.count(), "messages cannot be read now");
                let text = "messages cannot be read from the log at the moment";
                self.fail_channel(0, Error::new(ReplyCode::InternalError, text));
                None
            }
            Err(error) => {
                tracing::error!(%error, first = run.first.0, count = run.count(), "messages are damaged and set aside");
                None
            }
        }
    }

    /// Tells the partition of content that cannot be read; it is never delivered, nor tried again.
    pub(super) fn set_aside(&mut self, delivered: &Delivered) {
        if self.released {
            return;
        }
        let delivery = &delivered.delivery;
        let count = u32::from(delivery.run.count());
        self.shared
            .counters
            .damaged
            .fetch_add(u64::from(count), Ordering::Relaxed);
        let request = Request::Damaged {
            queue: delivery.queue,
            first: delivery.run.first,
            count,
        };
        self.requests.push((partition_of(delivery.consumer), request));
    }

    /// So much has left the gate, written or dropped. If consumers wait for that, one in each partition is told, and the partition
    /// serves all that wait for this gate.
    fn gate_sent(&mut self, weight: u64) {
        if !self.link.gate.sent(weight) {
            return;
        }
        let mut told = Vec::new();
        for &consumer in self.consumers.keys() {
            let partition = partition_of(consumer);
            if !told.contains(&partition) {
                told.push(partition);
                self.requests.push((partition, Request::Resume { consumer }));
            }
        }
    }
}

/// How many messages of a run to encode into `room` bytes; at least one.
fn fitting(messages: &Messages, run: &Run<Messages>, room: usize) -> u16 {
    let bytes = messages.bytes(run.from, run.to) + 64 * u64::from(run.count());
    if bytes <= room as u64 {
        return run.count();
    }
    ((room as u128 * u128::from(run.count()) / u128::from(bytes)) as u16).clamp(1, run.count())
}

/// Moves a delivery's beginning behind the messages that have been written. The content stays at hand for the rest.
fn advance(delivery: &mut Delivery<Messages>, messages: Messages, count: u16) {
    let run = &mut delivery.run;
    let share = u64::from(run.bytes) * u64::from(count) / u64::from(run.count());
    run.content = Some(messages);
    run.first = run.first.plus(u64::from(count));
    run.from += count;
    run.bytes -= share as u32;
    delivery.first_delivery += u64::from(count);
}
