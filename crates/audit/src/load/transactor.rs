//! A publisher in transactions: all messages of a window are one transaction, `tx.commit-ok` is their confirm; some are rolled
//! back.

use super::crew::Worker;
use super::publisher::Publisher;
use super::session::Session;
use crate::journal::{Entry, Range};

/// Most messages of a transaction.
const MESSAGES_MAX: u32 = 60;
/// One in so many is rolled back.
const ROLLBACK_ONE_IN: u32 = 10;

/// A publisher in transactions.
pub(super) struct Transactor(pub(super) Publisher);

impl Worker for Transactor {
    async fn work(&mut self, session: &Session) -> anyhow::Result<()> {
        if session.channel.tx_select().await.is_err() {
            return Ok(());
        }
        while self.0.post.may_go_on().await {
            let range = self.next_range();
            if !self.transaction(session, range).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Transactor {
    fn next_range(&mut self) -> Range {
        let first = self.0.last + 1;
        let count = self.0.post.random.u32(1..=MESSAGES_MAX);
        self.0.last += u64::from(count);
        Range {
            publisher: self.0.post.number,
            first,
            count,
        }
    }

    /// One transaction; `false` when the connection is gone.
    async fn transaction(&mut self, session: &Session, range: Range) -> anyhow::Result<bool> {
        let post = &mut self.0.post;
        let rolls_back = post.random.u32(0..ROLLBACK_ONE_IN) == 0;
        let mut entries = vec![Entry::Intended(range), Entry::Transaction(range)];
        if rolls_back {
            entries.push(Entry::RolledBack(range));
        }
        post.journal.synced(&entries).await?;
        // The client sends methods before contents that wait: a commit must not overtake its publishes.
        let sent = post.publish(&session.channel, range).await;
        if sent.iter().any(Option::is_none) {
            return Ok(false);
        }
        if rolls_back {
            return Ok(session.channel.tx_rollback().await.is_ok());
        }
        if session.channel.tx_commit().await.is_err() {
            return Ok(false);
        }
        post.journal.append(&[Entry::Confirmed(range)]);
        post.gate.confirmed(u64::from(range.count) * post.copies());
        post.confirmed(u64::from(range.count));
        Ok(true)
    }
}
