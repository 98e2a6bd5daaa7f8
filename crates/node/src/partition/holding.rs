//! Who holds what, for those who look; and deliveries that an operator takes from one consumer so that another one gets them.

use std::sync::Arc;

use everack_broker::ids::{Millis, QueueId};
use everack_broker::partition::{Command, Holding};

use super::Partition;
use crate::outbox::Outbox;
use crate::report::{HandedOn, HandedOnReport, HoldersReport, Inquirer, Report};
use crate::request::HandOn;

impl Partition {
    pub(super) fn tell_holders(&self, queues: &[QueueId], inquirer: Arc<dyn Inquirer>, outbox: &mut Outbox) {
        let of = |&queue| self.machine.holders(queue).map(move |holder| (queue, holder));
        let holders = queues.iter().flat_map(of).collect();
        let report = Report::Holders(HoldersReport { holders });
        outbox.seldom().reports.push((inquirer, report));
    }

    /// That it came back is logged behind the fact, as every return is: whoever gets it next is told that it may have been delivered
    /// before in any case.
    pub(super) fn hand_on(&mut self, wish: HandOn, now: Millis, outbox: &mut Outbox) {
        let report = Report::HandedOn(HandedOnReport {
            queue: wish.queue,
            message: wish.message,
            fate: self.handed_on(&wish, now),
        });
        outbox.seldom().reports.push((wish.inquirer, report));
    }

    fn handed_on(&mut self, wish: &HandOn, now: Millis) -> HandedOn {
        let Some(holding) = self.machine.holding(wish.queue, wish.message) else {
            return HandedOn::NotHeld;
        };
        if !is_meant(wish, &holding) {
            return HandedOn::Elsewhere(holding);
        }
        if holding.committing {
            return HandedOn::Committing(holding);
        }
        if wish.preview {
            return HandedOn::Preview(holding);
        }
        let Holding {
            consumer, delivery, ..
        } = holding;
        self.machine.apply(Command::HandOn { consumer, delivery }, now);
        HandedOn::Taken {
            from: holding,
            to: self.machine.holding(wish.queue, wish.message),
        }
    }
}

fn is_meant(wish: &HandOn, holding: &Holding) -> bool {
    let found = (holding.consumer, holding.delivery);
    wish.delivery
        .is_none_or(|meant| (meant.holder, meant.number) == found)
}
