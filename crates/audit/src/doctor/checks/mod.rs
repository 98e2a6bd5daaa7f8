//! One file for each risk. A check is a pure function from a snapshot of the API to notes, and says once how its risk loses
//! messages. To add one, add its file and its line in [`ALL`].

mod alarms;
mod alternate_exchange;
mod at_most_once;
mod dead_letter_target;
mod delivery_limit;
mod drop_head;
mod expiry;
mod guest;
mod no_ack;
mod not_mandatory;
mod one_replica;
mod prefetch;
mod transient_messages;
mod transient_queues;
mod unacknowledged;
mod unattended;
mod unbound;
mod unconfirmed;
mod unroutable;
mod unsynced;

use super::finding::Notes;
use super::snapshot::{Missing, Snapshot};

/// One risk.
pub(super) struct Check {
    /// Its name, for programs.
    pub(super) name: &'static str,
    /// The risk in a few words.
    pub(super) title: &'static str,
    /// How it loses messages.
    pub(super) why: &'static str,
    /// Looks for it. An error is something that the broker does not tell and without which nothing can be said.
    pub(super) look: fn(&Snapshot, &mut Notes<'_>) -> Result<(), Missing>,
}

/// All of them, in the order of a message's way.
pub(super) const ALL: &[&Check] = &[
    &unconfirmed::CHECK,
    &unroutable::CHECK,
    &unbound::CHECK,
    &not_mandatory::CHECK,
    &alternate_exchange::CHECK,
    &transient_messages::CHECK,
    &transient_queues::CHECK,
    &unsynced::CHECK,
    &one_replica::CHECK,
    &drop_head::CHECK,
    &expiry::CHECK,
    &delivery_limit::CHECK,
    &dead_letter_target::CHECK,
    &at_most_once::CHECK,
    &no_ack::CHECK,
    &prefetch::CHECK,
    &unacknowledged::CHECK,
    &unattended::CHECK,
    &alarms::CHECK,
    &guest::CHECK,
];

/// How every check is tested: a snapshot in, one line for each finding and each thing that could not be checked out.
#[cfg(test)]
fn check(check: &'static Check, snapshot: &serde_json::Value, expected: &[&str]) {
    let snapshot = Snapshot::of(snapshot);
    let mut diagnosis = super::Diagnosis::of(&snapshot);
    diagnosis.look(check, &snapshot);
    let findings = diagnosis.findings.iter();
    let mut seen: Vec<String> = findings
        .map(|finding| {
            assert!(!finding.fix.is_empty(), "every finding says what to do");
            format!(
                "{}: {}: {}",
                finding.severity.words(),
                finding.subject,
                finding.seen
            )
        })
        .collect();
    let unchecked = diagnosis.unchecked.iter();
    seen.extend(unchecked.map(|unchecked| format!("unchecked: {} x{}", unchecked.what, unchecked.count)));
    assert_eq!(seen, expected);
}
