//! A run: messages that arrived together and lie side by side, in a queue as in their batch. The unit of all queue work.

use crate::ids::{Location, Seq};

use super::spans::{Keep, Span};

/// The stored bytes of messages, opaque to queues. Cloning must be cheap (a reference count).
pub trait Content: Clone {
    /// Bytes of the messages `from..to` of this batch.
    fn bytes(&self, from: u16, to: u16) -> u64;

    /// Bytes of the body of one message.
    fn body_bytes(&self, index: u16) -> u32 {
        self.bytes(index, index + 1).min(u64::from(u32::MAX)) as u32
    }

    /// Bytes of all of one message: body, header, address.
    fn all_bytes(&self, index: u16) -> u32 {
        self.body_bytes(index)
    }

    /// A copy of `from..to` alone (its first message has index 0), if these few messages pin a much larger batch;
    /// `None` where copying would not be worth it. Asked when a run is split or stays behind, so `None` must be cheap.
    fn compact(&self, from: u16, to: u16) -> Option<Self> {
        let _ = (from, to);
        None
    }

    /// A copy of `from..to` alone with the same indices as here, in much less memory; `None` where there is no such copy.
    fn thinned(&self, from: u16, to: u16) -> Option<Self> {
        let _ = (from, to);
        None
    }

    /// Bytes of memory that this content keeps in use as a whole, however little of it is wanted; 0 if unknown. A durable
    /// run that stays behind and is a small part of that is thinned, or read from the log later.
    fn pinned(&self) -> u64 {
        0
    }

    /// Whether both are the same batch, so that neighbouring runs of it may grow together again.
    fn same(&self, other: &Self) -> bool {
        let _ = other;
        false
    }
}

/// Messages `first..first + (to - from)` of a queue, which are the messages `from..to` of a batch.
///
/// The indices hold for the content in memory and for the record at `location` alike. `bytes` belongs to the run:
/// when a run is split the parts' bytes always add up to it, so that the live bytes of a segment can be counted exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<C> {
    /// The number of the first message within its queue.
    pub first: Seq,
    /// The record in the log that holds the batch; [`Location::NOWHERE`] if the messages are transient.
    pub location: Location,
    /// The batch, if it is in memory. A transient run always has it.
    pub content: Option<C>,
    /// Bytes of these messages.
    pub bytes: u32,
    /// Index of the first message in the batch.
    pub from: u16,
    /// Index behind the last message; greater than `from`.
    pub to: u16,
}

// A backlog of ten million messages stands or falls by this.
const _: () = assert!(size_of::<Run<std::sync::Arc<()>>>() == 32);

/// What a message weighs on the gate beyond its bytes: a bound on frames and method around it, so that
/// empty messages are not free.
const WEIGHT_PER_MESSAGE: u64 = 64;

/// Content below this is kept although little of it is wanted: reading it again would cost more.
const WASTE_BYTES_MIN: u64 = 4 << 10;

impl<C> Run<C> {
    /// How many messages.
    pub fn count(&self) -> u16 {
        self.to - self.from
    }

    /// The number behind the last message.
    pub fn end(&self) -> Seq {
        self.first.plus(u64::from(self.count()))
    }

    /// What a delivery of this run charges to its connection's [`super::Gate`], and what the connection takes off
    /// again once it is written.
    pub fn weight(&self) -> u64 {
        u64::from(self.bytes) + WEIGHT_PER_MESSAGE * u64::from(self.count())
    }

    /// The same messages without their content.
    pub(super) fn without_content<D>(&self) -> Run<D> {
        let Run {
            first,
            location,
            bytes,
            from,
            to,
            ..
        } = *self;
        Run {
            first,
            location,
            content: None,
            bytes,
            from,
            to,
        }
    }

    /// How many messages of this run fit into `weight`, judged by their average; at least one.
    pub(super) fn fitting(&self, weight: u64) -> u16 {
        let own = self.weight();
        if own <= weight {
            return self.count();
        }
        ((u128::from(weight) * u128::from(self.count()) / u128::from(own)) as u16).max(1)
    }
}

