//! What is measured: a workload is a full description of the work, so that the same work can be put on any broker.
//! The named ones are those of our table in `docs/performance/`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What kind of queue is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// Gone after a restart of the broker.
    Transient,
    /// A durable classic queue.
    Durable,
    /// A durable queue with `x-queue-type: quorum`.
    Quorum,
}

/// How a consumer acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Not at all: it consumes with no-ack.
    None,
    /// Every delivery by itself.
    Each,
    /// So many deliveries with one `multiple`; what is left over when nothing comes for 10 ms is acknowledged then.
    Multiple(NonZeroU32),
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "each" => Ok(Self::Each),
            number => number
                .parse()
                .map(Self::Multiple)
                .map_err(|_| "none, each, or how many deliveries go with one multiple ack".to_owned()),
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Each => formatter.write_str("each"),
            Self::Multiple(count) => write!(formatter, "{count}"),
        }
    }
}

impl Serialize for Ack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The work of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// What it is called in tables.
    pub name: String,
    /// Publishing connections.
    pub producers: u16,
    /// Consuming connections; 0 leaves everything in the queues.
    pub consumers: u16,
    /// Queues. Producers and consumers are dealt out to them in turn.
    pub queues: u32,
    /// Body sizes in bytes, taken in turn.
    pub sizes: Vec<u32>,
    /// Delivery mode 2.
    pub persistent: bool,
    /// Messages carry five headers, a content type, a priority and an hour to live, and go through an exchange with ten routing
    /// keys a queue, in turn.
    pub dressed: bool,
    /// What the queues are.
    pub queue: QueueKind,
    /// Publishes a producer may have unconfirmed; 0 is no confirms.
    pub window: u32,
    /// How consumers acknowledge.
    pub ack: Ack,
    /// Deliveries a consumer may have unacknowledged; 0 is no limit. Says nothing with no-ack.
    pub prefetch: u16,
    /// Messages a second of all producers together; 0 is as fast as it goes.
    pub rate: f64,
    /// Every message goes to every queue through a fanout exchange.
    pub fanout: bool,
    /// Ask for returns.
    pub mandatory: bool,
    /// Producers wait while so many messages are published and not received; 0 lets the backlog grow.
    pub backlog_max: u64,
    /// First publish so many messages with nobody consuming, then drain them; 0 does both at the same time.
    pub backlog: u64,
}

impl Default for Workload {
    /// One publisher, one consumer, 16 B, transient, no-ack: W1a.
    fn default() -> Self {
        Self {
            name: "custom".to_owned(),
            producers: 1,
            consumers: 1,
            queues: 1,
            sizes: vec![16],
            persistent: false,
            dressed: false,
            queue: QueueKind::Transient,
            window: 0,
            ack: Ack::None,
            prefetch: 0,
            rate: 0.0,
            fanout: false,
            mandatory: false,
            backlog_max: 0,
            backlog: 0,
        }
    }
}

/// The named workloads with one line about each, in the order of the table.
pub const NAMES: &[(&str, &str)] = &[
    ("w1a", "1 publisher, 1 consumer, 16 B, transient, no-ack"),
    ("w1b", "as w1a, 1 KiB"),
    ("w1c", "as w1a, confirms with a window of 1000"),
    (
        "w2",
        "1 KiB persistent, durable queue, confirms (window 1000), manual ack (100 at a time), prefetch 1000",
    ),
    ("w3", "as w2, quorum queue"),
    ("w4", "as w2, confirm window 1, acked one by one: latency"),
    (
        "w5",
        "100 queues, 100 publishers, 100 consumers, 16 B, transient, confirms (window 100), no-ack",
    ),
    (
        "w5d",
        "as w5, 1 KiB persistent, durable queues, manual ack (10 at a time), prefetch 100",
    ),
    (
        "w6",
        "1,000,000 x 100 B persistent piled up in a durable queue (confirms, window 1000), then drained (manual ack)",
    ),
    (
        "w8",
        "1 publisher, fanout to 10 queues with a consumer each, 16 B, transient, no-ack; counts deliveries",
    ),
    ("window1", "16 B transient, 1 pair, confirm window 1"),
    ("window10", "as window1, window 10"),
    ("window100", "as window1, window 100"),
    ("pairs50", "16 B transient, 50 pairs, confirm window 1"),
    (
        "rate20k",
        "16 B transient, 50 pairs, 20,000 messages/s together, confirms, acked one by one",
    ),
];

/// What is put behind a workload's name for messages as they are in real life.
const REAL: &str = "-real";

impl Workload {
    /// The workload of that name. With `-real` behind it, the same with what real messages carry, in three sizes around the plain one.
    pub fn named(name: &str) -> Option<Self> {
        let Some(plain) = name.strip_suffix(REAL) else {
            return Self::plain(name);
        };
        Some(Self::plain(plain)?.dressed(name))
    }

    fn dressed(self, name: &str) -> Self {
        let around = |size: u32| [size, size * 5 / 4, size * 2];
        Self {
            name: name.to_owned(),
            sizes: self.sizes.iter().flat_map(|&size| around(size)).collect(),
            dressed: true,
            ..self
        }
    }

