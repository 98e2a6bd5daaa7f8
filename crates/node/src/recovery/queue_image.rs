//! The contents of one queue as recovery knows them so far: where its live messages lie.
//!
//! Ten million messages have to fit in memory while they are read, so the messages are kept as runs of 24 bytes in the order of their
//! numbers. Settlements mostly take from the front. One that falls into the middle of a run leaves a stump in the list and puts
//! the rest among the `fragments`, so that nothing is ever shifted.

use std::collections::{BTreeMap, VecDeque};

use everack_broker::ids::{Location, Seq};
use everack_broker::partition::{Aside, Death, Kept, LiveRun, Marks};

use super::returns::Returns;
use crate::record::{self, Counted, SetAside};

/// Live messages `first..first + (to - from)`, entries `from..to` of the record at `location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRun {
    /// The first message's number.
    pub first: Seq,
    /// The record.
    pub location: Location,
    /// Their share of the record's bytes.
    pub bytes: u32,
    /// The first entry.
    pub from: u16,
    /// The one behind the last; equal to `from` for a stump.
    pub to: u16,
}

impl ImageRun {
    /// How many messages.
    pub fn count(&self) -> u64 {
        u64::from(self.to - self.from)
    }

    fn end(&self) -> u64 {
        self.first.0 + self.count()
    }

    /// Messages `low..high` of this run, which have to be some of it.
    fn slice(&self, low: u64, high: u64) -> ImageRun {
        let skipped = (low - self.first.0) as u16;
        let count = (high - low) as u16;
        let bytes = u64::from(self.bytes) * u64::from(count) / self.count().max(1);
        let from = self.from + skipped;
        ImageRun {
            first: Seq(low),
            location: self.location,
            bytes: bytes as u32,
            from,
            to: from + count,
        }
    }
}

/// Below all ranks.
const RANK_LOWEST: i32 = i16::MIN as i32 - 1;

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct QueueImage {
    /// The number that the next message would have got.
    pub next: Seq,
    /// Records before this position are part of the image already.
    pub applied: u64,
    /// How often messages came back, for those that did.
    pub returns: Returns,
    /// How often that counted as a failure.
    pub failures: Returns,
    /// Which messages are set aside: how records write their places ([`record::aside_code`]).
    pub parked: Returns,
    /// Which messages were rejected and are not through the dead-letter exchange: those with a count.
    rejected: Returns,
    /// How urgent messages are, for those that are not as usual: their rank above [`RANK_LOWEST`].
    ranks: Returns,
    /// Deadlines of messages and sizes of their bodies, as far as they matter. May be of messages that are not there.
    pub kept: Kept,
    runs: VecDeque<ImageRun>,
    fragments: BTreeMap<Seq, ImageRun>,
}

impl QueueImage {
    /// An image without messages, whose next message gets the number `next`.
    pub fn empty(next: Seq) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Adds new messages. Mostly they are numbered behind all others; what comes late goes among the fragments.
    ///
    /// A checkpoint may hold messages that were on their way when its queue was cut; the log tells of them again, and what is there
    /// already is passed over.
    pub fn enqueue(&mut self, run: ImageRun) {
        let late = self.runs.back().is_some_and(|last| last.end() > run.first.0)
            || self
                .fragments
                .last_key_value()
                .is_some_and(|(_, last)| last.end() > run.first.0);
        self.next = self.next.max(Seq(run.end()));
        if !late {
            self.runs.push_back(run);
            return;
        }
        let mut there = self.live_within(run.first.0, run.end());
        there.sort_unstable();
        let mut from = run.first.0;
        for (low, high) in there.into_iter().chain([(run.end(), run.end())]) {
            if from < low {
                self.fragments.insert(Seq(from), run.slice(from, low));
            }
            from = from.max(high);
        }
    }

    /// Takes away messages `first..first + count`, as far as they are there.
    pub fn settle(&mut self, first: Seq, count: u32) {
        let (low, high) = (first.0, first.0 + u64::from(count));
        self.settle_fragments(low, high);
        self.settle_runs(low, high);
        let all = [
            &mut self.returns,
            &mut self.failures,
            &mut self.parked,
            &mut self.rejected,
            &mut self.ranks,
        ];
        for marks in all {
            if !marks.is_empty() {
                marks.remove(low, high);
            }
        }
        self.kept.deadlines.remove(low, high);
        self.kept.body_sizes.remove(low, high);
    }

    fn settle_fragments(&mut self, low: u64, high: u64) {
        while let Some((&key, &run)) = self.fragments.range(..Seq(high)).next_back() {
            if run.end() <= low {
                return;
            }
            self.fragments.remove(&key);
            self.keep_rests(run, low, high);
            if run.first.0 <= low {
                return;
            }
        }
    }

