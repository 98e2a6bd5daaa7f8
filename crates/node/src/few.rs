//! One of something mostly, and several seldom: the one lies here, without an allocation. For what every batch of messages brings along.

use std::ops::Deref;
use std::sync::Arc;

/// See the module documentation. Reads as a slice.
#[derive(Clone, Debug)]
pub enum Few<T> {
    /// One.
    One(T),
    /// None, or several.
    Several(Arc<[T]>),
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        let Some(first) = items.next() else {
            return Self::Several(Arc::from([]));
        };
        match items.next() {
            None => Self::One(first),
            Some(second) => Self::Several([first, second].into_iter().chain(items).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_made_of() {
        for count in [0, 1, 2, 5] {
            let few: Few<u32> = (0..count).collect();
            assert_eq!(*few, (0..count).collect::<Vec<_>>()[..], "{count}");
            assert_eq!(matches!(few, Few::One(_)), count == 1);
        }
    }
}
