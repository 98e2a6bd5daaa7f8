//! One publishing connection: sends messages from its block as fast as window, rate and socket allow, and takes in
//! confirms and returns.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;

use crate::block::{self, Block, SAMPLE_EVERY};
use crate::board::{Board, Totals};
use crate::histogram::Histogram;
use crate::link::Link;
use crate::outstanding::Outstanding;
use crate::pace::Pace;
use crate::scanner::{Error, Scanner, Sink};
use crate::wire::{MethodId, id};

/// So many system calls a turn, then the thread's other connections have theirs.
const WRITES_A_TURN: usize = 4;

/// What a producer is told to do.
pub struct Orders {
    /// Its number among the producers; goes into the ids.
    pub index: u16,
    /// Write ids into every message.
    pub check: bool,
    /// Publishes that may be unconfirmed; 0 is no confirms.
    pub window: u64,
    /// A steady rate, or as fast as it goes.
    pub pace: Option<Pace>,
    /// How many messages it publishes in all.
    pub limit: u64,
}

/// A publishing connection.
pub struct Producer {
    link: Link,
    scanner: Scanner,
    block: Block,
    /// The next message of the block to send.
    cursor: usize,
    /// Bytes of the block that are prepared and not sent yet.
    pending: Range<usize>,
    /// Messages of the block that carry a stamp.
    stamped: Vec<usize>,
    state: Publishing,
}

/// What the broker's answers change.
struct Publishing {
    orders: Orders,
    board: Arc<Board>,
    totals: Totals,
    outstanding: Option<Outstanding>,
    confirm_latency: Histogram,
    timed: bool,
    now: u64,
    blocked_since: Option<u64>,
    returned: Option<String>,
}

impl Producer {
    /// Takes over an open connection whose channel is in confirm mode if `orders` say so.
    pub fn new(link: Link, scanner: Scanner, block: Block, orders: Orders, board: Arc<Board>) -> Self {
        let outstanding = (orders.window > 0).then(|| Outstanding::new(orders.window));
        let state = Publishing {
            orders,
            board,
            totals: Totals::default(),
            outstanding,
            confirm_latency: Histogram::default(),
            timed: false,
            now: 0,
            blocked_since: None,
            returned: None,
        };
        Self {
            link,
            scanner,
            block,
            cursor: 0,
            pending: 0..0,
            stamped: Vec::new(),
            state,
        }
    }

