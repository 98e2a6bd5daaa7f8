//! `cargo xtask test`: the README's second command and the whole of CI.
//!
//! Every step runs even when an earlier one failed, so that one run tells everything; the last line counts all of it.

use crate::setup::{self, Tools};
use crate::tally::{Reader, Tally};
use crate::{codegen, instructions, package, shell, tidy, workspace};
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One step: `run` gets the words behind `--` (a filter for the tests) and says what it counted.
struct Step {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> anyhow::Result<Tally>,
}

const STEPS: &[Step] = &[
    Step {
        name: "setup",
        help: "install foreign clients and tools",
        run: set_up,
    },
    Step {
        name: "fmt",
        help: "formatting",
        run: formatting,
    },
    Step {
        name: "tidy",
        help: "house rules",
        run: house_rules,
    },
    Step {
        name: "codegen",
        help: "generated code follows from its description",
        run: generated_code,
    },
    Step {
        name: "deny",
        help: "licences, bans and sources of dependencies; advisories",
        run: deny,
    },
    Step {
        name: "clippy",
        help: "lints, with warnings denied",
        run: clippy,
    },
    Step {
        name: "build",
        help: "the binaries that the black-box tests start",
        run: build,
    },
    Step {
        name: "unit",
        help: "unit and integration tests of every crate",
        run: unit,
    },
    Step {
        name: "docs",
        help: "examples in the documentation",
        run: doc_examples,
    },
    Step {
        name: "count",
        help: "instructions of a message: no more than were kept",
        run: instructions::check,
    },
    Step {
        name: "clients",
        help: "foreign clients against the real binary",
        run: clients,
    },
    Step {
        name: "kill",
        help: "SIGKILL under load, with a backlog: nothing may be lost",
        run: kill,
    },
    Step {
        name: "move",
        help: "messages from Debian's RabbitMQ to the real binary, both killed on the way",
        run: migrate,
    },
    Step {
        name: "package",
        help: "the Debian package, installed into a clean root and purged from it; needs root",
        run: |_| package::check(),
    },
    Step {
        name: "power",
        help: "the real binary on a disk that loses power, fails and lies; needs root and /dev/fuse",
        run: power,
    },
];

/// Black-box packages: their tests run in steps of their own, after the binaries are built.
const CLIENTS: &str = "everack-compat";
const AUDIT: &str = "everack-audit";
const MIGRATE: &str = "everack-migrate";
const POWERFAIL: &str = "everack-powerfail";

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (steps, filter) = parse(arguments)?;
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for step in steps {
        println!("\n== {}: {}", step.name, step.help);
        let start = Instant::now();
        let tally = (step.run)(&filter).unwrap_or_else(|error| {
            println!("{} failed: {error:#}", step.name);
            Tally::FAILED
        });
        lines.push(summary(step, &tally, start.elapsed()));
        total.add(tally);
    }
    // Once more at the end, for those who see only the end of it.
    total.said.iter().for_each(|line| println!("{line}"));
    println!("\n{}\n{total}", lines.join("\n"));
    // The line above already said it; the exit status is for CI.
    if total.failed > 0 {
        std::process::exit(1)
    } else {
        Ok(())
    }
}

fn summary(step: &Step, tally: &Tally, took: Duration) -> String {
    let mark = if tally.failed == 0 { "ok  " } else { "FAIL" };
    format!("{mark} {:<8} {:>6.1} s   {tally}", step.name, took.as_secs_f64())
}

/// `[--list] [--only STEP,...] [-- FILTER...]`
fn parse(arguments: &[String]) -> anyhow::Result<(Vec<&'static Step>, Vec<String>)> {
    let (own, filter) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], arguments[at + 1..].to_vec()),
        None => (arguments, Vec::new()),
    };
    match own {
        [] => Ok((STEPS.iter().collect(), filter)),
        [list] if list == "--list" => {
            STEPS
                .iter()
                .for_each(|step| println!("{:<8} {}", step.name, step.help));
            std::process::exit(0);
        }
        [only, names] if only == "--only" => {
            let steps: anyhow::Result<_> = names.split(',').map(find).collect();
            Ok((steps?, filter))
        }
        _ => bail!("the arguments are [--list] [--only STEP,...] [-- FILTER...]"),
    }
}

fn find(name: &str) -> anyhow::Result<&'static Step> {
    let known = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
    STEPS
        .iter()
        .find(|step| step.name == name)
        .with_context(|| format!("no step `{name}`; there are: {}", known()))
}

fn set_up(_filter: &[String]) -> anyhow::Result<Tally> {
    setup::run(&[])?;
    Ok(Tally::default())
}

fn formatting(_filter: &[String]) -> anyhow::Result<Tally> {
    one(
        shell::cargo().args(["fmt", "--all", "--check"]),
        "`cargo xtask fix` mends the formatting",
    )
}

fn generated_code(_filter: &[String]) -> anyhow::Result<Tally> {
    codegen::run(true)?;
    Ok(Tally::PASSED)
}

fn clippy(_filter: &[String]) -> anyhow::Result<Tally> {
    let mut command = shell::cargo();
    command.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ]);
    one(&mut command, "every warning is an error here")
}

