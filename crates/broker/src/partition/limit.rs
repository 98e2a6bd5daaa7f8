//! `basic.qos` with `global`: one bound on the unsettled messages of all consumers of a channel.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Unsettled messages of a channel's consumers, in whatever partitions they are. Only partitions count it up and down; the
/// session creates it, changes the bound and passes on [`super::Effect::LimitFreed`].
#[derive(Debug)]
pub struct SharedLimit {
    most: AtomicU64,
    unsettled: AtomicU64,
    awaited: AtomicBool,
}

impl SharedLimit {
    /// At most `most` unsettled messages; 0 is no limit.
    pub fn new(most: u64) -> Self {
        Self {
            most: AtomicU64::new(most),
            unsettled: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        }
    }

    /// Changes the bound. Post [`super::Command::Resume`] for the channel's consumers afterwards, as some may fit in now.
    pub fn set(&self, most: u64) {
        self.most.store(most, SeqCst);
    }

    /// The bound; 0 is no limit.
    pub fn most(&self) -> u64 {
        self.most.load(SeqCst)
    }

    /// Unsettled messages counted at present.
    pub fn unsettled(&self) -> u64 {
        self.unsettled.load(SeqCst)
    }

    /// Counts up to `wanted` messages in and says how many fitted. After 0 the limit knows that somebody waits.
    pub(super) fn acquire(&self, wanted: u64) -> u64 {
        let granted = self.try_acquire(wanted);
        if granted > 0 {
            return granted;
        }
        self.awaited.store(true, SeqCst);
        self.try_acquire(wanted)
    }

    /// Whether anything would fit; if not, the limit knows that somebody waits.
    pub(super) fn has_room(&self) -> bool {
        let is_open = || match self.most.load(SeqCst) {
            0 => true,
            most => self.unsettled() < most,
        };
        is_open() || {
            self.awaited.store(true, SeqCst);
            is_open()
        }
    }

    /// Counts messages in that are unsettled already, limit or not.
    pub(super) fn charge(&self, count: u64) {
        self.unsettled.fetch_add(count, SeqCst);
    }

    /// Counts messages out; true if somebody waits for that.
    pub(super) fn release(&self, count: u64) -> bool {
        let before = self.unsettled.fetch_sub(count, SeqCst);
        debug_assert!(
            before >= count,
            "more messages were settled than a shared limit had counted"
        );
        self.awaited.swap(false, SeqCst)
    }

    fn try_acquire(&self, wanted: u64) -> u64 {
        let mut granted = 0;
        let _ = self.unsettled.fetch_update(SeqCst, SeqCst, |unsettled| {
            granted = match self.most.load(SeqCst) {
                0 => wanted,
                most => wanted.min(most.saturating_sub(unsettled)),
            };
            (granted > 0).then(|| unsettled + granted)
        });
        granted
    }
}
