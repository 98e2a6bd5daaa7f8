//! What is known of one queue's move, on disk: it outlives this process. Decides nothing.
//!
//! Two files for each queue, named by a digest of its virtual host and name:
//!
//! ```text
//! NAME.json   what the move began with: names, addresses, the counts on both sides; in the end, what it came to
//! NAME.seen   "EVMOVE1\n" | confirmed: u64 little endian | fingerprint: 16 bytes, for each message that was published
//! ```
//!
//! A fingerprint is written before its message is published, `confirmed` after the confirm and before the message is acknowledged at the
//! source. Neither is synced: a killed process loses nothing of them, and what a power cut of this machine takes away makes the counts
//! disagree, which [`crate::reconcile`] notices.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::fingerprint::{self, Fingerprint};

const MAGIC: &[u8; 8] = b"EVMOVE1\n";
/// Where the first fingerprint lies.
const HEAD: u64 = 16;
const STEP: u64 = fingerprint::BYTES as u64;

/// What the move of a queue began with, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub(crate) vhost: String,
    pub(crate) queue: String,
    /// The AMQP addresses, so that a journal is not taken for another broker's.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Ready messages when it began.
    pub(crate) source_before: u64,
    pub(crate) target_before: u64,
    /// Messages that earlier legs have moved, before this one began anew.
    #[serde(default)]
    pub(crate) earlier: u64,
    /// The target refused a message and may have taken later ones: its messages are not the front of the list any more.
    #[serde(default)]
    pub(crate) has_gap: bool,
    /// Messages in the target when everything had been moved.
    pub(crate) target_after: Option<u64>,
    /// The source's first message was looked at after that, so it counts as delivered before from then on.
    #[serde(default)]
    pub(crate) looked: bool,
    /// It was finished once, and the source has brought back what was moved.
    #[serde(default)]
    pub(crate) reopened: bool,
}

/// The directory of all journals, held by this process alone.
pub(crate) struct Journals {
    folder: PathBuf,
    _lock: File,
}

/// The journal of one queue.
pub(crate) struct Journal {
    pub(crate) leg: Leg,
    header: PathBuf,
    seen: File,
    published: u64,
    confirmed: u64,
}

impl Journals {
    /// Makes the directory, and locks it.
    ///
    /// # Errors
    /// It cannot be made, or another process works with it.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("--state {}", folder.display()))?;
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder: folder.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "--state {}: another `everack migrate` works with it",
                    folder.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// The journal of a queue, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is not one.
    pub(crate) fn find(&self, vhost: &str, queue: &str) -> anyhow::Result<Option<Journal>> {
        let (header, seen) = self.paths(vhost, queue);
        if !header.exists() {
            return Ok(None);
        }
        let read = || -> anyhow::Result<Journal> {
            let leg: Leg = serde_json::from_slice(&fs::read(&header)?)?;
            ensure!(leg.vhost == vhost, "it is of another virtual host");
            ensure!(leg.queue == queue, "it is of another queue");
            let seen = File::options().read(true).write(true).open(&seen)?;
            let mut head = [0; HEAD as usize];
            seen.read_exact_at(&mut head, 0)?;
            ensure!(head.starts_with(MAGIC), "the file of fingerprints is not one");
            let confirmed = u64::from_le_bytes(head[8..].try_into()?);
            let published = (seen.metadata()?.len() - HEAD) / STEP;
            Ok(Journal {
                leg,
                header: header.clone(),
                seen,
                published,
                confirmed,
            })
        };
        let journal = read().with_context(|| format!("the journal {} cannot be used", header.display()))?;
        Ok(Some(journal))
    }

    /// Begins the journal of a queue, over an earlier one.
    pub(crate) fn begin(&self, leg: Leg) -> anyhow::Result<Journal> {
        let (header, seen) = self.paths(&leg.vhost, &leg.queue);
        let seen = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&seen)
            .with_context(|| format!("cannot write {}", seen.display()))?;
        seen.write_all_at(MAGIC, 0)?;
        seen.write_all_at(&0_u64.to_le_bytes(), 8)?;
        seen.sync_all()?;
        let journal = Journal {
            leg,
            header,
            seen,
            published: 0,
            confirmed: 0,
        };
        journal.write_header()?;
        Ok(journal)
    }

    fn paths(&self, vhost: &str, queue: &str) -> (PathBuf, PathBuf) {
        let name = name_of(vhost, queue);
        let path = |end: &str| self.folder.join(format!("{name}.{end}"));
        (path("json"), path("seen"))
    }
}

