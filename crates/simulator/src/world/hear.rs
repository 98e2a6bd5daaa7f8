//! What a client makes of what the broker sends.

use everack_amqp::wire::frame::{self, ContentHeader, Head};
use everack_amqp::wire::method::{Method, channel, confirm, connection, tx};

use super::agent::{Chan, ChanState, Content, Left, Line, Mode, Op, Phase};
use super::desk::Desk;
use super::families;
use crate::book::{Delivered, Event, Name, Number, family};
use crate::content;
use crate::flaw::Flaw;

impl Line {
    /// Reads the whole frames that have come.
    pub(super) fn hear(&mut self, desk: &mut Desk) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while let Some(head) = Head::read(&inbox[at..]) {
            let end = at + head.frame_bytes();
            if inbox.len() < end {
                break;
            }
            let payload = &inbox[at + frame::HEAD_BYTES..end - 1];
            self.heard_total += (end - at) as u64;
            desk.trace.bytes(&inbox[at..end]);
            at = end;
            self.frame(head, payload, desk);
        }
        self.inbox = inbox[at..].to_vec();
    }

    fn frame(&mut self, head: Head, payload: &[u8], desk: &mut Desk) {
        match head.kind {
            frame::METHOD => {
                let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                let method = Method::decode(number(0), number(2), &payload[4..]);
                let method = method.expect("the broker writes valid methods");
                if head.channel == 0 {
                    self.on_connection(method, desk);
                } else {
                    self.on_channel(head.channel, method, desk);
                }
            }
            frame::HEADER => {
                let header = ContentHeader::read(payload).expect("the broker writes valid headers");
                let Some(content) = self.chan(head.channel).and_then(|chan| chan.content.as_mut()) else {
                    return;
                };
                content.bytes = header.body_size;
                content.properties = header.properties.to_vec();
                self.complete(head.channel, desk);
            }
            frame::BODY => {
                let chan = self.chan(head.channel);
                if let Some(content) = chan.and_then(|chan| chan.content.as_mut()) {
                    content.body.extend_from_slice(payload);
                }
                self.complete(head.channel, desk);
            }
            _ => (),
        }
    }

    fn chan(&mut self, number: u16) -> Option<&mut Chan> {
        self.channels.iter_mut().find(|chan| chan.number == number)
    }

    fn on_connection(&mut self, method: Method, desk: &mut Desk) {
        match method {
            Method::ConnectionTune(_) => self.tuned(),
            Method::ConnectionOpenOk(_) => {
                self.phase = Phase::Open;
                (0..self.channels.len()).for_each(|index| self.open_channel(index));
            }
            Method::ConnectionClose(close) => {
                desk.trace.line(|| format!("{close:?}"));
                self.say(0, connection::CloseOk {});
                self.phase = Phase::Closing;
            }
            Method::ConnectionBlocked(_) => desk.hit("publishers blocked"),
            Method::ConnectionUnblocked(_) => desk.hit("publishers unblocked"),
            _ => (),
        }
    }

    fn on_channel(&mut self, number: u16, method: Method, desk: &mut Desk) {
        let late = self.fatal_total.is_some_and(|mark| self.heard_total > mark);
        let flaw = desk.flaw;
        let Some(chan) = self.chan(number) else { return };
        match method {
            Method::ChannelClose(_) if chan.state == ChanState::Closing => {
                self.say(number, channel::CloseOk {})
            }
            // Whoever closes a channel hears nothing more on it but that it is closed.
            method if chan.state == ChanState::Closing && !matches!(method, Method::ChannelCloseOk(_)) => (),
            Method::ChannelClose(close) => {
                desk.trace.line(|| format!("{close:?}"));
                desk.hit("channels failed");
                self.channel_gone(number, desk);
                self.say(number, channel::CloseOk {});
            }
            Method::BasicDeliver(_) | Method::BasicGetOk(_) | Method::BasicReturn(_) => {
                chan.content = Some(Content {
                    head: method,
                    properties: Vec::new(),
                    bytes: u64::MAX,
                    body: Vec::new(),
                });
            }
            Method::BasicAck(ack) => {
                let numbers = confirmed_by(chan, ack.delivery_tag, ack.multiple);
                let id = chan.id;
                if late {
                    desk.see(Event::AnsweredLate("basic.ack"));
                }
                if numbers.is_empty() {
                    desk.see(Event::ConfirmedNothing(id, ack.delivery_tag));
                }
                desk.coverage.add("messages confirmed", numbers.len() as u64);
                desk.see(Event::Confirmed(id, numbers));
                if flaw == Flaw::ReturnsBehindConfirms {
                    self.release_returns(desk);
                }
            }
            Method::BasicNack(nack) => {
                let numbers = confirmed_by(chan, nack.delivery_tag, nack.multiple);
                let id = chan.id;
                if numbers.is_empty() {
                    desk.see(Event::ConfirmedNothing(id, nack.delivery_tag));
                }
                if flaw == Flaw::DropsNewest {
                    desk.see(Event::Confirmed(id, numbers));
                } else {
                    desk.coverage.add("messages refused", numbers.len() as u64);
                    desk.see(Event::Refused(id, numbers));
                }
            }
            Method::BasicCancel(cancel) => {
                chan.consumers.remove(&cancel.consumer_tag.to_string());
                desk.hit("consumers cancelled");
            }
            answer => self.answered(number, answer, late, desk),
        }
    }

    /// An answer to the oldest question.
    fn answered(&mut self, number: u16, answer: Method, late: bool, desk: &mut Desk) {
        let Some(chan) = self.chan(number) else { return };
        let id = chan.id;
        let Some(op) = chan.awaiting.pop_front() else {
            return;
        };
        desk.see(Event::Asking(id, chan.awaiting.len()));
        match (op, answer) {
            (Op::Open, Method::ChannelOpenOk(_)) => {
                chan.state = ChanState::Open;
                let mode = chan.mode;
                if mode != Mode::Plain {
                    chan.awaiting.push_back(Op::Select);
                }
                match mode {
                    Mode::Plain => (),
                    Mode::Confirm => self.say(number, confirm::Select { nowait: false }),
                    Mode::Transaction => self.say(number, tx::Select {}),
                }
            }
            (Op::Declare(name), Method::QueueDeclareOk(_)) => {
                promise(late, "queue.declare-ok", desk);
                desk.busy.remove(&name);
                desk.see(if family::is_heir(&name) {
                    Event::HeirDeclared(name)
                } else {
                    Event::Declared(name)
                });
            }
            (Op::Delete(name), Method::QueueDeleteOk(_)) => {
                promise(late, "queue.delete-ok", desk);
                desk.busy.remove(&name);
                desk.hit("queues deleted");
                desk.see(if family::is_heir(&name) {
                    Event::HeirDeleted(name)
                } else {
                    Event::Deleted(name)
                });
            }
            (Op::Bind(binding), Method::QueueBindOk(_)) => {
                promise(late, "queue.bind-ok", desk);
                desk.busy.remove(&binding.queue);
                desk.see(Event::Bound(binding));
            }
            (Op::Unbind(binding), Method::QueueUnbindOk(_)) => {
                promise(late, "queue.unbind-ok", desk);
                desk.busy.remove(&binding.queue);
                desk.see(Event::Unbound(binding));
            }
            (Op::Purge(name), Method::QueuePurgeOk(purged)) => {
                desk.hit("purges");
                desk.see(Event::Purged(name, u64::from(purged.message_count)));
            }
            (Op::Cancel(tag), Method::BasicCancelOk(_)) => {
                chan.consumers.remove(&tag);
                desk.hit("consumers cancelled");
            }
            (Op::Commit(transaction), Method::TxCommitOk(_)) => {
                promise(late, "tx.commit-ok", desk);
                desk.hit("transactions committed");
                desk.see(Event::Committed(transaction));
            }
            (Op::Rollback(transaction), Method::TxRollbackOk(_)) => {
                desk.hit("transactions rolled back");
                desk.see(Event::RolledBack(transaction));
            }
            (Op::Close, Method::ChannelCloseOk(_)) => {
                let mut left = Left::default();
                left.take_from(chan);
                *chan = Chan::new(number, desk.channel(), chan.mode);
                left.forget(desk);
            }
            (Op::Recover, _) => {
                desk.hit("recovered by basic.recover");
                desk.see(Event::Recovering(id, false));
            }
            (Op::Open | Op::Select | Op::Qos | Op::Consume | Op::Get(..), _) => (),
            (op, answer) => panic!("channel {} asked {op:?} and was told {answer:?}", id.0),
        }
    }

    /// The broker has closed a channel; another one takes its number.
    fn channel_gone(&mut self, number: u16, desk: &mut Desk) {
        let Some(chan) = self.chan(number) else { return };
        let mut left = Left::default();
        left.take_from(chan);
        let fresh = Chan::new(number, desk.channel(), chan.mode);
        let lost = std::mem::replace(chan, fresh);
        desk.see(Event::ChannelLost(lost.id));
        left.forget(desk);
    }

    /// Content that is whole is handed on.
    fn complete(&mut self, number: u16, desk: &mut Desk) {
        let flaw = desk.flaw;
        let Some(chan) = self.chan(number) else { return };
        let whole = |content: &mut Content| content.body.len() as u64 >= content.bytes;
        let Some(content) = chan.content.take_if(whole) else {
            return;
        };
        if matches!(content.head, Method::BasicReturn(_)) && flaw == Flaw::ReturnsBehindConfirms {
            let number = content::number_of(&content.properties);
            self.held_back.extend(number);
            return;
        }
        handed(chan, content, desk);
    }

    fn release_returns(&mut self, desk: &mut Desk) {
        let id = self.channels[0].id;
        for number in std::mem::take(&mut self.held_back) {
            desk.see(Event::Returned(id, number));
        }
    }
}

