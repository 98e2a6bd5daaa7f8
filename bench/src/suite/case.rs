//! One thing to measure.

use std::fmt;
use std::str::FromStr;

use anyhow::{anyhow, bail};

use super::scale::{Axis, Point};
use super::{Figures, bindings, connections, crowd, declares, fairness, restart, start};
use crate::args::HowArgs;
use crate::measure;
use crate::peer::Peer;
use crate::report::{Latency, Report};
use crate::workload::{NAMES, QueueKind, Workload};

/// Messages of the backlog that the targets are about.
const BACKLOG: u64 = 10_000_000;
/// RabbitMQ needs minutes for more.
const BACKLOG_OF_RABBITMQ: u64 = 1_000_000;

/// What is measured once on one broker.
#[derive(Clone, Debug, PartialEq)]
pub enum Case {
    /// A workload.
    Load(Workload),
    /// From the start of the process to the first connection, and what it uses when nobody wants anything.
    Start,
    /// Many connections with a channel each.
    Connections,
    /// Many durable queues, declared without and with waiting for the answers.
    Declares,
    /// Many bindings of a topic exchange, and messages routed by them.
    Bindings,
    /// A large backlog through a crash.
    Restart,
    /// Thousands of queues and connections, looked at through the management API while messages flow.
    Crowd,
    /// Modest clients beside greedy ones; messages of this kind.
    Fairness(QueueKind),
    /// A series: more and more of something.
    Scale(Axis),
}

/// What one run of a case found out.
#[derive(Debug, Default)]
pub struct Found {
    /// Of the whole.
    pub figures: Figures,
    /// Point by point, if the case is a series.
    pub series: Vec<Point>,
    /// What must not have happened.
    pub problems: Vec<String>,
}

impl Found {
    /// Takes over the figures of a part into `figures`, each with `prefix` before its name, and its problems.
    pub fn take(&mut self, prefix: &str, part: Self, figures: &mut Figures) {
        let named = part.figures.into_iter();
        figures.extend(named.map(|(name, value)| (format!("{prefix}{name}"), value)));
        self.problems.extend(part.problems);
    }
}

/// How a case is measured.
pub struct Setting<'a> {
    /// Durations and threads.
    pub how: &'a HowArgs,
    /// The part of the full size of what is large: 1 is all.
    pub scale: f64,
}

impl Setting<'_> {
    /// So many things at this scale, one at least.
    pub fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }
}

impl Case {
    const OTHERS: [Self; 8] = [
        Self::Start,
        Self::Connections,
        Self::Declares,
        Self::Bindings,
        Self::Restart,
        Self::Crowd,
        Self::Fairness(QueueKind::Transient),
        Self::Fairness(QueueKind::Durable),
    ];

    /// Every case: the usual ones and the series.
    pub fn all() -> Vec<Self> {
        let series = Axis::ALL.into_iter().map(Self::Scale);
        Self::usual().into_iter().chain(series).collect()
    }

    /// What has a target, as a rule: each named workload, some of them with what real messages carry, and others.
    pub fn usual() -> Vec<Self> {
        const REAL: [&str; 6] = [
            "w1a-real", "w1c-real", "w2-real", "w5-real", "w5d-real", "w8-real",
        ];
        let names = NAMES.iter().map(|(name, _)| *name).chain(REAL);
        let loads = names.filter_map(Workload::named).map(Self::Load);
        Self::OTHERS.into_iter().chain(loads).collect()
    }

    /// Whether RabbitMQ can do it in a bearable time.
    pub fn suits_rabbitmq(&self) -> bool {
        !matches!(
            self,
            Self::Bindings
                | Self::Restart
                | Self::Connections
                | Self::Crowd
                | Self::Fairness(_)
                | Self::Scale(_)
        )
    }

    /// Whether the fake broker of [`crate::echo`] can stand in for one: it keeps nothing and routes nothing.
    pub fn suits_echo(&self) -> bool {
        matches!(self, Self::Load(workload) if !workload.persistent && !workload.fanout && !workload.dressed)
    }

    /// Whether what the machine itself can do says something about it: what is durable waits for the disk, and pays for it.
    pub fn needs_machine(&self) -> bool {
        matches!(self, Self::Load(workload) if workload.persistent && !workload.dressed && workload.backlog == 0)
    }

    /// Whether what the process did before shows in it. One that has had as much memory before takes it from what it kept; one that
    /// has only just started gives back meanwhile what its start took; and who starts behind one that was killed while it still wrote
    /// its first spare over waits for the disk.
    pub fn needs_rested_process(&self) -> bool {
        match self {
            Self::Load(workload) => workload.backlog > 0,
            Self::Start | Self::Connections | Self::Bindings | Self::Scale(_) => true,
            Self::Declares | Self::Restart | Self::Crowd | Self::Fairness(_) => false,
        }
    }

