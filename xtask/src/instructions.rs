//! `cargo xtask instructions`: how many instructions of ours a message costs on its way through a node, against the figures that are kept
//! in `docs/performance/instructions.json`. More than [`TOLERANCE`] above them fails; `--write` keeps new figures.
//!
//! The bench `instructions` of `crates/simulator` runs under valgrind's callgrind, for two numbers of rounds; the difference is the
//! cost of the rounds. Instructions are the same on a busy machine and on an idle one, but not for another compiler: then nothing can be
//! said, and that is said. What the C library does (copying, allocating) depends on the processor: it is shown, and not judged.

use crate::tally::Tally;
use crate::{shell, workspace};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How much more than the kept figure is a regression.
const TOLERANCE: f64 = 0.03;
const ROUNDS: u64 = 30;
const SCENARIOS: [&str; 4] = ["durable", "durable-single", "transient", "transient-single"];
const KEPT: &str = "docs/performance/instructions.json";

/// What is kept.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// `rustc --version` of the compiler that they are of.
    compiler: String,
    /// By scenario.
    scenarios: BTreeMap<String, Cost>,
}

/// Instructions a message.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Cost {
    /// Of our code and the crates that we use.
    ours: f64,
    /// Of the C library.
    libc: f64,
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let write = match arguments {
        [] => false,
        [write] if write == "--write" => true,
        _ => bail!("the only argument is --write"),
    };
    let found = measure()?;
    if write {
        let text = serde_json::to_string_pretty(&found)? + "\n";
        std::fs::write(workspace::root().join(KEPT), text)
            .with_context(|| format!("{KEPT} cannot be written"))?;
    }
    let tally = compare(&kept()?, &found);
    if tally.failed > 0 {
        bail!("{} scenarios cost more than they did", tally.failed);
    }
    Ok(())
}

/// As a step of the tests.
pub(crate) fn check(_filter: &[String]) -> anyhow::Result<Tally> {
    Ok(compare(&kept()?, &measure()?))
}

fn kept() -> anyhow::Result<Kept> {
    let text = std::fs::read_to_string(workspace::root().join(KEPT))
        .with_context(|| format!("{KEPT} cannot be read"))?;
    serde_json::from_str(&text).with_context(|| format!("{KEPT} is not what --write writes"))
}

fn compare(kept: &Kept, found: &Kept) -> Tally {
    let mut tally = Tally::default();
    println!("instructions a message: ours, kept, change; of the C library, kept");
    for (name, cost) in &found.scenarios {
        let Some(before) = kept.scenarios.get(name) else {
            println!(
                "{name:<18} {:>8.0}: nothing is kept of it; `cargo xtask instructions --write`",
                cost.ours
            );
            tally.add(Tally::FAILED);
            continue;
        };
        let change = cost.ours / before.ours - 1.0;
        println!(
            "{name:<18} {:>8.0} {:>8.0} {:>+6.1} %   {:>8.0} {:>8.0}",
            cost.ours,
            before.ours,
            100.0 * change,
            cost.libc,
            before.libc
        );
        tally.add(if change > TOLERANCE {
            Tally::FAILED
        } else {
            Tally::PASSED
        });
    }
    if kept.compiler == found.compiler {
        return tally;
    }
    println!(
        "WARNING: the kept figures are of {}, these of {}:",
        kept.compiler, found.compiler
    );
    println!("WARNING: instructions were NOT compared in this run.");
    Tally {
        skipped: found.scenarios.len() as u64,
        ..Tally::default()
    }
}

fn measure() -> anyhow::Result<Kept> {
    let bench = build()?;
    let mut scenarios = BTreeMap::new();
    for name in SCENARIOS {
        let (less, more) = (count(&bench, name, ROUNDS)?, count(&bench, name, 2 * ROUNDS)?);
        let messages = (more.messages - less.messages) as f64;
        let cost = Cost {
            ours: (more.ours - less.ours) as f64 / messages,
            libc: (more.libc - less.libc) as f64 / messages,
        };
        scenarios.insert(name.to_owned(), cost);
    }
    Ok(Kept {
        compiler: shell::capture(shell::command("rustc").arg("--version"))?
            .trim()
            .to_owned(),
        scenarios,
    })
}