fn promise(late: bool, what: &'static str, desk: &mut Desk) {
    if late {
        desk.see(Event::AnsweredLate(what));
    }
}

/// The messages that a confirm stands for.
fn confirmed_by(chan: &mut Chan, tag: u64, multiple: bool) -> Vec<Number> {
    if !multiple {
        return chan.outstanding.remove(&tag).into_iter().collect();
    }
    let later = chan.outstanding.split_off(&(tag + 1));
    std::mem::replace(&mut chan.outstanding, later)
        .into_values()
        .collect()
}

/// A message has come, in whatever way.
fn handed(chan: &mut Chan, content: Content, desk: &mut Desk) {
    let Content {
        head,
        properties,
        body,
        ..
    } = content;
    let number = content::number_of(&properties);
    let intact = number.is_some_and(|number| content::is_intact(&desk.book, number, &properties, &body));
    let (place, consumer, tag, redelivered, no_ack, asked_us): (Name, _, _, _, _, _) = match head {
        Method::BasicReturn(_) => {
            desk.hit("messages returned");
            desk.see(Event::Returned(chan.id, number.unwrap_or(u64::MAX)));
            return;
        }
        Method::BasicDeliver(deliver) => {
            let Some((consumer, queue, no_ack)) = chan.consumers.get(&deliver.consumer_tag.to_string())
            else {
                panic!(
                    "channel {} was sent a message for {}, which is no consumer of it",
                    chan.id.0, deliver.consumer_tag
                );
            };
            desk.hit("messages delivered");
            (
                queue.clone(),
                Some(*consumer),
                deliver.delivery_tag,
                deliver.redelivered,
                *no_ack,
                None,
            )
        }
        Method::BasicGetOk(got) => {
            let Some(Op::Get(queue, no_ack, asked_us)) = chan.awaiting.pop_front() else {
                panic!(
                    "channel {} was given a message that it did not ask for",
                    chan.id.0
                );
            };
            desk.see(Event::Asking(chan.id, chan.awaiting.len()));
            desk.hit("messages got");
            (
                queue,
                None,
                got.delivery_tag,
                got.redelivered,
                no_ack,
                Some(asked_us),
            )
        }
        other => unreachable!("{other:?} carries no content"),
    };
    let redelivered = redelivered && desk.flaw != Flaw::HidesRedelivery;
    if redelivered {
        desk.hit("messages redelivered");
    }
    let filled = consumer.and_then(|consumer| {
        desk.book
            .consumers
            .get(&consumer)
            .map(|known| (consumer, known.prefetch))
    });
    if filled.is_some_and(|(consumer, prefetch)| prefetch > 0 && desk.book.held_by(consumer) + 1 == prefetch)
    {
        desk.hit("prefetch used up");
    }
    let queue = family::family(&place);
    families::note_delivery(desk, &place);
    desk.see(Event::Delivered(Delivered {
        queue,
        place,
        number,
        intact,
        redelivered,
        channel: chan.id,
        tag,
        consumer,
        no_ack,
        void: chan.awaiting.iter().any(|op| matches!(op, Op::Recover)),
        asked_us,
        failures: content::failures_of(&properties),
    }));
}
