//! The process's clock, for machines that must not read one themselves: milliseconds since 1970 as the system had it when the
//! process started, counted on from there, so that it never goes back and never jumps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everack_broker::ids::Millis;

/// See the module documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_millis: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            start_millis: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.start_millis + self.start.elapsed().as_millis() as u64)
    }

    /// The instant of `millis`, for timers.
    pub(crate) fn instant(&self, millis: Millis) -> Instant {
        self.start + Duration::from_millis(millis.0.saturating_sub(self.start_millis))
    }
}
