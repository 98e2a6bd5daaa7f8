//! Delivery tags of one channel: which deliveries are unsettled, and what an ack means for the consumers
//! behind them. Knows nothing of messages or queues; a delivery is a consumer's key and that consumer's own
//! delivery number.
//!
//! The window is a deque of pieces of at most 64 deliveries with a bit for each that is still unsettled:
//!
//! ```text
//!   piece { tag 1, source A, first 10, unsettled 1111 }  piece { tag 5, source B, first 3, unsettled 0110 } ...
//! ```
//!
//! Settling one delivery is a binary search and a bit; nothing is ever inserted or moved in the middle.
//! Settled pieces go when they reach the front, or all at once when they are the majority.

use std::collections::VecDeque;

/// Deliveries of one consumer that followed each other and were settled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryRange {
    /// The consumer's key, as given to [`Deliveries::push`].
    pub source: u64,
    /// The consumer's own number of the first delivery.
    pub first: u64,
    /// How many, with following numbers.
    pub count: u32,
    /// Delivery tag of the first; the others follow.
    pub tag: u64,
}

/// The unsettled window of a channel.
#[derive(Debug)]
pub struct Deliveries {
    next_tag: u64,
    /// Tag behind the last delivery of the last piece.
    pieces_end: u64,
    pieces: VecDeque<Piece>,
    /// How many pieces have nothing unsettled.
    empty: usize,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    tag: u64,
    source: u64,
    first: u64,
    /// Bit i stands for tag + i.
    unsettled: u64,
}

/// A tag that names nothing unsettled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTag(pub u64);

const PIECE: u64 = 64;

impl Default for Deliveries {
    fn default() -> Deliveries {
        Deliveries {
            next_tag: 1,
            pieces_end: 1,
            pieces: VecDeque::new(),
            empty: 0,
        }
    }
}

impl Deliveries {
    /// An empty window; the first tag is 1.
    pub fn new() -> Deliveries {
        Deliveries::default()
    }

    /// `count` deliveries of consumer `source`, whose own numbers begin at `first`; returns the tag of the
    /// first.
    pub fn push(&mut self, source: u64, first: u64, count: u32) -> u64 {
        let first_tag = self.next_tag;
        self.next_tag += u64::from(count);
        let mut done = self.extend_last(first_tag, source, first, u64::from(count));
        while done < u64::from(count) {
            let length = (u64::from(count) - done).min(PIECE);
            let piece = Piece {
                tag: first_tag + done,
                source,
                first: first + done,
                unsettled: ones(length),
            };
            self.pieces.push_back(piece);
            done += length;
        }
        self.pieces_end = self.next_tag;
        first_tag
    }

    /// `count` deliveries to a consumer that does not settle: they take tags, nothing is kept.
    pub fn push_settled(&mut self, count: u32) -> u64 {
        let first_tag = self.next_tag;
        self.next_tag += u64::from(count);
        first_tag
    }

    /// Settles one tag.
    pub fn settle_one(&mut self, tag: u64) -> Result<DeliveryRange, UnknownTag> {
        let index = self.find(tag).ok_or(UnknownTag(tag))?;
        let piece = &mut self.pieces[index];
        let offset = tag - piece.tag;
        piece.unsettled &= !(1 << offset);
        let settled = DeliveryRange {
            source: piece.source,
            first: piece.first + offset,
            count: 1,
            tag,
        };
        if piece.unsettled == 0 {
            self.empty += 1;
            self.trim();
        }
        Ok(settled)
    }

    /// Settles everything up to and including `tag`, or everything when it is 0; appends what it was to
    /// `settled`.
    pub fn settle_through(&mut self, tag: u64, settled: &mut Vec<DeliveryRange>) -> Result<(), UnknownTag> {
        let last = if tag == 0 {
            self.next_tag
        } else {
            // RabbitMQ refuses a tag that is not itself unsettled, even when older ones are.
            self.find(tag).ok_or(UnknownTag(tag))?;
            tag
        };
        while let Some(piece) = self.pieces.front_mut().filter(|piece| piece.tag <= last) {
            let through = (last - piece.tag).saturating_add(1).min(PIECE);
            let taken = piece.unsettled & ones(through);
            piece.unsettled &= !taken;
            append(settled, piece, taken);
            if piece.unsettled != 0 {
                break;
            }
            if taken == 0 {
                // It had been settled bit by bit before.
                self.empty -= 1;
            }
            self.pieces.pop_front();
        }
        self.trim();
        Ok(())
    }

    /// Takes everything that is unsettled.
    pub fn take_all(&mut self) -> Vec<DeliveryRange> {
        let mut taken = Vec::new();
        for piece in self.pieces.drain(..) {
            append(&mut taken, &piece, piece.unsettled);
        }
        self.empty = 0;
        self.pieces_end = self.next_tag;
        taken
    }

