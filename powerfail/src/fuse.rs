//! The kernel's side: FUSE requests to calls of the disk, and answers back. It decides nothing.
//!
//! Nothing is cached by the kernel, so that no read after a power cut shows what the cut has taken: files are opened for
//! direct input and output, and names and attributes are valid for no time at all. A node's number tells before which
//! power cut it was looked up (`disk::Node`), so a handle from before one finds nothing.

use crate::disk::{AttributeChanges, Attributes, Disk, Kind, Listed, New, Node, Stat};
use crate::faults::Call;
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The largest piece that the kernel hands over in one write.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// How long an answer about names and attributes may be believed.
const VALID: Duration = Duration::ZERO;
/// What fallocate may be asked for; punching holes and the like it refuses.
const FALLOCATE_KEEP_SIZE: i32 = 1;
const BLOCK_BYTES: u32 = crate::disk::BLOCK_BYTES as u32;
const NAME_BYTES_MAX: u32 = 255;

/// A disk that the kernel reads and writes.
pub(crate) struct Served {
    disk: Arc<Mutex<Disk>>,
    /// What an open folder lists, as it was when it was opened.
    listings: Mutex<HashMap<u64, Arc<Vec<Listed>>>>,
    next_listing: AtomicU64,
}

impl Served {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>) -> Self {
        Self {
            disk,
            listings: Mutex::default(),
            next_listing: AtomicU64::new(1),
        }
    }

    /// First as slow as the disk is told to be, and not while anybody else waits for it.
    fn slowly<T>(&self, call: Call, act: impl FnOnce(&mut Disk) -> T) -> T {
        let delay = self.disk.lock().delay(call);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        act(&mut self.disk.lock())
    }

    /// A sync: as slow, and timed.
    fn synced(&self, act: impl FnOnce(&mut Disk) -> Answer<()>, reply: ReplyEmpty) {
        let start = Instant::now();
        let result = self.slowly(Call::Sync, |disk| {
            let result = act(disk);
            disk.figures_mut().sync_took(start.elapsed());
            result
        });
        answer_empty(result, reply);
    }
}

type Answer<T> = Result<T, nix::errno::Errno>;

fn refusal(error: nix::errno::Errno) -> Errno {
    Errno::from_i32(error as i32)
}

fn answer_empty(result: Answer<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(refusal(error)),
    }
}

fn answer_entry(result: Answer<Stat>, reply: ReplyEntry) {
    match result {
        Ok(stat) => reply.entry(&VALID, &attributes(&stat), Generation(0)),
        Err(error) => reply.error(refusal(error)),
    }
}

fn answer_attributes(result: Answer<Stat>, reply: ReplyAttr) {
    match result {
        Ok(stat) => reply.attr(&VALID, &attributes(&stat)),
        Err(error) => reply.error(refusal(error)),
    }
}

fn attributes(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.node.0),
        size: stat.length,
        blocks: stat.length.div_ceil(512),
        atime: stat.attributes.accessed,
        mtime: stat.attributes.modified,
        ctime: stat.attributes.changed,
        crtime: stat.attributes.changed,
        kind: file_type(stat.kind),
        perm: stat.attributes.mode,
        nlink: stat.links,
        uid: stat.attributes.uid,
        gid: stat.attributes.gid,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

