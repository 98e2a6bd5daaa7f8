//! The destinations that share one place in a routing table: one key, one node of a trie, one pattern of headers.

use std::sync::{Arc, OnceLock};

use super::keyed_hash::Keyed;
use super::route::{Route, Target};
use super::small_map::SmallMap;
use crate::name::Name;

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Member {
    Queue(Target),
    Exchange(Name),
}

/// The members of one place, each with the number of bindings that brought it there (they may differ in their
/// arguments), and the route to them, made when first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    members: SmallMap<Member, u32>,
    /// None inside: another exchange is among the members, so that the route is not ours alone to say.
    route: OnceLock<Option<Arc<Route>>>,
}

impl Bucket {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&Member, u32)> {
        self.members.iter().map(|(member, count)| (member, *count))
    }

    /// The ready-made route, if only queues are meant here.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        self.route.get_or_init(|| self.make_route()).as_ref()
    }

    pub(crate) fn add(&mut self, member: Member, keyed: Keyed) {
        self.route = OnceLock::new();
        match self.members.get_mut(&member) {
            Some(count) => *count += 1,
            None => self.members.add(member, 1, keyed),
        }
    }

    /// Takes one binding to that member away.
    ///
    /// # Panics
    /// If there is none: the table and the set of bindings must say the same.
    pub(crate) fn remove(&mut self, member: &Member) {
        self.route = OnceLock::new();
        let count = self
            .members
            .get_mut(member)
            .expect("the binding is in its bucket");
        *count -= 1;
        if *count == 0 {
            self.members.remove(member);
        }
    }

    fn make_route(&self) -> Option<Arc<Route>> {
        let targets: Option<Vec<Target>> = self
            .members
            .iter()
            .map(|(member, _)| match member {
                Member::Queue(target) => Some(*target),
                Member::Exchange(_) => None,
            })
            .collect();
        targets.map(|targets| Route::new(targets, false))
    }
}
