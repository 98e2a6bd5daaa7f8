//! Methods on channels: what can be answered from the protocol's rules alone is answered here, the rest
//! becomes events. The two hot ones, publish and ack, are taken by the run.

use bytes::{Buf, Bytes, BytesMut};

use super::channel::{Assembly, Channel, Mode, PUBLISH, State};
use super::publishes::{self, Limits, PUBLISH_IDS, RECOGNISED_BYTES};
use super::{Connection, Fault, Step};
use crate::content::{Batch, MESSAGES_MAX};
use crate::deliveries::{DeliveryRange, UnknownTag, push_joined};
use crate::error::{Error, ReplyCode};
use crate::event::{Event, Outcome};
use crate::wire::frame;
use crate::wire::method::{Method, access, basic, channel, confirm, tx};

const ACK: (u16, u16) = (60, 80);
const ACK_IDS: u32 = 60 << 16 | 80;
/// Bytes of a `basic.ack` frame: head, ids, tag, bits, end.
const ACK_BYTES: usize = 7 + 4 + 8 + 1 + 1;
/// Most ranges in one event; more acks wait for the next.
const RANGES_MAX: usize = 4096;

impl Connection {
    /// Publishes and acks in the frames they usually come in. `None`: look at the frame the general way.
    #[inline]
    pub(super) fn hot_frames(&mut self, input: &mut BytesMut) -> Result<Option<Step>, Fault> {
        let Some(front) = input.first_chunk::<RECOGNISED_BYTES>() else {
            return Ok(None);
        };
        let number = u16::from_be_bytes([front[1], front[2]]);
        let ids = u32::from_be_bytes([front[7], front[8], front[9], front[10]]);
        if front[0] != frame::METHOD || (ids != PUBLISH_IDS && ids != ACK_IDS) {
            return Ok(None);
        }
        let ready = |channel: &&mut Channel| channel.state == State::Open && channel.assembly.is_none();
        if self.channel_mut(number).filter(ready).is_none() {
            return Ok(None);
        }
        if ids == PUBLISH_IDS {
            Ok(self.publishes(number, input))
        } else {
            self.acks(number, input)
        }
    }

    fn publishes(&mut self, number: u16, input: &mut BytesMut) -> Option<Step> {
        let limits = Limits {
            payload_bytes_max: if self.frame_max == 0 {
                1 << 20
            } else {
                self.frame_max as usize
            },
            body_bytes_max: u64::from(self.settings.inline_body_bytes_max).min(self.settings.body_bytes_max)
                as usize,
            messages_max: usize::from(self.settings.batch_messages_max).clamp(1, MESSAGES_MAX),
        };
        let mut run = publishes::scan(input, limits);
        if run.count == 0 {
            return (run.wanted > 0).then_some(Step::Wait(run.wanted));
        }
        let chunk = if run.bytes <= self.settings.copied_bytes_max as usize {
            let chunk = Bytes::copy_from_slice(&input[..run.bytes]);
            input.advance(run.bytes);
            chunk
        } else {
            input.split_to(run.bytes).freeze()
        };
        Some(self.publish(
            number,
            Batch {
                chunk,
                entries: run.take_entries(),
                groups: run.take_groups(),
            },
        ))
    }

    /// A batch is complete: numbers it.
    fn publish(&mut self, number: u16, batch: Batch) -> Step {
        let Some(channel) = self.channel_mut(number) else {
            return Step::Again;
        };
        let first_number = channel.number(batch.len());
        let transactional = channel.mode == Mode::Transaction;
        Step::Event(Event::Publish {
            channel: number,
            batch,
            first_number,
            transactional,
        })
    }

    pub(super) fn finish_assembly(&mut self, number: u16) -> Step {
        let Some(assembly) = self
            .channel_mut(number)
            .and_then(|channel| channel.assembly.take())
        else {
            return Step::Again;
        };
        let batch = assembly.finish();
        self.assembled_bytes = self.assembled_bytes.saturating_sub(batch.chunk.len() as u64);
        self.publish(number, batch)
    }

