//! A binding as the catalog keeps it: with its ends, which many bindings share, held once for all of them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::binding::{Binding, Destination};
use crate::arguments::Arguments;
use crate::name::Name;
use crate::routing::bucket::Member;

/// A binding that is there. Equal and ordered as the [`Binding`] that it stands for.
pub(crate) struct Bound {
    ends: Arc<Ends>,
    pub(crate) routing_key: Name,
    pub(crate) arguments: Arguments,
}

/// From where to where. A million bindings from one exchange to one queue have one of this.
#[derive(Debug)]
struct Ends {
    source: Name,
    destination: Destination,
    member: Member,
}

impl Bound {
    /// A binding that leads to `member`.
    pub(crate) fn new(binding: Binding, member: Member) -> Self {
        let Binding {
            source,
            destination,
            routing_key,
            arguments,
        } = binding;
        let ends = Ends {
            source,
            destination,
            member,
        };
        Self {
            ends: Arc::new(ends),
            routing_key,
            arguments,
        }
    }

    /// A copy that shares its ends with another binding between the same.
    ///
    /// # Panics
    /// In tests, if they are not the same.
    pub(crate) fn beside(&self, other: &Bound) -> Self {
        debug_assert!(self.compare_ends(other).is_eq(), "not the same ends");
        Self {
            ends: other.ends.clone(),
            routing_key: self.routing_key.clone(),
            arguments: self.arguments.clone(),
        }
    }

    /// The exchange that messages come from.
    pub(crate) fn source(&self) -> &Name {
        &self.ends.source
    }

    /// Where they go to, by name.
    pub(crate) fn destination(&self) -> &Destination {
        &self.ends.destination
    }

    /// Where they go to.
    pub(crate) fn member(&self) -> &Member {
        &self.ends.member
    }

    /// What was asked for.
    pub(crate) fn binding(&self) -> Binding {
        Binding {
            source: self.source().clone(),
            destination: self.destination().clone(),
            routing_key: self.routing_key.clone(),
            arguments: self.arguments.clone(),
        }
    }

    fn compare_ends(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.ends, &other.ends) {
            return Ordering::Equal;
        }
        let by_source = self.source().cmp(other.source());
        by_source.then_with(|| self.destination().cmp(other.destination()))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare_ends(other)
            .then_with(|| self.routing_key.cmp(&other.routing_key))
            .then_with(|| self.arguments.cmp(&other.arguments))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Bound {}

impl fmt::Debug for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.binding().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Value;

    fn binding(source: &str, queue: &str, key: &str, weight: Option<i32>) -> Binding {
        Binding {
            source: source.into(),
            destination: Destination::Queue(queue.into()),
            routing_key: key.into(),
            arguments: weight
                .map(|weight| ("weight", Value::from(weight)))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn it_is_ordered_as_the_binding_that_it_stands_for() {
        let mut bindings = Vec::new();
        for source in ["a", "b"] {
            for queue in ["p", "q"] {
                for key in ["", "k"] {
                    bindings
                        .extend([None, Some(1), Some(2)].map(|weight| binding(source, queue, key, weight)));
                }
            }
        }
        let bound = |binding: &Binding| Bound::new(binding.clone(), Member::Exchange);
        for left in &bindings {
            assert_eq!(bound(left).binding(), *left);
            for right in &bindings {
                assert_eq!(bound(left).cmp(&bound(right)), left.cmp(right));
            }
        }
    }

    #[test]
    fn what_is_bound_beside_another_is_the_same_and_shares_its_ends() {
        let first = Bound::new(binding("a", "q", "k", None), Member::Exchange);
        let alone = Bound::new(binding("a", "q", "l", Some(1)), Member::Exchange);
        let second = alone.beside(&first);
        assert!(Arc::ptr_eq(&first.ends, &second.ends));
        assert_eq!(second, alone);
    }

    #[test]
    fn it_takes_no_more_than_five_words() {
        assert_eq!(size_of::<Bound>(), 40);
    }
}
