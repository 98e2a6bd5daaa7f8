//! A publisher with confirms: writes down what it intends, publishes, writes down what is confirmed. Its numbers go on over
//! connections and over the broker's lives; nothing is ever published twice.

use super::crew::{Post, Worker};
use super::session::Session;
use crate::journal::{Entry, Range};
use crate::{Id, body};
use futures_util::FutureExt;
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

/// Most entries that wait for the journal in one go.
const GATHERED_MAX: usize = 64;

/// A publisher and where it stands.
pub(super) struct Publisher {
    pub(super) post: Post,
    /// The number of the last message.
    pub(super) last: u64,
}

/// What became of one message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Confirmed,
    Refused,
    /// The connection is gone: nobody knows.
    None,
}

impl Publisher {
    pub(super) fn new(post: Post) -> Self {
        Self { post, last: 0 }
    }

    /// The next messages, as many as one window takes.
    pub(super) fn next_range(&mut self) -> Range {
        let window = self.post.plan.sizes.window();
        // Mostly full windows for the load, but lone messages as well.
        let count = match self.post.random.u32(0..4) {
            0 => self.post.random.u32(1..=window.min(8)),
            _ => self.post.random.u32(window.div_ceil(2)..=window),
        };
        let first = self.last + 1;
        self.last += u64::from(count);
        Range {
            publisher: self.post.number,
            first,
            count,
        }
    }
}

impl Worker for Publisher {
    async fn work(&mut self, session: &Session) -> anyhow::Result<()> {
        let channel = &session.channel;
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        if select.await.is_err() {
            return Ok(());
        }
        while self.post.may_go_on().await {
            let range = self.next_range();
            self.post.journal.synced(&[Entry::Intended(range)]).await?;
            let sent = self.post.publish(channel, range).await;
            if !self.settle(range, sent).await {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Publisher {
    /// Waits for all answers and writes them down as they come; `false` when the connection is gone.
    async fn settle(&mut self, range: Range, sent: Vec<Option<PublisherConfirm>>) -> bool {
        let mut entries = Vec::new();
        let mut whole = true;
        for (id, confirm) in range.ids().zip(sent) {
            let Some(mut confirm) = confirm else {
                whole = false;
                continue;
            };
            let answer = match (&mut confirm).now_or_never() {
                Some(answer) => answer,
                None => {
                    // Nothing more is there at the moment: write down what was.
                    self.write_down(&mut entries);
                    confirm.await
                }
            };
            match answer_of(answer) {
                Answer::Confirmed => push(&mut entries, Entry::Confirmed(Range::one(id))),
                Answer::Refused => push(&mut entries, Entry::Refused(Range::one(id))),
                Answer::None => whole = false,
            }
            if entries.len() >= GATHERED_MAX {
                self.write_down(&mut entries);
            }
        }
        self.write_down(&mut entries);
        whole
    }

    fn write_down(&mut self, entries: &mut Vec<Entry>) {
        let confirmed: u64 = entries.iter().map(confirmed).sum();
        if !entries.is_empty() {
            self.post.journal.append(entries);
            self.post.gate.confirmed(confirmed * self.post.copies());
            self.post.confirmed(confirmed);
        }
        entries.clear();
    }
}

fn confirmed(entry: &Entry) -> u64 {
    match entry {
        Entry::Confirmed(range) => u64::from(range.count),
        _ => 0,
    }
}

/// Joins an answer to the one before it where that says the same.
fn push(entries: &mut Vec<Entry>, next: Entry) {
    match (entries.last_mut(), &next) {
        (Some(Entry::Confirmed(run)), Entry::Confirmed(one))
        | (Some(Entry::Refused(run)), Entry::Refused(one))
            if run.first + u64::from(run.count) == one.first =>
        {
            run.count += 1;
        }
        _ => entries.push(next),
    }
}

/// Only a plain ack is a confirm. A message that was sent back is in no queue, whatever follows.
fn answer_of(answer: lapin::Result<Confirmation>) -> Answer {
    match answer {
        Ok(Confirmation::Ack(None)) => Answer::Confirmed,
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_)) => Answer::Refused,
        Ok(Confirmation::NotRequested) | Err(_) => Answer::None,
    }
}

impl Post {
    /// Publishes a window of messages at once, in their order; what could not be sent is `None`.
    pub(super) async fn publish(&mut self, channel: &Channel, range: Range) -> Vec<Option<PublisherConfirm>> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let bodies: Vec<(Id, Vec<u8>)> = range
            .ids()
            .map(|id| (id, body(id, self.plan.sizes.next(&mut self.random))))
            .collect();
        // Each of these futures queues its frames when it is first polled, and that happens in order.
        let publishing = bodies.iter().map(|(id, bytes)| {
            channel.basic_publish(
                self.plan.exchange.as_str().into(),
                self.key(*id).into(),
                options,
                bytes,
                self.properties(*id),
            )
        });
        let sent = join_all(publishing).await;
        sent.into_iter().map(Result::ok).collect()
    }

    fn properties(&self, id: Id) -> BasicProperties {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.to_string().into());
        let properties = match self.plan.delay_ms {
            0 => properties,
            delay => {
                let mut headers = FieldTable::default();
                headers.insert("x-delay".into(), AMQPValue::LongInt(delay.into()));
                properties.with_headers(headers)
            }
        };
        match self.plan.priorities {
            0 => properties,
            priorities => properties.with_priority((id.number % u64::from(priorities)) as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_follow_each_other_are_one_entry() {
        let range = |first, count| Range {
            publisher: 1,
            first,
            count,
        };
        let mut entries = Vec::new();
        for number in [1, 2, 3, 5, 6] {
            push(&mut entries, Entry::Confirmed(range(number, 1)));
        }
        push(&mut entries, Entry::Refused(range(7, 1)));
        let expected = [
            Entry::Confirmed(range(1, 3)),
            Entry::Confirmed(range(5, 2)),
            Entry::Refused(range(7, 1)),
        ];
        assert_eq!(entries, expected);
        assert_eq!(entries.iter().map(confirmed).sum::<u64>(), 5);
    }
}
