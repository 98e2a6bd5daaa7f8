//! What the broker is told about an order, and when. This is the file that the story is about.

use super::books::Books;
use super::shipping::Shipping;
use crate::backoff::{Backoff, wait_after};
use crate::broker;
use crate::order::Order;
use crate::service::{Shutdown, now_ms};
use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_LONGEST: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How long an ending warehouse waits for the orders in its hands. What is not done by then goes to another one.
const FAREWELL_MAX: Duration = Duration::from_secs(30);

pub(super) struct Settings {
    pub(super) broker: String,
    pub(super) name: String,
    pub(super) prefetch: u16,
    pub(super) failures_max: u32,
    pub(super) auto_ack: bool,
    pub(super) shipping: Shipping,
}

pub(super) struct Consumer {
    desk: Arc<Desk>,
    /// As many places to work at as the prefetch allows orders. With manual ack the broker keeps to that number by
    /// itself; with auto-ack it pours out all it has, and the rest waits in this process's memory, unsafe.
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// What it takes to work on one order.
struct Desk {
    books: Books,
    settings: Settings,
}

/// What the broker is to be told about a delivery.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Done: forget it.
    Ack,
    /// Not done: give it to somebody, perhaps to me.
    Requeue,
    /// It is kept in our books, as something that nobody can ship: forget it.
    Reject,
}

impl Consumer {
    pub(super) fn new(books: Books, settings: Settings, shutdown: Shutdown) -> Self {
        let places = Arc::new(Semaphore::new(usize::from(settings.prefetch)));
        Self {
            desk: Arc::new(Desk { books, settings }),
            places,
            shutdown,
        }
    }

    /// Connects, consumes, and starts over whenever the broker goes away, until told to end.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST);
        while let Err(error) = self.session(&mut backoff).await {
            tracing::warn!("lost the broker: {error:#}");
            if !self.shutdown.sleep(backoff.next_wait()).await {
                break;
            }
        }
    }

    /// One connection, from its beginning to its end. `Ok` means that the service is told to end.
    async fn session(&self, backoff: &mut Backoff) -> Result<()> {
        let Settings {
            broker,
            name,
            prefetch,
            auto_ack,
            ..
        } = &self.desk.settings;
        let connection = broker::connect(broker, name).await?;
        let channel = connection.create_channel().await?;
        broker::declare_topology(&channel)
            .await
            .context("cannot declare the shop's queue")?;
        channel.basic_qos(*prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions {
            no_ack: *auto_ack,
            ..Default::default()
        };
        let tag = name.as_str().into();
        let mut deliveries = channel
            .basic_consume(broker::QUEUE.into(), tag, options, FieldTable::default())
            .await?;
        tracing::info!(prefetch, auto_ack, "waiting for orders");
        backoff.reset();

        loop {
            let delivery = tokio::select! {
                delivery = deliveries.next() => delivery.context("the broker has cancelled the consumer")??,
                () = self.shutdown.wait() => break,
            };
            let place = self
                .places
                .clone()
                .acquire_owned()
                .await
                .context("the service ends")?;
            let desk = self.desk.clone();
            // A task of its own: it goes on when this session ends, because a parcel that is being handed over cannot
            // be called back. What it cannot tell the broker any more, the books tell whoever gets the order next.
            tokio::spawn(async move {
                desk.handle(delivery).await;
                drop(place);
            });
        }
        channel
            .basic_cancel(deliveries.tag(), BasicCancelOptions::default())
            .await?;
        let everyone = self.places.acquire_many(u32::from(*prefetch));
        let _ = tokio::time::timeout(FAREWELL_MAX, everyone).await;
        connection.close(200, "the warehouse closes".into()).await?;
        Ok(())
    }
}

