//! From effects of the queue machine to notices, log records and accounting.

use everack_broker::ids::{ConsumerId, Millis, QueueId, Seq, Ticket};
use everack_broker::partition::{Aside, Command, Death, Delivery, Effect, Refusal, Run, SettleReason};
use everack_storage::Position;

use super::ranking::has_priorities;
use super::staged::{self, Staged};
use super::{Partition, queue_run};
use crate::append::JobId;
use crate::catalog_service::CatalogRequest;
use crate::dead_letters::{DeadLetter, Mail};
use crate::messages::Messages;
use crate::notice::{Answer, Delivered, Notice};
use crate::outbox::Outbox;
use crate::record::{self, Counted, Range, SetAside, Target};
use crate::request::Reply;

/// The longest list of what waits for a job that is kept for the next one.
const STAGED_KEPT: usize = 256;
/// How many such lists are kept: as many as jobs are mostly under way.
const STAGED_SPARES_MAX: usize = 8;

impl Partition {
    pub(super) fn carry_out(&mut self, effect: Effect<Messages>, outbox: &mut Outbox) {
        match effect {
            Effect::Deliver(delivery) => self.deliver(delivery, outbox),
            Effect::Got {
                ticket,
                delivery,
                remaining,
            } => {
                let delivery = Box::new(self.pinned(*delivery));
                self.answer(ticket, Answer::Got { delivery, remaining }, outbox);
            }
            Effect::GotEmpty { ticket } => self.answer(ticket, Answer::GotEmpty, outbox),
            Effect::Settled {
                queue,
                first,
                count,
                location,
                bytes,
                reason,
            } => {
                if location.is_durable() {
                    self.space.subtract(location, u64::from(count), bytes);
                    self.log_settled(Range { queue, first, count }, reason);
                }
            }
            Effect::Returned {
                queue,
                first,
                count,
                durable: true,
                failed: _,
                deliveries,
                failures,
            } => self.log_returned(Counted {
                queue,
                first,
                count,
                deliveries,
                failures,
            }),
            Effect::Parked {
                queue,
                first,
                count,
                durable: true,
                why,
            } => {
                let aside = Some(Aside::Parked(why));
                self.log_aside(Range { queue, first, count }, aside, None);
            }
            Effect::Retained {
                queue,
                first,
                count,
                until,
            } => {
                let aside = Some(Aside::Retained);
                self.log_aside(Range { queue, first, count }, aside, Some(until));
            }
            Effect::Unparked {
                queue,
                first,
                count,
                durable: true,
                expires,
            } => self.log_aside(Range { queue, first, count }, None, expires),
            Effect::Rejected {
                queue,
                first,
                count,
                durable: true,
            } => push_range(&mut self.rejected, Range { queue, first, count }),
            Effect::Returned { .. }
            | Effect::Parked { .. }
            | Effect::Unparked { .. }
            | Effect::Rejected { .. } => (),
            Effect::Relocated {
                count,
                old,
                location,
                bytes,
                ..
            } => {
                self.space.subtract(old, u64::from(count), bytes);
                self.space.add(location, u64::from(count), bytes);
            }
            Effect::ConsumeOk { ticket } => self.answer(ticket, Answer::ConsumeOk, outbox),
            Effect::Cancelled { ticket } => self.cancelled(ticket, outbox),
            Effect::Refused { ticket, refusal } => self.answer(ticket, refused(refusal), outbox),
            Effect::Counts {
                ticket,
                messages,
                consumers,
            } => {
                self.answer(ticket, Answer::Counts { messages, consumers }, outbox);
            }
            Effect::DeleteAllowed { ticket, messages } => {
                self.answer(ticket, Answer::DeleteAllowed { messages }, outbox);
            }
            Effect::Purged { ticket, messages } => self.answer(ticket, Answer::Purged { messages }, outbox),
            Effect::ConsumerGone { consumer, .. } => {
                self.tell_consumer(consumer, outbox, |consumer| Notice::ConsumerGone { consumer });
                self.gone.push(consumer);
            }
            Effect::TimedOut { consumer, .. } => {
                self.tell_consumer(consumer, outbox, |consumer| Notice::ConsumerTimedOut { consumer });
                self.gone.push(consumer);
            }
            Effect::LimitFreed { consumer, .. } => {
                self.tell_consumer(consumer, outbox, |consumer| Notice::LimitFreed { consumer })
            }
            Effect::Unused { queue } => self.unused(queue, outbox),
            Effect::Died { queue, death, run } => self.send_on(queue, death, run, outbox),
            // The queue was deleted after these messages had been written: the delete came first.
            Effect::Orphaned { run, .. } => {
                if run.location.is_durable() {
                    let (count, bytes) = (u64::from(run.count()), u64::from(run.bytes));
                    self.space.subtract(run.location, count, bytes);
                }
            }
        }
    }

