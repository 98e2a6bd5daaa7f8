//! Direct exchanges: the routing key is the binding key.

use std::sync::Arc;

use super::bucket::{Bucket, Member};
use super::small_map::SmallMap;
use crate::catalog::Binding;
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

    pub(crate) fn add(&mut self, binding: Arc<Binding>, member: Member) {
        match self.buckets.get_mut(&binding.routing_key) {
            Some(bucket) => bucket.add(binding, member),
            None => self
                .buckets
                .add(binding.routing_key.clone(), Bucket::One(binding, member)),
        }
    }

    pub(crate) fn remove(&mut self, binding: &Binding) {
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
