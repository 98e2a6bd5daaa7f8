//! One thing's samples: several resolutions, the fine ones for a short time and the coarse ones for long.

use super::figures::Kind;
use super::range::Range;
use super::series::Series;
use super::{TICK_MILLIS, Tick};

/// For how long, and how densely, samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention(&'static [Resolution]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resolution {
    /// Ticks for which a sample is kept.
    kept: Tick,
    /// Ticks between two samples.
    step: Tick,
}

/// So many seconds, one sample every so many: as RabbitMQ's `sample_retention_policies` have it.
const fn resolution(kept_s: u32, step_s: u32) -> Resolution {
    let tick_s = (TICK_MILLIS / 1000) as u32;
    Resolution {
        kept: kept_s / tick_s,
        step: step_s / tick_s,
    }
}

impl Retention {
    /// The broker, its virtual hosts: a day.
    pub(crate) const GLOBAL: Self = Self(&[
        resolution(605, 5),
        resolution(3_660, 60),
        resolution(29_400, 600),
        resolution(86_400, 1_800),
    ]);
    /// Queues, exchanges, connections, channels: an hour.
    pub(crate) const BASIC: Self = Self(&[resolution(605, 5), resolution(3_600, 60)]);
    /// Ages that may be asked for, in seconds, under RabbitMQ's names of the policies. Nothing of ours is as short-lived as the last one.
    pub(crate) const AGES_S: [(&'static str, &'static [u32]); 3] = [
        ("global", &[600, 3_600, 28_800, 86_400]),
        ("basic", &[600, 3_600]),
        ("detailed", &[600]),
    ];
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Track {
    series: Box<[Series]>,
    /// When it was sampled last.
    pub(super) sampled_at: Tick,
    kind: Kind,
}

/// How something looks: see [`Track::look`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Look {
    /// By how much each number changes in a second.
    pub(crate) rates: Vec<f64>,
    /// What was asked for, the newest in front; none if no history was.
    pub(crate) samples: Option<Vec<Sample>>,
}

/// How something stood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// In milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The numbers.
    pub(crate) row: Vec<u64>,
}

/// The last two moments of sampling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    pub(crate) last: Tick,
    pub(crate) before: Tick,
}

impl Track {
    /// Begins with a row of numbers.
    pub(crate) fn new(kind: Kind, at: Tick, row: &[u64]) -> Self {
        let series = kind.retention.0.iter().map(|_| Series::new(at, row));
        Self {
            series: series.collect(),
            sampled_at: at,
            kind,
        }
    }

    /// The numbers as they were sampled last.
    pub(crate) fn newest(&self) -> &[u64] {
        self.series[0].newest()
    }

    /// Adds a row. If something fell that only rises, another thing has the same name now, and its history begins. A sum, whose
    /// parts are not looked at at the same moment, stands still instead.
    pub(crate) fn record(&mut self, at: Tick, row: &mut [u64]) {
        let gauges = self.kind.gauges;
        let newest = &self.newest()[gauges..];
        let mut counters = row[gauges..].iter().zip(newest);
        if counters.any(|(new, old)| new < old) {
            if !self.kind.is_sum {
                *self = Self::new(self.kind, at, row);
                return;
            }
            let counters = row[gauges..].iter_mut().zip(newest);
            counters.for_each(|(new, old)| *new = (*new).max(*old));
        }
        for (series, resolution) in self.series.iter_mut().zip(self.kind.retention.0) {
            // The moment may have been missed: the first one after it does as well.
            if at / resolution.step != self.sampled_at / resolution.step {
                series.record(at, row);
            }
            series.forget_before(at.saturating_sub(resolution.kept));
        }
        self.sampled_at = at;
    }

    /// Rates between the last two moments, and samples if some are asked for.
    pub(crate) fn look(&self, moments: Moments, range: Option<Range>) -> Look {
        let seconds = f64::from(moments.last.saturating_sub(moments.before)) * TICK_MILLIS as f64 / 1000.0;
        let change = self.series[0].last_change(moments.last).filter(|_| seconds > 0.0);
        let rates = match change {
            Some(change) => change.iter().map(|change| *change as f64 / seconds).collect(),
            None => vec![0.0; self.newest().len()],
        };
        Look {
            rates,
            samples: range.map(|range| self.samples(moments.last, range)),
        }
    }

    fn samples(&self, last: Tick, range: Range) -> Vec<Sample> {
        let ticks = range.ticks(last);
        let oldest = ticks.first().map_or(0, |first| last - first);
        let resolutions = self.kind.retention.0.iter().zip(&self.series);
        let covers = |resolution: &Resolution| resolution.kept >= oldest;
        let mut resolutions = resolutions.filter(|(resolution, _)| covers(resolution));
        let series = resolutions.next().map(|(_, series)| series);
        let Some(series) = series.or(self.series.last()) else {
            return Vec::new();
        };
        let rows = series.rows(ticks.iter().copied()).into_iter().zip(ticks).rev();
        let samples = rows.filter_map(|(row, tick)| {
            Some(Sample {
                at_ms: u64::from(tick) * TICK_MILLIS,
                row: row?.into_vec(),
            })
        });
        samples.collect()
    }
}

impl Look {
    /// What one number's samples say together: how fast it changed over all of them, and what it was on average.
    pub(crate) fn averages(&self, index: usize) -> (f64, f64) {
        let samples = self.samples.as_deref().unwrap_or_default();
        let (Some(newest), Some(oldest)) = (samples.first(), samples.last()) else {
            return (0.0, 0.0);
        };
        let seconds = (newest.at_ms - oldest.at_ms) as f64 / 1000.0;
        let change = newest.row[index] as f64 - oldest.row[index] as f64;
        let rate = if seconds > 0.0 { change / seconds } else { 0.0 };
        let sum: f64 = samples.iter().map(|sample| sample.row[index] as f64).sum();
        (rate, sum / samples.len() as f64)
    }

