//! The trail of administrative acts: changes over the management API, refused log-ins, reloaded configurations.
//!
//! Each is a line of the log with the target `audit`, and, if `audit.file` is set, a JSON object on a line of a file of its own, which
//! is moved aside when it is full. Who, from where, over what, which act, and what came of it; never a body, a parameter or a password.
//! An act that cannot be written down is carried out all the same, and the log says so.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use parking_lot::Mutex;
use serde_json::json;

use crate::config::keys;

/// Something that somebody did, or tried to.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The user; empty for the process itself.
    pub who: &'a str,
    /// The address that it came from; empty for the process itself.
    pub from: &'a str,
    /// `http`, `amqp091`, or `process`.
    pub over: &'a str,
    /// Which: a method and a path, `log in`, `reload`.
    pub what: &'a str,
    /// What came of it: a status, or why not.
    pub outcome: &'a str,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct AuditLog(Option<Mutex<Trail>>);

#[derive(Debug)]
struct Trail {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// Files that are kept besides the one that is written.
    kept: u64,
}

impl AuditLog {
    /// As configured; without a file, if none is.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(config: &keys::Audit) -> anyhow::Result<Self> {
        let Some(path) = config.file.get() else {
            return Ok(Self::default());
        };
        let trail = Trail::open(path, config.size_max.bytes(), config.files_max.get() - 1)
            .with_context(|| format!("audit.file: cannot open {}", path.display()))?;
        Ok(Self(Some(Mutex::new(trail))))
    }

    /// Writes an act down.
    pub fn record(&self, act: Act<'_>) {
        let Act {
            who,
            from,
            over,
            what,
            outcome,
        } = act;
        tracing::info!(target: "audit", who, from, over, what, outcome);
        let Some(trail) = &self.0 else {
            return;
        };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = json!({
            "at_ms": since_1970.as_millis() as u64,
            "who": who, "from": from, "over": over, "what": what, "outcome": outcome,
        });
        if let Err(error) = trail.lock().write(&format!("{line}\n")) {
            tracing::error!(%error, what, "an administrative act could not be written to audit.file");
        }
    }
}

impl Trail {
    fn open(path: &Path, bytes_max: u64, kept: u64) -> std::io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            bytes_max,
            kept,
        })
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.turn()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Begins a new file; the oldest of those that are kept goes.
    fn turn(&mut self) -> std::io::Result<()> {
        let aside = |number: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.kept).rev() {
            let older = aside(number);
            if older.exists() {
                std::fs::rename(older, aside(number + 1))?;
            }
        }
        if self.kept > 0 {
            std::fs::rename(&self.path, aside(1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

/// Readable by its owner alone: it tells who works here.
fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
    }

    #[test]
    fn full_files_are_moved_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let mut trail = Trail::open(&path, 20, 2).expect("it opens");
        for _ in 0..7 {
            trail.write("0123456\n").expect("it is written");
        }
        let aside = |number: u32| folder.path().join(format!("audit.jsonl.{number}"));
        assert_eq!((lines(&path), lines(&aside(1)), lines(&aside(2))), (1, 2, 2));
        assert!(!aside(3).exists());
        let mut trail = Trail::open(&path, 20, 2).expect("it opens again");
        trail.write("0123456\n").expect("it is written");
        assert_eq!(lines(&path), 2);
        trail
            .write("a line that is longer than a file may be\n")
            .expect("it is written all the same");
        assert_eq!((lines(&path), lines(&aside(1))), (1, 2));
    }

    #[test]
    fn acts_are_lines_of_json() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let trail = Trail::open(&path, 1 << 20, 1).expect("it opens");
        let log = AuditLog(Some(Mutex::new(trail)));
        log.record(Act {
            who: "ann \"a\"\n",
            from: "127.0.0.1:5",
            over: "http",
            what: "PUT /api/vhosts/x",
            outcome: "201",
        });
        let text = std::fs::read_to_string(&path).expect("it is there");
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("one line of JSON");
        assert_eq!(line["who"], "ann \"a\"\n");
        assert_eq!(line["outcome"], "201");
        assert!(line["at_ms"].is_u64());
    }
}