/// The segment of the log that a location lies in.
pub(super) fn segment(location: Location) -> u64 {
    location.0 >> 32
}

impl<C: Content> Run<C> {
    /// A copy of the first `count` messages.
    pub fn shortened(&self, count: u16) -> Self {
        let mut run = self.clone();
        if count < Run::count(&run) {
            run.cut(count, Keep::Content)
        } else {
            run
        }
    }

    /// A copy of the messages from `first` on; the run has to reach that far.
    pub(super) fn starting_at(&self, first: Seq) -> Self {
        let mut run = self.clone();
        let before = first.0.saturating_sub(run.first.0);
        if before > 0 {
            run.cut(before as u16, Keep::Nothing);
        }
        run
    }

    /// The part of the run's bytes that its first `count` messages get: as much of them as they are of the content, if it is at hand, else
    /// their even share. What a run is charged is not what its content measures, so each message keeps a byte as long as there is one for
    /// each: a message that weighs nothing would look like none.
    fn share(&self, count: u16) -> u32 {
        let (part, whole) = match &self.content {
            Some(content) => (
                content.bytes(self.from, self.from + count),
                content.bytes(self.from, self.to),
            ),
            None => (0, 0),
        };
        let (part, whole) = match whole {
            0 => (u64::from(count), u64::from(self.count())),
            _ => (part.min(whole), whole),
        };
        let share = u128::from(self.bytes) * u128::from(part) / u128::from(whole);
        let most = self.bytes.saturating_sub(u32::from(self.count() - count));
        (share as u32).clamp(u32::from(count).min(most), most)
    }

    /// Replaces content that pins much for little by a copy. Only transient runs: the indices of a durable one
    /// belong to its record.
    pub(super) fn compact(&mut self) {
        if self.location.is_durable() {
            return;
        }
        if let Some(copy) = self
            .content
            .as_ref()
            .and_then(|content| content.compact(self.from, self.to))
        {
            self.content = Some(copy);
            self.to -= self.from;
            self.from = 0;
        }
    }

    /// Replaces content that pins much for little by a copy with the same indices, which a durable run's record has too. False: there is no such copy, and
    /// the content is gone.
    #[cold]
    #[inline(never)]
    pub(super) fn thin(&mut self) -> bool {
        self.content = self
            .content
            .take()
            .and_then(|content| content.thinned(self.from, self.to));
        self.content.is_some()
    }

    /// Whether the content keeps much more in memory than these messages.
    pub(super) fn is_wasteful(&self) -> bool {
        let worth = WASTE_BYTES_MIN + 4 * u64::from(self.bytes);
        self.content
            .as_ref()
            .is_some_and(|content| content.pinned() > worth)
    }

    /// Whether `next` goes on where this run ends, in the queue as in the batch.
    fn is_continued_by(&self, next: &Self) -> bool {
        let same_batch = match (&self.content, &next.content) {
            (None, None) => self.location.is_durable(),
            (Some(own), Some(other)) => own.same(other),
            _ => false,
        };
        same_batch && self.location == next.location && self.end() == next.first && self.to == next.from
    }
}

impl<C: Content> Span for Run<C> {
    fn start(&self) -> u64 {
        self.first.0
    }

    fn count(&self) -> u16 {
        self.to - self.from
    }

    fn seq(&self) -> u64 {
        self.first.0
    }

    fn cut(&mut self, count: u16, keep: Keep) -> Self {
        debug_assert!(0 < count && count < Run::count(self), "a cut leaves two parts");
        let bytes = self.share(count);
        let content = match keep {
            Keep::Content => self.content.clone(),
            Keep::Nothing => None,
        };
        let part = Run {
            first: self.first,
            location: self.location,
            content,
            bytes,
            from: self.from,
            to: self.from + count,
        };
        self.first = part.end();
        self.from = part.to;
        self.bytes -= bytes;
        part
    }

    fn shrink(&mut self) {
        self.compact();
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let Some(bytes) = self.bytes.checked_add(next.bytes) else {
            return false;
        };
        if !self.is_continued_by(next) {
            return false;
        }
        self.bytes = bytes;
        self.to = next.to;
        true
    }
}
