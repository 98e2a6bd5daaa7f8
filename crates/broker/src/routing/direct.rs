//! Direct exchanges: the routing key is the binding key.

use std::sync::Arc;

use super::bucket::Bucket;
use super::small_map::SmallMap;
use crate::catalog::Bound;
use crate::name::Name;

/// Buckets by binding key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Direct {
    buckets: SmallMap<Name, Bucket>,
}

impl Direct {
    pub(crate) fn find(&self, routing_key: &[u8]) -> Option<&Bucket> {
        self.buckets.get(routing_key)
    }

    pub(crate) fn add(&mut self, binding: Arc<Bound>) {
        match self.buckets.get_mut(&binding.routing_key) {
            Some(bucket) => bucket.add(binding),
            None => self
                .buckets
                .add(binding.routing_key.clone(), Bucket::One(binding)),
        }
    }

    pub(crate) fn remove(&mut self, binding: &Bound) {
        let bucket = self
            .buckets
            .get_mut(&binding.routing_key)
            .expect("a bound key has its bucket");
        bucket.remove(binding);
        if bucket.is_empty() {
            self.buckets.remove(&binding.routing_key);
        }
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().map(|(_, bucket)| bucket)
    }
}
