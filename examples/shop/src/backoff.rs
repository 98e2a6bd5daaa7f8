//! Waiting longer after each failure, up to a bound, and never in step with the others.

use std::time::Duration;

/// Doubles from `first` to `longest`; each wait is drawn between half of that and all of it. Without the draw, every
/// service that lost the same broker would come back at the same instant, again and again.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first`, never waits longer than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let wait = wait_after(self.first, self.longest, self.failures, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Things work again: the next failure starts from the shortest wait.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait after `failures` earlier ones; `draw` in 0..1 decides between half and all of the bound. Pure, so that it
/// can be tested without waiting.
pub fn wait_after(first: Duration, longest: Duration, failures: u32, draw: f64) -> Duration {
    let bound = first.saturating_mul(1 << failures.min(20)).min(longest);
    bound.mul_f64(0.5 + draw / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failures: u32, draw: f64, expected_ms: u64) {
        let wait = wait_after(Duration::from_millis(100), Duration::from_secs(3), failures, draw);
        assert_eq!(
            wait.as_millis() as u64,
            expected_ms,
            "failures {failures}, draw {draw}"
        );
    }

    #[test]
    fn doubles_with_jitter_up_to_the_bound() {
        check(0, 0.0, 50);
        check(0, 1.0, 100);
        check(1, 0.0, 100);
        check(3, 1.0, 800);
        check(5, 1.0, 3_000);
        check(u32::MAX, 0.0, 1_500);
        check(u32::MAX, 1.0, 3_000);
    }

    #[test]
    fn starts_over_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        for _ in 0..10 {
            backoff.next_wait();
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }
}
