//! The real binary on a file system that is too small, with pika. Needs root, to mount one.

use everack_compat::{
    broker::{Broker, Settings},
    script,
};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::sync::Arc;
use tempfile::TempDir;

/// Small segments, so that the log fills the file system to its end; and no alarm before that end is reached.
const CONFIG: &str = "[data]\nsegment = \"4 MiB\"\nfree_min = \"0 B\"\n";

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let small = SmallDisk::mount();
    let settings = Settings {
        data: Some(small.0.path().join("data")),
        config: CONFIG.to_owned(),
        ..Settings::default()
    };
    let broker = Arc::new(Broker::with(settings));
    let mut trials = script::trials("pika/full.py", &broker);
    let alive = Arc::clone(&broker);
    trials.push(Trial::test("the broker lives on", move || {
        if alive.is_alive() {
            Ok(())
        } else {
            Err(format!("it is gone: {}", alive.log()).into())
        }
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    drop(small);
    conclusion.exit();
}

/// A file system of 64 MiB in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Asks the kernel itself: a bare machine has no `mount` to start.
    fn mount() -> Self {
        let folder = TempDir::with_prefix("everack-small-").expect("a temporary folder can be made");
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), c"size=64m")
            .unwrap_or_else(|error| panic!("cannot mount a file system (run the tests as root): {error}"));
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0.path(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.path().display());
        }
    }
}
