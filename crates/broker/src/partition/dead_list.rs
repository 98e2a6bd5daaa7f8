//! Messages that have died and are to go through their queue's dead-letter exchange. The queue owns them until they are
//! durable elsewhere.
//!
//! ```text
//!            ┌── waiting ──┐  (room in transit)
//! die() ─────┤             ├──> moving ──> buried
//!            └─────────────┘      │  ^
//!                        no target v  │ a few at a time, now and then
//!                                 stuck
//! ```

use crate::ids::{Millis, QueueId, Seq};

use super::command::SettleReason;
use super::delivery::kept_in_window;
use super::effect::Effect;
use super::marks::Marks;
use super::parking::Aside;
use super::query::LiveRun;
use super::run::{Content, Run};
use super::spans::{Keep, Span, Spans};

/// What a message died of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Death {
    /// A client rejected it without requeue.
    Rejected,
    /// It was too old.
    Expired,
    /// There was no room for it.
    Overflow,
    /// It was delivered too often.
    DeliveryLimit,
    /// Its time has come: it is no death, but the way from here is the same.
    Due,
}

impl Death {
    /// How it is counted out if there is no dead-letter exchange.
    pub(super) fn reason(self) -> SettleReason {
        match self {
            Death::Rejected => SettleReason::Rejected,
            Death::Expired => SettleReason::Expired,
            Death::Overflow => SettleReason::Overflowed,
            Death::DeliveryLimit => SettleReason::DeliveryLimit,
            Death::Due => SettleReason::DeadLettered,
        }
    }
}

/// Dead messages in a row.
#[derive(Debug)]
pub(super) struct Dead<C> {
    /// Without content if it can be read from the log.
    pub(super) run: Run<C>,
    /// What they were when they died.
    pub(super) marks: Marks,
    pub(super) death: Death,
    /// Where it came from.
    pub(super) origin: Origin,
    /// Whether it was stuck, and is tried again.
    probe: bool,
}

/// Where messages on their way came from, and go back to if they do not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// They have died; what does not arrive is tried again.
    Died,
    /// They were ready, and are sent to another queue by order.
    Ready,
    /// They were set aside for this reason, and are sent to another queue by order.
    Aside(Aside),
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct DeadList<C> {
    waiting: Spans<Dead<C>>,
    moving: Spans<Dead<C>>,
    stuck: Spans<Dead<C>>,
    /// Messages in all three.
    pub(super) messages: u64,
    pub(super) bytes: u64,
    moving_messages: u64,
    moving_bytes: u64,
    /// Of the moving ones, those that were stuck.
    probes: u64,
    /// One of the last probes got through.
    lucky: bool,
    retry_at: Option<Millis>,
    /// Where the next probe begins.
    probe_from: Seq,
}

/// Messages of a queue that are on their way to their targets at a time.
const MOVING_MESSAGES_MAX: u64 = 256;
/// The same in bytes; one run may go beyond.
const MOVING_BYTES_MAX: u64 = 1 << 20;
/// Stuck messages that are tried again at a time, each for itself.
const PROBES: u64 = 64;
/// How long the stuck are left alone.
const RETRY_MILLIS: u64 = 1000;

impl<C> Default for DeadList<C> {
    fn default() -> Self {
        Self {
            waiting: Spans::default(),
            moving: Spans::default(),
            stuck: Spans::default(),
            messages: 0,
            bytes: 0,
            moving_messages: 0,
            moving_bytes: 0,
            probes: 0,
            lucky: false,
            retry_at: None,
            probe_from: Seq(0),
        }
    }
}

impl<C> DeadList<C> {
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    fn has_room(&self) -> bool {
        self.moving_messages < MOVING_MESSAGES_MAX && self.moving_bytes < MOVING_BYTES_MAX
    }
}

impl<C: Content> DeadList<C> {
    /// Whether whatever comes next goes on its way at once.
    pub(super) fn is_open(&self) -> bool {
        self.has_room() && self.waiting.front().is_none()
    }

    /// Takes messages in; they go on their way at once if there is room and nobody waits.
    pub(super) fn add(
        &mut self,
        queue: QueueId,
        run: Run<C>,
        marks: Marks,
        death: Death,
        effects: &mut Vec<Effect<C>>,
    ) {
        self.messages += u64::from(run.count());
        self.bytes += u64::from(run.bytes);
        let mut dead = Dead {
            run,
            marks,
            death,
            origin: Origin::Died,
            probe: false,
        };
        if self.has_room() && self.waiting.front().is_none() {
            let room = MOVING_MESSAGES_MAX - self.moving_messages;
            if u64::from(dead.run.count()) <= room {
                return self.send(queue, dead, effects);
            }
            let front = dead.cut(room as u16, Keep::Content);
            self.send(queue, front, effects);
        }
        self.waiting.insert(dead.kept());
    }

