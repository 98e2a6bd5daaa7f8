//! The power cut and what it leaves; bits turned over at rest; and the kernel's own writing back, which bounds what can
//! be pending.

use super::contents::Luck;
use super::inode::{Inode, Number, ROOT};
use super::{Disk, Model, Outcome, host};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// How likely a sector survives, one of these for a whole power cut: some cuts take nearly all, some nearly nothing.
const SURVIVES: [f64; 3] = [0.1, 0.4, 0.9];
/// How likely a sector that was being written is garbage.
const GARBAGE: f64 = 0.1;

/// What a power cut met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Counted from 1.
    pub cut: u64,
    /// What it did with unsynced changes.
    pub outcome: Outcome,
    /// The same seed does the same to the same changes.
    pub seed: u64,
    /// Bytes that were unsynced.
    pub unsynced_bytes: u64,
    /// Writes and changes of a length that were unsynced.
    pub unsynced_changes: u64,
    /// Changes of names that were unsynced.
    pub unsynced_names: u64,
}

/// A bit that was turned over at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flipped {
    /// The file, from the mount point on.
    pub path: PathBuf,
    /// The byte.
    pub offset: u64,
    /// The bit in it, 0 the lowest.
    pub bit: u8,
}

impl Disk {
    /// The power goes. Every call fails until [`Disk::cut`] decides what is left, and brings it back.
    pub fn switch_off(&mut self) {
        self.off = true;
    }

    /// The power goes, if it has not gone before, and comes back. Every handle from before is dead. Whoever still runs
    /// could find its way by path, though: switch off first, end it, and cut then.
    pub fn cut(&mut self, outcome: Outcome, seed: u64) -> io::Result<Cut> {
        let mut random = fastrand::Rng::with_seed(seed);
        let status = self.status();
        match outcome {
            Outcome::Nothing => {}
            Outcome::Everything => self.keep_first(u64::MAX, None)?,
            Outcome::Prefix => {
                let boundary = self.moment(&mut random);
                let torn = random.bool().then(|| random.f64());
                self.keep_first(boundary, torn)?;
            }
            Outcome::Sectors => self.keep_some(&mut random)?,
        }
        self.reboot();
        self.figures.cuts += 1;
        Ok(Cut {
            cut: self.figures.cuts,
            outcome,
            seed,
            unsynced_bytes: status.unsynced_bytes,
            unsynced_changes: status.unsynced_changes,
            unsynced_names: status.unsynced_names,
        })
    }

    /// The number of a random pending change, or one behind the last.
    fn moment(&self, random: &mut fastrand::Rng) -> u64 {
        let files = self.inodes.values().filter_map(Inode::file);
        let mut numbers: Vec<u64> = files.flat_map(|contents| contents.pending()).collect();
        numbers.extend(self.renamings.iter().map(|renaming| renaming.number));
        numbers.sort_unstable();
        let at = random.usize(0..=numbers.len());
        numbers.get(at).copied().unwrap_or(u64::MAX)
    }

    fn keep_first(&mut self, boundary: u64, torn: Option<f64>) -> io::Result<()> {
        for inode in self.inodes.values_mut() {
            if let Some(contents) = inode.file_mut() {
                contents.survive(boundary, torn)?;
            }
        }
        for renaming in std::mem::take(&mut self.renamings) {
            if renaming.number < boundary {
                self.make_name_durable(&renaming);
            }
        }
        Ok(())
    }