    /// A run of acks at the front of the input. An ack of something unknown ends the run before it, so that
    /// what was acked well before is still told.
    fn acks(&mut self, number: u16, input: &mut BytesMut) -> Result<Option<Step>, Fault> {
        let Some(channel) = self
            .channels
            .get_mut(usize::from(number))
            .and_then(Option::as_deref_mut)
        else {
            return Ok(None);
        };
        let mut settled = std::mem::take(&mut self.settled);
        let mut used = 0;
        while let Some((tag, multiple)) = read_ack(&input[used..], number) {
            match settle(channel, tag, multiple, &mut settled) {
                Ok(()) => used += ACK_BYTES,
                Err(_) if used > 0 => break,
                Err(unknown) => return Err(Fault::Channel(number, unknown_tag(unknown, ACK))),
            }
            if settled.len() >= RANGES_MAX {
                break;
            }
        }
        input.advance(used);
        let transactional = channel.mode == Mode::Transaction;
        Ok(match (used, settled.is_empty()) {
            (0, _) => None,
            // Everything up to tag 0 was acked, and there was nothing.
            (_, true) => Some(Step::Again),
            _ => Some(Step::Event(Event::Settle {
                channel: number,
                outcome: Outcome::Ack,
                settled,
                transactional,
            })),
        })
    }

    /// A method, or what was wrong with it, on a channel that is not open: only opening it is allowed.
    pub(super) fn method_without_channel(
        &mut self,
        number: u16,
        method: Result<Method, Error>,
    ) -> Result<Step, Fault> {
        match method {
            Ok(Method::ChannelOpen(_)) => self.open_channel(number),
            // The answer to a close of ours that crossed the client's own.
            Ok(Method::ChannelCloseOk(_)) => Ok(Step::Again),
            Ok(method) => {
                let error = Error::new(ReplyCode::ChannelError, "expected 'channel.open'");
                Err(Fault::Connection(error.caused_by(method.ids())))
            }
            Err(error) => Err(Fault::Connection(error)),
        }
    }

    fn open_channel(&mut self, number: u16) -> Result<Step, Fault> {
        let (open, max) = (self.channels_open, self.channel_max);
        if max != 0 && (number > max || open >= usize::from(max)) {
            let text = if open >= usize::from(max) {
                format!("number of channels opened ({open}) has reached the negotiated channel_max ({max})")
            } else {
                format!("channel number {number} is higher than the negotiated channel_max ({max})")
            };
            let ids = (channel::Open::CLASS, channel::Open::METHOD);
            return Err(Fault::Connection(
                Error::new(ReplyCode::NotAllowed, text).caused_by(ids),
            ));
        }
        let index = usize::from(number);
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        self.incarnation = self.incarnation.wrapping_add(1) & 0xFF_FFFF;
        self.channels[index] = Some(Box::new(Channel::new(self.incarnation)));
        self.channels_open += 1;
        self.send(number, &channel::OpenOk {}.into());
        Ok(Step::Event(Event::ChannelOpen { channel: number }))
    }

    pub(super) fn free_channel(&mut self, number: u16) {
        let freed = self.channels.get_mut(usize::from(number)).and_then(Option::take);
        if let Some(channel) = freed {
            self.channels_open -= 1;
            self.assembled_bytes = self.assembled_bytes.saturating_sub(channel.assembled_bytes());
        }
    }

    /// We have closed the channel and wait for the answer, or the client has and waits for ours.
    pub(super) fn method_on_closing(&mut self, number: u16, method: Result<Method, Error>) -> Step {
        let sent = self
            .channel(number)
            .is_some_and(|channel| channel.state == State::CloseSent);
        match method {
            Ok(Method::ChannelCloseOk(_)) if sent => self.free_channel(number),
            // Both closed at the same time; the client still owes its answer.
            Ok(Method::ChannelClose(_)) if sent => self.send(number, &channel::CloseOk {}.into()),
            _ => {}
        }
        Step::Again
    }

