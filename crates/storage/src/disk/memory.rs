//! A disk in memory that behaves as badly as a real one may: it keeps what was written apart from what was synced,
//! loses, tears and rots on demand, and does the same again for the same seed.
//!
//! A "call" is one call of [`Disk`] or [`File`]; calls are counted from 1. [`Memory::crash_at`] switches the machine
//! off *during* that call: a write may or may not have reached the medium, a sync has not happened. Every later call
//! fails, and [`Memory::restart`] gives the disk the next boot finds.

mod file;

use file::MemoryFile;

use super::contents::Contents;
use super::{Disk, Entry};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Range,
    sync::Arc,
};

/// The unit in which a medium keeps or loses a write.
const SECTOR: u64 = 512;

/// What a power failure does to what was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is gone.
    Nothing,
    /// A prefix in the order of the calls survives, the last write torn anywhere.
    Prefix,
    /// Each sector and each directory change survives, is lost, or (sectors) holds garbage, independently.
    Sectors,
    /// All of it survives.
    Everything,
}

impl Outcome {
    /// All four.
    pub const ALL: [Outcome; 4] = [
        Outcome::Nothing,
        Outcome::Prefix,
        Outcome::Sectors,
        Outcome::Everything,
    ];
}

/// An error to answer one call with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A failed sync has lost the unsynced contents of its file, though reads still show them, as Linux does it.
    Io,
    /// ENOSPC; of a write a part has reached the file.
    Full,
}

/// The disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

/// A change that a power failure may still take back.
#[derive(Clone)]
enum Change {
    Write {
        file: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    Resize {
        file: usize,
        length: u64,
    },
    Link {
        name: String,
        file: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        name: String,
    },
}

impl Change {
    fn file(&self) -> Option<usize> {
        match self {
            Change::Write { file, .. } | Change::Resize { file, .. } => Some(*file),
            _ => None,
        }
    }
}

#[derive(Clone, Default)]
struct Inode {
    /// What a read shows.
    seen: Contents,
    /// What is on the medium for certain.
    durable: Contents,
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    /// Everything since the last sync of the file or directory concerned, in order, each with its number.
    pending: Vec<(u64, Change)>,
    /// Changes made so far.
    changes: u64,
    /// Syncs cover changes with lower numbers only.
    horizon: Option<u64>,
    calls: u64,
    /// For every call, whether it could change what the next boot finds.
    call_log: Vec<bool>,
    unreadable: Vec<(usize, Range<u64>)>,
    crash_at: Option<u64>,
    crashed: bool,
    faults: BTreeMap<u64, Fault>,
    capacity: Option<u64>,
    lying: bool,
    /// Files can be written past the cache.
    direct: bool,
    locked: bool,
    random: u64,
}

impl Memory {
    /// An empty disk whose behaviour follows from `seed`.
    pub fn new(seed: u64) -> Memory {
        Memory::from_state(State {
            random: seed,
            ..State::default()
        })
    }

    fn from_state(state: State) -> Memory {
        Memory {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The calls worth crashing at: those that change something, and the first one behind each of them. A crash during
    /// a later call that only reads leaves the same behind.
    pub fn crash_points(&self) -> Vec<u64> {
        let state = self.state.lock();
        let changes = |call: usize| call > 0 && state.call_log[call - 1];
        (1..=state.call_log.len())
            .filter(|call| changes(*call) || changes(*call - 1))
            .map(|call| call as u64)
            .collect()
    }

    /// Switch the machine off during call number `call`.
    pub fn crash_at(&self, call: u64) {
        self.state.lock().crash_at = Some(call);
    }

    /// Switch the machine off now.
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// Whether the machine is off.
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Answer call number `call` with an error.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state.lock().faults.insert(call, fault);
    }

    /// Bytes the disk holds; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes the disk can hold; `None` for no limit.
    pub fn capacity(&self) -> Option<u64> {
        self.state.lock().capacity
    }

    /// Bytes that its files take.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used()
    }

    /// Changes made so far: what a sync that begins now covers.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Until this is taken back: a sync was begun when so many changes had been made, and ends when it is called; it covers no others.
    pub fn set_horizon(&self, changes: Option<u64>) {
        self.state.lock().horizon = changes;
    }

    /// A disk that lies answers every sync with success and does nothing (also: fsync switched off).
    pub fn set_lying(&self, lying: bool) {
        self.state.lock().lying = lying;
    }

    /// Whether files can be written past the page cache, which is not the case at first.
    pub fn set_direct(&self, direct: bool) {
        self.state.lock().direct = direct;
    }

