//! A list that is mostly one long, and seldom very long: the one lies in place, without memory of its own.

use std::mem;
use std::ops::{Deref, DerefMut};

/// See the module documentation. Reads as a slice.
#[derive(Debug, Clone)]
pub struct ShortList<T>(Items<T>);

#[derive(Debug, Clone)]
enum Items<T> {
    One(T),
    /// None, or several, or one that more were expected with.
    Several(Vec<T>),
}

impl<T> ShortList<T> {
    /// Of one.
    pub fn one(item: T) -> Self {
        Self(Items::One(item))
    }

    /// Adds to the end.
    #[inline]
    pub fn push(&mut self, item: T) {
        match &mut self.0 {
            Items::Several(list) if list.capacity() > 0 => list.push(item),
            Items::Several(_) => self.0 = Items::One(item),
            Items::One(_) => {
                self.make_room(1);
                self.push(item);
            }
        }
    }

    /// Makes room for so many more. Where there will be one alone, there is room already.
    pub fn make_room(&mut self, count: usize) {
        match &mut self.0 {
            Items::Several(list) if list.len() + count > 1 => list.reserve_exact(count),
            Items::Several(_) => (),
            Items::One(_) => {
                let mut list = Vec::with_capacity(1 + count);
                if let Items::One(item) = mem::replace(&mut self.0, Items::Several(Vec::new())) {
                    list.push(item);
                }
                self.0 = Items::Several(list);
            }
        }
    }

    /// Gives back what was taken too much, if it is much.
    pub fn shrink(&mut self) {
        let Items::Several(list) = &mut self.0 else {
            return;
        };
        match list.len() {
            1 => self.0 = list.pop().map_or(Items::Several(Vec::new()), Items::One),
            length if list.capacity() > length + length / 2 => list.shrink_to_fit(),
            _ => (),
        }
    }
}

impl<T> Default for ShortList<T> {
    fn default() -> Self {
        Self(Items::Several(Vec::new()))
    }
}

impl<T> Deref for ShortList<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Items::One(item) => std::slice::from_ref(item),
            Items::Several(list) => list,
        }
    }
}

impl<T> DerefMut for ShortList<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Items::One(item) => std::slice::from_mut(item),
            Items::Several(list) => list,
        }
    }
}

impl<T> From<Vec<T>> for ShortList<T> {
    fn from(list: Vec<T>) -> Self {
        let mut list = Self(Items::Several(list));
        list.shrink();
        list
    }
}

impl<T> FromIterator<T> for ShortList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items = items.into_iter();
        let mut list = Self::default();
        list.make_room(items.size_hint().0);
        items.for_each(|item| list.push(item));
        list.shrink();
        list
    }
}

impl<'a, T> IntoIterator for &'a ShortList<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of `0..count`, pushed into one with room for `expected`, and whether it lies in place.
    #[track_caller]
    fn check(expected: usize, count: u32, in_place: bool) {
        let mut list = ShortList::default();
        list.make_room(expected);
        (0..count).for_each(|item| list.push(item));
        list.shrink();
        let whole: Vec<u32> = (0..count).collect();
        assert_eq!(*list, whole, "room for {expected}");
        assert_eq!(matches!(list.0, Items::One(_)), in_place, "room for {expected}");
        assert_eq!(*whole.iter().copied().collect::<ShortList<u32>>(), whole);
        assert_eq!(*ShortList::from(whole.clone()), whole);
    }

    #[test]
    fn it_holds_what_was_pushed() {
        for expected in [0, 1, 2, 10, 1000] {
            check(expected, 0, false);
            check(expected, 1, true);
            check(expected, 2, false);
            check(expected, 9, false);
        }
    }

    #[test]
    fn it_keeps_little_more_room_than_it_needs() {
        let mut list = ShortList::default();
        list.make_room(1000);
        (0..10).for_each(|item| list.push(item));
        list.shrink();
        assert!(matches!(&list.0, Items::Several(list) if list.capacity() < 16));
    }
}
