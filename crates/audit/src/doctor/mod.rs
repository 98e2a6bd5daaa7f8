//! `everack doctor`: reads a running broker through its management API and says how it could lose messages, and what to do.
//!
//! | room | what it does |
//! |---|---|
//! | [`snapshot`] | what was read, and words for what is not there |
//! | [`checks`] | one file for each risk: from a snapshot to findings |
//! | [`finding`] | what was found, and what could not be looked at |
//! | [`report`] | the page for people, and JSON |
//!
//! It only reads: no message, queue or connection is touched. What a broker does not tell is *could not be checked*, never
//! taken for good.

mod checks;
mod finding;
mod report;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use everack_api_client::{Api, Target};

pub use finding::{Diagnosis, Finding, Severity, Unchecked};
pub use snapshot::Snapshot;

/// What can be asked for on the command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "It ends with the status
  0  nothing that it knows of can be lost
  1  something can be lost, and the page says how
  2  the broker could not be read")]
pub struct Args {
    /// The management API of the broker, with user and password. The user needs the tag `monitoring` or `administrator` to see
    /// everything.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://guest:guest@127.0.0.1:15672"
    )]
    url: String,
    /// Print one JSON object instead of the page for people.
    #[arg(long)]
    json: bool,
    /// How long to watch whether queues grow, in seconds; 0 looks once.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=600))]
    watch: u64,
    /// Certificates of the authorities that may have signed the API's certificate, PEM, instead of the usual ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The status when the broker could not be read.
const UNREADABLE: u8 = 2;

/// Examines a broker and prints what was found. The status is 0 if nothing can be lost in a way that this knows of, 1 if
/// something can, 2 if the broker could not be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let watch = Duration::from_secs(args.watch);
    let diagnosis = match examine(&args.url, args.ca.as_deref(), watch) {
        Ok(diagnosis) => diagnosis,
        Err(error) => {
            eprintln!("everack doctor: {error:#}");
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    let mut out = std::io::stdout().lock();
    let page = if args.json {
        report::json(&diagnosis)
    } else {
        report::text(&diagnosis, out.is_terminal())
    };
    out.write_all(page.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(diagnosis.loses())))
}

/// Reads the broker at `url` and looks for everything that could lose messages.
pub fn examine(url: &str, ca: Option<&std::path::Path>, watch: Duration) -> anyhow::Result<Diagnosis> {
    let target = Target::of_url(url, ca).context("--url")?;
    let api = Api::new(target, ANSWER_MAX)?;
    let snapshot = Snapshot::read(&api, watch)?;
    Ok(diagnose(&snapshot))
}

/// Looks for everything that could lose messages in what was read.
pub fn diagnose(snapshot: &Snapshot) -> Diagnosis {
    let mut diagnosis = Diagnosis::of(snapshot);
    let blind = snapshot.blind_spots().into_iter();
    diagnosis.unchecked.extend(blind.map(|what| Unchecked {
        check: "all",
        what,
        count: 1,
    }));
    for check in checks::ALL {
        diagnosis.look(check, snapshot);
    }
    diagnosis.in_order();
    diagnosis
}
