//! `tx`: publishes and settlements are gathered, and become durable and visible together or not at all.

use std::sync::Arc;

use everack_amqp::content::{Batch, Entry, flags};
use everack_amqp::deliveries::DeliveryRange;
use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::method::tx;
use everack_broker::ids::PartitionId;
use everack_broker::partition::SettleOutcome;

use super::Session;
use super::channel::{BufferedPublish, Gathered};
use super::consume::settle_of;
use super::publish::partitions_of;
use super::traces::Ways;
use super::waiting::Waiting;
use crate::record::{DEADLINE_BYTES, RANGE_BYTES, TARGET_BYTES};
use crate::request::{Request, RoutedRun, Settle, TransactionPart};
use crate::shared::partition_of;
use crate::traces::TracedBatch;
use crate::transaction::Assembly;

/// Class and method of `tx.commit`.
const COMMIT: (u16, u16) = (90, 20);

/// What the transactions of one connection may gather, in bytes of memory; beyond it the connection is closed with 506.
const TRANSACTION_BYTES_MAX: usize = 256 << 20;
/// What one transaction may store over all partitions: it is one write, and the log takes up to 1 GiB at once. Beyond it the commit is
/// refused with 406, and nothing of it happens.
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
        let transaction = &mut state.transaction;
        transaction.bytes += weight(&publish, transaction.publishes.last());
        transaction.publishes.push(publish);
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
        if let Err(error) = check_stored(&gathered) {
            self.fail_channel(channel, error.caused_by(COMMIT));
            return;
        }
        for publish in &gathered.publishes {
            self.return_unroutable(channel, &publish.messages, &publish.returned);
        }
        let traced = self.trace_gathered(channel, &gathered);
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
            let concerned = publishes.iter().enumerate();
            let concerned = concerned.filter(|(_, (_, runs))| touches(runs, partition));
            let (places, publishes): (Vec<usize>, Vec<_>) =
                concerned.map(|(place, publish)| (place, publish.clone())).unzip();
            let part = TransactionPart {
                assembly: assembly.clone(),
                publishes,
                settles: settles.copied().collect(),
                traced: traced_at(&traced, &places),
                reply: self.reply(channel),
            };
            self.requests.push((partition, Request::Transaction(part)));
        }
        self.wait(channel, Waiting::Commit { parts });
    }

    /// Messages come when they are committed.
    fn trace_gathered(&mut self, channel: u16, gathered: &Gathered) -> Vec<(usize, TracedBatch)> {
        if self.traces.is_none() {
            return Vec::new();
        }
        let publishes = gathered.publishes.iter().enumerate();
        let traced = publishes.filter_map(|(place, publish)| {
            let (messages, ways) = (&publish.messages, Ways::of_buffered(publish));
            let traced = self.trace_batch(channel, messages, ways, messages.len() as u16, true);
            Some((place, traced?))
        });
        traced.collect()
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

/// What a gathered batch takes in memory. A transaction of very small messages is mostly what points to them. A route is shared by
/// neighbours that have it in common, also with the batch `before`.
fn weight(publish: &BufferedPublish, before: Option<&BufferedPublish>) -> usize {
    let batch: &Batch = &publish.messages;
    let mut last = before.and_then(|before| before.runs.last());
    let routes = publish.runs.iter().map(|run| {
        let shared = last.is_some_and(|last| Arc::ptr_eq(&last.route, &run.route));
        last = Some(run);
        if shared {
            0
        } else {
            size_of_val(&run.route.targets[..])
        }
    });
    batch.chunk.len()
        + size_of_val(&batch.entries[..])
        + size_of_val(&batch.groups[..])
        + size_of_val(&publish.runs[..])
        + size_of_val(&publish.returned[..])
        + routes.sum::<usize>()
        + BATCH_OVERHEAD_BYTES
}

fn check_stored(gathered: &Gathered) -> Result<(), Error> {
    let bytes = stored_bytes(gathered);
    if bytes <= TRANSACTION_STORED_BYTES_MAX {
        return Ok(());
    }
    let text =
        format!("transaction size {bytes} is larger than configured max size {TRANSACTION_STORED_BYTES_MAX}");
    Err(Error::new(ReplyCode::PreconditionFailed, text))
}

/// What a transaction stores at the most: each partition the messages that it takes, and for each queue where they are in it.
fn stored_bytes(gathered: &Gathered) -> usize {
    let publishes = gathered.publishes.iter().map(|publish| {
        let batch: &Batch = &publish.messages;
        let content = batch.chunk.len() + size_of_val(&batch.entries[..]) + size_of_val(&batch.groups[..]);
        let placed = publish.runs.iter().map(|run| placed_bytes(batch, run));
        content * partitions_of(&publish.runs).len() + placed.sum::<usize>()
    });
    // Messages in a row need one range. Those that are not need one each.
    let settled = gathered.settles.iter().map(|settle| settle.count as usize);
    publishes.sum::<usize>() + settled.sum::<usize>() * RANGE_BYTES
}

/// A target in each queue, and a deadline: one for all of the messages, or for each that has an expiration of its own.
fn placed_bytes(batch: &Batch, run: &RoutedRun) -> usize {
    let entries = &batch.entries[usize::from(run.from)..usize::from(run.to)];
    let mortal = |entry: &&Entry| entry.flags & flags::HAS_EXPIRATION != 0;
    let deadlines = entries.iter().filter(mortal).count().max(1);
    run.route.targets.len() * (TARGET_BYTES + deadlines * DEADLINE_BYTES)
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

/// Those that are at these places, by where in the list of places that is.
fn traced_at(traced: &[(usize, TracedBatch)], places: &[usize]) -> Vec<(usize, TracedBatch)> {
    let here = traced.iter();
    let here = here.filter_map(|(place, traced)| Some((places.binary_search(place).ok()?, traced.clone())));
    here.collect()
}

fn touches(runs: &Arc<[RoutedRun]>, partition: PartitionId) -> bool {
    partitions_of(runs).contains(&partition)
}

#[cfg(test)]
mod tests {
    use everack_broker::ids::{ConsumerId, QueueId};
    use everack_broker::partition::SettleOutcome;
    use everack_broker::routing::{Route, Target};

    use super::*;
    use crate::messages::Messages;

    /// `count` publishes of one message with `bytes` of body, each for that many queues in each of two partitions.
    fn gathered(count: usize, bytes: usize, flags: u16, queues: u64) -> Gathered {
        let target = |queue| Target {
            partition: PartitionId(queue as u16 % 2),
            queue: QueueId(queue),
            durable: true,
        };
        let route = Arc::new(Route {
            targets: (0..2 * queues).map(target).collect(),
            by_headers: false,
        });
        let messages = Messages::new(Batch::single(b"\0\0", &[0; 14], &vec![0; bytes], flags));
        let publish = || BufferedPublish {
            messages: messages.clone(),
            runs: vec![RoutedRun {
                route: route.clone(),
                from: 0,
                to: 1,
            }],
            returned: Vec::new(),
            answering: Vec::new(),
        };
        Gathered {
            publishes: (0..count).map(|_| publish()).collect(),
            ..Gathered::default()
        }
    }

    /// Whether a transaction is refused, with a code that costs the client its channel and not its connection.
    #[track_caller]
    fn check(gathered: &Gathered, refused: bool) {
        let error = check_stored(gathered).err();
        let code = error.map(|error| error.code);
        assert_eq!(code, refused.then_some(ReplyCode::PreconditionFailed));
    }

    #[test]
    fn what_is_too_much_for_one_write_is_refused() {
        const MIB: usize = 1 << 20;
        check(&gathered(1000, 100, 0, 100), false);
        // Both partitions store the body.
        check(&gathered(1, 255 * MIB, 0, 1), false);
        check(&gathered(1, 256 * MIB, 0, 1), true);
        // Small messages are mostly where they are: 48 bytes in each queue.
        check(&gathered(1000, 10, 0, 5_000), false);
        check(&gathered(1000, 10, 0, 6_000), true);
        check(&gathered(1000, 10, flags::HAS_EXPIRATION, 6_000), true);
        let mut settled = gathered(0, 0, 0, 0);
        let settle = |count| Settle {
            consumer: ConsumerId(1),
            first: 0,
            count,
            outcome: SettleOutcome::Done,
        };
        settled.settles = vec![settle(20_000_000)];
        check(&settled, false);
        settled.settles = vec![settle(20_000_000); 2];
        check(&settled, true);
        settled.settles = vec![settle(u32::MAX); 1000];
        check(&settled, true);
    }

    #[test]
    fn routes_are_charged_once_for_neighbours_that_share_them() {
        let (one, other) = (gathered(2, 10, 0, 1000), gathered(1, 10, 0, 1000));
        let alone = weight(&one.publishes[0], None);
        assert!(alone > 2000 * size_of::<Target>());
        assert!(weight(&one.publishes[1], one.publishes.first()) < 1000);
        assert_eq!(weight(&other.publishes[0], one.publishes.first()), alone);
    }
}
