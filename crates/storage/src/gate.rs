//! Whether a segment is written past the page cache, and the end of that.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering};

/// Open as long as the segment is written past the page cache; whoever wants to read it shuts the gate first, for good.
///
/// So nobody reads through the cache what is being written past it. Linux would try to drop the pages that a reader has brought in meanwhile,
/// and where it cannot, it keeps the stale page and fails the next fdatasync, which is the end of our process.
#[derive(Debug)]
pub(crate) struct Gate {
    open: AtomicBool,
    writing: Mutex<()>,
}

impl Gate {
    pub(crate) fn new(open: bool) -> Gate {
        Gate {
            open: AtomicBool::new(open),
            writing: Mutex::new(()),
        }
    }

    /// Whether the next write goes past the cache, if nobody comes to read before.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Keeps readers away while something is written past the cache. `None`: it has to go through the cache.
    pub(crate) fn enter(&self) -> Option<MutexGuard<'_, ()>> {
        let entered = self.writing.lock();
        self.is_open().then_some(entered)
    }

    /// From here on the segment may be read, and is written through the cache. Waits for the write under way, once.
    pub(crate) fn shut(&self) {
        if self.is_open() {
            let _nobody_writes = self.writing.lock();
            self.open.store(false, Ordering::Release);
        }
    }
}