    /// Nobody uses the queue. If it is one in which messages wait for their time, none may be on the way to it either.
    fn unused(&mut self, queue: QueueId, outbox: &mut Outbox) {
        let admission = self.queues.get(&queue).and_then(|stage| stage.admission.as_ref());
        if admission.is_none_or(|admission| admission.on_the_way.messages == 0) {
            outbox
                .seldom()
                .catalog
                .push(CatalogRequest::DeleteUnused { queue });
        }
    }

    /// A consumer that holds nothing is forgotten here; one that does is until its channel goes.
    fn cancelled(&mut self, ticket: Ticket, outbox: &mut Outbox) {
        let index = self.cancelling.iter().position(|(waiting, _)| *waiting == ticket);
        let holds = index.is_some_and(|index| {
            let (_, consumer) = self.cancelling.swap_remove(index);
            let holds = self.machine.knows(consumer);
            if !holds {
                self.gone.push(consumer);
            }
            holds
        });
        self.answer(ticket, Answer::Cancelled { holds }, outbox);
    }

    fn deliver(&mut self, delivery: Delivery<Messages>, outbox: &mut Outbox) {
        let Some(reply) = self.consumers.get(&delivery.consumer) else {
            unreachable!(
                "consumer {} is served but was never introduced",
                delivery.consumer
            )
        };
        let link = reply.link.clone();
        outbox.notify(&link, Notice::Deliver(self.pinned(delivery)));
    }

    /// Gives the dead to whoever knows where they go. The queue owns them until they have arrived.
    fn send_on(&mut self, queue: QueueId, death: Death, run: Run<Messages>, outbox: &mut Outbox) {
        let pin = run.content.is_none().then(|| self.space.pin(run.location));
        let traced = self.followed(queue, run.first, u32::from(run.count()));
        let letter = DeadLetter {
            partition: self.id,
            queue,
            owned: true,
            death,
            run,
            pin,
            charge: None,
            traced,
        };
        outbox.seldom().dead.push(Mail::Dead(letter));
    }

    /// Keeps the segment until the delivery has been written out, if it has to be read from there.
    fn pinned(&mut self, delivery: Delivery<Messages>) -> Delivered {
        let pin = delivery
            .run
            .content
            .is_none()
            .then(|| self.space.pin(delivery.run.location));
        Delivered { delivery, pin }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer, outbox: &mut Outbox) {
        if let Some(Reply { link, channel }) = self.tickets.remove(&ticket) {
            outbox.notify(&link, Notice::Answer { channel, answer });
        }
    }

    fn tell_consumer(
        &self,
        consumer: ConsumerId,
        outbox: &mut Outbox,
        notice: impl FnOnce(ConsumerId) -> Notice,
    ) {
        if let Some(reply) = self.consumers.get(&consumer) {
            outbox.notify(&reply.link, notice(consumer));
        }
    }

    /// Settlements are written behind the fact. A deleted queue's messages need none: the deletion itself is a record.
    fn log_settled(&mut self, range: Range, reason: SettleReason) {
        match reason {
            SettleReason::Deleted => (),
            // The move that has taken it on says so itself.
            SettleReason::DeadLettered | SettleReason::Moved => (),
            SettleReason::Quarantined => push_range(&mut self.quarantined, range),
            _ => push_range(&mut self.settled, range),
        }
    }

    fn log_returned(&mut self, counted: Counted) {
        if !self.asides.is_empty() {
            self.frame_returns();
        }
        match self.counted.last_mut() {
            Some(last) if last.is_followed_by(&counted) => last.count += counted.count,
            _ => self.counted.push(counted),
        }
    }

    fn log_aside(&mut self, range: Range, aside: Option<Aside>, until: Option<Millis>) {
        let Range { queue, first, count } = range;
        let set = SetAside {
            queue,
            first,
            count,
            aside,
            until,
        };
        match self.asides.last_mut() {
            Some(last) if last.is_followed_by(&set) => last.count += count,
            _ => self.asides.push(set),
        }
    }

