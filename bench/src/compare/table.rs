//! The result of a comparison as a Markdown table.

use std::fmt;

use serde::Serialize;

use super::floor::Floor;
use crate::report::{Latency, Report, micros, rate, significant};

/// Above so much work by others, in CPU cores, a machine is not quiet.
const QUIET_CORES_MAX: f64 = 0.15;

/// Middle, least and most of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }

    fn show(self, number: impl Fn(f64) -> String) -> String {
        format!(
            "{} [{}-{}]",
            number(self.median),
            number(self.min),
            number(self.max)
        )
    }
}

/// All runs of one workload on one broker.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The workload.
    pub workload: String,
    /// The broker's name in this comparison.
    pub broker: String,
    /// Messages received a second.
    pub received_per_second: Spread,
    /// CPU a message in microseconds, if the process is known.
    pub cpu_us_per_message: Option<Spread>,
    /// How many cores others kept busy: the noise.
    pub others_cpu_cores: Spread,
    /// Every run.
    pub runs: Vec<Report>,
}

impl Row {
    /// At least one run is needed.
    pub fn new(workload: &str, broker: &str, runs: Vec<Report>) -> Self {
        const SOME: &str = "a row has runs";
        let cpu = runs
            .iter()
            .filter_map(|run| Some(run.broker_process?.cpu_us_per_message));
        Self {
            workload: workload.to_owned(),
            broker: broker.to_owned(),
            received_per_second: Spread::of(runs.iter().map(|run| run.received_per_second)).expect(SOME),
            cpu_us_per_message: Spread::of(cpu),
            others_cpu_cores: Spread::of(runs.iter().map(|run| run.others_cpu_cores)).expect(SOME),
            runs,
        }
    }

    fn latency(&self, of: impl Fn(&Report) -> Option<Latency>) -> String {
        let part = |part: fn(&Latency) -> f64| {
            Spread::of(self.runs.iter().filter_map(&of).map(|latency| part(&latency)))
        };
        match (part(|latency| latency.p50), part(|latency| latency.p99)) {
            (Some(p50), Some(p99)) => format!("{} / {}", micros(p50.median), micros(p99.median)),
            _ => "-".to_owned(),
        }
    }

    fn resident(&self) -> String {
        let bytes = self
            .runs
            .iter()
            .filter_map(|run| Some(run.broker_process?.resident_bytes_max as f64));
        Spread::of(bytes).map_or("-".to_owned(), |bytes| {
            format!("{:.0}", bytes.max / (1 << 20) as f64)
        })
    }
}

/// How one broker stands against the baseline on one workload.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// The workload.
    pub workload: String,
    /// The broker.
    pub broker: String,
    /// Times the baseline's throughput.
    pub throughput: f64,
    /// The baseline's CPU a message divided by this one's.
    pub cpu_divisor: Option<f64>,
    /// What was asked for.
    pub floor: Option<Floor>,
    /// The floor is reached; true where there is none.
    pub met: bool,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Against whom.
    pub baseline: String,
    /// All figures.
    pub rows: Vec<Row>,
    /// All ratios.
    pub ratios: Vec<Ratio>,
}

impl Comparison {
    /// Works out the ratios of every broker to the baseline.
    pub fn new(rows: Vec<Row>, baseline: &str, floors: &[Floor]) -> Self {
        let mut ratios = Vec::new();
        for row in rows.iter().filter(|row| row.broker != baseline) {
            let of_baseline = |other: &&Row| other.broker == baseline && other.workload == row.workload;
            let Some(base) = rows.iter().find(of_baseline) else {
                continue;
            };
            let floor = floors.iter().find(|floor| floor.workload == row.workload);
            ratios.push(Ratio::new(row, base, floor));
        }
        Self {
            baseline: baseline.to_owned(),
            rows,
            ratios,
        }
    }

    /// Every floor is reached and no run had a problem.
    pub fn passed(&self) -> bool {
        let sound = self
            .rows
            .iter()
            .flat_map(|row| &row.runs)
            .all(|run| run.problems.is_empty());
        sound && self.ratios.iter().all(|ratio| ratio.met)
    }
}

impl Ratio {
    fn new(row: &Row, base: &Row, floor: Option<&Floor>) -> Self {
        let throughput = row.received_per_second.median / base.received_per_second.median;
        let cpu_divisor = match (row.cpu_us_per_message, base.cpu_us_per_message) {
            (Some(cpu), Some(base)) => Some(base.median / cpu.median),
            _ => None,
        };
        let met = floor.is_none_or(|floor| {
            throughput >= floor.throughput_min
                && cpu_divisor.is_some_and(|divisor| divisor >= floor.cpu_divisor_min)
        });
        Self {
            workload: row.workload.clone(),
            broker: row.broker.clone(),
            throughput,
            cpu_divisor,
            floor: floor.cloned(),
            met,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| workload | broker | received/s, median [min-max] | CPU us a message | confirm p50 / p99 | \
             end to end p50 / p99 | MiB | others' cores |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                row.workload,
                row.broker,
                row.received_per_second.show(rate),
                row.cpu_us_per_message
                    .map_or("-".to_owned(), |cpu| cpu.show(significant)),
                row.latency(|run| run.confirm_us),
                row.latency(|run| run.end_to_end_us),
                row.resident(),
                row.others_cpu_cores.show(|cores| format!("{cores:.2}")),
            )?;
        }
        if !self.ratios.is_empty() {
            let base = &self.baseline;
            writeln!(
                f,
                "\n| workload | broker | throughput, {base} = 1 | CPU a message, {base} = 1 | floor |"
            )?;
            writeln!(f, "|---|---|---|---|---|")?;
        }
        for ratio in &self.ratios {
            writeln!(f, "{ratio}")?;
        }
        let others = self
            .rows
            .iter()
            .map(|row| row.others_cpu_cores.median)
            .fold(0.0, f64::max);
        if others > QUIET_CORES_MAX {
            writeln!(
                f,
                "\nOthers kept up to {others:.2} cores of this machine busy: rates are lower bounds and latencies upper \
                 bounds; CPU a message hardly depends on it."
            )?;
        }
        for row in &self.rows {
            for problem in row.runs.iter().flat_map(|run| &run.problems) {
                writeln!(f, "\nPROBLEM: {} on {}: {problem}", row.workload, row.broker)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = self
            .cpu_divisor
            .map_or("-".to_owned(), |divisor| format!("1/{divisor:.1}"));
        let floor = match &self.floor {
            Some(floor) => {
                let verdict = if self.met { "met" } else { "MISSED" };
                format!(
                    "{}x, 1/{}: {verdict}",
                    floor.throughput_min, floor.cpu_divisor_min
                )
            }
            None => "-".to_owned(),
        };
        write!(
            f,
            "| {} | {} | {:.1}x | {cpu} | {floor} |",
            self.workload, self.broker, self.throughput
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            Spread::of([4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
    }
}
