//! Keeps a log line that outsiders can provoke from becoming a flood.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one line a second through, and counts the others.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<(Option<Instant>, u64)>);

impl Throttle {
    const EVERY: Duration = Duration::from_secs(1);

    /// `Some(n)` if a line is due, n being how often it happened since the last one, this time
    /// included.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let (last, count) = &mut *state;
        *count += 1;
        if last.is_some_and(|last| now.saturating_duration_since(last) < Self::EVERY) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let cases = [
            (0, Some(1)),
            (100, None),
            (900, None),
            (1100, Some(3)),
            (1200, None),
            (5000, Some(2)),
        ];
        for (millis, expected) in cases {
            assert_eq!(
                throttle.due(start + Duration::from_millis(millis)),
                expected,
                "at {millis} ms"
            );
        }
    }
}