    fn keep_rests(&mut self, run: ImageRun, low: u64, high: u64) {
        if run.first.0 < low {
            self.fragments.insert(run.first, run.slice(run.first.0, low));
        }
        if run.end() > high {
            self.fragments.insert(Seq(high), run.slice(high, run.end()));
        }
    }

    fn settle_runs(&mut self, low: u64, high: u64) {
        let mut index = self.runs.partition_point(|run| run.end() <= low);
        while let Some(&run) = self.runs.get(index).filter(|run| run.first.0 < high) {
            let (from, to) = (run.first.0.max(low), run.end().min(high));
            if from < to {
                self.runs[index] = self.cut(run, from, to);
            }
            index += 1;
        }
        while self.runs.front().is_some_and(|run| run.count() == 0) {
            self.runs.pop_front();
        }
    }

    /// What stays in the list when `from..to` are taken out of `run`: its beginning; an end behind a gap becomes a fragment.
    fn cut(&mut self, run: ImageRun, from: u64, to: u64) -> ImageRun {
        if from == run.first.0 {
            return run.slice(to, run.end());
        }
        if to < run.end() {
            self.fragments.insert(Seq(to), run.slice(to, run.end()));
        }
        run.slice(run.first.0, from)
    }

    /// Points live messages among `run`'s to the record where they were written again.
    pub fn relocate(&mut self, moved: ImageRun) {
        let alive = self.live_within(moved.first.0, moved.end());
        for (low, high) in alive {
            self.settle_runs_and_fragments(low, high);
            self.fragments.insert(Seq(low), moved.slice(low, high));
        }
    }

    fn settle_runs_and_fragments(&mut self, low: u64, high: u64) {
        self.settle_fragments(low, high);
        self.settle_runs(low, high);
    }

    fn live_within(&self, low: u64, high: u64) -> Vec<(u64, u64)> {
        let mut alive = Vec::new();
        let start = self.runs.partition_point(|run| run.end() <= low);
        let runs = self.runs.iter().skip(start).take_while(|run| run.first.0 < high);
        let fragments = self
            .fragments
            .range(..Seq(high))
            .rev()
            .map(|(_, run)| run)
            .take_while(|run| run.end() > low);
        for run in runs.chain(fragments) {
            let (from, to) = (run.first.0.max(low), run.end().min(high));
            if from < to {
                alive.push((from, to));
            }
        }
        alive
    }

    /// Counts one more return of messages `first..first + count`.
    pub fn count_return(&mut self, first: Seq, count: u32) {
        self.count_returns(first, count, 1);
    }

    /// Counts `times` more returns of messages `first..first + count`.
    pub fn count_returns(&mut self, first: Seq, count: u32, times: u32) {
        self.returns.add(first.0, first.0 + u64::from(count), times);
    }

    /// Counts one more return of messages `first..first + count` that was a failure.
    pub fn count_failure(&mut self, first: Seq, count: u32) {
        self.count_return(first, count);
        self.count_failures(first, count, 1);
    }

    /// Counts `times` more failures of messages `first..first + count`.
    pub fn count_failures(&mut self, first: Seq, count: u32, times: u32) {
        self.failures.add(first.0, first.0 + u64::from(count), times);
    }

    /// Messages `first..first + count` have this rank.
    pub fn rank(&mut self, first: Seq, count: u32, rank: i16) {
        let (low, high) = (first.0, first.0 + u64::from(count));
        self.ranks.remove(low, high);
        if rank != 0 {
            self.ranks.add(low, high, (i32::from(rank) - RANK_LOWEST) as u32);
        }
    }

    /// Messages came back so often: what is known already counts once.
    pub fn count(&mut self, counted: &Counted) {
        let (low, high) = (counted.first.0, counted.first.0 + u64::from(counted.count));
        self.returns.raise(low, high, counted.deliveries);
        if counted.failures > 0 {
            self.failures.raise(low, high, u32::from(counted.failures));
        }
    }

    /// Messages are set aside, or are back in their places.
    pub fn set_aside(&mut self, set: &SetAside) {
        let (low, high) = (set.first.0, set.first.0 + u64::from(set.count));
        self.place(set.first, set.count, set.aside);
        if set.aside.is_none() {
            self.failures.remove(low, high);
        }
        match set.until {
            Some(at) => self.kept.deadlines.set(low, high, at),
            None => self.kept.deadlines.remove(low, high),
        }
    }

