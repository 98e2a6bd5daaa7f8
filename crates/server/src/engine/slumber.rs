//! Lets the upkeep thread look seldom while nothing happens.
//!
//! What it watches, memory, the disk and the log, changes by what clients ask for. So while nobody asks for anything it may sleep long, if
//! the first one who does wakes it. That costs everybody else one look at a flag that seldom changes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Slumber {
    deep: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Slumber {
    /// Something happens: who sleeps is woken.
    pub(crate) fn stir(&self) {
        if self.deep.load(Ordering::Relaxed)
            && self.deep.swap(false, Ordering::AcqRel)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }

    /// Sleeps until something happens, or somebody unparks the thread, at most so long; always the same thread. Says whether something
    /// happened. What happens at the very moment in which this begins may go unnoticed until it is over.
    pub(crate) fn sleep(&self, most: Duration) -> bool {
        self.sleeper.get_or_init(thread::current);
        self.deep.store(true, Ordering::Release);
        thread::park_timeout(most);
        !self.deep.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_first_one_who_stirs_wakes_and_without_anybody_it_ends_in_time() {
        let slumber = Slumber::default();
        // Nobody sleeps.
        slumber.stir();
        assert!(!slumber.sleep(Duration::from_millis(1)));
        // It is always the same thread that sleeps.
        let slumber = Slumber::default();
        thread::scope(|scope| {
            let asleep = scope.spawn(|| {
                let begun = Instant::now();
                // A park may end for no reason.
                while !slumber.sleep(Duration::from_secs(60)) {}
                begun.elapsed()
            });
            while !asleep.is_finished() {
                slumber.stir();
                thread::yield_now();
            }
            let slept = asleep.join().expect("no panic");
            assert!(slept < Duration::from_secs(30), "{slept:?}");
        });
    }
}
