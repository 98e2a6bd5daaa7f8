//! Many connections with a channel each: how long they take to open, and what they hold while nothing happens on them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Figures;
use super::case::Setting;
use crate::peer::Peer;
use crate::process;
use crate::setup::{Options, Session};
use crate::url::Url;

const CONNECTIONS: u64 = 10_000;
/// Threads that open them, each one after the other.
const OPENERS: u64 = 8;
/// Descriptors that the bench needs for anything else.
pub(super) const SPARE: u64 = 200;
const SETTLE: Duration = Duration::from_secs(1);

/// Opens them, looks, and closes them.
pub fn measure(peer: &Peer, setting: &Setting<'_>) -> anyhow::Result<Figures> {
    let count = setting.scaled(CONNECTIONS);
    let before = process::usage(peer.pid()).context("the broker has ended")?;
    let began = Instant::now();
    let sessions = open(peer.url(), count)?;
    let seconds = began.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let after = process::usage(peer.pid()).context("the broker has ended")?;
    let used = after.since(&before);
    let held = after.resident_bytes.saturating_sub(before.resident_bytes);
    // All at once: closing each politely is not what is measured.
    drop(sessions);
    thread::sleep(SETTLE);
    Ok(Figures::from([
        ("connections".to_owned(), count as f64),
        ("open_seconds".to_owned(), seconds),
        (
            "cpu_us_per_connection".to_owned(),
            used.cpu_seconds() * 1e6 / count as f64,
        ),
        ("held_bytes_per_connection".to_owned(), held as f64 / count as f64),
    ]))
}

/// Opens so many connections with a channel each, several at a time.
pub(super) fn open(url: &Url, count: u64) -> anyhow::Result<Vec<Session>> {
    raise_descriptors(count + SPARE)?;
    let openers = (0..OPENERS).map(|opener| {
        let url = url.clone();
        let share = count / OPENERS + u64::from(opener < count % OPENERS);
        thread::spawn(move || -> anyhow::Result<Vec<Session>> {
            (0..share).map(|_| Session::open(&url, Options::PLAIN)).collect()
        })
    });
    let openers: Vec<_> = openers.collect();
    let mut sessions = Vec::new();
    for opener in openers {
        sessions.extend(
            opener
                .join()
                .map_err(|_| anyhow!("a thread of the bench failed"))??,
        );
    }
    Ok(sessions)
}

/// Has this process open so many files.
pub(super) fn raise_descriptors(needed: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{needed} file descriptors are needed, and this process may not have so many: raise the hard limit (ulimit -Hn)"
    );
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of file descriptors")
}
