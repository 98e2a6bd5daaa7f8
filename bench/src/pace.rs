//! A steady rate: when the next message is due. Times are nanoseconds since the start of the run.

/// Spreads messages evenly in time, whatever happened to earlier ones: who was held up catches up.
#[derive(Clone, Debug)]
pub struct Pace {
    start: u64,
    interval_ns: f64,
}

impl Pace {
    /// `rate` messages a second, the first one at `start`.
    pub fn new(rate: f64, start: u64) -> Self {
        Self {
            start,
            interval_ns: 1e9 / rate,
        }
    }

    /// When message number `index` (from 0) is due.
    pub fn due_at(&self, index: u64) -> u64 {
        self.start + (index as f64 * self.interval_ns) as u64
    }

    /// How many messages are due by `now`.
    pub fn due_count(&self, now: u64) -> u64 {
        if now < self.start {
            return 0;
        }
        ((now - self.start) as f64 / self.interval_ns) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_due_as_have_come_due() {
        let pace = Pace::new(1_000.0, 500);
        assert_eq!(pace.due_count(0), 0);
        assert_eq!(pace.due_count(500), 1);
        assert_eq!(pace.due_count(1_000_499), 1);
        assert_eq!(pace.due_count(1_000_500), 2);
        assert_eq!(pace.due_at(2), 2_000_500);
    }
}
