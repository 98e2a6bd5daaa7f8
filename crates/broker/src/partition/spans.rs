//! A sorted list of spans in chunks: the one data structure behind ready messages, returned messages and
//! unsettled windows.
//!
//! ```text
//! chunks ──> [ span span span … ] [ span span … ] [ … ]      a chunk holds at most CHUNK_SPANS, in order, none empty
//! ```
//!
//! Appending and taking from the front cost a few nanoseconds; anything in the middle costs two binary searches and the move of
//! at most one chunk. No more than one chunk is ever half used at an end, so memory follows what is stored, and
//! growing never copies the whole list.

use std::collections::VecDeque;

/// What a list is made of: `count` things in a row beginning at `start`.
pub(super) trait Span: Sized {
    /// The key by which the list is sorted.
    fn start(&self) -> u64;
    /// How many.
    fn count(&self) -> u16;
    /// The queue's number of the first message, a second key by which windows are searched now and then.
    fn seq(&self) -> u64;
    /// Cuts off the first `count` (fewer than all) and returns them; `self` keeps the rest.
    fn cut(&mut self, count: u16, keep: Keep) -> Self;
    /// Called on what is left where something was cut out: a chance to give memory back.
    fn shrink(&mut self);
    /// Takes `next` in if it goes on where `self` ends.
    fn absorb(&mut self, next: &Self) -> bool;
    /// The key behind the last.
    fn end(&self) -> u64 {
        self.start() + u64::from(self.count())
    }
}

/// Whether what is cut off is still needed with its content; if not, no reference is counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Content,
    Nothing,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Spans<T> {
    chunks: VecDeque<Chunk<T>>,
    // An empty chunk kept back, so that a list that breathes around a chunk's end does not allocate each time.
    spare: Option<VecDeque<T>>,
}

#[derive(Debug)]
struct Chunk<T> {
    spans: VecDeque<T>,
    // Not above the start of the first span, not below the end of the chunk before: chunks are searched by this, so
    // that a search touches one chunk only.
    start: u64,
    // Bounds of the second key; may be wider than what is left in the chunk.
    seq_low: u64,
    seq_high: u64,
}

// Small in tests, so that short cases have many chunks.
const CHUNK_SPANS: usize = if cfg!(test) { 8 } else { 128 };

impl<T> Default for Spans<T> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            spare: None,
        }
    }
}

