//! The disk behind the file system: what was written, what of it is durable, and what a power cut leaves. It knows
//! nothing of FUSE: the kernel's side is `fuse`, and everything here can be tested without being root.
//!
//! - `contents` the bytes of one file, with `overlay` what is shown and `medium` what is durable
//! - `names` folders and their entries; `inode` what a name stands for
//! - `power` the power cut, bits turned over at rest, and the bound on what is pending
//! - `model` how much a power cut may take
//!
//! Every change carries a number, rising over the whole file system: that is the order in time which a power cut
//! that leaves a prefix cuts through.

mod contents;
mod inode;
mod medium;
mod model;
mod names;
mod overlay;
mod power;
#[cfg(test)]
mod tests;

pub use contents::SECTOR_BYTES;
pub use inode::Attributes;
pub use model::{Model, Outcome};
pub use names::{Listed, New};
pub use power::{Cut, Flipped};

use crate::faults::{Call, Faults, Mode};
use crate::figures::{Figures, Status};
use contents::Contents;
use inode::{Body, Inode, Number, ROOT, Renaming};
use nix::errno::Errno;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Space is given out in blocks of this many bytes.
pub const BLOCK_BYTES: u64 = 4096;
/// Room when nothing limits it.
const CAPACITY_BYTES: u64 = 1 << 40;
/// A node's number lies below this; above it lies how many power cuts there had been.
const EPOCH_SHIFT: u32 = 40;
/// Changes of names that may be pending before they become durable by themselves.
const RENAMINGS_MAX: usize = 16_384;

/// What the kernel calls a file by: its number, and the power cuts before it was looked up. Handles from before a power
/// cut belong to a machine that is off; they answer EIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node(pub u64);

impl Node {
    /// The folder that is mounted. It alone survives a power cut.
    pub const ROOT: Node = Node(1);
}

/// What kind of thing a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with bytes.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// What `stat` shows.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// What to call it by.
    pub node: Node,
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub length: u64,
    /// Names that lead to it.
    pub links: u32,
    /// Permissions, owner, times.
    pub attributes: Attributes,
}

/// What to change of something's attributes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttributeChanges {
    /// Permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The length of a file.
    pub length: Option<u64>,
    /// Last access.
    pub accessed: Option<std::time::SystemTime>,
    /// Last change of the bytes.
    pub modified: Option<std::time::SystemTime>,
}

/// Room on the disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Altogether.
    pub total: u64,
    /// Not taken.
    pub free: u64,
}

/// Where the disk keeps its durable bytes, and how it behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An empty folder for the durable bytes of each file.
    pub backing: PathBuf,
    /// What a power cut may take.
    pub model: Model,
    /// More unsynced bytes than this are written back as the kernel does it: the oldest file first. Bounds the memory.
    pub unsynced_bytes_max: u64,
    /// Who owns the root folder.
    pub owner: (u32, u32),
}

impl Settings {
    /// The strictest model, and at most 256 MiB unsynced.
    pub fn new(backing: impl Into<PathBuf>) -> Self {
        Self {
            backing: backing.into(),
            model: Model::Posix,
            unsynced_bytes_max: 256 << 20,
            owner: (0, 0),
        }
    }
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    settings: Settings,
    inodes: HashMap<Number, Inode>,
    next: u64,
    /// Power cuts so far.
    epoch: u64,
    /// The power is off: nobody gets at anything.
    off: bool,
    /// Changes so far.
    changes: u64,
    /// In the order of their numbers.
    renamings: Vec<Renaming>,
    unsynced_bytes: u64,
    faults: Faults,
    figures: Figures,
    random: fastrand::Rng,
}

impl Disk {
    /// An empty disk.
    pub fn new(settings: Settings) -> Self {
        let (uid, gid) = settings.owner;
        let mut root = Inode::new(
            Attributes::new(0o755, uid, gid),
            Body::Folder(inode::Folder::new(ROOT)),
        );
        (root.links, root.links_durable) = (1, 1);
        Self {
            settings,
            inodes: HashMap::from([(ROOT, root)]),
            next: ROOT.0 + 1,
            epoch: 0,
            off: false,
            changes: 0,
            renamings: Vec::new(),
            unsynced_bytes: 0,
            faults: Faults::default(),
            figures: Figures::default(),
            random: fastrand::Rng::with_seed(0),
        }
    }

    /// From now on; [`Mode::Flip`] is done at once, see [`Disk::flip`].
    pub fn set(&mut self, mode: Mode) {
        self.faults.set(mode);
    }

    /// How much longer than usual such a call takes. The caller sleeps, outside of every lock.
    pub fn delay(&self, call: Call) -> Duration {
        self.faults.delay(call)
    }

    /// Counters that the caller adds to.
    pub fn figures_mut(&mut self) -> &mut Figures {
        &mut self.figures
    }

