//! Samples of one thing at one resolution: a row of numbers each, in few bytes.
//!
//! The oldest and the newest row are kept as they are, what lies between as changes:
//!
//! ```text
//! oldest row   | change | change | ... | change |   newest row
//!                 ticks since the row before (varint)
//!                 which numbers changed, a bit each (varint)
//!                 how much each of them did (varint, zigzag)
//! ```
//!
//! A row that equals the one before is not stored, so a thing that nobody uses costs two rows however long it is looked at.
//! A busy queue's change is some 20 bytes.

use std::collections::VecDeque;

use super::Tick;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Series {
    oldest: Box<[u64]>,
    oldest_at: Tick,
    newest: Box<[u64]>,
    newest_at: Tick,
    changes: VecDeque<u8>,
    /// Bytes of the last change, so that it can be found from behind.
    last_bytes: usize,
}

impl Series {
    /// Begins with a row of at most 32 numbers.
    pub(super) fn new(at: Tick, row: &[u64]) -> Self {
        Self {
            oldest: row.into(),
            oldest_at: at,
            newest: row.into(),
            newest_at: at,
            changes: VecDeque::new(),
            last_bytes: 0,
        }
    }

    /// The last row that was recorded as a change, or the first.
    pub(super) fn newest(&self) -> &[u64] {
        &self.newest
    }

    /// Adds a row that is later than all; nothing if nothing has changed.
    pub(super) fn record(&mut self, at: Tick, row: &[u64]) {
        let changed = row.iter().zip(&self.newest).enumerate();
        let mask = changed.fold(0u64, |mask, (index, (new, old))| {
            mask | (u64::from(new != old) << index)
        });
        if mask == 0 || at <= self.newest_at {
            return;
        }
        let before = self.changes.len();
        put(&mut self.changes, u64::from(at - self.newest_at));
        put(&mut self.changes, mask);
        for (new, old) in row.iter().zip(&self.newest).filter(|(new, old)| new != old) {
            put(&mut self.changes, zigzag(new.wrapping_sub(*old) as i64));
        }
        self.last_bytes = self.changes.len() - before;
        self.newest.copy_from_slice(row);
        self.newest_at = at;
    }

    /// Forgets what changed before `first`, but how things stood then.
    pub(super) fn forget_before(&mut self, first: Tick) {
        while let Some(gap) = Bytes::new(&self.changes, 0).gap() {
            if self.oldest_at + gap > first {
                return;
            }
            let mut bytes = Bytes::new(&self.changes, 0);
            self.oldest_at += bytes.change(&mut self.oldest);
            let used = bytes.at;
            self.changes.drain(..used);
        }
        self.changes.shrink_to_fit();
        self.last_bytes = 0;
    }

    /// How much each number changed in the row recorded at exactly `at`, the newest; none if that changed nothing.
    pub(super) fn last_change(&self, at: Tick) -> Option<Vec<i64>> {
        if at != self.newest_at || self.changes.is_empty() {
            return None;
        }
        let mut before = vec![0; self.newest.len()];
        let mut bytes = Bytes::new(&self.changes, self.changes.len() - self.last_bytes);
        bytes.change(&mut before);
        Some(before.into_iter().map(|change| change as i64).collect())
    }

    /// The rows as they stood at `ticks`, which rise; none for those before the first sample.
    pub(super) fn rows(&self, ticks: impl Iterator<Item = Tick>) -> Vec<Option<Box<[u64]>>> {
        let (mut row, mut at) = (self.oldest.clone(), self.oldest_at);
        let mut bytes = Bytes::new(&self.changes, 0);
        let mut rows = Vec::new();
        for tick in ticks {
            while let Some(gap) = bytes.gap().filter(|gap| at + gap <= tick) {
                at += gap;
                bytes.change(&mut row);
            }
            rows.push((tick >= self.oldest_at).then(|| row.clone()));
        }
        rows
    }
}

/// Reads changes, from some byte on.
struct Bytes<'a> {
    changes: &'a VecDeque<u8>,
    at: usize,
}

