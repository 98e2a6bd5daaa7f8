//! What the driver says to the client: answers, deliveries, confirms.

use super::channel::State;
use super::{Connection, Phase};
use crate::confirms::ConfirmId;
use crate::content::Batch;
use crate::deliveries::DeliveryRange;
use crate::encoding::{self, DeliverHead};
use crate::wire::method::{Method, basic, channel, connection};
use crate::wire::primitive::ShortString;

/// The longest list of settled ranges that is kept for the next acks.
const RANGES_KEPT: usize = 64;

/// Deliveries to one consumer: where they come from and what is expected of them.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The consumer's key; comes back in [`DeliveryRange::source`].
    pub source: u64,
    /// The consumer's own number of the first delivery; the others follow.
    pub first: u64,
    /// The consumer does not settle (`no-ack`): a tag is given, nothing is kept.
    pub no_ack: bool,
    /// The flag of that name.
    pub redelivered: bool,
}

impl Connection {
    /// Answers a request. Nothing is sent on a channel that is closed or closing.
    pub fn reply(&mut self, channel: u16, method: &Method) {
        if self.is_open(channel) || (channel == 0 && self.phase == Phase::Running) {
            self.send(channel, method);
        }
    }

    /// Agrees to [`crate::event::Event::ChannelCloseRequested`]: sends `channel.close-ok` and frees the
    /// number.
    pub fn channel_closed(&mut self, number: u16) {
        if self
            .channel(number)
            .is_some_and(|channel| channel.state == State::CloseRequested)
        {
            self.send(number, &channel::CloseOk {}.into());
            self.free_channel(number);
        }
    }

    /// Agrees to [`crate::event::Event::CloseRequested`]: sends `connection.close-ok`. The client closes its socket then; until it does, for a
    /// moment, what it had still to send is thrown away.
    pub fn closed(&mut self) {
        if self.phase == Phase::CloseRequested {
            self.send(0, &connection::CloseOk {}.into());
            self.drop_channels();
            self.become_deaf();
        }
    }

    /// The socket is gone: nothing more will be received or sent.
    pub fn disconnected(&mut self) {
        self.finish();
    }

    /// Tells a client that understands it that a consumer ended because its queue went away.
    pub fn cancel_consumer(&mut self, channel: u16, consumer_tag: &ShortString) {
        if self.capabilities.consumer_cancel_notify && self.is_open(channel) {
            self.send(
                channel,
                &basic::Cancel {
                    consumer_tag: consumer_tag.clone(),
                    nowait: true,
                }
                .into(),
            );
        }
    }

    /// Whether the client wants to be told when one of its consumers is cancelled by the broker.
    pub fn understands_cancel(&self) -> bool {
        self.capabilities.consumer_cancel_notify
    }

    /// Delivers the messages `from..to` of a batch. `false`: the channel is no longer open, and nothing was
    /// written.
    pub fn deliver(
        &mut self,
        head: &DeliverHead,
        batch: &Batch,
        from: u16,
        to: u16,
        delivery: Delivery,
    ) -> bool {
        let count = u32::from(to.saturating_sub(from));
        let Some(tag) = self.tag(head.channel(), delivery, count) else {
            return false;
        };
        let (out, frame_max) = (&mut self.out, self.frame_max);
        encoding::write_deliveries(out, head, batch, from, to, tag, delivery.redelivered, frame_max);
        true
    }

    /// Answers `basic.get` with the message at `index`; `remaining` messages are left in the queue. `false`:
    /// the channel is no longer open, and nothing was written.
    pub fn get_ok(
        &mut self,
        channel: u16,
        batch: &Batch,
        index: u16,
        delivery: Delivery,
        remaining: u32,
    ) -> bool {
        let Some(tag) = self.tag(channel, delivery, 1) else {
            return false;
        };
        let (out, frame_max) = (&mut self.out, self.frame_max);
        encoding::write_get_ok(
            out,
            channel,
            batch,
            index,
            tag,
            delivery.redelivered,
            remaining,
            frame_max,
        );
        true
    }

