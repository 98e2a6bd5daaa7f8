//! How fast consumers get on: what each was delivered and has acknowledged, at the last two samples. No history: there may be many
//! consumers, and most come and go with a connection.

use std::collections::HashMap;

use everack_broker::ids::ConsumerId;

use super::TICK_MILLIS;
use super::track::Moments;
use crate::http::inquiry::Holders;

/// What consumers have done.
#[derive(Debug, Default)]
pub(super) struct Paces(HashMap<ConsumerId, Pace>);

/// Messages delivered and acknowledged.
type Row = [u64; 2];

#[derive(Clone, Copy, Debug)]
struct Pace {
    before: Row,
    last: Row,
}

impl Paces {
    /// Enters how they stand now, and forgets who is gone.
    pub(super) fn record(&mut self, holders: &Holders) {
        let paces = holders.iter().map(|holder| {
            let last = [holder.delivered, holder.acknowledged];
            let before = self.0.get(&holder.consumer).map_or(last, |pace| pace.last);
            (holder.consumer, Pace { before, last })
        });
        self.0 = paces.collect();
    }

    /// Messages delivered and acknowledged a second, between the last two samples; of somebody new nothing is known.
    pub(super) fn rates(&self, consumer: ConsumerId, moments: Moments) -> [f64; 2] {
        let seconds = f64::from(moments.last - moments.before) * TICK_MILLIS as f64 / 1e3;
        match self.0.get(&consumer) {
            Some(pace) if seconds > 0.0 => {
                [0, 1].map(|index| pace.last[index].saturating_sub(pace.before[index]) as f64 / seconds)
            }
            _ => [0.0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use everack_broker::ids::QueueId;
    use everack_broker::partition::{Holder, HolderKind};

    use super::*;

    fn holders(of: &[(u64, u64, u64)]) -> Holders {
        let holder = |&(consumer, delivered, acknowledged)| Holder {
            consumer: ConsumerId(consumer),
            kind: HolderKind::Consumer,
            single_active: false,
            no_ack: false,
            delivered,
            acknowledged,
            unsettled: delivered - acknowledged,
            released: 0,
            oldest: None,
        };
        Holders::of(of.iter().map(|one| (QueueId(1), holder(one))))
    }

    #[test]
    fn rates_are_those_between_the_last_two_samples() {
        let mut paces = Paces::default();
        let moments = |before, last| Moments { before, last };
        paces.record(&holders(&[(1, 100, 90), (2, 5, 5)]));
        assert_eq!(paces.rates(ConsumerId(1), moments(10, 10)), [0.0, 0.0]);
        paces.record(&holders(&[(1, 150, 110), (3, 7, 7)]));
        assert_eq!(paces.rates(ConsumerId(1), moments(10, 12)), [5.0, 2.0]);
        // It came in between.
        assert_eq!(paces.rates(ConsumerId(3), moments(10, 12)), [0.0, 0.0]);
        assert_eq!(paces.0.len(), 2, "who is gone is forgotten");
    }
}
