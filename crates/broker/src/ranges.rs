//! Values by ranges of numbers: what is the same for many neighbouring messages is kept once.

use std::collections::BTreeMap;

/// Ranges by their first number, apart from each other; neighbours with the same value are one range.
#[derive(Clone, Debug)]
pub struct Ranges<V>(BTreeMap<u64, Range<V>>);

#[derive(Clone, Copy, Debug)]
struct Range<V> {
    /// Behind the last number.
    end: u64,
    value: V,
}

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Copy + Eq> Ranges<V> {
    /// Whether no number has a value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives numbers `low..high` this value, whatever they had before.
    pub fn set(&mut self, low: u64, high: u64, value: V) {
        if low >= high {
            return;
        }
        self.remove(low, high);
        let (mut low, mut high) = (low, high);
        if let Some((&first, before)) = self.0.range(..low).next_back()
            && before.end == low
            && before.value == value
        {
            low = first;
        }
        if let Some(behind) = self.0.get(&high).copied()
            && behind.value == value
        {
            self.0.remove(&high);
            high = behind.end;
        }
        self.0.insert(low, Range { end: high, value });
    }

    /// Takes the values of `low..high` away.
    pub fn remove(&mut self, low: u64, high: u64) {
        if low >= high || self.0.is_empty() {
            return;
        }
        self.part(low);
        self.part(high);
        while let Some((&first, _)) = self.0.range(low..high).next() {
            self.0.remove(&first);
        }
    }

    /// The value of a number.
    pub fn get(&self, at: u64) -> Option<V> {
        let (_, range) = self.0.range(..=at).next_back()?;
        (at < range.end).then_some(range.value)
    }

    /// The ranges within `low..high`, as first number, number behind the last, and value.
    pub fn within(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, u64, V)> + '_ {
        let before = self
            .0
            .range(..low)
            .next_back()
            .filter(|(_, range)| range.end > low);
        let ranges = before.into_iter().chain(self.0.range(low..high.max(low)));
        ranges.map(move |(&first, range)| (low.max(first), high.min(range.end), range.value))
    }

    /// All ranges.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, V)> + '_ {
        self.0
            .iter()
            .map(|(&first, range)| (first, range.end, range.value))
    }

    /// Makes a range that holds `at` and the number before it into two.
    fn part(&mut self, at: u64) {
        if let Some((_, range)) = self.0.range_mut(..at).next_back()
            && range.end > at
        {
            let behind = *range;
            range.end = at;
            self.0.insert(at, behind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: impl FnOnce(&mut Ranges<u8>), expected: &[(u64, u64, u8)]) {
        let mut ranges = Ranges::default();
        ranges.set(10, 20, 1);
        steps(&mut ranges);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), expected);
        for &(low, high, value) in expected {
            assert_eq!(
                (ranges.get(low), ranges.get(high - 1)),
                (Some(value), Some(value))
            );
        }
    }

    #[test]
    fn values_are_set_and_taken_away() {
        check(|_| (), &[(10, 20, 1)]);
        check(|ranges| ranges.set(20, 30, 1), &[(10, 30, 1)]);
        check(|ranges| ranges.set(5, 10, 1), &[(5, 20, 1)]);
        check(|ranges| ranges.set(20, 30, 2), &[(10, 20, 1), (20, 30, 2)]);
        check(
            |ranges| ranges.set(12, 15, 2),
            &[(10, 12, 1), (12, 15, 2), (15, 20, 1)],
        );
        check(|ranges| ranges.set(5, 25, 2), &[(5, 25, 2)]);
        check(|ranges| ranges.set(7, 7, 2), &[(10, 20, 1)]);
        check(|ranges| ranges.remove(0, 12), &[(12, 20, 1)]);
        check(|ranges| ranges.remove(14, 15), &[(10, 14, 1), (15, 20, 1)]);
        check(|ranges| ranges.remove(0, u64::MAX), &[]);
    }

    #[test]
    fn a_look_within_is_cut_to_what_was_asked_for() {
        let mut ranges = Ranges::default();
        ranges.set(10, u64::MAX, 3u8);
        assert_eq!(ranges.within(5, 12).collect::<Vec<_>>(), [(10, 12, 3)]);
        assert_eq!(ranges.within(50, 52).collect::<Vec<_>>(), [(50, 52, 3)]);
        assert_eq!(ranges.within(5, 9).next(), None);
        assert_eq!((ranges.get(9), ranges.get(10)), (None, Some(3)));
    }
}
