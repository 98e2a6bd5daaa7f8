//! How often somebody has tried to log in, by protocol.

use std::sync::atomic::{AtomicU64, Ordering};

/// Over what somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp,
    /// The management API.
    Http,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Attempts([[AtomicU64; 2]; 2]);

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Http, Self::Amqp];

    /// RabbitMQ's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Http => "http",
        }
    }
}

impl Attempts {
    /// Somebody has tried, and it was right or not.
    pub fn count(&self, protocol: Protocol, right: bool) {
        self.0[protocol as usize][usize::from(right)].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was right, and how often not.
    pub fn read(&self, protocol: Protocol) -> (u64, u64) {
        let [wrong, right] = &self.0[protocol as usize];
        (right.load(Ordering::Relaxed), wrong.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_protocol() {
        let attempts = Attempts::default();
        attempts.count(Protocol::Amqp, true);
        attempts.count(Protocol::Amqp, false);
        attempts.count(Protocol::Amqp, false);
        attempts.count(Protocol::Http, true);
        assert_eq!(attempts.read(Protocol::Amqp), (1, 2));
        assert_eq!(attempts.read(Protocol::Http), (1, 0));
    }
}
