//! What the end of a process and a reading of all queues change in what is known.

use super::{Book, Copy, Crash, Fate, Found, Name, Number, Presence, TransactionState, family};

impl Book {
    pub(super) fn crashed(&mut self, crash: Crash) {
        let now = self.now_us;
        self.end_deletions();
        self.life += 1;
        self.life_began_us = now;
        self.readers.clear();
        self.reads_failed = false;
        for queue in self.queues.values_mut() {
            queue.returned_us = Some(now);
            queue.active = None;
            queue.purging.set(now, Presence::Absent);
            queue.dooming = false;
            let stays = queue.class.survives();
            if !stays {
                queue.there.set(now, Presence::Absent);
            }
            for copy in queue.copies.values_mut() {
                copy.holder = None;
                copy.doubt = None;
                copy.back_us = None;
                copy.failures.retain(|since| is_durable(Some(*since), crash, now));
                copy.fate = match copy.fate {
                    _ if !stays => Fate::Gone,
                    Fate::Leaving { since_us } if is_durable(since_us, crash, now) => Fate::Gone,
                    Fate::Leaving { .. } => Fate::Possible,
                    fate => fate,
                };
            }
        }
        for (binding, history) in &mut self.bindings {
            if self
                .queues
                .get(&binding.queue)
                .is_some_and(|queue| queue.there.now() == Presence::Absent)
            {
                history.set(now, Presence::Absent);
            }
        }
    }

    pub(super) fn audited(&mut self, name: &Name, found: Vec<Found>) {
        let now = self.now_us;
        let numbers = found
            .into_iter()
            .filter_map(|found| Some((found.number?, found.place, found.late)));
        let numbers: Vec<(Number, Name, bool)> = numbers.collect();
        let in_doubt: Vec<Number> = self
            .messages
            .iter()
            .filter(|(_, publish)| publish.resolved_us.is_none())
            .map(|(number, _)| *number)
            .collect();
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let nothing = Copy::new(Fate::Gone);
        // What a recovery did not show never may be seen.
        for number in in_doubt {
            queue.copies.entry(number).or_insert_with(|| nothing.clone());
        }
        for copy in queue.copies.values_mut() {
            copy.fate = Fate::Gone;
            copy.left_us = Some(now);
        }
        let kept = if queue.class.keeps() {
            Fate::Kept
        } else {
            Fate::Possible
        };
        for (number, place, late) in numbers {
            let copy = queue.copies.entry(number).or_insert_with(|| nothing.clone());
            copy.fate = kept;
            copy.seen_us = Some(now);
            copy.back_us = None;
            copy.left_us = None;
            if late {
                // It may have been parked, and then it begins anew.
                copy.failures.clear();
            }
            copy.moved |= family::is_heir(&place);
            copy.place = Some(place);
        }
        queue.returned_us = Some(now);
    }

    pub(super) fn audit_broken(&mut self) {
        let copies = self
            .queues
            .values_mut()
            .flat_map(|queue| queue.copies.values_mut());
        copies.for_each(|copy| copy.failures.clear());
    }

    pub(super) fn audit_ended(&mut self) {
        let now = self.now_us;
        for publish in self.messages.values_mut() {
            publish.resolved_us.get_or_insert(now);
        }
        for transaction in self.transactions.values_mut() {
            transaction.state = TransactionState::Settled;
        }
        for queue in self.queues.values_mut() {
            queue.copies.values_mut().for_each(|copy| copy.doubt = None);
        }
    }
}

/// Whether a settlement that was taken in at `since_us` survives this crash. While the disk is full it may wait with publishes of its round;
/// when there is room again it is written like one that comes at that moment.
fn is_durable(since_us: Option<u64>, crash: Crash, now_us: u64) -> bool {
    let Some(since) = since_us else { return false };
    if crash.orderly || crash.waits_from_us.is_some_and(|from| since >= from) {
        return crash.orderly;
    }
    let since = since.max(crash.full_until_us.unwrap_or(0));
    now_us.saturating_sub(since) > crash.settled_within_us
}
