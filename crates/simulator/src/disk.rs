//! The disk that a node under simulation gets: [`Memory`], watched. Each call is a moment at which others may get their turn, is written
//! down, and a sync takes time. Known bugs of the kind "a sync is left out" are put in here.
//!
//! What is lost and torn is [`Memory`]'s affair.

use std::io;
use std::sync::Arc;

use everack_storage::disk::{Disk, Entry, File, Memory};
use parking_lot::Mutex;

use crate::flaw::Flaw;
use crate::random::Random;
use crate::trace::Fold;
use crate::turn;

type MemoryFile = <Memory as Disk>::File;
type MemoryLock = <Memory as Disk>::Lock;

/// See the module documentation. Clones are the same disk.
#[derive(Clone)]
pub struct Watched {
    memory: Memory,
    watch: Arc<Mutex<Watch>>,
}

/// How long syncs take, in simulated microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The least.
    pub least_us: u64,
    /// The most, most of the time.
    pub most_us: u64,
    /// One sync in so many takes up to ten times that; 0 is never.
    pub hiccup_in: u64,
}

/// What has been seen of the disk so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// All calls, folded.
    pub calls: Fold,
    /// Simulated time that syncs took since this was last set to 0.
    pub elapsed_us: u64,
    /// Reads of contents.
    pub reads: u64,
    /// Calls answered with EIO.
    pub broken: u64,
    /// Calls answered with ENOSPC.
    pub full: u64,
    /// Segments that got their name.
    pub segments_begun: u64,
    /// Segments whose file was kept to be written over.
    pub segments_recycled: u64,
    /// Segments whose file was removed.
    pub segments_removed: u64,
    /// Segments set aside because of damage.
    pub segments_set_aside: u64,
    /// Checkpoints that got their name.
    pub checkpoints: u64,
}

struct Watch {
    seen: Seen,
    pace: Pace,
    random: Random,
    flaw: Flaw,
}

impl Pace {
    /// No time at all, for stories in which nothing happens at the same time.
    pub const INSTANT: Pace = Pace {
        least_us: 0,
        most_us: 0,
        hiccup_in: 0,
    };

    fn draw(self, random: &mut Random) -> u64 {
        let usual = random.between(self.least_us, self.most_us);
        if self.hiccup_in > 0 && random.once_in(self.hiccup_in) {
            usual + random.below(9 * self.most_us + 1)
        } else {
            usual
        }
    }
}

impl Watched {
    /// Watches `memory`.
    pub fn new(memory: &Memory, pace: Pace, seed: u64, flaw: Flaw) -> Self {
        let watch = Watch {
            seen: Seen::default(),
            pace,
            random: Random::new(seed),
            flaw,
        };
        Self {
            memory: memory.clone(),
            watch: Arc::new(Mutex::new(watch)),
        }
    }

    /// What has been seen so far.
    pub fn seen(&self) -> Seen {
        self.watch.lock().seen.clone()
    }

    /// The time that syncs took since this was last asked.
    pub fn take_elapsed(&self) -> u64 {
        std::mem::take(&mut self.watch.lock().seen.elapsed_us)
    }

    /// How long the next sync is going to take.
    pub fn sync_micros(&self) -> u64 {
        let watch = &mut *self.watch.lock();
        watch.pace.draw(&mut watch.random)
    }

    /// Reads of contents so far, and calls answered with EIO.
    pub fn reads_and_errors(&self) -> (u64, u64) {
        let seen = &self.watch.lock().seen;
        (seen.reads, seen.broken)
    }

