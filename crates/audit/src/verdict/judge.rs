//! The judge: sees a journal entry by entry, and sums up. The rules are told in docs/internals/audit.md.

use super::channel::Channel;
use super::findings::{Findings, Flaw};
use super::lane::{Copy, Lane, mark, state};
use super::{Promises, SettleBound, Verdict};
use crate::Id;
use crate::journal::{Entry, Range};
use std::time::Duration;

/// Sees a journal.
pub struct Judge {
    verdict: Verdict,
    promises: Promises,
    /// By publisher; publishers count from 1.
    lanes: Vec<Option<Lane>>,
    /// By consumer.
    channels: Vec<Channel>,
    /// By life: when the signal was about to be sent, and whether everything of it is dead.
    ends: Vec<(u64, bool)>,
    comebacks: Vec<Comeback>,
    fault_pending: bool,
    begun: Option<u64>,
    down_since: Option<u64>,
    down: u64,
}

/// A delivery that calls an earlier one into question. Whether it was wrong depends on answers that may come later.
struct Comeback {
    id: Id,
    queue: u16,
    /// Who acked it, or holds it, and the question whose answer proves that he had a channel then.
    earlier: (u32, u32),
    /// Who got it now, likewise.
    now: (u32, u32),
    /// It was acked; otherwise it was held.
    acked: bool,
}

impl Judge {
    /// Has seen nothing yet.
    pub fn new(promises: Promises) -> Self {
        Self {
            verdict: Verdict {
                intended: 0,
                confirmed: 0,
                refused: 0,
                unknown: 0,
                unconfirmed_delivered: 0,
                refused_delivered: 0,
                delivered: 0,
                redelivered: 0,
                unflagged: 0,
                in_flight: 0,
                torn_over_queues: 0,
                crashes: 0,
                deaths: 0,
                pauses: 0,
                queues_gone: 0,
                stuck: 0,
                findings: Findings::default(),
                resurrected: 0,
                resurrected_oldest: Duration::ZERO,
                settle_bound: None,
                resurrected_beyond_sync: 0,
                durable_longest: Duration::ZERO,
                sync_longest: Duration::ZERO,
                backlog: None,
                load: Duration::ZERO,
                drained: false,
            },
            promises,
            lanes: Vec::new(),
            channels: Vec::new(),
            ends: Vec::new(),
            comebacks: Vec::new(),
            fault_pending: false,
            begun: None,
            down_since: None,
            down: 0,
        }
    }

    /// The next entry of the journal, and its time in microseconds.
    pub fn see(&mut self, micros: u64, entry: &Entry) {
        match entry {
            Entry::Publisher {
                publisher,
                workload,
                route,
                queues,
            } => {
                let lane = Lane::new(workload.rules(), *route, queues.clone());
                *slot(&mut self.lanes, *publisher as usize) = Some(lane);
            }
            Entry::Opened {
                consumer,
                queue,
                life,
                transactional,
            } => {
                *slot(&mut self.channels, *consumer as usize) =
                    Channel::opened(*queue, *life, *transactional);
            }
            Entry::Closed { consumer } => self.channel(*consumer).close(),
            Entry::Asked { consumer } => self.channel(*consumer).ask(),
            Entry::Answered { consumer } => self.channel(*consumer).answer(micros),
            Entry::Intended(range) => {
                self.begun.get_or_insert(micros);
                self.verdict.intended += self.mark(*range, mark::INTENDED);
            }
            Entry::Confirmed(range) => self.verdict.confirmed += self.mark(*range, mark::CONFIRMED),
            Entry::Refused(range) => self.verdict.refused += self.mark(*range, mark::REFUSED),
            Entry::Transaction(range) => {
                if let Some(Some(lane)) = self.lanes.get_mut(range.publisher as usize) {
                    lane.transactions.push(*range);
                }
            }
            Entry::RolledBack(range) => drop(self.mark(*range, mark::ROLLED_BACK)),
            Entry::Delivered {
                consumer,
                id,
                redelivered,
            } => self.delivered(*consumer, *id, *redelivered),
            Entry::Damaged { consumer, id } => {
                let queue = self.channel(*consumer).queue;
                let note = || "the body is not what was sent".into();
                self.verdict.findings.add(Flaw::Damaged, *id, Some(queue), note);
            }
            Entry::Acked { consumer, id } => self.acked(*consumer, *id),
            Entry::Returned { consumer, id } | Entry::Rejected { consumer, id } => {
                self.copy_do(*consumer, *id, |copy| copy.clear(state::HELD));
            }
            Entry::Withdrawn { consumer, id } => self.copy_do(*consumer, *id, |copy| {
                copy.clear(state::ACKED | state::SETTLED);
                copy.set(state::HELD);
            }),
            other => self.see_broker(micros, other),
        }
    }

