//! The real disk: one directory of the operating system.

use super::{Disk, Entry, File};
use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

const LOCK_NAME: &str = "LOCK";
/// Zeros are written in pieces of this size where a file system cannot reserve space.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// Parts that one call to the system writes.
#[cfg(target_os = "linux")]
const PARTS_AT_ONCE: usize = 8;
/// A file in more pieces than this passes for written to its end.
const EXTENTS_MAX: usize = 1000;

/// A directory of the operating system.
#[derive(Debug, Clone)]
pub struct Os {
    directory: Arc<PathBuf>,
    /// What syncs the directory's entries.
    handle: Arc<fs::File>,
    sync: bool,
    direct_writes: DirectWrites,
}

/// Which files are written past the page cache, of those that are opened to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectWrites {
    /// None.
    Never,
    /// Where the file system is known to keep the space that was allocated (ext4, XFS) and says that whole sectors of 512 bytes
    /// will do, which it can from Linux 6.1 on.
    WhereKnown,
    /// All; opening one fails where that is impossible.
    Always,
}

impl Os {
    /// Open `directory`, creating it when it is missing; what is created stays created.
    pub fn open(directory: impl AsRef<Path>) -> io::Result<Os> {
        create_durably(directory.as_ref())?;
        Os::open_existing(directory)
    }

    /// Open `directory`, which must exist: for tools that look into a stopped broker's files.
    pub fn open_existing(directory: impl AsRef<Path>) -> io::Result<Os> {
        let directory = directory.as_ref().to_path_buf();
        let handle = Arc::new(fs::File::open(&directory)?);
        Ok(Os {
            directory: Arc::new(directory),
            handle,
            sync: true,
            direct_writes: DirectWrites::Never,
        })
    }

    /// The same directory with the log's segments written past the page cache.
    pub fn with_direct_writes(self, direct_writes: DirectWrites) -> Os {
        Os {
            direct_writes,
            ..self
        }
    }

    /// The same directory with every sync left out. **Loses confirmed data at a power failure**; it exists so that a
    /// test can show that it notices.
    pub fn without_sync(self) -> Os {
        Os { sync: false, ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Create a directory and those above it, each synced into the one it lies in.
fn create_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(parent)?.sync_all()
}

/// Whether a write into allocated space cannot run out of it. Others than these may have to find room for each write (copy on write).
#[cfg(target_os = "linux")]
fn keeps_what_is_allocated(directory: &fs::File) -> io::Result<bool> {
    const EXT4: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    let file_system = rustix::fs::fstatfs(directory)?.f_type;
    Ok(matches!(file_system as u64, EXT4 | XFS))
}

/// Whether the file can be written past the cache in whole sectors that begin at a multiple of 512 in file and memory. Kernels before 6.1 do not
/// say, and a device with sectors of 4 KiB cannot.
#[cfg(target_os = "linux")]
fn takes_sectors(path: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    const DIOALIGN: StatxFlags = StatxFlags::from_bits_retain(0x2000);
    const SECTOR_BYTES: u32 = crate::record::SECTOR_BYTES as u32;
    let known = match statx(CWD, path, AtFlags::empty(), DIOALIGN) {
        Ok(known) => known,
        Err(rustix::io::Errno::NOSYS) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let fits = |alignment: u32| alignment != 0 && SECTOR_BYTES.is_multiple_of(alignment);
    let said = known.stx_mask & DIOALIGN.bits() != 0;
    Ok(said && fits(known.stx_dio_mem_align) && fits(known.stx_dio_offset_align))
}

impl Disk for Os {
    type File = OsFile;
    type Lock = fs::File;

    fn create(&self, name: &str) -> io::Result<OsFile> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name))?;
        Ok(OsFile {
            file,
            sync: self.sync,
        })
    }

    fn open(&self, name: &str) -> io::Result<OsFile> {
        let file = fs::File::options().read(true).write(true).open(self.path(name))?;
        Ok(OsFile {
            file,
            sync: self.sync,
        })
    }

