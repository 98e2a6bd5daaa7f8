//! The one door to files. Everything this crate does to a disk goes through [`Disk`] and [`File`], so that a test can
//! tear writes, lose what was not synced, fail an fsync or fill the disk: see [`Memory`]. [`Os`] is the real one.
//!
//! A disk is one flat directory that belongs to one process. Names are plain file names.

mod contents;
mod memory;
mod os;

pub use memory::{Fault, Memory, Outcome};
pub use os::{DirectWrites, Os};

use std::io;

/// One directory.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file. Dropping it closes it and syncs nothing.
    type File: File;
    /// Held as long as the directory belongs to this process.
    type Lock: Send + Sync + 'static;

    /// Create a file for reading and writing; it must not exist. Its name is durable after `sync_directory`.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Open an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Open an existing file to be written past the page cache, by [`File::write_parts_at`] only: whole sectors of 512 bytes that begin at a multiple
    /// of 512 in the file and in memory. `None`: the file had better be written through the cache, or has to be.
    fn open_direct(&self, name: &str) -> io::Result<Option<Self::File>>;
    /// Rename, replacing `to` if it exists. Durable after `sync_directory`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Remove a file. Who has it open keeps reading it. Durable after `sync_directory`.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// All files with their lengths in bytes, sorted by name.
    fn list(&self) -> io::Result<Vec<Entry>>;
    /// Make creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Bytes an unprivileged process can still allocate.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Take the directory for this process; `None` when another process has it.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;
    /// A number nobody outside can guess (or, in a test, the next one of a seed).
    fn random(&self) -> io::Result<u64>;
    /// The directory, as a person would want to see it in a message.
    fn place(&self) -> String;
}

/// One open file. All access is by offset, so that threads share it without a cursor.
pub trait File: Send + Sync + 'static {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Read until the buffer is full or the file ends; returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Behind this offset nothing was ever written, as far as the file system can tell: it reads as zeros, and there is nothing of it on
    /// the medium. What is cached passes for written.
    fn written_bytes(&self) -> io::Result<u64>;
    /// Write all bytes. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Write `parts`, none of them empty, one behind the other, from `offset` on. After an error anything of them may have been written.
    fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Make the contents durable (fdatasync). An error means that unsynced contents may be gone for good.
    fn sync_data(&self) -> io::Result<()>;
    /// Make contents and length durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// Cut the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Make the file `length` bytes long with space reserved for all of them; new bytes read as zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Forget cached pages, so that the next read comes from the medium. Best effort.
    fn forget_cached(&self) -> io::Result<()>;
}

/// A file in a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File name.
    pub name: String,
    /// Length in bytes.
    pub length: u64,
}

/// Whether the error says that the process or the machine has no room for another open file, which passes too.
pub fn is_out_of_files(error: &io::Error) -> bool {
    /// Of the machine and of the process; the same numbers on every Unix.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Whether the error says that space (or quota) has run out, which passes, rather than that the disk is broken.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
