//! The log: lines or JSON objects on standard error, with levels by target that SIGHUP can change.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::keys;
use crate::config::setting::LogFormat;

/// The running log.
pub struct Log {
    levels: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Begins to log. Once per process.
    pub fn start(config: &keys::Log) -> anyhow::Result<Self> {
        let levels = levels(&config.level.0).map_err(anyhow::Error::msg)?;
        let (levels, handle) = reload::Layer::new(levels);
        // Where standard error goes may go away. A line is lost then; the layer's own complaint, again on standard
        // error, would be a panic.
        let lines = fmt::layer()
            .with_writer(std::io::stderr)
            .log_internal_errors(false);
        let lines = match config.format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(levels)
            .with(lines)
            .try_init()?;
        Ok(Self { levels: handle })
    }

    /// Takes over new levels.
    pub fn reload(&self, config: &keys::Log) {
        let reloaded = levels(&config.level.0)
            .and_then(|levels| self.levels.reload(levels).map_err(|error| error.to_string()));
        if let Err(error) = reloaded {
            tracing::error!(%error, "cannot change the log level");
        }
    }
}

/// Reads `info` or `info,target=debug`.
pub fn levels(text: &str) -> Result<Targets, String> {
    // `Targets` takes a word that is no level for a target to be logged completely, which would
    // turn a misspelt level into a flood.
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        let level = level.trim();
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(format!("{level:?} is no level"));
        }
    }
    text.parse::<Targets>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn reads_levels() {
        let check = |text: &str, target: &str, level: Level, expected: bool| {
            assert_eq!(
                levels(text).unwrap().would_enable(target, &level),
                expected,
                "{text} {target} {level}"
            );
        };
        check("info", "everack_node", Level::INFO, true);
        check("info", "everack_node", Level::DEBUG, false);
        check(
            "warn,everack_node=debug",
            "everack_node::session",
            Level::DEBUG,
            true,
        );
        check("warn,everack_node=debug", "everack_amqp", Level::INFO, false);
        check("off", "everack_node", Level::ERROR, false);
        for bad in ["loud", "info,everack_node=loud", "", "everack_node", "info,,"] {
            assert!(levels(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
