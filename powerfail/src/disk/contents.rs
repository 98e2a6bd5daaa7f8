//! The bytes of one file: what is durable, what is written and not synced, and what a reader sees of both.
//!
//! A change becomes durable by a sync (`sync`), by the kernel's own writing back (the same call), or by luck in a power
//! cut (`survive`, `survive_sectors`). It knows nothing of names.

use super::medium::Medium;
use super::model::Model;
use super::overlay::Overlay;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;

/// The unit in which a medium keeps or loses a write.
pub const SECTOR_BYTES: u64 = 512;

/// How often a place for a turned bit is looked for.
const FLIP_TRIES: usize = 64;

type Sector = [u8; SECTOR_BYTES as usize];

/// A change of a file that a power cut may still take back.
#[derive(Debug)]
struct Change {
    /// Its place in the order of all changes of the file system.
    number: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Write { offset: u64, bytes: Bytes },
    Resize { length: u64 },
}

impl What {
    fn bytes(&self) -> u64 {
        match self {
            What::Write { bytes, .. } => bytes.len() as u64,
            What::Resize { .. } => 0,
        }
    }

    /// The length that a file of `length` has after it.
    fn length(&self, length: u64) -> u64 {
        match self {
            What::Write { offset, bytes } => length.max(offset + bytes.len() as u64),
            What::Resize { length } => *length,
        }
    }
}

/// A file's bytes.
#[derive(Debug)]
pub(super) struct Contents {
    medium: Medium,
    length_durable: u64,
    overlay: Overlay,
    length: u64,
    /// In the order of their numbers.
    pending: Vec<Change>,
    pending_bytes: u64,
    /// Changes that a failed sync has dropped: shown while the file is open, never written any more.
    dropped: HashSet<u64>,
}

impl Contents {
    /// An empty file that keeps its durable bytes at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            medium: Medium::new(path),
            length_durable: 0,
            overlay: Overlay::default(),
            length: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            dropped: HashSet::new(),
        }
    }

    /// As a reader sees it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn length_durable(&self) -> u64 {
        self.length_durable
    }

    /// Bytes written that a power cut may take.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// The numbers of the changes that a power cut may take, rising.
    pub(super) fn pending(&self) -> impl Iterator<Item = u64> + '_ {
        self.pending.iter().map(|change| change.number)
    }

    /// Up to `length` bytes from `offset` on; fewer at the end of the file.
    pub(super) fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let end = offset.saturating_add(length).min(self.length);
        let mut buffer = vec![0; end.saturating_sub(offset) as usize];
        if !buffer.is_empty() {
            self.medium.read(offset, &mut buffer)?;
            self.overlay.read(offset, &mut buffer);
        }
        Ok(buffer)
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.overlay.write(offset, bytes.clone(), number);
        self.pend(number, What::Write { offset, bytes });
    }

    pub(super) fn resize(&mut self, number: u64, length: u64) {
        let end = self.length.max(self.length_durable);
        self.overlay.zero(length, end, number);
        self.pend(number, What::Resize { length });
    }

    fn pend(&mut self, number: u64, what: What) {
        self.length = what.length(self.length);
        self.pending_bytes += what.bytes();
        self.pending.push(Change { number, what });
    }

    /// Everything that is pending becomes durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for change in std::mem::take(&mut self.pending) {
            self.apply(&change.what)?;
        }
        self.pending_bytes = 0;
        let dropped = &self.dropped;
        self.overlay.forget(|number| !dropped.contains(&number));
        Ok(())
    }

    fn apply(&mut self, what: &What) -> io::Result<()> {
        match what {
            What::Write { offset, bytes } => self.medium.write(*offset, bytes)?,
            What::Resize { length } => self.medium.resize(*length)?,
        }
        self.length_durable = what.length(self.length_durable);
        Ok(())
    }

    /// What Linux does when a sync fails: what was to be written counts as clean, is still shown, and is never
    /// written. A later sync has nothing to do and says that all is well.
    pub(super) fn drop_pending(&mut self) {
        self.dropped
            .extend(self.pending.iter().map(|change| change.number));
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Nobody has it open: what a failed sync has dropped leaves the cache, and the medium's bytes are shown again.
    pub(super) fn evict(&mut self) {
        if self.dropped.is_empty() {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.overlay.forget(|number| dropped.contains(&number));
        let length = self.length_durable;
        self.length = self
            .pending
            .iter()
            .fold(length, |length, change| change.what.length(length));
    }

    /// The power goes: changes before `number` survive; of the change with that number, if it is a write, `torn` of its
    /// bytes (as a fraction).
    pub(super) fn survive(&mut self, number: u64, torn: Option<f64>) -> io::Result<()> {
        for change in std::mem::take(&mut self.pending) {
            if change.number < number {
                self.apply(&change.what)?;
            } else if change.number == number
                && let (Some(torn), What::Write { offset, bytes }) = (torn, change.what)
            {
                let kept = (bytes.len() as f64 * torn) as usize;
                let bytes = bytes.slice(..kept.min(bytes.len()));
                self.apply(&What::Write { offset, bytes })?;
            }
        }
        Ok(())
    }

    /// The power goes: each sector that was written to is old, new or garbage, and each change of the length happened or
    /// did not. What happens to one says nothing about another, as far as the model leaves that open.
    pub(super) fn survive_sectors(&mut self, luck: Luck, random: &mut fastrand::Rng) -> io::Result<()> {
        let mut wreck = Wreck {
            luck,
            images: BTreeMap::new(),
            survivors: BTreeMap::new(),
            zeros_from: u64::MAX,
            length_seen: self.length_durable,
            length: self.length_durable,
            tail_is_lost: false,
        };
        for change in std::mem::take(&mut self.pending) {
            match change.what {
                What::Write { offset, bytes } => wreck.write(&self.medium, offset, &bytes, random)?,
                What::Resize { length } => wreck.resize(&mut self.medium, length, random)?,
            }
        }
        for (sector, image) in &wreck.survivors {
            let room = wreck.length.saturating_sub(sector * SECTOR_BYTES);
            let kept = room.min(SECTOR_BYTES) as usize;
            if kept > 0 {
                self.medium.write(sector * SECTOR_BYTES, &image[..kept])?;
            }
        }
        if !wreck.survivors.is_empty() || wreck.length != self.length_durable {
            self.medium.resize(wreck.length)?;
        }
        self.length_durable = wreck.length;
        Ok(())
    }

    /// The power is back: only what is durable is there.
    pub(super) fn reboot(&mut self) {
        self.overlay = Overlay::default();
        self.pending.clear();
        self.pending_bytes = 0;
        self.dropped.clear();
        self.length = self.length_durable;
    }

    /// A random durable byte; one that is not zero if a few tries find one, for files are often longer than their use.
    pub(super) fn place_worth_flipping(&self, random: &mut fastrand::Rng) -> io::Result<u64> {
        let mut offset = 0;
        for _ in 0..FLIP_TRIES {
            offset = random.u64(..self.length_durable.max(1));
            let mut byte = [0];
            self.medium.read(offset, &mut byte)?;
            if byte[0] != 0 {
                break;
            }
        }
        Ok(offset)
    }

    /// Turns over one bit at rest. A reader sees it unless the byte was written since.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> io::Result<()> {
        let mut byte = [0];
        self.medium.read(offset, &mut byte)?;
        byte[0] ^= 1 << (bit % 8);
        self.medium.write(offset, &byte)
    }
}