    /// Messages `first..first + count` are set aside so, or are not; rejected before or not, that is where they are from then on.
    pub fn place(&mut self, first: Seq, count: u32, aside: Option<Aside>) {
        let (low, high) = (first.0, first.0 + u64::from(count));
        self.parked.remove(low, high);
        self.rejected.remove(low, high);
        if aside.is_some() {
            self.parked.add(low, high, u32::from(record::aside_code(aside)));
        }
    }

    /// Messages `first..first + count` are parked.
    pub fn park(&mut self, first: Seq, count: u32) {
        self.place(first, count, Some(Aside::Parked(Death::DeliveryLimit)));
    }

    /// Messages `first..first + count` are parked no more, and have never failed.
    pub fn unpark(&mut self, first: Seq, count: u32) {
        let (low, high) = (first.0, first.0 + u64::from(count));
        self.parked.remove(low, high);
        self.failures.remove(low, high);
    }

    /// Messages `first..first + count` were rejected, and go through the dead-letter exchange of their queue.
    pub fn reject(&mut self, first: Seq, count: u32) {
        let (low, high) = (first.0, first.0 + u64::from(count));
        self.rejected.remove(low, high);
        self.rejected.add(low, high, 1);
    }

    /// What is kept of the live messages, and of no others: some never came to be.
    pub fn take_kept(&mut self) -> Kept {
        let all = std::mem::take(&mut self.kept);
        let mut kept = Kept::default();
        if all.deadlines.is_empty() && all.body_sizes.is_empty() {
            return kept;
        }
        for run in self.runs.iter().chain(self.fragments.values()) {
            for (low, high, at) in all.deadlines.within(run.first.0, run.end()) {
                kept.deadlines.set(low, high, at);
            }
            for (low, high, size) in all.body_sizes.within(run.first.0, run.end()) {
                kept.body_sizes.set(low, high, size);
            }
        }
        kept
    }

    /// Live messages in the order of their numbers.
    pub fn into_runs(self) -> impl Iterator<Item = ImageRun> {
        let mut fragments = self.fragments.into_values().peekable();
        let mut runs = self.runs.into_iter().filter(|run| run.count() > 0).peekable();
        std::iter::from_fn(move || match (runs.peek(), fragments.peek()) {
            (Some(run), Some(fragment)) if fragment.first < run.first => fragments.next(),
            (Some(_), _) => runs.next(),
            (None, _) => fragments.next(),
        })
    }

    /// Live messages as the queue machine takes them back: cut where what is known of them changes.
    pub fn into_live_runs(mut self) -> impl Iterator<Item = LiveRun> {
        let known = Known {
            returns: std::mem::take(&mut self.returns),
            failures: std::mem::take(&mut self.failures),
            parked: std::mem::take(&mut self.parked),
            rejected: std::mem::take(&mut self.rejected),
            ranks: std::mem::take(&mut self.ranks),
        };
        self.into_runs().flat_map(move |run| known.cut(run))
    }

    /// How many messages are live.
    pub fn live(&self) -> u64 {
        self.runs
            .iter()
            .chain(self.fragments.values())
            .map(ImageRun::count)
            .sum()
    }
}

/// What is known of messages besides where they are.
struct Known {
    returns: Returns,
    failures: Returns,
    parked: Returns,
    rejected: Returns,
    ranks: Returns,
}

impl Known {
    /// A run in pieces of which each has the same marks throughout.
    fn cut(&self, run: ImageRun) -> Vec<LiveRun> {
        let (start, end) = (run.first.0, run.end());
        let mut cuts = vec![start];
        let all = [
            &self.returns,
            &self.failures,
            &self.parked,
            &self.rejected,
            &self.ranks,
        ];
        for ranges in all {
            cuts.extend(ranges.within(start, end).flat_map(|(low, high, _)| [low, high]));
        }
        cuts.retain(|&cut| cut < end);
        cuts.sort_unstable();
        cuts.dedup();
        let mut marked: Vec<_> = cuts.into_iter().map(|low| (low, self.marks(low))).collect();
        marked.dedup_by_key(|(_, marks)| *marks);
        let ends = marked.iter().skip(1).map(|(low, _)| *low).chain([end]);
        let pieces = marked.iter().zip(ends);
        pieces
            .map(|(&(low, place), high)| live_run(run.slice(low, high), place))
            .collect()
    }

    /// Their marks, whether they are set aside, and whether they were rejected.
    fn marks(&self, seq: u64) -> (Marks, Option<Aside>, bool) {
        let failures = self.failures.of(Seq(seq));
        let marks = Marks {
            deliveries: self.returns.of(Seq(seq)),
            failures: u16::try_from(failures).unwrap_or(u16::MAX),
            rank: match self.ranks.of(Seq(seq)) {
                0 => 0,
                above => (above as i32 + RANK_LOWEST) as i16,
            },
        };
        let place = record::aside_of(u64::from(self.parked.of(Seq(seq))));
        (marks, place.flatten(), self.rejected.of(Seq(seq)) > 0)
    }
}