    /// Puts deliveries back that were settled, with their old tags: a transaction was rolled back.
    pub fn unsettle(&mut self, ranges: &[DeliveryRange]) {
        let mut all: Vec<DeliveryRange> = Vec::new();
        for piece in self.pieces.drain(..) {
            append(&mut all, &piece, piece.unsettled);
        }
        all.extend_from_slice(ranges);
        all.sort_unstable_by_key(|range| range.tag);
        self.empty = 0;
        for range in all {
            let mut done = 0;
            while done < u64::from(range.count) {
                let length = (u64::from(range.count) - done).min(PIECE);
                let (tag, first) = (range.tag + done, range.first + done);
                self.pieces.push_back(Piece {
                    tag,
                    source: range.source,
                    first,
                    unsettled: ones(length),
                });
                done += length;
            }
        }
        // Nothing may be appended to the last piece: what lies between it and the next tag is unknown here.
        self.pieces_end = 0;
    }

    /// How many deliveries are unsettled. Counts; not for the hot path.
    pub fn unsettled(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| u64::from(piece.unsettled.count_ones()))
            .sum()
    }

    /// Checks what must always hold: pieces are in order and apart, the front one has something unsettled,
    /// the empty ones are counted and never the majority of many.
    ///
    /// # Panics
    /// When something does not hold, which only a mistake in this file can cause.
    pub fn validate(&self) {
        let mut end = 1;
        for piece in &self.pieces {
            assert!(piece.tag >= end, "tag {} is in two pieces", piece.tag);
            end = piece.tag + PIECE.min(u64::from(64 - piece.unsettled.leading_zeros()));
        }
        assert!(end <= self.next_tag, "a tag is unsettled that was never given");
        let empty = self.pieces.iter().filter(|piece| piece.unsettled == 0).count();
        assert_eq!(empty, self.empty, "empty pieces are miscounted");
        assert!(
            self.pieces.front().is_none_or(|piece| piece.unsettled != 0),
            "the front piece is empty"
        );
        assert!(
            empty <= 64 || empty * 2 <= self.pieces.len(),
            "too many empty pieces are kept"
        );
    }

    /// Adds to the last piece what follows it without a gap; returns how many.
    fn extend_last(&mut self, first_tag: u64, source: u64, first: u64, count: u64) -> u64 {
        let Some(last) = self.pieces.back_mut() else {
            return 0;
        };
        let length = first_tag - last.tag;
        let follows = self.pieces_end == first_tag && last.source == source && last.first + length == first;
        if !follows || length >= PIECE {
            return 0;
        }
        let added = count.min(PIECE - length);
        if last.unsettled == 0 {
            self.empty -= 1;
        }
        last.unsettled |= ones(added) << length;
        added
    }

    /// The piece in which `tag` is unsettled.
    fn find(&self, tag: u64) -> Option<usize> {
        // Most acks are for the oldest delivery.
        let index = match self.pieces.front() {
            Some(front) if tag >= front.tag && tag - front.tag < PIECE && self.covers(0, tag) => 0,
            _ => self
                .pieces
                .partition_point(|piece| piece.tag <= tag)
                .checked_sub(1)?,
        };
        let piece = &self.pieces[index];
        let offset = tag.checked_sub(piece.tag).filter(|offset| *offset < PIECE)?;
        (piece.unsettled >> offset & 1 == 1).then_some(index)
    }

    /// Whether `tag`, which is not before piece `index`, is before the next piece.
    fn covers(&self, index: usize, tag: u64) -> bool {
        self.pieces.get(index + 1).is_none_or(|next| tag < next.tag)
    }

    fn trim(&mut self) {
        while self.pieces.front().is_some_and(|piece| piece.unsettled == 0) {
            self.pieces.pop_front();
            self.empty -= 1;
        }
        if self.empty > 64 && self.empty * 2 > self.pieces.len() {
            self.pieces.retain(|piece| piece.unsettled != 0);
            self.empty = 0;
            // The last piece may be gone, so what is before `pieces_end` is no longer known.
            self.pieces_end = 0;
        }
    }
}

/// The lowest `count` bits.
fn ones(count: u64) -> u64 {
    if count >= PIECE {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// Appends the deliveries of a piece whose bits are set in `taken`, joined with the last range where they
/// follow it.
fn append(settled: &mut Vec<DeliveryRange>, piece: &Piece, mut taken: u64) {
    while taken != 0 {
        let skip = u64::from(taken.trailing_zeros());
        let count = (taken >> skip).trailing_ones();
        let range = DeliveryRange {
            source: piece.source,
            first: piece.first + skip,
            count,
            tag: piece.tag + skip,
        };
        push_joined(settled, range);
        taken &= !(ones(u64::from(count)) << skip);
    }
}

/// Appends a range, or lengthens the last one when the range follows it.
pub(crate) fn push_joined(settled: &mut Vec<DeliveryRange>, range: DeliveryRange) {
    if let Some(last) = settled.last_mut() {
        let count = u64::from(last.count);
        let follows = last.source == range.source && last.first + count == range.first;
        if follows && last.tag + count == range.tag && last.count.checked_add(range.count).is_some() {
            last.count += range.count;
            return;
        }
    }
    settled.push(range);
}
