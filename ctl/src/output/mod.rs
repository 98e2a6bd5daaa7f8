//! How answers look: tables for people, JSON for scripts. Knows nothing of brokers.

pub(crate) mod cell;
pub(crate) mod table;
pub(crate) mod terminal;

use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::Value;

/// Prints a text that is complete, line ends included. A reader that has seen enough, as `head` has, is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON, for scripts.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// The field of an object by its path, as `message_stats.publish`. A key with a dot in it is found too.
pub(crate) fn field<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let inner = object.get(&path[..at])?;
        field(inner, &path[at + 1..])
    })
}
