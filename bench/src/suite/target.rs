//! What must be reached. Every round has to; a middle one that does is luck.

use std::fmt;

use serde::Serialize;

use super::results::{Results, unit};
use super::{Figures, MACHINE};

/// The broker whose figures are held against targets.
pub const OURS: &str = "everack";
/// The broker that some targets are relative to.
const THEIRS: &str = "rabbitmq";
const MIB: f64 = (1 << 20) as f64;
/// What the log writes around a message of a long run: 18 bytes, and what remains of the group's head and padding.
const RECORD_HEAD_BYTES: f64 = 20.0;

/// A figure of a case, and its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The case's name.
    pub case: &'static str,
    /// The figure's name.
    pub figure: &'static str,
    /// What it must keep.
    pub bound: Bound,
}

/// What a figure must keep, in each round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// So many times RabbitMQ's figure in the same round.
    TimesRabbitmq(f64),
    /// No more than `factor` times another figure of the same round, and `plus`.
    AtMostOf {
        /// `machine`, or `everack` for another figure of the same run.
        of: &'static str,
        /// The other figure.
        figure: &'static str,
        /// Times.
        factor: f64,
        /// And so much more.
        plus: f64,
    },
}

/// How a target was kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The case.
    pub case: String,
    /// The figure.
    pub figure: String,
    /// The bound in words.
    pub bound: String,
    /// What was measured, round by round.
    pub values: Vec<f64>,
    /// The bound in figures, round by round; shorter where what it is relative to was not measured.
    pub limits: Vec<f64>,
    /// Every round kept it; `None` where there was nothing to hold it against.
    pub met: Option<bool>,
}

const fn at_most(case: &'static str, figure: &'static str, most: f64) -> Target {
    let bound = Bound::AtMost(most);
    Target { case, figure, bound }
}

const fn at_least(case: &'static str, figure: &'static str, least: f64) -> Target {
    let bound = Bound::AtLeast(least);
    Target { case, figure, bound }
}

const fn times_rabbitmq(case: &'static str, times: f64) -> Target {
    Target {
        case,
        figure: "received_per_second",
        bound: Bound::TimesRabbitmq(times),
    }
}

const fn at_most_of_a_sync(figure: &'static str, of: &'static str, factor: f64, plus: f64) -> Target {
    let bound = Bound::AtMostOf {
        of: MACHINE,
        figure: of,
        factor,
        plus,
    };
    Target {
        case: "w4",
        figure,
        bound,
    }
}

const CPU: &str = "cpu_us_per_message";

/// All of them.
pub const TARGETS: &[Target] = &[
    at_most("start", "ready_ms", 50.0),
    at_most("start", "idle_bytes", 12.0 * MIB),
    at_most("connections", "open_seconds", 5.0),
    at_most("connections", "held_bytes_per_connection", 12.0 * 1024.0),
    at_least("declares", "nowait_declares_per_second", 20_000.0),
    at_least("declares", "awaited_declares_per_second", 2_000.0),
    at_most("bindings", CPU, 3.0),
    at_most("bindings", "held_bytes_per_binding", 200.0),
    at_most("restart", "ready_seconds", 3.0),
    at_most(
        "restart",
        "disk_bytes_per_message",
        1.3 * 100.0 + RECORD_HEAD_BYTES,
    ),
    at_most("crowd", "list_max_ms", 200.0),
    at_least("crowd", "watched_throughput_ratio", 0.95),
    at_least("fairness", "rate_kept", 0.95),
    at_least("fairness", "shared_rate_kept", 0.95),
    at_most("fairness", "beside_end_to_end_p99_us", 10_000.0),
    at_least("fairness-durable", "rate_kept", 0.95),
    at_least("fairness-durable", "shared_rate_kept", 0.95),
    at_most("fairness-durable", "beside_end_to_end_p99_us", 50_000.0),
    // A million bindings, and twenty million messages that lie in a queue: the figures of the last point.
    at_most("scale-bindings", "direct_cpu_us_per_message", 3.0),
    at_most("scale-bindings", "topic_cpu_us_per_message", 3.0),
    at_most("scale-backlog", "publish_cpu_us_per_message", 0.4),
    at_most("scale-backlog", "drain_cpu_us_per_message", 0.2),
    at_most("w1a", CPU, 0.15),
    at_least("w1a", "received_per_second", 5e6),
    at_most("w1b", CPU, 0.8),
    at_most("w1c", CPU, 0.15),
    at_most("w2", CPU, 1.0),
    at_most("w2", "confirm_p50_us", 1000.0),
    times_rabbitmq("w2", 20.0),
    at_most("w3", CPU, 1.0),
    at_most("w3", "confirm_p50_us", 1000.0),
    times_rabbitmq("w3", 20.0),
    at_most_of_a_sync("confirm_p50_us", "fdatasync_p50_us", 1.3, 30.0),
    at_most_of_a_sync("confirm_p99_us", "fdatasync_p99_us", 2.0, 0.0),
    at_most("w5", CPU, 0.3),
    at_most("w5d", CPU, 1.3),
    at_most("w6", "publish_cpu_us_per_message", 0.4),
    at_most("w6", "drain_cpu_us_per_message", 0.2),
    Target {
        case: "w6",
        figure: "held_bytes",
        bound: Bound::AtMostOf {
            of: OURS,
            figure: "backlog_messages",
            factor: 32.0,
            plus: 100.0 * MIB,
        },
    },
    at_most("w8", CPU, 0.06),
    at_most("window1", CPU, 50.0),
    at_most("window10", CPU, 5.0),
    at_most("window100", CPU, 0.5),
    at_most("rate20k", CPU, 12.0),
    at_most("rate20k", "end_to_end_p99_us", 1000.0),
    // What real messages carry may cost three times the plain figure.
    at_most("w1a-real", CPU, 3.0 * 0.15),
    at_most("w1c-real", CPU, 3.0 * 0.15),
    at_most("w2-real", CPU, 3.0 * 1.0),
    at_most("w5-real", CPU, 3.0 * 0.3),
    at_most("w5d-real", CPU, 3.0 * 1.3),
    at_most("w8-real", CPU, 3.0 * 0.06),
];

