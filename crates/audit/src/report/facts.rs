//! What was run, against what, on what: kept beside the journal, so that it can be judged and told again.

use crate::verdict::{Promises, SettleBound};
use anyhow::Context;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file beside the journal.
const FILE: &str = "run.json";

/// What was run.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The command line.
    pub(crate) command: String,
    pub(crate) seed: u64,
    /// Who the broker said that it is.
    pub(crate) product: String,
    pub(crate) version: String,
    pub(crate) queue_type: String,
    pub(crate) promises: Promises,
    /// Seconds since 1970 at the beginning.
    pub(crate) begun: u64,
    pub(crate) machine: Machine,
    pub(crate) connections_lost: u64,
}

/// Where it ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// The file system of the journal.
    pub(crate) file_system: String,
}

impl Facts {
    /// Keeps it beside the journal.
    pub(crate) fn save(&self, journals: &Path) -> anyhow::Result<()> {
        let path = journals.join(FILE);
        let text = serde_json::to_string_pretty(&self.to_json())?;
        fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads what was kept.
    pub(crate) fn load(journals: &Path) -> anyhow::Result<Self> {
        let path = journals.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let value: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| value[key].as_u64().unwrap_or_default();
        let machine = &value["machine"];
        let of_machine = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            command: text("command"),
            seed: number("seed"),
            product: text("product"),
            version: text("version"),
            queue_type: text("queue_type"),
            promises: Promises {
                settle: match value["settle_bound_ms"].as_f64() {
                    Some(millis) => SettleBound::After(Duration::from_secs_f64(millis.clamp(0.0, 1e9) / 1e3)),
                    None => SettleBound::None,
                },
                atomic_over_queues: value["atomic_over_queues"].as_bool().unwrap_or_default(),
            },
            begun: number("begun_unix_seconds"),
            connections_lost: number("connections_lost"),
            machine: Machine {
                processor: of_machine("processor"),
                cores: machine["cores"].as_u64().unwrap_or_default() as usize,
                memory_bytes: machine["memory_bytes"].as_u64().unwrap_or_default(),
                kernel: of_machine("kernel"),
                file_system: of_machine("journal_file_system"),
            },
        })
    }

    /// All of it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "command": self.command,
            "seed": self.seed,
            "product": self.product,
            "version": self.version,
            "queue_type": self.queue_type,
            "atomic_over_queues": self.promises.atomic_over_queues,
            "settle_bound_ms": match self.promises.settle {
                SettleBound::After(bound) => json!(bound.as_secs_f64() * 1e3),
                SettleBound::None => Value::Null,
            },
            "begun_unix_seconds": self.begun,
            "connections_lost": self.connections_lost,
            "machine": {
                "processor": self.machine.processor,
                "cores": self.machine.cores,
                "memory_bytes": self.machine.memory_bytes,
                "kernel": self.machine.kernel,
                "journal_file_system": self.machine.file_system,
            },
        })
    }
}

/// The command line of this process, so that it can be given to a shell again.
pub(crate) fn command_line() -> String {
    let words = std::env::args().enumerate().map(|(at, word)| match at {
        // Where the binary lies says nothing.
        0 => word.rsplit('/').next().unwrap_or(&word).to_owned(),
        _ if word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_=,.:/@%*+".contains(c)) =>
        {
            word
        }
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Machine {
    /// This machine, as far as it tells.
    pub(crate) fn this(journals: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory.unwrap_or_default() * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(journals, &read("/proc/self/mounts")).unwrap_or_default(),
        }
    }
}

/// The type of the file system that a path lies in: that of the longest mount point above it.
fn file_system(path: &Path, mounts: &str) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    above.max().map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts {
            command: "everack audit --seed 1".into(),
            seed: 1,
            product: "RabbitMQ".into(),
            version: "3.10.8".into(),
            queue_type: "quorum".into(),
            promises: Promises {
                settle: SettleBound::After(Duration::from_millis(10)),
                atomic_over_queues: true,
            },
            begun: now(),
            connections_lost: 2,
            machine: Machine::this(folder.path()),
        };
        facts.save(folder.path()).unwrap();
        assert_eq!(Facts::load(folder.path()).unwrap().to_json(), facts.to_json());
        assert!(facts.machine.cores > 0);
    }

    #[test]
    fn the_nearest_mount_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        let mounts = format!(
            "a / ext4 rw 0 0\nb {} xfs rw 0 0\nc /nowhere tmpfs rw 0 0\n",
            at.display()
        );
        assert_eq!(file_system(folder.path(), &mounts).as_deref(), Some("xfs"));
    }
}
