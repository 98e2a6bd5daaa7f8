//! Storage with small stable keys: queues and consumers are looked up by id once a command, and by slot from there on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Where a queue or consumer is kept.
pub(super) type Slot = u32;

/// A vector whose freed places are used again.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = Some(value);
            return slot;
        }
        let slot = Slot::try_from(self.places.len()).expect("fewer than four billion queues or consumers");
        self.places.push(Some(value));
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> T {
        let value = self.places[slot as usize].take().expect("a slot in use");
        self.free.push(slot);
        value
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut T)> {
        self.places
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, value)| Some((slot as Slot, value.as_mut()?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(slot, value)| Some((slot as Slot, value.as_ref()?)))
    }
}

impl<T> std::ops::Index<Slot> for Slots<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        self.places[slot as usize].as_ref().expect("a slot in use")
    }
}

impl<T> std::ops::IndexMut<Slot> for Slots<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        self.places[slot as usize].as_mut().expect("a slot in use")
    }
}

/// A map keyed by ids that we number ourselves. Nobody outside chooses them, so a cheap hash will do.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// One multiplication, turned so that both the high and the low bits of the product are well mixed.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(26);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
