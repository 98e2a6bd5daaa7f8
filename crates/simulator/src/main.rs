//! `simulator`: plays histories by their seeds, looks for known bugs that are put back on purpose, and tries crash points. Exit status 0: nothing was
//! broken; 1: something was; 2: it was asked for something that it does not know.

mod arguments;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arguments::{Arguments, Command};
use everack_simulator::campaign::{self, Finding, Summary};
use everack_simulator::coverage::{Coverage, KINDS};
use everack_simulator::crash_points::{self, Extent, Tried};
use everack_simulator::flaw::Flaw;
use everack_simulator::tales::{LIFE, TALES, Tale};

/// Failures that are told one by one.
const FAILURES_TOLD: usize = 20;
/// Lines that explain a failure, unless all are wanted.
const LINES_TOLD: usize = 30;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    if arguments.command != Command::One {
        // A panic is counted as a violation; its text is told there.
        std::panic::set_hook(Box::new(|_| ()));
    }
    let well = match arguments.command {
        Command::One => one(&arguments),
        Command::Seeds => seeds(&arguments),
        Command::Flaws => flaws(&arguments),
        Command::CrashPoints => crash(&arguments),
        Command::Help => {
            println!("{}", arguments::USAGE);
            true
        }
    };
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One history, told.
fn one(arguments: &Arguments) -> bool {
    let told = campaign::play(arguments.from, arguments.flaw, true);
    let from = if arguments.trace {
        0
    } else {
        told.lines.len().saturating_sub(LINES_TOLD)
    };
    told.lines[from..].iter().for_each(|line| println!("{line}"));
    println!("hash {:016x}", told.hash);
    for violation in &told.violations {
        println!(
            "{}: {} (at {} µs)",
            violation.property, violation.text, violation.at_us
        );
    }
    told.violations.is_empty()
}

fn seeds(arguments: &Arguments) -> bool {
    let start = Instant::now();
    let goes_on = |index: u64| match arguments.lasts {
        Some(lasts) => start.elapsed() < lasts,
        None => index < arguments.seeds,
    };
    let summary = campaign::seeds(arguments.from, arguments.threads, arguments.flaw, goes_on);
    tell_failures(&summary, arguments.flaw);
    tell_coverage(&summary.coverage);
    println!(
        "{} seeds from {} in {:.1?}: {} with violations; {} ends of processes, the longest round of a disk {:.1} ms (simulated)",
        summary.seeds,
        arguments.from,
        start.elapsed(),
        summary.failures.len(),
        summary.crashes(),
        summary.longest_round_us as f64 / 1000.0,
    );
    if arguments.json {
        println!("{}", seeds_json(arguments, &summary, start.elapsed()));
    }
    summary.failures.is_empty()
}

fn tell_failures(summary: &Summary, flaw: Flaw) {
    let flaw = if flaw == Flaw::None {
        String::new()
    } else {
        format!(" --flaw {}", flaw.name())
    };
    for (seed, violations) in summary.failures.iter().take(FAILURES_TOLD) {
        for violation in violations {
            println!("seed {seed}: {}: {}", violation.property, violation.text);
        }
        println!("    cargo run -p everack-simulator --release -- --seed {seed}{flaw} --trace");
    }
}

fn tell_coverage(coverage: &Coverage) {
    for kind in KINDS {
        println!("{:>12}  {kind}", coverage.count(kind));
    }
}

fn seeds_json(arguments: &Arguments, summary: &Summary, took: Duration) -> String {
    let failing: Vec<u64> = summary.failures.keys().copied().take(100).collect();
    let coverage = KINDS.map(|kind| format!("{kind:?}: {}", summary.coverage.count(kind)));
    format!(
        "{{\"seeds\": {}, \"from\": {}, \"violations\": {}, \"failing_seeds\": {failing:?}, \"crashes\": {}, \"messages\": {}, \
         \"longest_round_us\": {}, \"seconds\": {:.1}, \"flaw\": {:?}, \"coverage\": {{{}}}}}",
        summary.seeds,
        arguments.from,
        summary.failures.len(),
        summary.crashes(),
        summary.coverage.count("messages sent"),
        summary.longest_round_us,
        took.as_secs_f64(),
        arguments.flaw.name(),
        coverage.join(", "),
    )
}

