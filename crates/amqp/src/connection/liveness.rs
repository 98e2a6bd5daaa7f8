//! Heartbeats both ways. Knows times only; the frames are written by the connection.

use crate::Millis;

/// When something was last heard and said.
#[derive(Debug)]
pub(super) struct Liveness {
    /// Negotiated interval in milliseconds; 0 means no heartbeats.
    interval_ms: u64,
    received: Millis,
    sent: Millis,
    /// Nothing is read on purpose, so silence proves nothing.
    paused: bool,
}

impl Liveness {
    pub(super) fn new(now: Millis) -> Liveness {
        Liveness {
            interval_ms: 0,
            received: now,
            sent: now,
            paused: false,
        }
    }

    /// Heartbeats are due from now on.
    pub(super) fn start(&mut self, interval_s: u16, now: Millis) {
        self.interval_ms = u64::from(interval_s) * 1000;
        self.received = now;
        self.sent = now;
    }

    pub(super) fn interval_s(&self) -> u16 {
        (self.interval_ms / 1000) as u16
    }

    pub(super) fn received(&mut self, now: Millis) {
        self.received = now;
    }

    pub(super) fn sent(&mut self, now: Millis) {
        self.sent = now;
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    pub(super) fn resume(&mut self, now: Millis) {
        if self.paused {
            self.paused = false;
            self.received = now;
        }
    }

    /// Whether the peer has missed two heartbeats.
    pub(super) fn is_dead(&self, now: Millis) -> bool {
        self.dead_at().is_some_and(|at| now >= at)
    }

    /// Whether it is time to send one: half an interval without sending anything.
    pub(super) fn must_send(&self, now: Millis) -> bool {
        self.send_at().is_some_and(|at| now >= at)
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Millis> {
        [self.dead_at(), self.send_at()].into_iter().flatten().min()
    }

    fn dead_at(&self) -> Option<Millis> {
        (self.interval_ms > 0 && !self.paused).then(|| self.received.plus(self.interval_ms * 2))
    }

    fn send_at(&self) -> Option<Millis> {
        (self.interval_ms > 0).then(|| self.sent.plus(self.interval_ms / 2))
    }
}
