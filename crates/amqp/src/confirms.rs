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
    /// Publishes that were refused one by one and are not told yet: first and last number, in order and apart.
    refused: VecDeque<(u64, u64)>,
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
            refused: VecDeque::new(),
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

    /// One part of an entry is committed but for these publishes, counted from the first of the entry.
    pub fn refuse(&mut self, id: ConfirmId, spans: &[(u16, u16)]) {
        let Some(index) = self.index(id) else {
            return;
        };
        let before = index
            .checked_sub(1)
            .map_or(self.sent, |at| self.waiting[at].last_number);
        let last_number = self.waiting[index].last_number;
        for &(from, to) in spans.iter().filter(|(from, to)| from < to) {
            let (first, last) = (before + 1 + u64::from(from), before + u64::from(to));
            self.refuse_numbers(first, last.min(last_number));
        }
        self.done(id);
    }

    /// Adds a span to the refused ones, together with those that it touches.
    fn refuse_numbers(&mut self, mut first: u64, mut last: u64) {
        let from = self.refused.partition_point(|(_, end)| end + 1 < first);
        let to = self.refused.partition_point(|(start, _)| *start <= last + 1);
        for (start, end) in self.refused.drain(from..to.max(from)) {
            (first, last) = (first.min(start), last.max(end));
        }
        self.refused.insert(from, (first, last));
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
            self.write_stretch(before + 1, first.failed, channel, out);
        }
    }

    /// Writes the confirms of `first` to the last that is sent: one frame, and two more for each span in it that was refused.
    fn write_stretch(&mut self, mut first: u64, failed: bool, channel: u16, out: &mut Vec<u8>) {
        while let Some(&(start, end)) = self.refused.front().filter(|(start, _)| *start <= self.sent) {
            self.refused.pop_front();
            if first < start {
                write_confirm(out, channel, start - 1, start - first > 1, failed);
            }
            write_confirm(out, channel, end, end > start, true);
            first = end + 1;
        }
        if first <= self.sent {
            write_confirm(out, channel, self.sent, self.sent > first, failed);
        }
    }

    fn entry(&mut self, id: ConfirmId) -> Option<&mut Entry> {
        let index = self.index(id)?;
        self.waiting.get_mut(index)
    }

    fn index(&self, id: ConfirmId) -> Option<usize> {
        let index = usize::try_from(id.0.checked_sub(self.front)?).ok()?;
        (index < self.waiting.len()).then_some(index)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Three batches of 4, 3 and 2 publishes, in two parts each; what is sent when all parts have come.
    fn check(refused: &[(usize, &[(u16, u16)])], expected: &str) {
        let mut confirms = Confirms::new(0);
        let mut ids = Vec::new();
        for (count, last) in [(4, 4), (3, 7), (2, 9)] {
            confirms.number(count);
            ids.push(confirms.push(last, 2));
        }
        for &(batch, spans) in refused {
            confirms.refuse(ids[batch], spans);
        }
        for (batch, id) in ids.into_iter().enumerate() {
            let told = refused.iter().filter(|(told, _)| *told == batch).count();
            (told..2).for_each(|_| confirms.done(id));
        }
        let mut out = Vec::new();
        confirms.flush(1, &mut out);
        let told: Vec<String> = out.chunks(21).map(describe).collect();
        assert_eq!(told.join(", "), expected);
        assert_eq!(confirms.unconfirmed(), 0);
    }

    /// A frame of 7 + 13 + 1 bytes; `basic.nack` has as many as `basic.ack`, its bits share one octet.
    fn describe(frame: &[u8]) -> String {
        let method = u16::from_be_bytes([frame[9], frame[10]]);
        let tag = u64::from_be_bytes(frame[11..19].try_into().expect("eight bytes"));
        let word = if method == 120 { "nack" } else { "ack" };
        let all = if frame[19] & 1 == 1 { "..=" } else { "" };
        format!("{word} {all}{tag}")
    }

    #[test]
    fn what_is_refused_is_told_apart() {
        check(&[], "ack ..=9");
        check(&[(0, &[(0, 4)])], "nack ..=4, ack ..=9");
        check(&[(0, &[(1, 2)])], "ack 1, nack 2, ack ..=9");
        check(&[(1, &[(0, 3)]), (2, &[(0, 2)])], "ack ..=4, nack ..=9");
        check(&[(2, &[(1, 2)])], "ack ..=8, nack 9");
        check(
            &[(0, &[(0, 1), (2, 3)]), (0, &[(1, 2), (0, 1)])],
            "nack ..=3, ack ..=9",
        );
        check(
            &[(1, &[(2, 3), (0, 1)])],
            "ack ..=4, nack 5, ack 6, nack 7, ack ..=9",
        );
    }
}
