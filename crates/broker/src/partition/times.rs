//! When a consumer got what it holds: to the second, without a number for each message.
//!
//! Deliveries are noted in groups: what was handed over within a second is one, or within a 64th of the consumer's patience if that
//! is less. If there are many groups, neighbours become one as long as they span no more than a 32nd of the time for which the
//! oldest is held; so there are few of them, and what is held for longest is known best.

use std::collections::VecDeque;

use crate::ids::Millis;

/// Deliveries of one consumer, by when they were made.
#[derive(Debug)]
pub(super) struct Times {
    /// From then on a delivery is no part of the last group; never for who does not acknowledge.
    pub(super) next: Millis,
    granule_millis: u64,
    /// By the number of the first.
    groups: VecDeque<Group>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first: u64,
    /// When the first was made.
    at: Millis,
    /// When the last was made at the latest.
    until: Millis,
}

const GRANULE_MILLIS: u64 = 1_000;
/// A group is this part of the patience at the most.
const PATIENCE_PARTS: u64 = 64;
/// Groups that are kept as they came.
const GROUPS_MAX: usize = 128;
/// What groups that became one may span, as a part of the time for which the oldest is held. With more groups than four times this
/// some always fit together.
const SPAN_PARTS: u64 = 32;

impl Times {
    /// Of somebody who may hold a message for so long, if there is a bound.
    pub(super) fn new(patience_millis: Option<u64>) -> Self {
        let granule = patience_millis.map_or(GRANULE_MILLIS, |millis| millis / PATIENCE_PARTS);
        Self {
            next: Millis(0),
            granule_millis: granule.min(GRANULE_MILLIS),
            groups: VecDeque::new(),
        }
    }

    /// Of somebody who holds nothing, as it does not acknowledge.
    pub(super) fn never() -> Self {
        Self {
            next: Millis(u64::MAX),
            ..Self::new(None)
        }
    }

    /// A delivery was made, not before [`Times::next`]; `oldest` is the first that is not settled.
    #[inline(never)]
    pub(super) fn note(&mut self, delivery: u64, oldest: u64, now: Millis) {
        self.forget_before(oldest);
        if self.groups.len() >= GROUPS_MAX {
            self.thin(now);
        }
        let until = now.plus(self.granule_millis);
        self.next = until.plus(1);
        self.groups.push_back(Group {
            first: delivery,
            at: now,
            until,
        });
    }

    /// When this delivery was made; a little earlier if it is not the first of its group.
    pub(super) fn at(&self, delivery: u64) -> Option<Millis> {
        let behind = self.groups.partition_point(|group| group.first <= delivery);
        Some(self.groups.get(behind.checked_sub(1)?)?.at)
    }

    /// When the oldest delivery that is not settled was made at the latest. If there is none, the next one begins anew.
    pub(super) fn oldest_until(&mut self, oldest: Option<u64>) -> Option<Millis> {
        let Some(oldest) = oldest else {
            self.groups.clear();
            self.next = Millis(0);
            return None;
        };
        self.forget_before(oldest);
        self.groups.front().map(|group| group.until)
    }

    fn forget_before(&mut self, oldest: u64) {
        while self.groups.get(1).is_some_and(|next| next.first <= oldest) {
            self.groups.pop_front();
        }
    }

    /// Makes one of neighbours that are close together for how long ago they are.
    fn thin(&mut self, now: Millis) {
        let begin = self.groups.front().map_or(now, |group| group.at);
        let span = (now.0 - begin.0) / SPAN_PARTS;
        let mut thinned: VecDeque<Group> = VecDeque::with_capacity(GROUPS_MAX);
        for group in self.groups.drain(..) {
            match thinned.back_mut() {
                Some(last) if group.until.0 - last.at.0 <= span => last.until = group.until,
                _ => thinned.push_back(group),
            }
        }
        self.groups = thinned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes deliveries made at these times, one each, as the partition does; the first `settled` are settled then.
    fn noted(times: &mut Times, settled: u64, at: impl IntoIterator<Item = u64>) {
        for (delivery, now) in (0..).zip(at) {
            if Millis(now) >= times.next {
                times.note(delivery, settled.min(delivery), Millis(now));
            }
        }
    }

    #[test]
    fn deliveries_of_a_second_are_one_group() {
        let mut times = Times::new(None);
        assert_eq!(times.at(0), None);
        noted(&mut times, 0, [0, 10, 1_000, 1_001, 5_000]);
        let at: Vec<_> = (0..6).map(|delivery| times.at(delivery).map(|at| at.0)).collect();
        assert_eq!(
            at,
            [Some(0), Some(0), Some(0), Some(1_001), Some(5_000), Some(5_000)]
        );
        assert_eq!(times.oldest_until(Some(1)), Some(Millis(1_000)));
        assert_eq!(times.oldest_until(Some(3)), Some(Millis(2_001)));
        assert_eq!(times.at(3), Some(Millis(1_001)));
        assert_eq!(times.oldest_until(None), None);
        assert_eq!((times.at(3), times.next), (None, Millis(0)));
        let mut hasty = Times::new(Some(640));
        noted(&mut hasty, 0, [0, 10, 11]);
        assert_eq!(hasty.oldest_until(Some(1)), Some(Millis(10)));
        assert_eq!(hasty.oldest_until(Some(2)), Some(Millis(21)));
    }

    #[test]
    fn who_holds_one_for_long_has_few_groups_and_ages_that_are_right() {
        let mut times = Times::new(None);
        noted(&mut times, 0, (0..100_000).map(|second| second * 1_001));
        assert!(times.groups.len() <= GROUPS_MAX, "{}", times.groups.len());
        assert_eq!(times.at(0), Some(Millis(0)));
        let now = 100_000 * 1_001;
        for delivery in (0..100_000).step_by(997) {
            let at = times.at(delivery).expect("it is held").0;
            let made = delivery * 1_001;
            assert!(at <= made && made - at <= now / SPAN_PARTS, "{delivery}: {at}");
        }
        let until = times.oldest_until(Some(0)).expect("it is held").0;
        assert!(until <= now / SPAN_PARTS, "{until}");
    }

    #[test]
    fn what_is_far_apart_stays_so() {
        let mut times = Times::new(None);
        let at = [0, 1_000_000].into_iter();
        noted(
            &mut times,
            0,
            at.chain((1..300).map(|second| 1_000_000 + second * 1_001)),
        );
        assert!(times.groups.len() <= GROUPS_MAX);
        assert_eq!(times.oldest_until(Some(0)), Some(Millis(1_000)));
        assert_eq!(times.at(1), Some(Millis(1_000_000)));
    }

    #[test]
    fn what_is_settled_is_forgotten() {
        let mut times = Times::new(None);
        noted(&mut times, u64::MAX, (0..1_000).map(|second| second * 1_001));
        assert!(times.groups.len() <= 2, "{}", times.groups.len());
    }
}
