//! One call of a tool: what was asked for, the API to ask, and how answers and errors are printed.

use std::cell::OnceCell;
use std::time::Duration;

use everack_api_client::{Api, Failure, path};
use serde_json::Value;

use super::options::{Formatter, Line};
use super::rows::Rows;
use super::{Spec, Tool};
use crate::command::Connection;
use crate::output::print;

/// RabbitMQ's statuses, which are sysexits.
pub(super) mod status {
    pub(in super::super) const USAGE: u8 = 64;
    pub(in super::super) const DATA: u8 = 65;
    pub(in super::super) const NO_USER: u8 = 67;
    pub(in super::super) const UNAVAILABLE: u8 = 69;
    pub(in super::super) const SOFTWARE: u8 = 70;
    pub(in super::super) const LATE: u8 = 75;
}

/// Why a command ended without having done what was asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stop {
    pub(super) status: u8,
    /// What goes to standard error, line ends included.
    pub(super) text: String,
}

/// What a command came to.
pub(super) type Done = Result<(), Stop>;

impl Stop {
    /// `Error:` and a reason below it.
    pub(super) fn error(status: u8, reason: impl std::fmt::Display) -> Self {
        Self {
            status,
            text: format!("Error:\n{reason}\n"),
        }
    }

    /// A reason alone.
    pub(super) fn plain(status: u8, reason: impl std::fmt::Display) -> Self {
        Self {
            status,
            text: format!("{reason}\n"),
        }
    }

    pub(super) fn no_vhost(vhost: &str) -> Self {
        Self::plain(status::DATA, format!("Virtual host '{vhost}' does not exist"))
    }

    pub(super) fn no_user(user: &str) -> Self {
        Self::error(status::NO_USER, format!("User \"{user}\" does not exist"))
    }
}

/// RabbitMQ's management escapes reasons for a page in a browser.
fn unescaped(reason: &str) -> String {
    let plain = reason
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    plain.replace("&amp;", "&")
}

/// One call of a tool.
pub(super) struct Session {
    pub(super) tool: Tool,
    pub(super) spec: &'static Spec,
    pub(super) line: Line,
    pub(super) formatter: Formatter,
    api: OnceCell<Api>,
}

impl Session {
    pub(super) fn new(tool: Tool, spec: &'static Spec, line: Line, formatter: Formatter) -> Self {
        let api = OnceCell::new();
        Self {
            tool,
            spec,
            line,
            formatter,
            api,
        }
    }

    /// The argument at a place; the number of them was checked.
    pub(super) fn argument(&self, at: usize) -> &str {
        self.line.words.get(at + 1).map_or("", String::as_str)
    }

    /// All arguments.
    pub(super) fn arguments(&self) -> &[String] {
        self.line.words.get(1..).unwrap_or_default()
    }

    /// The virtual host that is meant.
    pub(super) fn vhost(&self) -> &str {
        self.line.vhost()
    }

    /// The API: where the environment says, or the broker on this machine.
    pub(super) fn api(&self) -> Result<&Api, Stop> {
        if let Some(api) = self.api.get() {
            return Ok(api);
        }
        let seconds = self
            .line
            .value("timeout")
            .and_then(|text| text.parse::<u64>().ok());
        // RabbitMQ's `infinity` and 0 are no limit; an hour is none for a command.
        let seconds = seconds.filter(|seconds| *seconds > 0).unwrap_or(3600).min(3600);
        let opened = Connection::of_environment().open();
        let (api, _) =
            opened.map_err(|error| Stop::plain(status::UNAVAILABLE, format!("Error: {error:#}")))?;
        let api = api.within(Duration::from_secs(seconds));
        let api = api.map_err(|error| Stop::plain(status::UNAVAILABLE, format!("Error: {error:#}")))?;
        Ok(self.api.get_or_init(|| api))
    }

    /// Reads a path.
    pub(super) fn get(&self, segments: &[&str]) -> Result<Value, Stop> {
        self.api()?
            .get(&path(segments))
            .map_err(|failure| self.stopped(&failure))
    }

    /// Reads a path; none if there is nothing.
    pub(super) fn find(&self, segments: &[&str]) -> Result<Option<Value>, Stop> {
        match self.api()?.get(&path(segments)) {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(self.stopped(&failure)),
        }
    }

    /// Puts a body at a path.
    pub(super) fn put(&self, segments: &[&str], body: &Value) -> Done {
        let put = self.api()?.put(&path(segments), body);
        put.map(drop).map_err(|failure| self.stopped(&failure))
    }

    /// Deletes what is at a path; false if there was nothing.
    pub(super) fn delete(&self, segments: &[&str], condition: &str) -> Result<bool, Stop> {
        match self.api()?.delete(&format!("{}{condition}", path(segments))) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() => Ok(false),
            Err(failure) => Err(self.stopped(&failure)),
        }
    }

    /// What a failed request means to who called the tool.
    pub(super) fn stopped(&self, failure: &Failure) -> Stop {
        match failure {
            Failure::Unreachable { .. } | Failure::Strange(_) => Stop::plain(
                status::UNAVAILABLE,
                format!(
                    "Error: unable to perform an operation on node '{}'. Please see diagnostics information and suggestions below.\n\n{failure}\n\n \
                     * EVERACK_URL says where the broker's management API is, EVERACK_USER and EVERACK_PASSWORD as whom to ask\n \
                     * EVERACK_DATA says where the data of a broker on this machine lies, which root and its own user operate without a password",
                    self.node()
                ),
            ),
            Failure::Late(_) => Stop::plain(
                status::LATE,
                format!(
                    "Error: operation {} on node {} timed out. Timeout value used: {}",
                    self.spec.name,
                    self.node(),
                    self.line.value("timeout").unwrap_or("3600")
                ),
            ),
            Failure::Refused { reason, .. } if !reason.is_empty() => {
                Stop::error(status::UNAVAILABLE, unescaped(reason))
            }
            other => Stop::error(status::UNAVAILABLE, other),
        }
    }

    /// The node's name: as it was named, or as the broker names itself.
    pub(super) fn node(&self) -> String {
        if let Some(node) = self.line.value("node") {
            return node.to_owned();
        }
        let asked = self.api.get().and_then(|api| api.get("/api/overview").ok());
        let told = asked.and_then(|overview| overview["node"].as_str().map(str::to_owned));
        told.unwrap_or_else(|| "everack@localhost".to_owned())
    }

    /// The node's name, asked for if need be.
    pub(super) fn ask_node(&self) -> Result<String, Stop> {
        self.api()?;
        Ok(self.node())
    }

    /// Says what is about to be done, to people.
    pub(super) fn banner(&self, text: impl AsRef<str>) {
        let machine = matches!(self.formatter, Formatter::Json | Formatter::Csv);
        if !machine && !self.line.has("quiet") && !self.line.has("silent") {
            self.say(text);
        }
    }

    /// Prints a line.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        // A reader that is gone is no reason to stop in the middle of a change.
        let _ = print(&format!("{}\n", text.as_ref()));
    }

    /// Prints what was found.
    pub(super) fn show(&self, rows: &Rows) {
        let _ = print(&rows.render(self.formatter, self.line.headers()));
    }
}
