//! A `rabbitmq.conf` in our words: what each of its keys means here, or why it means nothing. No key is dropped silently.
//!
//! | room | what it does |
//! |---|---|
//! | [`lines`] | the format of the file: one key and one value a line |
//! | [`units`] | its sizes, levels and addresses, written as ours |
//! | [`rules`] | one line for each key, or family of keys, that is known |
//! | [`plugins`] | what becomes of the plugins of an `enabled_plugins` file |
//! | [`draft`] | what has been understood so far, and the file that becomes of it |
//!
//! The old format of Erlang terms (`rabbitmq.config`, `advanced.config`) is not read.

mod draft;
mod lines;
mod plugins;
mod rules;
#[cfg(test)]
mod tests;
mod units;

use std::path::Path;

use draft::Draft;
pub use plugins::told as told_plugins;

/// The end of a file's name that says that it is RabbitMQ's.
const EXTENSION: &str = "conf";

/// A file of ours that was made of one of RabbitMQ's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The configuration, TOML, with what it was made of in comments.
    pub toml: String,
    /// What has no counterpart: line, key and why.
    pub left: Vec<String>,
}

/// Whether a configuration file is RabbitMQ's, by its name.
pub fn is_rabbitmqs(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// Translates the text of a `rabbitmq.conf`. Shares of memory become sizes with `memory`, the machine's bytes.
///
/// # Errors
/// Lines that are none, and values that RabbitMQ would refuse too, each with its number.
pub fn translate(text: &str, memory: u64) -> Result<Translation, Vec<String>> {
    let entries = lines::parse(text)?;
    let mut draft = Draft::new(memory);
    let mut faults = Vec::new();
    for entry in &entries {
        if let Err(fault) = rules::apply(&mut draft, entry) {
            faults.push(format!("line {}: {}: {fault}", entry.line, entry.key));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    draft.finish().map_err(|fault| vec![fault])
}

/// The machine's memory in bytes, or a gigabyte where it cannot be told.
pub fn memory() -> u64 {
    const UNKNOWN: u64 = 1 << 30;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(UNKNOWN, |kib| kib * 1024)
}
