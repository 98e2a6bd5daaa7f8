//! Whether something was there, as far as a client can know: surely, perhaps, surely not; and when that changed.

/// What a client knows of something's being there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is not there.
    #[default]
    Absent,
    /// Something was asked for that may have changed it, and the answer has not been seen.
    Maybe,
    /// It is there.
    Present,
}

/// See the module documentation. Nothing is there in the beginning.
#[derive(Clone, Debug, Default)]
pub struct History {
    changes: Vec<(u64, Presence)>,
}

impl History {
    /// From `now_us` on it is so. Times do not fall.
    pub fn set(&mut self, now_us: u64, presence: Presence) {
        if self.now() != presence {
            self.changes.push((now_us, presence));
        }
    }

    /// How it is now.
    pub fn now(&self) -> Presence {
        self.changes
            .last()
            .map(|(_, presence)| *presence)
            .unwrap_or_default()
    }

    /// Whether it may have been there at some moment from `from_us` to `to_us`, both included.
    pub fn possibly(&self, from_us: u64, to_us: u64) -> bool {
        self.during(from_us, to_us)
            .any(|presence| presence != Presence::Absent)
    }

    /// Whether it was there all the time from `from_us` to `to_us`, both included.
    pub fn surely(&self, from_us: u64, to_us: u64) -> bool {
        self.during(from_us, to_us)
            .all(|presence| presence == Presence::Present)
    }

    fn during(&self, from_us: u64, to_us: u64) -> impl Iterator<Item = Presence> + '_ {
        let before = self.changes.iter().rev().find(|(at, _)| *at < from_us);
        let before = before.map(|(_, presence)| *presence).unwrap_or_default();
        let within = self
            .changes
            .iter()
            .filter(move |(at, _)| *at >= from_us && *at <= to_us);
        std::iter::once(before).chain(within.map(|(_, presence)| *presence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_remembered() {
        let mut history = History::default();
        assert!(!history.possibly(0, 100));
        history.set(10, Presence::Maybe);
        history.set(20, Presence::Present);
        history.set(30, Presence::Maybe);
        history.set(40, Presence::Absent);
        assert!(history.possibly(0, 10));
        assert!(!history.possibly(0, 9));
        assert!(history.surely(21, 29));
        assert!(!history.surely(20, 29), "at 20 it began");
        assert!(!history.surely(21, 30));
        assert!(history.possibly(40, 50), "at 40 it ended");
        assert!(!history.possibly(41, 50));
        assert_eq!(history.now(), Presence::Absent);
    }
}
