//! One consuming connection: counts, checks and times what comes, and acknowledges it.

use std::sync::Arc;

use anyhow::Context;

use crate::block;
use crate::board::{Board, Totals};
use crate::histogram::Histogram;
use crate::link::Link;
use crate::scanner::{Error, Scanner, Sink};
use crate::wire::{self, MethodId, id};
use crate::workload::Ack;

/// What a consumer is told to do.
pub struct Orders {
    /// How it acknowledges.
    pub ack: Ack,
    /// Look at the id of every message.
    pub check: bool,
    /// How many queues it consumes from; their consumer tags are "0", "1", ...
    pub queues: usize,
    /// How many producers there are.
    pub producers: usize,
}

/// A consuming connection.
pub struct Consumer {
    link: Link,
    scanner: Scanner,
    state: Consuming,
}

/// What deliveries change.
struct Consuming {
    orders: Orders,
    board: Arc<Board>,
    totals: Totals,
    /// The last id seen, plus 1, by queue and producer.
    last_ids: Vec<u64>,
    end_to_end: Histogram,
    timed: bool,
    now: u64,
    acks: Vec<u8>,
    unacked: u32,
    /// Of the delivery in hand, whose content may still be on its way.
    tag: u64,
    /// Of the last delivery that is here whole: what an ack of a batch may name.
    whole_tag: u64,
    queue: usize,
    redelivered: bool,
}

impl Consumer {
    /// Takes over a connection that consumes already.
    pub fn new(link: Link, scanner: Scanner, orders: Orders, board: Arc<Board>) -> Self {
        let state = Consuming::new(orders, board);
        Self { link, scanner, state }
    }

    /// The connection, for epoll.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        self.state.totals
    }

    /// How long messages took from publish to here.
    pub fn end_to_end(&self) -> &Histogram {
        &self.state.end_to_end
    }

    /// Latencies are recorded from now on, or no longer.
    pub fn set_timed(&mut self, timed: bool) {
        self.state.timed = timed;
    }

    /// Takes in what the broker has sent and acknowledges it. Answers true when it wants to hear that the socket can
    /// take more.
    pub fn receive(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<bool> {
        let state = &mut self.state;
        let Some(end) = self
            .link
            .receive(buffer, state.board.now())
            .context("a consumer's connection")?
        else {
            return Ok(false);
        };
        state.now = state.board.now();
        let used = self
            .scanner
            .scan(&buffer[..end], state)
            .context("on a consumer's connection")?;
        self.link.keep(&buffer[used..end]);
        self.flush()
    }

    /// Sends the acks that wait. Answers true when the socket could not take all.
    pub fn flush(&mut self) -> anyhow::Result<bool> {
        self.link.out().append(&mut self.state.acks);
        Ok(!self
            .link
            .flush(self.state.now)
            .context("a consumer's connection")?)
    }

    /// True when deliveries wait for their batch of acks to fill.
    pub fn has_unacked(&self) -> bool {
        self.state.unacked > 0
    }

    /// Acknowledges an unfilled batch: nothing came for a while.
    pub fn ack_rest(&mut self) -> anyhow::Result<bool> {
        self.state.ack_batch();
        self.flush()
    }

    /// Sends a heartbeat when one is due.
    pub fn tick(&mut self, now: u64) -> anyhow::Result<()> {
        self.link.tick(now).context("a consumer's connection")?;
        self.link.flush(now)?;
        Ok(())
    }

    /// Acknowledges the rest and ends the connection politely.
    pub fn farewell(&mut self) {
        self.state.ack_batch();
        self.link.out().append(&mut self.state.acks);
        self.link.farewell(&[]);
    }
}

impl Consuming {
    fn new(orders: Orders, board: Arc<Board>) -> Self {
        let lanes = if orders.check {
            orders.queues * orders.producers
        } else {
            0
        };
        Self {
            orders,
            board,
            totals: Totals::default(),
            last_ids: vec![0; lanes],
            end_to_end: Histogram::default(),
            timed: false,
            now: 0,
            acks: Vec::new(),
            unacked: 0,
            tag: 0,
            whole_tag: 0,
            queue: 0,
            redelivered: false,
        }
    }

