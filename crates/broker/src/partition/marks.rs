//! What a queue remembers of a message besides where it is.

/// How often a message was handed out and came back, as far as is known: a restart forgets the last few milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How often it was delivered and came back (`x-acquired-count`).
    pub deliveries: u32,
    /// How many of these count as failures (`x-delivery-count`); no more than 65,535 are counted.
    pub failures: u16,
    /// How much more urgent it is than a usual message of its queue; 0 without a priority.
    pub rank: i16,
}

impl Marks {
    /// Of a message that was never delivered.
    pub fn ranked(rank: i16) -> Self {
        Self {
            rank,
            ..Self::default()
        }
    }

    /// It came back once more.
    pub(super) fn returned(self, failed: bool) -> Self {
        Self {
            deliveries: self.deliveries.saturating_add(1),
            failures: self.failures.saturating_add(u16::from(failed)),
            rank: self.rank,
        }
    }
}
