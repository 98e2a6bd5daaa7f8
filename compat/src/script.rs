//! Scripts of named cases: each case of a foreign script becomes one test of ours.
//!
//! A script prints the names of its cases for `--list`, and for `--url URL` one JSON line a case:
//! `{"case": NAME, "ok": BOOL, "why": TEXT}`. It runs once; each test looks up its own verdict.

use crate::broker::Broker;
use crate::client::python;
use anyhow::{Context, ensure};
use libtest_mimic::{Failed, Trial};
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

/// The verdicts of a script by case: `Ok`, or why not.
type Verdicts = HashMap<String, Result<(), String>>;

/// One test for each case of a Python script, all from one run of it against this broker.
pub fn trials(script: &'static str, broker: &Arc<Broker>) -> Vec<Trial> {
    trials_with(script, broker, Vec::new())
}

/// The same, with environment variables for the script.
pub fn trials_with(
    script: &'static str,
    broker: &Arc<Broker>,
    environment: Vec<(&'static str, String)>,
) -> Vec<Trial> {
    trials_at(script, broker.url(), environment)
}

/// The same, for a broker that somebody else holds and keeps alive.
pub fn trials_at(script: &'static str, url: String, environment: Vec<(&'static str, String)>) -> Vec<Trial> {
    let setting = Arc::new((url, environment));
    let names = output(python(script).arg("--list")).expect("the script lists its cases");
    let verdicts = Arc::new(OnceLock::new());
    let trial = |name: &str| {
        let (setting, verdicts, case) = (Arc::clone(&setting), Arc::clone(&verdicts), name.to_owned());
        Trial::test(name, move || {
            let (url, environment) = &*setting;
            let verdicts = verdicts.get_or_init(|| run(script, url, environment));
            match verdicts.get(&case) {
                Some(verdict) => verdict.clone().map_err(Failed::from),
                None => Err(Failed::from("the script ended before this case")),
            }
        })
    };
    names.lines().map(trial).collect()
}

/// A script that breaks off leaves its remaining cases without a verdict, which fails them.
fn run(script: &str, url: &str, environment: &[(&str, String)]) -> Verdicts {
    let mut command = python(script);
    command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .args(["--url", url]);
    let lines = output(&mut command).unwrap_or_else(|error| format!("{error:#}"));
    lines.lines().filter_map(verdict).collect()
}

fn verdict(line: &str) -> Option<(String, Result<(), String>)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let case = line["case"].as_str()?.to_owned();
    let why = line["why"]
        .as_str()
        .unwrap_or("the script does not say why")
        .to_owned();
    Some((case, if line["ok"] == true { Ok(()) } else { Err(why) }))
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("the Python clients are missing: run `cargo xtask setup`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        !text.is_empty(),
        "the script ended with {} and printed nothing",
        output.status
    );
    Ok(text)
}