fn owned(request: &Request, mode: u32, umask: u32) -> Attributes {
    Attributes::new(mode & !umask, request.uid(), request.gid())
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

/// Whether a handle was opened so that every write is durable when it returns.
fn is_synced(flags: OpenFlags) -> bool {
    let wanted = nix::fcntl::OFlag::O_DSYNC.bits();
    flags.0 & wanted == wanted
}

impl fuser::Filesystem for Served {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // A smaller limit of the kernel's own is as good.
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer_entry(self.disk.lock().lookup(Node(parent.0), name), reply);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        answer_attributes(self.disk.lock().stat(Node(ino.0)), reply);
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = AttributeChanges {
            mode,
            uid,
            gid,
            length: size,
            accessed: atime.map(moment),
            modified: mtime.map(moment),
        };
        answer_attributes(self.disk.lock().change(Node(ino.0), changes), reply);
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.disk.lock().target(Node(ino.0)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(refusal(error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        const KIND: u32 = 0o170_000;
        const FILE: u32 = 0o100_000;
        if mode & KIND != FILE && mode & KIND != 0 {
            return reply.error(Errno::EPERM);
        }
        let mut disk = self.disk.lock();
        let made = disk.create(Node(parent.0), name, owned(request, mode, umask), New::File);
        if let Ok(stat) = &made {
            disk.close(stat.node);
        }
        answer_entry(made, reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let attributes = owned(request, mode, umask);
        let made = self
            .disk
            .lock()
            .create(Node(parent.0), name, attributes, New::Folder);
        answer_entry(made, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(self.disk.lock().remove(Node(parent.0), name, false), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(self.disk.lock().remove(Node(parent.0), name, true), reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let new = New::Link(target.as_os_str().to_os_string());
        let attributes = owned(request, 0o777, 0);
        let made = self
            .disk
            .lock()
            .create(Node(parent.0), link_name, attributes, new);
        answer_entry(made, reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let keep = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = ((Node(parent.0), name), (Node(newparent.0), newname));
        answer_empty(self.disk.lock().rename(from, to, keep), reply);
    }

    fn link(&self, _request: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let linked = self.disk.lock().link(Node(ino.0), Node(newparent.0), newname);
        answer_entry(linked, reply);
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.disk.lock().open(Node(ino.0)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(refusal(error)),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let attributes_new = owned(request, mode, umask);
        let made = self
            .disk
            .lock()
            .create(Node(parent.0), name, attributes_new, New::File);
        match made {
            Ok(stat) => reply.created(
                &VALID,
                &attributes(&stat),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(refusal(error)),
        }
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.slowly(Call::Read, |disk| disk.read(Node(ino.0), offset, u64::from(size))) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(refusal(error)),
        }
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.slowly(Call::Write, |disk| {
            disk.write(Node(ino.0), offset, data, is_synced(flags))
        }) {
            Ok(taken) => reply.written(taken as u32),
            Err(error) => reply.error(refusal(error)),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Closing makes nothing durable.
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.disk.lock().close(Node(ino.0));
        reply.ok();
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.synced(|disk| disk.sync(Node(ino.0)), reply);
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.disk.lock().list(Node(ino.0)) {
            Ok(listed) => {
                let handle = self.next_listing.fetch_add(1, Ordering::Relaxed);
                self.listings.lock().insert(handle, Arc::new(listed));
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(error) => reply.error(refusal(error)),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if offset == 0
            && let Ok(listed) = self.disk.lock().list(Node(ino.0))
        {
            // From the start: POSIX has rewinddir show what is there now.
            self.listings.lock().insert(fh.0, Arc::new(listed));
        }
        let listed = self.listings.lock().get(&fh.0).cloned().unwrap_or_default();
        for (at, entry) in listed.iter().enumerate().skip(offset as usize) {
            let node = INodeNo(entry.node.0);
            if reply.add(node, at as u64 + 1, file_type(entry.kind), &entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings.lock().remove(&fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.synced(|disk| disk.sync_folder(Node(ino.0)), reply);
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let space = self.disk.lock().space();
        let block = u64::from(BLOCK_BYTES);
        let (total, free) = (space.total / block, space.free / block);
        reply.statfs(
            total,
            free,
            free,
            u64::from(u32::MAX),
            u64::from(u32::MAX),
            BLOCK_BYTES,
            NAME_BYTES_MAX,
            BLOCK_BYTES,
        );
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & !FALLOCATE_KEEP_SIZE != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let grow = mode & FALLOCATE_KEEP_SIZE == 0;
        let end = offset.saturating_add(length);
        answer_empty(
            self.slowly(Call::Write, |disk| disk.allocate(Node(ino.0), end, grow)),
            reply,
        );
    }
}