    /// Modes, counters, and what a power cut would put at risk now.
    pub fn status(&self) -> Status {
        let changes = self.inodes.values().filter_map(Inode::file);
        Status {
            modes: self.faults.modes(),
            model: self.settings.model,
            faults_fired: self.faults.fired(),
            off: self.off,
            unsynced_bytes: self.unsynced_bytes,
            unsynced_changes: changes.map(|contents| contents.pending().count() as u64).sum(),
            unsynced_names: self.renamings.len() as u64,
            files: self.inodes.values().filter(|inode| inode.takes_room()).count() as u64,
            used_bytes: self.used_bytes(),
            figures: self.figures.clone(),
        }
    }

    /// What `stat` shows of it.
    pub fn stat(&self, node: Node) -> Result<Stat, Errno> {
        Ok(self.stat_of(self.resolve(node)?))
    }

    /// Changes attributes. A new length is a change of the file like a write; the rest is durable at once.
    pub fn change(&mut self, node: Node, changes: AttributeChanges) -> Result<Stat, Errno> {
        let number = self.resolve(node)?;
        if let Some(length) = changes.length {
            self.resize(number, length)?;
        }
        let attributes = &mut self.inode_mut(number)?.attributes;
        attributes.mode = changes
            .mode
            .map_or(attributes.mode, |mode| (mode & 0o7777) as u16);
        attributes.uid = changes.uid.unwrap_or(attributes.uid);
        attributes.gid = changes.gid.unwrap_or(attributes.gid);
        attributes.accessed = changes.accessed.unwrap_or(attributes.accessed);
        attributes.modified = changes.modified.unwrap_or(attributes.modified);
        attributes.changed = std::time::SystemTime::now();
        Ok(self.stat_of(number))
    }

    /// Somebody has it open: its bytes stay even if its last name goes.
    pub fn open(&mut self, node: Node) -> Result<(), Errno> {
        let number = self.resolve(node)?;
        self.inode_mut(number)?.opens += 1;
        Ok(())
    }

