//! What a session says of itself when somebody looks.

use everack_amqp::connection::ChannelStatus;
use everack_broker::ids::ConsumerId;
use everack_broker::name::Name;

use super::Session;
use super::channel::Channel;
use super::waiting::Waiting;
use crate::report::{ChannelReport, ConsumerReport, SessionReport};
use crate::translate::from_amqp;

impl Session {
    /// The connection at this moment. Counts and copies, so it is not for the hot path.
    pub(super) fn report(&self) -> SessionReport {
        let mut channels: Vec<ChannelReport> = self
            .channels
            .iter()
            .filter_map(|(&number, state)| {
                let status = self.connection.channel_status(number)?;
                Some(self.channel_report(number, state, status))
            })
            .collect();
        channels.sort_unstable_by_key(|channel| channel.number);
        SessionReport {
            connection: self.link.connection,
            user: self.user.clone(),
            vhost: self.vhost_name.clone(),
            status: self.connection.status(),
            blocked: self.blocked,
            held_back: self.reading_paused && !self.blocked,
            client_properties: from_amqp::arguments(&self.client_properties),
            // Once it has ended, the ledger has them.
            confirmed: if self.released {
                0
            } else {
                self.connection.confirmed()
            },
            channels,
        }
    }

    fn channel_report(&self, number: u16, state: &Channel, status: ChannelStatus) -> ChannelReport {
        let transaction = &state.transaction;
        let uncommitted = transaction
            .publishes
            .iter()
            .map(|publish| publish.messages.len() as u64);
        let settlements = transaction.settles.iter().map(|settle| u64::from(settle.count));
        let mut consumers: Vec<ConsumerReport> = state
            .consumers
            .values()
            .filter_map(|&consumer| self.consumer_report(consumer))
            .collect();
        consumers.sort_unstable_by(|left, right| left.tag.cmp(&right.tag));
        ChannelReport {
            number,
            mode: status.mode,
            prefetch: state.prefetch,
            prefetch_global: state.limit.as_ref().map_or(0, |limit| limit.most()),
            unsettled: status.unsettled,
            unconfirmed: status.unconfirmed,
            confirmed: status.numbered - status.unconfirmed,
            uncommitted: uncommitted.sum(),
            settlements_uncommitted: settlements.sum(),
            received: state.received,
            published: state.publishing.total,
            exchanges: state.publishing.exchanges.clone(),
            consumers,
            holders: state.holders.clone(),
        }
    }

    /// None while the partition has not agreed to the consumer yet.
    fn consumer_report(&self, id: ConsumerId) -> Option<ConsumerReport> {
        let begins =
            |waiting: &Waiting| matches!(waiting, Waiting::Consume { consumer, .. } if *consumer == id);
        if self.waiting.iter().any(|(_, waiting)| begins(waiting)) {
            return None;
        }
        let consumer = self.consumers.get(&id)?;
        Some(ConsumerReport {
            id,
            tag: Name::new(consumer.tag.as_bytes()),
            queue: consumer.queue.name.clone(),
            no_ack: consumer.no_ack,
            single_active: consumer.queue.settings.single_active_consumer,
            exclusive: consumer.exclusive,
            prefetch: consumer.prefetch,
            arguments: consumer.arguments.clone(),
        })
    }
}
