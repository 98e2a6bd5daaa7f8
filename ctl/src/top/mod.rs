//! `everack top`: a screen that shows how a broker is, over and over.
//!
//! | file | what it does |
//! |---|---|
//! | `state` | what is shown: keys and answers in, what to ask for out |
//! | `view`, `glance` | what can be listed; what one look at the broker has shown |
//! | `draw` | from the state to a screen of any size |
//! | `feed`, `terminal` | the thread that asks; the terminal |
//!
//! It asks for a list's first rows only, sorted by the broker, so that ten thousand queues cost it no more than a page of the console.

mod draw;
mod feed;
mod glance;
mod state;
mod terminal;
mod view;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use everack_api_client::{Api, Failure};

use crate::command::{Connection, Exit, Misused};
use crate::output::cell::safe;
use draw::Scene;
use feed::Feed;
use glance::Glance;
use state::State;

/// How long an answer is waited for at most, seconds: an older one is not worth showing.
const ANSWER_S_MAX: u64 = 10;

/// Which broker to show, and how often to look.
#[derive(Debug, Args)]
#[command(after_help = Exit::help())]
pub struct Top {
    #[command(flatten)]
    connection: Connection,
    /// Seconds from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// Shows the screen until it is ended; the status says how it went.
pub fn run(args: &Top) -> ExitCode {
    match show(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("everack top: {}", safe(&format!("{error:#}")));
            ExitCode::from(Exit::of(&error) as u8)
        }
    }
}

fn show(args: &Top) -> anyhow::Result<()> {
    require_terminal()?;
    let (api, vhost) = args.connection.open()?;
    let api = api.within(Duration::from_secs(args.connection.timeout.min(ANSWER_S_MAX)))?;
    let mut state = State::new(vhost);
    // A wrong password is told at once; a broker that is away may come back.
    match Glance::take(&api, &state.question()) {
        Err(failure @ (Failure::Refused { .. } | Failure::Invalid(_) | Failure::Strange(_))) => {
            return Err(failure.into());
        }
        news => state.absorb(news.map_err(|failure| failure.to_string()), Duration::ZERO),
    }
    let scene = Scene {
        place: place(&api),
        every: Duration::from_secs(args.every),
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let feed = Feed::begin(api, state.question(), scene.every)?;
    terminal::show(&mut state, &scene, &feed)
}

/// The broker's address, and as whom it is asked.
fn place(api: &Api) -> String {
    let target = api.target();
    match &target.login {
        Some(login) => format!("{} as {}", target.place, login.user),
        None => target.place.to_string(),
    }
}

fn require_terminal() -> Result<(), Misused> {
    let missing = |what: &str| {
        Err(Misused(format!(
            "{what}, and this is a screen that needs one; `everack ctl status` and `everack ctl list queues` print, with --json for scripts"
        )))
    };
    if !std::io::stdout().is_terminal() {
        return missing("standard output is no terminal");
    }
    if !std::io::stdin().is_terminal() {
        return missing("standard input is no terminal");
    }
    Ok(())
}