    #[inline]
    fn ack(&mut self) {
        match self.orders.ack {
            Ack::None => {}
            Ack::Each => {
                wire::ack(&mut self.acks, self.tag, false);
                self.totals.acked += 1;
            }
            Ack::Multiple(batch) => {
                self.unacked += 1;
                if self.unacked >= batch.get() {
                    self.ack_batch();
                }
            }
        }
    }

    fn ack_batch(&mut self) {
        if self.unacked > 0 {
            wire::ack(&mut self.acks, self.whole_tag, true);
            self.totals.acked += u64::from(self.unacked);
            self.unacked = 0;
        }
    }

    #[inline]
    fn check(&mut self, id: u64) {
        self.totals.received_ids = self.totals.received_ids.wrapping_add(id);
        let lane = self.queue * self.orders.producers + (id >> 48) as usize;
        let number = (id & 0xffff_ffff_ffff) + 1;
        match self.last_ids.get_mut(lane) {
            Some(last) if number > *last => *last = number,
            _ => self.totals.out_of_order += u64::from(!self.redelivered),
        }
    }

    #[inline]
    fn time(&mut self, stamp: u64) {
        if let Some((sent_at, weight)) = block::read_stamp(stamp) {
            self.end_to_end.record(self.now.saturating_sub(sent_at), weight);
        }
    }
}

impl Sink for Consuming {
    #[inline]
    fn deliver(&mut self, consumer_tag: &[u8], delivery_tag: u64, redelivered: bool) {
        self.tag = delivery_tag;
        self.redelivered = redelivered;
        if self.orders.queues > 1 {
            self.queue = consumer_tag
                .iter()
                .fold(0, |number, digit| number * 10 + usize::from(digit & 0xf));
        }
    }

    fn returned(&mut self, _code: u16, _text: &[u8]) {}

    #[inline]
    fn content(&mut self, size: u64, head: &[u8]) {
        self.totals.received += 1;
        self.totals.received_bytes += size;
        self.totals.redelivered += u64::from(self.redelivered);
        if let Some(id) = head.first_chunk()
            && self.orders.check
        {
            self.check(u64::from_be_bytes(*id));
        }
        if let Some(stamp) = head.get(8..16).and_then(|bytes| bytes.first_chunk())
            && self.timed
        {
            self.time(u64::from_be_bytes(*stamp));
        }
        self.whole_tag = self.tag;
        self.ack();
    }

    fn confirm(&mut self, tag: u64, _multiple: bool, _positive: bool) -> Result<(), Error> {
        Err(Error::Confirm {
            tag,
            what: "a consumer publishes nothing",
        })
    }

    fn method(&mut self, method: MethodId, _arguments: &[u8]) -> Result<(), Error> {
        match method {
            // A consumer is not told apart from a producer when a broker blocks; it goes on consuming.
            id::CONNECTION_BLOCKED | id::CONNECTION_UNBLOCKED => Ok(()),
            _ => Err(Error::Protocol("a method that a consumer does not expect")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_has_arrived_whole() {
        let orders = Orders {
            ack: Ack::Multiple(100.try_into().expect("not zero")),
            check: false,
            queues: 1,
            producers: 1,
        };
        let mut state = Consuming::new(orders, Arc::new(Board::new(1)));
        let acks = |tags: &[u64]| {
            let mut bytes = Vec::new();
            tags.iter().for_each(|tag| wire::ack(&mut bytes, *tag, true));
            bytes
        };
        state.deliver(b"0", 1, false);
        state.content(0, b"");
        // The second delivery's method is here, its content is on its way: nothing came for a while.
        state.deliver(b"0", 2, false);
        state.ack_batch();
        assert_eq!(state.acks, acks(&[1]));
        state.content(0, b"");
        state.ack_batch();
        assert_eq!(state.acks, acks(&[1, 2]));
    }
}