    /// What was done to the broker, and what became of it.
    fn see_broker(&mut self, micros: u64, entry: &Entry) {
        match entry {
            Entry::Fault(crate::faults::Fault::Pause(_)) => self.verdict.pauses += 1,
            Entry::Fault(_) => self.fault_pending = true,
            Entry::Ending { life } => {
                *slot(&mut self.ends, *life as usize) = (micros, false);
                self.verdict.crashes += 1;
                self.verdict.deaths += u64::from(!std::mem::take(&mut self.fault_pending));
                self.down_since = Some(micros);
            }
            Entry::Ended { life } => slot(&mut self.ends, *life as usize).1 = true,
            Entry::Started { .. } => {
                if let Some(since) = self.down_since.take() {
                    self.down += micros - since;
                }
            }
            Entry::QueueGone { .. } => self.verdict.queues_gone += 1,
            Entry::Draining => {
                let whole = micros - self.begun.unwrap_or(micros);
                self.verdict.load = Duration::from_micros(whole.saturating_sub(self.down));
            }
            Entry::Drained { left } => {
                self.verdict.drained = true;
                self.verdict.stuck = *left;
            }
            Entry::Backlog { messages } => {
                let (min, max) = self.verdict.backlog.unwrap_or((*messages, *messages));
                self.verdict.backlog = Some((min.min(*messages), max.max(*messages)));
            }
            Entry::Synced { micros } => {
                let took = Duration::from_micros(*micros);
                self.verdict.sync_longest = self.verdict.sync_longest.max(took);
            }
            Entry::Durable { micros } => {
                let took = Duration::from_micros(*micros);
                self.verdict.durable_longest = self.verdict.durable_longest.max(took);
            }
            _ => {}
        }
    }

    fn channel(&mut self, consumer: u32) -> &mut Channel {
        slot(&mut self.channels, consumer as usize)
    }

    fn mark(&mut self, range: Range, mark: u8) -> u64 {
        match self.lanes.get_mut(range.publisher as usize) {
            Some(Some(lane)) => lane.mark(range, mark),
            _ => 0,
        }
    }

    fn copy_do(&mut self, consumer: u32, id: Id, act: impl FnOnce(&mut Copy)) {
        let queue = self.channel(consumer).queue;
        let lane = self.lanes.get_mut(id.publisher as usize);
        if let Some(copy) = lane
            .and_then(Option::as_mut)
            .and_then(|lane| lane.copy(id.number, queue))
        {
            act(copy);
        }
    }

    fn delivered(&mut self, consumer: u32, id: Id, redelivered: bool) {
        self.verdict.delivered += 1;
        self.verdict.redelivered += u64::from(redelivered);
        let channel = slot(&mut self.channels, consumer as usize);
        let (queue, life, now) = (channel.queue, channel.life, (consumer, channel.next_question()));
        let lane = self.lanes.get_mut(id.publisher as usize);
        let Some(lane) = lane.and_then(Option::as_mut) else {
            return self.phantom(id, queue, "there is no such publisher");
        };
        let marks = lane.marks(id.number);
        if marks & mark::INTENDED == 0 {
            return self.phantom(id, queue, "nobody published it");
        }
        if marks & mark::ROLLED_BACK != 0 {
            return self.phantom(id, queue, "its transaction was rolled back");
        }
        let rules = lane.rules;
        let Some(copy) = lane.copy(id.number, queue) else {
            return self.phantom(id, queue, "it was not published to this queue");
        };
        let before = *copy;
        copy.holder = consumer;
        copy.deliveries = copy.deliveries.saturating_add(1);
        copy.clear(state::ACKED);
        copy.set(state::HELD);
        if before.deliveries == 0 {
            if !redelivered && rules.lanes > 0 {
                self.in_order(consumer, id, rules.lanes);
            }
            return;
        }
        self.verdict.unflagged += u64::from(!redelivered && rules.flagged);
        let earlier = if before.is(state::ACKED) {
            Some((before.acker, before.question))
        } else if before.is(state::HELD) && self.channels[before.holder as usize].life == life {
            // Whether he still had his channel now is proven by what he asks from now on.
            Some((
                before.holder,
                self.channels[before.holder as usize].next_question(),
            ))
        } else {
            None
        };
        if let Some(earlier) = earlier {
            self.comebacks.push(Comeback {
                id,
                queue,
                earlier,
                now,
                acked: before.is(state::ACKED),
            });
        }
    }