fn build(_filter: &[String]) -> anyhow::Result<Tally> {
    shell::run(shell::cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
    Ok(Tally::default())
}

fn house_rules(_filter: &[String]) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for (rule, complaints) in tidy::check_all()? {
        tally.add(if complaints.is_empty() {
            Tally::PASSED
        } else {
            Tally::FAILED
        });
        tidy::print(rule, &complaints);
    }
    Ok(tally)
}

/// The advisory database is a repository outside of the package registries. Where it cannot be had, the check that
/// needs it is counted as skipped and said aloud, never as passed.
fn deny(_filter: &[String]) -> anyhow::Result<Tally> {
    let tools = Tools::locate()?;
    let deny = |arguments: &[&str]| {
        let mut command = shell::command(tools.deny());
        command.args(["--log-level=error", "--workspace"]).args(arguments);
        command
    };
    let mut tally = Tally::default();
    for what in ["licenses", "bans", "sources"] {
        tally.add(one(
            &mut deny(&["check", "--hide-inclusion-graph", what]),
            "see deny.toml",
        )?);
    }
    let mut fetch = shell::command("timeout");
    fetch
        .arg("60")
        .arg(tools.deny())
        .args(["--log-level=off", "fetch", "db"]);
    if shell::succeeds(&mut fetch) {
        tally.add(one(
            &mut deny(&["check", "--disable-fetch", "advisories"]),
            "see deny.toml",
        )?);
    } else {
        println!("WARNING: the advisory database cannot be reached from this machine:");
        println!("WARNING: dependencies were NOT checked against known vulnerabilities in this run.");
        tally.skipped += 1;
    }
    Ok(tally)
}

fn unit(filter: &[String]) -> anyhow::Result<Tally> {
    let black_box = |package: &str| [CLIENTS, AUDIT, MIGRATE, POWERFAIL].contains(&package);
    let mut command = cargo_test(&["--lib", "--bins"]);
    select(&mut command, |package| !black_box(package))?;
    counted(command, filter)
}

fn doc_examples(filter: &[String]) -> anyhow::Result<Tally> {
    counted(cargo_test(&["--doc"]), filter)
}

fn clients(filter: &[String]) -> anyhow::Result<Tally> {
    let mut command = cargo_test(&[]);
    select(&mut command, |package| package == CLIENTS)?;
    counted(command, filter)
}

fn kill(filter: &[String]) -> anyhow::Result<Tally> {
    let mut command = cargo_test(&[]);
    select(&mut command, |package| package == AUDIT)?;
    counted(command, filter)
}

fn migrate(filter: &[String]) -> anyhow::Result<Tally> {
    let mut command = cargo_test(&[]);
    select(&mut command, |package| package == MIGRATE)?;
    counted(command, filter)
}

fn power(filter: &[String]) -> anyhow::Result<Tally> {
    let mut command = cargo_test(&[]);
    select(&mut command, |package| package == POWERFAIL)?;
    counted(command, filter)
}

/// Always the whole workspace, narrowed by target and not by package: with the same set of features everywhere
/// nothing is compiled twice.
fn cargo_test(arguments: &[&str]) -> Command {
    let mut command = shell::cargo();
    command
        .args(["test", "--quiet", "--workspace", "--no-fail-fast"])
        .args(arguments);
    command
}

/// Adds `--test NAME` for every integration test of the packages wanted. Cargo takes the name for every package that has such a test,
/// so no other package may.
fn select(command: &mut Command, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let metadata = workspace::metadata()?;
    let tests = metadata.packages.iter().flat_map(|package| {
        let is_test = |target: &&workspace::Target| target.kind.iter().any(|kind| kind == "test");
        let tests = package.targets.iter().filter(is_test);
        tests.map(move |target| (package.name.as_str(), target.name.as_str()))
    });
    let (selected, others): (Vec<_>, Vec<_>) = tests.partition(|(package, _)| wanted(package));
    for (package, name) in &selected {
        if let Some((other, _)) = others.iter().find(|(_, other)| other == name) {
            bail!("{package} and {other} both have an integration test {name}: give one another name");
        }
        command.arg("--test").arg(name);
    }
    // Without any selection cargo would run every test there is.
    if selected.is_empty() {
        bail!("there is no integration test to run")
    }
    Ok(())
}

/// A command that is one check.
fn one(command: &mut Command, advice: &str) -> anyhow::Result<Tally> {
    match shell::run(command) {
        Ok(()) => Ok(Tally::PASSED),
        Err(error) => {
            println!("{error:#}: {advice}");
            Ok(Tally::FAILED)
        }
    }
}

/// Runs `cargo test`, shows what it prints and adds up what its test binaries report. A run that fails without a
/// failed test (it did not compile, a test binary crashed) is one failure.
fn counted(mut command: Command, filter: &[String]) -> anyhow::Result<Tally> {
    command.arg("--").args(filter).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo test")?;
    let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
    let mut reader = Reader::default();
    for line in output.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        reader.read(&line);
    }
    let mut tally = reader.end();
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}
