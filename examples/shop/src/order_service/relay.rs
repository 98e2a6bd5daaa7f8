//! Brings outbox rows to the broker: at least once, and marked only when the broker has taken responsibility.
//!
//! Two lanes share one connection, each with a channel of its own, and each goes round and round:
//!
//! ```text
//! claim up to `window` rows -> publish them all -> wait for all confirms -> write down how it ended
//! ```
//!
//! While one lane waits for the broker, the other waits for the database.
//!
//! Why a round ends before anything is marked: AMQP sends `basic.return` before the `basic.ack` of a message that no
//! queue wanted, and does not number returns. The client library (lapin 4.12) hands a returned message to whichever
//! confirm it completes next, which under `ack multiple` is a different one. A relay that believed the pairing would mark
//! the returned order as done, and nobody would ever ship it. Once every confirm of the round is in, every return of
//! the round is in as well, and the message ids say which rows they belong to.

use super::store::{OutboxRow, Store};
use crate::backoff::{Backoff, wait_after};
use crate::broker;
use crate::service::{Shutdown, now_ms};
use anyhow::{Context, Result, bail};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_LONGEST: Duration = Duration::from_secs(2);
const REFUSED_FIRST: Duration = Duration::from_millis(200);
const REFUSED_LONGEST: Duration = Duration::from_secs(30);
/// How often a lane looks for rows that nobody told it about: left behind by a sibling, or due again.
const POLL: Duration = Duration::from_millis(250);
/// By how much a lease outlives a round: time to write down how the round ended.
const LEASE_SPARE: Duration = Duration::from_secs(5);
const PERSISTENT: u8 = 2;

pub(super) struct Settings {
    pub(super) broker: String,
    pub(super) name: String,
    pub(super) window: usize,
    pub(super) confirm_timeout: Duration,
}

/// What the HTTP side sees of the relay.
#[derive(Clone, Default)]
pub(super) struct Status {
    wake: Arc<Notify>,
    connected: Arc<AtomicBool>,
}

impl Status {
    /// There is a new row in the outbox.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

pub(super) struct Relay {
    store: Store,
    settings: Settings,
    status: Status,
    shutdown: Shutdown,
}

impl Relay {
    pub(super) fn new(store: Store, settings: Settings, shutdown: Shutdown) -> Self {
        Self {
            store,
            settings,
            status: Status::default(),
            shutdown,
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status.clone()
    }

    /// Connects, relays, and starts over whenever something breaks, until told to end.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST);
        loop {
            let ended = self.session(&mut backoff).await;
            self.status.connected.store(false, Ordering::Relaxed);
            match ended {
                Ok(()) => return,
                Err(error) => tracing::warn!("the relay starts over: {error:#}"),
            }
            if !self.shutdown.sleep(backoff.next_wait()).await {
                return;
            }
        }
    }

    /// One connection, from its beginning to its end. `Ok` means that the service is told to end.
    async fn session(&self, backoff: &mut Backoff) -> Result<()> {
        // What an earlier session, or an earlier life of this process, had in hand and did not see confirmed: published
        // or not, it goes out again.
        let released = self.store.release(&self.settings.name, now_ms()).await?;
        let connection = broker::connect(&self.settings.broker, &self.settings.name).await?;
        let first = connection.create_channel().await?;
        let second = connection.create_channel().await?;
        broker::declare_topology(&first)
            .await
            .context("cannot declare the shop's queue")?;
        tracing::info!(released, "connected to the broker");
        backoff.reset();
        self.status.connected.store(true, Ordering::Relaxed);

        tokio::try_join!(self.lane(&first), self.lane(&second))?;
        self.store.release(&self.settings.name, now_ms()).await?;
        connection.close(200, "the order service ends".into()).await?;
        Ok(())
    }

    async fn lane(&self, channel: &Channel) -> Result<()> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let Settings {
            name,
            window,
            confirm_timeout,
            ..
        } = &self.settings;
        let lease = *confirm_timeout + LEASE_SPARE;
        while self.shutdown.sleep(Duration::ZERO).await {
            let now = now_ms();
            let rows = self.store.claim(name, *window, now, after(now, lease)).await?;
            if rows.is_empty() {
                self.idle(channel).await?;
                continue;
            }
            let round = tokio::time::timeout(*confirm_timeout, publish_round(channel, &rows)).await;
            let outcome = round.context("the broker did not confirm in time")??;
            self.write_down(outcome).await?;
        }
        Ok(())
    }

    /// Nothing is due: waits for a new row or for the time to look again. Notices that the broker is gone meanwhile.
    async fn idle(&self, channel: &Channel) -> Result<()> {
        if !channel.status().connected() {
            bail!("the connection is gone");
        }
        tokio::select! {
            () = self.status.wake.notified() => {}
            () = tokio::time::sleep(POLL.mul_f64(0.5 + fastrand::f64())) => {}
            () = self.shutdown.wait() => {}
        }
        Ok(())
    }