/// A name of sixteen digits for a queue: its own may be longer than a file's may be.
pub(crate) fn name_of(vhost: &str, queue: &str) -> String {
    let digest = digest(&SHA256, format!("{}:{vhost}{queue}", vhost.len()).as_bytes());
    digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Journal {
    /// How many messages may have reached the target.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// How many messages the target has confirmed, at least.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Writes down what is about to be published.
    pub(crate) fn publishing(&mut self, messages: &[Fingerprint]) -> anyhow::Result<()> {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| message.0).collect();
        let at = HEAD + self.published * STEP;
        self.seen
            .write_all_at(&bytes, at)
            .context("the journal cannot be written")?;
        self.published += messages.len() as u64;
        Ok(())
    }

    /// Writes down that the first `count` messages are confirmed.
    pub(crate) fn set_confirmed(&mut self, count: u64) -> anyhow::Result<()> {
        assert!(count <= self.published, "only what was published is confirmed");
        self.seen
            .write_all_at(&count.to_le_bytes(), 8)
            .context("the journal cannot be written")?;
        self.confirmed = count;
        Ok(())
    }

    /// Forgets what was published behind the first `count` messages: it never arrived. What arrived counts as confirmed.
    pub(crate) fn settle_at(&mut self, count: u64) -> anyhow::Result<()> {
        assert!(
            count <= self.published,
            "only what was published can have arrived"
        );
        self.seen.set_len(HEAD + count * STEP)?;
        self.published = count;
        self.set_confirmed(count)
    }

    /// What was published at these places.
    pub(crate) fn messages(&self, places: Range<u64>) -> anyhow::Result<Vec<Fingerprint>> {
        let count = usize::try_from(places.end.saturating_sub(places.start))?;
        let mut bytes = vec![0; count * fingerprint::BYTES];
        self.seen.read_exact_at(&mut bytes, HEAD + places.start * STEP)?;
        let (messages, _) = bytes.as_chunks::<{ fingerprint::BYTES }>();
        Ok(messages.iter().map(|bytes| Fingerprint(*bytes)).collect())
    }

    /// Writes down that the target has refused a message.
    pub(crate) fn gap(&mut self) -> anyhow::Result<()> {
        self.leg.has_gap = true;
        self.write_header()
    }

    /// Writes down that the source's first message is about to be looked at, after all had been moved.
    pub(crate) fn looking(&mut self) -> anyhow::Result<()> {
        self.leg.looked = true;
        self.write_header()
    }

    /// Writes down that what was finished goes on: the source has brought back what was moved.
    pub(crate) fn reopen(&mut self) -> anyhow::Result<()> {
        self.leg.target_after = None;
        self.leg.reopened = true;
        self.write_header()
    }

    /// Writes down that everything is moved.
    pub(crate) fn finish(&mut self, target_after: u64) -> anyhow::Result<()> {
        self.leg.target_after = Some(target_after);
        (self.leg.looked, self.leg.reopened) = (false, false);
        self.write_header()
    }

    fn write_header(&self) -> anyhow::Result<()> {
        let new = self.header.with_extension("new");
        let written = || -> anyhow::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&self.leg)?)?;
            file.sync_all()?;
            fs::rename(&new, &self.header)?;
            Ok(())
        };
        written().with_context(|| format!("cannot write {}", self.header.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg() -> Leg {
        Leg {
            vhost: "/".into(),
            queue: "orders".into(),
            from: "amqp://a:5672".into(),
            to: "amqp://b:5672".into(),
            source_before: 3,
            target_before: 0,
            earlier: 0,
            has_gap: false,
            target_after: None,
            looked: false,
            reopened: false,
        }
    }

    fn print(number: u8) -> Fingerprint {
        Fingerprint([number; fingerprint::BYTES])
    }

    #[test]
    fn it_is_found_again_as_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        assert!(journals.find("/", "orders").unwrap().is_none());
        let mut journal = journals.begin(leg()).unwrap();
        journal.publishing(&[print(1), print(2), print(3)]).unwrap();
        journal.set_confirmed(1).unwrap();
        let mut found = journals.find("/", "orders").unwrap().unwrap();
        assert_eq!((found.published(), found.confirmed()), (3, 1));
        assert_eq!(found.messages(1..3).unwrap(), [print(2), print(3)]);
        found.settle_at(2).unwrap();
        found.publishing(&[print(4)]).unwrap();
        assert_eq!(found.messages(0..3).unwrap(), [print(1), print(2), print(4)]);
        found.finish(3).unwrap();
        let found = journals.find("/", "orders").unwrap().unwrap();
        assert_eq!((found.confirmed(), found.leg.target_after), (2, Some(3)));
        assert!(journals.find("/", "others").unwrap().is_none());
    }

    #[test]
    fn a_torn_fingerprint_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let mut journal = journals.begin(leg()).unwrap();
        journal.publishing(&[print(1)]).unwrap();
        journal.seen.write_all_at(b"torn", HEAD + STEP).unwrap();
        assert_eq!(journals.find("/", "orders").unwrap().unwrap().published(), 1);
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Journals::open(folder.path()).unwrap();
        assert!(Journals::open(folder.path()).is_err());
        drop(first);
        assert!(Journals::open(folder.path()).is_ok());
    }

    #[test]
    fn what_is_damaged_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let journal = journals.begin(leg()).unwrap();
        journal.seen.set_len(4).unwrap();
        assert!(journals.find("/", "orders").is_err());
        fs::write(&journal.header, "{").unwrap();
        assert!(journals.find("/", "orders").is_err());
    }
}
