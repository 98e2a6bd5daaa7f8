//! What happened to the messages that were broken: a second way through the journal, which picks out their entries.

use super::findings::Finding;
use crate::Id;
use crate::journal::Entry;
use std::collections::BTreeMap;

/// Most entries that are told of one message.
const LINES_MAX: usize = 60;

/// The histories of the messages found, as lines with their time.
pub struct Histories {
    lines: BTreeMap<Id, Vec<String>>,
    /// By consumer: its queue.
    queues: Vec<u16>,
}

/// Marks what happened to the broker, not to the message.
const BROKER: &str = "  -- ";

/// Begins to collect what these findings are about.
pub fn histories(findings: &[&Finding]) -> Histories {
    Histories {
        lines: findings
            .iter()
            .filter_map(|finding| Some((finding.id?, Vec::new())))
            .collect(),
        queues: Vec::new(),
    }
}

impl Histories {
    /// Whether there is anything to collect.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The next entry.
    pub fn see(&mut self, micros: u64, entry: &Entry) {
        if let Entry::Opened { consumer, queue, .. } = entry {
            let consumer = *consumer as usize;
            if self.queues.len() <= consumer {
                self.queues.resize(consumer + 1, 0);
            }
            self.queues[consumer] = *queue;
        }
        let crash = matches!(
            entry,
            Entry::Ending { .. } | Entry::Started { .. } | Entry::QueueGone { .. }
        );
        for (id, lines) in &mut self.lines {
            // A crash belongs to the history of whatever was intended before it.
            let wanted = entry.concerns(*id) || crash && !lines.is_empty();
            if wanted && lines.len() < LINES_MAX {
                lines.push(format!(
                    "{:>12.6} s  {}",
                    micros as f64 / 1e6,
                    tell(entry, &self.queues)
                ));
            }
        }
    }

    /// What happened to this message, up to the last thing that did and one life more.
    pub fn of(&self, id: Id) -> &[String] {
        let lines = self.lines.get(&id).map_or(&[][..], |lines| lines);
        let last = lines.iter().rposition(|line| !line.contains(BROKER));
        &lines[..lines.len().min(last.map_or(0, |last| last + 3))]
    }
}

fn tell(entry: &Entry, queues: &[u16]) -> String {
    let at = |consumer: &u32| {
        let queue = queues.get(*consumer as usize).copied().unwrap_or_default();
        format!("consumer {consumer} of queue {queue}")
    };
    match entry {
        Entry::Intended(_) => "intended".into(),
        Entry::Confirmed(_) => "confirmed".into(),
        Entry::Refused(_) => "refused".into(),
        Entry::Transaction(range) => format!(
            "in a transaction, {} to {}",
            range.first,
            range.first + u64::from(range.count) - 1
        ),
        Entry::RolledBack(_) => "about to be rolled back".into(),
        Entry::Delivered {
            consumer,
            redelivered,
            ..
        } => {
            let flag = if *redelivered { ", flagged" } else { "" };
            format!("delivered to {}{flag}", at(consumer))
        }
        Entry::Damaged { consumer, .. } => format!("delivered damaged to {}", at(consumer)),
        Entry::Acked { consumer, .. } => format!("acked by {}", at(consumer)),
        Entry::Returned { consumer, .. } => format!("given back by {}", at(consumer)),
        Entry::Rejected { consumer, .. } => format!("rejected by {}", at(consumer)),
        Entry::Withdrawn { consumer, .. } => format!("ack rolled back by {}", at(consumer)),
        Entry::Ending { life } => format!("-- the broker's life {life} ends"),
        Entry::Started { life } => format!("-- its life {life} begins"),
        Entry::QueueGone { queue } => format!("-- queue {queue} is gone"),
        _ => String::new(),
    }
}
