//! What the disk is told to do wrong, and when it is the turn of a call. Nothing here touches a file.

use anyhow::{Context, bail};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A call that can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reading from a file.
    Read,
    /// Writing to a file, and reserving space for one.
    Write,
    /// fsync and fdatasync of a file or a folder.
    Sync,
}

/// One way of being bad. Several may hold at once; each replaces its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of them end.
    Normal,
    /// A sync says OK and makes nothing durable.
    Lying,
    /// Each read, write and sync takes this much longer: a disk without a cache.
    Slow(Duration),
    /// Each sync takes this much longer: a slow disk behind the kernel's cache.
    SlowSync(Duration),
    /// Files have so many bytes to share, counted in blocks of 4096.
    Enospc(u64),
    /// The n-th such call from now on answers EIO, once. After a sync that failed so, a second one may succeed.
    Eio(Call, u64),
    /// The next sync of a file that has something to write answers EIO and drops what it should have written; later
    /// ones say OK. What Linux does (fsyncgate, 2018).
    FsyncOnce,
    /// So many bits are turned over at rest, now.
    Flip(u64),
    /// Every n-th read has one bit turned over on its way.
    FlipRead(u64),
    /// Every n-th write of more than one byte takes only a part of what it is given.
    Short(u64),
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split(':');
        let kind = words.next().unwrap_or_default();
        let mut number = |what: &str| -> anyhow::Result<u64> {
            let word = words.next().with_context(|| format!("{kind}: needs {what}"))?;
            word.parse()
                .with_context(|| format!("{kind}: `{word}` is not {what}"))
        };
        let mode = match kind {
            "normal" => Self::Normal,
            "lying" => Self::Lying,
            "slow" => Self::Slow(Duration::from_millis(number("milliseconds")?)),
            "slow-sync" => Self::SlowSync(Duration::from_millis(number("milliseconds")?)),
            "enospc" => Self::Enospc(number("a number of bytes")?),
            "fsync-once" => Self::FsyncOnce,
            "flip" => Self::Flip(number("a number of bits")?),
            "flip-read" => Self::FlipRead(every(number("every how many reads")?)?),
            "short" => Self::Short(every(number("every how many writes")?)?),
            "eio" => {
                let call = match words.next() {
                    Some("read") => Call::Read,
                    Some("write") => Call::Write,
                    Some("fsync") => Call::Sync,
                    other => bail!("eio: must be eio:read:N, eio:write:N or eio:fsync:N, not {other:?}"),
                };
                let word = words.next().context("eio: which call, counted from 1?")?;
                let nth: u64 = word.parse().context("eio: which call, counted from 1?")?;
                Self::Eio(call, every(nth)?)
            }
            _ => bail!(
                "no mode `{text}`; there are: normal, lying, slow:MS, slow-sync:MS, enospc:BYTES, eio:read:N, eio:write:N, \
                 eio:fsync:N, fsync-once, flip:N, flip-read:N, short:N"
            ),
        };
        match words.next() {
            Some(more) => bail!("{kind}: what is `{more}`?"),
            None => Ok(mode),
        }
    }
}

fn every(count: u64) -> anyhow::Result<u64> {
    if count == 0 {
        bail!("calls are counted from 1")
    } else {
        Ok(count)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => write!(f, "normal"),
            Self::Lying => write!(f, "lying"),
            Self::Slow(delay) => write!(f, "slow:{}", delay.as_millis()),
            Self::SlowSync(delay) => write!(f, "slow-sync:{}", delay.as_millis()),
            Self::Enospc(bytes) => write!(f, "enospc:{bytes}"),
            Self::Eio(Call::Read, nth) => write!(f, "eio:read:{nth}"),
            Self::Eio(Call::Write, nth) => write!(f, "eio:write:{nth}"),
            Self::Eio(Call::Sync, nth) => write!(f, "eio:fsync:{nth}"),
            Self::FsyncOnce => write!(f, "fsync-once"),
            Self::Flip(bits) => write!(f, "flip:{bits}"),
            Self::FlipRead(nth) => write!(f, "flip-read:{nth}"),
            Self::Short(nth) => write!(f, "short:{nth}"),
        }
    }
}

/// The modes that hold, and how far away the next victim of each is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    lying: bool,
    slow: Duration,
    slow_sync: Duration,
    limit_bytes: Option<u64>,
    eio: Option<(Call, u64)>,
    fsync_once: bool,
    flip_read: Option<Every>,
    short: Option<Every>,
    /// Calls that were made to fail or to misbehave so far.
    fired: u64,
}

/// Each n-th call, and how many have passed since the last.
#[derive(Clone, Copy, Debug)]
struct Every {
    nth: u64,
    passed: u64,
}

impl Every {
    fn new(nth: u64) -> Option<Self> {
        Some(Self { nth, passed: 0 })
    }

    fn is_due(&mut self) -> bool {
        self.passed += 1;
        let due = self.passed >= self.nth;
        if due {
            self.passed = 0;
        }
        due
    }
}

