//! A persistent map that is small while it holds little.
//!
//! Most queues have one binding and most nodes of a trie one child: a tree node for each would cost hundreds of bytes. Up to
//! [`FEW_MAX`] entries are kept in one shared slice, beyond that in a tree of wide nodes; either is cloned for one counter.
//!
//! A tree, because a hash trie is nearly empty at some sizes: with a million topic bindings all of them took 522 bytes each, and ten
//! microseconds to add; with the tree 287 (180 since their ends are kept once) and three. It finds more slowly: a message among that million costs 1.6 us in all instead of 0.9.
//! And nobody who chooses the names can make a tree slow.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use imbl::{GenericHashMap, GenericOrdMap, shared_ptr::DefaultSharedPtr};

use super::keyed_hash::Keyed;

/// A persistent hash map with the catalog's hasher.
pub(crate) type Map<K, V> = GenericHashMap<K, V, Keyed, DefaultSharedPtr>;

/// See the module.
#[derive(Clone)]
pub(crate) enum SmallMap<K, V> {
    Few(Arc<[(K, V)]>),
    Many(GenericOrdMap<K, V, DefaultSharedPtr>),
}

/// Entries kept in a slice; measured, a scan of so many short names costs no more than hashing one.
const FEW_MAX: usize = 8;

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        SmallMap::Few(Arc::default())
    }
}

impl<K: Clone + Ord, V: Clone> SmallMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        match self {
            SmallMap::Few(few) => few.len(),
            SmallMap::Many(many) => many.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.get_entry(key).map(|(_, value)| value)
    }

    /// The key as it was added, and the value.
    pub(crate) fn get_entry<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            SmallMap::Few(few) => few
                .iter()
                .find(|(candidate, _)| candidate.borrow() == key)
                .map(|(key, value)| (key, value)),
            SmallMap::Many(many) => many.get_key_value(key),
        }
    }

    /// Keys that are likely to resemble this one: all of few, of many the last that is not above it and the first that is not below.
    pub(crate) fn neighbours(&self, key: &K) -> impl Iterator<Item = &K> {
        let (few, below, above) = match self {
            SmallMap::Few(few) => (&few[..], None, None),
            SmallMap::Many(many) => (&[][..], many.get_prev(key), many.get_next(key)),
        };
        let few = few.iter().map(|(key, _)| key);
        few.chain([below, above].into_iter().flatten().map(|(key, _)| key))
    }

    /// The value, to be changed in place where it is not shared with a snapshot.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            SmallMap::Few(few) => {
                let at = few.iter().position(|(candidate, _)| candidate.borrow() == key)?;
                Some(&mut Arc::make_mut(few)[at].1)
            }
            SmallMap::Many(many) => many.get_mut(key),
        }
    }

    /// Adds an entry whose key is not there yet.
    pub(crate) fn add(&mut self, key: K, value: V) {
        debug_assert!(self.get(&key).is_none(), "the key is there already");
        match self {
            SmallMap::Few(few) if few.len() < FEW_MAX => {
                *few = few.iter().cloned().chain([(key, value)]).collect();
            }
            SmallMap::Few(few) => {
                let mut many = GenericOrdMap::new();
                many.extend(few.iter().cloned());
                many.insert(key, value);
                *self = SmallMap::Many(many);
            }
            SmallMap::Many(many) => {
                many.insert(key, value);
            }
        }
    }

    /// Removes an entry and says whether it was there.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            SmallMap::Few(few) => {
                let before = few.len();
                *few = few
                    .iter()
                    .filter(|(candidate, _)| candidate.borrow() != key)
                    .cloned()
                    .collect();
                few.len() < before
            }
            SmallMap::Many(many) => {
                let was_there = many.remove(key).is_some();
                // Half of the bound, so that a map at the border does not change its form at every step.
                if many.len() <= FEW_MAX / 2 {
                    *self = SmallMap::Few(
                        many.iter()
                            .map(|(key, value)| (key.clone(), value.clone()))
                            .collect(),
                    );
                }
                was_there
            }
        }
    }

    /// Few in the order in which they came, many in their own.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match self {
            SmallMap::Few(few) => (Some(few.iter().map(|(key, value)| (key, value))), None),
            SmallMap::Many(many) => (None, Some(many.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

impl<K: Clone + Ord + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_without_losing_an_entry() {
        let mut map = SmallMap::default();
        for number in 0..40_u64 {
            map.add(number, number * 2);
            let snapshot = map.clone();
            *map.get_mut(&number).expect("just added") += 1;
            assert_eq!(snapshot.get(&number), Some(&(number * 2)));
        }
        assert!(matches!(map, SmallMap::Many(_)));
        assert_eq!(map.get_entry(&7), Some((&7, &15)));
        for number in 0..40_u64 {
            let mut keys: Vec<u64> = map.iter().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            assert_eq!(keys, (number..40).collect::<Vec<_>>());
            assert_eq!(map.get(&number), Some(&(number * 2 + 1)));
            assert!(map.remove(&number));
            assert!(!map.remove(&number));
        }
        assert!(matches!(map, SmallMap::Few(_)));
        assert!(map.is_empty());
    }

    #[test]
    fn neighbours_are_all_of_few_and_the_nearest_of_many() {
        let check = |keys: u64, key: u64, expected: &[u64]| {
            let mut map = SmallMap::default();
            (0..keys).for_each(|number| map.add(number * 2, ()));
            assert_eq!(map.neighbours(&key).copied().collect::<Vec<_>>(), expected);
        };
        check(0, 1, &[]);
        check(2, 9, &[0, 2]);
        check(100, 9, &[8, 10]);
        check(100, 199, &[198]);
    }
}
