//! The answer to "which queues": the targets of a message.

use std::sync::{Arc, LazyLock};

use crate::ids::{PartitionId, QueueId};

/// One queue that a message goes to. Ordered by partition first, so that the targets of a route that share a partition
/// lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Where the queue lives.
    pub partition: PartitionId,
    /// The queue.
    pub queue: QueueId,
    /// Whether the queue is durable, hence whether what goes there must be logged.
    pub durable: bool,
}

/// Where a message goes: each queue once, in ascending order of partition and queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The queues; empty when the message is unroutable.
    pub targets: Box<[Target]>,
    /// Whether more of the message than its routing key took part in the choice: headers, properties, chance. If not, every message with this exchange and routing key takes this route
    /// until the epoch of the snapshot changes, so that the caller may keep it.
    pub by_headers: bool,
}

impl Route {
    /// A route to these targets, which may come in any order and more than once.
    pub(crate) fn new(mut targets: Vec<Target>, by_headers: bool) -> Arc<Route> {
        if targets.is_empty() {
            return Route::none(by_headers);
        }
        targets.sort_unstable();
        targets.dedup();
        Arc::new(Route {
            targets: targets.into(),
            by_headers,
        })
    }

    /// The route of the unroutable.
    pub(crate) fn none(by_headers: bool) -> Arc<Route> {
        static PLAIN: LazyLock<Arc<Route>> = LazyLock::new(|| {
            Arc::new(Route {
                targets: Box::default(),
                by_headers: false,
            })
        });
        static BY_HEADERS: LazyLock<Arc<Route>> = LazyLock::new(|| {
            Arc::new(Route {
                targets: Box::default(),
                by_headers: true,
            })
        });
        if by_headers {
            BY_HEADERS.clone()
        } else {
            PLAIN.clone()
        }
    }

    /// The route of a message that nobody wants, for one message.
    pub fn nowhere() -> Arc<Route> {
        Route::none(true)
    }

    /// Whether the message goes nowhere.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The targets by partition, each partition once.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &[Target])> {
        self.targets
            .chunk_by(|left, right| left.partition == right.partition)
            .map(|targets| (targets[0].partition, targets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_unique_and_grouped_by_partition() {
        let target = |partition, queue| Target {
            partition: PartitionId(partition),
            queue: QueueId(queue),
            durable: true,
        };
        let route = Route::new(
            vec![target(1, 2), target(0, 7), target(1, 1), target(1, 2)],
            false,
        );
        let groups: Vec<_> = route
            .partitions()
            .map(|(partition, targets)| (partition.0, targets.len()))
            .collect();
        assert_eq!(groups, [(0, 1), (1, 2)]);
    }
}