fn live_run(run: ImageRun, (marks, aside, rejected): (Marks, Option<Aside>, bool)) -> LiveRun {
    let ImageRun {
        first,
        location,
        bytes,
        from,
        to,
    } = run;
    LiveRun {
        first,
        location,
        bytes,
        from,
        to,
        marks,
        aside,
        rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u16, location: u64) -> ImageRun {
        ImageRun {
            first: Seq(first),
            location: Location(location),
            bytes: u32::from(count) * 10,
            from: 0,
            to: count,
        }
    }

    fn check(steps: impl FnOnce(&mut QueueImage), expected: &[(u64, u64, u64)]) {
        let mut image = QueueImage::default();
        image.enqueue(run(1, 10, 100));
        image.enqueue(run(11, 10, 200));
        steps(&mut image);
        let expected_live: u64 = expected.iter().map(|(_, count, _)| count).sum();
        assert_eq!(image.live(), expected_live);
        let live: Vec<_> = image
            .into_runs()
            .map(|run| (run.first.0, run.count(), run.location.0))
            .collect();
        assert_eq!(live, expected);
    }

    #[test]
    fn settles_anywhere() {
        check(|_| (), &[(1, 10, 100), (11, 10, 200)]);
        check(|image| image.settle(Seq(1), 10), &[(11, 10, 200)]);
        check(|image| image.settle(Seq(1), 3), &[(4, 7, 100), (11, 10, 200)]);
        check(|image| image.settle(Seq(8), 3), &[(1, 7, 100), (11, 10, 200)]);
        check(
            |image| image.settle(Seq(4), 2),
            &[(1, 3, 100), (6, 5, 100), (11, 10, 200)],
        );
        check(|image| image.settle(Seq(9), 4), &[(1, 8, 100), (13, 8, 200)]);
        check(|image| image.settle(Seq(1), 100), &[]);
        let twice = |image: &mut QueueImage| {
            image.settle(Seq(4), 2);
            image.settle(Seq(7), 1);
            image.settle(Seq(4), 2);
        };
        check(twice, &[(1, 3, 100), (6, 1, 100), (8, 3, 100), (11, 10, 200)]);
        let whole_fragment = |image: &mut QueueImage| {
            image.settle(Seq(4), 2);
            image.settle(Seq(2), 15);
        };
        check(whole_fragment, &[(1, 1, 100), (17, 4, 200)]);
    }

    #[test]
    fn late_and_moved_messages_keep_their_place() {
        check(
            |image| image.enqueue(run(31, 2, 300)),
            &[(1, 10, 100), (11, 10, 200), (31, 2, 300)],
        );
        let late = |image: &mut QueueImage| {
            image.enqueue(run(31, 2, 300));
            image.enqueue(run(21, 2, 400));
        };
        check(late, &[(1, 10, 100), (11, 10, 200), (21, 2, 400), (31, 2, 300)]);
        let moved = |image: &mut QueueImage| {
            image.settle(Seq(1), 4);
            image.settle(Seq(7), 2);
            image.relocate(run(1, 10, 900));
        };
        check(moved, &[(5, 2, 900), (9, 2, 900), (11, 10, 200)]);
    }

    #[test]
    fn what_is_there_already_is_not_there_twice() {
        check(
            |image| image.enqueue(run(11, 10, 200)),
            &[(1, 10, 100), (11, 10, 200)],
        );
        check(
            |image| image.enqueue(run(6, 10, 300)),
            &[(1, 10, 100), (11, 10, 200)],
        );
        let settled_between = |image: &mut QueueImage| {
            image.settle(Seq(5), 2);
            image.enqueue(run(4, 6, 300));
        };
        check(
            settled_between,
            &[(1, 4, 100), (5, 2, 300), (7, 4, 100), (11, 10, 200)],
        );
    }

    #[test]
    fn returns_cut_runs() {
        let mut image = QueueImage::default();
        image.enqueue(run(1, 10, 100));
        image.count_return(Seq(3), 2);
        image.count_return(Seq(4), 1);
        let live: Vec<_> = image
            .into_live_runs()
            .map(|run| (run.first.0, run.to - run.from, run.marks.deliveries))
            .collect();
        assert_eq!(live, [(1, 2, 0), (3, 1, 1), (4, 1, 2), (5, 6, 0)]);
    }

    #[test]
    fn a_slice_knows_its_entries() {
        let slice = run(5, 10, 100).slice(7, 9);
        assert_eq!((slice.from, slice.to, slice.bytes), (2, 4, 20));
    }
}
