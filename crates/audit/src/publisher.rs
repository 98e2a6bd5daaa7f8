//! One publisher: intends, publishes, waits for confirms, writes both down. Lives until its connection dies.

use crate::{Entry, Id, Journal, body};
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most messages that are on their way without a confirm.
const WINDOW: u64 = 40;

/// A publisher and where it stands. Its numbers go on over connections.
pub(crate) struct Publisher {
    pub(crate) number: u32,
    pub(crate) queue: String,
    pub(crate) journal: Arc<Journal>,
    /// Messages confirmed and not acked yet, over all publishers.
    pub(crate) backlog: Arc<AtomicU64>,
    pub(crate) next: u64,
}

impl Publisher {
    /// Publishes until the connection fails; an error of the journal ends the campaign.
    pub(crate) async fn run(&mut self, channel: &Channel) -> anyhow::Result<()> {
        if channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .is_err()
        {
            return Ok(());
        }
        while self.round(channel).await? {}
        Ok(())
    }

    /// One window of messages; `false` when the connection is gone.
    async fn round(&mut self, channel: &Channel) -> anyhow::Result<bool> {
        let ids: Vec<Id> = (0..fastrand::u64(1..=WINDOW)).map(|_| self.next_id()).collect();
        self.journal.write_all(ids.iter().copied().map(Entry::Intended))?;
        self.journal.sync()?;
        let mut waiting = Vec::new();
        for id in &ids {
            let message = body(*id, length());
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            match channel
                .basic_publish(
                    "".into(),
                    self.queue.as_str().into(),
                    options,
                    &message,
                    properties,
                )
                .await
            {
                Ok(confirm) => waiting.push(async move { (*id, confirm.await) }),
                Err(_) => break,
            }
        }
        let asked = waiting.len();
        let confirmed: Vec<Id> = join_all(waiting)
            .await
            .into_iter()
            .filter_map(confirmed)
            .collect();
        self.journal
            .write_all(confirmed.iter().copied().map(Entry::Confirmed))?;
        self.journal.sync()?;
        self.backlog.fetch_add(confirmed.len() as u64, Ordering::Relaxed);
        Ok(asked == ids.len() && confirmed.len() == asked)
    }

    fn next_id(&mut self) -> Id {
        self.next += 1;
        Id {
            publisher: self.number,
            number: self.next,
        }
    }
}

/// Only a plain ack is a confirm: a nack, a return or an error leaves the message unknown.
fn confirmed((id, answer): (Id, lapin::Result<Confirmation>)) -> Option<Id> {
    matches!(answer, Ok(Confirmation::Ack(None))).then_some(id)
}

/// Mostly small, sometimes larger than a frame.
fn length() -> usize {
    match fastrand::u32(0..1000) {
        0..800 => fastrand::usize(16..300),
        800..990 => fastrand::usize(300..5_000),
        _ => fastrand::usize(5_000..300_000),
    }
}