    /// The connection, for epoll.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        let mut totals = self.state.totals;
        if let Some(since) = self.state.blocked_since {
            totals.blocked_ns += self.state.board.now().saturating_sub(since);
        }
        totals
    }

    /// How long confirms took.
    pub fn confirm_latency(&self) -> &Histogram {
        &self.state.confirm_latency
    }

    /// The text of the first message that came back, if one did.
    pub fn returned(&self) -> Option<&str> {
        self.state.returned.as_deref()
    }

    /// Latencies are recorded from now on, or no longer.
    pub fn set_timed(&mut self, timed: bool) {
        self.state.timed = timed;
    }

    /// Nothing waits to be sent or confirmed, and nothing more will come: it is `draining` or has published all.
    pub fn is_done(&self, draining: bool) -> bool {
        let confirmed = self.state.outstanding.as_ref().is_none_or(Outstanding::is_empty);
        (draining || self.state.totals.published >= self.state.orders.limit)
            && self.pending.is_empty()
            && confirmed
    }

    /// Takes in what the broker has sent.
    pub fn receive(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
        self.state.now = self.state.board.now();
        let Some(end) = self
            .link
            .receive(buffer, self.state.now)
            .context("a producer's connection")?
        else {
            return Ok(());
        };
        let used = self
            .scanner
            .scan(&buffer[..end], &mut self.state)
            .context("on a producer's connection")?;
        self.link.keep(&buffer[used..end]);
        Ok(())
    }

    /// Sends what it may: the rest of what is pending and, unless `draining`, new messages, `backlog_room` at most.
    /// Answers true when it wants to hear that the socket can take more.
    pub fn publish(&mut self, draining: bool, backlog_room: u64) -> anyhow::Result<bool> {
        let mut backlog_room = backlog_room;
        for _ in 0..WRITES_A_TURN {
            if self.pending.is_empty() {
                if !self.link.flush(self.state.board.now())? {
                    return Ok(true);
                }
                let count = if draining { 0 } else { self.allowance(backlog_room) };
                if count == 0 {
                    return Ok(false);
                }
                backlog_room -= count;
                self.prepare(count as usize);
            }
            let bytes = &self.block.bytes()[self.pending.clone()];
            let sent = self
                .link
                .send(bytes, self.state.now)
                .context("a producer's connection")?;
            self.pending.start += sent;
            if !self.pending.is_empty() {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// When it should be called again although nothing came in: the next message is not due yet.
    pub fn wake_at(&self) -> Option<u64> {
        let pace = self.state.orders.pace.as_ref()?;
        let held = !self.pending.is_empty()
            || self.state.totals.published >= self.state.orders.limit
            || self.state.blocked_since.is_some()
            || self
                .state
                .outstanding
                .as_ref()
                .is_some_and(|outstanding| outstanding.room() == 0);
        if held {
            None
        } else {
            Some(pace.due_at(self.state.totals.published))
        }
    }

    /// Sends a heartbeat when one is due. One cannot go into the middle of a message.
    pub fn tick(&mut self, now: u64) -> anyhow::Result<()> {
        self.link.tick(now).context("a producer's connection")?;
        if self.pending.is_empty() {
            self.link.flush(now)?;
        }
        Ok(())
    }

    /// Ends the connection politely.
    pub fn farewell(&mut self) {
        self.link.farewell(&self.block.bytes()[self.pending.clone()]);
    }

    /// How many messages may go now, from the cursor on.
    fn allowance(&mut self, backlog_room: u64) -> u64 {
        if self.state.blocked_since.is_some() {
            return 0;
        }
        let left = self.state.orders.limit - self.state.totals.published;
        let mut count = ((self.block.len() - self.cursor) as u64)
            .min(backlog_room)
            .min(left);
        if let Some(outstanding) = &self.state.outstanding {
            count = count.min(outstanding.room());
        }
        if let Some(pace) = &self.state.orders.pace {
            let due = pace.due_count(self.state.board.now());
            count = count.min(due.saturating_sub(self.state.totals.published));
        }
        count
    }

    /// Makes the next `count` messages of the block ready to send.
    fn prepare(&mut self, count: usize) {
        let now = self.state.board.now();
        let (from, to) = (self.cursor, self.cursor + count);
        self.mark(from, to);
        self.stamp(from, count, now);
        self.pending = self.block.start(from)..self.block.start(to);
        self.cursor = if to == self.block.len() { 0 } else { to };
        self.state.now = now;
        self.state.totals.published += count as u64;
        self.state.totals.published_bytes += self.block.body_bytes(from, to);
        if let Some(outstanding) = &mut self.state.outstanding {
            outstanding.publish(count as u64, now);
        }
    }

    fn mark(&mut self, from: usize, to: usize) {
        if self.state.orders.check {
            let first_id = u64::from(self.state.orders.index) << 48 | self.state.totals.published;
            let sum = self.block.mark(from, to, first_id);
            self.state.totals.published_ids = self.state.totals.published_ids.wrapping_add(sum);
            return;
        }
        for slot in self.stamped.drain(..) {
            self.block.stamp(slot, 0);
        }
    }

    /// Stamps the middle one of every 64 messages. With a rate the stamp says when the message was due, so that a
    /// broker that stalls is charged for those it kept waiting, not only for the one it had in hand.
    fn stamp(&mut self, from: usize, count: usize, now: u64) {
        for group in (0..count).step_by(SAMPLE_EVERY) {
            let weight = SAMPLE_EVERY.min(count - group);
            let offset = group + weight / 2;
            let sent_at = match &self.state.orders.pace {
                Some(pace) => pace.due_at(self.state.totals.published + offset as u64),
                None => now,
            };
            self.block.stamp(from + offset, block::stamp(sent_at, weight));
            self.stamped.push(from + offset);
        }
        if self.state.orders.check {
            self.stamped.clear();
        }
    }
}

impl Sink for Publishing {
    fn deliver(&mut self, _consumer_tag: &[u8], _delivery_tag: u64, _redelivered: bool) {}

    fn returned(&mut self, code: u16, text: &[u8]) {
        self.totals.returned += 1;
        if self.returned.is_none() {
            self.returned = Some(format!("{code} {}", String::from_utf8_lossy(text)));
        }
    }

    fn content(&mut self, _size: u64, _head: &[u8]) {}

    fn confirm(&mut self, tag: u64, multiple: bool, positive: bool) -> Result<(), Error> {
        let Some(outstanding) = &mut self.outstanding else {
            return Err(Error::Confirm {
                tag,
                what: "confirms were not asked for",
            });
        };
        let latencies = if self.timed {
            Some(&mut self.confirm_latency)
        } else {
            None
        };
        let count = outstanding.confirm(tag, multiple, self.now, latencies)?;
        let total = if positive {
            &mut self.totals.confirmed
        } else {
            &mut self.totals.nacked
        };
        *total += count;
        Ok(())
    }

    fn method(&mut self, method: MethodId, _arguments: &[u8]) -> Result<(), Error> {
        match method {
            id::CONNECTION_BLOCKED => {
                self.blocked_since.get_or_insert(self.now);
            }
            id::CONNECTION_UNBLOCKED => {
                if let Some(since) = self.blocked_since.take() {
                    self.totals.blocked_ns += self.now.saturating_sub(since);
                }
            }
            _ => return Err(Error::Protocol("a method that a producer does not expect")),
        }
        Ok(())
    }
}
