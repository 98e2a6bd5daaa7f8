//! Messages that are sent to another queue by order. Their queue owns them until they have arrived, as it does the dead, among whom
//! they are kept meanwhile; those that do not arrive are back where they were.
//!
//! ```text
//! ready, parked ──SendOff──> on their way ──Bury──> gone
//!       ^                         │
//!       └─────────Keep────────────┘
//! ```

use crate::ids::{QueueId, Seq};
use crate::terms::Terms;

use super::Partition;
use super::command::Store;
use super::dead_list::Origin;
use super::lifecycle::Lifecycle;
use super::marks::Marks;
use super::parking::{Aside, Parked};
use super::queue::Returned;
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::Keep;

/// Messages on their way out, and what they were.
type Leaving<C> = Vec<(Run<C>, Marks, Origin)>;

impl<C: Content> Partition<C> {
    /// Takes messages out of the ready ones, or of those that are parked, and keeps them as being on their way.
    pub(super) fn send_off(&mut self, queue: QueueId, store: Option<Store>, first: Seq, end: Seq) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return;
        };
        let leaving = match store {
            None => self.take_ready(slot, first, end),
            Some(store) => self.take_parked(slot, store, first, end),
        };
        if leaving.is_empty() {
            return;
        }
        let lifecycle = &mut self.queues[slot].lifecycle;
        let lifecycle = lifecycle.get_or_insert_with(|| Box::new(Lifecycle::new(Terms::default())));
        for (run, marks, origin) in leaving {
            lifecycle.dead.send_off(run, marks, origin);
        }
        self.touch(slot);
    }

    fn take_ready(&mut self, slot: Slot, first: Seq, end: Seq) -> Leaving<C> {
        let queue = &mut self.queues[slot];
        let ranks: Vec<i16> = queue.lists().map(|(rank, _, _)| rank).collect();
        let mut leaving = Leaving::new();
        for (rank, (main, returned)) in ranks.into_iter().zip(queue.lists_mut()) {
            returned.take(first.0, end.0, Keep::Content, |Returned { run, marks }| {
                leaving.push((run, marks, Origin::Ready));
            });
            main.take(first.0, end.0, Keep::Content, |run| {
                leaving.push((run, Marks::ranked(rank), Origin::Ready));
            });
        }
        queue.tidy();
        for (run, _, _) in &leaving {
            queue.unready(run);
            Self::unready(&mut self.totals, run);
        }
        leaving
    }

    fn take_parked(&mut self, slot: Slot, store: Store, first: Seq, end: Seq) -> Leaving<C> {
        let taken = self.queues[slot].take_aside(store, first, end).into_iter();
        let leaving = taken.map(|Parked { run, marks, why }| (run, marks, Origin::Aside(why)));
        leaving.collect()
    }

    /// Messages that were sent off did not arrive: they are where they were.
    pub(super) fn bring_back(&mut self, slot: Slot, first: Seq, end: Seq) {
        let Some(lifecycle) = &mut self.queues[slot].lifecycle else {
            return;
        };
        for (run, marks, origin) in lifecycle.dead.take_sent(first, end) {
            match origin {
                Origin::Died => unreachable!("what has died was not sent off"),
                Origin::Ready => self.put(slot, run, marks),
                Origin::Aside(why) => self.queues[slot].set_aside(Parked { run, marks, why }),
            }
        }
    }
}

impl Origin {
    /// Why messages were set aside, if they were.
    pub(super) fn aside(self) -> Option<Aside> {
        match self {
            Origin::Aside(why) => Some(why),
            Origin::Died | Origin::Ready => None,
        }
    }
}