    /// A job of this partition is durable: what was staged for it takes effect, in its order.
    pub(super) fn committed(
        &mut self,
        job: JobId,
        base: Position,
        end: Position,
        now: Millis,
        outbox: &mut Outbox,
    ) {
        // The first one, but for jobs that overtook others while the disk was full.
        let index = self.jobs.iter().position(|pending| pending.job == job);
        let index =
            index.unwrap_or_else(|| panic!("job {} became durable twice or was never handed out", job.0));
        let done = self.jobs.remove(index).expect("the index was just found");
        self.applied = self.applied.max(end);
        let mut list = done.staged;
        for staged in list.drain(..) {
            self.take_effect(staged, base, now, outbox);
        }
        if list.capacity() <= STAGED_KEPT && self.staged_spares.len() < STAGED_SPARES_MAX {
            self.staged_spares.push(list);
        }
    }

    fn take_effect(&mut self, staged: Staged, base: Position, now: Millis, outbox: &mut Outbox) {
        match staged {
            Staged::Publish {
                offset,
                targets,
                messages,
                accept,
                extras,
            } => {
                let location = staged::location(base, offset);
                if let Some(extras) = extras {
                    self.set_deadlines(&extras.deadlines, now);
                    self.release_room(&extras.reserved);
                    self.trace_entered(&targets, extras.traced, Some(Position(location.0)));
                }
                let fanout = record::fanout(&targets);
                let ranked = has_priorities(&messages);
                for target in targets.iter() {
                    let bytes = record::charged_bytes(&messages, target.from, target.to, fanout);
                    self.space
                        .add(location, u64::from(target.to - target.from), u64::from(bytes));
                    let run = queue_run(*target, location, messages.clone(), bytes);
                    self.enter(target.queue, run, ranked, now);
                }
                if let Some(accept) = accept {
                    self.accept(accept, outbox);
                }
            }
            Staged::Transient {
                targets,
                messages,
                deadlines,
                traced,
            } => {
                self.set_deadlines(&deadlines, now);
                self.trace_entered(&targets, traced, None);
                self.enqueue_transient(&targets, &messages, now);
            }
            Staged::TransactionEnd { settles, reply } => {
                // Whoever holds the messages still does, unless they are gone with their queue (`Command::Commit`).
                settles.into_iter().for_each(|settle| self.settle(settle, now));
                outbox.notify(
                    &reply.link,
                    Notice::Answer {
                        channel: reply.channel,
                        answer: Answer::Committed,
                    },
                );
            }
            Staged::Moved {
                source,
                charge,
                order,
            } => {
                self.moved(source, order, now, outbox);
                drop(charge);
            }
            Staged::Told { inquirer, report } => outbox.seldom().reports.push((inquirer, report)),
            Staged::Rescued {
                offset,
                targets,
                done,
            } => {
                self.relocate(staged::location(base, offset), &targets, now);
                outbox.seldom().rescued.extend(done);
            }
        }
    }

    pub(super) fn enqueue_transient(&mut self, targets: &[Target], messages: &Messages, now: Millis) {
        let ranked = has_priorities(messages);
        for target in targets {
            let bytes = messages.bytes(target.from, target.to).min(u64::from(u32::MAX)) as u32;
            let run = queue_run(
                *target,
                everack_broker::ids::Location::NOWHERE,
                messages.clone(),
                bytes,
            );
            self.enter(target.queue, run, ranked, now);
        }
    }

    /// Content that could not be read back: it leaves its queue, and the log says so.
    pub(super) fn damaged(&mut self, queue: QueueId, first: Seq, count: u32, now: Millis) {
        self.machine
            .apply(Command::Quarantine { queue, first, count }, now);
    }
}

/// Appends `range`, as part of the last one if it follows on it.
pub(super) fn push_range(ranges: &mut Vec<Range>, range: Range) {
    match ranges.last_mut() {
        Some(last) if last.queue == range.queue && last.first.plus(u64::from(last.count)) == range.first => {
            last.count += range.count;
        }
        _ => ranges.push(range),
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::NoQueue => Answer::QueueMissing,
        Refusal::ExclusiveUse => Answer::ConsumeRefused,
        Refusal::InUse => Answer::InUse,
        Refusal::NotEmpty => Answer::NotEmpty,
    }
}
