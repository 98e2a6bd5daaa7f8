//! The routing table of one exchange, by the exchange's type.

use std::sync::Arc;

use super::bucket::Bucket;
use super::direct::Direct;
use super::headers::{Headers, HeadersTable};
use super::keyed_hash::Keyed;
use super::one_of::OneOf;
use super::topic::Topic;
use crate::catalog::Bound;

/// Leads from a routing key and headers to buckets, and is where an exchange keeps its bindings. Fanout is one bucket for all.
#[derive(Clone, Debug)]
pub(crate) enum Table {
    Direct(Direct),
    Fanout(Bucket),
    Topic(Topic),
    Headers(HeadersTable),
    OneOf(OneOf),
}

impl Table {
    /// Adds a binding that is not there yet.
    pub(crate) fn add(&mut self, binding: Arc<Bound>, keyed: Keyed) {
        match self {
            Table::Direct(direct) => direct.add(binding),
            Table::Fanout(bucket) => bucket.add(binding),
            Table::Topic(topic) => topic.add(binding),
            Table::Headers(headers) => headers.add(binding, keyed),
            Table::OneOf(one_of) => one_of.add(binding),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(&mut self, binding: &Bound, keyed: Keyed) {
        match self {
            Table::Direct(direct) => direct.remove(binding),
            Table::Fanout(bucket) => bucket.remove(binding),
            Table::Topic(topic) => topic.remove(binding),
            Table::Headers(headers) => headers.remove(binding, keyed),
            Table::OneOf(one_of) => one_of.remove(binding),
        }
    }

    /// Puts the buckets that the message goes to into `found`, each once for each of its routing keys (the first is the one
    /// that it was published with); one of them may be empty.
    pub(crate) fn find<'a>(
        &'a self,
        keys: &[&[u8]],
        headers: &dyn Headers,
        keyed: Keyed,
        found: &mut Vec<&'a Bucket>,
    ) {
        match self {
            Table::Direct(direct) => found.extend(keys.iter().filter_map(|key| direct.find(key))),
            Table::Fanout(bucket) => found.push(bucket),
            Table::Topic(topic) => keys.iter().for_each(|key| topic.find(key, found)),
            Table::Headers(table) => table.find(headers, keyed, found),
            Table::OneOf(one_of) => {
                found.extend(one_of.find(keys.first().copied().unwrap_or_default(), headers))
            }
        }
    }

    /// Whether more than the routing key has a part in the choice.
    pub(crate) fn is_by_message(&self) -> bool {
        match self {
            Table::Headers(_) => true,
            Table::OneOf(one_of) => one_of.is_by_message(),
            Table::Direct(_) | Table::Fanout(_) | Table::Topic(_) => false,
        }
    }

    /// All bindings, in no particular order.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Arc<Bound>> {
        let buckets: Box<dyn Iterator<Item = &Bucket> + '_> = match self {
            Table::Direct(direct) => Box::new(direct.buckets()),
            Table::Fanout(bucket) => Box::new(std::iter::once(bucket)),
            Table::Topic(topic) => Box::new(topic.buckets()),
            Table::Headers(headers) => Box::new(headers.buckets()),
            Table::OneOf(one_of) => Box::new(one_of.buckets()),
        };
        buckets.flat_map(Bucket::bindings)
    }

    /// Whether nothing is kept that leads nowhere.
    pub(crate) fn is_pruned(&self) -> bool {
        match self {
            Table::Direct(direct) => direct.buckets().all(|bucket| !bucket.is_empty()),
            Table::Fanout(_) => true,
            Table::Topic(topic) => topic.is_pruned(),
            Table::Headers(headers) => headers.is_pruned(),
            Table::OneOf(_) => true,
        }
    }
}
