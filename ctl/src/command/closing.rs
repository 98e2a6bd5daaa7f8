//! `close`: connections, with a reason that the client is told.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use everack_api_client::{Api, Failure, path};
use serde_json::{Value, json};

use super::exit::Misused;
use super::resource::Resource;
use super::{Context, Exit};
use crate::output::entries;

/// What clients are told if nothing else is said.
const REASON: &str = "closed by an operator";

#[derive(Debug, Subcommand)]
pub(super) enum Close {
    /// Close one connection.
    Connection(One),
    /// Close all connections of a user, or of the virtual host, or all there are.
    Connections(Many),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name, as the list shows it.
    name: String,
    /// What the client is told.
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Many {
    /// Only this user's.
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// All connections of the broker.
    #[arg(long, conflicts_with = "of")]
    all: bool,
    /// What the clients are told.
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    reason: String,
}

impl Close {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Connection(one) => one.run(context),
            Self::Connections(many) => many.run(context),
        }
    }
}

impl One {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self { name, reason } = self;
        context.confirm(&format!("close connection {name}"))?;
        let closed = context
            .api
            .delete_because(&path(&["connections", &name]), &reason);
        closed.with_context(|| format!("cannot close connection {name}"))?;
        context.say(
            &format!("connection {name} is closed"),
            &json!({ "closed": [name] }),
        )
    }
}

impl Many {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost.as_deref();
        if vhost.is_none() && self.of.is_none() && !self.all {
            return Err(Misused("say which: --vhost NAME, --of USER, or --all".to_owned()).into());
        }
        let names = names(&context.api, vhost, self.of.as_deref()).context("cannot list connections")?;
        context.confirm(&format!("close {} connections", names.len()))?;
        let mut closed = Vec::new();
        for name in names {
            match context
                .api
                .delete_because(&path(&["connections", &name]), &self.reason)
            {
                Ok(_) => closed.push(name),
                // It went by itself meanwhile.
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => {
                    let about = format!("cannot close connection {name}; {} are closed", closed.len());
                    return Err(failure).context(about);
                }
            }
        }
        context.say(
            &format!("{} connections are closed", closed.len()),
            &json!({ "closed": closed }),
        )
    }
}

/// The names of the connections of a virtual host and a user.
pub(crate) fn names(api: &Api, vhost: Option<&str>, user: Option<&str>) -> Result<Vec<String>, Failure> {
    let answer = api.get(&Resource::Connections.list(vhost))?;
    let rows = entries(&answer);
    let mine = rows
        .iter()
        .filter(|row| user.is_none_or(|user| row["user"] == user));
    let name = |row: &Value| row["name"].as_str().map(str::to_owned);
    Ok(mine.filter_map(name).collect())
}
