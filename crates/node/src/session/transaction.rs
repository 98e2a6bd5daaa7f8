//! `tx`: publishes and settlements are gathered, and become durable and visible together or not at all.

use std::sync::Arc;

use everack_amqp::content::Batch;
use everack_amqp::deliveries::DeliveryRange;
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::method::tx;
use everack_broker::ids::PartitionId;
use everack_broker::partition::SettleOutcome;

use super::Session;
use super::channel::{BufferedPublish, Gathered};
use super::consume::settle_of;
use super::publish::partitions_of;
use super::waiting::Waiting;
use crate::request::{Request, RoutedRun, Settle, TransactionPart};
use crate::shared::partition_of;
use crate::transaction::Assembly;

/// What the transactions of one connection may gather, in bytes of memory; beyond it the connection is closed with 506.
const TRANSACTION_BYTES_MAX: usize = 256 << 20;
/// What one transaction may store over all partitions: it is one write, and the log takes up to 1 GiB at once.
const TRANSACTION_STORED_BYTES_MAX: usize = 512 << 20;

/// What a gathered batch takes besides its messages and what points to them: its allocations, rounded up.
const BATCH_OVERHEAD_BYTES: usize = 256;
/// What one gathered settlement takes: it is kept for the partition and for the protocol.
const SETTLE_BYTES: usize = size_of::<Settle>() + size_of::<DeliveryRange>();
/// A batch up to this size may be a small part of the read buffer that it came in, and is copied out of it to be kept.
const COPIED_BYTES_MAX: usize = 256 << 10;

impl Session {
    pub(super) fn buffer_publish(&mut self, channel: u16, publish: BufferedPublish) {
        let Some(state) = self.channels.get_mut(&channel) else {
            return;
        };
        state.transaction.bytes += weight(&publish);
        state.transaction.publishes.push(publish);
        self.check_gathered(channel);
    }

    fn check_gathered(&mut self, channel: u16) {
        let gathered: usize = self.channels.values().map(|state| state.transaction.bytes).sum();
        if gathered > TRANSACTION_BYTES_MAX {
            let text = format!(
                "the transactions of a connection may hold {} MiB of messages",
                TRANSACTION_BYTES_MAX >> 20
            );
            self.fail_channel(channel, Error::new(ReplyCode::ResourceError, text));
        }
    }

    pub(super) fn gather_settles(
        &mut self,
        channel: u16,
        outcome: SettleOutcome,
        ranges: Vec<DeliveryRange>,
    ) {
        let Some(state) = self.channels.get_mut(&channel) else {
            return;
        };
        state
            .transaction
            .settles
            .extend(ranges.iter().map(|range| settle_of(range, outcome)));
        state.transaction.bytes += ranges.len() * SETTLE_BYTES;
        state.transaction.ranges.extend(ranges);
        self.check_gathered(channel);
    }

    pub(super) fn tx_commit(&mut self, channel: u16) {
        let Some(state) = self.channels.get_mut(&channel) else {
            return;
        };
        let gathered = std::mem::take(&mut state.transaction);
        for publish in &gathered.publishes {
            self.return_unroutable(channel, &publish.messages, &publish.returned);
        }
        let partitions = partitions_in(&gathered);
        let mut gathered = gathered;
        let answers = gathered
            .publishes
            .iter_mut()
            .filter(|publish| !publish.answering.is_empty());
        let answers =
            answers.map(|publish| (publish.messages.clone(), std::mem::take(&mut publish.answering)));
        let answers = answers.collect();
        if let Some(state) = self.channels.get_mut(&channel) {
            state.answers = answers;
        }
        if partitions.is_empty() {
            self.commit_ok(channel);
            return;
        }
        if stored_bytes(&gathered) > TRANSACTION_STORED_BYTES_MAX {
            let text = format!(
                "a transaction may store {} MiB of messages",
                TRANSACTION_STORED_BYTES_MAX >> 20
            );
            self.fail_channel(channel, Error::new(ReplyCode::ResourceError, text));
            return;
        }
        let assembly = Arc::new(Assembly::new(self.shared.next_transaction(), partitions.len()));
        let parts = partitions.len();
        let publishes: Vec<_> = gathered
            .publishes
            .into_iter()
            .map(|publish| (publish.messages, Arc::from(publish.runs)))
            .collect();
        for partition in partitions {
            let settles = gathered
                .settles
                .iter()
                .filter(|settle| partition_of(settle.consumer) == partition);
            let part = TransactionPart {
                assembly: assembly.clone(),
                publishes: publishes
                    .iter()
                    .filter(|(_, runs)| touches(runs, partition))
                    .cloned()
                    .collect(),
                settles: settles.copied().collect(),
                reply: self.reply(channel),
            };
            self.requests.push((partition, Request::Transaction(part)));
        }
        self.wait(channel, Waiting::Commit { parts });
    }

    pub(super) fn tx_rollback(&mut self, channel: u16) {
        let Some(state) = self.channels.get_mut(&channel) else {
            return;
        };
        let gathered = std::mem::take(&mut state.transaction);
        // The client may settle them again.
        self.connection.unsettle(channel, &gathered.ranges);
        self.connection.reply(channel, &tx::RollbackOk {}.into());
    }

    pub(super) fn part_committed(&mut self, channel: u16, parts: usize) {
        if parts > 1 {
            self.wait_first(channel, Waiting::Commit { parts: parts - 1 });
        } else {
            self.commit_ok(channel);
        }
    }

    fn commit_ok(&mut self, channel: u16) {
        let state = self.channels.get_mut(&channel);
        let answers = state.map(|state| std::mem::take(&mut state.answers));
        for (messages, answering) in answers.into_iter().flatten() {
            self.answer_askers_late(channel, &messages, answering);
        }
        self.connection.reply(channel, &tx::CommitOk {}.into());
    }
}

/// A batch as a transaction keeps it: with memory of its own, so that what it takes is what it is charged for.
pub(super) fn to_gather(batch: Batch) -> Batch {
    if batch.chunk.len() > COPIED_BYTES_MAX {
        return batch;
    }
    batch.copied(0, batch.len() as u16)
}

/// What a gathered batch takes in memory. A transaction of very small messages is mostly what points to them.
fn weight(publish: &BufferedPublish) -> usize {
    let batch: &Batch = &publish.messages;
    batch.chunk.len()
        + size_of_val(&batch.entries[..])
        + size_of_val(&batch.groups[..])
        + size_of_val(&publish.runs[..])
        + size_of_val(&publish.returned[..])
        + BATCH_OVERHEAD_BYTES
}

/// Each partition stores the messages that it takes.
fn stored_bytes(gathered: &Gathered) -> usize {
    let publishes = gathered.publishes.iter();
    publishes
        .map(|publish| publish.messages.chunk.len() * partitions_of(&publish.runs).len())
        .sum()
}

fn partitions_in(gathered: &Gathered) -> Vec<PartitionId> {
    let published = gathered
        .publishes
        .iter()
        .flat_map(|publish| partitions_of(&publish.runs));
    let settled = gathered
        .settles
        .iter()
        .map(|settle| partition_of(settle.consumer));
    let mut partitions: Vec<PartitionId> = published.chain(settled).collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}

fn touches(runs: &Arc<[RoutedRun]>, partition: PartitionId) -> bool {
    partitions_of(runs).contains(&partition)
}
