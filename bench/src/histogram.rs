//! Latencies in buckets: 64 steps to each doubling, so that a value is off by at most 1.6 %.

/// Steps to each doubling, as a power of two.
const STEP_BITS: u32 = 6;
const STEPS: u64 = 1 << STEP_BITS;
/// Values from 2^42 ns (73 minutes) up share the last bucket.
const VALUE_BITS: u32 = 42;
const BUCKETS: usize = ((VALUE_BITS - STEP_BITS + 1) << STEP_BITS) as usize;

/// Counts of values in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts `value` as having been seen `weight` times.
    pub fn record(&mut self, value: u64, weight: u64) {
        self.counts[bucket(value)] += weight;
        self.total += weight;
        self.max = self.max.max(value);
    }

    /// Adds what another histogram has counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value, exactly.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that a share of `quantile` (0..=1) of all values do not exceed; 0 when there are none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = (quantile * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = (u64::BITS - 1 - value.leading_zeros()) - STEP_BITS;
    let index = (u64::from(shift) << STEP_BITS) + (value >> shift);
    (index as usize).min(BUCKETS - 1)
}

fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let shift = (index >> STEP_BITS) - 1;
    let step = (index & (STEPS - 1)) + STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket_and_near_its_edge() {
        for value in (0..2_000)
            .chain((0..40).map(|bit| 1 << bit))
            .chain((1..40).map(|bit| (1 << bit) - 1))
        {
            let edge = upper_edge(bucket(value));
            assert!(edge >= value, "{value} lies above the edge {edge} of its bucket");
            assert!(edge - value <= value / 64, "{value} is too far from {edge}");
        }
    }

    #[test]
    fn quantiles_follow_the_weights() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        histogram.record(10, 98);
        histogram.record(50, 1);
        histogram.record(1 << 50, 1);
        assert_eq!(histogram.quantile(0.5), 10);
        assert_eq!(histogram.quantile(0.99), 50);
        assert_eq!(histogram.max(), 1 << 50);
        assert_eq!(histogram.total(), 100);
    }
}
