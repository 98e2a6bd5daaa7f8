//! How long rounds of the log take lately, from the first write to the end of the sync.

use crate::rounds::OVERTAKE_MILLIS;

/// A running mean of which each round is an eighth. Times are in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    mean_us: u64,
}

impl Pace {
    /// A round took so long.
    pub fn round_took(&mut self, micros: u64) {
        self.mean_us = self.mean_us.saturating_mul(7).saturating_add(micros) / 8;
    }

    /// Whether rounds are over before another one would begin beside them ([`OVERTAKE_MILLIS`]). While they are, it costs nobody
    /// anything if a round keeps others from writing until its own bytes are on the disk.
    pub fn is_quick(self) -> bool {
        self.mean_us < OVERTAKE_MILLIS * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rounds_us: &[u64], quick: bool) {
        let mut pace = Pace::default();
        rounds_us.iter().for_each(|micros| pace.round_took(*micros));
        assert_eq!(pace.is_quick(), quick, "{pace:?}");
    }

    #[test]
    fn a_disk_is_quick_until_many_rounds_say_otherwise() {
        check(&[], true);
        check(&[300; 100], true);
        check(&[30_000], true);
        check(&[30_000; 3], false);
        check(&[8_000; 100], false);
        check(&[&[8_000; 100][..], &[300; 2]].concat(), true);
        check(&[u64::MAX], false);
    }
}
