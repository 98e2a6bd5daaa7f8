//! `everack inspect DIR`: looks into the files of a stopped broker and checks them. Every record of the log and every
//! checkpoint is read and its checksum compared, and every message that is live is fetched the way a broker would fetch
//! it. Nothing is changed.
//!
//! What it finds is collected by `survey` and written by `report`; `listing` prints single records and messages.

mod directory;
mod listing;
mod report;
mod survey;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use directory::Directory;
use survey::Survey;

use crate::output::tolerate_closed_pipe;

/// What to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "It ends with the status
  0  the files are sound
  1  they could not be looked at
  2  something is wrong with them")]
pub struct Args {
    /// The data directory of a broker that does not run.
    directory: PathBuf,
    /// List every record of the log instead.
    #[arg(long, conflicts_with = "messages")]
    records: bool,
    /// List the messages of this queue instead.
    #[arg(long, value_name = "QUEUE")]
    messages: Option<String>,
    /// The virtual host of that queue.
    #[arg(long, default_value = "/", requires = "messages")]
    vhost: String,
    /// Print one JSON object.
    #[arg(long, conflicts_with_all = ["records", "messages"])]
    json: bool,
}

/// The status when something is wrong with the files. 1 means that they could not be looked at.
const UNSOUND: u8 = 2;

/// Looks, and prints what there is to see.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let directory = Directory::open(&args.directory)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let status = match &args.messages {
        Some(queue) => listing::messages(&directory, &args.vhost, queue, &mut out)?,
        None if args.records => listing::records(&directory, &mut out)?,
        None => {
            let survey = Survey::of(&directory)?;
            let written = match args.json {
                true => report::json(&survey, &mut out),
                false => report::text(&survey, &mut out),
            };
            tolerate_closed_pipe(written)?;
            if survey.is_sound() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(UNSOUND)
            }
        }
    };
    tolerate_closed_pipe(out.flush())?;
    Ok(status)
}