    #[cfg(target_os = "linux")]
    fn open_direct(&self, name: &str) -> io::Result<Option<OsFile>> {
        use std::os::unix::fs::OpenOptionsExt;
        let fits = match self.direct_writes {
            DirectWrites::Never => false,
            DirectWrites::WhereKnown => {
                keeps_what_is_allocated(&self.handle)? && takes_sectors(&self.path(name))?
            }
            DirectWrites::Always => true,
        };
        if !fits {
            return Ok(None);
        }
        let past_cache = rustix::fs::OFlags::DIRECT.bits() as i32;
        let file = fs::File::options()
            .write(true)
            .custom_flags(past_cache)
            .open(self.path(name))?;
        Ok(Some(OsFile {
            file,
            sync: self.sync,
        }))
    }

    #[cfg(not(target_os = "linux"))]
    fn open_direct(&self, _: &str) -> io::Result<Option<OsFile>> {
        Ok(None)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&*self.directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Renamed or removed by another thread since its name was read: the log retires segments at any time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A name that is not UTF-8 is not one of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(Entry {
                    name,
                    length: metadata.len(),
                });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_directory(&self) -> io::Result<()> {
        if self.sync { self.handle.sync_all() } else { Ok(()) }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let figures = rustix::fs::fstatvfs(&*self.handle)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    fn lock(&self) -> io::Result<Option<fs::File>> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn random(&self) -> io::Result<u64> {
        let mut bytes = [0u8; 8];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }
}

/// A file of the operating system.
#[derive(Debug)]
pub struct OsFile {
    file: fs::File,
    sync: bool,
}

impl OsFile {
    /// Reserve space by writing zeros, for file systems that have no fallocate.
    fn allocate_with_zeros(&self, length: u64) -> io::Result<()> {
        let mut offset = self.length()?;
        while offset < length {
            let bytes = (length - offset).min(ZEROS.len() as u64) as usize;
            self.file.write_all_at(&ZEROS[..bytes], offset)?;
            offset += bytes as u64;
        }
        Ok(())
    }
}

impl File for OsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    #[cfg(target_os = "linux")]
    fn written_bytes(&self) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};
        let mut end = 0;
        for _ in 0..EXTENTS_MAX {
            match seek(&self.file, SeekFrom::Data(end)) {
                Ok(data) => end = seek(&self.file, SeekFrom::Hole(data))?,
                Err(rustix::io::Errno::NXIO) => return Ok(end),
                // A file system that does not know.
                Err(_) => break,
            }
        }
        self.length()
    }

    #[cfg(not(target_os = "linux"))]
    fn written_bytes(&self) -> io::Result<u64> {
        self.length()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn write_parts_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for parts in parts.chunks(PARTS_AT_ONCE) {
            let mut slices = [io::IoSlice::new(&[]); PARTS_AT_ONCE];
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = io::IoSlice::new(part);
            }
            let mut left = &mut slices[..parts.len()];
            while !left.is_empty() {
                match rustix::io::pwritev(&self.file, left, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(bytes) => {
                        io::IoSlice::advance_slices(&mut left, bytes);
                        offset += bytes as u64;
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn write_parts_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for part in parts {
            self.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }

    fn sync_all(&self) -> io::Result<()> {
        if self.sync { self.file.sync_all() } else { Ok(()) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, length: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length);
        match rustix::io::retry_on_intr(allocate) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.allocate_with_zeros(length),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.allocate_with_zeros(length)
    }

    #[cfg(target_os = "linux")]
    fn forget_cached(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(
            &self.file,
            0,
            None,
            rustix::fs::Advice::DontNeed,
        )?)
    }

    #[cfg(not(target_os = "linux"))]
    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A checkpoint lists the directory while the log renames and removes segments in it.
    #[test]
    fn a_name_that_goes_while_the_directory_is_listed_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Os::open(folder.path()).unwrap();
        for name in 0..200 {
            disk.create(&format!("stays-{name}")).unwrap();
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    disk.create("comes").unwrap();
                    disk.rename("comes", "goes").unwrap();
                    disk.remove("goes").unwrap();
                }
            });
            let listed: Vec<_> = (0..500).map(|_| disk.list()).collect();
            stop.store(true, Ordering::Relaxed);
            for entries in listed {
                let stays = |entry: &&Entry| entry.name.starts_with("stays-");
                assert_eq!(entries.unwrap().iter().filter(stays).count(), 200);
            }
        });
    }
}
