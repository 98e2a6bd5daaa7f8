//! The two connections of a mover, and exact counts of queues. Moves nothing.

use std::time::Duration;

use anyhow::Context as _;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicRejectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use crate::journal::name_of;

/// How long an answer of a broker may take: a connection, a channel, a declaration.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether a connection is still there: who waits for a message would not notice.
const LOOK: Duration = Duration::from_millis(50);
/// How long a queue may take until its count tells of all that it has confirmed.
const SETTLED_MAX: Duration = Duration::from_secs(5);
/// Two counts this far apart that are the same are taken for the count of a quiet queue.
const QUIET: Duration = Duration::from_millis(300);

/// Connections to both brokers, for one virtual host.
pub(crate) struct Link {
    pub(crate) vhost: String,
    pub(crate) source: Connection,
    pub(crate) target: Connection,
}

/// What a queue says of itself when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) ready: u64,
    pub(crate) consumers: u64,
}

/// Both addresses.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) from: AMQPUri,
    pub(crate) to: AMQPUri,
}

impl Link {
    pub(crate) async fn open(ends: &Ends, vhost: &str) -> anyhow::Result<Self> {
        let source = connect(&ends.from, vhost).await.context("the source")?;
        let target = connect(&ends.to, vhost).await.context("the target")?;
        Ok(Self {
            vhost: vhost.to_owned(),
            source,
            target,
        })
    }

    /// Whether both connections are still there.
    pub(crate) fn is_up(&self) -> bool {
        self.source.status().connected() && self.target.status().connected()
    }

    /// Waits until one of them is gone.
    pub(crate) async fn lost(&self) {
        while self.is_up() {
            sleep(LOOK).await;
        }
    }

    /// Says goodbye on both sides, so that whichever is still there gives up what it holds for us.
    pub(crate) async fn close(self) {
        let close = |connection: Connection| async move {
            // One that is gone already has nothing to say goodbye to.
            let _ = timeout(CLOSE_MAX, connection.close(200, "done".into())).await;
        };
        tokio::join!(close(self.source), close(self.target));
    }
}

async fn connect(uri: &AMQPUri, vhost: &str) -> anyhow::Result<Connection> {
    let mut uri = uri.clone();
    uri.vhost = vhost.to_owned();
    let properties = ConnectionProperties::default().with_connection_name("everack migrate".into());
    let connected = timeout(ANSWER_MAX, Connection::connect_uri(uri, properties));
    Ok(connected.await.context("no connection in time")??)
}

pub(crate) async fn channel(connection: &Connection) -> anyhow::Result<Channel> {
    let opened = timeout(ANSWER_MAX, connection.create_channel());
    Ok(opened.await.context("no channel in time")??)
}

/// The count of a queue, from the queue itself.
///
/// # Errors
/// It is not there, or is another connection's own; or the connection is gone.
pub(crate) async fn count(connection: &Connection, queue: &str) -> anyhow::Result<Count> {
    let channel = channel(connection).await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let declared = timeout(ANSWER_MAX, declared)
        .await
        .context("no count in time")??;
    let count = Count {
        ready: u64::from(declared.message_count()),
        consumers: u64::from(declared.consumer_count()),
    };
    close(&channel).await;
    Ok(count)
}

/// The count of a queue that nobody works on any more: what dead connections held has come back, what they sent has arrived.
pub(crate) async fn quiet_count(
    connection: &Connection,
    queue: &str,
    patience: Duration,
) -> anyhow::Result<Count> {
    let deadline = Instant::now() + patience;
    let mut last = count(connection, queue).await?;
    loop {
        sleep(QUIET).await;
        let now = count(connection, queue).await?;
        if (now == last && now.consumers == 0) || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

/// The count of a queue that should be `expected`, once it is, or after a while.
pub(crate) async fn expected_count(
    connection: &Connection,
    queue: &str,
    expected: u64,
) -> anyhow::Result<Count> {
    let deadline = Instant::now() + SETTLED_MAX;
    loop {
        let now = count(connection, queue).await?;
        if now.ready == expected || Instant::now() > deadline {
            return Ok(now);
        }
        sleep(QUIET).await;
    }
}

/// The first message of a queue, which goes back to its place; it counts as delivered once more.
pub(crate) async fn first(connection: &Connection, queue: &str) -> anyhow::Result<Option<BasicGetMessage>> {
    let channel = channel(connection).await?;
    let get = channel.basic_get(queue.into(), BasicGetOptions::default());
    let message = timeout(ANSWER_MAX, get).await.context("no message in time")??;
    if let Some(message) = &message {
        let back = BasicRejectOptions { requeue: true };
        channel.basic_reject(message.delivery_tag, back).await?;
    }
    close(&channel).await;
    Ok(message)
}

pub(crate) async fn close(channel: &Channel) {
    // The count is read; a channel that is gone by itself is closed too.
    let _ = timeout(CLOSE_MAX, channel.close(200, "done".into())).await;
}

/// The exchange by which a message gets to a queue of the target with the routing key that it had, and to no other queue whatever its
/// headers (`CC`) say.
pub(crate) fn passage(vhost: &str, queue: &str) -> String {
    format!("everack.migrate.{}", name_of(vhost, queue))
}

pub(crate) async fn open_passage(channel: &Channel, vhost: &str, queue: &str) -> lapin::Result<()> {
    let exchange = passage(vhost, queue);
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let (kind, none) = (ExchangeKind::Fanout, FieldTable::default());
    channel
        .exchange_declare(exchange.as_str().into(), kind, options, none.clone())
        .await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), exchange.as_str().into(), "".into(), bind, none)
        .await
}

pub(crate) async fn close_passage(connection: &Connection, vhost: &str, queue: &str) -> anyhow::Result<()> {
    let channel = channel(connection).await?;
    let exchange = passage(vhost, queue);
    let delete = channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default());
    timeout(ANSWER_MAX, delete).await.context("no answer in time")??;
    close(&channel).await;
    Ok(())
}

/// A broker is there and does nothing.
#[derive(Debug, thiserror::Error)]
#[error("the {0} has done nothing for {1:?}")]
pub(crate) struct Stalled(pub(crate) &'static str, pub(crate) Duration);

/// A connection went away while something was awaited.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the {0} is gone")]
pub(crate) struct Gone(pub(crate) &'static str);

/// Whether trying again may help: not if the broker has said what is wrong with the request.
pub(crate) fn is_passing(error: &anyhow::Error) -> bool {
    /// RabbitMQ's reply codes for a name that is not there, a queue that is another's, what does not fit, and what is not allowed.
    const LASTING: [u16; 4] = [404, 405, 406, 530];
    let passes = |cause: &(dyn std::error::Error + 'static)| {
        if let Some(error) = cause.downcast_ref::<lapin::Error>() {
            return match error.kind() {
                ErrorKind::ProtocolError(error) => !LASTING.contains(&error.get_id()),
                ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_) => false,
                _ => true,
            };
        }
        cause.is::<Elapsed>() || cause.is::<Gone>() || cause.is::<Stalled>()
    };
    error.chain().any(passes)
}

/// An error in one line, without the causes that the one before them has told already.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line += &format!(": {cause}");
        }
    }
    line
}
