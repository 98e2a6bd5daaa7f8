//! Commanding a mounted file system from another process: a socket of the machine, one line of JSON each way.

use crate::disk::{Cut, Flipped, Outcome};
use crate::faults::Mode;
use crate::figures::Status;
use crate::mount::Commands;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long either side may be silent. A cut with much to decide takes a while.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Switch the power off: every call fails until it is cut.
    Off,
    /// Cut the power, and bring it back.
    Cut {
        /// What decides everything that is left to chance.
        seed: u64,
        /// One that the seed picks if nothing is said.
        outcome: Option<Outcome>,
    },
    /// Behave like this from now on: a [`Mode`] in words.
    Set(String),
    /// Turn over bits at rest.
    Flip {
        /// How many.
        bits: u64,
        /// In files whose path contains this.
        part: String,
        /// Which ones.
        seed: u64,
    },
    /// Say how things are.
    Status,
    /// Unmount and end.
    Stop,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The power was cut.
    Cut(Cut),
    /// These bits were turned over.
    Flip(Vec<Flipped>),
    /// How things are.
    Status(Box<Status>),
    /// It will end.
    Stopping,
    /// It was not done, and why.
    Refused(String),
}

/// Serves requests at `path` in a thread until the process ends; `stop` is called when somebody asks for the end.
pub fn serve(commands: Commands, path: &Path, stop: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    // Of a process that is gone; of one that lives, the connection below would have been answered.
    if UnixStream::connect(path).is_err() {
        let _ = fs::remove_file(path);
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // One at a time: who asks and goes away before the answer harms nobody.
            if let Ok(true) = converse(&commands, &stream) {
                stop();
                return;
            }
        }
    })?;
    Ok(())
}

/// Answers one request; whether it was the last.
fn converse(commands: &Commands, mut stream: &UnixStream) -> anyhow::Result<bool> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let answer = serde_json::from_str(&line)
        .context("this is no request")
        .and_then(|request| obey(commands, request))
        .unwrap_or_else(|error| Answer::Refused(format!("{error:#}")));
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    Ok(matches!(answer, Answer::Stopping))
}

fn obey(commands: &Commands, request: Request) -> anyhow::Result<Answer> {
    Ok(match request {
        Request::Off => {
            commands.switch_off();
            Answer::Status(Box::new(commands.status()))
        }
        Request::Cut { seed, outcome } => {
            let outcome = outcome.unwrap_or_else(|| outcome_of(seed));
            Answer::Cut(commands.cut(outcome, seed)?)
        }
        Request::Set(mode) => match mode.parse()? {
            Mode::Flip(bits) => Answer::Flip(commands.flip(bits, "", fastrand::u64(..))?),
            mode => {
                commands.set(mode);
                Answer::Status(Box::new(commands.status()))
            }
        },
        Request::Flip { bits, part, seed } => Answer::Flip(commands.flip(bits, &part, seed)?),
        Request::Status => Answer::Status(Box::new(commands.status())),
        Request::Stop => Answer::Stopping,
    })
}

/// The outcome that a seed stands for: neighbouring seeds go through all four.
pub fn outcome_of(seed: u64) -> Outcome {
    Outcome::ALL[(seed % Outcome::ALL.len() as u64) as usize]
}

/// Asks whoever serves at `path`.
pub fn ask(path: &Path, request: &Request) -> anyhow::Result<Answer> {
    let mut stream = UnixStream::connect(path).with_context(|| {
        format!(
            "nobody answers at {}: is the file system mounted?",
            path.display()
        )
    })?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        bail!("the file system hung up");
    }
    match serde_json::from_str(&line)? {
        Answer::Refused(why) => bail!("{why}"),
        answer => Ok(answer),
    }
}