    fn keep_some(&mut self, random: &mut fastrand::Rng) -> io::Result<()> {
        let model = self.settings.model;
        let luck = Luck {
            survives: SURVIVES[random.usize(..SURVIVES.len())],
            garbage: if model == Model::Posix { GARBAGE } else { 0.0 },
            model,
        };
        // In an order that the seed alone decides, not the map.
        let mut numbers: Vec<Number> = self.inodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(contents) = self.inodes.get_mut(&number).and_then(Inode::file_mut) {
                contents.survive_sectors(luck, random)?;
            }
        }
        let renamings = std::mem::take(&mut self.renamings);
        let first = random.usize(0..=renamings.len());
        for (at, renaming) in renamings.iter().enumerate() {
            let survives = match model {
                Model::Posix => random.bool(),
                Model::Ext4 => at < first,
            };
            if survives {
                self.make_name_durable(renaming);
            }
        }
        Ok(())
    }

    /// What is seen is what is durable, as far as the root leads to it.
    fn reboot(&mut self) {
        self.epoch += 1;
        self.off = false;
        self.renamings.clear();
        self.unsynced_bytes = 0;
        let mut links: HashMap<Number, u32> = HashMap::from([(ROOT, 1)]);
        let mut parents = HashMap::from([(ROOT, ROOT)]);
        let mut folders = vec![ROOT];
        while let Some(number) = folders.pop() {
            let Some(folder) = self.inodes.get_mut(&number).and_then(Inode::folder_mut) else {
                continue;
            };
            folder.names = folder.durable.clone();
            folder.parent = parents[&number];
            for child in folder.names.values() {
                let seen = links.entry(*child).or_default();
                *seen += 1;
                if *seen == 1 {
                    parents.insert(*child, number);
                    folders.push(*child);
                }
            }
        }
        self.inodes.retain(|number, _| links.contains_key(number));
        for (number, inode) in &mut self.inodes {
            (inode.links, inode.links_durable) = (links[number], links[number]);
            (inode.mentions, inode.opens) = (0, 0);
            if let Some(contents) = inode.file_mut() {
                contents.reboot();
            }
        }
    }

    /// Turns over bits at rest in files whose path contains `part`, each at a random place that holds anything but
    /// zeros if there is one. Which bits.
    pub fn flip(&mut self, bits: u64, part: &str, seed: u64) -> io::Result<Vec<Flipped>> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut files = self.files();
        files.retain(|(path, number)| {
            let contents = self.inodes.get(number).and_then(Inode::file);
            path.to_string_lossy().contains(part)
                && contents.is_some_and(|contents| contents.length_durable() > 0)
        });
        let mut flipped = Vec::new();
        for _ in 0..bits {
            if files.is_empty() {
                break;
            }
            let (path, number) = files[random.usize(..files.len())].clone();
            let Some(contents) = self.inodes.get_mut(&number).and_then(Inode::file_mut) else {
                continue;
            };
            let offset = contents.place_worth_flipping(&mut random)?;
            let bit = random.u8(..8);
            contents.flip(offset, bit)?;
            flipped.push(Flipped { path, offset, bit });
        }
        Ok(flipped)
    }

    /// Every file with its path, in order.
    fn files(&self) -> Vec<(PathBuf, Number)> {
        let mut found = Vec::new();
        let mut visited = HashSet::new();
        let mut waiting = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, number)) = waiting.pop() {
            let Some(inode) = self.inodes.get(&number).filter(|_| visited.insert(number)) else {
                continue;
            };
            match inode.folder() {
                Some(folder) => {
                    let child = |(name, number): (&_, &Number)| (Path::join(&path, name), *number);
                    waiting.extend(folder.names.iter().map(child));
                }
                None => found.push((path, number)),
            }
        }
        found.sort();
        found
    }

    /// Too much is pending: the file that has waited longest is written back, as the kernel does it.
    pub(super) fn write_back(&mut self) -> Result<(), Errno> {
        while self.unsynced_bytes > self.settings.unsynced_bytes_max {
            let oldest = |inode: &Inode| inode.file().and_then(|contents| contents.pending().next());
            let candidates = self
                .inodes
                .iter()
                .filter_map(|(number, inode)| Some((oldest(inode)?, *number)));
            let Some((_, number)) = candidates.min() else {
                return Ok(());
            };
            self.figures.written_back += 1;
            self.with_file(number, super::Contents::sync)?
                .map_err(|error| host(&error))?;
        }
        Ok(())
    }
}
