//! The routing table of one exchange, by the exchange's type.

use super::bucket::{Bucket, Member};
use super::direct::Direct;
use super::headers::{Headers, HeadersTable};
use super::keyed_hash::Keyed;
use super::topic::Topic;
use crate::arguments::Arguments;
use crate::name::Name;

/// Leads from a routing key and headers to buckets. Fanout is one bucket for all.
#[derive(Clone, Debug)]
pub(crate) enum Table {
    Direct(Direct),
    Fanout(Bucket),
    Topic(Topic),
    Headers(HeadersTable),
}

impl Table {
    pub(crate) fn add(&mut self, key: &Name, arguments: &Arguments, member: Member, keyed: Keyed) {
        match self {
            Table::Direct(direct) => direct.add(key, member, keyed),
            Table::Fanout(bucket) => bucket.add(member, keyed),
            Table::Topic(topic) => topic.add(key, member, keyed),
            Table::Headers(headers) => headers.add(arguments, member, keyed),
        }
    }

    pub(crate) fn remove(&mut self, key: &Name, arguments: &Arguments, member: &Member, keyed: Keyed) {
        match self {
            Table::Direct(direct) => direct.remove(key, member),
            Table::Fanout(bucket) => bucket.remove(member),
            Table::Topic(topic) => topic.remove(key, member),
            Table::Headers(headers) => headers.remove(arguments, member, keyed),
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

    /// How often each member is bound, for the check that the table says what the bindings say.
    pub(crate) fn memberships(&self) -> Vec<(Member, u32)> {
        let collect = |buckets: &mut dyn Iterator<Item = &Bucket>| {
            buckets
                .flat_map(|bucket| bucket.members().map(|(member, count)| (member.clone(), count)))
                .collect()
        };
        match self {
            Table::Direct(direct) => collect(&mut direct.buckets()),
            Table::Fanout(bucket) => collect(&mut std::iter::once(bucket)),
            Table::Topic(topic) => collect(&mut topic.buckets()),
            Table::Headers(headers) => collect(&mut headers.buckets()),
        }
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
