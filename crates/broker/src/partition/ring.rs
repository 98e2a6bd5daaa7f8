//! Rings of consumers: who may be delivered to next, and who waits for what.
//!
//! A consumer is in at most one ring at a time, so the links live in the consumer itself: entering and leaving any
//! ring costs the same few writes whatever its length, and allocates nothing.

use super::consumer::Consumer;
use super::slots::{Slot, Slots};

/// The neighbours of a consumer in its ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: Slot,
    behind: Slot,
}

const NOBODY: Slot = Slot::MAX;

impl Default for Links {
    fn default() -> Self {
        Self {
            before: NOBODY,
            behind: NOBODY,
        }
    }
}

/// First come, first served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    first: Slot,
    last: Slot,
    len: u32,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            first: NOBODY,
            last: NOBODY,
            len: 0,
        }
    }
}

impl Ring {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn first(&self) -> Option<Slot> {
        (self.first != NOBODY).then_some(self.first)
    }

    pub(super) fn push_back<C>(&mut self, consumers: &mut Slots<Consumer<C>>, slot: Slot) {
        consumers[slot].links = Links {
            before: self.last,
            behind: NOBODY,
        };
        match self.last {
            NOBODY => self.first = slot,
            last => consumers[last].links.behind = slot,
        }
        self.last = slot;
        self.len += 1;
    }

    pub(super) fn remove<C>(&mut self, consumers: &mut Slots<Consumer<C>>, slot: Slot) {
        let Links { before, behind } = std::mem::take(&mut consumers[slot].links);
        match before {
            NOBODY => self.first = behind,
            before => consumers[before].links.behind = behind,
        }
        match behind {
            NOBODY => self.last = before,
            behind => consumers[behind].links.before = before,
        }
        self.len -= 1;
    }

    /// The first becomes the last.
    pub(super) fn rotate<C>(&mut self, consumers: &mut Slots<Consumer<C>>) {
        if self.len > 1 {
            let first = self.first;
            self.remove(consumers, first);
            self.push_back(consumers, first);
        }
    }

    pub(super) fn iter<'a, C>(
        &self,
        consumers: &'a Slots<Consumer<C>>,
    ) -> impl Iterator<Item = Slot> + use<'a, C> {
        let behind = |&slot: &Slot| Some(consumers[slot].links.behind).filter(|&next| next != NOBODY);
        std::iter::successors(self.first(), behind)
    }
}
