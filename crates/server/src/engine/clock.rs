//! The process's clock: milliseconds since it started, for machines that must not read one themselves.

use std::time::{Duration, Instant};

use everack_broker::ids::Millis;

/// See the module documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.start.elapsed().as_millis() as u64)
    }

    /// The instant of `millis`, for timers.
    pub(crate) fn instant(&self, millis: Millis) -> Instant {
        self.start + Duration::from_millis(millis.0)
    }
}