    /// The disk as the next boot finds it. The present one is left as it is, so that one crash can be given several
    /// outcomes.
    pub fn restart(&self, outcome: Outcome, seed: u64) -> Memory {
        let state = self.state.lock();
        let mut random = Random(seed ^ 0x5EED);
        let mut next = State {
            inodes: state.inodes.clone(),
            names_durable: state.names_durable.clone(),
            capacity: state.capacity,
            lying: state.lying,
            direct: state.direct,
            unreadable: state.unreadable.clone(),
            random: seed,
            ..State::default()
        };
        match outcome {
            Outcome::Nothing => {}
            Outcome::Everything => state
                .pending
                .iter()
                .for_each(|(_, change)| next.make_durable(change)),
            Outcome::Prefix => next.keep_prefix(&state.pending, &mut random),
            Outcome::Sectors => state
                .pending
                .iter()
                .for_each(|(_, change)| next.keep_some(change, &mut random)),
        }
        next.names = next.names_durable.clone();
        let named: BTreeSet<usize> = next.names.values().copied().collect();
        for (file, inode) in next.inodes.iter_mut().enumerate() {
            match named.contains(&file) {
                true => inode.seen = inode.durable.clone(),
                // Nobody has it open after a restart: its space is free.
                false => *inode = Inode::default(),
            }
        }
        Memory::from_state(next)
    }

    /// The process ends, the machine stays on (kill -9): what was written stays, the lock is free again.
    pub fn kill(&self) -> Memory {
        let mut next = self.state.lock().clone();
        next.locked = false;
        next.crashed = false;
        next.crash_at = None;
        next.faults.clear();
        next.calls = 0;
        next.call_log.clear();
        Memory::from_state(next)
    }

    /// Let every read that touches `range` of a file fail with EIO, as a bad block does.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn make_unreadable(&self, name: &str, range: Range<u64>) {
        let mut state = self.state.lock();
        let file = *state.names.get(name).expect("the file to make unreadable exists");
        state.unreadable.push((file, range));
    }

    /// Contents of a file, as a read would show them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state
            .names
            .get(name)
            .map(|file| state.inodes[*file].seen.to_vec())
    }

    /// Change the contents of a file on the medium behind everybody's back: bit rot, truncation, zeroed blocks.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn corrupt(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let file = *state.names.get(name).expect("the file to corrupt exists");
        let inode = &mut state.inodes[file];
        let mut bytes = inode.durable.to_vec();
        change(&mut bytes);
        inode.durable = Contents::from_vec(bytes);
        inode.seen = inode.durable.clone();
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Memory")
            .field("calls", &state.calls)
            .field("names", &state.names)
            .finish()
    }
}

impl State {
    /// Count a call. `Ok(true)` means: do it, and then the power goes.
    fn call(&mut self, changes: bool) -> io::Result<bool> {
        if self.crashed {
            return Err(off());
        }
        self.calls += 1;
        self.call_log.push(changes);
        if self.crash_at == Some(self.calls) {
            self.crashed = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn fault(&mut self) -> Option<Fault> {
        self.faults.remove(&self.calls)
    }

    /// A call that changes nothing durable by itself.
    fn plain_call(&mut self) -> io::Result<()> {
        if self.call(false)? {
            return Err(off());
        }
        match self.fault() {
            Some(fault) => Err(error_of(fault)),
            None => Ok(()),
        }
    }

    /// A call that changes what is seen now and what is durable later.
    fn change(&mut self, change: Change) -> io::Result<()> {
        let power_goes = self.call(true)?;
        if let Some(fault) = self.fault() {
            self.fail_change(change, fault);
            return Err(error_of(fault));
        }
        if self.growth_refused(&change) {
            return Err(error_of(Fault::Full));
        }
        self.see(&change);
        self.pend(change);
        if power_goes { Err(off()) } else { Ok(()) }
    }

    fn pend(&mut self, change: Change) {
        self.pending.push((self.changes, change));
        self.changes += 1;
    }

    /// Half of a failed write has happened; other changes have not.
    fn fail_change(&mut self, change: Change, _fault: Fault) {
        if let Change::Write {
            file,
            offset,
            mut bytes,
        } = change
        {
            bytes.truncate(bytes.len() / 2);
            let half = Change::Write { file, offset, bytes };
            self.see(&half);
            self.pend(half);
        }
    }

    fn growth_refused(&self, change: &Change) -> bool {
        let Some(capacity) = self.capacity else {
            return false;
        };
        let (file, end) = match change {
            Change::Write { file, offset, bytes } => (*file, offset + bytes.len() as u64),
            Change::Resize { file, length } => (*file, *length),
            _ => return false,
        };
        let growth = end.saturating_sub(self.inodes[file].seen.len());
        growth > 0 && self.used() + growth > capacity
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|file| self.inodes[*file].seen.len())
            .sum()
    }

    fn see(&mut self, change: &Change) {
        match change {
            Change::Write { file, offset, bytes } => self.inodes[*file].seen.write(*offset, bytes),
            Change::Resize { file, length } => self.inodes[*file].seen.resize(*length),
            other => name(&mut self.names, other),
        }
    }

    fn make_durable(&mut self, change: &Change) {
        match change {
            Change::Write { file, offset, bytes } => self.inodes[*file].durable.write(*offset, bytes),
            Change::Resize { file, length } => self.inodes[*file].durable.resize(*length),
            other => name(&mut self.names_durable, other),
        }
    }

    /// `concerns` tells which pending changes this sync covers.
    fn sync(&mut self, concerns: impl Fn(&Change) -> bool) -> io::Result<()> {
        let horizon = self.horizon.unwrap_or(u64::MAX);
        if self.call(true)? {
            return Err(off());
        }
        let fault = self.fault();
        if self.lying && fault.is_none() {
            return Ok(());
        }
        let (covered, rest) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(number, change)| *number < horizon && concerns(change));
        self.pending = rest;
        match fault {
            Some(fault) => Err(error_of(fault)),
            None => {
                let covered: Vec<(u64, Change)> = covered;
                covered.iter().for_each(|(_, change)| self.make_durable(change));
                Ok(())
            }
        }
    }

