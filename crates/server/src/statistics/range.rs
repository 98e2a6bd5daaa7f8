//! Which samples somebody wants: how far back, and how densely. RabbitMQ's parameters `..._age` and `..._incr`.

use super::{TICK_MILLIS, Tick};

/// Most samples of one answer; what asks for more gets the newest.
const SAMPLES_MAX: u32 = 1_000;

/// See the module documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    age: Tick,
    step: Tick,
}

impl Range {
    /// From the two parameters, in seconds. None if one is missing or no number above nought, as in RabbitMQ. Samples are
    /// five seconds apart: less is taken for that.
    pub(crate) fn of(age: Option<&str>, incr: Option<&str>) -> Option<Self> {
        let seconds = |text: Option<&str>| text?.parse::<u32>().ok().filter(|&seconds| seconds > 0);
        let (age_s, incr_s) = (seconds(age)?, seconds(incr)?);
        let tick_s = (TICK_MILLIS / 1000) as u32;
        let step = incr_s.div_ceil(tick_s);
        Some(Self {
            age: (age_s / tick_s).min(step.saturating_mul(SAMPLES_MAX - 1)),
            step,
        })
    }

    /// The moments to be looked at, rising, up to the last one of the kind.
    pub(super) fn ticks(self, last: Tick) -> Vec<Tick> {
        let newest = last - last % self.step;
        let count = (self.age / self.step).min(newest / self.step);
        (0..=count)
            .rev()
            .map(|index| newest - index * self.step)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_bounded() {
        let check = |age: &str, incr: &str, last: Tick, expected: Option<&[Tick]>| {
            let ticks = Range::of(Some(age), Some(incr)).map(|range| range.ticks(last));
            assert_eq!(ticks.as_deref(), expected, "{age} {incr}");
        };
        check("10", "5", 100, Some(&[98, 99, 100]));
        check("20", "10", 101, Some(&[96, 98, 100]));
        check("10", "1", 100, Some(&[98, 99, 100]));
        check("4", "5", 100, Some(&[100]));
        check("60", "5", 3, Some(&[0, 1, 2, 3]));
        for nothing in ["", "0", "-5", "x", "5.5", "99999999999"] {
            check(nothing, "5", 100, None);
            check("5", nothing, 100, None);
        }
        assert_eq!(Range::of(None, Some("5")), None);
        let long = Range::of(Some("4294967295"), Some("5")).expect("it is one");
        assert_eq!(long.ticks(1_000_000).len(), 1_000);
        let rare = Range::of(Some("4294967295"), Some("4294967295")).expect("it is one");
        assert_eq!(rare.ticks(1_000_000), [0]);
    }
}