/// Builds the bench and returns its path.
fn build() -> anyhow::Result<PathBuf> {
    let mut command = shell::cargo();
    command.args([
        "bench",
        "--quiet",
        "--package",
        "everack-simulator",
        "--bench",
        "instructions",
    ]);
    let said = shell::capture(command.args(["--no-run", "--message-format=json"]))?;
    let built = said
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = built
        .filter(|message| message["target"]["name"] == "instructions")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.context("cargo does not say where the bench is")
}

/// What a run counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    messages: u64,
    ours: u64,
    libc: u64,
}

fn count(bench: &Path, scenario: &str, rounds: u64) -> anyhow::Result<Count> {
    let file = workspace::root()
        .join("target")
        .join(format!("callgrind.{scenario}"));
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new("target")))?;
    let mut valgrind = shell::command("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .args([
            "--toggle-collect=*counted_step*",
            "--toggle-collect=*WatchedFile*write_at*",
        ])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(bench)
        .args([scenario, &rounds.to_string()]);
    let messages = shell::capture(&mut valgrind)?;
    let mut annotate = shell::command("callgrind_annotate");
    let table = shell::capture(annotate.args(["--threshold=100", "--auto=no"]).arg(&file))?;
    let (ours, libc) = add_up(&table);
    if ours == 0 {
        bail!("callgrind saw nothing of `counted_step` in {scenario}");
    }
    Ok(Count {
        messages: messages
            .trim()
            .parse()
            .context("the bench says how many messages went all the way")?,
        ours,
        libc,
    })
}

/// What carries the messages in the bench, in place of the process: not judged.
const HARNESS: [&str; 2] = ["everack_simulator::", ":instructions::"];

/// Adds up a table of `callgrind_annotate`: what is ours, and what is the C library's.
fn add_up(table: &str) -> (u64, u64) {
    let functions = table
        .lines()
        .skip_while(|line| !line.contains("file:function"))
        .skip(1);
    let (mut ours, mut libc) = (0, 0);
    for line in functions {
        let number: String = line
            .trim()
            .chars()
            .take_while(|c| *c != ' ')
            .filter(|c| *c != ',')
            .collect();
        let Ok(instructions) = number.parse::<u64>() else {
            continue;
        };
        if HARNESS.iter().any(|name| line.contains(name)) {
            continue;
        }
        let is_libc = line.contains("/libc.so") || line.contains("./malloc/") || line.contains("./string/");
        *(if is_libc { &mut libc } else { &mut ours }) += instructions;
    }
    (ours, libc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_added_up() {
        let table = "17,504,181 (100.0%)  PROGRAM TOTALS\n\nIr  file:function\n----\n\
            9,083,174 (51.89%)  ./string/memmove-vec.S:__memcpy_avx [/usr/lib/libc.so.6]\n\
            7,000 ( 0.04%)  crates/simulator/src/node.rs:everack_simulator::node::Core::pump [bench]\n\
            600 ( 0.04%)  crates/simulator/benches/instructions.rs:instructions::counted_step [bench]\n\
            1,000 ( 0.01%)  crates/node/src/record.rs:everack_node::record::encode_placed [bench]\n\
            \x20 500 ( 0.01%)  crates/amqp/src/encoding.rs:everack_amqp::encoding::finish\n\n";
        assert_eq!(add_up(table), (1_500, 9_083_174));
    }

    fn kept(compiler: &str, ours: f64) -> Kept {
        Kept {
            compiler: compiler.to_owned(),
            scenarios: BTreeMap::from([("durable".to_owned(), Cost { ours, libc: 0.0 })]),
        }
    }

    #[test]
    fn more_than_the_tolerance_fails() {
        for (found, failed) in [(90.0, 0), (100.0, 0), (102.9, 0), (103.1, 1)] {
            let tally = compare(&kept("a", 100.0), &kept("a", found));
            assert_eq!((tally.passed, tally.failed), (1 - failed, failed), "{found}");
        }
    }

    #[test]
    fn another_compiler_is_not_compared_and_what_is_new_has_to_be_kept() {
        assert_eq!(compare(&kept("a", 100.0), &kept("b", 500.0)).skipped, 1);
        let nothing = Kept {
            scenarios: BTreeMap::new(),
            ..kept("a", 0.0)
        };
        assert_eq!(compare(&nothing, &kept("a", 100.0)).failed, 1);
    }
}