    fn keep_prefix(&mut self, pending: &[(u64, Change)], random: &mut Random) {
        let whole = random.below(pending.len() as u64 + 1) as usize;
        pending[..whole]
            .iter()
            .for_each(|(_, change)| self.make_durable(change));
        if let Some((_, Change::Write { file, offset, bytes })) = pending.get(whole) {
            // Mostly somewhere in what was really written, rather than in the zeros that fill up a page.
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            let most = if random.below(4) == 0 {
                bytes.len()
            } else {
                written
            };
            let kept = random.below(most as u64 + 1) as usize;
            self.inodes[*file].durable.write(*offset, &bytes[..kept]);
        }
    }

    fn keep_some(&mut self, change: &Change, random: &mut Random) {
        match change {
            Change::Write { file, offset, bytes } => self.keep_sectors(*file, *offset, bytes, random),
            other if random.below(2) == 0 => self.make_durable(other),
            _ => {}
        }
    }

    /// Each sector that the write touches is kept, lost, or turned to garbage as a whole: also those bytes of it that
    /// were durable before. Whoever relies on an already durable sector must not write to it again.
    fn keep_sectors(&mut self, file: usize, offset: u64, bytes: &[u8], random: &mut Random) {
        let end = offset + bytes.len() as u64;
        let mut sector = offset / SECTOR * SECTOR;
        while sector < end {
            let from = sector.max(offset);
            let to = (sector + SECTOR).min(end);
            let durable = &mut self.inodes[file].durable;
            match random.below(5) {
                0 | 1 => {}
                2 | 3 => durable.write(from, &bytes[(from - offset) as usize..(to - offset) as usize]),
                _ => {
                    let garbage: Vec<u8> = (0..to - sector).map(|_| random.next() as u8).collect();
                    durable.write(sector, &garbage);
                }
            }
            sector += SECTOR;
        }
    }
}

fn name(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link { name, file } => {
            names.insert(name.clone(), *file);
        }
        Change::Rename { from, to } => {
            // After a crash that lost the creation there is nothing to rename.
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Unlink { name } => {
            names.remove(name);
        }
        Change::Write { .. } | Change::Resize { .. } => unreachable!("contents are not names"),
    }
}

fn off() -> io::Error {
    io::Error::other("the machine is off")
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Io => io::Error::from_raw_os_error(5),
        Fault::Full => io::Error::from(io::ErrorKind::StorageFull),
    }
}

/// splitmix64: small, seeded, good enough to choose sectors.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Disk for Memory {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut state = self.state.lock();
        if state.names.contains_key(name) {
            state.plain_call()?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(Change::Link {
            name: name.to_owned(),
            file,
        })?;
        Ok(MemoryFile {
            disk: self.clone(),
            file,
            direct: false,
        })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let mut state = self.state.lock();
        state.plain_call()?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(MemoryFile {
            disk: self.clone(),
            file,
            direct: false,
        })
    }

    fn open_direct(&self, name: &str) -> io::Result<Option<MemoryFile>> {
        if !self.state.lock().direct {
            return Ok(None);
        }
        let file = self.open(name)?;
        Ok(Some(MemoryFile { direct: true, ..file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(from) {
            state.plain_call()?;
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(name) {
            state.plain_call()?;
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Unlink {
            name: name.to_owned(),
        })
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut state = self.state.lock();
        state.plain_call()?;
        let length = |file: &usize| state.inodes[*file].seen.len();
        Ok(state
            .names
            .iter()
            .map(|(name, file)| Entry {
                name: name.clone(),
                length: length(file),
            })
            .collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state.lock().sync(|change| change.file().is_none())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.plain_call()?;
        Ok(state.capacity.unwrap_or(u64::MAX).saturating_sub(state.used()))
    }

    fn lock(&self) -> io::Result<Option<MemoryLock>> {
        let mut state = self.state.lock();
        state.plain_call()?;
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(MemoryLock { disk: self.clone() }))
    }

    fn random(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        let mut random = Random(state.random);
        let number = random.next();
        state.random = random.0;
        Ok(number)
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

/// Frees the disk when dropped.
#[derive(Debug)]
pub struct MemoryLock {
    disk: Memory,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.state.lock().locked = false;
    }
}
