//! When the log is written and synced next: group commit without a timer, and without a long sync in the way.
//!
//! ```text
//!  a round   begin: all that waits is written ──> written: the sync runs ──> ended: it is durable
//!                                                 └─ 7 ms later another round may begin beside it ─>
//! ```
//!
//! What comes during a sync waits for its end, so that one sync serves as many as possible; but no longer than
//! [`OVERTAKE_MILLIS`], so that a settlement is durable 10 ms and one sync after it came, not two syncs. What nobody waits
//! for (settlements) lies for [`LAZY_WAIT_MILLIS_MAX`], to ride along with a sync that somebody does wait for.
//!
//! Times are passed in, in microseconds since some start.

/// The longest that a settlement lies before its round begins.
pub const LAZY_WAIT_MILLIS_MAX: u64 = 5;
/// How old the youngest sync under way has to be before another round begins beside it. Together with the time it takes to
/// wake a thread it stays below the 10 ms of design, section 1.
pub const OVERTAKE_MILLIS: u64 = 7;
/// How many rounds may be under way at once. Syncs of up to `OVERTAKE_MILLIS` times this many keep nobody waiting; behind longer ones a
/// settlement waits for the first of them to end.
pub const ROUNDS_MAX: usize = 8;

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Since when jobs wait.
    waiting_since_us: Option<u64>,
    urgent: bool,
    writing: bool,
    syncing: usize,
    /// When the youngest sync was begun.
    youngest_us: u64,
}

impl Rounds {
    /// A job came and waits.
    pub fn job_came(&mut self, urgent: bool, now_us: u64) {
        self.waiting_since_us.get_or_insert(now_us);
        self.urgent |= urgent;
    }

    /// When a round may begin if nothing changes. `None`: when something has changed.
    pub fn due_us(&self) -> Option<u64> {
        let since_us = self.waiting_since_us?;
        if self.writing || self.is_full() {
            return None;
        }
        let ripe_us = if self.urgent {
            since_us
        } else {
            since_us + LAZY_WAIT_MILLIS_MAX * 1000
        };
        Some(match self.syncing {
            0 => ripe_us,
            _ => ripe_us.max(self.youngest_us + OVERTAKE_MILLIS * 1000),
        })
    }

    /// A round begins: its thread has all that waits, and the log to itself.
    pub fn begin(&mut self) {
        assert!(!self.writing, "one round at a time writes");
        self.writing = true;
        self.waiting_since_us = None;
        self.urgent = false;
    }

    /// The round has written what it has, and its sync begins.
    pub fn written(&mut self, now_us: u64) {
        self.nothing_written();
        self.syncing += 1;
        self.youngest_us = now_us;
    }

    /// The round had nothing to write, or no room, and is over.
    pub fn nothing_written(&mut self) {
        assert!(std::mem::take(&mut self.writing), "a round that has begun");
    }

    /// The sync of a round is over.
    pub fn ended(&mut self) {
        self.syncing -= 1;
    }

    /// Whether jobs wait.
    pub fn jobs_wait(&self) -> bool {
        self.waiting_since_us.is_some()
    }

    /// Whether somebody waits for one of them.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether a round is under way.
    pub fn is_busy(&self) -> bool {
        self.writing || self.syncing > 0
    }

    /// Whether as many syncs are under way as may be.
    pub fn is_full(&self) -> bool {
        self.syncing >= ROUNDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens, and what [`Rounds::due_us`] says afterwards.
    #[derive(Clone, Copy)]
    enum Step {
        Urgent(u64),
        Lazy(u64),
        Begin,
        Written(u64),
        NothingWritten,
        Ended,
    }

    #[track_caller]
    fn check(steps: &[Step], due_us: Option<u64>) {
        let mut rounds = Rounds::default();
        for step in steps {
            match *step {
                Step::Urgent(now_us) => rounds.job_came(true, now_us),
                Step::Lazy(now_us) => rounds.job_came(false, now_us),
                Step::Begin => rounds.begin(),
                Step::Written(now_us) => rounds.written(now_us),
                Step::NothingWritten => rounds.nothing_written(),
                Step::Ended => rounds.ended(),
            }
        }
        assert_eq!(rounds.due_us(), due_us);
    }

    #[test]
    fn what_somebody_waits_for_is_written_at_once_and_the_rest_lies_a_little() {
        use Step::*;
        check(&[], None);
        check(&[Urgent(100)], Some(100));
        check(&[Lazy(100)], Some(5_100));
        check(&[Lazy(100), Lazy(900)], Some(5_100));
        check(&[Lazy(100), Urgent(900)], Some(100));
        check(&[Urgent(100), Begin, Written(200), Ended, Lazy(300)], Some(5_300));
    }

    #[test]
    fn nobody_writes_beside_another() {
        use Step::*;
        check(&[Urgent(100), Begin, Urgent(200)], None);
        check(&[Urgent(100), Begin, Urgent(200), NothingWritten], Some(200));
    }

    #[test]
    fn a_sync_that_takes_long_is_overtaken() {
        use Step::*;
        check(&[Urgent(0), Begin, Written(1_000), Urgent(2_000)], Some(8_000));
        check(&[Urgent(0), Begin, Written(1_000), Lazy(2_000)], Some(8_000));
        check(&[Urgent(0), Begin, Written(1_000), Lazy(7_000)], Some(12_000));
        check(
            &[Urgent(0), Begin, Written(1_000), Urgent(2_000), Ended],
            Some(2_000),
        );
        let twice = [
            Urgent(0),
            Begin,
            Written(1_000),
            Urgent(2_000),
            Begin,
            Written(8_000),
        ];
        check(&twice, None);
        check(&[&twice[..], &[Urgent(9_000)]].concat(), Some(15_000));
    }

    #[test]
    fn there_is_a_bound_to_the_rounds_under_way() {
        use Step::*;
        let full = [Urgent(0), Begin, Written(0)].repeat(ROUNDS_MAX);
        check(&[&full[..], &[Urgent(9_000)]].concat(), None);
        check(&[&full[..], &[Urgent(9_000), Ended]].concat(), Some(9_000));
    }
}