    /// Sends on what there is room for, and tries the stuck again when it is time.
    pub(super) fn hand_out(&mut self, queue: QueueId, now: Millis, effects: &mut Vec<Effect<C>>) {
        while self.has_room()
            && let Some(front) = self.waiting.front_mut()
        {
            let room = MOVING_MESSAGES_MAX - self.moving_messages;
            let dead = if u64::from(front.run.count()) > room {
                front.cut(room as u16, Keep::Content)
            } else {
                self.waiting.pop_front().expect("the front was just seen")
            };
            self.send(queue, dead, effects);
        }
        if self.due().is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.probe(queue, effects);
        }
    }

    fn probe(&mut self, queue: QueueId, effects: &mut Vec<Effect<C>>) {
        let from = match self.stuck.iter_from(self.probe_from.0).next() {
            Some(next) => next.run.first.max(self.probe_from),
            None => Seq(0),
        };
        let mut probes = Vec::new();
        let mut left = PROBES;
        while left > 0 {
            let next = self.stuck.iter_from(from.0).next();
            let Some((low, end)) = next.map(|next| (next.run.first.max(from), next.run.end())) else {
                break;
            };
            let high = end.min(low.plus(left));
            left -= high.0 - low.0;
            self.stuck
                .take(low.0, high.0, Keep::Content, |dead| probes.push(dead));
            self.probe_from = high;
        }
        for mut dead in probes {
            dead.probe = true;
            // Each for itself, so that a target that has room for one gets one.
            while dead.run.count() > 1 {
                let one = dead.cut(1, Keep::Content);
                self.send(queue, one, effects);
            }
            self.send(queue, dead, effects);
        }
    }

    fn send(&mut self, queue: QueueId, dead: Dead<C>, effects: &mut Vec<Effect<C>>) {
        let count = u64::from(dead.run.count());
        self.moving_messages += count;
        self.moving_bytes += u64::from(dead.run.bytes);
        self.probes += count * u64::from(dead.probe);
        self.moving.insert(dead.kept());
        let Dead { run, death, .. } = dead;
        effects.push(Effect::Died { queue, death, run });
    }

    /// Takes in messages that are on their way by order, whether or not there is room: whoever orders sends a bounded number.
    pub(super) fn send_off(&mut self, run: Run<C>, marks: Marks, origin: Origin) {
        let (count, bytes) = (u64::from(run.count()), u64::from(run.bytes));
        self.messages += count;
        self.bytes += bytes;
        self.moving_messages += count;
        self.moving_bytes += bytes;
        let sent = Dead {
            run,
            marks,
            death: Death::Due,
            origin,
            probe: false,
        };
        self.moving.insert(sent.kept());
    }

    /// Takes out what was sent off by order and is still on its way.
    pub(super) fn take_sent(&mut self, first: Seq, end: Seq) -> Vec<(Run<C>, Marks, Origin)> {
        let mut sent = Vec::new();
        for dead in self.take_moving(first, end) {
            if dead.origin == Origin::Died {
                self.moving_messages += u64::from(dead.run.count());
                self.moving_bytes += u64::from(dead.run.bytes);
                self.probes += u64::from(dead.run.count()) * u64::from(dead.probe);
                self.moving.insert(dead);
            } else {
                sent.push(dead);
            }
        }
        self.uncount(&sent);
        sent.into_iter()
            .map(|dead| (dead.run, dead.marks, dead.origin))
            .collect()
    }

    /// Whether all of these are on their way.
    pub(super) fn moves(&self, first: Seq, count: u32) -> bool {
        let end = first.plus(u64::from(count));
        let mut next = first;
        for dead in self.moving.iter_from(first.0) {
            if dead.run.first > next || next >= end {
                break;
            }
            next = dead.run.end();
        }
        next >= end
    }

    /// Messages on their way have arrived, or go nowhere: hands them over.
    pub(super) fn arrived(&mut self, first: Seq, end: Seq, now: Millis) -> Vec<Run<C>> {
        let arrived = self.take_moving(first, end);
        self.lucky |= arrived.iter().any(|dead| dead.probe);
        self.answered(!arrived.is_empty(), now);
        self.uncount(&arrived);
        arrived.into_iter().map(|dead| dead.run).collect()
    }

    /// Messages on their way found no target, or none with room.
    pub(super) fn keep(&mut self, first: Seq, end: Seq, now: Millis) {
        let kept = self.take_moving(first, end);
        self.answered(!kept.is_empty(), now);
        for dead in kept {
            self.stuck.insert(Dead { probe: false, ..dead });
        }
    }

    /// Takes out what is not on its way.
    pub(super) fn take_waiting(&mut self) -> Vec<Dead<C>> {
        let mut taken = Vec::new();
        for list in [&mut self.waiting, &mut self.stuck] {
            list.drain(|dead| taken.push(dead));
        }
        self.uncount(&taken);
        taken
    }

    /// Messages on their way found no target, and are not to wait for one.
    pub(super) fn take_back(&mut self, first: Seq, end: Seq, now: Millis) -> Vec<Dead<C>> {
        let taken = self.take_moving(first, end);
        self.answered(!taken.is_empty(), now);
        self.uncount(&taken);
        taken
    }

    fn uncount(&mut self, gone: &[Dead<C>]) {
        for Dead { run, .. } in gone {
            self.messages -= u64::from(run.count());
            self.bytes -= u64::from(run.bytes);
        }
    }

    fn take_moving(&mut self, first: Seq, end: Seq) -> Vec<Dead<C>> {
        let mut taken = Vec::new();
        self.moving
            .take(first.0, end.0, Keep::Content, |dead| taken.push(dead));
        for dead in &taken {
            self.uncount_moving(dead);
        }
        taken
    }

    fn uncount_moving(&mut self, dead: &Dead<C>) {
        let count = u64::from(dead.run.count());
        self.moving_messages -= count;
        self.moving_bytes -= u64::from(dead.run.bytes);
        self.probes -= count * u64::from(dead.probe);
    }

    /// When all probes are back, it is clear whether more of the stuck are worth trying.
    fn answered(&mut self, any: bool, now: Millis) {
        if !any || self.probes > 0 {
            return;
        }
        if std::mem::take(&mut self.lucky) {
            self.retry_at = Some(now);
        } else if self.retry_at.is_none() {
            self.retry_at = Some(now.plus(RETRY_MILLIS));
        }
    }

    /// When the stuck are to be tried again.
    pub(super) fn due(&self) -> Option<Millis> {
        self.stuck.front()?;
        // Nobody answers for probes that were taken out meanwhile: then there is no time to wait for.
        (self.probes == 0).then(|| self.retry_at.unwrap_or_default())
    }

    /// Takes those messages out that have found no target so far.
    pub(super) fn remove_stuck(&mut self, first: Seq, end: Seq, mut gone: impl FnMut(Run<C>)) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
        self.stuck.take(first.0, end.0, Keep::Content, |dead| {
            *messages -= u64::from(dead.run.count());
            *bytes -= u64::from(dead.run.bytes);
            gone(dead.run);
        });
    }

    /// Takes messages out by their numbers, wherever they are.
    pub(super) fn remove(&mut self, first: Seq, end: Seq, mut gone: impl FnMut(Run<C>)) {
        let mut taken = self.take_moving(first, end);
        for list in [&mut self.waiting, &mut self.stuck] {
            list.take(first.0, end.0, Keep::Content, |dead| taken.push(dead));
        }
        self.uncount(&taken);
        taken.into_iter().for_each(|dead| gone(dead.run));
    }

    pub(super) fn lists(&self) -> [&Spans<Dead<C>>; 3] {
        [&self.waiting, &self.moving, &self.stuck]
    }

    pub(super) fn lists_mut(&mut self) -> [&mut Spans<Dead<C>>; 3] {
        [&mut self.waiting, &mut self.moving, &mut self.stuck]
    }

    /// All that is in one of the lists.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run<C>> {
        self.lists()
            .into_iter()
            .flat_map(|list| list.iter().map(|dead| &dead.run))
    }

    /// Order of the lists, and that what is counted is there.
    pub(super) fn validate(&self) -> Result<(), String> {
        self.lists().into_iter().try_for_each(Spans::validate)?;
        let count =
            |spans: &Spans<Dead<C>>| -> u64 { spans.iter().map(|dead| u64::from(dead.run.count())).sum() };
        let bytes: u64 = self.runs().map(|run| u64::from(run.bytes)).sum();
        let messages: u64 = self.lists().into_iter().map(count).sum();
        let probes = self.moving.iter().filter(|dead| dead.probe);
        let probes: u64 = probes.map(|dead| u64::from(dead.run.count())).sum();
        let counted = (self.messages, self.bytes, self.moving_messages, self.probes);
        let found = (messages, bytes, count(&self.moving), probes);
        if counted == found {
            Ok(())
        } else {
            Err(format!("the dead: counted {counted:?}, found {found:?}"))
        }
    }
}

