//! How much a virtual host or a user may have. The catalog counts queues itself; connections and channels are counted where
//! they are, by what a snapshot says here.

use serde::{Deserialize, Serialize};

/// What a virtual host may be limited in.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VhostLimit {
    /// `max-connections`.
    Connections,
    /// `max-queues`, exclusive ones included.
    Queues,
}

/// What a user may be limited in.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UserLimit {
    /// `max-connections`.
    Connections,
    /// `max-channels`, over all connections.
    Channels,
}

/// A limit that can be asked for by its name.
pub trait LimitName: Copy + Eq + 'static {
    /// All of them, with RabbitMQ's names.
    const ALL: [(Self, &'static str); 2];

    /// The limit of that name.
    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(limit, _)| limit)
    }
}

impl LimitName for VhostLimit {
    const ALL: [(Self, &'static str); 2] = [
        (VhostLimit::Connections, "max-connections"),
        (VhostLimit::Queues, "max-queues"),
    ];
}

impl LimitName for UserLimit {
    const ALL: [(Self, &'static str); 2] = [
        (UserLimit::Connections, "max-connections"),
        (UserLimit::Channels, "max-channels"),
    ];
}

/// The limits of one virtual host or user; what is not in it is without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSet<L>([Option<(L, u64)>; 2]);

impl<L> Default for LimitSet<L> {
    fn default() -> Self {
        Self([None, None])
    }
}

impl<L: LimitName> LimitSet<L> {
    /// The most there may be; none is no limit.
    pub fn most(&self, limit: L) -> Option<u64> {
        self.iter()
            .find(|(known, _)| *known == limit)
            .map(|(_, most)| most)
    }

    /// All that are set.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> {
        self.0.into_iter().flatten()
    }

    pub(super) fn set(&mut self, limit: L, most: Option<u64>) {
        let at = L::ALL.iter().position(|(known, _)| *known == limit);
        self.0[at.expect("every limit is listed")] = most.map(|most| (limit, most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_and_taken_away() {
        let mut limits = LimitSet::default();
        assert_eq!(limits.most(UserLimit::Channels), None);
        limits.set(UserLimit::Channels, Some(0));
        limits.set(UserLimit::Connections, Some(7));
        assert_eq!(limits.most(UserLimit::Channels), Some(0));
        assert_eq!(limits.iter().count(), 2);
        limits.set(UserLimit::Channels, None);
        assert_eq!(limits.iter().collect::<Vec<_>>(), [(UserLimit::Connections, 7)]);
        assert_eq!(VhostLimit::named("max-queues"), Some(VhostLimit::Queues));
        assert_eq!(VhostLimit::named("max-channels"), None);
    }
}
