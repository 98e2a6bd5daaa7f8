//! What is wrong with a configuration, and where: file, line, key, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::keys::Config;
use super::table::{Key, Setting, Value, join};

/// One thing that is wrong, with its place in the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset in the text, if the fault has a place.
    pub(super) offset: Option<usize>,
    /// Dotted name; empty for a fault of the text as a whole.
    pub(super) key: String,
    /// Completes the sentence that begins with the key.
    pub(super) message: String,
}

impl Fault {
    /// A fault of the value found there.
    pub(super) fn at(value: &Value<'_>, path: &str, message: String) -> Self {
        Self {
            offset: Some(value.span().start),
            key: path.to_owned(),
            message,
        }
    }

    /// A key that does not exist. Refused rather than passed over: a misspelt key that is silently
    /// ignored is a setting that somebody believes to be in force.
    pub(super) fn unknown(path: &str, name: &str, span: Option<Range<usize>>) -> Self {
        let key = join(path, name);
        let message = match nearest(&key) {
            Some(other) => format!("unknown key; did you mean `{other}`?"),
            None => "unknown key; `everack config` lists all keys".to_owned(),
        };
        Self {
            offset: span.map(|span| span.start),
            key,
            message,
        }
    }
}

/// Where a problem was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the file, on this line (from 1) if it has one.
    File(PathBuf, Option<usize>),
    /// On the command line, at this flag.
    Flag(String),
    /// In how values of several places fit together.
    Combination,
}

/// A fault and where its text came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or flag.
    pub origin: Origin,
    /// Dotted name; empty if the fault is not one key's.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path, Some(line)) => write!(out, "{}:{line}: ", path.display())?,
            Origin::File(path, None) => write!(out, "{}: ", path.display())?,
            Origin::Flag(flag) => write!(out, "{flag}: ")?,
            Origin::Combination => {}
        }
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.message)
    }
}

/// A configuration that cannot be used: every problem found, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Vec<Problem>);

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the configuration cannot be used")?;
        for problem in &self.0 {
            write!(out, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// The existing key that a misspelt one most likely meant.
fn nearest(key: &str) -> Option<String> {
    /// Below this likeness (0 to 1) a suggestion confuses more than it helps.
    const LIKENESS_MIN: f64 = 0.8;
    let mut names = Vec::new();
    collect(Config::KEYS, "", &mut names);
    let best = names
        .iter()
        .map(|(name, is_table)| (likeness(key, name, *is_table), name))
        .max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 >= LIKENESS_MIN).then(|| best.1.clone())
}

/// How alike two dotted names are. The same name in another table is very alike, another name in
/// another table not at all.
fn likeness(key: &str, name: &str, is_table: bool) -> f64 {
    let ((key_table, key_last), (table, last)) = (split(key), split(name));
    if key_table == table {
        strsim::jaro_winkler(key_last, last)
    } else if key_last == last {
        0.9
    } else if key_table == name && !is_table {
        // A key inside of what is no table.
        1.0
    } else {
        0.0
    }
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// All dotted names, tables included.
fn collect(keys: &[Key], path: &str, names: &mut Vec<(String, bool)>) {
    for key in keys {
        let name = join(path, key.name);
        collect(key.keys, &name, names);
        names.push((name, !key.keys.is_empty()));
    }
}
