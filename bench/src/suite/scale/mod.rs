//! How what a message costs grows with what there is of something: one case an axis, a series of points, each measured as the workloads are.
//!
//! | room | what it does |
//! |---|---|
//! | [`loads`] | the axes that are a workload, changed in one place |
//! | [`bindings`] | bindings of a direct and a topic exchange |
//! | [`cores`] | processors that the broker may use |

mod bindings;
mod cores;
mod loads;

use serde::Serialize;

use super::Figures;
use super::case::{Found, Setting};
use crate::peer::Peer;

/// What there is more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Queues, all of them published to and consumed from by one pair.
    Queues,
    /// Connections, half of them publishing and half consuming, 20,000 messages/s together.
    Connections,
    /// Bindings of one exchange; each message matches one.
    Bindings,
    /// Messages that lie in a durable queue.
    Backlog,
    /// Bytes of a message.
    Size,
    /// Processors that the broker may use.
    Cores,
}

/// One measurement of a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Where on the axis.
    pub at: f64,
    /// What was found there.
    pub figures: Figures,
}

/// One picture of a series: lines that have an axis in common.
#[derive(Debug)]
pub struct Panel {
    /// What it shows.
    pub title: &'static str,
    /// The figure of each line, and what it is called.
    pub lines: &'static [(&'static str, &'static str)],
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Queues,
        Self::Connections,
        Self::Bindings,
        Self::Backlog,
        Self::Size,
        Self::Cores,
    ];

    /// The case's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queues => "scale-queues",
            Self::Connections => "scale-connections",
            Self::Bindings => "scale-bindings",
            Self::Backlog => "scale-backlog",
            Self::Size => "scale-size",
            Self::Cores => "scale-cores",
        }
    }

    /// What its points count.
    pub fn label(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Connections => "connections",
            Self::Bindings => "bindings",
            Self::Backlog => "messages in the queue",
            Self::Size => "bytes a message",
            Self::Cores => "cores",
        }
    }

    /// Where it is measured at full scale.
    fn points(self) -> &'static [u64] {
        match self {
            Self::Queues => &[1, 10, 100, 1_000, 10_000, 100_000],
            Self::Connections => &[2, 20, 200, 2_000, 20_000],
            Self::Bindings => &[1, 100, 10_000, 100_000, 1_000_000],
            Self::Backlog => &[100_000, 1_000_000, 5_000_000, 20_000_000],
            Self::Size => &[16, 256, 4 << 10, 64 << 10, 1 << 20],
            Self::Cores => &[1, 2, 4, 8, 16, 32, 64],
        }
    }

    /// Where it is measured at this scale: a part of everything, but for what a trial of has to be the same thing.
    fn points_at(self, setting: &Setting<'_>) -> Vec<u64> {
        let points = self.points().iter().copied();
        let mut points: Vec<u64> = match self {
            Self::Cores => points.filter(|&cores| cores <= cores::there_are()).collect(),
            Self::Size => points.collect(),
            // Half of them publish, half consume.
            Self::Connections => points.map(|count| setting.scaled(count).max(2)).collect(),
            _ => points.map(|count| setting.scaled(count)).collect(),
        };
        points.dedup();
        points
    }

    /// The pictures of its series.
    pub fn panels(self) -> &'static [Panel] {
        match self {
            Self::Queues => &QUEUES,
            Self::Connections => &CONNECTIONS,
            Self::Bindings => &BINDINGS,
            Self::Backlog => &BACKLOG,
            Self::Size => &SIZE,
            Self::Cores => &CORES,
        }
    }

    /// Measures every point. The figures of the case are those of the last one, which is the largest.
    pub fn measure(self, peer: &mut Peer, setting: &Setting<'_>) -> anyhow::Result<Found> {
        let mut found = match self {
            Self::Bindings => bindings::measure(peer, &self.points_at(setting))?,
            Self::Cores => cores::measure(peer, setting, &self.points_at(setting))?,
            Self::Queues | Self::Connections | Self::Backlog | Self::Size => {
                loads::measure(self, peer, setting, &self.points_at(setting))?
            }
        };
        if let Some(last) = found.series.last() {
            found.figures = last.figures.clone();
        }
        Ok(found)
    }
}

const CPU: &str = "Broker CPU a message";
const MEMORY: &str = "Resident memory";

const QUEUES: [Panel; 3] = [
    Panel {
        title: CPU,
        lines: &[("cpu_us_per_message", "window 1000, no-ack")],
    },
    Panel {
        title: "Confirm latency, window 1000",
        lines: &[("confirm_p50_us", "p50"), ("confirm_p99_us", "p99")],
    },
    Panel {
        title: MEMORY,
        lines: &[("resident_bytes_max", "all of it")],
    },
];

const CONNECTIONS: [Panel; 3] = [
    Panel {
        title: CPU,
        lines: &[("cpu_us_per_message", "20,000/s, acked one by one")],
    },
    Panel {
        title: "Publish to delivery",
        lines: &[("end_to_end_p50_us", "p50"), ("end_to_end_p99_us", "p99")],
    },
    Panel {
        title: MEMORY,
        lines: &[("resident_bytes_max", "all of it")],
    },
];

const BINDINGS: [Panel; 2] = [
    Panel {
        title: "Broker CPU a message, routing included",
        lines: &[
            ("direct_cpu_us_per_message", "direct"),
            ("topic_cpu_us_per_message", "topic"),
        ],
    },
    Panel {
        title: MEMORY,
        lines: &[
            ("direct_resident_bytes", "direct"),
            ("topic_resident_bytes", "topic"),
        ],
    },
];

const BACKLOG: [Panel; 2] = [
    Panel {
        title: CPU,
        lines: &[
            ("publish_cpu_us_per_message", "piling up"),
            ("drain_cpu_us_per_message", "draining"),
        ],
    },
    Panel {
        title: MEMORY,
        lines: &[("resident_bytes_max", "at most, all of it")],
    },
];

const SIZE: [Panel; 3] = [
    Panel {
        title: CPU,
        lines: &[
            ("transient_cpu_us_per_message", "transient"),
            ("durable_cpu_us_per_message", "durable"),
        ],
    },
    Panel {
        title: "Body bytes received a second",
        lines: &[
            ("transient_body_bytes_per_second", "transient"),
            ("durable_body_bytes_per_second", "durable"),
        ],
    },
    Panel {
        title: "Confirm latency, p50",
        lines: &[
            ("transient_confirm_p50_us", "transient"),
            ("durable_confirm_p50_us", "durable"),
        ],
    },
];

const CORES: [Panel; 2] = [
    Panel {
        title: "Messages received a second",
        lines: &[
            ("w1c_received_per_second", "w1c"),
            ("w2_received_per_second", "w2"),
            ("w5_received_per_second", "w5"),
            ("w5d_received_per_second", "w5d"),
        ],
    },
    Panel {
        title: CPU,
        lines: &[
            ("w1c_cpu_us_per_message", "w1c"),
            ("w2_cpu_us_per_message", "w2"),
            ("w5_cpu_us_per_message", "w5"),
            ("w5d_cpu_us_per_message", "w5d"),
        ],
    },
];