impl<C: Content> Dead<C> {
    /// The part of it within `first..end` for a checkpoint. What died of something else than a rejection is as if it lived: it dies
    /// again after a restart, if the reason still holds.
    pub(super) fn live(&self, first: Seq, end: Seq) -> Option<LiveRun> {
        let live = LiveRun::within(&self.run, self.marks, first, end)?;
        let rejected = self.death == Death::Rejected;
        let aside = self.origin.aside();
        Some(LiveRun {
            rejected,
            aside,
            ..live
        })
    }

    /// As it is kept in a list.
    fn kept(&self) -> Self {
        Self {
            run: kept_in_window(&self.run),
            ..*self
        }
    }
}

impl<C: Content> Span for Dead<C> {
    fn start(&self) -> u64 {
        self.run.first.0
    }

    fn count(&self) -> u16 {
        self.run.count()
    }

    fn seq(&self) -> u64 {
        self.run.first.0
    }

    fn cut(&mut self, count: u16, keep: Keep) -> Self {
        Dead {
            run: self.run.cut(count, keep),
            marks: self.marks,
            death: self.death,
            origin: self.origin,
            probe: self.probe,
        }
    }

    fn shrink(&mut self) {
        self.run.compact();
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let alike = (self.marks, self.death, self.probe) == (next.marks, next.death, next.probe);
        alike && self.origin == next.origin && self.run.absorb(&next.run)
    }
}
