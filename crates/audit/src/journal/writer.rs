//! Writes the journal: one thread syncs whatever all clients have gathered meanwhile.
//!
//! ```text
//! append ──> gathered ──> one write, one fdatasync ──> everybody who waits goes on
//!               ^ what is appended during the sync is gathered for the next one
//! ```
//!
//! Entries get their time and their order under one lock. The disk is used only when somebody waits or what was gathered
//! is old, so that an audit does not take the disk from the broker that it watches more than it must.

use super::encoding::{self, BLOCK_BYTES_MAX, BLOCK_HEAD, MAGIC};
use super::entry::Entry;
use anyhow::{Context, anyhow, ensure};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Entries that nobody waits for are synced at this age.
const AGE_MAX: Duration = Duration::from_millis(5);

/// A journal that is being written. Entries can be appended from any thread.
pub struct Journal {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    synced: watch::Receiver<Progress>,
}

/// How far the journal is on disk.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Blocks up to this number are.
    block: u64,
    /// Why it will not get any further.
    failed: Option<String>,
}

struct Shared {
    gathered: Mutex<Gathered>,
    wake: Condvar,
    start: Instant,
}

/// Entries that are not on disk yet.
struct Gathered {
    bytes: Vec<u8>,
    /// The time of the first and of the last of them, in microseconds.
    first: u64,
    last: u64,
    /// The number that their block will have.
    block: u64,
    /// Somebody waits for it.
    wanted: bool,
    closing: bool,
}

impl Journal {
    /// Begins a new journal; a journal is never written over.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
        file.write_all(&MAGIC)?;
        file.sync_all()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        let shared = Arc::new(Shared {
            gathered: Mutex::new(Gathered {
                bytes: Vec::new(),
                first: 0,
                last: 0,
                block: 1,
                wanted: false,
                closing: false,
            }),
            wake: Condvar::new(),
            start: Instant::now(),
        });
        let (progress, synced) = watch::channel(Progress::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            file,
            progress,
            longest: Duration::ZERO,
            durable_longest: 0,
        };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(thread)),
            synced,
        })
    }

    /// Appends entries that belong together. It never waits for the disk; see [`Journal::synced`].
    pub fn append(&self, entries: &[Entry]) -> u64 {
        let mut gathered = self.shared.lock();
        for entry in entries {
            gathered.push(self.shared.micros(), entry);
        }
        // The writer sleeps without a deadline while there is nothing.
        self.shared.wake.notify_one();
        gathered.block
    }

    /// Appends entries and waits until they are on disk.
    pub async fn synced(&self, entries: &[Entry]) -> anyhow::Result<()> {
        let block = {
            let mut gathered = self.shared.lock();
            for entry in entries {
                gathered.push(self.shared.micros(), entry);
            }
            gathered.wanted = true;
            self.shared.wake.notify_one();
            gathered.block
        };
        let mut synced = self.synced.clone();
        let progress = synced
            .wait_for(|progress| progress.block >= block || progress.failed.is_some())
            .await
            .context("the journal's writer is gone")?;
        match &progress.failed {
            Some(failed) => Err(anyhow!("the journal cannot be written: {failed}")),
            None => Ok(()),
        }
    }

    /// Microseconds since the journal was begun.
    pub fn micros(&self) -> u64 {
        self.shared.micros()
    }

    /// Writes the rest and ends; an error here or before means that the journal is not whole.
    pub fn close(&self) -> anyhow::Result<()> {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let writer = self.writer.lock().ok().and_then(|mut writer| writer.take());
        let ended = writer.is_none_or(|writer| writer.join().is_ok());
        ensure!(ended, "the journal's writer panicked");
        match &self.synced.borrow().failed {
            Some(failed) => Err(anyhow!("the journal cannot be written: {failed}")),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Whoever needs to know whether it worked has called it before.
        let _ = self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered
            .lock()
            .expect("nobody panics while holding the journal")
    }

    fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

impl Gathered {
    fn push(&mut self, micros: u64, entry: &Entry) {
        if self.bytes.is_empty() {
            self.first = micros;
            self.last = micros;
        }
        encoding::encode(&mut self.bytes, micros - self.last, entry);
        self.last = micros;
    }
}

struct Writer {
    shared: Arc<Shared>,
    file: File,
    progress: watch::Sender<Progress>,
    /// The longest fdatasync, and the longest time from an entry to its being on disk.
    longest: Duration,
    durable_longest: u64,
}

impl Writer {
    fn run(mut self) {
        let mut block = Vec::new();
        loop {
            let (number, last) = self.gather(&mut block);
            if let Err(error) = self.write(&mut block) {
                self.progress
                    .send_modify(|progress| progress.failed = Some(error.to_string()));
                return;
            }
            self.progress.send_modify(|progress| progress.block = number);
            if last {
                return;
            }
        }
    }

    /// Waits until something is worth a sync, and takes it: the block with its head, its number, and whether it is the last.
    fn gather(&self, block: &mut Vec<u8>) -> (u64, bool) {
        let mut gathered = self.shared.lock();
        while !gathered.wanted && !gathered.closing {
            if gathered.bytes.is_empty() {
                gathered = self.shared.wake.wait(gathered).expect("nobody panics with it");
                continue;
            }
            let age = Duration::from_micros(self.shared.micros().saturating_sub(gathered.first));
            let Some(rest) = AGE_MAX.checked_sub(age).filter(|rest| !rest.is_zero()) else {
                break;
            };
            let waited = self.shared.wake.wait_timeout(gathered, rest);
            gathered = waited.expect("nobody panics with it").0;
        }
        block.clear();
        block.extend([0; 8]);
        block.extend(gathered.first.to_le_bytes());
        block.append(&mut gathered.bytes);
        let number = gathered.block;
        gathered.block += 1;
        gathered.wanted = false;
        (number, gathered.closing)
    }

    fn write(&mut self, block: &mut [u8]) -> anyhow::Result<()> {
        let length = block.len() - BLOCK_HEAD;
        if length == 0 {
            return Ok(());
        }
        ensure!(
            length <= BLOCK_BYTES_MAX,
            "the disk is too slow: {length} bytes wait"
        );
        let checksum = crc32fast::hash(&block[8..]);
        block[..4].copy_from_slice(&(length as u32).to_le_bytes());
        block[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all(block)?;
        let begin = Instant::now();
        self.file.sync_data()?;
        let took = begin.elapsed();
        if took > self.longest {
            self.longest = took;
            let micros = took.as_micros() as u64;
            self.note(&Entry::Synced { micros });
        }
        let first = u64::from_le_bytes(block[8..BLOCK_HEAD].try_into().expect("eight bytes"));
        let micros = self.shared.micros().saturating_sub(first);
        if micros > self.durable_longest {
            self.durable_longest = micros;
            self.note(&Entry::Durable { micros });
        }
        Ok(())
    }

    /// Writes down something about the journal itself.
    fn note(&self, entry: &Entry) {
        self.shared.lock().push(self.shared.micros(), entry);
    }
}
