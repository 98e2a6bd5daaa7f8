//! What both services say to the broker in the same words: where it is, and the exchange and queue of the shop.
//!
//! Both declare them, because either may start first; declaring again what is there changes nothing.

use anyhow::{Context, Result, anyhow};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use std::time::Duration;

/// Where orders are published.
pub const EXCHANGE: &str = "shop";
/// Under which key.
pub const ROUTING_KEY: &str = "orders";
/// Where they wait for a warehouse.
pub const QUEUE: &str = "shop.orders";

/// A broker that accepts the connection but does not finish the handshake must not hold a service forever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A broker that falls silent without closing its connections is given up after twice that. What brokers propose by
/// themselves is a minute: long, when paid orders wait. `?heartbeat=` in the URI has the last word.
const HEARTBEAT_SECONDS: u16 = 10;

/// Accepts an AMQP URI as it stands on a command line, so that a mistake shows there and not in every try to connect.
pub(crate) fn uri(text: &str) -> Result<String, String> {
    text.parse::<AMQPUri>().map(|_| text.to_owned())
}

/// Connects; `name` is what an operator of the broker sees.
pub async fn connect(uri: &str, name: &str) -> Result<Connection> {
    let mut uri: AMQPUri = uri.parse().map_err(|error| anyhow!("not an AMQP URI: {error}"))?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = Connection::connect_uri(uri, properties);
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    Ok(connection.context("the broker did not finish the handshake in time")??)
}

/// Declares the durable exchange and queue of the shop and binds them.
pub async fn declare_topology(channel: &Channel) -> Result<(), lapin::Error> {
    let exchange = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let queue = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let no_arguments = FieldTable::default;
    channel
        .exchange_declare(EXCHANGE.into(), ExchangeKind::Direct, exchange, no_arguments())
        .await?;
    channel.queue_declare(QUEUE.into(), queue, no_arguments()).await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            QUEUE.into(),
            EXCHANGE.into(),
            ROUTING_KEY.into(),
            bind,
            no_arguments(),
        )
        .await
}
