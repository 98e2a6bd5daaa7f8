//! The power goes at every call that a story's operation makes to the disk, with every outcome for what was not synced; the node recovers; the
//! power goes again at every call of the recovery; the node recovers once more. Each way through is counted once.

use everack_storage::disk::{Memory, Outcome};

use crate::flaw::Flaw;
use crate::node::Node;
use crate::oracle::{Broken, Ledger};
use crate::story::{self, drain, is_bound};
use crate::tales::Tale;

/// How much of it is tried.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Every so manieth call of the operation.
    pub step: usize,
    /// Every so manieth call of each recovery; 0 leaves second crashes out.
    pub second_step: usize,
    /// Whether a second crash is given every outcome, or one, in turns.
    pub second_outcomes: bool,
}

/// What was tried, and what came of it. A point is a story, a call of its operation and an outcome; a second point adds a call of the
/// recovery and another outcome.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Calls of operations at which the power went.
    pub calls: u64,
    /// Crash points with one crash.
    pub points: u64,
    /// Crash points with a second crash during recovery.
    pub second_points: u64,
    /// What was broken, with the way there; at most as many as fit on a screen.
    pub broken: Vec<String>,
    /// Points at which something was broken.
    pub violations: u64,
}

const SEED: u64 = 42;
const BROKEN_MAX: usize = 20;

impl Tried {
    /// Adds what was tried elsewhere.
    pub fn merge(&mut self, other: Tried) {
        self.calls += other.calls;
        self.points += other.points;
        self.second_points += other.second_points;
        self.violations += other.violations;
        self.broken.extend(other.broken);
        self.broken.truncate(BROKEN_MAX);
    }

    fn note(&mut self, verdict: Result<(), String>, way: impl FnOnce() -> String) {
        if let Err(text) = verdict {
            self.violations += 1;
            if self.broken.len() < BROKEN_MAX {
                self.broken.push(format!("{}: {text}", way()));
            }
        }
    }
}

/// The log is written past the page cache, as on a usual disk. (Each call of the other way is tried in `storage/tests/crash`.)
fn disk() -> Memory {
    let disk = Memory::new(SEED);
    disk.set_direct(true);
    disk
}

/// The calls of a tale's operation at which a crash makes a difference.
pub fn calls(tale: &Tale, flaw: Flaw) -> Vec<u64> {
    let disk = disk();
    let told = story::tell_with(&disk, tale, flaw);
    let points = disk.crash_points().into_iter();
    points.filter(|call| *call > told.prelude_calls).collect()
}

/// Tries the tale with the power going during one call.
pub fn try_call(tale: &Tale, call: u64, flaw: Flaw, extent: Extent) -> Tried {
    let disk = disk();
    disk.crash_at(call);
    let ledger = story::tell_with(&disk, tale, flaw).ledger;
    disk.crash();
    let mut tried = Tried {
        calls: 1,
        ..Tried::default()
    };
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        let seed = SEED + call * 7 + index as u64;
        let first = disk.restart(outcome, seed);
        tried.points += 1;
        let way = || format!("{}, call {call}, {outcome:?}", tale.name);
        tried.note(judge(&first, &ledger), way);
        if extent.second_step > 0 {
            let again = || disk.restart(outcome, seed);
            try_second(&again, &ledger, extent, &mut tried, &way);
        }
    }
    tried
}

/// The power goes again during the recovery of what `again` gives.
fn try_second(
    again: &dyn Fn() -> Memory,
    ledger: &Ledger,
    extent: Extent,
    tried: &mut Tried,
    way: &dyn Fn() -> String,
) {
    let trial = again();
    drop(Node::start(&trial));
    for (turn, second) in trial
        .crash_points()
        .into_iter()
        .step_by(extent.second_step)
        .enumerate()
    {
        let recovering = again();
        recovering.crash_at(second);
        drop(Node::start(&recovering));
        recovering.crash();
        let outcomes = if extent.second_outcomes {
            &Outcome::ALL[..]
        } else {
            let one = turn % Outcome::ALL.len();
            &Outcome::ALL[one..=one]
        };
        for outcome in outcomes {
            let last = recovering.restart(*outcome, SEED + second);
            tried.second_points += 1;
            tried.note(judge(&last, ledger), || {
                format!("{}, then call {second}, {outcome:?}", way())
            });
        }
    }
}

/// Starts a node on what a crash left behind, and compares what it holds with what clients know.
///
/// # Errors
/// What is broken, in words.
pub fn judge(disk: &Memory, ledger: &Ledger) -> Result<(), String> {
    let node = Node::start(disk).map_err(|error| format!("the node does not start again: {error}"))?;
    let mut broken = ledger.judge(&drain(&node));
    let unbound = ledger
        .bound
        .iter()
        .filter(|((exchange, name), there)| is_bound(&node, exchange, name) != **there);
    broken.extend(unbound.map(|((_, name), _)| Broken::Topology(name.clone())));
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("{broken:?}"))
    }
}
