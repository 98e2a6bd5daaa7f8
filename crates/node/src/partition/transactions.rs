//! Transactions: this partition's part of a `tx.commit`, from the request to what takes effect when all of it is durable.

use everack_broker::ids::Millis;
use everack_broker::partition::{Command, SettleOutcome};

use super::numbering::{Full, Numbered};
use super::staged::{Framing, Staged, StagedJob};
use super::{Partition, admission};
use crate::append::Origin;
use crate::outbox::Outbox;
use crate::record::{self, Range};
use crate::request::{Settle, TransactionPart};

impl Partition {
    /// Frames this partition's part of a transaction. Its settlements and messages take effect when it is durable.
    pub(super) fn transaction(&mut self, part: TransactionPart, now: Millis, outbox: &mut Outbox) {
        let TransactionPart {
            assembly,
            publishes,
            settles,
            traced,
            reply,
        } = part;
        let mut traced = traced.into_iter().peekable();
        let (ended, rejected) = self.ended_by(&settles);
        for settle in &settles {
            self.machine.apply(
                Command::Commit {
                    consumer: settle.consumer,
                    first: settle.first,
                    count: settle.count,
                },
                now,
            );
        }
        let numbered: Vec<_> = publishes
            .into_iter()
            .enumerate()
            .map(|(place, (messages, runs))| {
                // Transient targets wait for the transaction too.
                let mut numbered = Numbered::default();
                let expires = admission::expires(&messages);
                for run in runs.iter() {
                    self.number(&messages, run, expires, Full::Takes, now, &mut numbered);
                }
                let traced = traced.next_if(|(of, _)| *of == place).map(|(_, traced)| traced);
                if let Some(traced) = &traced {
                    self.trace_missing(&runs, traced, &numbered);
                }
                (messages, numbered, traced)
            })
            .collect();
        let job = self.next_job();
        let mut staged = Vec::with_capacity(numbered.len() + 1);
        let (id, transaction) = (self.id, Some(assembly.transaction));
        let contribution = assembly.contribute(Origin::Partition(id), job, |frames| {
            for (messages, numbered, traced) in numbered {
                let mut framing = Framing::within(frames, &mut staged, id, transaction);
                framing.enter_together(&messages, numbered, traced);
            }
            if !ended.is_empty() {
                record::encode_settled(frames, id, transaction, &ended);
            }
            if !rejected.is_empty() {
                record::encode_rejected(frames, id, transaction, &rejected);
            }
        });
        staged.push(Staged::TransactionEnd { settles, reply });
        self.jobs.push_back(StagedJob { job, staged });
        self.contributed(contribution, outbox);
    }

    /// The durable messages that are done with once these settlements are durable, and those that are rejected: they are still in
    /// their queue, on their way through its dead-letter exchange. What is put back stays alive; its return is logged when it
    /// takes effect.
    fn ended_by(&self, settles: &[Settle]) -> (Vec<Range>, Vec<Range>) {
        let (mut ended, mut rejected) = (Vec::new(), Vec::new());
        for settle in settles {
            match settle.outcome {
                SettleOutcome::Done => ended.push(*settle),
                SettleOutcome::Discard if self.machine.dead_letters(settle.consumer) => {
                    rejected.push(*settle)
                }
                SettleOutcome::Discard => ended.push(*settle),
                SettleOutcome::Requeue | SettleOutcome::RequeueFailed => (),
            }
        }
        (self.durable_ranges(&ended), self.durable_ranges(&rejected))
    }

    fn durable_ranges(&self, settles: &[Settle]) -> Vec<Range> {
        let deliveries = settles
            .iter()
            .map(|settle| (settle.consumer, settle.first, settle.count));
        let settled = self.machine.settled_by(deliveries);
        let durable = settled.iter().filter(|range| range.durable);
        let ranges = durable.map(|range| Range {
            queue: range.queue,
            first: range.first,
            count: range.count,
        });
        ranges.collect()
    }
}
