//! A publisher with confirms and a consumer with acks, through a public client library. Messages carry a number, and every
//! byte of them can be checked.

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const QUEUE: &str = "powerfail";
/// Messages on their way without a confirm.
const WINDOW: u64 = 40;
const PREFETCH: u16 = 200;
/// How long a client may wait for a connection or for the next message.
const PATIENCE: Duration = Duration::from_secs(30);
/// A queue that says it is empty and gives nothing for this long is empty.
const IDLE: Duration = Duration::from_millis(300);

/// The message with this number: the number, and bytes that follow from it.
fn body(number: u64, length: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    let mut random = fastrand::Rng::with_seed(number);
    body.extend((8..length.max(8)).map(|_| random.u8(..)));
    body
}

/// Which message this is, if every byte is as it was sent.
fn identify(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    (body(number, bytes.len()) == bytes).then_some(number)
}

/// Publishes in a thread of its own until the connection dies or it is told to finish.
pub(crate) struct Publisher {
    confirmed: Arc<Mutex<BTreeSet<u64>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn start(url: &str, numbers: Range<u64>, length: usize) -> Self {
        let (confirmed, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (note, url, told) = (Arc::clone(&confirmed), url.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            // However the connection ends: what counts is what was confirmed before.
            let _ = runtime().block_on(publish(&url, numbers, length, &note, &told));
        });
        Self {
            confirmed,
            stop,
            thread,
        }
    }

    /// How many were confirmed so far.
    pub(crate) fn count(&self) -> usize {
        self.confirmed.lock().expect("no publisher panics").len()
    }

    /// Whether it goes on by itself.
    pub(crate) fn runs(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits until so many were confirmed.
    pub(crate) fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.count() < count {
            ensure!(
                self.runs() && std::time::Instant::now() < deadline,
                "only {} of {count} were confirmed",
                self.count()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Stops it; what was confirmed.
    pub(crate) fn finish(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no publisher panics");
        std::mem::take(&mut self.confirmed.lock().expect("no publisher panics"))
    }
}

async fn publish(
    url: &str,
    numbers: Range<u64>,
    length: usize,
    note: &Mutex<BTreeSet<u64>>,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let (connection, channel) = connect(url).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut next = numbers.start;
    while next < numbers.end && !stop.load(Ordering::Relaxed) {
        let end = numbers.end.min(next + WINDOW);
        let mut waiting = Vec::new();
        for number in next..end {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let message = body(number, length);
            let confirm = channel
                .basic_publish(
                    "".into(),
                    QUEUE.into(),
                    BasicPublishOptions::default(),
                    &message,
                    properties,
                )
                .await?;
            waiting.push(async move {
                if let Ok(Confirmation::Ack(None)) = confirm.await {
                    note.lock().expect("no publisher panics").insert(number);
                    true
                } else {
                    false
                }
            });
        }
        ensure!(
            join_all(waiting).await.into_iter().all(|confirmed| confirmed),
            "not confirmed"
        );
        next = end;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Takes everything that comes in a thread of its own, and acknowledges nothing, until the connection dies.
pub(crate) struct Holder {
    seen: Arc<Mutex<BTreeSet<u64>>>,
    thread: JoinHandle<()>,
}

impl Holder {
    pub(crate) fn start(url: &str) -> Self {
        let seen = Arc::default();
        let (note, url) = (Arc::clone(&seen), url.to_owned());
        let thread = std::thread::spawn(move || {
            // However the connection ends: what counts is what was seen before.
            let _ = runtime().block_on(hold(&url, &note));
        });
        Self { seen, thread }
    }

    /// Waits until it has seen so many.
    pub(crate) fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + PATIENCE;
        let seen = || self.seen.lock().expect("no consumer panics").len();
        while seen() < count {
            ensure!(
                std::time::Instant::now() < deadline,
                "only {} of {count} were delivered",
                seen()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Waits for the end of its connection; what it saw.
    pub(crate) fn finish(self) -> BTreeSet<u64> {
        self.thread.join().expect("no consumer panics");
        std::mem::take(&mut self.seen.lock().expect("no consumer panics"))
    }
}

async fn hold(url: &str, note: &Mutex<BTreeSet<u64>>) -> anyhow::Result<()> {
    let (_connection, channel) = connect(url).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel
        .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
        .await?;
    while let Some(delivery) = deliveries.next().await {
        let number = identify(&delivery?.data).context("a damaged message")?;
        note.lock().expect("no consumer panics").insert(number);
    }
    Ok(())
}

/// What a consumer was given.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) numbers: BTreeSet<u64>,
    /// Given more than once.
    pub(crate) twice: Vec<u64>,
    /// Messages with bytes that nobody sent.
    pub(crate) damaged: u64,
}

/// Takes and acks until there is nothing left.
pub(crate) fn drain(url: &str) -> anyhow::Result<Received> {
    take(url, usize::MAX)
}

/// Takes and acks so many, or all there are; the broker has received the acks when it returns.
pub(crate) fn take(url: &str, count: usize) -> anyhow::Result<Received> {
    let (received, ended) = take_what_comes(url, count);
    ended.map(|()| received)
}

/// The same, with what came before it ended badly.
pub(crate) fn take_what_comes(url: &str, count: usize) -> (Received, anyhow::Result<()>) {
    let mut received = Received::default();
    let ended = runtime().block_on(consume(url, count, &mut received));
    (received, ended)
}

async fn consume(url: &str, count: usize, received: &mut Received) -> anyhow::Result<()> {
    let (connection, channel) = connect(url).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel
        .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
        .await?;
    while received.numbers.len() < count {
        let next = match timeout(IDLE, deliveries.next()).await {
            Ok(next) => next,
            Err(_) if declare(&channel).await? == 0 => break,
            Err(_) => timeout(PATIENCE, deliveries.next())
                .await
                .context("the queue says that it holds messages, and gives none")?,
        };
        let delivery = next.context("the connection ended")??;
        match identify(&delivery.data) {
            Some(number) if received.numbers.insert(number) => {}
            Some(number) => received.twice.push(number),
            None => received.damaged += 1,
        }
        delivery.ack(BasicAckOptions::default()).await?;
    }
    connection.close(200, "taken".into()).await?;
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<(Connection, Channel)> {
    let attempt = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        declare(&channel).await?;
        anyhow::Ok((connection, channel))
    };
    timeout(PATIENCE, attempt)
        .await
        .context("no connection in time")?
}

/// Makes sure of the queue; how many messages are ready in it.
async fn declare(channel: &Channel) -> anyhow::Result<u32> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(QUEUE.into(), durable, FieldTable::default())
        .await?;
    Ok(queue.message_count())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}
