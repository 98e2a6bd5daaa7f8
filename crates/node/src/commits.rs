//! Commits under way, told of in the order of the log, in whatever order they end.
//!
//! A sync that was begun later may end earlier, and what it covers is durable then. Still it is told of after those before it:
//! machines rely on that order, and a failed sync may be hidden from all but one of those that run at the same time
//! ([`everack_cluster::Commit`]).

use std::collections::VecDeque;

use everack_storage::Position;

use crate::append::Written;

/// The longest list of what a commit covers that is kept for the next one.
const WRITTEN_KEPT: usize = 1024;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Commits {
    /// The number of the front.
    first: u64,
    under_way: VecDeque<UnderWay>,
    /// An empty list.
    spare: Vec<Written>,
}

#[derive(Debug)]
struct UnderWay {
    written: Vec<Written>,
    durable: Option<Position>,
}

impl Commits {
    /// A commit begins, of what was `written`. Returns its number.
    pub fn begin(&mut self, written: Vec<Written>) -> u64 {
        self.under_way.push_back(UnderWay {
            written,
            durable: None,
        });
        self.first + self.under_way.len() as u64 - 1
    }

    /// Commit `number` has succeeded: everything before `durable` is on disk.
    ///
    /// # Panics
    /// When there is no such commit under way.
    pub fn ended(&mut self, number: u64, durable: Position) {
        let index = number
            .checked_sub(self.first)
            .expect("a commit is told of after its end");
        self.under_way[index as usize].durable = Some(durable);
    }

    /// An empty list to note in what the next commit covers.
    pub fn list(&mut self) -> Vec<Written> {
        std::mem::take(&mut self.spare)
    }

    /// Takes back the list of a commit that was told of.
    pub fn take_back(&mut self, mut written: Vec<Written>) {
        if written.capacity() <= WRITTEN_KEPT {
            written.clear();
            self.spare = written;
        }
    }

    /// The next commit to be told of: how far the log is durable, and whom it concerns. `None` while the oldest is under way.
    pub fn next_ended(&mut self) -> Option<(Position, Vec<Written>)> {
        let durable = self.under_way.front()?.durable?;
        let front = self.under_way.pop_front()?;
        self.first += 1;
        Some((durable, front.written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::{JobId, Origin, Share};

    fn written(job: u64) -> Vec<Written> {
        let share = Share {
            origin: Origin::Catalog,
            job: JobId(job),
        };
        vec![(share, Position(job), Position(job + 1))]
    }

    #[track_caller]
    fn check(ends: &[u64], told: &[&[u64]]) {
        let mut commits = Commits::default();
        for job in 0..3 {
            assert_eq!(commits.begin(written(job)), job);
        }
        for (number, told) in ends.iter().zip(told) {
            commits.ended(*number, Position(number + 1));
            let jobs = std::iter::from_fn(|| commits.next_ended()).map(|(_, written)| written[0].0.job.0);
            assert_eq!(jobs.collect::<Vec<_>>(), *told, "after the end of {number}");
        }
    }

    #[test]
    fn they_are_told_of_in_the_order_of_the_log() {
        check(&[0, 1, 2], &[&[0], &[1], &[2]]);
        check(&[2, 1, 0], &[&[], &[], &[0, 1, 2]]);
        check(&[1, 0, 2], &[&[], &[0, 1], &[2]]);
    }

    #[test]
    fn numbers_go_on_when_all_are_told_of() {
        let mut commits = Commits::default();
        commits.begin(written(0));
        commits.ended(0, Position(1));
        assert_eq!(commits.next_ended(), Some((Position(1), written(0))));
        assert_eq!(commits.begin(written(1)), 1);
        assert_eq!(commits.next_ended(), None);
    }
}