    /// Gives a mandatory message back, with the code and text of the reason (312 `NO_ROUTE`).
    pub fn return_message(&mut self, channel: u16, batch: &Batch, index: u16, code: u16, text: &str) {
        if self.is_open(channel) {
            encoding::write_return(&mut self.out, channel, code, text, batch, index, self.frame_max);
        }
    }

    /// Puts settlements of a rolled back transaction back.
    pub fn unsettle(&mut self, channel: u16, ranges: &[DeliveryRange]) {
        if let Some(channel) = self.channel_mut(channel) {
            channel.deliveries.unsettle(ranges);
        }
    }

    /// Expects `parts` calls of [`Connection::confirm`] or [`Connection::confirm_failed`] for everything
    /// published up to `last_number` that no earlier call covers; with 0 parts it is safe at once.
    /// `None`: the channel is no longer open.
    pub fn expect_confirm(&mut self, channel: u16, last_number: u64, parts: u32) -> Option<ConfirmId> {
        let state = self
            .channel_mut(channel)
            .filter(|channel| channel.state == State::Open)?;
        let id = state.confirms.push(last_number, parts);
        self.list_confirms(channel);
        Some(id)
    }

    /// One part is safe. An id of a channel that was closed in the meantime is ignored.
    pub fn confirm(&mut self, channel: u16, id: ConfirmId) {
        if let Some(state) = self.channel_mut(channel) {
            state.confirms.done(id);
            self.list_confirms(channel);
        }
    }

    /// One part is safe but for the publishes in these spans, counted from the first of its entry: they are refused.
    pub fn confirm_refused(&mut self, channel: u16, id: ConfirmId, refused: &[(u16, u16)]) {
        if let Some(state) = self.channel_mut(channel) {
            state.confirms.refuse(id, refused);
            self.list_confirms(channel);
        }
    }

    /// One part will never be safe: the publishes are refused as a whole.
    pub fn confirm_failed(&mut self, channel: u16, id: ConfirmId) {
        if let Some(state) = self.channel_mut(channel) {
            state.confirms.nack(id);
            self.list_confirms(channel);
        }
    }

    /// Appends all confirms that are ready to the output, one frame for each stretch. To be called once a
    /// turn, after returns and before the output is written.
    pub fn flush_confirms(&mut self) {
        let mut ready = std::mem::take(&mut self.confirms_ready);
        for number in ready.drain(..) {
            let entry = self
                .channels
                .get_mut(usize::from(number))
                .and_then(Option::as_deref_mut);
            if let Some(channel) = entry
                && channel.confirms_listed
            {
                channel.confirms_listed = false;
                let before = channel.confirms.unconfirmed();
                channel.confirms.flush(number, &mut self.out);
                self.confirmed += before - channel.confirms.unconfirmed();
            }
        }
        self.confirms_ready = ready;
    }

    /// Takes back the list of an [`Event::Settle`](crate::event::Event::Settle) that has been dealt with, for the next one.
    pub fn take_back(&mut self, mut settled: Vec<DeliveryRange>) {
        if settled.capacity() <= RANGES_KEPT {
            settled.clear();
            self.settled = settled;
        }
    }

    fn list_confirms(&mut self, number: u16) {
        let Some(channel) = self
            .channels
            .get_mut(usize::from(number))
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        if channel.state == State::Open && !channel.confirms_listed && channel.confirms.is_ready() {
            channel.confirms_listed = true;
            self.confirms_ready.push(number);
        }
    }

    /// Tags for `count` deliveries; `None` when the channel is not open.
    fn tag(&mut self, channel: u16, delivery: Delivery, count: u32) -> Option<u64> {
        if self.phase != Phase::Running {
            return None;
        }
        let channel = self
            .channel_mut(channel)
            .filter(|channel| channel.state == State::Open)?;
        let Delivery {
            source,
            first,
            no_ack,
            ..
        } = delivery;
        let deliveries = &mut channel.deliveries;
        Some(if no_ack {
            deliveries.push_settled(count)
        } else {
            deliveries.push(source, first, count)
        })
    }
}