/// Looks for each known bug, and prints the table of `docs/internals/simulator.md`.
fn flaws(arguments: &Arguments) -> bool {
    let chosen: Vec<Flaw> = match arguments.flaw {
        Flaw::None => Flaw::ALL.to_vec(),
        flaw => vec![flaw],
    };
    println!("| bug | seeds with a violation | first in seed | broken first |\n|---|---|---|---|");
    let mut findings = Vec::new();
    for flaw in chosen {
        let finding = campaign::find(flaw, arguments.from, arguments.seeds, arguments.threads);
        println!("{}", row(&finding));
        findings.push(finding);
    }
    let found = findings.iter().filter(|finding| finding.found > 0).count();
    println!(
        "{found} of {} known bugs found in {} seeds each",
        findings.len(),
        arguments.seeds
    );
    if arguments.json {
        let each = findings.iter().map(|finding| {
            let first = finding.first.map_or("null".to_owned(), |first| first.to_string());
            format!(
                "{:?}: {{\"found\": {}, \"tried\": {}, \"first\": {first}}}",
                finding.flaw.name(),
                finding.found,
                finding.tried
            )
        });
        let each: Vec<String> = each.collect();
        println!(
            "{{\"flaws\": {}, \"flaws_found\": {found}, \"seeds\": {}, \"each\": {{{}}}}}",
            findings.len(),
            arguments.seeds,
            each.join(", ")
        );
    }
    found == findings.len()
}

fn row(finding: &Finding) -> String {
    let properties: BTreeMap<_, _> = finding
        .properties
        .iter()
        .map(|(name, count)| (*name, *count))
        .collect();
    let properties: Vec<String> = properties
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    format!(
        "| `{}` | {} of {} | {} | {} |",
        finding.flaw.name(),
        finding.found,
        finding.tried,
        finding.first.map_or("–".to_owned(), |first| first.to_string()),
        properties.join(", ")
    )
}

/// Tries every call of every story.
fn crash(arguments: &Arguments) -> bool {
    let start = Instant::now();
    let tales: Vec<&Tale> = TALES.iter().chain([&LIFE]).collect();
    let chosen = |tale: &&Tale| arguments.tale.as_ref().is_none_or(|name| tale.name == name);
    let tales: Vec<&Tale> = tales.into_iter().filter(chosen).collect();
    let extent = Extent {
        step: 1,
        second_step: arguments.second_step,
        second_outcomes: arguments.second_outcomes,
    };
    let mut all = Tried::default();
    for tale in &tales {
        let tried = crash_tale(tale, arguments, extent);
        println!(
            "{:<22} {:>5} calls  {:>6} points  {:>8} with a second crash  {} violations",
            tale.name, tried.calls, tried.points, tried.second_points, tried.violations
        );
        tried.broken.iter().for_each(|broken| println!("    {broken}"));
        all.merge(tried);
    }
    let total = all.points + all.second_points;
    println!(
        "{total} crash points in {} stories, {:.1?}",
        tales.len(),
        start.elapsed()
    );
    if arguments.json {
        println!(
            "{{\"traces\": {}, \"calls\": {}, \"crash_points\": {total}, \"first_crash_points\": {}, \"second_crash_points\": {}, \
             \"violations\": {}, \"seconds\": {:.1}, \"flaw\": {:?}}}",
            tales.len(),
            all.calls,
            all.points,
            all.second_points,
            all.violations,
            start.elapsed().as_secs_f64(),
            arguments.flaw.name(),
        );
    }
    all.violations == 0
}

fn crash_tale(tale: &Tale, arguments: &Arguments, extent: Extent) -> Tried {
    let calls = crash_points::calls(tale, arguments.flaw);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut tried = Tried::default();
        while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
            tried.merge(crash_points::try_call(tale, *call, arguments.flaw, extent));
        }
        tried
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        let mut all = Tried::default();
        for worker in workers {
            match worker.join() {
                Ok(tried) => all.merge(tried),
                Err(_) => all.violations += 1,
            }
        }
        all
    })
}