    /// Adds another thing's: both together.
    pub(crate) fn add(&mut self, other: &Look) {
        if self.rates.is_empty() {
            self.clone_from(other);
            return;
        }
        let rates = self.rates.iter_mut().zip(&other.rates);
        rates.for_each(|(rate, other)| *rate += other);
        let (Some(samples), Some(others)) = (&mut self.samples, &other.samples) else {
            return;
        };
        for other in others {
            match samples.iter_mut().find(|sample| sample.at_ms == other.at_ms) {
                Some(sample) => {
                    let row = sample.row.iter_mut().zip(&other.row);
                    row.for_each(|(value, other)| *value += other);
                }
                None => samples.push(other.clone()),
            }
        }
        samples.sort_unstable_by_key(|sample| std::cmp::Reverse(sample.at_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One gauge and one counter.
    const KIND: Kind = Kind {
        names: &["gauge", "counter"],
        gauges: 1,
        is_sum: false,
        retention: Retention::BASIC,
    };

    fn track(rows: &[(Tick, [u64; 2])]) -> Track {
        let mut track = Track::new(KIND, rows[0].0, &rows[0].1);
        rows[1..]
            .iter()
            .for_each(|(at, row)| track.record(*at, &mut row.clone()));
        track
    }

    fn moments(last: Tick) -> Moments {
        Moments {
            last,
            before: last - 1,
        }
    }

    fn range(age_s: u32, incr_s: u32) -> Option<Range> {
        Range::of(Some(&age_s.to_string()), Some(&incr_s.to_string()))
    }

    #[test]
    fn rates_are_of_the_last_two_samples() {
        let track = track(&[(100, [0, 0]), (101, [50, 10]), (102, [40, 30])]);
        assert_eq!(track.look(moments(102), None).rates, [-2.0, 4.0]);
        assert_eq!(track.look(moments(103), None).rates, [0.0, 0.0]);
        let seldom = Moments {
            last: 102,
            before: 92,
        };
        assert_eq!(track.look(seldom, None).rates, [-0.2, 0.4]);
    }

    #[test]
    fn samples_are_the_newest_in_front_and_averaged() {
        let track = track(&[(100, [0, 0]), (101, [50, 10]), (102, [40, 30])]);
        let look = track.look(moments(102), range(10, 5));
        let samples = look.samples.as_ref().expect("they were asked for");
        let seen: Vec<_> = samples
            .iter()
            .map(|sample| (sample.at_ms, &sample.row[..]))
            .collect();
        let expected: [(u64, &[u64]); 3] = [(510_000, &[40, 30]), (505_000, &[50, 10]), (500_000, &[0, 0])];
        assert_eq!(seen, expected);
        assert_eq!(look.averages(0), (4.0, 30.0));
        assert_eq!(look.averages(1), (3.0, 40.0 / 3.0));
        let none = track.look(moments(102), None);
        assert_eq!(none.averages(0), (0.0, 0.0));
    }

    #[test]
    fn old_samples_are_coarse_and_older_ones_gone() {
        let rows: Vec<_> = (0..2_000).map(|tick| (tick, [1, u64::from(tick)])).collect();
        let track = track(&rows);
        let last = 1_999;
        let fine = track
            .look(moments(last), range(600, 5))
            .samples
            .expect("asked for");
        assert_eq!(fine.len(), 121);
        assert_eq!(fine[120].row[1], u64::from(last - 120));
        let coarse = track.look(moments(last), range(3_600, 60));
        let coarse = coarse.samples.expect("asked for");
        assert_eq!(coarse.len(), 61);
        assert!(
            coarse
                .windows(2)
                .all(|pair| pair[0].row[1] - pair[1].row[1] == 12)
        );
        let day = track.look(moments(last), range(86_400, 1_800));
        assert!(day.samples.expect("asked for").len() <= 3, "an hour is kept");
    }

    #[test]
    fn a_counter_that_falls_begins_anew() {
        let mut track = track(&[(100, [5, 10]), (101, [5, 20])]);
        track.record(102, &mut [5, 3]);
        let look = track.look(moments(102), range(10, 5));
        assert_eq!(look.rates, [0.0, 0.0]);
        assert_eq!(look.samples.expect("asked for").len(), 1);
    }

    #[test]
    fn a_sum_waits_for_its_parts() {
        let kind = Kind { is_sum: true, ..KIND };
        let mut track = Track::new(kind, 100, &[5, 10]);
        track.record(101, &mut [4, 9]);
        assert_eq!(track.newest(), [4, 10]);
        track.record(102, &mut [4, 12]);
        assert_eq!(track.look(moments(102), None).rates, [0.0, 0.4]);
    }

    #[test]
    fn looks_add_up() {
        let (one, other) = (track(&[(100, [1, 10]), (102, [2, 20])]), track(&[(102, [5, 50])]));
        let mut both = Look::default();
        both.add(&one.look(moments(102), range(10, 10)));
        both.add(&other.look(moments(102), range(10, 10)));
        assert_eq!(both.rates, [0.2, 2.0]);
        let samples = both.samples.expect("asked for");
        assert_eq!(samples[0].row, [7, 70]);
        assert_eq!(samples[1].row, [1, 10]);
    }
}