    /// A method on an open channel that expects one.
    pub(super) fn channel_method(&mut self, number: u16, method: Method) -> Result<Step, Fault> {
        let ids = method.ids();
        let fail = |code, text: &str| Err(Fault::Channel(number, Error::new(code, text).caused_by(ids)));
        match method {
            Method::BasicPublish(publish) => self.begin_publish(number, &publish),
            Method::BasicAck(ack) => self.settle(number, ids, ack.delivery_tag, ack.multiple, Outcome::Ack),
            Method::BasicNack(nack) => {
                let outcome = Outcome::Nack {
                    requeue: nack.requeue,
                };
                self.settle(number, ids, nack.delivery_tag, nack.multiple, outcome)
            }
            Method::BasicReject(reject) => {
                let outcome = Outcome::Reject {
                    requeue: reject.requeue,
                };
                self.settle(number, ids, reject.delivery_tag, false, outcome)
            }
            Method::BasicQos(basic::Qos { prefetch_size, .. }) if prefetch_size != 0 => fail(
                ReplyCode::NotImplemented,
                &format!("prefetch_size!=0 ({prefetch_size})"),
            ),
            Method::BasicRecover(basic::Recover { requeue: false })
            | Method::BasicRecoverAsync(basic::RecoverAsync { requeue: false }) => {
                fail(ReplyCode::NotImplemented, "requeue=false")
            }
            Method::BasicRecover(_) => Ok(self.recover(number, true)),
            Method::BasicRecoverAsync(_) => Ok(self.recover(number, false)),
            Method::TxSelect(_) => self.select(number, ids, Mode::Transaction, true),
            Method::ConfirmSelect(select) => self.select(number, ids, Mode::Confirm, !select.nowait),
            Method::TxCommit(_) | Method::TxRollback(_) => self.transact(number, &method),
            Method::ChannelOpen(_) => fail(ReplyCode::ChannelError, "second 'channel.open' seen"),
            Method::ChannelClose(close) => Ok(self.request_close(number, close)),
            Method::ChannelFlow(channel::Flow { active: true }) => {
                Ok(self.answer(number, channel::FlowOk { active: true }))
            }
            Method::ChannelFlow(_) => fail(ReplyCode::NotImplemented, "active=false"),
            Method::AccessRequest(_) => Ok(self.answer(number, access::RequestOk { ticket: 1 })),
            // Answers to what we never ask with a wish for an answer; some clients send them all the same.
            Method::BasicCancelOk(_) | Method::ChannelFlowOk(_) => Ok(Step::Again),
            method if is_request(&method) => Ok(Step::Event(Event::Method {
                channel: number,
                method,
            })),
            _ => fail(ReplyCode::CommandInvalid, "unimplemented method"),
        }
    }

    fn answer(&mut self, number: u16, method: impl Into<Method>) -> Step {
        self.send(number, &method.into());
        Step::Again
    }

    fn begin_publish(&mut self, number: u16, publish: &basic::Publish) -> Result<Step, Fault> {
        if publish.immediate {
            let error = Error::new(ReplyCode::NotImplemented, "immediate=true").caused_by(PUBLISH);
            return Err(Fault::Channel(number, error));
        }
        let assembly = Assembly::new(&publish.exchange, &publish.routing_key, publish.mandatory);
        let Some(channel) = self.channel_mut(number) else {
            return Ok(Step::Again);
        };
        channel.assembly = Some(Box::new(assembly));
        let bytes = channel.assembled_bytes();
        self.take_assembly_bytes(bytes as usize)?;
        Ok(Step::Again)
    }

    fn settle(
        &mut self,
        number: u16,
        ids: (u16, u16),
        tag: u64,
        multiple: bool,
        outcome: Outcome,
    ) -> Result<Step, Fault> {
        let Some(channel) = self.channel_mut(number) else {
            return Ok(Step::Again);
        };
        let mut settled = Vec::new();
        settle(channel, tag, multiple, &mut settled)
            .map_err(|unknown| Fault::Channel(number, unknown_tag(unknown, ids)))?;
        if settled.is_empty() {
            return Ok(Step::Again);
        }
        let transactional = channel.mode == Mode::Transaction;
        Ok(Step::Event(Event::Settle {
            channel: number,
            outcome,
            settled,
            transactional,
        }))
    }