/// How a power cut treats single sectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Luck {
    /// How likely a sector's new bytes are there.
    pub(super) survives: f64,
    /// How likely a sector is garbage.
    pub(super) garbage: f64,
    pub(super) model: Model,
}

/// A file in the moment when the power goes.
struct Wreck {
    luck: Luck,
    /// Sectors as they would be had everything so far survived.
    images: BTreeMap<u64, Sector>,
    /// Sectors whose bytes on the medium change.
    survivors: BTreeMap<u64, Sector>,
    /// Behind this the images are zero where nothing was written since: the shortest length the file had.
    zeros_from: u64,
    length_seen: u64,
    length: u64,
    /// With ext4, what was appended behind something lost is lost too.
    tail_is_lost: bool,
}

impl Wreck {
    fn write(
        &mut self,
        medium: &Medium,
        offset: u64,
        bytes: &[u8],
        random: &mut fastrand::Rng,
    ) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let extends = end > self.length_seen;
        self.length_seen = self.length_seen.max(end);
        let whole = self.luck.model == Model::Ext4 && extends;
        let grows = extends && random.f64() < self.luck.survives && !(whole && self.tail_is_lost);
        self.tail_is_lost |= whole && !grows;
        if grows {
            self.length = self.length.max(end);
        }
        let mut at = offset;
        while at < end {
            let sector = at / SECTOR_BYTES;
            let to = ((sector + 1) * SECTOR_BYTES).min(end);
            let mut image = self.image(medium, sector)?;
            let inside = (at - sector * SECTOR_BYTES) as usize;
            let part = &bytes[(at - offset) as usize..(to - offset) as usize];
            image[inside..inside + part.len()].copy_from_slice(part);
            self.images.insert(sector, image);
            if whole {
                if grows {
                    self.survivors.insert(sector, image);
                }
            } else {
                self.fate(sector, image, random);
            }
            at = to;
        }
        Ok(())
    }

    fn fate(&mut self, sector: u64, mut image: Sector, random: &mut fastrand::Rng) {
        let dice = random.f64();
        if dice < self.luck.garbage {
            random.fill(&mut image);
        } else if dice >= self.luck.garbage + self.luck.survives {
            return;
        }
        self.survivors.insert(sector, image);
    }

    /// A sector with everything in it that was written before this moment.
    fn image(&self, medium: &Medium, sector: u64) -> io::Result<Sector> {
        if let Some(image) = self.images.get(&sector) {
            return Ok(*image);
        }
        let mut image = [0; SECTOR_BYTES as usize];
        medium.read(sector * SECTOR_BYTES, &mut image)?;
        let kept = self.zeros_from.saturating_sub(sector * SECTOR_BYTES);
        image[kept.min(SECTOR_BYTES) as usize..].fill(0);
        Ok(image)
    }

    fn resize(&mut self, medium: &mut Medium, length: u64, random: &mut fastrand::Rng) -> io::Result<()> {
        self.zeros_from = self.zeros_from.min(length);
        self.length_seen = length;
        cut_behind(&mut self.images, length);
        if random.bool() {
            cut_behind(&mut self.survivors, length);
            // What lies behind must read as zeros if the file grows again.
            medium.resize(length)?;
            self.length = length;
        }
        Ok(())
    }
}

/// What lies behind `length` is zero from now on.
fn cut_behind(sectors: &mut BTreeMap<u64, Sector>, length: u64) {
    let boundary = length / SECTOR_BYTES;
    sectors.split_off(&length.div_ceil(SECTOR_BYTES));
    if let Some(image) = sectors.get_mut(&boundary) {
        image[(length % SECTOR_BYTES) as usize..].fill(0);
    }
}