    async fn write_down(&self, outcome: Outcome) -> Result<()> {
        let now = now_ms();
        let again = |row: OutboxRow| {
            let wait = wait_after(REFUSED_FIRST, REFUSED_LONGEST, row.refusals, fastrand::f64());
            tracing::warn!(
                order = row.order_id,
                refusals = row.refusals + 1,
                ?wait,
                "not taken, will try again"
            );
            (row.order_id, after(now, wait))
        };
        let refused: Vec<_> = outcome.refused.into_iter().map(again).collect();
        self.store.settle(&outcome.confirmed, &refused, now).await
    }
}

/// How a round ended, row by row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Acknowledged and not returned: the broker has it.
    confirmed: Vec<String>,
    /// Returned by the broker because no queue wanted it, or refused with a nack.
    refused: Vec<OutboxRow>,
}

/// Publishes all rows, then waits for all confirms. An error says nothing about any row: all are published again.
async fn publish_round(channel: &Channel, rows: &[OutboxRow]) -> Result<Outcome> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let mut confirms = Vec::with_capacity(rows.len());
    for row in rows {
        let (exchange, key) = (broker::EXCHANGE.into(), broker::ROUTING_KEY.into());
        let publish = channel.basic_publish(exchange, key, options, row.payload.as_bytes(), properties(row));
        confirms.push(publish.await?);
    }
    let mut acked = Vec::with_capacity(rows.len());
    let mut returned = HashSet::new();
    for confirm in confirms {
        let confirmation = confirm.await?;
        acked.push(matches!(confirmation, Confirmation::Ack(_)));
        if let Some(message) = confirmation.take_message() {
            returned.insert(returned_id(&message)?);
        }
    }
    decide(rows, &acked, &returned)
}

fn properties(row: &OutboxRow) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(row.order_id.as_str().into())
        .with_content_type("application/json".into())
        .with_timestamp(u64::try_from(now_ms() / 1_000).unwrap_or(0))
}

fn returned_id(message: &BasicReturnMessage) -> Result<String> {
    let id = message
        .delivery
        .properties
        .message_id()
        .as_ref()
        .context("a message without an id was returned")?;
    Ok(id.to_string())
}

/// A row is confirmed when it was acknowledged and not returned. A return of something that is not in the round would
/// mean that we do not know what the broker speaks of: then nothing is marked.
fn decide(rows: &[OutboxRow], acked: &[bool], returned: &HashSet<String>) -> Result<Outcome> {
    assert_eq!(rows.len(), acked.len(), "every published row has its confirm");
    let known = rows.iter().filter(|row| returned.contains(&row.order_id)).count();
    if known != returned.len() {
        bail!("the broker returned a message that was not published in this round");
    }
    let mut outcome = Outcome::default();
    for (row, acked) in rows.iter().zip(acked) {
        if *acked && !returned.contains(&row.order_id) {
            outcome.confirmed.push(row.order_id.clone());
        } else {
            outcome.refused.push(row.clone());
        }
    }
    Ok(outcome)
}

fn after(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> OutboxRow {
        OutboxRow {
            order_id: id.into(),
            payload: "{}".into(),
            refusals: 0,
        }
    }

    /// `acked` has a letter for each row: `a`ck or `n`ack.
    fn check(ids: &str, acked: &str, returned: &str, expected: Option<(&str, &str)>) {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<_> = split(ids).iter().map(|id| row(id)).collect();
        let acked: Vec<_> = acked.chars().map(|letter| letter == 'a').collect();
        let outcome = decide(&rows, &acked, &split(returned).into_iter().collect());
        let refused = |outcome: Outcome| {
            outcome
                .refused
                .into_iter()
                .map(|row| row.order_id)
                .collect::<Vec<_>>()
        };
        let outcome = outcome
            .ok()
            .map(|outcome| (outcome.confirmed.clone(), refused(outcome)));
        assert_eq!(
            outcome,
            expected.map(|(confirmed, refused)| (split(confirmed), split(refused)))
        );
    }

    #[test]
    fn marks_only_what_was_acked_and_not_returned() {
        check("1 2 3", "aaa", "", Some(("1 2 3", "")));
        check("1 2 3", "ana", "", Some(("1 3", "2")));
        check("1 2 3", "aaa", "2", Some(("1 3", "2")));
        check("1 2 3", "aaa", "1 2 3", Some(("", "1 2 3")));
        check("1 2 3", "nnn", "", Some(("", "1 2 3")));
        check("1 2 3", "nan", "3", Some(("2", "1 3")));
        check("1 2 3", "aaa", "4", None);
        check("", "", "", Some(("", "")));
    }
}
