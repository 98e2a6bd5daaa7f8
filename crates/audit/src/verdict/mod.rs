//! The verdict over a journal: what the broker did with what it had confirmed.
//!
//! [`Judge`] takes entry after entry and keeps a few bytes a message; [`Verdict`] is what is left at the end. It believes only
//! what a client saw: a publish without an answer is unknown, and may come or not.

mod channel;
mod findings;
mod history;
mod judge;
mod lane;
#[cfg(test)]
mod tests;

pub use findings::{Finding, Findings, Flaw};
pub use history::histories;
pub use judge::Judge;

use std::fmt;
use std::time::Duration;

/// How old a received settlement may be and still be forgotten by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleBound {
    /// This and the longest that the journal itself needed from an entry to the disk; one in a transaction never, once its commit was
    /// answered.
    After(Duration),
    /// Nothing is promised.
    None,
}

/// What this broker promises beyond what every AMQP broker does. What it does not promise is counted, and breaks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// When a settlement is durable.
    pub settle: SettleBound,
    /// A transaction is atomic also over several queues; AMQP 0-9-1 has it so for one queue only.
    pub atomic_over_queues: bool,
}

/// What a journal shows.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Messages that were about to be published.
    pub intended: u64,
    /// Messages that were confirmed.
    pub confirmed: u64,
    /// Messages that were refused or sent back.
    pub refused: u64,
    /// Messages without an answer: they may come or not.
    pub unknown: u64,
    /// Messages without a confirm that came all the same.
    pub unconfirmed_delivered: u64,
    /// Messages that were refused and came all the same.
    pub refused_delivered: u64,
    /// Deliveries, redeliveries included.
    pub delivered: u64,
    /// Deliveries that were flagged as redelivered.
    pub redelivered: u64,
    /// Deliveries of what had come before, without the flag that says so.
    pub unflagged: u64,
    /// Settlements that came back, and nobody can say whether the broker had received them.
    pub in_flight: u64,
    /// Transactions that came whole in one queue and not at all in another, where nobody promised more.
    pub torn_over_queues: u64,
    /// Lives of the broker that were ended, by whatever.
    pub crashes: u64,
    /// Of these, lives that ended without a fault of ours.
    pub deaths: u64,
    /// Pauses.
    pub pauses: u64,
    /// Durable queues that were gone after a start.
    pub queues_gone: u64,
    /// Messages in queues that did not give them out in the drain.
    pub stuck: u64,
    /// What was broken.
    pub findings: Findings,
    /// Messages acked and proven received that came back after a crash; the oldest ack's age.
    pub resurrected: u64,
    /// The largest age of a resurrected ack.
    pub resurrected_oldest: Duration,
    /// What it is judged against.
    pub settle_bound: Option<Duration>,
    /// Resurrected acks that were older than the bound and the longest fdatasync alone, whether or not the machine had a processor.
    pub resurrected_beyond_sync: u64,
    /// The longest from an entry of the journal to its being on disk.
    pub durable_longest: Duration,
    /// The longest fdatasync of the journal.
    pub sync_longest: Duration,
    /// The fewest and the most messages that waited at a fault.
    pub backlog: Option<(u64, u64)>,
    /// Time from the first publish to the drain without the time in which the broker was down.
    pub load: Duration,
    /// Whether the journal goes on to the end of a drain: without, nothing can be said to be lost.
    pub drained: bool,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.queues_gone == 0
    }

    /// Confirmed messages a second of load.
    pub fn messages_per_second(&self) -> f64 {
        let seconds = self.load.as_secs_f64();
        if seconds > 0.0 {
            self.confirmed as f64 / seconds
        } else {
            0.0
        }
    }

    /// How often something was broken in this way.
    pub fn count(&self, flaw: Flaw) -> u64 {
        self.findings.count(flaw)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} crashes; {} confirmed, {} refused, {} unknown ({} of them delivered)",
            self.crashes, self.confirmed, self.refused, self.unknown, self.unconfirmed_delivered
        )?;
        writeln!(
            f,
            "{} deliveries, {} of them flagged as redelivered; {:.0} confirmed messages a second of load",
            self.delivered,
            self.redelivered,
            self.messages_per_second()
        )?;
        let counts: Vec<String> = Flaw::ALL
            .iter()
            .map(|flaw| format!("{} {}", flaw.name(), self.count(*flaw)))
            .collect();
        writeln!(f, "{}", counts.join(", "))?;
        write!(
            f,
            "acks that came back after a crash: {} received ones, the oldest {:.1} ms before it, and {} that may not have arrived; longest sync {:.1} ms, from an entry to the disk {:.1} ms",
            self.resurrected,
            millis(self.resurrected_oldest),
            self.in_flight,
            millis(self.sync_longest),
            millis(self.durable_longest)
        )
    }
}

/// Milliseconds with their fraction.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
