//! One consumer: what it may still get, and what it holds.

use std::sync::Arc;

use crate::ids::{ConnectionId, ConsumerId, Millis};

use super::apart::Apart;
use super::gate::Gate;
use super::limit::SharedLimit;
use super::marks::Marks;
use super::patience::Patience;
use super::ring::Links;
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::{Keep, Span, Spans};
use super::times::Times;

/// A consumer, or the pseudo consumer that stands for all messages a channel got from a queue with `Get`.
#[derive(Debug)]
pub(super) struct Consumer<C> {
    pub(super) id: ConsumerId,
    pub(super) connection: ConnectionId,
    pub(super) queue: Slot,
    /// Its place among the members of its queue.
    pub(super) member: usize,
    pub(super) kind: Kind,
    pub(super) no_ack: bool,
    pub(super) priority: i32,
    pub(super) prefetch: u16,
    pub(super) gate: Arc<Gate>,
    pub(super) limit: Option<Arc<SharedLimit>>,
    pub(super) standing: Standing,
    pub(super) links: Links,
    /// If it may hold messages for so long only.
    pub(super) patience: Option<Box<Patience>>,
    /// The number that its next delivery gets.
    pub(super) next_delivery: u64,
    /// Messages that its client has not settled: those in the window, and those that were taken away from it.
    pub(super) unsettled: u64,
    /// What was delivered and is not settled, by delivery number.
    pub(super) window: Spans<Unsettled<C>>,
    /// When that was delivered.
    pub(super) times: Times,
    /// Deliveries that have ended otherwise than by being acknowledged.
    pub(super) otherwise: u64,
    /// Deliveries that are different, if there are any.
    pub(super) apart: Option<Box<Apart>>,
}

/// What a consumer is to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is delivered to.
    Active,
    /// It is there only until what it holds is settled or returned.
    Cancelled,
    /// It takes messages by `Get` only, and lives as long as its channel.
    Getter,
}

/// Where a consumer stands; says in which ring it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In its queue's line, ready to be delivered to.
    InLine,
    /// In no ring: it has as many unsettled messages as it may have.
    Sated,
    /// In the ring of those who wait for their connection to drain.
    AtGate,
    /// In the ring of those who wait for their shared limit.
    AtLimit,
    /// In no ring: another one is its queue's single active consumer.
    Waiting,
    /// In no ring: its queue's single active consumer gets nothing more, and makes room for another once it holds nothing.
    Yielding,
    /// In no ring: it is not delivered to.
    Aside,
}

impl<C> Consumer<C> {
    /// How many more messages its own prefetch allows.
    pub(super) fn credit(&self) -> u64 {
        match self.prefetch {
            0 => u64::MAX,
            _ if self.no_ack => u64::MAX,
            prefetch => u64::from(prefetch).saturating_sub(self.unsettled),
        }
    }

    /// How many messages of `run` it can take now, at most `wanted`, counted into its shared limit; or what it has to wait for.
    pub(super) fn accept(&self, run: &Run<C>, wanted: u64) -> Result<u16, Standing> {
        let room = match (self.credit(), self.gate.room()) {
            (0, _) => return Err(Standing::Sated),
            (_, 0) => return Err(Standing::AtGate),
            (_, room) => room,
        };
        let count = run.fitting(room.max(WEIGHT_WHOLE));
        let count = u64::from(count).min(self.credit()).min(wanted);
        match &self.limit {
            Some(limit) if !self.no_ack => match limit.acquire(count) {
                0 => Err(Standing::AtLimit),
                granted => Ok(granted as u16),
            },
            _ => Ok(count as u16),
        }
    }
}

impl<C: Content> Consumer<C> {
    /// Messages in the window.
    pub(super) fn held(&self) -> u64 {
        self.unsettled - self.taken()
    }

    /// Messages that were taken away, and that its client has not settled.
    pub(super) fn taken(&self) -> u64 {
        self.apart.as_ref().map_or(0, |apart| apart.taken())
    }

    /// Deliveries that were acknowledged, or needed not to be.
    pub(super) fn acknowledged(&self) -> u64 {
        self.next_delivery - self.held() - self.otherwise
    }

    /// When the oldest that it holds was delivered.
    pub(super) fn oldest_at(&self) -> Option<Millis> {
        self.times.at(self.window.front()?.delivery)
    }

    /// Its client settles these deliveries; says how many of them had been taken away.
    #[inline(never)]
    pub(super) fn settle_apart(&mut self, first: u64, end: u64) -> u64 {
        let settled = self.apart.as_mut().map_or(0, |apart| apart.settled(first, end));
        self.apart = self.apart.take().filter(|apart| !apart.is_empty());
        settled
    }

    /// Takes out of the window what a transaction on its way settles.
    pub(super) fn take_committing(&mut self) -> Vec<Unsettled<C>> {
        let mut taken = Vec::new();
        for (first, end) in self.apart.iter().flat_map(|apart| apart.committing()) {
            self.window
                .take(first, end, Keep::Content, |held| taken.push(held));
        }
        taken
    }

    pub(super) fn put_back(&mut self, taken: Vec<Unsettled<C>>) {
        taken.into_iter().for_each(|held| self.window.insert(held));
    }
}

/// A run up to this weight is not split for a gate that is nearly shut.
const WEIGHT_WHOLE: u64 = 64 << 10;

/// Messages that a consumer holds: deliveries `delivery..delivery + run.count()`.
#[derive(Debug)]
pub(super) struct Unsettled<C> {
    pub(super) delivery: u64,
    /// Without content if it can be read from the log.
    pub(super) run: Run<C>,
    /// How often these messages had come back before.
    pub(super) marks: Marks,
}

impl<C: Content> Span for Unsettled<C> {
    fn start(&self) -> u64 {
        self.delivery
    }

    fn count(&self) -> u16 {
        self.run.count()
    }

    fn seq(&self) -> u64 {
        self.run.first.0
    }

    fn cut(&mut self, count: u16, keep: Keep) -> Self {
        let delivery = self.delivery;
        self.delivery += u64::from(count);
        Unsettled {
            delivery,
            run: self.run.cut(count, keep),
            marks: self.marks,
        }
    }

    fn shrink(&mut self) {
        self.run.compact();
    }

    fn absorb(&mut self, next: &Self) -> bool {
        self.end() == next.delivery && self.marks == next.marks && self.run.absorb(&next.run)
    }
}