    fn recover(&mut self, number: u16, answer: bool) -> Step {
        let Some(channel) = self.channel_mut(number) else {
            return Step::Again;
        };
        let unsettled = channel.deliveries.take_all();
        if answer {
            self.send(number, &basic::RecoverOk {}.into());
        }
        Step::Event(Event::Recover {
            channel: number,
            unsettled,
        })
    }

    fn select(&mut self, number: u16, ids: (u16, u16), mode: Mode, answer: bool) -> Result<Step, Fault> {
        let Some(channel) = self.channel_mut(number) else {
            return Ok(Step::Again);
        };
        let clash = match (channel.mode, mode) {
            (Mode::Confirm, Mode::Transaction) => Some("cannot switch from confirm to tx mode"),
            (Mode::Transaction, Mode::Confirm) => Some("cannot switch from tx to confirm mode"),
            _ => None,
        };
        if let Some(text) = clash {
            let error = Error::new(ReplyCode::PreconditionFailed, text).caused_by(ids);
            return Err(Fault::Channel(number, error));
        }
        channel.mode = mode;
        Ok(match mode {
            _ if !answer => Step::Again,
            Mode::Confirm => self.answer(number, confirm::SelectOk {}),
            _ => self.answer(number, tx::SelectOk {}),
        })
    }

    fn transact(&mut self, number: u16, method: &Method) -> Result<Step, Fault> {
        if self
            .channel(number)
            .is_none_or(|channel| channel.mode != Mode::Transaction)
        {
            let error = Error::new(ReplyCode::PreconditionFailed, "channel is not transactional");
            return Err(Fault::Channel(number, error.caused_by(method.ids())));
        }
        Ok(Step::Event(match method {
            Method::TxCommit(_) => Event::TxCommit { channel: number },
            _ => Event::TxRollback { channel: number },
        }))
    }

    fn request_close(&mut self, number: u16, close: channel::Close) -> Step {
        if let Some(channel) = self.channel_mut(number) {
            channel.state = State::CloseRequested;
        }
        let (code, text) = (close.reply_code, close.reply_text);
        Step::Event(Event::ChannelCloseRequested {
            channel: number,
            code,
            text,
        })
    }
}

/// Requests that only the driver can answer.
fn is_request(method: &Method) -> bool {
    matches!(
        method,
        Method::ExchangeDeclare(_)
            | Method::ExchangeDelete(_)
            | Method::ExchangeBind(_)
            | Method::ExchangeUnbind(_)
            | Method::QueueDeclare(_)
            | Method::QueueBind(_)
            | Method::QueueUnbind(_)
            | Method::QueuePurge(_)
            | Method::QueueDelete(_)
            | Method::BasicQos(_)
            | Method::BasicConsume(_)
            | Method::BasicCancel(_)
            | Method::BasicGet(_)
    )
}

/// The `basic.ack` at the front, if it is one, whole and on this channel: tag and `multiple`.
#[inline]
fn read_ack(input: &[u8], number: u16) -> Option<(u64, bool)> {
    let bytes = input.first_chunk::<ACK_BYTES>()?;
    let [c0, c1] = number.to_be_bytes();
    if bytes[..11] != [frame::METHOD, c0, c1, 0, 0, 0, 13, 0, 60, 0, 80] || bytes[20] != frame::END {
        return None;
    }
    let tag = u64::from_be_bytes(bytes[11..19].try_into().ok()?);
    Some((tag, bytes[19] & 1 != 0))
}

#[inline]
fn settle(
    channel: &mut Channel,
    tag: u64,
    multiple: bool,
    settled: &mut Vec<DeliveryRange>,
) -> Result<(), UnknownTag> {
    if multiple {
        channel.deliveries.settle_through(tag, settled)
    } else {
        push_joined(settled, channel.deliveries.settle_one(tag)?);
        Ok(())
    }
}

fn unknown_tag(UnknownTag(tag): UnknownTag, ids: (u16, u16)) -> Error {
    Error::new(
        ReplyCode::PreconditionFailed,
        format!("unknown delivery tag {tag}"),
    )
    .caused_by(ids)
}
