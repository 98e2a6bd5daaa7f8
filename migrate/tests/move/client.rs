//! A blocking client: declares, publishes with confirms, counts and drains.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long a delivery may take.
const DELIVERY_MAX: Duration = Duration::from_secs(20);
/// Messages that are acknowledged together; fewer than may be on their way.
const ACKNOWLEDGED: usize = 250;
/// Messages that are published before their confirms are waited for.
const WINDOW: usize = 5000;

/// A message, as it is published and as it is seen.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) exchange: String,
    pub(crate) key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) -> Self {
        Self {
            exchange: exchange.to_owned(),
            key: key.to_owned(),
            properties,
            body: body.to_vec(),
        }
    }
}

/// A connection in one vhost.
pub(crate) struct Client {
    connection: Connection,
    runtime: Runtime,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, vhost: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut uri: AMQPUri = format!("amqp://guest:guest@{address}")
            .parse()
            .map_err(anyhow::Error::msg)?;
        uri.vhost = vhost.to_owned();
        let connection = runtime.block_on(Connection::connect_uri(uri, ConnectionProperties::default()))?;
        Ok(Self { connection, runtime })
    }

    fn channel(&self) -> anyhow::Result<Channel> {
        Ok(self.runtime.block_on(self.connection.create_channel())?)
    }

    pub(crate) fn declare(&self, queue: &str, arguments: FieldTable) -> anyhow::Result<()> {
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.channel()?;
        self.runtime
            .block_on(channel.queue_declare(queue.into(), durable, arguments))?;
        Ok(())
    }

    pub(crate) fn delete(&self, queue: &str) -> anyhow::Result<()> {
        let channel = self.channel()?;
        let delete = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        self.runtime.block_on(delete)?;
        Ok(())
    }

    /// Declares a topic exchange with its bindings: queue and key.
    pub(crate) fn topic(&self, exchange: &str, bindings: &[(&str, &str)]) -> anyhow::Result<()> {
        let channel = self.channel()?;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let none = FieldTable::default();
        let declare = channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, none.clone());
        self.runtime.block_on(declare)?;
        for (queue, key) in bindings {
            let options = QueueBindOptions::default();
            let bind = channel.queue_bind(
                (*queue).into(),
                exchange.into(),
                (*key).into(),
                options,
                none.clone(),
            );
            self.runtime.block_on(bind)?;
        }
        Ok(())
    }

    /// Publishes one message and waits for its confirm.
    pub(crate) fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) -> anyhow::Result<()> {
        self.publish_all(std::iter::once(Message::new(exchange, key, properties, body)))
    }

    /// Publishes messages and waits for their confirms.
    pub(crate) fn publish_all(&self, messages: impl Iterator<Item = Message>) -> anyhow::Result<()> {
        let channel = self.channel()?;
        let mut messages = messages.peekable();
        self.runtime.block_on(async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            while messages.peek().is_some() {
                let mut confirms = Vec::new();
                for message in messages.by_ref().take(WINDOW) {
                    let (exchange, key) = (message.exchange.into(), message.key.into());
                    let options = BasicPublishOptions {
                        mandatory: true,
                        ..BasicPublishOptions::default()
                    };
                    let publish =
                        channel.basic_publish(exchange, key, options, &message.body, message.properties);
                    confirms.push(publish.await?);
                }
                for confirm in confirms {
                    ensure!(
                        confirm.await? == Confirmation::Ack(None),
                        "a message is not taken"
                    );
                }
            }
            Ok(())
        })
    }

    pub(crate) fn count(&self, queue: &str) -> anyhow::Result<u64> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.channel()?;
        let declare = channel.queue_declare(queue.into(), passive, FieldTable::default());
        Ok(u64::from(self.runtime.block_on(declare)?.message_count()))
    }

    /// Takes messages and gives them back, so that they are redelivered.
    pub(crate) fn give_back(&self, queue: &str, count: usize) -> anyhow::Result<()> {
        let channel = self.channel()?;
        self.runtime.block_on(async {
            let mut last = 0;
            for _ in 0..count {
                let message = channel
                    .basic_get(queue.into(), BasicGetOptions::default())
                    .await?;
                last = message
                    .context("the queue has no more messages")?
                    .delivery
                    .delivery_tag;
            }
            let options = BasicNackOptions {
                multiple: true,
                requeue: true,
            };
            channel.basic_nack(last, options).await?;
            channel.close(200, "done".into()).await?;
            Ok(())
        })
    }

    /// A consumer that holds what it gets, until it is dropped.
    pub(crate) fn consume(&self, queue: &str) -> anyhow::Result<Held<'_>> {
        let channel = self.channel()?;
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(queue.into(), "held".into(), options, FieldTable::default());
        let consumer = self.runtime.block_on(consume)?;
        Ok(Held {
            client: self,
            channel,
            _consumer: consumer,
        })
    }

    /// Takes all messages of a queue.
    pub(crate) fn drain(&self, queue: &str) -> anyhow::Result<Vec<Message>> {
        self.drain_seen(queue, String::new)
    }

    /// As [`Client::drain`]; should it stand still, the error tells what is `seen` at that moment, before anything is closed.
    pub(crate) fn drain_seen(&self, queue: &str, seen: impl Fn() -> String) -> anyhow::Result<Vec<Message>> {
        let count = self.count(queue)?;
        let channel = self.channel()?;
        self.runtime.block_on(async {
            channel.basic_qos(1000, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            let mut consumer = channel
                .basic_consume(queue.into(), "".into(), options, FieldTable::default())
                .await?;
            let mut messages: Vec<Message> = Vec::new();
            while (messages.len() as u64) < count {
                let taken = messages.len();
                let delivery = timeout(DELIVERY_MAX, consumer.next()).await;
                let delivery = delivery.with_context(|| {
                    format!("{queue}: nothing after {taken} of {count} messages\n{}", seen())
                })?;
                let delivery = delivery.context("the consumer is cancelled")??;
                let (exchange, key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
                messages.push(Message::new(exchange, key, delivery.properties, &delivery.data));
                if messages.len().is_multiple_of(ACKNOWLEDGED) || messages.len() as u64 == count {
                    let options = BasicAckOptions { multiple: true };
                    channel.basic_ack(delivery.delivery_tag, options).await?;
                }
            }
            channel.close(200, "done".into()).await?;
            Ok(messages)
        })
    }
}

/// See [`Client::consume`].
pub(crate) struct Held<'a> {
    client: &'a Client,
    channel: Channel,
    _consumer: Consumer,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It goes with its channel; a broker that is gone has none.
        let _ = self
            .client
            .runtime
            .block_on(self.channel.close(200, "done".into()));
    }
}
