//! Many histories on all cores: seeds, known bugs, and what they came to. A history that panics is a violation like any other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::coverage::Coverage;
use crate::flaw::Flaw;
use crate::properties::Violation;
use crate::world::{self, Told};

/// What many histories came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many there were.
    pub seeds: u64,
    /// Those with violations, in the order of their seeds.
    pub failures: BTreeMap<u64, Vec<Violation>>,
    /// What happened how often, over all.
    pub coverage: Coverage,
    /// The longest time that a disk took for one round, in simulated microseconds.
    pub longest_round_us: u64,
}

/// How a known bug was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The bug.
    pub flaw: Flaw,
    /// Seeds tried.
    pub tried: u64,
    /// Seeds in which something was broken.
    pub found: u64,
    /// How many seeds it took until the first.
    pub first: Option<u64>,
    /// Which properties were broken, and in how many seeds.
    pub properties: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn take(&mut self, told: Told) {
        self.seeds += 1;
        self.coverage.merge(&told.coverage);
        self.longest_round_us = self.longest_round_us.max(told.longest_round_us);
        if !told.violations.is_empty() {
            self.failures.insert(told.seed, told.violations);
        }
    }

    /// How often a process came to its end, whatever the way.
    pub fn crashes(&self) -> u64 {
        let count = |kind| self.coverage.count(kind);
        [
            "power lost: nothing survives",
            "power lost: a prefix survives",
            "power lost: some sectors survive",
            "power lost: everything survives",
            "processes killed",
            "crashes during recovery",
        ]
        .into_iter()
        .map(count)
        .sum()
    }
}

/// Plays one history; a panic of the code under test breaks the property `panics`.
pub fn play(seed: u64, flaw: Flaw, with_lines: bool) -> Told {
    let played = catch_unwind(AssertUnwindSafe(|| world::play(seed, flaw, with_lines)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Told {
            seed,
            violations: vec![Violation {
                property: "panics",
                text: text.unwrap_or_else(|| "without words".to_owned()),
                at_us: 0,
            }],
            coverage: Coverage::default(),
            hash: 0,
            lines: Vec::new(),
            longest_round_us: 0,
        }
    })
}

/// Plays seeds from `from` on, on `threads` threads, as long as `goes_on` says so of the number begun.
pub fn seeds(from: u64, threads: usize, flaw: Flaw, goes_on: impl Fn(u64) -> bool + Sync) -> Summary {
    many(from, threads, flaw, |begun, _| goes_on(begun))
}

/// Looks for a known bug in so many seeds, and no further than to the first that finds it.
pub fn first(flaw: Flaw, from: u64, count: u64, threads: usize) -> Option<u64> {
    let summary = many(from, threads, flaw, |begun, summary| {
        begun < count && summary.failures.is_empty()
    });
    summary.failures.keys().next().copied()
}

/// `goes_on` gets the number begun, and what has come of those that are over.
fn many(from: u64, threads: usize, flaw: Flaw, goes_on: impl Fn(u64, &Summary) -> bool + Sync) -> Summary {
    let (next, summary) = (AtomicU64::new(0), Mutex::new(Summary::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(index, &summary.lock()) {
                        return;
                    }
                    let told = play(from + index, flaw, false);
                    summary.lock().take(told);
                }
            });
        }
    });
    summary.into_inner()
}

/// Looks for a known bug in so many seeds.
pub fn find(flaw: Flaw, from: u64, count: u64, threads: usize) -> Finding {
    let summary = seeds(from, threads, flaw, |index| index < count);
    let mut properties = BTreeMap::new();
    for violation in summary
        .failures
        .values()
        .filter_map(|violations| violations.first())
    {
        *properties.entry(violation.property).or_default() += 1;
    }
    Finding {
        flaw,
        tried: summary.seeds,
        found: summary.failures.len() as u64,
        first: summary.failures.keys().next().map(|seed| seed - from + 1),
        properties,
    }
}
