//! The directory of a broker's data, as the process sees it: created durably, checked, and owned by
//! one process at a time. What the files inside mean is the storage crate's business.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The name of the file whose lock means ownership. Its content, a process id, only tells people who
/// holds it; it is never trusted, and it does not matter if it is left over.
const LOCK: &str = "everack.pid";

/// Why a data directory cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another process holds the lock.
    #[error(
        "the data directory {} is in use by {owner}: stop that process, or give this one another directory with --data",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, as far as can be told.
        owner: String,
    },
    /// The path leads to something else.
    #[error("{} is not a directory: give the path of a directory with --data", .0.display())]
    NotADirectory(PathBuf),
    /// It cannot be created or written.
    #[error("the data directory {} cannot be used: {action}: {error}{}", directory.display(), advice(error))]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (make it belong to the user that everack runs as, or give another with --data)"
        }
        io::ErrorKind::ReadOnlyFilesystem => " (the file system is mounted read-only)",
        io::ErrorKind::StorageFull => " (the disk is full: make room first)",
        _ => "",
    }
}

/// A data directory that belongs to this process until the value is dropped or the process ends,
/// however it ends.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory if need be, and takes it.
    pub fn take(path: &Path) -> Result<Self, Refused> {
        let unusable = |action| {
            move |error| Refused::Unusable {
                directory: path.to_owned(),
                action,
                error,
            }
        };
        if path.exists() && !path.is_dir() {
            return Err(Refused::NotADirectory(path.to_owned()));
        }
        create(path).map_err(unusable("cannot create it"))?;
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK));
        let mut lock = open.map_err(unusable("cannot open its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Refused::InUse {
                    directory: path.to_owned(),
                    owner: owner(&mut lock),
                });
            }
            Err(TryLockError::Error(error)) => return Err(unusable("cannot lock it")(error)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(unusable("cannot write its lock file"))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Its path, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates the directory and its missing ancestors, readable by their owner only, and makes each
/// new entry durable: a confirmed message must not vanish with the directory it was written to.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    create(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Who holds the lock. The process id inside is a hint: it may be of another container.
fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let _ = lock.take(32).read_to_string(&mut text);
    let Ok(pid) = text.trim().parse::<u32>() else {
        return "another process".to_owned();
    };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn creates_what_is_missing_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("var/lib/everack");
        let taken = DataDirectory::take(&path).unwrap();
        assert_eq!(taken.path(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn belongs_to_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let taken = DataDirectory::take(dir.path()).unwrap();
        let refused = DataDirectory::take(dir.path()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            refused.contains(&format!("is in use by process {pid} (")),
            "{refused}"
        );
        assert!(refused.contains("--data"), "{refused}");
        drop(taken);
        DataDirectory::take(dir.path()).unwrap();
    }

    #[test]
    fn refuses_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DataDirectory::take(file.path()).unwrap_err().to_string();
        assert!(
            refused.ends_with("is not a directory: give the path of a directory with --data"),
            "{refused}"
        );
    }

    #[test]
    fn says_what_the_system_said() {
        let refused = DataDirectory::take(Path::new("/proc/nowhere/data"))
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("the data directory /proc/nowhere/data cannot be used: cannot create it: "),
            "{refused}"
        );
    }
}
