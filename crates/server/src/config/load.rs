//! From file and flags to a `Config`: the file first, flags on top, then the checks that look at
//! several keys together. Reads the file and nothing else.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::check;
use super::fault::{Fault, Origin, Problem, Refused};
use super::keys::Config;
use super::rabbitmq;
use super::table::{Change, Changed, Setting, default_of};

/// Where a configuration comes from. Kept, so that SIGHUP can read it again.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// What flags say, in their order; the last one wins.
    pub flags: Vec<Override>,
    /// What is to be said in the log about where it comes from.
    pub notes: Vec<String>,
}

/// One value given by a flag.
#[derive(Debug, Clone)]
pub struct Override {
    /// The flag as the user wrote it, for refusals.
    pub flag: String,
    /// Dotted name of the key.
    pub key: String,
    /// The value as TOML; text that is not TOML stands for itself.
    pub value: String,
}

impl Override {
    /// An override whose value is always text.
    pub fn text(flag: &str, key: &str, value: &str) -> Self {
        let value = Setting::show(&value.to_owned());
        Self {
            flag: flag.to_owned(),
            key: key.to_owned(),
            value,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        default_of("", "{}")
    }
}

impl Config {
    /// Reads everything anew.
    pub fn load(sources: &Sources) -> Result<Self, Refused> {
        let mut config = match &sources.file {
            Some(path) => read_file(path)?,
            None => Self::default(),
        };
        let problems: Vec<Problem> = sources
            .flags
            .iter()
            .flat_map(|flag| apply(&mut config, flag))
            .collect();
        refuse_if_any(problems)?;
        refuse_if_any(check::combinations(&config))?;
        Ok(config)
    }

    /// Takes over from `new` what may change while running; lists everything that differs.
    pub fn reload(&mut self, new: &Self) -> Vec<Changed> {
        let mut changed = Vec::new();
        self.adopt(new, Change::Restart, "", &mut changed);
        changed
    }
}

fn refuse_if_any(problems: Vec<Problem>) -> Result<(), Refused> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refused(problems))
    }
}

fn read_file(path: &Path) -> Result<Config, Refused> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot be read: {error}");
        Refused(vec![Problem {
            origin: Origin::File(path.to_owned(), None),
            key: String::new(),
            message,
        }])
    })?;
    if !rabbitmq::is_rabbitmqs(path) {
        return parse(path, &text);
    }
    let translation = rabbitmq::translate(&text, rabbitmq::memory()).map_err(|faults| {
        let problem = |message| Problem {
            origin: Origin::File(path.to_owned(), None),
            key: String::new(),
            message,
        };
        Refused(faults.into_iter().map(problem).collect())
    })?;
    parse(path, &translation.toml)
}

/// What a file of RabbitMQ's says and has no counterpart here; nothing if the file is ours.
pub(crate) fn without_counterpart(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match rabbitmq::translate(&text, rabbitmq::memory()) {
        Ok(translation) if rabbitmq::is_rabbitmqs(path) => translation.left,
        _ => Vec::new(),
    }
}

/// Reads the text of the file at `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, Refused> {
    let faults = match DeTable::parse(text) {
        Ok(table) => {
            let span = table.span();
            let value = toml::Spanned::new(span, DeValue::Table(table.into_inner()));
            match Config::parse(&value, "") {
                Ok(config) => return Ok(config),
                Err(faults) => faults,
            }
        }
        Err(error) => vec![Fault {
            offset: error.span().map(|span| span.start),
            key: String::new(),
            message: error.message().to_owned(),
        }],
    };
    Err(Refused(located(path, text, faults)))
}

/// Gives each fault its line, and puts them in the order of the text.
fn located(path: &Path, text: &str, mut faults: Vec<Fault>) -> Vec<Problem> {
    faults.sort_by_key(|fault| fault.offset);
    let line = |offset: usize| {
        text.as_bytes()[..offset.min(text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    };
    let problem = |fault: Fault| Problem {
        origin: Origin::File(path.to_owned(), fault.offset.map(line)),
        key: fault.key,
        message: fault.message,
    };
    faults.into_iter().map(problem).collect()
}

fn apply(config: &mut Config, flag: &Override) -> Vec<Problem> {
    let names: Vec<&str> = flag.key.split('.').collect();
    let literal = Setting::show(&flag.value);
    let value = DeValue::parse(&flag.value).or_else(|_| DeValue::parse(&literal));
    let faults = match value {
        Ok(value) => config.set(&names, &value, "").err().unwrap_or_default(),
        Err(error) => vec![Fault {
            offset: None,
            key: flag.key.clone(),
            message: error.message().to_owned(),
        }],
    };
    let problem = |fault: Fault| Problem {
        origin: Origin::Flag(flag.flag.clone()),
        key: fault.key,
        message: fault.message,
    };
    faults.into_iter().map(problem).collect()
}