    /// The disk below.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn call<T>(&self, what: u8, name: &str, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        turn::others(0);
        let answer = call();
        self.note(what, name.as_bytes(), 0, &answer);
        answer
    }

    fn note<T>(&self, what: u8, about: &[u8], at: u64, answer: &io::Result<T>) {
        let seen = &mut self.watch.lock().seen;
        seen.reads += u64::from(what == b'r');
        seen.calls.number(u64::from(what) << 56 | at);
        seen.calls.bytes(about);
        if let Err(error) = answer {
            seen.calls.number(u64::MAX);
            seen.broken += u64::from(error.raw_os_error() == Some(5));
            seen.full += u64::from(everack_storage::disk::is_full(error));
        }
    }

    fn count_rename(&self, from: &str, to: &str) {
        let seen = &mut self.watch.lock().seen;
        let (old, new) = (from.starts_with("segment-"), to.starts_with("segment-"));
        seen.segments_begun += u64::from(new);
        seen.segments_set_aside += u64::from(old && to.starts_with("damaged-"));
        seen.segments_recycled += u64::from(old && !new && !to.starts_with("damaged-"));
        seen.checkpoints += u64::from(to.starts_with("checkpoint-") && !to.contains("copy"));
    }

    /// Others get on while the disk works; then it has worked.
    fn sync(&self, what: u8, name: &str, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let micros = self.sync_micros();
        self.watch.lock().seen.elapsed_us += micros;
        turn::others(micros);
        let flaw = self.watch.lock().flaw;
        let left_out = match flaw {
            Flaw::SyncsNoCheckpoint => name.starts_with("checkpoint"),
            Flaw::SyncsNoNames => what == b'D',
            _ => false,
        };
        let answer = if left_out { Ok(()) } else { sync() };
        self.note(what, name.as_bytes(), 0, &answer);
        answer
    }
}

impl Disk for Watched {
    type File = WatchedFile;
    type Lock = MemoryLock;

    fn create(&self, name: &str) -> io::Result<WatchedFile> {
        let file = self.call(b'c', name, || self.memory.create(name))?;
        Ok(self.file(name, file))
    }

    fn open(&self, name: &str) -> io::Result<WatchedFile> {
        let file = self.call(b'o', name, || self.memory.open(name))?;
        Ok(self.file(name, file))
    }

    fn open_direct(&self, name: &str) -> io::Result<Option<WatchedFile>> {
        let file = self.call(b'd', name, || self.memory.open_direct(name))?;
        Ok(file.map(|file| self.file(name, file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(b'm', to, || self.memory.rename(from, to))?;
        self.count_rename(from, to);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(b'u', name, || self.memory.remove(name))?;
        self.watch.lock().seen.segments_removed += u64::from(name.starts_with("segment-"));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        self.call(b'l', "", || self.memory.list())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.sync(b'D', "", || self.memory.sync_directory())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.memory.free_bytes()
    }

    fn lock(&self) -> io::Result<Option<MemoryLock>> {
        self.call(b'L', "", || self.memory.lock())
    }

    fn random(&self) -> io::Result<u64> {
        self.memory.random()
    }

    fn place(&self) -> String {
        self.memory.place()
    }
}

impl Watched {
    fn file(&self, name: &str, file: MemoryFile) -> WatchedFile {
        WatchedFile {
            disk: self.clone(),
            name: name.to_owned(),
            file,
        }
    }
}

/// A file of [`Watched`], under the name by which it was opened.
pub struct WatchedFile {
    disk: Watched,
    name: String,
    file: MemoryFile,
}

impl File for WatchedFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.call(b'n', &self.name, || self.file.length())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        turn::others(0);
        let bytes = buffer.len();
        let answer = self.file.read_at(buffer, offset);
        self.disk.note(b'r', &bytes.to_le_bytes(), offset, &answer);
        answer
    }

    // The instruction counter knows it by its name.
    #[inline(never)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        turn::others(0);
        let answer = self.file.write_at(bytes, offset);
        self.disk.note(b'w', bytes, offset, &answer);
        answer
    }

    /// Nobody gets on meanwhile: who wants to read the segment would wait for this write.
    fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let answer = self.file.write_parts_at(parts, offset);
        self.disk.note(b'p', &parts.concat(), offset, &answer);
        answer
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(b's', &self.name, || self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.sync(b'S', &self.name, || self.file.sync_all())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        turn::others(0);
        let answer = self.file.truncate(length);
        self.disk.note(b't', self.name.as_bytes(), length, &answer);
        answer
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        turn::others(0);
        let answer = self.file.allocate(length);
        self.disk.note(b'a', self.name.as_bytes(), length, &answer);
        answer
    }

    fn written_bytes(&self) -> io::Result<u64> {
        self.disk.call(b'h', &self.name, || self.file.written_bytes())
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.disk.call(b'f', &self.name, || self.file.forget_cached())
    }
}