impl<T: Span> Spans<T> {
    pub(super) fn front(&self) -> Option<&T> {
        self.chunks.front()?.spans.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut T> {
        self.chunks.front_mut()?.spans.front_mut()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.chunks.back()?.spans.back()
    }

    /// Appends what lies behind all that is there.
    pub(super) fn push_back(&mut self, span: T) {
        debug_assert!(
            self.back().is_none_or(|back| back.end() <= span.start()),
            "spans are appended in order"
        );
        match self.chunks.back_mut() {
            Some(chunk) if chunk.spans.len() < CHUNK_SPANS => chunk.push_back(span),
            _ => {
                let mut chunk = self.fresh_chunk();
                chunk.push_back(span);
                self.chunks.push_back(chunk);
            }
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let chunk = self.chunks.front_mut()?;
        let span = chunk.spans.pop_front();
        if chunk.spans.is_empty() {
            self.drop_chunk(0);
        }
        span
    }

    /// Puts a span where it belongs. It must not overlap any other.
    pub(super) fn insert(&mut self, span: T) {
        if self.back().is_none_or(|back| back.end() <= span.start()) {
            if !self
                .chunks
                .back_mut()
                .is_some_and(|chunk| chunk.absorb(chunk.spans.len(), &span))
            {
                self.push_back(span);
            }
            return;
        }
        let (chunk, index) = self.locate(span.start());
        let behind = self.chunks.get(chunk).and_then(|chunk| chunk.spans.get(index));
        // Two owners of one number would end in a message delivered twice, or lost: better stop here.
        assert!(
            behind.is_none_or(|behind| span.end() <= behind.start()),
            "{} is in the list already",
            span.start()
        );
        self.insert_at(chunk, index, span);
    }

    /// Removes everything within `start..end`, cutting spans at both ends, and hands it over in order.
    pub(super) fn take(&mut self, start: u64, end: u64, keep: Keep, mut taken: impl FnMut(T)) {
        let Some(front) = self.front().filter(|_| start < end) else {
            return;
        };
        if front.start() < start {
            return self.take_within(start, end, keep, taken);
        }
        while let Some(front) = self.front_mut() {
            let wanted = end.saturating_sub(front.start());
            if wanted == 0 {
                return;
            }
            if wanted < u64::from(front.count()) {
                return taken(front.cut(wanted as u16, keep));
            }
            if let Some(span) = self.pop_front() {
                taken(span);
            }
        }
    }

    /// Hands over everything, in order, and is empty afterwards.
    pub(super) fn drain(&mut self, mut taken: impl FnMut(T)) {
        for chunk in self.chunks.drain(..) {
            chunk.spans.into_iter().for_each(&mut taken);
        }
        self.spare = None;
    }

    /// The spans from the last to the first.
    pub(super) fn iter_mut_back(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks
            .iter_mut()
            .rev()
            .flat_map(|chunk| chunk.spans.iter_mut().rev())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.spans.iter())
    }

    /// All from the first span that ends behind `start`.
    pub(super) fn iter_from(&self, start: u64) -> impl Iterator<Item = &T> {
        let (chunk, index) = self.locate(start);
        let head = self
            .chunks
            .get(chunk)
            .into_iter()
            .flat_map(move |chunk| chunk.spans.range(index..));
        head.chain(
            self.chunks
                .iter()
                .skip(chunk + 1)
                .flat_map(|chunk| chunk.spans.iter()),
        )
    }

    /// All spans of which some message number lies within `low..high`, in the order of the list. Passes over chunks that
    /// hold none.
    pub(super) fn iter_seqs(&self, low: u64, high: u64) -> impl Iterator<Item = &T> {
        self.chunks
            .iter()
            .filter(move |chunk| chunk.seq_low < high && low < chunk.seq_high)
            .flat_map(|chunk| chunk.spans.iter())
            .filter(move |span| span.seq() < high && low < span.seq() + u64::from(span.count()))
    }

    /// As [`Spans::take`] where the first span concerned is not the front, or begins before `start`.
    fn take_within(&mut self, start: u64, end: u64, keep: Keep, mut taken: impl FnMut(T)) {
        let (mut at, mut index) = self.locate(start);
        if self
            .chunks
            .get(at)
            .is_some_and(|chunk| index >= chunk.spans.len())
        {
            (at, index) = (at + 1, 0);
        }
        while let Some(span) = self
            .chunks
            .get_mut(at)
            .and_then(|chunk| chunk.spans.get_mut(index))
        {
            if span.start() >= end {
                return;
            }
            if span.start() < start {
                // The head stays where it is, the rest is looked at as a span of its own.
                let head = span.cut((start - span.start()) as u16, Keep::Content);
                let mut rest = std::mem::replace(span, head);
                span.shrink();
                if rest.end() > end {
                    let part = rest.cut((end - start) as u16, keep);
                    rest.shrink();
                    self.insert_at(at, index + 1, rest);
                    return taken(part);
                }
                taken(rest);
                index += 1;
            } else if span.end() > end {
                let part = span.cut((end - span.start()) as u16, keep);
                span.shrink();
                return taken(part);
            } else if let Some(span) = self.remove_at(at, index) {
                taken(span);
                // An emptied chunk is gone; what follows has moved up.
                if self
                    .chunks
                    .get(at)
                    .is_some_and(|chunk| chunk.spans.get(index).is_some())
                {
                    continue;
                }
            }
            if self
                .chunks
                .get(at)
                .is_some_and(|chunk| index >= chunk.spans.len())
            {
                (at, index) = (at + 1, 0);
            }
        }
    }

    /// Where the first span is that ends behind `start`, or would be: at the end of a chunk, it is the first of the next.
    fn locate(&self, start: u64) -> (usize, usize) {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.start <= start)
            .saturating_sub(1);
        let index = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.spans.partition_point(|span| span.end() <= start));
        (chunk, index)
    }

    fn insert_at(&mut self, at: usize, index: usize, span: T) {
        let chunk = &mut self.chunks[at];
        if chunk.absorb(index, &span) {
            return;
        }
        chunk.start = chunk.start.min(span.start());
        chunk.widen(&span);
        chunk.spans.insert(index, span);
        if chunk.spans.len() > CHUNK_SPANS {
            let tail = chunk.spans.split_off(CHUNK_SPANS / 2);
            chunk.measure();
            let mut next = Chunk::new(tail);
            next.start = next.spans[0].start();
            next.measure();
            self.chunks.insert(at + 1, next);
        }
    }

    fn remove_at(&mut self, at: usize, index: usize) -> Option<T> {
        let chunk = self.chunks.get_mut(at)?;
        let span = chunk.spans.remove(index);
        if chunk.spans.is_empty() {
            self.drop_chunk(at);
        } else if chunk.spans.len() * 4 <= chunk.spans.capacity() && chunk.spans.capacity() > CHUNK_SPANS / 8
        {
            // A list thinned out in the middle must not keep the memory of what it once held.
            chunk.spans.shrink_to(chunk.spans.len() * 2);
        }
        span
    }

    fn fresh_chunk(&mut self) -> Chunk<T> {
        let spans = match self.spare.take() {
            Some(spare) => spare,
            // The first chunk grows as it is needed: most queues are short. A list that needs a second one is long.
            None if self.chunks.is_empty() => VecDeque::new(),
            None => VecDeque::with_capacity(CHUNK_SPANS),
        };
        Chunk::new(spans)
    }

    fn drop_chunk(&mut self, at: usize) {
        if self.chunks.len() == 1 {
            // The last chunk stays as the place for what comes next; a list that is empty keeps no more than that.
            self.spare = None;
            let spans = std::mem::take(&mut self.chunks[0].spans);
            self.chunks[0] = Chunk::new(spans);
        } else if let Some(chunk) = self.chunks.remove(at) {
            self.spare = Some(chunk.spans);
        }
    }

    /// Order, size and bounds of all chunks.
    pub(super) fn validate(&self) -> Result<(), String> {
        let mut end = 0;
        for (at, chunk) in self.chunks.iter().enumerate() {
            if chunk.spans.is_empty() && self.chunks.len() > 1 {
                return Err(format!("chunk {at} of {} is empty", self.chunks.len()));
            }
            if chunk.spans.len() > CHUNK_SPANS {
                return Err(format!("chunk {at} holds {} spans", chunk.spans.len()));
            }
            if !chunk.spans.is_empty() && (chunk.start < end || chunk.start > chunk.spans[0].start()) {
                return Err(format!("chunk {at} is searched under {}", chunk.start));
            }
            for span in &chunk.spans {
                if span.count() == 0 || span.start() < end {
                    return Err(format!(
                        "span at {} is empty or begins before {end}",
                        span.start()
                    ));
                }
                if span.seq() < chunk.seq_low || span.seq() + u64::from(span.count()) > chunk.seq_high {
                    return Err(format!(
                        "span at {} lies outside its chunk's bounds",
                        span.start()
                    ));
                }
                end = span.end();
            }
        }
        Ok(())
    }
}

impl<T: Span> Chunk<T> {
    fn new(spans: VecDeque<T>) -> Self {
        Self {
            spans,
            start: u64::MAX,
            seq_low: u64::MAX,
            seq_high: 0,
        }
    }

    fn push_back(&mut self, span: T) {
        self.start = self.start.min(span.start());
        self.widen(&span);
        self.spans.push_back(span);
    }

    /// Lets the span before `index` take `span` in, if it can.
    fn absorb(&mut self, index: usize, span: &T) -> bool {
        let absorbed = index > 0 && self.spans[index - 1].absorb(span);
        if absorbed {
            self.widen(span);
        }
        absorbed
    }

    fn widen(&mut self, span: &T) {
        self.seq_low = self.seq_low.min(span.seq());
        self.seq_high = self.seq_high.max(span.seq() + u64::from(span.count()));
    }

    fn measure(&mut self) {
        (self.seq_low, self.seq_high) = (u64::MAX, 0);
        for span in &self.spans {
            self.seq_low = self.seq_low.min(span.seq());
            self.seq_high = self.seq_high.max(span.seq() + u64::from(span.count()));
        }
    }
}
