//! All figures of a suite: as JSON for who comes later, as Markdown for who reads now.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::case::Case;
use super::machine::Machine;
use super::scale::{Axis, Point};
use super::target::{TARGETS, Verdict};
use super::{Figures, MACHINE};
use crate::compare::table::Spread;
use crate::report::{rate, significant};

/// One case on one broker in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The case.
    pub case: String,
    /// The broker, or `machine`.
    pub broker: String,
    /// From 1 on.
    pub round: u32,
    /// What was found.
    pub figures: Figures,
    /// Point by point, if the case is a series.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Point>,
    /// What must not have happened.
    pub problems: Vec<String>,
}

impl Measured {
    /// Without problems.
    pub fn new(case: &Case, broker: &str, round: u32, figures: Figures) -> Self {
        Self {
            case: case.to_string(),
            broker: broker.to_owned(),
            round,
            figures,
            series: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// A case that could not be measured to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The case.
    pub case: String,
    /// What stood in its way.
    pub reason: String,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// What was measured.
    pub commit: String,
    /// When, in seconds since 1970.
    pub at_unix_seconds: u64,
    /// Where.
    pub machine: Machine,
    /// The part of the full size of what is large.
    pub scale: f64,
    /// Every run.
    pub measured: Vec<Measured>,
    /// What could not be measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Every target that something was measured for.
    pub verdicts: Vec<Verdict>,
}

impl Results {
    /// Of a suite that begins now, on this machine.
    pub fn new(commit: &str, scale: f64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            commit: commit.to_owned(),
            at_unix_seconds: now.as_secs(),
            machine: Machine::here(),
            scale,
            measured: Vec::new(),
            failures: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Keeps a run.
    pub fn add(&mut self, measured: Measured) {
        self.measured.push(measured);
    }

    /// Keeps that a case could not be measured.
    pub fn fail(&mut self, case: &Case, error: &anyhow::Error) {
        let (case, reason) = (case.to_string(), format!("{error:#}"));
        self.failures.push(Failure { case, reason });
    }

    /// Holds all that was measured against the targets.
    pub fn judge(&mut self) {
        self.verdicts = TARGETS.iter().filter_map(|target| target.judge(self)).collect();
    }

    /// No target was missed, no run had a problem, and nothing failed.
    pub fn passed(&self) -> bool {
        let sound = self.measured.iter().all(|run| run.problems.is_empty());
        sound && self.failures.is_empty() && self.verdicts.iter().all(|verdict| verdict.met != Some(false))
    }

    /// What a directory of these is called: the commit and the machine.
    pub fn directory_name(&self) -> String {
        format!("{}-{}", plain(&self.commit), self.machine.name())
    }

    /// The rounds of a case on a broker.
    pub fn of<'a>(&'a self, case: &'a str, broker: &'a str) -> impl Iterator<Item = (u32, &'a Figures)> {
        let runs = self.measured.iter();
        runs.filter(move |run| run.case == case && run.broker == broker)
            .map(|run| (run.round, &run.figures))
    }

    /// One round of a case on a broker.
    pub fn figures(&self, case: &str, broker: &str, round: u32) -> Option<&Figures> {
        let runs = self.measured.iter();
        runs.filter(|run| run.case == case && run.broker == broker)
            .find(|run| run.round == round)
            .map(|run| &run.figures)
    }

    /// One figure of a case on a broker over all rounds.
    pub fn spread(&self, case: &str, broker: &str, figure: &str) -> Option<Spread> {
        Spread::of(
            self.of(case, broker)
                .filter_map(|(_, figures)| figures.get(figure).copied()),
        )
    }

    /// Every run that is a series.
    fn series(&self) -> impl Iterator<Item = &Measured> {
        self.measured.iter().filter(|run| !run.series.is_empty())
    }

    /// Each case with each broker that it was measured on, in their order, once.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for run in self.measured.iter().filter(|run| run.series.is_empty()) {
            let row = (run.case.as_str(), run.broker.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            memory_bytes,
            kernel,
        } = &self.machine;
        writeln!(
            f,
            "Commit {}, {cores} cores ({cpu}), {} GiB, Linux {kernel}, scale {}. Median [least-most] of all rounds.\n",
            self.commit,
            memory_bytes >> 30,
            self.scale
        )?;
        writeln!(
            f,
            "| case | figure | target | measured | |\n|---|---|---|---|---|"
        )?;
        self.verdicts
            .iter()
            .try_for_each(|verdict| writeln!(f, "{verdict}"))?;
        self.series().try_for_each(|run| points(f, run))?;
        writeln!(f, "\n| case | broker | figures |\n|---|---|---|")?;
        for (case, broker) in self.rows() {
            let names = self.of(case, broker).next().into_iter();
            let names = names.flat_map(|(_, figures)| figures.keys());
            let shown = names.filter_map(|name| Some(shown(name, self.spread(case, broker, name)?)));
            let shown: Vec<String> = shown.collect();
            writeln!(f, "| {case} | {broker} | {} |", shown.join("; "))?;
        }
        for run in self.measured.iter().filter(|run| !run.problems.is_empty()) {
            let problems = run.problems.join("; ");
            writeln!(
                f,
                "\nPROBLEM: {} on {}, round {}: {problems}",
                run.case, run.broker, run.round
            )?;
        }
        for Failure { case, reason } in &self.failures {
            writeln!(f, "\nFAILED: {case}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = Spread::of(self.values.iter().copied());
        let measured = measured.map_or_else(String::new, |spread| spread_of(&self.figure, spread));
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "-",
        };
        let limit = match Spread::of(self.limits.iter().copied()) {
            Some(limits) if limits.min < limits.max => {
                format!("{} (here {})", self.bound, spread_of(&self.figure, limits))
            }
            _ => self.bound.clone(),
        };
        write!(
            f,
            "| {} | {} | {limit} | {measured} | {verdict} |",
            self.case, self.figure
        )
    }
}

/// As it may stand in the name of a file.
pub(super) fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

/// A series as a table: what its pictures show.
fn points(f: &mut fmt::Formatter<'_>, run: &Measured) -> fmt::Result {
    let Some(axis) = Axis::ALL.into_iter().find(|axis| axis.name() == run.case) else {
        return Ok(());
    };
    let lines = axis.panels().iter().flat_map(|panel| panel.lines);
    let names: Vec<&str> = lines.map(|(name, _)| *name).collect();
    writeln!(f, "\n{} on {}, round {}:\n", run.case, run.broker, run.round)?;
    writeln!(f, "| {} | {} |", axis.label(), names.join(" | "))?;
    writeln!(f, "|{}", "---|".repeat(names.len() + 1))?;
    for point in &run.series {
        let shown = |name: &&str| {
            point
                .figures
                .get(*name)
                .map_or_else(|| "-".to_owned(), |&value| unit(name, value))
        };
        let cells: Vec<String> = names.iter().map(shown).collect();
        writeln!(f, "| {} | {} |", point.at, cells.join(" | "))?;
    }
    Ok(())
}

/// A run in one line.
pub fn line(figures: &Figures) -> String {
    let shown = figures
        .iter()
        .map(|(name, &value)| format!("{name} {}", unit(name, value)));
    shown.collect::<Vec<_>>().join(", ")
}

fn shown(name: &str, spread: Spread) -> String {
    format!("{name} {}", spread_of(name, spread))
}

fn spread_of(name: &str, spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    if min == max {
        return unit(name, median);
    }
    format!("{} [{}-{}]", unit(name, median), unit(name, min), unit(name, max))
}

/// A value as its name says it is to be read.
pub fn unit(name: &str, value: f64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    if name.contains("bytes") && value >= MIB {
        return format!(
            "{:.1} MiB{}",
            value / MIB,
            if name.ends_with("_per_second") { "/s" } else { "" }
        );
    }
    if name.ends_with("_per_second") {
        return format!("{}/s", rate(value));
    }
    let with = |unit: &str| format!("{} {unit}", significant(value));
    match name {
        name if name.contains("_us_per_") || name.ends_with("_us") => with("us"),
        name if name.ends_with("_ms") => with("ms"),
        name if name.ends_with("_seconds") => with("s"),
        name if name.contains("bytes") => with("B"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => significant(value),
    }
}

/// The brokers of a suite, without the machine.
pub fn brokers(results: &Results) -> Vec<&str> {
    let mut brokers: Vec<&str> = Vec::new();
    for run in &results.measured {
        let broker = run.broker.as_str();
        if broker != MACHINE && !brokers.contains(&broker) {
            brokers.push(broker);
        }
    }
    brokers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_could_not_be_measured_is_told_and_is_no_success() {
        let mut results = Results::new("abc", 1.0);
        assert!(results.passed());
        results.fail(
            &Case::Start,
            &anyhow::anyhow!("no room").context("start on everack"),
        );
        assert!(!results.passed());
        let text = results.to_string();
        assert!(
            text.contains("FAILED: start: start on everack: no room"),
            "{text}"
        );
    }

    #[test]
    fn values_are_told_with_their_units() {
        for (name, value, text) in [
            ("cpu_us_per_message", 0.0745, "0.074 us"),
            ("confirm_p50_us", 950.0, "950 us"),
            ("ready_ms", 21.4, "21.4 ms"),
            ("received_per_second", 13_590_000.0, "13.59M/s"),
            ("idle_bytes", 9.5 * 1_048_576.0, "9.5 MiB"),
            ("held_bytes_per_binding", 180.0, "180 B"),
            ("copy_bytes_per_second", 17.0 * 1_048_576.0, "17.0 MiB/s"),
            ("backlog_messages", 1000.0, "1000"),
        ] {
            assert_eq!(unit(name, value), text, "{name}");
        }
    }
}