    fn plain(name: &str) -> Option<Self> {
        let batch = |count| Ack::Multiple(NonZeroU32::new(count).expect("a batch is not empty"));
        let base = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let w2 = Self {
            sizes: vec![1024],
            persistent: true,
            queue: QueueKind::Durable,
            window: 1000,
            ack: batch(100),
            prefetch: 1000,
            ..base.clone()
        };
        let w5 = Self {
            producers: 100,
            consumers: 100,
            queues: 100,
            window: 100,
            ..base.clone()
        };
        let pairs = Self {
            producers: 50,
            consumers: 50,
            queues: 50,
            window: 1,
            ..base.clone()
        };
        Some(match name {
            "w1a" => base,
            "w1b" => Self {
                sizes: vec![1024],
                ..base
            },
            "w1c" => Self { window: 1000, ..base },
            "w2" => w2,
            "w3" => Self {
                queue: QueueKind::Quorum,
                ..w2
            },
            "w4" => Self {
                window: 1,
                ack: Ack::Each,
                ..w2
            },
            "w5" => w5,
            "w5d" => Self {
                sizes: vec![1024],
                persistent: true,
                queue: QueueKind::Durable,
                ack: batch(10),
                prefetch: 100,
                ..w5
            },
            "w6" => Self {
                sizes: vec![100],
                backlog: 1_000_000,
                ..w2
            },
            "w8" => Self {
                consumers: 10,
                queues: 10,
                fanout: true,
                ..base
            },
            "window1" => Self { window: 1, ..base },
            "window10" => Self { window: 10, ..base },
            "window100" => Self { window: 100, ..base },
            "pairs50" => pairs,
            "rate20k" => Self {
                window: 100,
                rate: 20_000.0,
                ack: Ack::Each,
                prefetch: 100,
                ..pairs
            },
            _ => return None,
        })
    }

    /// How many times each published message is to be received.
    pub fn copies(&self) -> u64 {
        if self.fanout { u64::from(self.queues) } else { 1 }
    }

    /// Which queues producer `index` publishes to, or consumer `index` (of `clients`) takes from: with fewer clients
    /// than queues each has several, with more of them several share one.
    pub fn queues_of(&self, index: u16, clients: u16) -> Vec<u32> {
        let (index, clients) = (u32::from(index), u32::from(clients));
        if clients >= self.queues {
            return vec![index % self.queues];
        }
        (0..self.queues)
            .filter(|queue| queue % clients == index)
            .collect()
    }

    /// What is wrong with it, if something is.
    pub fn validate(&self) -> Result<(), String> {
        let deadlock = |batch: u32| self.prefetch > 0 && batch > u32::from(self.prefetch);
        match self {
            Self { producers: 0, .. } => Err("at least one producer is needed".to_owned()),
            Self { queues: 0, .. } => Err("at least one queue is needed".to_owned()),
            Self { sizes, .. } if sizes.is_empty() => Err("at least one message size is needed".to_owned()),
            Self { sizes, .. } if sizes.iter().any(|&size| size > 128 << 20) => {
                Err("a message of more than 128 MiB".to_owned())
            }
            Self { rate, .. } if !rate.is_finite() || *rate < 0.0 => {
                Err("the rate is not a number".to_owned())
            }
            Self { window, .. } if *window > 1 << 24 => Err("a confirm window above 16 million".to_owned()),
            Self {
                ack: Ack::Multiple(batch),
                ..
            } if deadlock(batch.get()) => {
                Err("acks wait for more deliveries than the prefetch allows".to_owned())
            }
            Self {
                backlog: 1..,
                consumers: 0,
                ..
            } => Err("a backlog needs consumers that drain it".to_owned()),
            Self {
                backlog: 1..,
                backlog_max: 1..,
                ..
            } => Err("a backlog that is piled up cannot be bounded".to_owned()),
            Self {
                backlog_max: 1..,
                consumers: 0,
                ..
            } => Err("a bounded backlog needs consumers that take it down".to_owned()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_sound_workload() {
        for (name, _) in NAMES {
            let workload = Workload::named(name).expect("a listed name is known");
            assert_eq!(workload.validate(), Ok(()), "{name}");
            assert_eq!(workload.name, *name);
            let real = Workload::named(&format!("{name}-real")).expect("each can be dressed");
            assert_eq!((real.validate(), real.dressed), (Ok(()), true), "{name}");
        }
        assert_eq!(Workload::named("w99"), None);
    }

    #[test]
    fn queues_are_dealt_out() {
        let workload = Workload {
            queues: 5,
            ..Workload::default()
        };
        assert_eq!(workload.queues_of(0, 2), [0, 2, 4]);
        assert_eq!(workload.queues_of(1, 2), [1, 3]);
        assert_eq!(workload.queues_of(7, 8), [2]);
    }

    #[test]
    fn acks_read_as_they_print() {
        for text in ["none", "each", "100"] {
            assert_eq!(
                text.parse::<Ack>().map(|ack| ack.to_string()),
                Ok(text.to_owned())
            );
        }
        assert!("0".parse::<Ack>().is_err());
        assert!("some".parse::<Ack>().is_err());
    }

    #[test]
    fn a_batch_beyond_the_prefetch_is_refused() {
        let workload = Workload {
            prefetch: 10,
            ..Workload::named("w2").expect("w2 is known")
        };
        assert!(workload.validate().is_err());
    }
}
