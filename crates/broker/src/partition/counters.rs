//! What became of all messages: the balance that has to add up.

use super::command::SettleReason;

/// Messages and bytes of a queue, or of all queues of a partition, since the start of the process.
///
/// `accepted = settled() + dead_lettered + moved + discarded() + live`, in messages as in bytes, at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that entered, those restored at the start included.
    pub accepted: u64,
    /// Of the accepted ones, those that were there already when the process started.
    pub restored: u64,
    /// Bytes that entered.
    pub accepted_bytes: u64,
    /// Bytes that left.
    pub gone_bytes: u64,
    /// Messages that returned after a delivery, each time counted.
    pub returned: u64,
    /// Messages delivered or gotten, each time counted.
    pub delivered: u64,
    /// Of the delivered ones, those that may have been delivered before.
    pub redelivered: u64,
    /// Of the delivered ones, those that were taken with `Get`.
    pub gotten: u64,
    /// Messages acknowledged.
    pub done: u64,
    /// Messages settled by being delivered to a consumer that does not acknowledge: at once, or when they were retained for long enough.
    pub no_ack: u64,
    /// Messages handed over to somebody who does not acknowledge, each time counted; settled by that, or retained.
    pub delivered_no_ack: u64,
    /// Of those, the ones that were retained.
    pub retained: u64,
    /// Of those, the ones that were given up before their time, to make room for others.
    pub displaced: u64,
    /// Messages that were taken with `Get` and without acknowledgement.
    pub gotten_no_ack: u64,
    /// How often `Get` found nothing.
    pub gotten_nothing: u64,
    /// Messages rejected without requeue.
    pub rejected: u64,
    /// Messages purged.
    pub purged: u64,
    /// Messages deleted with their queue.
    pub deleted: u64,
    /// Messages set aside as their content was damaged.
    pub quarantined: u64,
    /// Parked messages that were discarded by order.
    pub parked_discarded: u64,
    /// Messages that expired and went nowhere.
    pub expired: u64,
    /// Messages that there was no room for and that went nowhere.
    pub overflowed: u64,
    /// Messages that were delivered too often and went nowhere.
    pub delivery_limit: u64,
    /// Messages that would have gone in a circle through dead-letter exchanges.
    pub cycle: u64,
    /// Messages whose time had come and that nobody wanted.
    pub unroutable: u64,
    /// Messages that went on through the dead-letter exchange, or to where they were routed when their time had come.
    pub dead_lettered: u64,
    /// Messages that went to another queue by order.
    pub moved: u64,
}

impl Counters {
    /// Messages that a client has taken charge of.
    pub fn settled(&self) -> u64 {
        self.done + self.no_ack
    }

    /// Messages that were removed by an order, or because nothing was left of them.
    pub fn discarded(&self) -> u64 {
        self.discarded_by_reason().iter().map(|(_, count)| count).sum()
    }

    /// The same by reason, under the names that the management API gives them. There is no other reason: the balance is made of this.
    pub fn discarded_by_reason(&self) -> [(&'static str, u64); 10] {
        [
            ("rejected", self.rejected),
            ("purged", self.purged),
            ("deleted", self.deleted),
            ("parked", self.parked_discarded),
            ("expired", self.expired),
            ("maxlen", self.overflowed),
            ("delivery_limit", self.delivery_limit),
            ("cycle", self.cycle),
            ("unroutable", self.unroutable),
            ("damaged", self.quarantined),
        ]
    }

    /// Messages that are still there.
    pub fn live(&self) -> u64 {
        self.accepted - self.settled() - self.dead_lettered - self.moved - self.discarded()
    }

    /// Bytes that are still there.
    pub fn live_bytes(&self) -> u64 {
        self.accepted_bytes - self.gone_bytes
    }

    /// Begins to count anew with what is there: what happened before the last start does not count.
    pub(super) fn begin(&mut self) {
        let (live, live_bytes) = (self.live(), self.live_bytes());
        *self = Self {
            accepted: live,
            restored: live,
            accepted_bytes: live_bytes,
            ..Self::default()
        };
    }

    pub(super) fn enter(&mut self, count: u64, bytes: u64) {
        self.accepted += count;
        self.accepted_bytes += bytes;
    }

    pub(super) fn leave(&mut self, count: u64, bytes: u64, reason: SettleReason) {
        self.gone_bytes += bytes;
        *match reason {
            SettleReason::Done => &mut self.done,
            SettleReason::NoAck => &mut self.no_ack,
            SettleReason::Rejected => &mut self.rejected,
            SettleReason::Purged => &mut self.purged,
            SettleReason::Deleted => &mut self.deleted,
            SettleReason::Quarantined => &mut self.quarantined,
            SettleReason::ParkedDiscarded => &mut self.parked_discarded,
            SettleReason::Expired => &mut self.expired,
            SettleReason::Overflowed => &mut self.overflowed,
            SettleReason::DeliveryLimit => &mut self.delivery_limit,
            SettleReason::DeadLettered => &mut self.dead_lettered,
            SettleReason::Moved => &mut self.moved,
            SettleReason::Cycle => &mut self.cycle,
            SettleReason::Unroutable => &mut self.unroutable,
        } += count;
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Counters) {
        self.accepted += other.accepted;
        self.restored += other.restored;
        self.accepted_bytes += other.accepted_bytes;
        self.gone_bytes += other.gone_bytes;
        self.returned += other.returned;
        self.delivered += other.delivered;
        self.redelivered += other.redelivered;
        self.gotten += other.gotten;
        self.delivered_no_ack += other.delivered_no_ack;
        self.retained += other.retained;
        self.displaced += other.displaced;
        self.gotten_no_ack += other.gotten_no_ack;
        self.gotten_nothing += other.gotten_nothing;
        self.done += other.done;
        self.no_ack += other.no_ack;
        self.rejected += other.rejected;
        self.purged += other.purged;
        self.deleted += other.deleted;
        self.quarantined += other.quarantined;
        self.parked_discarded += other.parked_discarded;
        self.expired += other.expired;
        self.overflowed += other.overflowed;
        self.delivery_limit += other.delivery_limit;
        self.cycle += other.cycle;
        self.unroutable += other.unroutable;
        self.dead_lettered += other.dead_lettered;
        self.moved += other.moved;
    }
}
