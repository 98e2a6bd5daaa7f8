//! `everack ctl`: its commands as the command line describes them. Each is done in a file of its own.

mod amend;
mod closing;
mod connection;
mod declaration;
mod definitions;
mod exit;
mod filter;
mod health;
mod holders;
mod listing;
mod looking;
mod messages;
mod orders;
mod profile;
mod removal;
mod resource;
mod socket;
mod stores;

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use everack_api_client::Api;
use serde_json::Value;

use crate::output::cell::safe;
use crate::output::terminal::Terminal;
use crate::output::{print, print_json};

use listing::tabulated;
use resource::Column;

pub(crate) use closing::names as connection_names;
pub(crate) use connection::{Connection, password_in};
pub(crate) use definitions::{read as read_file, write_private};
pub(crate) use exit::{Exit, Misused};

/// Operate a running broker, RabbitMQ too, over its management API.
#[derive(Debug, Args)]
#[command(after_help = Exit::help())]
pub struct Ctl {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON, with the API's field names, instead of tables and sentences.
    #[arg(long, global = true)]
    json: bool,
    /// Do not ask before something is taken away.
    #[arg(long, short = 'y', global = true)]
    yes: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell who we are, and how the broker stands.
    Status,
    /// Tell as whom the broker knows us.
    Whoami,
    /// List what there is.
    List(listing::List),
    /// Show everything about one thing.
    Show(listing::Show),
    /// Make something, or change it.
    #[command(subcommand)]
    Declare(declaration::Declare),
    /// Take something away.
    #[command(subcommand)]
    Delete(removal::Delete),
    /// Take all ready messages out of a queue.
    Purge(removal::Purge),
    /// Publish one message.
    Publish(messages::Publish),
    /// Get messages from a queue; they go back to it unless told otherwise.
    Get(messages::Get),
    /// Look at messages of a queue without touching them, wherever in it they are.
    Peek(looking::Peek),
    /// Find messages by what they carry, in all queues or some, without touching them.
    Find(looking::Find),
    /// Move messages to another queue. Each step leaves the one queue and enters the other in a single write.
    Move(stores::Move),
    /// Take some of the ready messages out of a queue for good, counted as purged.
    Discard(stores::OfQueue),
    /// List who holds messages of a queue, for how long, and how each gets on.
    Holders(holders::Holders),
    /// Take a message from the consumer that holds it, so that another one gets it.
    Release(holders::Release),
    /// Close connections.
    #[command(subcommand)]
    Close(closing::Close),
    /// Write the definitions to a file: vhosts, users, permissions, policies, exchanges, queues, bindings.
    Export(definitions::Export),
    /// Bring definitions from a file into force.
    Import(definitions::Import),
    /// Ask whether the broker is well.
    Health(health::Health),
    /// List, redrive or discard what is set aside in a queue because it failed too often, was rejected, expired or found no room.
    #[command(subcommand)]
    Parked(stores::Parked),
    /// List, redeliver or discard what was handed to consumers that do not acknowledge, and is kept for a while.
    #[command(subcommand)]
    Retained(stores::Retained),
    /// List, redrive or discard what no queue wanted.
    #[command(subcommand)]
    Unroutable(stores::Unroutable),
    /// List or call off what waits in a delayed exchange for its time.
    #[command(subcommand)]
    Delayed(stores::Delayed),
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) api: Api,
    /// The virtual host, if one was named.
    vhost: Option<String>,
    json: bool,
    yes: bool,
}

/// Does what was asked for; the status says how it went.
pub fn run(args: Ctl) -> ExitCode {
    let Ctl {
        connection,
        json,
        yes,
        command,
    } = args;
    let done = connection.open().and_then(|(api, vhost)| {
        let context = Context {
            api,
            vhost,
            json,
            yes,
        };
        command.run(&context)
    });
    match done {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            eprintln!("everack ctl: {}", told(&error));
            ExitCode::from(Exit::of(&error) as u8)
        }
    }
}

/// An error on one line, safe for a terminal, with what may be done about it.
fn told(error: &anyhow::Error) -> String {
    let advice = match Exit::of(error) {
        Exit::Rights => " (--user says as whom to ask; `everack ctl whoami` who that is)",
        Exit::Unreachable => " (--url says where the broker's management API is)",
        Exit::NotFound => " (`everack ctl list` shows what there is)",
        _ => "",
    };
    format!("{}{advice}", safe(&format!("{error:#}")))
}

impl Command {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Status => health::status(context),
            Self::Whoami => health::whoami(context),
            Self::List(list) => list.run(context),
            Self::Show(show) => show.run(context),
            Self::Declare(declare) => declare.run(context),
            Self::Delete(delete) => delete.run(context),
            Self::Purge(purge) => purge.run(context),
            Self::Publish(publish) => publish.run(context),
            Self::Get(get) => get.run(context),
            Self::Peek(peek) => peek.run(context),
            Self::Find(find) => find.run(context),
            Self::Move(order) => order.run(context),
            Self::Discard(of) => of.discard(context),
            Self::Holders(holders) => holders.run(context),
            Self::Release(release) => release.run(context),
            Self::Close(close) => close.run(context),
            Self::Export(export) => export.run(context),
            Self::Import(import) => import.run(context),
            Self::Health(health) => health.run(context),
            Self::Parked(parked) => parked.run(context),
            Self::Retained(retained) => retained.run(context),
            Self::Unroutable(unroutable) => unroutable.run(context),
            Self::Delayed(delayed) => delayed.run(context),
        }
    }
}

impl Context {
    /// The virtual host that was named, or the usual one.
    fn vhost(&self) -> &str {
        self.vhost.as_deref().unwrap_or("/")
    }

    /// Says what was done: a sentence, or the answer as JSON.
    fn say(&self, sentence: &str, answer: &Value) -> anyhow::Result<Exit> {
        if self.json {
            print_json(answer)?;
        } else {
            print(&format!("{}\n", safe(sentence)))?;
        }
        Ok(Exit::Done)
    }

    /// Shows rows of an answer as a table, or the answer as JSON.
    fn show(&self, answer: &Value, rows: &[Value], columns: &[Column]) -> anyhow::Result<Exit> {
        if self.json {
            print_json(answer)?;
        } else {
            print(&tabulated(rows, columns).render(Terminal::of_output()))?;
        }
        Ok(Exit::Done)
    }

    /// Asks on a terminal whether something may be taken away. A script has asked itself.
    fn confirm(&self, what: &str) -> Result<(), exit::Declined> {
        if self.yes || !std::io::stdin().is_terminal() {
            return Ok(());
        }
        eprint!("{}? [y/N] ", safe(what));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if read.is_ok() && yes {
            Ok(())
        } else {
            Err(exit::Declined)
        }
    }
}
