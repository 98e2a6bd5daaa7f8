//! What an event changes in what is known.

use std::collections::BTreeSet;

use super::{
    Binding, Book, ChannelId, Class, Consumer, Copy, Delivered, Event, Fate, Held, History, Message, Name,
    Number, Presence, Publish, Queue, TransactionId, TransactionState, Verdict, family,
};

impl Book {
    /// Takes an event in.
    pub fn apply(&mut self, event: Event) {
        let presses = self.has_limits
            && matches!(
                event,
                Event::Sent(_)
                    | Event::Confirmed(..)
                    | Event::Committed(_)
                    | Event::Delivered(_)
                    | Event::SettleSent(..)
                    | Event::ChannelLost(_)
                    | Event::Crashed(_)
            );
        self.take_in(event);
        if presses {
            self.press();
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::DeclareSent(name, class) => self.declare_sent(name, class),
            Event::Declared(name) => self.declared(&name),
            Event::DeleteSent(name) => self.delete_sent(&name),
            Event::Deleted(name) => self.deleted(&name),
            Event::BindSent(binding) => self.bind_sent(binding, Presence::Absent),
            Event::UnbindSent(binding) => self.bind_sent(binding, Presence::Present),
            Event::Bound(binding) => self.set_bound(binding, Presence::Present),
            Event::Unbound(binding) => self.set_bound(binding, Presence::Absent),
            Event::HeirDeclared(place) => self.heir_declared(&place),
            Event::HeirDeleteSent(place) => self.heir_delete_sent(&place),
            Event::HeirDeleted(place) => self.heir_deleted(&place),
            Event::PurgeSent(name) => self.purge_sent(&name),
            Event::Purged(name, _) => self.purged(&name, true),
            Event::PurgeOver(name) => self.purged(&name, false),
            Event::Sent(message) => self.sent(message),
            Event::Confirmed(_, numbers) => numbers.into_iter().for_each(|number| self.confirmed(number)),
            Event::Refused(_, numbers) => numbers.into_iter().for_each(|number| self.refused(number)),
            Event::ConfirmedNothing(..) | Event::AnsweredLate(_) => (),
            Event::Returned(_, number) => {
                if let Some(publish) = self.messages.get_mut(&number) {
                    publish.returned = true;
                }
            }
            Event::CommitSent(id) => self.commit_sent(id),
            Event::Committed(id) => self.committed(id),
            Event::RolledBack(id) => self.rolled_back(id),
            Event::Consuming(consumer, channel, queue, prefetch) => {
                let since_us = self.now_us;
                self.consumers.insert(
                    consumer,
                    Consumer {
                        channel,
                        queue: queue.clone(),
                        cancelling: false,
                        prefetch,
                        since_us,
                    },
                );
                self.reads(channel, &queue);
            }
            Event::Cancelling(consumer) => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.cancelling = true;
                }
            }
            Event::Limited(channel, limit) => self.limited(channel, limit),
            Event::Getting(channel, queue) => self.reads(channel, &queue),
            Event::Delivered(delivered) => self.delivered(delivered),
            Event::SettleSent(channel, tags, verdict, transaction) => {
                self.settle_sent(channel, &tags, verdict, transaction);
            }
            Event::SettleReceived(channel, tags) => self.settle_received(channel, &tags),
            Event::Asking(channel, count) => self.channels.entry(channel).or_default().asking = count,
            Event::Recovering(channel, begins) => self.recovering(channel, begins),
            Event::ChannelLost(channel) => self.channel_lost(channel),
            Event::ChannelEnded(channel) => self.channel_ended(channel),
            Event::Ordered(name) => {
                if let Some(queue) = self.queues.get_mut(&name) {
                    queue.ordered_us = Some(self.now_us);
                }
            }
            Event::Rotted(numbers) => self.rotten.extend(numbers),
            Event::ReadFailed => self.reads_failed = true,
            Event::Crashed(crash) => self.crashed(crash),
            Event::Audited(name, found, _) => {
                let there = if found.is_some() {
                    Presence::Present
                } else {
                    Presence::Absent
                };
                self.set_there(&name, there);
                self.audited(&name, found.unwrap_or_default());
            }
            Event::AuditEnded => self.audit_ended(),
            Event::AuditBroken => self.audit_broken(),
        }
    }

    fn declare_sent(&mut self, name: Name, class: Class) {
        self.has_limits |= family::place(&name).is_some_and(|place| place.messages_max.is_some());
        let queue = self.queues.entry(name).or_insert_with(|| Queue {
            class,
            there: History::default(),
            purging: History::default(),
            copies: Default::default(),
            deleted_us: None,
            doomed_us: None,
            dooming: false,
            purged_us: None,
            deleted_beside_purge: 0,
            returned_us: None,
            heirs: Default::default(),
            active: None,
            ordered_us: None,
        });
        if queue.there.now() == Presence::Absent {
            queue.there.set(self.now_us, Presence::Maybe);
        }
    }

    /// If a deletion was in doubt it may have come in between, and what lay there before is on its way still.
    fn declared(&mut self, name: &Name) {
        let now = self.now_us;
        if let Some(queue) = self.queues.get_mut(name)
            && std::mem::take(&mut queue.dooming)
        {
            queue.doomed_us = Some(now);
        }
        self.set_there(name, Presence::Present);
    }

    fn set_there(&mut self, name: &Name, presence: Presence) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.there.set(self.now_us, presence);
        }
    }

    fn delete_sent(&mut self, name: &Name) {
        self.set_there(name, Presence::Maybe);
        if let Some(queue) = self.queues.get_mut(name) {
            queue.dooming = true;
        }
        self.shake(name);
        for (_, history) in self.bindings.iter_mut().filter(|(edge, _)| edge.queue == *name) {
            if history.now() == Presence::Present {
                history.set(self.now_us, Presence::Maybe);
            }
        }
    }

    /// Nobody knows of any message whether it is still there.
    fn shake(&mut self, name: &Name) {
        let copies = self.queues.get_mut(name).into_iter();
        for copy in copies.flat_map(|queue| queue.copies.values_mut()) {
            if copy.fate == Fate::Kept {
                copy.fate = Fate::Possible;
            }
        }
    }

    fn deleted(&mut self, name: &Name) {
        self.set_there(name, Presence::Absent);
        let now = self.now_us;
        if let Some(queue) = self.queues.get_mut(name) {
            queue.deleted_us = Some(now);
            queue.doomed_us = Some(now);
            queue.dooming = false;
            if queue.purging.now() != Presence::Absent {
                queue.deleted_beside_purge += queue.held_at_most();
            }
            for copy in queue.copies.values_mut() {
                copy.fate = Fate::Gone;
                copy.left_us = Some(now);
            }
        }
        for (_, history) in self.bindings.iter_mut().filter(|(edge, _)| edge.queue == *name) {
            history.set(self.now_us, Presence::Absent);
        }
    }

    /// It stays what it is if nothing changes by what was asked for.
    fn bind_sent(&mut self, binding: Binding, if_now: Presence) {
        let history = self.bindings.entry(binding).or_default();
        if history.now() == if_now {
            history.set(self.now_us, Presence::Maybe);
        }
    }

    fn set_bound(&mut self, binding: Binding, presence: Presence) {
        let history = self.bindings.entry(binding).or_default();
        history.set(self.now_us, presence);
    }

    fn purge_sent(&mut self, name: &Name) {
        // What may be in somebody's hands is not purged.
        let fate = if self.has_readers(name) {
            Fate::Possible
        } else {
            Fate::Leaving { since_us: None }
        };
        let now = self.now_us;
        if let Some(queue) = self.queues.get_mut(name) {
            queue.purging.set(now, Presence::Maybe);
            queue.deleted_beside_purge = 0;
        }
        self.may_be_purged(name, fate);
    }

    /// What nobody holds for certain may be purged.
    fn may_be_purged(&mut self, name: &Name, fate: Fate) {
        let unsteady = self.unsteady_readers(name);
        let settling = self.settled_in_doubt(name);
        let copies = self.queues.get_mut(name).into_iter();
        for (number, copy) in copies.flat_map(|queue| &mut queue.copies) {
            let held = copy.holder.is_some_and(|(holder, _)| !unsteady.contains(&holder));
            if copy.fate == Fate::Kept && !held {
                copy.fate = if settling.contains(number) {
                    Fate::Possible
                } else {
                    fate
                };
            }
        }
    }

    /// What is settled by transactions whose commit is under way: nobody's hands have it, and it is not in the queue before that is durable, even if the
    /// channel has long been gone.
    fn settled_in_doubt(&self, name: &Name) -> BTreeSet<Number> {
        let transactions = self.transactions.values();
        transactions
            .filter(|transaction| transaction.state == TransactionState::InDoubt)
            .flat_map(|transaction| &transaction.settles)
            .filter(|(_, held, _)| held.queue == *name)
            .map(|(_, held, _)| held.number)
            .collect()
    }

    fn purged(&mut self, name: &Name, answered: bool) {
        let now = self.now_us;
        let readers = self.has_readers(name);
        if readers {
            self.may_be_purged(name, Fate::Possible);
        }
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        queue.purging.set(now, Presence::Absent);
        queue.purged_us = Some(now);
        if readers {
            return;
        }
        let fate = if answered {
            Fate::Leaving { since_us: Some(now) }
        } else {
            Fate::Possible
        };
        for copy in queue.copies.values_mut() {
            if copy.fate == (Fate::Leaving { since_us: None }) && copy.doubt.is_none() {
                copy.fate = fate;
            }
        }
    }

    fn sent(&mut self, message: Message) {
        let channel = self.channels.entry(message.publisher).or_default();
        channel.published += 1;
        if let Some(id) = message.transaction {
            let transaction = self.transactions.entry(id).or_default();
            transaction.publishes.push(message.number);
        }
        let publish = Publish {
            order: channel.published,
            sent_us: self.now_us,
            resolved_us: None,
            confirmed: false,
            returned: false,
            refused: false,
            withdrawn: false,
            message,
        };
        self.messages.insert(publish.message.number, publish);
    }

    fn confirmed(&mut self, number: Number) {
        let now = self.now_us;
        let Some(publish) = self.messages.get_mut(&number) else {
            return;
        };
        publish.confirmed = true;
        publish.resolved_us = Some(now);
        let publish = publish.clone();
        for name in self.surely_to(&publish, now) {
            // It may have died and gone with an heir before its confirm is read.
            let fate = if self.may_be_orphaned(&name, &publish) {
                Fate::Possible
            } else {
                Fate::Kept
            };
            let queue = self.queues.get_mut(&name).expect("it was looked up");
            // What is known already was learnt by somebody who has seen it there.
            queue.copies.entry(number).or_insert_with(|| Copy::new(fate));
        }
    }

    /// There was no room for it. Where that leaves a copy with an heir, it may be there.
    fn refused(&mut self, number: Number) {
        let now = self.now_us;
        if let Some(publish) = self.messages.get_mut(&number) {
            publish.resolved_us = Some(now);
            publish.refused = true;
        }
    }

    fn commit_sent(&mut self, id: TransactionId) {
        let transaction = self.transactions.entry(id).or_default();
        transaction.state = TransactionState::InDoubt;
        transaction.commit_us = self.now_us;
        for (_, held, verdict) in transaction.settles.clone() {
            if verdict == Some(Verdict::Done)
                && let Some(copy) = copy_mut(self, &held.queue, held.number)
                && copy.fate != Fate::Gone
            {
                copy.doubt = Some(id);
                copy.fate = Fate::Leaving { since_us: None };
            }
        }
    }

    fn committed(&mut self, id: TransactionId) {
        let transaction = self.transactions.entry(id).or_default();
        transaction.state = TransactionState::Committed;
        let (publishes, settles) = (transaction.publishes.clone(), transaction.settles.clone());
        let channel = transaction.channel;
        publishes.into_iter().for_each(|number| self.confirmed(number));
        for (tag, held, verdict) in settles {
            let now = self.now_us;
            if verdict == Some(Verdict::Back) {
                self.came_back(&held.queue, now);
            }
            let Some(copy) = copy_mut(self, &held.queue, held.number) else {
                continue;
            };
            copy.holder.take_if(|holder| *holder == (channel, tag));
            if copy.doubt.take_if(|doubt| *doubt == id).is_some() {
                // The answer of a commit says that all of it is durable.
                copy.fate = Fate::Gone;
                copy.left_us = Some(now);
            }
        }
    }

    fn rolled_back(&mut self, id: TransactionId) {
        let transaction = self.transactions.entry(id).or_default();
        transaction.state = TransactionState::Undone;
        for number in std::mem::take(&mut transaction.publishes) {
            if let Some(publish) = self.messages.get_mut(&number) {
                publish.withdrawn = true;
            }
        }
        // The deliveries may be settled again, under their old tags.
        let settles = self
            .transactions
            .get_mut(&id)
            .map(|undone| std::mem::take(&mut undone.settles));
        for (tag, held, _) in settles.unwrap_or_default() {
            let holder = copy_mut(self, &held.queue, held.number).and_then(|copy| copy.holder);
            if let Some((channel, _)) = holder.filter(|(_, held)| *held == tag) {
                self.channels.entry(channel).or_default().held.insert(tag, held);
            }
        }
    }

    fn limited(&mut self, id: ChannelId, limit: u64) {
        let now = self.now_us;
        let channel = self.channels.entry(id).or_default();
        if channel.limit == 0 {
            channel.limited_us = now;
        }
        channel.limit = limit;
    }

    fn reads(&mut self, channel: ChannelId, queue: &Name) {
        self.readers.entry(queue.clone()).or_default().insert(channel);
        // A purge that is under way may find the queue empty now.
        if let Some(known) = self
            .queues
            .get_mut(queue)
            .filter(|known| known.purging.now() != Presence::Absent)
        {
            for copy in known.copies.values_mut() {
                if copy.fate == (Fate::Leaving { since_us: None }) && copy.doubt.is_none() {
                    copy.fate = Fate::Possible;
                }
            }
        }
    }

    fn came_back(&mut self, queue: &Name, now_us: u64) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.returned_us = Some(now_us);
        }
    }

    fn delivered(&mut self, delivered: Delivered) {
        let Delivered {
            queue: name,
            place,
            number,
            redelivered,
            channel: id,
            tag,
            consumer,
            no_ack,
            void,
            ..
        } = delivered;
        let now = self.now_us;
        let unsteady = self.is_unsteady(id);
        let holder = number.and_then(|number| self.copy(&name, number)?.holder);
        let held_steadily = holder.map(|(holder, _)| !self.is_unsteady(holder));
        let sent = number.and_then(|number| self.messages.get(&number));
        let bereft = sent.is_some_and(|publish| self.may_be_bereft(&name, &place, publish.sent_us));
        let channel = self.channels.entry(id).or_default();
        channel.tag = tag;
        let (Some(number), Some(queue)) = (number, self.queues.get_mut(&name)) else {
            return;
        };
        let publisher = self.messages.get(&number);
        if let Some(publish) = publisher.filter(|_| !redelivered && !void) {
            let rank = family::place(&place).map_or(0, |place| place.rank(&publish.message));
            let key = (place.clone(), publish.message.publisher, consumer, rank);
            channel.last.insert(key, publish.order);
        }
        let copy = queue
            .copies
            .entry(number)
            .or_insert_with(|| Copy::new(Fate::Possible));
        if void {
            return;
        }
        copy.moved |= family::is_heir(&place);
        let held = Held {
            place: place.clone(),
            queue: name,
            number,
            consumer,
        };
        let taken = matches!(copy.fate, Fate::Leaving { since_us: Some(_) });
        let settled = copy.fate == (Fate::Leaving { since_us: None });
        let stale = unsteady && (held_steadily == Some(true) || taken);
        if stale || copy.fate == Fate::Gone {
            // It had been on its way for long: others have had it since, or its queue has been deleted.
            copy.seen_us = Some(now);
            if !no_ack {
                channel.held.insert(tag, held);
            }
            return;
        }
        copy.seen_us = Some(now);
        copy.place = Some(place);
        copy.back_us = None;
        if !unsteady {
            queue.active = consumer;
        }
        if no_ack {
            copy.fate = Fate::Leaving { since_us: Some(now) };
            return;
        }
        copy.holder = Some((id, tag));
        copy.fate = if copy.doubt.is_some() || !queue.class.keeps() {
            Fate::Possible
        } else {
            Fate::Kept
        };
        let sent = publisher.map_or(0, |publish| publish.sent_us);
        let deleted = bereft || queue.doomed_us.is_some_and(|doomed| doomed >= sent);
        let purged = queue.purged_us.is_some_and(|purged| purged >= sent);
        // Which of two has it, nobody can tell; nor whether it was taken back and purged before it was seen.
        let disputed = unsteady && (held_steadily == Some(false) || settled || purged);
        if disputed
            || deleted
            || queue.purging.now() != Presence::Absent
            || queue.there.now() != Presence::Present
        {
            copy.fate = Fate::Possible;
        }
        channel.held.insert(tag, held);
    }

    fn settle_sent(
        &mut self,
        id: ChannelId,
        tags: &[u64],
        verdict: Verdict,
        transaction: Option<TransactionId>,
    ) {
        for tag in tags {
            let channel = self.channels.entry(id).or_default();
            let Some(held) = channel.held.remove(tag) else {
                continue;
            };
            if verdict == Verdict::Failed && transaction.is_none() {
                channel.failing.insert(*tag, held.clone());
            }
            let verdict = self.meant(verdict, &held);
            if let Some(transaction) = transaction {
                let transaction = self.transactions.entry(transaction).or_default();
                transaction.channel = id;
                transaction.settles.push((*tag, held, Some(verdict)));
                continue;
            }
            let now = self.now_us;
            if verdict == Verdict::Done {
                let channel = self.channels.entry(id).or_default();
                channel.settling.insert(*tag, held.clone());
            } else {
                self.came_back(&held.queue, now);
            }
            let Some(copy) = copy_mut(self, &held.queue, held.number) else {
                continue;
            };
            if copy.holder == Some((id, *tag)) {
                copy.holder = None;
                if verdict == Verdict::Done && copy.fate != Fate::Gone {
                    copy.fate = Fate::Leaving { since_us: None };
                }
                if verdict == Verdict::Back {
                    put_back(self, &held);
                    let channel = self.channels.entry(id).or_default();
                    channel.returning.insert(*tag, (held, now));
                }
            }
        }
    }

    /// What is said of a delivery, in terms of what it means: a rejected message that has an heir to go to is with its family still.
    fn meant(&mut self, verdict: Verdict, held: &Held) -> Verdict {
        let dies = family::place(&held.place).is_some_and(family::Place::has_heir);
        match verdict {
            Verdict::Rejected if dies => {
                if let Some(copy) = copy_mut(self, &held.queue, held.number) {
                    copy.rejected = true;
                }
                Verdict::Back
            }
            Verdict::Rejected => Verdict::Done,
            Verdict::Failed => Verdict::Back,
            verdict => verdict,
        }
    }

    fn settle_received(&mut self, id: ChannelId, tags: &[u64]) {
        let now = self.now_us;
        for tag in tags {
            let channel = self.channels.entry(id).or_default();
            if let Some(held) = channel.failing.remove(tag)
                && let Some(copy) = copy_mut(self, &held.queue, held.number)
            {
                copy.failures.push(now);
            }
            let channel = self.channels.entry(id).or_default();
            if let Some((held, sent_us)) = channel.returning.remove(tag)
                && let Some(copy) = copy_mut(self, &held.queue, held.number)
                && copy.holder.is_none()
                && copy.seen_us.is_some_and(|seen| seen <= sent_us)
            {
                copy.back_us = Some(sent_us);
            }
            let channel = self.channels.entry(id).or_default();
            let Some(held) = channel.settling.remove(tag) else {
                continue;
            };
            if let Some(copy) = copy_mut(self, &held.queue, held.number)
                && copy.fate == (Fate::Leaving { since_us: None })
                && copy.doubt.is_none()
            {
                copy.fate = Fate::Leaving { since_us: Some(now) };
                copy.left_us = Some(now);
            }
        }
    }

    fn recovering(&mut self, id: ChannelId, begins: bool) {
        let now = self.now_us;
        self.channels.entry(id).or_default().recovering = begins;
        self.all_came_back(id, now);
    }

    fn channel_lost(&mut self, id: ChannelId) {
        let now = self.now_us;
        let channel = self.channels.entry(id).or_default();
        channel.lost = true;
        let held = std::mem::take(&mut channel.held);
        let settling = std::mem::take(&mut channel.settling);
        channel.failing.clear();
        channel.returning.clear();
        for held in held.into_values().chain(self.gathered_by(id)) {
            if let Some(copy) = copy_mut(self, &held.queue, held.number)
                && copy.holder.is_some_and(|(holder, _)| holder == id)
            {
                copy.holder = None;
                put_back(self, &held);
            }
        }
        for held in settling.into_values() {
            if let Some(copy) = copy_mut(self, &held.queue, held.number)
                && copy.fate == (Fate::Leaving { since_us: None })
            {
                copy.fate = Fate::Possible;
            }
        }
        self.all_came_back(id, now);
    }

    /// What open transactions of a channel hold; they are undone with it.
    fn gathered_by(&mut self, id: ChannelId) -> Vec<Held> {
        let mut gathered = Vec::new();
        let mut withdrawn = Vec::new();
        for transaction in self.transactions.values_mut() {
            let of_channel = transaction.publishes.iter().any(|number| {
                self.messages
                    .get(number)
                    .is_some_and(|publish| publish.message.publisher == id)
            });
            let settles = &transaction.settles;
            let holds = settles.iter().any(|(tag, held, _)| {
                let copy = self
                    .queues
                    .get(&held.queue)
                    .and_then(|queue| queue.copies.get(&held.number));
                copy.is_some_and(|copy| copy.holder == Some((id, *tag)))
            });
            if !of_channel && !holds {
                continue;
            }
            gathered.extend(settles.iter().map(|(_, held, _)| held.clone()));
            if transaction.state == TransactionState::Open {
                transaction.state = TransactionState::Undone;
                withdrawn.append(&mut transaction.publishes);
            }
        }
        for number in withdrawn {
            if let Some(publish) = self.messages.get_mut(&number) {
                publish.withdrawn = true;
            }
        }
        gathered
    }

    fn channel_ended(&mut self, id: ChannelId) {
        let now = self.now_us;
        self.all_came_back(id, now);
        self.readers.values_mut().for_each(|readers| {
            readers.remove(&id);
        });
    }

    /// Whatever a channel may have held is back.
    fn all_came_back(&mut self, id: ChannelId, now_us: u64) {
        for (name, readers) in &self.readers {
            if readers.contains(&id)
                && let Some(queue) = self.queues.get_mut(name)
            {
                queue.returned_us = Some(now_us);
            }
        }
    }
}

fn copy_mut<'a>(book: &'a mut Book, queue: &Name, number: Number) -> Option<&'a mut Copy> {
    book.queues.get_mut(queue)?.copies.get_mut(&number)
}

/// A message is back in its queue. If that is being purged, it may be gone with the others.
fn put_back(book: &mut Book, held: &Held) {
    let Some(queue) = book.queues.get_mut(&held.queue) else {
        return;
    };
    let purging = queue.purging.now() != Presence::Absent;
    if let Some(copy) = queue.copies.get_mut(&held.number)
        && purging
        && copy.fate == Fate::Kept
    {
        copy.fate = Fate::Possible;
    }
}