    fn phantom(&mut self, id: Id, queue: u16, why: &str) {
        let findings = &mut self.verdict.findings;
        findings.add(Flaw::Phantom, Some(id), Some(queue), || why.into());
    }

    fn in_order(&mut self, consumer: u32, id: Id, lanes: u64) {
        let channel = slot(&mut self.channels, consumer as usize);
        let queue = channel.queue;
        if let Some(latest) = channel.overtaken(id.publisher, id.number % lanes, id.number) {
            let note = || format!("{}/{latest} was before it", id.publisher);
            let findings = &mut self.verdict.findings;
            findings.add(Flaw::Reordered, Some(id), Some(queue), note);
        }
    }

    fn acked(&mut self, consumer: u32, id: Id) {
        let channel = self.channel(consumer);
        let (life, question) = (channel.life, channel.next_question());
        let dead = self.ends.get(life as usize).is_some_and(|(_, ended)| *ended);
        if dead {
            // Nobody was there to receive it.
            return;
        }
        self.copy_do(consumer, id, |copy| {
            copy.acker = consumer;
            copy.question = question;
            copy.clear(state::HELD);
            copy.set(state::ACKED | state::SETTLED);
        });
    }

    /// The verdict.
    pub fn sum_up(mut self) -> Verdict {
        self.verdict.settle_bound = match self.promises.settle {
            SettleBound::After(bound) => {
                Some(bound + self.verdict.sync_longest.max(self.verdict.durable_longest))
            }
            SettleBound::None => None,
        };
        for comeback in std::mem::take(&mut self.comebacks) {
            self.resolve(&comeback);
        }
        let lanes = std::mem::take(&mut self.lanes);
        for (publisher, lane) in lanes.iter().enumerate() {
            if let Some(lane) = lane {
                self.sum_up_lane(publisher as u32, lane);
            }
        }
        self.verdict
    }

    fn resolve(&mut self, comeback: &Comeback) {
        let (earlier, now) = (
            &self.channels[comeback.earlier.0 as usize],
            &self.channels[comeback.now.0 as usize],
        );
        let proof = earlier.answered(comeback.earlier.1);
        if now.life > earlier.life {
            // Held at a crash: of course it comes again.
            if comeback.acked {
                let transactional = earlier.transactional;
                let (end, _) = self.ends.get(earlier.life as usize).copied().unwrap_or_default();
                self.resurrected(comeback, proof, end, transactional);
            }
            return;
        }
        // An old life's delivery that was only now looked at says nothing.
        let same = now.life == earlier.life;
        let real = now.answered(comeback.now.1).is_some();
        match proof {
            Some(_) if same && real => {
                let note = || {
                    let what = if comeback.acked {
                        "its ack was received"
                    } else {
                        "somebody held it"
                    };
                    format!("{what}, and nothing crashed in between")
                };
                let findings = &mut self.verdict.findings;
                findings.add(Flaw::Duplicated, Some(comeback.id), Some(comeback.queue), note);
            }
            _ if same && comeback.acked => self.verdict.in_flight += 1,
            _ => {}
        }
    }