impl Faults {
    /// From now on. [`Mode::Flip`] is a deed, not a state, and is done elsewhere.
    pub fn set(&mut self, mode: Mode) {
        match mode {
            Mode::Normal => {
                *self = Self {
                    fired: self.fired,
                    ..Self::default()
                };
            }
            Mode::Lying => self.lying = true,
            Mode::Slow(delay) => self.slow = delay,
            Mode::SlowSync(delay) => self.slow_sync = delay,
            Mode::Enospc(bytes) => self.limit_bytes = Some(bytes),
            Mode::Eio(call, nth) => self.eio = Some((call, nth)),
            Mode::FsyncOnce => self.fsync_once = true,
            Mode::Flip(_) => {}
            Mode::FlipRead(nth) => self.flip_read = Every::new(nth),
            Mode::Short(nth) => self.short = Every::new(nth),
        }
    }

    /// The modes that hold now, in words.
    pub fn modes(&self) -> String {
        let slow = (!self.slow.is_zero()).then_some(Mode::Slow(self.slow));
        let slow_sync = (!self.slow_sync.is_zero()).then_some(Mode::SlowSync(self.slow_sync));
        let modes = [
            self.lying.then_some(Mode::Lying),
            slow,
            slow_sync,
            self.limit_bytes.map(Mode::Enospc),
            self.eio.map(|(call, nth)| Mode::Eio(call, nth)),
            self.fsync_once.then_some(Mode::FsyncOnce),
            self.flip_read.map(|every| Mode::FlipRead(every.nth)),
            self.short.map(|every| Mode::Short(every.nth)),
        ];
        let words: Vec<String> = modes.iter().flatten().map(Mode::to_string).collect();
        if words.is_empty() {
            Mode::Normal.to_string()
        } else {
            words.join(",")
        }
    }

    /// Calls that were made to fail or to misbehave so far.
    pub fn fired(&self) -> u64 {
        self.fired
    }

    /// How much longer such a call takes.
    pub fn delay(&self, call: Call) -> Duration {
        match call {
            Call::Sync => self.slow + self.slow_sync,
            Call::Read | Call::Write => self.slow,
        }
    }

    /// The bytes that files may take together.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }

    /// Whether this call is to answer EIO.
    pub fn fails(&mut self, call: Call) -> bool {
        let Some((wanted, left)) = &mut self.eio else {
            return false;
        };
        if *wanted != call {
            return false;
        }
        *left -= 1;
        let due = *left == 0;
        if due {
            self.eio = None;
            self.fired += 1;
        }
        due
    }

    /// Whether this sync is to say OK and do nothing.
    pub fn lies(&mut self) -> bool {
        self.fired += u64::from(self.lying);
        self.lying
    }

    /// Whether this sync is the one that fails and drops.
    pub fn drops(&mut self) -> bool {
        let due = std::mem::take(&mut self.fsync_once);
        self.fired += u64::from(due);
        due
    }

    /// Whether a bit of what this read gives is to be turned over.
    pub fn flips_read(&mut self) -> bool {
        let due = self.flip_read.as_mut().is_some_and(Every::is_due);
        self.fired += u64::from(due);
        due
    }

    /// Whether this write is to take only a part.
    pub fn shortens(&mut self) -> bool {
        let due = self.short.as_mut().is_some_and(Every::is_due);
        self.fired += u64::from(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_written() {
        let modes = [
            "normal",
            "lying",
            "slow:7",
            "slow-sync:30",
            "enospc:4096",
            "eio:read:1",
            "eio:write:20",
            "eio:fsync:3",
            "fsync-once",
            "flip:9",
            "flip-read:5",
            "short:2",
        ];
        for text in modes {
            assert_eq!(text.parse::<Mode>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "slow",
            "slow:x",
            "eio",
            "eio:write",
            "eio:all:1",
            "short:0",
            "lying:1",
            "flip:",
        ] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_nth_call_fails_once() {
        let mut faults = Faults::default();
        faults.set(Mode::Eio(Call::Write, 3));
        let failed: Vec<bool> = (0..6).map(|_| faults.fails(Call::Write)).collect();
        assert_eq!(failed, [false, false, true, false, false, false]);
        faults.set(Mode::Eio(Call::Sync, 1));
        assert!(!faults.fails(Call::Read));
        assert!(faults.fails(Call::Sync));
        assert_eq!(faults.fired(), 2);
    }

    #[test]
    fn modes_add_up_until_all_end() {
        let mut faults = Faults::default();
        assert_eq!(faults.modes(), "normal");
        faults.set(Mode::Slow(Duration::from_millis(2)));
        faults.set(Mode::Lying);
        faults.set(Mode::Short(4));
        assert_eq!(faults.modes(), "lying,slow:2,short:4");
        faults.set(Mode::Normal);
        assert_eq!(faults.modes(), "normal");
    }
}
