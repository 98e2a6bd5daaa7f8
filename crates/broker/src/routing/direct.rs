//! Direct exchanges: the routing key is the binding key.

use std::sync::Arc;

use super::bucket::{Bucket, Member};
use super::keyed_hash::Keyed;
use super::small_map::SmallMap;
use crate::name::Name;

/// Buckets by binding key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Direct {
    buckets: SmallMap<Name, Arc<Bucket>>,
}

impl Direct {
    pub(crate) fn find(&self, routing_key: &[u8]) -> Option<&Bucket> {
        self.buckets.get(routing_key).map(Arc::as_ref)
    }

    pub(crate) fn add(&mut self, key: &Name, member: Member, keyed: Keyed) {
        match self.buckets.get_mut(key) {
            Some(bucket) => Arc::make_mut(bucket).add(member, keyed),
            None => {
                let mut bucket = Bucket::default();
                bucket.add(member, keyed);
                self.buckets.add(key.clone(), Arc::new(bucket), keyed);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &Name, member: &Member) {
        let bucket = Arc::make_mut(self.buckets.get_mut(key).expect("a bound key has its bucket"));
        bucket.remove(member);
        if bucket.is_empty() {
            self.buckets.remove(key);
        }
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().map(|(_, bucket)| bucket.as_ref())
    }
}
