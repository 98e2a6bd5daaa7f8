//! What goes from a queue by its own rules, as far as clients can tell: the oldest where there is no room, and everything in an heir that
//! is deleted.

use std::collections::BTreeSet;

use super::family::{self, Overflow, Place};
use super::{Address, Book, Fate, Name, Number, Presence, Publish};

impl Book {
    /// Looks at all queues that drop their oldest: what may have been the oldest of too many may be gone.
    pub(super) fn press(&mut self) {
        let names: Vec<Name> = self.queues.keys().cloned().collect();
        for name in names {
            let head = family::place(&name);
            let limited = head.filter(|head| head.drops() && head.overflow == Overflow::DropHead);
            if let Some(max) = limited.and_then(|head| head.messages_max) {
                self.press_one(&name, max);
            }
        }
    }

    fn press_one(&mut self, name: &Name, max: u64) {
        let unsteady = self.unsteady_readers(name);
        let copies = self.queues.get(name).into_iter().flat_map(|queue| &queue.copies);
        // What is in somebody's hands is not ready.
        let droppable = copies.filter(|(_, copy)| {
            let held = copy.holder.is_some_and(|(holder, _)| !unsteady.contains(&holder));
            copy.fate == Fate::Kept && !held
        });
        let may_drop = |number: &Number| {
            let Some(publish) = self.messages.get(number) else {
                return false;
            };
            let others = self.possibly_ready(name);
            let behind = others.filter(|other| may_be_behind(publish, other));
            behind.take(max as usize).count() as u64 >= max
        };
        let pushed = droppable.map(|(number, _)| *number).filter(may_drop);
        let pushed: Vec<Number> = pushed.collect();
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        for number in pushed {
            if let Some(copy) = queue.copies.get_mut(&number) {
                copy.fate = Fate::Possible;
            }
        }
    }

    /// Publishes that may be ready in a queue, now or later; the last one first.
    pub fn possibly_ready(&self, name: &Name) -> impl Iterator<Item = &Publish> {
        let queue = self.queues.get(name);
        self.messages.values().rev().filter(move |publish| {
            let here = matches!(&publish.message.address, Address::Queue(to) if to == name);
            let copy = queue.and_then(|queue| queue.copies.get(&publish.message.number));
            here && !publish.withdrawn && !publish.refused && copy.is_none_or(|copy| copy.may_be_there())
        })
    }

    pub(super) fn unsteady_readers(&self, name: &Name) -> BTreeSet<super::ChannelId> {
        let readers = self.readers.get(name).into_iter().flatten().copied();
        readers.filter(|channel| self.is_unsteady(*channel)).collect()
    }

    /// An heir has been declared.
    pub(super) fn heir_declared(&mut self, place: &Name) {
        let now = self.now_us;
        if let Some(queue) = self.queues.get_mut(&family::family(place)) {
            let heir = queue.heirs.entry(place.clone()).or_default();
            if std::mem::take(&mut heir.dooming) {
                heir.doomed_us = Some(now);
            }
            heir.there = Presence::Present;
        }
        self.bereave(place);
    }

    /// An heir is to be deleted.
    pub(super) fn heir_delete_sent(&mut self, place: &Name) {
        if let Some(queue) = self.queues.get_mut(&family::family(place)) {
            let heir = queue.heirs.entry(place.clone()).or_default();
            heir.there = Presence::Maybe;
            heir.dooming = true;
        }
        self.bereave(place);
    }

    /// An heir has been deleted.
    pub(super) fn heir_deleted(&mut self, place: &Name) {
        let now = self.now_us;
        if let Some(queue) = self.queues.get_mut(&family::family(place)) {
            let heir = queue.heirs.entry(place.clone()).or_default();
            heir.there = Presence::Absent;
            heir.dooming = false;
            heir.doomed_us = Some(now);
        }
        self.bereave(place);
    }

    /// The process has ended: what was to be deleted is gone, or stays.
    pub(super) fn end_deletions(&mut self) {
        let now = self.now_us;
        let mut ended = Vec::new();
        for queue in self.queues.values_mut() {
            let doomed = queue.heirs.iter_mut().filter(|(_, heir)| heir.dooming);
            for (place, heir) in doomed {
                heir.dooming = false;
                heir.doomed_us = Some(now);
                ended.push(place.clone());
            }
        }
        ended.iter().for_each(|place| self.bereave(place));
    }

    /// Whether a message may have gone with an heir of its queue since it was sent.
    pub fn may_be_orphaned(&self, name: &Name, publish: &Publish) -> bool {
        let Some(head) = family::place(name) else {
            return false;
        };
        let copy = self.copy(name, publish.message.number);
        self.lost_heirs_since(name, publish.sent_us)
            && family::may_have_moved(head, publish, copy, self.now_us)
    }

    /// Whether an heir of a queue may have been deleted since then.
    pub fn lost_heirs_since(&self, name: &Name, since_us: u64) -> bool {
        let heirs = self.queues.get(name).into_iter();
        let mut heirs = heirs.flat_map(|queue| queue.heirs.values());
        heirs.any(|heir| heir.dooming || heir.doomed_us.is_some_and(|doomed| doomed >= since_us))
    }

    /// Whatever may have been with an heir may be gone with it.
    fn bereave(&mut self, place: &Name) {
        let name = family::family(place);
        let Some(head) = family::place(&name) else { return };
        let unsteady = self.unsteady_readers(&name);
        let doomed = |queue: &super::Queue| {
            let heir = queue.heirs.get(place);
            heir.is_some_and(|heir| heir.dooming || heir.doomed_us == Some(self.now_us))
        };
        if !self.queues.get(&name).is_some_and(doomed) {
            return;
        }
        let Book {
            queues,
            messages,
            now_us,
            ..
        } = self;
        let copies = queues.get_mut(&name).into_iter();
        for (number, copy) in copies.flat_map(|queue| queue.copies.iter_mut()) {
            let held = copy.holder.is_some_and(|(holder, _)| !unsteady.contains(&holder));
            let elsewhere = held && copy.place.as_ref().is_some_and(|at| at != place);
            let stayed = messages
                .get(number)
                .is_some_and(|publish| !family::may_have_moved(head, publish, Some(copy), *now_us));
            if copy.fate == Fate::Kept && !elsewhere && !stayed {
                copy.fate = Fate::Possible;
            }
        }
    }

    /// Whether what came from here may have been on its way when its queue was deleted.
    pub(super) fn may_be_bereft(&self, name: &Name, place: &Name, sent_us: u64) -> bool {
        let heir = self.queues.get(name).and_then(|queue| queue.heirs.get(place));
        heir.is_some_and(|heir| heir.dooming || heir.doomed_us.is_some_and(|doomed| doomed >= sent_us))
    }

    /// Whether a message that is known to be kept must be there now: not if the rules of its queue let it go.
    pub fn must_be_there(&self, name: &Name, number: Number) -> bool {
        let (head, publish) = (family::place(name), self.messages.get(&number));
        let dropped = |(head, publish): (&Place, _)| family::may_have_dropped(head, publish, self.now_us);
        !head.zip(publish).is_some_and(dropped)
    }
}

/// Whether a message may lie behind another one in their queue.
fn may_be_behind(before: &Publish, other: &Publish) -> bool {
    let (one, two) = (&before.message, &other.message);
    let earlier_sent = one.publisher == two.publisher && other.order < before.order;
    let earlier_there = other.confirmed && other.resolved_us.is_some_and(|at| at < before.sent_us);
    one.number != two.number && !earlier_sent && !earlier_there
}