    /// A handle is gone. Of handles from before a power cut nothing is left to close.
    pub fn close(&mut self, node: Node) {
        let Ok(number) = self.resolve(node) else {
            return;
        };
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.opens = inode.opens.saturating_sub(1);
            if let (0, Body::File(contents)) = (inode.opens, &mut inode.body) {
                contents.evict();
            }
        }
        self.free_if_unneeded(number);
    }

    /// Up to `length` bytes from `offset` on; fewer at the end of the file.
    pub fn read(&mut self, node: Node, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        self.figures.reads += 1;
        let number = self.resolve(node)?;
        if self.faults.fails(Call::Read) {
            return Err(Errno::EIO);
        }
        let contents = self.inode(number)?.file().ok_or(Errno::EISDIR)?;
        let mut bytes = contents.read(offset, length).map_err(|error| host(&error))?;
        if !bytes.is_empty() && self.faults.flips_read() {
            let at = self.random.usize(..bytes.len());
            bytes[at] ^= 1 << self.random.u8(..8);
        }
        self.figures.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    /// Writes; how many bytes of it were taken. With `synced` the caller has asked for O_SYNC or O_DSYNC.
    pub fn write(&mut self, node: Node, offset: u64, bytes: &[u8], synced: bool) -> Result<usize, Errno> {
        self.figures.writes += 1;
        let number = self.resolve(node)?;
        if self.faults.fails(Call::Write) {
            return Err(Errno::EIO);
        }
        let fits = self.fits(number, offset, bytes.len() as u64)?;
        let mut taken = usize::try_from(fits).map_or(bytes.len(), |fits| fits.min(bytes.len()));
        if taken == 0 && !bytes.is_empty() {
            return Err(Errno::ENOSPC);
        }
        if taken > 1 && self.faults.shortens() {
            taken = self.random.usize(1..taken);
        }
        let change = self.next_change();
        self.with_file(number, |contents| contents.write(change, offset, &bytes[..taken]))?;
        self.inode_mut(number)?.attributes.touch();
        self.figures.bytes_written += taken as u64;
        if synced {
            self.make_durable(number)?;
        }
        self.write_back()?;
        Ok(taken)
    }

    /// Makes sure that there is room for a file's first `end` bytes, and makes it that long if `grow` says so.
    pub fn allocate(&mut self, node: Node, end: u64, grow: bool) -> Result<(), Errno> {
        let number = self.resolve(node)?;
        if self.faults.fails(Call::Write) {
            return Err(Errno::EIO);
        }
        let length = self.inode(number)?.file().ok_or(Errno::ENODEV)?.length();
        if end > length && self.fits(number, length, end - length)? < end - length {
            return Err(Errno::ENOSPC);
        }
        if grow && end > length {
            self.resize(number, end)?;
        }
        Ok(())
    }

    fn resize(&mut self, number: Number, length: u64) -> Result<(), Errno> {
        self.figures.resizes += 1;
        let change = self.next_change();
        self.with_file(number, |contents| contents.resize(change, length))?;
        self.inode_mut(number)?.attributes.touch();
        Ok(())
    }

    /// fsync and fdatasync of a file. Its name is another matter: see [`Disk::sync_folder`].
    pub fn sync(&mut self, node: Node) -> Result<(), Errno> {
        self.figures.syncs += 1;
        let number = self.resolve(node)?;
        if self.faults.fails(Call::Sync) {
            return Err(Errno::EIO);
        }
        let has_pending = |inode: &Inode| {
            inode
                .file()
                .is_some_and(|contents| contents.pending().next().is_some())
        };
        if has_pending(self.inode(number)?) && self.faults.drops() {
            self.with_file(number, Contents::drop_pending)?;
            return Err(Errno::EIO);
        }
        self.make_durable(number)
    }

    fn make_durable(&mut self, number: Number) -> Result<(), Errno> {
        if self.faults.lies() {
            return Ok(());
        }
        if self.settings.model == Model::Ext4 {
            self.commit_all_names();
        }
        if self.inode(number)?.file().is_some() {
            self.with_file(number, Contents::sync)?
                .map_err(|error| host(&error))?;
        }
        Ok(())
    }

    /// fsync of a folder: its entries become durable, not what they lead to.
    pub fn sync_folder(&mut self, node: Node) -> Result<(), Errno> {
        self.figures.folder_syncs += 1;
        let number = self.resolve(node)?;
        if self.faults.fails(Call::Sync) {
            return Err(Errno::EIO);
        }
        if !self.faults.lies() {
            match self.settings.model {
                Model::Posix => self.commit_names_of(number),
                Model::Ext4 => self.commit_all_names(),
            }
        }
        Ok(())
    }

    /// Room, as `statfs` shows it.
    pub fn space(&self) -> Space {
        let total = self.faults.limit_bytes().unwrap_or(CAPACITY_BYTES);
        Space {
            total,
            free: total.saturating_sub(self.used_bytes()),
        }
    }

    fn used_bytes(&self) -> u64 {
        let used = self.inodes.values().filter(|inode| inode.takes_room());
        used.map(|inode| {
            inode
                .file()
                .map_or(BLOCK_BYTES, |contents| blocks(contents.length()))
        })
        .sum()
    }

    /// How many of `length` bytes at `offset` there is room for.
    fn fits(&self, number: Number, offset: u64, length: u64) -> Result<u64, Errno> {
        if self.faults.limit_bytes().is_none() {
            return Ok(length);
        }
        let contents = self.inode(number)?.file().ok_or(Errno::EISDIR)?;
        let end_max = blocks(contents.length()) + self.space().free / BLOCK_BYTES * BLOCK_BYTES;
        Ok(end_max.saturating_sub(offset).min(length))
    }

    fn stat_of(&self, number: Number) -> Stat {
        let inode = &self.inodes[&number];
        let (kind, length, links) = match &inode.body {
            Body::File(contents) => (Kind::File, contents.length(), inode.links),
            Body::Folder(_) => (Kind::Folder, BLOCK_BYTES, 2),
            Body::Link(target) => (Kind::Link, target.len() as u64, inode.links),
        };
        Stat {
            node: self.node(number),
            kind,
            length,
            links,
            attributes: inode.attributes,
        }
    }

    fn node(&self, number: Number) -> Node {
        if number == ROOT {
            Node::ROOT
        } else {
            Node(self.epoch << EPOCH_SHIFT | number.0)
        }
    }

    /// The file that a node stands for: EIO if the power is off or went since, ESTALE if it is gone.
    fn resolve(&self, node: Node) -> Result<Number, Errno> {
        if self.off {
            return Err(Errno::EIO);
        }
        if node == Node::ROOT {
            return Ok(ROOT);
        }
        if node.0 >> EPOCH_SHIFT != self.epoch {
            return Err(Errno::EIO);
        }
        let number = Number(node.0 & ((1 << EPOCH_SHIFT) - 1));
        if self.inodes.contains_key(&number) {
            Ok(number)
        } else {
            Err(Errno::ESTALE)
        }
    }

    fn inode(&self, number: Number) -> Result<&Inode, Errno> {
        self.inodes.get(&number).ok_or(Errno::ESTALE)
    }

    fn inode_mut(&mut self, number: Number) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&number).ok_or(Errno::ESTALE)
    }

    /// Does something to a file's bytes and keeps count of what is unsynced.
    fn with_file<T>(&mut self, number: Number, act: impl FnOnce(&mut Contents) -> T) -> Result<T, Errno> {
        let inode = self.inodes.get_mut(&number).ok_or(Errno::ESTALE)?;
        let contents = inode.file_mut().ok_or(Errno::EISDIR)?;
        let before = contents.pending_bytes();
        let result = act(contents);
        self.unsynced_bytes = self.unsynced_bytes - before + contents.pending_bytes();
        Ok(result)
    }

    fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }
}

/// Whole blocks.
fn blocks(length: u64) -> u64 {
    length.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// The backing folder itself has failed: that is no fault of ours to play, and is said aloud.
fn host(error: &io::Error) -> Errno {
    eprintln!("powerfail: the backing folder: {error}");
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
