//! A disk at a mount point, from mounting to unmounting.

use crate::disk::{Cut, Disk, Flipped, Outcome, Settings};
use crate::faults::Mode;
use crate::figures::Status;
use crate::fuse::Served;
use anyhow::{Context, bail};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::Mutex;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEVICE: &str = "/dev/fuse";
/// Requests that are worked on at the same time: one may sleep while another is answered.
const THREADS: usize = 4;

/// A file system that is mounted. Dropping it unmounts, whoever still has files open; their calls then fail.
pub struct Mounted {
    commands: Commands,
    at: PathBuf,
    backing: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts an empty file system. Needs root and /dev/fuse, and says so.
    pub fn new(settings: Settings, at: &Path) -> anyhow::Result<Self> {
        require_means()?;
        require_empty(&settings.backing)?;
        detach_dead(at);
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        let at = at.canonicalize()?;
        allow_many_files();
        let backing = settings.backing.clone();
        let disk = Arc::new(Mutex::new(Disk::new(settings)));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("powerfail".to_owned()),
            MountOption::DefaultPermissions,
        ];
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let served = Served::new(Arc::clone(&disk));
        let session = fuser::spawn_mount(served, &at, &config)
            .with_context(|| format!("cannot mount at {}", at.display()))?;
        Ok(Self {
            commands: Commands { disk },
            at,
            backing,
            session: Some(session),
        })
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// What it can be told to do.
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }
}

impl std::ops::Deref for Mounted {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        &self.commands
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also when somebody is still at it; whoever has a file open keeps a dead handle.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
        drop(self.session.take());
        if let Ok(entries) = fs::read_dir(&self.backing) {
            for entry in entries.flatten() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What a mounted file system can be told to do, from any thread.
#[derive(Clone)]
pub struct Commands {
    disk: Arc<Mutex<Disk>>,
}

impl Commands {
    /// The power goes: every call answers EIO until [`Commands::cut`]. For programs that run when it happens.
    pub fn switch_off(&self) {
        self.disk.lock().switch_off();
    }

    /// The power goes, if it has not gone before, and comes back. Every handle from before is dead: calls answer EIO. Who
    /// still runs could find its way by path, though: switch off first, end it, and cut then.
    pub fn cut(&self, outcome: Outcome, seed: u64) -> anyhow::Result<Cut> {
        Ok(self.disk.lock().cut(outcome, seed)?)
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.disk.lock().set(mode);
    }

    /// Turns over so many bits at rest, in files whose path contains `part`.
    pub fn flip(&self, bits: u64, part: &str, seed: u64) -> anyhow::Result<Vec<Flipped>> {
        Ok(self.disk.lock().flip(bits, part, seed)?)
    }

    /// Modes, counters, and what a power cut would put at risk now.
    pub fn status(&self) -> Status {
        self.disk.lock().status()
    }
}

fn require_means() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("POWERFAIL CANNOT RUN: mounting a file system needs root. Nothing was tested.");
    }
    if let Err(error) = fs::File::options().read(true).write(true).open(DEVICE) {
        bail!(
            "POWERFAIL CANNOT RUN: {DEVICE}: {error}. In a container, give it the device and CAP_SYS_ADMIN. \
             Nothing was tested."
        );
    }
    Ok(())
}

/// A process that was killed leaves a mount point that answers nothing.
fn detach_dead(at: &Path) {
    let dead = |error: &std::io::Error| error.raw_os_error() == Some(Errno::ENOTCONN as i32);
    if fs::metadata(at).is_err_and(|error| dead(&error)) {
        // Where it cannot be detached, mounting says why.
        let _ = umount2(at, MntFlags::MNT_DETACH);
    }
}

/// Whatever lies in the backing folder would be taken for durable bytes of ours.
fn require_empty(backing: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(backing).with_context(|| format!("cannot make {}", backing.display()))?;
    if fs::read_dir(backing)?.next().is_some() {
        bail!("the backing folder {} is not empty", backing.display());
    }
    Ok(())
}

/// Every file with a durable byte is an open file of ours.
fn allow_many_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where this is refused, the default holds: enough for a broker's files.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
