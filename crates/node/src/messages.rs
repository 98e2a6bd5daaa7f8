//! Messages that arrived together, shared by every queue that holds some of them.
//!
//! The queue machines are generic over their content; this is the content that the broker runs with: a
//! reference-counted AMQP batch. It knows how to measure a slice of itself and how to copy a small rest out of a
//! large batch, so that one slow message does not pin the read buffer it came in.

use std::ops::Deref;
use std::sync::Arc;

use everack_amqp::content::{Batch, Entry};
use everack_broker::partition::Content;

/// A reference-counted batch of messages; cloning costs one atomic increment.
#[derive(Clone, Debug)]
pub struct Messages(Arc<Batch>);

impl Messages {
    /// Shares `batch`.
    pub fn new(batch: Batch) -> Self {
        Self(Arc::new(batch))
    }
}

impl Deref for Messages {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.0
    }
}

impl Content for Messages {
    fn bytes(&self, from: u16, to: u16) -> u64 {
        self.0.bytes(from, to)
    }

    fn body_bytes(&self, index: u16) -> u32 {
        self.0.entries[usize::from(index)].body_len
    }

    fn all_bytes(&self, index: u16) -> u32 {
        let bytes = all_bytes(&self.0.entries[usize::from(index)]);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn compact(&self, from: u16, to: u16) -> Option<Self> {
        let kept = self.0.bytes(from, to);
        let worth_it = kept * 4 < self.0.chunk.len() as u64;
        worth_it.then(|| Self::new(self.0.copied(from, to)))
    }

    fn thinned(&self, from: u16, to: u16) -> Option<Self> {
        let taken = self.0.bytes(from, to) + size_of_val(&self.0.entries[..]) as u64;
        let worth_it = taken * 2 < self.pinned();
        worth_it.then(|| Self::new(self.0.thinned(from, to)))
    }

    fn pinned(&self) -> u64 {
        self.0.chunk.len() as u64
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// All that a message takes: address, header, body, in bytes.
pub(crate) fn all_bytes(entry: &Entry) -> u64 {
    let (header, body) = (u64::from(entry.header_len), u64::from(entry.body_len));
    header + body + u64::from(entry.address_len)
}
