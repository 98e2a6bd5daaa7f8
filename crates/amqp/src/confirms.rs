//! Publisher confirms of one channel: which publishes wait for their commit, and the fewest frames that say
//! they are safe. Not responsible for knowing when something is committed.
//!
//! Everything goes through one queue in the order of publishing, and only its finished front is ever sent:
//!
//! ```text
//!   sent | done done | waiting done waiting     front is sent as one `basic.ack multiple`
//! ```
//!
//! A shortcut for "this one is done already" would let a later confirm overtake an earlier one, and a client
//! that reads `multiple` would take the earlier one for safe.

use std::collections::VecDeque;

use crate::wire::frame;
use crate::wire::method::basic;

/// Names an entry of [`Confirms`]. Made unique over the incarnations of a channel, so that news for a channel
/// that was closed and opened again are recognised and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfirmId(pub u64);

/// How many low bits of a [`ConfirmId`] count entries; the rest is the incarnation of the channel.
const SEQUENCE_BITS: u32 = 40;

/// The confirms of one channel.
#[derive(Debug)]
pub struct Confirms {
    /// Number the next publish gets.
    next_number: u64,
    /// Last number that was sent.
    sent: u64,
    /// Id of the front entry.
    front: u64,
    waiting: VecDeque<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Number of the last publish of the entry; the first follows the entry before.
    last_number: u64,
    /// How many partitions have not reported yet.
    parts: u32,
    failed: bool,
}

impl Confirms {
    /// Confirms of a channel's `incarnation`-th opening.
    pub fn new(incarnation: u32) -> Confirms {
        let front = u64::from(incarnation) << SEQUENCE_BITS;
        Confirms {
            next_number: 1,
            sent: 0,
            front,
            waiting: VecDeque::new(),
        }
    }

    /// Takes numbers for `count` publishes; returns the first.
    pub fn number(&mut self, count: u64) -> u64 {
        let first = self.next_number;
        self.next_number += count;
        first
    }

    /// Expects `parts` reports for everything up to `last_number` that no earlier entry covers. With 0 parts
    /// the entry is done at once.
    pub fn push(&mut self, last_number: u64, parts: u32) -> ConfirmId {
        let id = ConfirmId(self.front + self.waiting.len() as u64);
        debug_assert!(
            last_number < self.next_number,
            "a confirm for a publish that was not numbered"
        );
        debug_assert!(self.waiting.back().map_or(self.sent, |entry| entry.last_number) < last_number);
        self.waiting.push_back(Entry {
            last_number,
            parts,
            failed: false,
        });
        id
    }

    /// One part of an entry is committed. Unknown ids are ignored: their channel is gone.
    pub fn done(&mut self, id: ConfirmId) {
        if let Some(entry) = self.entry(id) {
            entry.parts = entry.parts.saturating_sub(1);
        }
    }

    /// One part of an entry failed: the whole entry will be told as not safe.
    pub fn nack(&mut self, id: ConfirmId) {
        if let Some(entry) = self.entry(id) {
            entry.parts = entry.parts.saturating_sub(1);
            entry.failed = true;
        }
    }

    /// Whether [`Confirms::flush`] would send something.
    pub fn is_ready(&self) -> bool {
        self.waiting.front().is_some_and(|entry| entry.parts == 0)
    }

    /// How many publishes have been numbered.
    pub fn numbered(&self) -> u64 {
        self.next_number - 1
    }

    /// How many publishes have been numbered but not confirmed.
    pub fn unconfirmed(&self) -> u64 {
        self.next_number - 1 - self.sent
    }

    /// Appends the confirms of the finished front to `out`: one frame for each stretch of equal outcome.
    pub fn flush(&mut self, channel: u16, out: &mut Vec<u8>) {
        while let Some(first) = self.waiting.front().copied().filter(|entry| entry.parts == 0) {
            let before = self.sent;
            while let Some(entry) = self.waiting.front().filter(|entry| entry.parts == 0) {
                if entry.failed != first.failed {
                    break;
                }
                self.sent = entry.last_number;
                self.waiting.pop_front();
                self.front += 1;
            }
            let multiple = self.sent - before > 1;
            write_confirm(out, channel, self.sent, multiple, first.failed);
        }
    }

    fn entry(&mut self, id: ConfirmId) -> Option<&mut Entry> {
        let index = usize::try_from(id.0.checked_sub(self.front)?).ok()?;
        self.waiting.get_mut(index)
    }
}

fn write_confirm(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool, failed: bool) {
    frame::write(out, frame::METHOD, channel, |out| {
        if failed {
            basic::Nack {
                delivery_tag,
                multiple,
                requeue: false,
            }
            .encode(out);
        } else {
            basic::Ack {
                delivery_tag,
                multiple,
            }
            .encode(out);
        }
    });
}