impl Desk {
    /// Works on one delivery and tells the broker how it went, unless the broker was told not to wait for that.
    ///
    /// The acknowledgement is sent ON SUCCESS ONLY, after the shipment is in the books, and on no other way out of
    /// `work`. It is tempting to acknowledge in a `finally` (in Rust: in a `Drop`, or after the `match` whatever came
    /// out of it), because then no order can stay unacknowledged by mistake. But a `finally` also runs when the work
    /// threw: it would acknowledge the order that has just failed, and the broker would forget the only copy. An order
    /// that stays unacknowledged by mistake is delivered again; one that is acknowledged by mistake is gone.
    async fn handle(&self, delivery: Delivery) {
        let answer = match self.work(&delivery).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!("the books are closed: {error:#}");
                tokio::time::sleep(RETRY_FIRST.mul_f64(1.0 + fastrand::f64())).await;
                Answer::Requeue
            }
        };
        if self.settings.auto_ack {
            // There is nobody to tell: the broker has forgotten the order already. What was not done is lost.
            return;
        }
        let told = match answer {
            Answer::Ack => delivery.ack(BasicAckOptions::default()).await,
            Answer::Requeue => {
                delivery
                    .nack(BasicNackOptions {
                        requeue: true,
                        multiple: false,
                    })
                    .await
            }
            Answer::Reject => {
                delivery
                    .nack(BasicNackOptions {
                        requeue: false,
                        multiple: false,
                    })
                    .await
            }
        };
        if let Err(error) = told {
            tracing::info!(
                ?answer,
                "the broker could not be told, it will deliver again: {error}"
            );
        }
    }

    /// Ships the order, and writes down what happened. An error means that the books could not be read or written.
    async fn work(&self, delivery: &Delivery) -> Result<Answer> {
        let order = match read(&delivery.data) {
            Ok(order) => order,
            Err(reason) => return self.park(delivery, &reason).await,
        };
        let known = self
            .books
            .arrived(&order.id, &self.settings.name, delivery.redelivered)
            .await?;
        if known.shipped {
            // Somebody has shipped it, but the broker did not hear of it before it, or they, went down.
            return Ok(Answer::Ack);
        }
        if let Err(failed) = self.settings.shipping.ship(&order).await {
            let failures = self.books.failed(&order.id).await?;
            if failures >= i64::from(self.settings.failures_max) {
                return self
                    .park(delivery, &format!("failed {failures} times, at last: {failed}"))
                    .await;
            }
            let earlier = u32::try_from(failures - 1).unwrap_or(0);
            let wait = wait_after(RETRY_FIRST, RETRY_LONGEST, earlier, fastrand::f64());
            tracing::info!(failures, ?wait, "{failed}, to be tried again");
            tokio::time::sleep(wait).await;
            return Ok(Answer::Requeue);
        }
        if !self.books.shipped(&order, &self.settings.name, now_ms()).await? {
            tracing::info!(order = order.id, "another warehouse has shipped it meanwhile");
        }
        Ok(Answer::Ack)
    }

    /// Puts a message aside for a person. Only when that is written may the broker forget it.
    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<Answer> {
        let payload = String::from_utf8_lossy(&delivery.data);
        let id = match delivery.properties.message_id() {
            Some(id) => id.to_string(),
            // The same message gets the same name when it is delivered again.
            None => format!("unnamed-{:016x}", fingerprint(&delivery.data)),
        };
        tracing::warn!(id, reason, "parked");
        self.books.park(&id, &payload, reason, now_ms()).await?;
        Ok(Answer::Reject)
    }
}

fn fingerprint(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish()
}

/// Reads an order from a message; a message that is none will not become one by being tried again.
fn read(data: &[u8]) -> Result<Order, String> {
    let order: Order = serde_json::from_slice(data).map_err(|error| format!("not an order: {error}"))?;
    order
        .validate()
        .map_err(|invalid| format!("not an order: {invalid}"))?;
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, readable: bool) {
        assert_eq!(read(data.as_bytes()).is_ok(), readable, "{data}");
    }

    #[test]
    fn reads_orders_and_nothing_else() {
        check(r#"{"id":"a","item":"teapot","quantity":1}"#, true);
        check(r#"{"id":"a","item":"teapot","quantity":0}"#, false);
        check(r#"{"id":"a","item":"teapot"}"#, false);
        check(r#"{"id":"a","item":"teapot","quantity":1,"more":1}"#, false);
        check("", false);
        check("[]", false);
    }
}