    /// It was acked before a crash, and came back after it.
    fn resurrected(&mut self, comeback: &Comeback, proof: Option<u64>, end: u64, transactional: bool) {
        let Some(proof) = proof else {
            self.verdict.in_flight += 1;
            return;
        };
        let age = Duration::from_micros(end.saturating_sub(proof));
        self.verdict.resurrected += 1;
        self.verdict.resurrected_oldest = self.verdict.resurrected_oldest.max(age);
        let Some(bound) = self.verdict.settle_bound else {
            return;
        };
        if let SettleBound::After(strict) = self.promises.settle {
            let beyond = age > strict + self.verdict.sync_longest;
            self.verdict.resurrected_beyond_sync += u64::from(beyond);
        }
        // What a commit has answered for is durable, however young it is.
        if transactional || age > bound {
            let note = || {
                let age = super::millis(age);
                let how = if transactional { "committed" } else { "received" };
                format!("its ack was {how} {age:.3} ms before the crash")
            };
            let findings = &mut self.verdict.findings;
            findings.add(Flaw::Resurrected, Some(comeback.id), Some(comeback.queue), note);
        }
    }

    fn sum_up_lane(&mut self, publisher: u32, lane: &Lane) {
        for number in lane.numbers() {
            let marks = lane.marks(number);
            if marks & mark::INTENDED == 0 {
                continue;
            }
            let copies = lane.copies_of(number);
            let came = copies.iter().any(|copy| copy.deliveries > 0);
            let answered = marks & (mark::CONFIRMED | mark::REFUSED | mark::ROLLED_BACK);
            if answered & mark::CONFIRMED != 0 {
                self.look_for(Id { publisher, number }, lane, copies);
            } else if answered & mark::REFUSED != 0 {
                self.verdict.refused_delivered += u64::from(came);
            } else if answered == 0 {
                self.verdict.unknown += 1;
                self.verdict.unconfirmed_delivered += u64::from(came);
            }
        }
        for transaction in &lane.transactions {
            self.look_at_transaction(*transaction, lane);
        }
    }

    /// Every copy of a confirmed message must have been settled by somebody.
    fn look_for(&mut self, id: Id, lane: &Lane, copies: &[Copy]) {
        if !self.verdict.drained {
            return;
        }
        for (index, copy) in copies.iter().enumerate() {
            if copy.is(state::SETTLED) {
                continue;
            }
            let note = || match copy.deliveries {
                0 => "confirmed and never delivered".into(),
                times => format!("confirmed, delivered {times} times, never settled, and gone"),
            };
            let queue = lane.queue_of(id.number, index);
            let findings = &mut self.verdict.findings;
            findings.add(Flaw::Lost, Some(id), Some(queue), note);
        }
    }

    /// Of a transaction without an answer all messages come or none.
    fn look_at_transaction(&mut self, range: Range, lane: &Lane) {
        let known = lane.marks(range.first) & (mark::CONFIRMED | mark::ROLLED_BACK) != 0;
        if known || !self.verdict.drained {
            return;
        }
        let came = |id: &Id| lane.copies_of(id.number).iter().any(|copy| copy.deliveries > 0);
        // Queue by queue: how many of its messages came, and how many there were.
        let mut queues: Vec<(u16, u32, u32)> = Vec::new();
        for id in range.ids() {
            let queue = lane.queue_of(id.number, 0);
            if !queues.iter().any(|(known, ..)| *known == queue) {
                queues.push((queue, 0, 0));
            }
            for (_, here, of) in queues.iter_mut().filter(|(known, ..)| *known == queue) {
                *here += u32::from(came(&id));
                *of += 1;
            }
        }
        let here: u32 = queues.iter().map(|(_, here, _)| here).sum();
        if here == 0 || here == range.count {
            return;
        }
        let within_one = queues.iter().any(|(_, here, of)| *here > 0 && here < of);
        if !within_one && !self.promises.atomic_over_queues {
            self.verdict.torn_over_queues += 1;
            return;
        }
        let first = Id {
            publisher: range.publisher,
            number: range.first,
        };
        let note = || format!("{here} of the {} messages of its transaction came", range.count);
        let findings = &mut self.verdict.findings;
        findings.add(Flaw::Torn, Some(first), None, note);
    }
}

/// The place of a number, which is made if it is not there.
fn slot<T: Default>(places: &mut Vec<T>, number: usize) -> &mut T {
    if places.len() <= number {
        places.resize_with(number + 1, T::default);
    }
    &mut places[number]
}
