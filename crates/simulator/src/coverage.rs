//! How often each interesting thing happened: a history that never reaches a place proves nothing about it.

use std::collections::BTreeMap;

/// Everything that ordinary seeds have to reach.
pub const KINDS: [&str; 78] = [
    "messages sent",
    "messages confirmed",
    "messages returned",
    "messages delivered",
    "messages redelivered",
    "messages got",
    "messages without a body",
    "messages larger than a segment",
    "settled singly",
    "settled with multiple",
    "put back singly",
    "put back with multiple",
    "rejected",
    "recovered by basic.recover",
    "purges",
    "queues declared",
    "queues declared again",
    "queues deleted",
    "auto-delete queues",
    "exclusive queues",
    "binds",
    "unbinds",
    "consumers",
    "consumers cancelled",
    "consumers without acknowledgements",
    "prefetch used up",
    "channel limits",
    "transactions committed",
    "transactions rolled back",
    "transactions over several partitions",
    "transactions in doubt at a crash",
    "transactions dropped by recovery",
    "connections",
    "connections closed in order",
    "connections that died",
    "frames cut by a death",
    "channels failed",
    "slow readers",
    "publishers blocked",
    "publishers unblocked",
    "segments begun",
    "segments recycled",
    "segments removed",
    "survivors written again",
    "checkpoints",
    "log marked while idle",
    "rounds beside a long sync",
    "syncs that ended before an older one",
    "messages in the log read back",
    "power lost: nothing survives",
    "power lost: a prefix survives",
    "power lost: some sectors survive",
    "power lost: everything survives",
    "processes killed",
    "processes stopped in order",
    "crashes during a sync",
    "crashes during the upkeep",
    "crashes during recovery",
    "settlements forgotten by a crash",
    "unconfirmed messages that survived",
    "unconfirmed messages that did not",
    "EIO: the process ended",
    "EIO: it went on",
    "ENOSPC: jobs parked",
    "ENOSPC: room again",
    "bit rot in a record",
    "bit rot in a checkpoint",
    "messages set aside as damaged",
    "messages of queues with rules",
    "dead letters delivered",
    "dead letters delivered that were held back",
    "messages refused",
    "heirs deleted",
    "failed deliveries",
    "messages that waited, or were parked",
    "messages sent elsewhere by order",
    "messages that stayed in spite of an order",
    "histories that came to rest",
];

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// It happened.
    pub fn hit(&mut self, kind: &'static str) {
        self.add(kind, 1);
    }

    /// It happened so many times.
    ///
    /// # Panics
    /// When the kind is not listed: nobody would notice that it never happens.
    pub fn add(&mut self, kind: &'static str, times: u64) {
        assert!(KINDS.contains(&kind), "`{kind}` is listed");
        *self.counts.entry(kind).or_default() += times;
    }

    /// How often it happened.
    pub fn count(&self, kind: &'static str) -> u64 {
        self.counts.get(kind).copied().unwrap_or_default()
    }

    /// Adds another history's.
    pub fn merge(&mut self, other: &Coverage) {
        for (kind, count) in &other.counts {
            self.add(kind, *count);
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        KINDS.into_iter().filter(|kind| self.count(kind) == 0).collect()
    }
}