impl<'a> Bytes<'a> {
    fn new(changes: &'a VecDeque<u8>, at: usize) -> Self {
        Self { changes, at }
    }

    /// The ticks before the next change, if there is one.
    fn gap(&self) -> Option<Tick> {
        (self.at < self.changes.len()).then(|| {
            let mut ahead = Bytes::new(self.changes, self.at);
            ahead.number() as Tick
        })
    }

    /// Applies the next change to a row; says how many ticks it is later.
    fn change(&mut self, row: &mut [u64]) -> Tick {
        let gap = self.number() as Tick;
        let mut mask = self.number();
        while mask != 0 {
            let index = mask.trailing_zeros() as usize;
            row[index] = row[index].wrapping_add(unzigzag(self.number()) as u64);
            mask &= mask - 1;
        }
        gap
    }

    fn number(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.changes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
}

fn put(bytes: &mut VecDeque<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push_back(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push_back(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rows: &[(Tick, [u64; 2])]) -> Series {
        let mut series = Series::new(rows[0].0, &rows[0].1);
        rows[1..].iter().for_each(|(at, row)| series.record(*at, row));
        series
    }

    /// The rows that are seen at some ticks.
    fn check(series: &Series, ticks: &[Tick], expected: &[Option<[u64; 2]>]) {
        let rows = series.rows(ticks.iter().copied());
        let rows: Vec<_> = rows.iter().map(|row| row.as_deref()).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|row| row.as_ref().map(|row| &row[..]))
            .collect();
        assert_eq!(rows, expected, "{ticks:?}");
    }

    #[test]
    fn rows_hold_until_they_change() {
        let series = series(&[(10, [1, 100]), (12, [3, 90]), (13, [3, 90]), (20, [u64::MAX, 0])]);
        check(&series, &[9, 10, 11], &[None, Some([1, 100]), Some([1, 100])]);
        check(
            &series,
            &[12, 19, 20, 99],
            &[
                Some([3, 90]),
                Some([3, 90]),
                Some([u64::MAX, 0]),
                Some([u64::MAX, 0]),
            ],
        );
        check(&series, &[], &[]);
    }

    #[test]
    fn the_last_change_is_known() {
        let series = series(&[(10, [1, 100]), (12, [3, 90]), (13, [4, 90])]);
        assert_eq!(series.last_change(13), Some(vec![1, 0]));
        assert_eq!(series.last_change(14), None, "nothing has changed since");
        assert_eq!(series.newest(), [4, 90]);
    }

    #[test]
    fn what_is_old_is_forgotten_but_how_it_stood() {
        let mut series = series(&[(10, [1, 100]), (12, [3, 90]), (20, [4, 80])]);
        series.forget_before(15);
        check(
            &series,
            &[10, 12, 19, 20],
            &[None, Some([3, 90]), Some([3, 90]), Some([4, 80])],
        );
        assert_eq!(series.last_change(20), Some(vec![1, -10]));
        series.forget_before(20);
        check(&series, &[19, 20], &[None, Some([4, 80])]);
        assert_eq!(series.last_change(20), None);
        series.record(21, &[5, 80]);
        assert_eq!(series.last_change(21), Some(vec![1, 0]));
    }

    #[test]
    fn what_does_not_change_costs_nothing_and_what_does_little() {
        let mut series = Series::new(0, &[0; 12]);
        for at in 1..1000 {
            series.record(at, &[0; 12]);
        }
        assert_eq!(series.changes.len(), 0);
        for at in 1000..1121u32 {
            let count = u64::from(at) * 50_000;
            series.record(at, &[7, 5, 2, count, count, 0, 0, 0, 0, count, count, 0]);
        }
        assert!(series.changes.len() < 121 * 20, "{}", series.changes.len());
    }

    #[test]
    fn numbers_survive() {
        for value in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
            let mut bytes = VecDeque::new();
            put(&mut bytes, zigzag(value));
            assert_eq!(Bytes::new(&bytes, 0).number(), zigzag(value));
        }
    }
}
