//! The routing table of one exchange, by the exchange's type.

use std::sync::Arc;

use super::bucket::{Bucket, Member};
use super::direct::Direct;
use super::headers::{Headers, HeadersTable};
use super::keyed_hash::Keyed;
use super::topic::Topic;
use crate::catalog::Binding;

/// Leads from a routing key and headers to buckets, and is where an exchange keeps its bindings. Fanout is one bucket for all.
#[derive(Clone, Debug)]
pub(crate) enum Table {
    Direct(Direct),
    Fanout(Bucket),
    Topic(Topic),
    Headers(HeadersTable),
}

impl Table {
    /// Adds a binding that is not there yet.
    pub(crate) fn add(&mut self, binding: Arc<Binding>, member: Member, keyed: Keyed) {
        match self {
            Table::Direct(direct) => direct.add(binding, member, keyed),
            Table::Fanout(bucket) => bucket.add(binding, member, keyed),
            Table::Topic(topic) => topic.add(binding, member, keyed),
            Table::Headers(headers) => headers.add(binding, member, keyed),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(&mut self, binding: &Binding, keyed: Keyed) {
        match self {
            Table::Direct(direct) => direct.remove(binding),
            Table::Fanout(bucket) => bucket.remove(binding),
            Table::Topic(topic) => topic.remove(binding),
            Table::Headers(headers) => headers.remove(binding, keyed),
        }
    }

    /// Puts the buckets that the message goes to into `found`, each once; one of them may be empty.
    pub(crate) fn find<'a>(
        &'a self,
        key: &[u8],
        headers: &dyn Headers,
        keyed: Keyed,
        found: &mut Vec<&'a Bucket>,
    ) {
        match self {
            Table::Direct(direct) => found.extend(direct.find(key)),
            Table::Fanout(bucket) => found.push(bucket),
            Table::Topic(topic) => topic.find(key, found),
            Table::Headers(table) => table.find(headers, keyed, found),
        }
    }

    pub(crate) fn is_by_headers(&self) -> bool {
        matches!(self, Table::Headers(_))
    }

    /// All bindings with what they lead to, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Arc<Binding>, &Member)> {
        let buckets: Box<dyn Iterator<Item = &Bucket> + '_> = match self {
            Table::Direct(direct) => Box::new(direct.buckets()),
            Table::Fanout(bucket) => Box::new(std::iter::once(bucket)),
            Table::Topic(topic) => Box::new(topic.buckets()),
            Table::Headers(headers) => Box::new(headers.buckets()),
        };
        buckets.flat_map(Bucket::entries)
    }

    /// Whether nothing is kept that leads nowhere.
    pub(crate) fn is_pruned(&self) -> bool {
        match self {
            Table::Direct(direct) => direct.buckets().all(|bucket| !bucket.is_empty()),
            Table::Fanout(_) => true,
            Table::Topic(topic) => topic.is_pruned(),
            Table::Headers(headers) => headers.is_pruned(),
        }
    }
}
