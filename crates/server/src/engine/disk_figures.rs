//! What the disk does, in numbers: how long syncs take, and how many jobs share one. Counted once a sync, never for a message,
//! by whichever thread it was; without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the times of syncs, in microseconds.
pub(crate) const SYNC_MICROS: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
];
/// Upper bounds of the jobs in a group.
pub(crate) const GROUP_JOBS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct DiskFigures {
    syncs: Buckets<{ SYNC_MICROS.len() + 1 }>,
    jobs: Buckets<{ GROUP_JOBS.len() + 1 }>,
}

/// All of them at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readings {
    /// Syncs, by the microseconds that they took.
    pub(crate) syncs: Distribution,
    /// Groups that were written, to be synced together, by the jobs in them.
    pub(crate) jobs: Distribution,
}

/// How often something was how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// How often it was not above each of the bounds; what is above all of them is in `count` only.
    pub(crate) below: Vec<(u64, u64)>,
    /// How often.
    pub(crate) count: u64,
    /// All together.
    pub(crate) sum: u64,
}

#[derive(Debug)]
struct Buckets<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; N],
            sum: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Buckets<N> {
    fn count(&self, bounds: &[u64], value: u64) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn read(&self, bounds: &[u64]) -> Distribution {
        let mut count = 0;
        let mut below = Vec::with_capacity(bounds.len());
        for (index, bucket) in self.counts.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            below.extend(bounds.get(index).map(|bound| (*bound, count)));
        }
        let sum = self.sum.load(Ordering::Relaxed);
        Distribution { below, count, sum }
    }
}

impl DiskFigures {
    /// A sync took so long.
    pub(crate) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.syncs.count(&SYNC_MICROS, micros);
    }

    /// So many jobs were written, to be synced together.
    pub(crate) fn grouped(&self, jobs: u64) {
        self.jobs.count(&GROUP_JOBS, jobs);
    }

    pub(crate) fn read(&self) -> Readings {
        Readings {
            syncs: self.syncs.read(&SYNC_MICROS),
            jobs: self.jobs.read(&GROUP_JOBS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_below_its_bounds() {
        let figures = DiskFigures::default();
        for micros in [0, 100, 101, 250, 5_000_000, 5_000_001] {
            figures.synced(Duration::from_micros(micros));
        }
        figures.grouped(3);
        let Readings { syncs, jobs } = figures.read();
        assert_eq!(syncs.below[..3], [(100, 2), (250, 4), (500, 4)]);
        assert_eq!(syncs.below.last(), Some(&(5_000_000, 5)));
        assert_eq!((syncs.count, syncs.sum), (6, 10_000_452));
        assert_eq!(jobs.below[..3], [(1, 0), (2, 0), (4, 1)]);
        assert_eq!((jobs.count, jobs.sum), (1, 3));
    }
}