    /// Measures it on a broker.
    pub fn run(&self, peer: &mut Peer, setting: &Setting<'_>) -> anyhow::Result<Found> {
        let figures = match self {
            Self::Load(workload) => return load(&full(workload, peer, setting), peer, setting),
            Self::Start => start::measure(peer)?,
            Self::Connections => connections::measure(peer, setting)?,
            Self::Declares => declares::measure(peer, setting)?,
            Self::Bindings => bindings::measure(peer, setting)?,
            Self::Restart => restart::measure(peer, setting, BACKLOG)?,
            Self::Crowd => crowd::measure(peer, setting)?,
            Self::Fairness(kind) => return fairness::measure(peer, setting, *kind),
            Self::Scale(axis) => return axis.measure(peer, setting),
        };
        Ok(Found {
            figures,
            ..Found::default()
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load(workload) => &workload.name,
            Self::Start => "start",
            Self::Connections => "connections",
            Self::Declares => "declares",
            Self::Bindings => "bindings",
            Self::Restart => "restart",
            Self::Crowd => "crowd",
            Self::Fairness(QueueKind::Transient) => "fairness",
            Self::Fairness(_) => "fairness-durable",
            Self::Scale(axis) => axis.name(),
        })
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, anyhow::Error> {
        let series = Axis::ALL.map(Self::Scale);
        let others = Self::OTHERS.iter().chain(&series);
        if let Some(other) = others.into_iter().find(|case| case.to_string() == text) {
            return Ok(other.clone());
        }
        match Workload::named(text) {
            Some(workload) => Ok(Self::Load(workload)),
            None => bail!("there is no case {text}; `--case list` prints them"),
        }
    }
}

/// A named workload at this scale: with the backlog that the targets are about, if it has one.
fn full(workload: &Workload, peer: &Peer, setting: &Setting<'_>) -> Workload {
    let full = match peer.name() {
        "rabbitmq" => BACKLOG_OF_RABBITMQ,
        _ => BACKLOG,
    };
    Workload {
        backlog: if workload.backlog > 0 {
            setting.scaled(full)
        } else {
            0
        },
        ..workload.clone()
    }
}

/// Puts a workload on a broker.
pub(super) fn load(workload: &Workload, peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<Found> {
    let before = crate::process::resident(peer.pid());
    let plan = setting.how.plan(peer.url().clone(), Some(peer.pid()))?;
    let report = measure::measure(workload, &plan)?;
    Ok(Found {
        figures: figures(&report, before).ok_or_else(|| anyhow!("the broker's process is not known"))?,
        series: Vec::new(),
        problems: report.problems,
    })
}

/// A report's figures by name.
fn figures(report: &Report, resident_bytes_before: u64) -> Option<Figures> {
    let process = report.broker_process?;
    let mut figures = Figures::from([
        ("received_per_second".to_owned(), report.received_per_second),
        ("cpu_us_per_message".to_owned(), process.cpu_us_per_message),
        ("sleeps_per_message".to_owned(), process.sleeps_per_message),
        ("resident_bytes_max".to_owned(), process.resident_bytes_max as f64),
        ("others_cpu_cores".to_owned(), report.others_cpu_cores),
        ("stolen_cpu_cores".to_owned(), report.stolen_cpu_cores),
        (
            "generator_cpu_us_per_message".to_owned(),
            report.generator_cpu_us_per_message,
        ),
    ]);
    let mut latency = |name: &str, latency: Option<Latency>| {
        let Some(latency) = latency else { return };
        let quantiles = [("p50", latency.p50), ("p99", latency.p99), ("p999", latency.p999)];
        figures.extend(quantiles.map(|(quantile, us)| (format!("{name}_{quantile}_us"), us)));
    };
    latency("confirm", report.confirm_us);
    latency("end_to_end", report.end_to_end_us);
    if let Some(pile) = &report.pile {
        let held = pile.resident_bytes?.saturating_sub(resident_bytes_before);
        figures.extend([
            ("backlog_messages".to_owned(), pile.messages as f64),
            (
                "publish_cpu_us_per_message".to_owned(),
                pile.publish_cpu_us_per_message?,
            ),
            (
                "drain_cpu_us_per_message".to_owned(),
                pile.drain_cpu_us_per_message?,
            ),
            ("held_bytes".to_owned(), held as f64),
        ]);
    }
    Some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_found_by_its_name() {
        let all = Case::all();
        assert!(all.len() > 20);
        for case in all {
            assert_eq!(case.to_string().parse::<Case>().expect("it is known"), case);
        }
        assert!("w99".parse::<Case>().is_err());
    }
}
