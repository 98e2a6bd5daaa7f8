//! A file system that is full soon. Needs root, to mount it.

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::Path;
use tempfile::TempDir;

/// A file system of 64 MiB in memory, mounted until it is dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Asks the kernel itself: a bare machine has no `mount` to start. Panics where that is refused: the tests need it.
    pub fn mount() -> Self {
        let folder = TempDir::with_prefix("everack-small-").expect("a temporary folder can be made");
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), c"size=64m")
            .unwrap_or_else(|error| panic!("cannot mount a file system (run the tests as root): {error}"));
        Self(folder)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0.path(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.path().display());
        }
    }
}
