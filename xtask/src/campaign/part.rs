//! One part of the campaign: a command, what it has to show, and what came of it.

use super::Site;
use super::demand::Demand;
use anyhow::Context;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A part: `command` prints a JSON object on its last line.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) command: fn(&Site) -> anyhow::Result<Command>,
    /// Empty for a peer: its figures are reported, not judged.
    pub(crate) demands: &'static [Demand],
}

/// What a part showed.
pub(crate) struct Outcome {
    pub(crate) part: &'static Part,
    pub(crate) figures: Value,
    pub(crate) took: Duration,
    pub(crate) complaints: Vec<String>,
}

impl Part {
    /// Runs the command to its end; a part whose figures are missing has failed, whatever its exit status says.
    pub(crate) fn run(&'static self, site: &Site) -> anyhow::Result<Outcome> {
        println!("== {}: {}", self.name, self.title);
        let start = Instant::now();
        let folder = site.scratch.join(self.name);
        std::fs::create_dir_all(&folder)?;
        let mut command = (self.command)(site).with_context(|| format!("cannot prepare {}", self.name))?;
        let mut log = File::create(folder.join("output.log"))?;
        let figures =
            last_object(&mut command, &mut log).with_context(|| format!("{} did not run", self.name))?;
        let complaints = match &figures {
            Value::Null => vec!["it printed no figures: see its output.log".to_owned()],
            figures => {
                let complaint = |demand: &Demand| demand.complaint(figures, site);
                self.demands.iter().filter_map(complaint).collect()
            }
        };
        Ok(Outcome {
            part: self,
            figures,
            took: start.elapsed(),
            complaints,
        })
    }
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        self.complaints.is_empty()
    }

    /// One line for the terminal.
    pub(crate) fn line(&self) -> String {
        let mark = if self.is_good() { "ok  " } else { "FAIL" };
        let mut line = format!("{mark} {} {:.0} s", self.part.name, self.took.as_secs_f64());
        for complaint in &self.complaints {
            line += &format!("\n     {complaint}");
        }
        line
    }
}

/// Runs a command, copies what it prints to the log, and returns the object on its last line that is one.
fn last_object(command: &mut Command, log: &mut File) -> anyhow::Result<Value> {
    let line = format!("{command:?}\n");
    log.write_all(line.as_bytes())?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut figures = Value::Null;
    for line in BufReader::new(child.stdout.take().expect("standard output is piped")).split(b'\n') {
        let line = line?;
        log.write_all(&line)?;
        log.write_all(b"\n")?;
        if let Ok(object @ Value::Object(_)) = serde_json::from_slice(&line) {
            figures = object;
        }
    }
    let status = child.wait()?;
    writeln!(log, "ended with {status}")?;
    Ok(figures)
}
