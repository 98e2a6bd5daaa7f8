//! Both ends of direct replies: a channel that consumes from `amq.rabbitmq.reply-to`, and one that answers.

use std::sync::atomic::Ordering;

use everack_amqp::connection::Delivery as Handed;
use everack_amqp::encoding::DeliverHead;
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::method::basic;
use everack_amqp::wire::primitive::ShortString;
use everack_broker::name::Name;

use super::Session;
use super::outgoing::Outgoing;
use super::topology::Handled;
use crate::messages::Messages;
use crate::notice::Notice;
use crate::replies::{Asker, REPLY_NAME, REPLY_OVERHEAD_BYTES, REPLY_TO, Reply};

/// A channel's consumer of replies.
#[derive(Debug)]
pub(super) struct ReplyConsumer {
    tag: ShortString,
    head: DeliverHead,
    /// What stands in for `amq.rabbitmq.reply-to` in the requests of this channel.
    pub(super) name: Name,
}

/// Neighbouring messages of a batch that answer somebody.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) asker: Asker,
    pub(super) name: Name,
    pub(super) from: u16,
    pub(super) to: u16,
    /// Whether their publisher wants them back if they do not arrive.
    pub(super) mandatory: bool,
}

impl Answering {
    /// Leaves the messages in the asker's link; `false` if it has no room for them.
    fn hand_over(&self, messages: &Messages) -> bool {
        let own = messages.copied(self.from, self.to);
        let charged = own.chunk.len() + REPLY_OVERHEAD_BYTES * own.len();
        let Asker { link, channel, .. } = &self.asker;
        if !link.reply_begins(charged) {
            return false;
        }
        link.push(Notice::Reply(Reply {
            channel: *channel,
            name: self.name.clone(),
            messages: Messages::new(own),
            charged,
        }));
        link.wake();
        true
    }
}

impl Session {
    /// `basic.consume` of the pseudo-queue.
    pub(super) fn consume_replies(&mut self, channel: u16, consume: &basic::Consume) -> Handled {
        let tag = self.consumer_tag(channel, &consume.consumer_tag)?;
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let refused = |text: &str| Err(Error::new(ReplyCode::PreconditionFailed, text));
        if state.replies.is_some() {
            return refused("reply consumer already set");
        }
        if !consume.no_ack {
            return refused("reply consumer cannot acknowledge");
        }
        let name = Name::from(self.shared.generate_name("amq.rabbitmq.reply-to.").as_str());
        let asker = Asker {
            link: self.link.clone(),
            channel,
            vhost: self.vhost_name.clone(),
        };
        self.shared.replies.begin(name.clone(), asker);
        let head = DeliverHead::new(channel, tag.as_bytes());
        state.replies = Some(ReplyConsumer {
            tag: tag.clone(),
            head,
            name,
        });
        if !consume.nowait {
            self.connection
                .reply(channel, &basic::ConsumeOk { consumer_tag: tag }.into());
        }
        Ok(())
    }

    /// Stops the channel's consumer of replies, if that is its tag.
    pub(super) fn cancel_replies(&mut self, channel: u16, tag: &ShortString) {
        let consumer = self
            .channels
            .get_mut(&channel)
            .and_then(|state| state.replies.take_if(|consumer| consumer.tag == *tag));
        if let Some(consumer) = consumer {
            self.shared.replies.end(&consumer.name);
        }
    }

    /// `queue.declare` of a name that means replies asks whether somebody is there.
    pub(super) fn declare_replies(&mut self, channel: u16, name: &Name, nowait: bool) -> Handled {
        let there = name.as_bytes() == REPLY_TO || self.shared.replies.find(name, &self.vhost_name).is_some();
        if !there {
            let text = format!("no queue '{name}' in vhost '{}'", self.vhost_name);
            return Err(Error::new(ReplyCode::NotFound, text));
        }
        if let Some(state) = self.channels.get_mut(&channel) {
            state.last_queue = Some(name.clone());
        }
        if !nowait {
            self.declare_ok(channel, name, 0, 1);
        }
        Ok(())
    }

    /// Who is answered by messages with that routing key; none if the asker is gone, or has far more to read than it does.
    pub(super) fn asker(&self, routing_key: &[u8]) -> Option<Asker> {
        let asker = self.shared.replies.find(routing_key, &self.vhost_name)?;
        asker.link.has_room_for_replies().then_some(asker)
    }

    /// Hands answers to those who asked. For what finds no room there is nobody there: mandatory ones go back to their publisher, so this comes
    /// before their confirm; others are dropped, as nobody was promised anything.
    pub(super) fn answer_askers(&mut self, channel: u16, messages: &Messages, answering: Vec<Answering>) {
        for answering in answering {
            if !answering.hand_over(messages) {
                self.not_answered(channel, messages, &answering);
            }
        }
    }

    /// As [`Session::answer_askers`], some time after they were found: who is gone since is not answered.
    pub(super) fn answer_askers_late(
        &mut self,
        channel: u16,
        messages: &Messages,
        answering: Vec<Answering>,
    ) {
        let is_there = |answering: &Answering| {
            self.shared
                .replies
                .find(&answering.name, &self.vhost_name)
                .is_some()
        };
        let (there, gone): (Vec<_>, Vec<_>) = answering.into_iter().partition(is_there);
        for answering in &gone {
            self.not_answered(channel, messages, answering);
        }
        self.answer_askers(channel, messages, there);
    }

    fn not_answered(&mut self, channel: u16, messages: &Messages, answering: &Answering) {
        let Answering {
            from, to, mandatory, ..
        } = *answering;
        let counters = &self.shared.counters;
        let counter = if mandatory {
            &counters.unroutable_returned
        } else {
            &counters.replies_dropped
        };
        counter.fetch_add(u64::from(to - from), Ordering::Relaxed);
        if mandatory {
            let indexes: Vec<u16> = (from..to).collect();
            self.return_unroutable(channel, messages, &indexes);
        }
    }

    /// Answers have come for a channel of this connection.
    pub(super) fn reply_arrived(&mut self, reply: Reply) {
        self.outgoing.push_back(Outgoing::Reply(reply));
    }

    /// Encodes answers; `false` if there is no room for them yet.
    pub(super) fn write_reply(&mut self, reply: &Reply) -> bool {
        let end = reply.messages.len() as u16;
        if !self.take_room(reply.messages.bytes(0, end) as usize) {
            return false;
        }
        self.link.reply_ends(reply.charged);
        let Some(state) = self.channels.get_mut(&reply.channel) else {
            return true;
        };
        // Another consumer may have come since, or another channel with this number.
        let Some(consumer) = state
            .replies
            .as_ref()
            .filter(|consumer| consumer.name == reply.name)
        else {
            return true;
        };
        let handed = Handed {
            source: 0,
            first: 0,
            no_ack: true,
            redelivered: false,
        };
        if self
            .connection
            .deliver(&consumer.head, &reply.messages, 0, end, handed)
        {
            state.received.delivered_no_ack += u64::from(end);
        }
        true
    }
}

/// Whether a queue of that name is none, but stands for replies.
pub(super) fn means_replies(queue: &[u8]) -> bool {
    queue == REPLY_TO || queue.starts_with(REPLY_NAME)
}
