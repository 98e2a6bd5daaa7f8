//! The journal: what clients saw, in the order in which they saw it, one line each.
//!
//! The letter says what happened; times are milliseconds since the journal was opened.
//!
//! ```text
//! i MS PUBLISHER NUMBER             intended: written and synced before the publish
//! c MS PUBLISHER NUMBER             confirmed: written and synced when the confirm came
//! d MS CONSUMER PUBLISHER NUMBER R  delivered to this consumer; R is `r` when flagged as redelivered, `-` otherwise
//! x MS CONSUMER                     delivered, but damaged
//! a MS PUBLISHER NUMBER             about to be acked: an ack may not arrive, but none is sent without this line
//! n MS PUBLISHER NUMBER             about to be given back with nack
//! k MS                              the broker was killed
//! ```

use crate::Id;
use anyhow::Context;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// One line of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A message is about to be published.
    Intended(Id),
    /// The broker has confirmed it.
    Confirmed(Id),
    /// A consumer (one connection's lifetime) got it.
    Delivered {
        /// Which consumer; never used again for another one.
        consumer: u64,
        /// Which message.
        id: Id,
        /// Flagged as redelivered.
        redelivered: bool,
    },
    /// A consumer got bytes that nobody sent.
    Damaged {
        /// Which consumer.
        consumer: u64,
    },
    /// An ack is about to be sent.
    Acked(Id),
    /// A nack with requeue is about to be sent.
    Returned(Id),
    /// The broker was killed; whatever was unsettled is to be delivered again.
    Killed,
}

/// A journal that is being written.
pub struct Journal {
    file: Mutex<BufWriter<File>>,
    start: Instant,
}

impl Journal {
    /// Begins a new journal.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            file: Mutex::new(BufWriter::new(file)),
            start: Instant::now(),
        })
    }

    /// Writes an entry; it is on the disk after the next [`Journal::sync`].
    pub fn write(&self, entry: Entry) -> anyhow::Result<()> {
        self.write_all([entry])
    }

    /// Writes several entries that belong together.
    pub fn write_all(&self, entries: impl IntoIterator<Item = Entry>) -> anyhow::Result<()> {
        let mut file = self.lock();
        for entry in entries {
            line(&mut *file, self.start.elapsed().as_millis() as u64, entry)?;
        }
        Ok(())
    }

    /// Makes everything written so far outlive a crash of ours.
    pub fn sync(&self) -> anyhow::Result<()> {
        let mut file = self.lock();
        file.flush()?;
        // Others may go on writing while the disk works.
        let handle = file.get_ref().try_clone()?;
        drop(file);
        Ok(handle.sync_data()?)
    }

    fn lock(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.file.lock().expect("no writer panics with the journal")
    }
}

fn line(file: &mut impl Write, ms: u64, entry: Entry) -> std::io::Result<()> {
    match entry {
        Entry::Intended(id) => writeln!(file, "i {ms} {} {}", id.publisher, id.number),
        Entry::Confirmed(id) => writeln!(file, "c {ms} {} {}", id.publisher, id.number),
        Entry::Delivered {
            consumer,
            id,
            redelivered,
        } => {
            let flag = if redelivered { 'r' } else { '-' };
            writeln!(file, "d {ms} {consumer} {} {} {flag}", id.publisher, id.number)
        }
        Entry::Damaged { consumer } => writeln!(file, "x {ms} {consumer}"),
        Entry::Acked(id) => writeln!(file, "a {ms} {} {}", id.publisher, id.number),
        Entry::Returned(id) => writeln!(file, "n {ms} {} {}", id.publisher, id.number),
        Entry::Killed => writeln!(file, "k {ms}"),
    }
}

/// Reads a journal back: each entry with its time in milliseconds.
pub fn read(path: &Path) -> anyhow::Result<Vec<(u64, Entry)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let entry = |line: &str| parse(line).with_context(|| format!("not a line of a journal: {line:?}"));
    text.lines().map(entry).collect()
}

fn parse(line: &str) -> Option<(u64, Entry)> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    let id = |at: usize| {
        Some(Id {
            publisher: number(at)?.try_into().ok()?,
            number: number(at + 1)?,
        })
    };
    let entry = match words[0] {
        "i" => Entry::Intended(id(2)?),
        "c" => Entry::Confirmed(id(2)?),
        "d" => Entry::Delivered {
            consumer: number(2)?,
            id: id(3)?,
            redelivered: *words.get(5)? == "r",
        },
        "x" => Entry::Damaged { consumer: number(2)? },
        "a" => Entry::Acked(id(2)?),
        "n" => Entry::Returned(id(2)?),
        "k" => Entry::Killed,
        _ => return None,
    };
    Some((number(1)?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let id = Id {
            publisher: 2,
            number: 9,
        };
        let entries = [
            Entry::Intended(id),
            Entry::Confirmed(id),
            Entry::Delivered {
                consumer: 4,
                id,
                redelivered: true,
            },
            Entry::Delivered {
                consumer: 5,
                id,
                redelivered: false,
            },
            Entry::Damaged { consumer: 4 },
            Entry::Acked(id),
            Entry::Returned(id),
            Entry::Killed,
        ];
        let journal = Journal::create(&path).unwrap();
        journal.write_all(entries).unwrap();
        journal.sync().unwrap();
        let back: Vec<Entry> = read(&path).unwrap().into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(back, entries);
        assert!(Journal::create(&path).is_err(), "a journal is never written over");
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "i", "i 1 2", "z 1 2 3", "d 1 2 3 4"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