impl Target {
    /// Holds what was measured against it; `None` if the case was not.
    pub fn judge(&self, results: &Results) -> Option<Verdict> {
        let rounds = results.of(self.case, OURS);
        let (mut values, mut limits, mut met) = (Vec::new(), Vec::new(), Some(true));
        for (round, figures) in rounds {
            let Some(&value) = figures.get(self.figure) else {
                met = Some(false);
                continue;
            };
            values.push(value);
            match self
                .bound
                .limit(self, figures, |broker| results.figures(self.case, broker, round))
            {
                Some(limit) => {
                    limits.push(limit);
                    let kept = self.bound.keeps(value, limit);
                    met = met.map(|met| met && kept);
                }
                None => met = met.filter(|met| !met),
            }
        }
        (!values.is_empty()).then(|| Verdict {
            case: self.case.to_owned(),
            figure: self.figure.to_owned(),
            bound: self.to_string(),
            values,
            limits,
            met,
        })
    }
}

impl Bound {
    fn limit<'a>(
        &self,
        target: &Target,
        own: &'a Figures,
        others: impl Fn(&str) -> Option<&'a Figures>,
    ) -> Option<f64> {
        match *self {
            Bound::AtMost(limit) | Bound::AtLeast(limit) => Some(limit),
            Bound::TimesRabbitmq(times) => Some(others(THEIRS)?.get(target.figure)? * times),
            Bound::AtMostOf {
                of,
                figure,
                factor,
                plus,
            } => {
                let figures = if of == OURS { own } else { others(of)? };
                Some(figures.get(figure)? * factor + plus)
            }
        }
    }

    fn keeps(&self, value: f64, limit: f64) -> bool {
        match self {
            Bound::AtMost(_) | Bound::AtMostOf { .. } => value <= limit,
            Bound::AtLeast(_) | Bound::TimesRabbitmq(_) => value >= limit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            Bound::AtMost(most) => write!(f, "<= {}", unit(self.figure, most)),
            Bound::AtLeast(least) => write!(f, ">= {}", unit(self.figure, least)),
            Bound::TimesRabbitmq(times) => write!(f, ">= {times} x RabbitMQ"),
            Bound::AtMostOf {
                figure, factor, plus, ..
            } if plus > 0.0 => write!(f, "<= {factor} x {figure} + {}", unit(self.figure, plus)),
            Bound::AtMostOf { figure, factor, .. } => write!(f, "<= {factor} x {figure}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::case::Case;
    use crate::suite::results::Measured;

    /// Rounds of `w2` on both brokers: messages a second.
    fn results(ours: &[f64], theirs: &[f64]) -> Results {
        let mut results = Results::new("test", 1.0);
        let case: Case = "w2".parse().expect("w2 is known");
        for (broker, rates) in [(OURS, ours), (THEIRS, theirs)] {
            for (round, &rate) in (1..).zip(rates) {
                let figures = Figures::from([("received_per_second".to_owned(), rate)]);
                results.add(Measured::new(&case, broker, round, figures));
            }
        }
        results
    }

    fn check(ours: &[f64], theirs: &[f64], bound: Bound, met: Option<bool>) {
        let target = Target {
            case: "w2",
            figure: "received_per_second",
            bound,
        };
        let verdict = target.judge(&results(ours, theirs)).expect("it was measured");
        assert_eq!(verdict.met, met, "{ours:?} beside {theirs:?}: {verdict:?}");
    }

    #[test]
    fn every_round_must_keep_the_bound() {
        check(&[5.0, 6.0], &[], Bound::AtLeast(5.0), Some(true));
        check(&[4.9, 6.0], &[], Bound::AtLeast(5.0), Some(false));
        check(&[5.0, 6.0], &[], Bound::AtMost(5.0), Some(false));
        check(&[40.0, 60.0], &[2.0, 3.0], Bound::TimesRabbitmq(20.0), Some(true));
        check(
            &[40.0, 59.0],
            &[2.0, 3.0],
            Bound::TimesRabbitmq(20.0),
            Some(false),
        );
    }

    #[test]
    fn without_the_other_there_is_no_verdict() {
        check(&[40.0], &[], Bound::TimesRabbitmq(20.0), None);
        check(&[10.0, 40.0], &[2.0], Bound::TimesRabbitmq(20.0), Some(false));
        assert_eq!(at_most("w1a", CPU, 1.0).judge(&results(&[1.0], &[])), None);
    }

    #[test]
    fn every_target_is_of_a_case() {
        for target in TARGETS {
            target
                .case
                .parse::<Case>()
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
