//! Groups on their way past the page cache: written together, in one call to the disk, before the sync.
//!
//! Through the cache a write is a copy, and each group is written when it is appended. Past it each write is a round trip to the disk, so that
//! a small group behind a large one would cost as much as that.

use crate::frames::Group;

/// Groups that lie one behind the other in a segment, not written yet. Bounded: see [`Pending::is_full`].
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Where the first one begins.
    start: u64,
    groups: Vec<Group>,
    bytes: usize,
    /// Empty buffers, to be exchanged for full ones.
    spares: Vec<Vec<u8>>,
}

/// So many groups, or bytes, are written at once at most, and so many buffers are kept.
const GROUPS_MAX: usize = 8;
const BYTES_MAX: usize = 1 << 20;

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether it has to be written before there may be more.
    pub(crate) fn is_full(&self) -> bool {
        self.groups.len() >= GROUPS_MAX || self.bytes >= BYTES_MAX
    }

    /// A buffer for whoever gives his own away.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// `group` begins at `offset`, where the one before has ended.
    pub(crate) fn push(&mut self, offset: u64, group: Group) {
        if self.groups.is_empty() {
            self.start = offset;
        }
        assert_eq!(
            offset,
            self.start + self.bytes as u64,
            "groups lie one behind the other"
        );
        assert!(self.groups.len() < GROUPS_MAX, "it is written when it is full");
        self.bytes += group.bytes().len();
        self.groups.push(group);
    }

    /// Where the first group begins.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Their bytes in order, and nothing behind the last.
    pub(crate) fn parts(&self) -> [&[u8]; GROUPS_MAX] {
        std::array::from_fn(|at| self.groups.get(at).map_or(&[][..], Group::bytes))
    }

    /// They have been written; large buffers are given back to the allocator.
    pub(crate) fn clear(&mut self) {
        self.bytes = 0;
        for group in self.groups.drain(..) {
            let buffer = group.into_buffer();
            if self.spares.len() < GROUPS_MAX && buffer.capacity() <= BYTES_MAX {
                self.spares.push(buffer);
            }
        }
    }

    /// Nothing has come for a while: gives the memory back.
    pub(crate) fn shrink(&mut self) {
        self.spares = Vec::new();
    }
}
