//! The bindings that share one place in a routing table: one key, one node of a trie, one pattern of headers.

use std::sync::{Arc, OnceLock};

use super::route::{Route, Target};
use super::small_map::SmallMap;
use crate::catalog::Bound;
use crate::name::Name;

/// What a binding leads to.
#[derive(Clone, Debug)]
pub(crate) enum Member {
    /// A queue, by its own route, which is the answer wherever the queue is the only destination.
    Queue(Arc<Route>),
    /// The exchange that the binding names.
    Exchange,
}

impl Member {
    /// The queue, if it is one.
    pub(crate) fn target(&self) -> Option<Target> {
        match self {
            Member::Queue(route) => route.targets.first().copied(),
            Member::Exchange => None,
        }
    }
}

/// The bindings of one place. Mostly there is one, which is kept in place.
#[derive(Clone, Debug, Default)]
pub(crate) enum Bucket {
    #[default]
    Empty,
    One(Arc<Bound>),
    Several(Arc<Several>),
}

/// Bindings that share one place. Two may lead to the same queue and differ in their arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Several {
    bindings: SmallMap<Arc<Bound>, ()>,
    /// Made when first asked for. None inside: another exchange is among the destinations, so that the route is not ours
    /// alone to say.
    route: OnceLock<Option<Arc<Route>>>,
}

impl Bucket {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Bucket::Empty)
    }

    /// The ready-made route, if bindings are here and lead to queues only.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        match self {
            Bucket::One(binding) => match binding.member() {
                Member::Queue(route) => Some(route),
                Member::Exchange => None,
            },
            Bucket::Several(several) => several.route.get_or_init(|| several.make_route()).as_ref(),
            Bucket::Empty => None,
        }
    }

    /// The routing key of the bindings, where the place is one of a key.
    pub(crate) fn routing_key(&self) -> Option<&Name> {
        self.bindings().next().map(|binding| &binding.routing_key)
    }

    /// In no particular order.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Arc<Bound>> {
        let (one, several) = match self {
            Bucket::Empty => (None, None),
            Bucket::One(binding) => (Some(binding), None),
            Bucket::Several(several) => (None, Some(several.bindings.iter())),
        };
        let several = several.into_iter().flatten().map(|(binding, ())| binding);
        one.into_iter().chain(several)
    }

    /// Adds a binding that is not there yet.
    pub(crate) fn add(&mut self, binding: Arc<Bound>) {
        *self = match std::mem::take(self) {
            Bucket::Empty => Bucket::One(binding),
            Bucket::One(first) => {
                let mut several = Several::default();
                several.bindings.add(first, ());
                several.bindings.add(binding, ());
                Bucket::Several(Arc::new(several))
            }
            Bucket::Several(mut several) => {
                let changed = Arc::make_mut(&mut several);
                changed.route = OnceLock::new();
                changed.bindings.add(binding, ());
                Bucket::Several(several)
            }
        };
    }

    /// Removes a binding.
    ///
    /// # Panics
    /// If it is not there: the two indexes of bindings must say the same.
    pub(crate) fn remove(&mut self, binding: &Bound) {
        *self = match std::mem::take(self) {
            Bucket::One(only) if *only == *binding => Bucket::Empty,
            Bucket::Several(mut several) => {
                let changed = Arc::make_mut(&mut several);
                changed.route = OnceLock::new();
                assert!(changed.bindings.remove(binding), "a binding is in its bucket");
                match several.only() {
                    Some(last) => Bucket::One(last),
                    None => Bucket::Several(several),
                }
            }
            Bucket::Empty | Bucket::One(_) => panic!("a binding is in its bucket"),
        };
    }
}

impl Several {
    fn only(&self) -> Option<Arc<Bound>> {
        let (binding, ()) = self.bindings.iter().next().filter(|_| self.bindings.len() == 1)?;
        Some(binding.clone())
    }

    fn make_route(&self) -> Option<Arc<Route>> {
        let targets = self
            .bindings
            .iter()
            .map(|(binding, ())| binding.member().target());
        let targets: Option<Vec<Target>> = targets.collect();
        targets.map(|targets| Route::new(targets, false))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use crate::catalog::{Binding, Destination};
    use crate::ids::{PartitionId, QueueId};

    /// The queue of that number as a destination.
    fn queue(number: u64) -> Member {
        let target = Target {
            partition: PartitionId(0),
            queue: QueueId(number),
            durable: true,
        };
        Member::Queue(Route::new(vec![target], false))
    }

    /// A binding to the queue of that number.
    pub(crate) fn bound(key: &str, number: u64) -> Arc<Bound> {
        bound_to(key, number, queue(number))
    }

    fn bound_to(key: &str, number: u64, member: Member) -> Arc<Bound> {
        let destination = Destination::Queue(format!("q{number}").into());
        let arguments = Arguments::default();
        let binding = Binding {
            source: "x".into(),
            destination,
            routing_key: key.into(),
            arguments,
        };
        Arc::new(Bound::new(binding, member))
    }

    fn routed(bucket: &Bucket) -> Option<Vec<u64>> {
        bucket
            .route()
            .map(|route| route.targets.iter().map(|target| target.queue.0).collect())
    }

    #[test]
    fn the_route_follows_the_bindings() {
        assert_eq!(size_of::<Bucket>(), 16, "one binding is kept in place");
        let mut bucket = Bucket::default();
        assert_eq!(routed(&bucket), None);
        for number in 1..20 {
            bucket.add(bound("k", number));
            assert_eq!(routed(&bucket), Some((1..=number).collect()));
        }
        let snapshot = bucket.clone();
        for number in 1..19 {
            bucket.remove(&bound("k", number));
            assert_eq!(routed(&bucket), Some((number + 1..20).collect()));
        }
        assert!(matches!(bucket, Bucket::One(_)));
        bucket.remove(&bound("k", 19));
        assert!(bucket.is_empty());
        assert_eq!(routed(&snapshot), Some((1..20).collect()));
    }

    #[test]
    fn two_bindings_to_one_queue_are_one_target() {
        let mut bucket = Bucket::default();
        bucket.add(bound_to("k", 1, queue(7)));
        bucket.add(bound_to("k", 2, queue(7)));
        assert_eq!(routed(&bucket), Some(vec![7]));
        bucket.add(bound_to("k", 3, Member::Exchange));
        assert_eq!(routed(&bucket), None);
    }
}
