//! How often messages came back to their queue, by ranges of their numbers: one record of the log may name four billion messages in
//! twenty bytes, and what recovery keeps must not be larger than what it reads.

use std::collections::BTreeMap;

use everack_broker::ids::Seq;

/// Ranges by their first number, apart from each other. What is in none of them has not come back.
#[derive(Clone, Debug, Default)]
pub struct Returns(BTreeMap<u64, Span>);

#[derive(Clone, Copy, Debug)]
struct Span {
    /// Behind the last number.
    end: u64,
    times: u32,
}

impl Returns {
    /// Whether nothing has come back.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often a message has come back.
    pub fn of(&self, seq: Seq) -> u32 {
        let span = self.0.range(..=seq.0).next_back();
        span.filter(|(_, span)| seq.0 < span.end)
            .map_or(0, |(_, span)| span.times)
    }

    /// Counts `times` more returns of messages `low..high`.
    pub(super) fn add(&mut self, low: u64, high: u64, times: u32) {
        self.change(low, high, times, |before| before.saturating_add(times));
    }

    /// What has a count gets another one, what has none gets `times`.
    fn change(&mut self, low: u64, high: u64, times: u32, change: impl Fn(u32) -> u32) {
        self.part(low, high);
        let mut gaps = Vec::new();
        let mut from = low;
        for (first, span) in self.0.range_mut(low..high) {
            if from < *first {
                gaps.push((from, *first));
            }
            span.times = change(span.times);
            from = span.end;
        }
        if from < high {
            gaps.push((from, high));
        }
        let spans = gaps.into_iter().map(|(first, end)| (first, Span { end, times }));
        self.0.extend(spans);
    }

    /// Messages `low..high` have come back `times` times at the least.
    pub(super) fn raise(&mut self, low: u64, high: u64, times: u32) {
        self.change(low, high, times, |before| before.max(times));
    }

    /// Forgets messages `low..high`.
    pub(super) fn remove(&mut self, low: u64, high: u64) {
        self.part(low, high);
        let gone: Vec<u64> = self.0.range(low..high).map(|(first, _)| *first).collect();
        for first in gone {
            self.0.remove(&first);
        }
    }

    /// What of messages `low..high` has come back, as first number, number behind the last, and how often.
    pub(super) fn within(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, u64, u32)> + '_ {
        let before = self.0.range(..low).next_back().filter(|(_, span)| span.end > low);
        let spans = before.into_iter().chain(self.0.range(low..high));
        spans.map(move |(first, span)| (low.max(*first), high.min(span.end), span.times))
    }

    /// Makes ranges begin and end at both of these.
    fn part(&mut self, low: u64, high: u64) {
        debug_assert!(low <= high, "a range has no end before its beginning");
        for at in [low, high] {
            let Some((_, span)) = self.0.range_mut(..at).next_back() else {
                continue;
            };
            if span.end > at {
                let behind = *span;
                span.end = at;
                self.0.insert(at, behind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: impl FnOnce(&mut Returns), expected: &[(u64, u64, u32)]) {
        let mut returns = Returns::default();
        returns.add(10, 20, 1);
        steps(&mut returns);
        let whole: Vec<_> = returns.within(0, u64::MAX).collect();
        assert_eq!(whole, expected);
        for (low, high, times) in whole {
            assert_eq!((returns.of(Seq(low)), returns.of(Seq(high - 1))), (times, times));
        }
    }

    #[test]
    fn ranges_are_added_and_taken_away() {
        check(|_| (), &[(10, 20, 1)]);
        check(
            |returns| returns.add(12, 15, 2),
            &[(10, 12, 1), (12, 15, 3), (15, 20, 1)],
        );
        check(
            |returns| returns.add(5, 12, 1),
            &[(5, 10, 1), (10, 12, 2), (12, 20, 1)],
        );
        check(
            |returns| returns.add(18, 30, 4),
            &[(10, 18, 1), (18, 20, 5), (20, 30, 4)],
        );
        check(|returns| returns.remove(12, 15), &[(10, 12, 1), (15, 20, 1)]);
        check(|returns| returns.remove(0, 100), &[]);
        check(|returns| returns.add(20, 20, 1), &[(10, 20, 1)]);
        let raised = |returns: &mut Returns| {
            returns.raise(15, 25, 4);
            returns.raise(0, 17, 2);
        };
        check(
            raised,
            &[(0, 10, 2), (10, 15, 2), (15, 17, 4), (17, 20, 4), (20, 25, 4)],
        );
    }

    #[test]
    fn a_look_within_is_cut_to_what_was_asked_for() {
        let mut returns = Returns::default();
        returns.add(10, u64::MAX, 3);
        assert_eq!(returns.within(5, 12).collect::<Vec<_>>(), [(10, 12, 3)]);
        assert_eq!(returns.within(50, 52).collect::<Vec<_>>(), [(50, 52, 3)]);
        assert_eq!((returns.of(Seq(9)), returns.of(Seq(10))), (0, 3));
    }
}
