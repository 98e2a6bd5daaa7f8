//! Messages that are more or less urgent than the usual ones, in lists by their rank.
//!
//! The usual ones, of rank 0, are in the queue's own lists, so a queue that never sees a priority has none of this. Higher ranks go
//! first, always; within a rank the order of numbers counts, and what comes back goes to its old place there.

use super::marks::Marks;
use super::queue::Returned;
use super::run::{Content, Run};
use super::spans::Spans;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Levels<C> {
    /// By falling rank; none is empty, and none is of rank 0.
    levels: Vec<Level<C>>,
}

/// Ready messages of one rank.
#[derive(Debug)]
pub(super) struct Level<C> {
    pub(super) rank: i16,
    /// What came in order and was not delivered yet.
    pub(super) main: Spans<Run<C>>,
    /// What came back to its old place, or came out of order.
    pub(super) returned: Spans<Returned<C>>,
    /// Runs that were appended since the last round.
    pub(super) fresh: usize,
}

impl<C> Default for Levels<C> {
    fn default() -> Self {
        Self { levels: Vec::new() }
    }
}

impl<C: Content> Levels<C> {
    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Level<C>> {
        self.levels.iter()
    }

    pub(super) fn into_levels(self) -> impl Iterator<Item = Level<C>> {
        self.levels.into_iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Level<C>> {
        self.levels.iter_mut()
    }

    /// The level that goes before the usual messages, or, if there are none of those, before all others.
    pub(super) fn foremost(&mut self, usual_is_empty: bool) -> Option<&mut Level<C>> {
        let level = self.levels.first_mut()?;
        (level.rank > 0 || usual_is_empty).then_some(level)
    }

    pub(super) fn front(&self, usual_is_empty: bool) -> Option<&Run<C>> {
        let level = self.levels.first()?;
        if level.rank > 0 || usual_is_empty {
            front(&level.main, &level.returned)
        } else {
            None
        }
    }

    /// Puts messages among those of their rank; `in_order` says that their numbers are above all others.
    pub(super) fn put(&mut self, run: Run<C>, marks: Marks, in_order: bool) {
        let at = self.levels.partition_point(|level| level.rank > marks.rank);
        if self.levels.get(at).is_none_or(|level| level.rank != marks.rank) {
            self.levels.insert(at, Level::new(marks.rank));
        }
        let level = &mut self.levels[at];
        if in_order {
            level.fresh += 1;
            level.main.push_back(run);
        } else {
            level.returned.insert(Returned { run, marks });
        }
    }

    /// Forgets levels that have nothing left.
    pub(super) fn tidy(&mut self) {
        self.levels.retain(|level| !level.is_empty());
    }
}

impl<C: Content> Level<C> {
    fn new(rank: i16) -> Self {
        Self {
            rank,
            main: Spans::default(),
            returned: Spans::default(),
            fresh: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.main.front().is_none() && self.returned.front().is_none()
    }
}

/// The front of two lists: the run with the lower number.
pub(super) fn front<'a, C: Content>(
    main: &'a Spans<Run<C>>,
    returned: &'a Spans<Returned<C>>,
) -> Option<&'a Run<C>> {
    if returned_first(main, returned) {
        returned.front().map(|returned| &returned.run)
    } else {
        main.front()
    }
}

pub(super) fn returned_first<C: Content>(main: &Spans<Run<C>>, returned: &Spans<Returned<C>>) -> bool {
    match (returned.front(), main.front()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(returned), Some(run)) => returned.run.first < run.first,
    }
}
