//! The oracle can fail: bugs that are put back are found, and within how many crashes. And a story is the same each time.

use everack_simulator::flaw::Flaw;
use everack_simulator::node::Node;
use everack_simulator::story::{self, drain};
use everack_storage::disk::{Disk, Memory, Outcome};

const SEED: u64 = 42;

/// Puts the crash at each call of the story, first to last, until something is broken: how many crashes that took.
fn crashes_needed(flaw: Flaw) -> Option<usize> {
    let disk = Memory::new(SEED);
    story::tell_with(&disk, flaw);
    let crashes = disk
        .crash_points()
        .into_iter()
        .flat_map(|call| Outcome::ALL.map(|outcome| (call, outcome)));
    let found = crashes
        .enumerate()
        .find(|(_, (call, outcome))| is_broken(flaw, *call, *outcome));
    found.map(|(index, _)| index + 1)
}

fn is_broken(flaw: Flaw, call: u64, outcome: Outcome) -> bool {
    let disk = Memory::new(SEED);
    disk.crash_at(call);
    let told = story::tell_with(&disk, flaw);
    disk.crash();
    match Node::start(&disk.restart(outcome, SEED + call)) {
        Ok(node) => !told.ledger.judge(&drain(&node)).is_empty(),
        Err(_) => true,
    }
}

/// The bug is found, within so many crashes.
fn check(flaw: Flaw, crashes_max: usize) {
    let needed = crashes_needed(flaw);
    println!("{flaw:?}: found at crash {needed:?}");
    assert!(
        needed.is_some_and(|needed| needed <= crashes_max),
        "{flaw:?} is found at crash {needed:?}"
    );
}

#[test]
fn a_confirm_before_the_sync_is_found() {
    check(Flaw::ConfirmsEarly, 150);
}

#[test]
fn settlements_that_are_not_replayed_are_found() {
    check(Flaw::ForgetsSettlements, 300);
}

#[test]
fn a_segment_that_goes_before_the_checkpoint_is_found() {
    check(Flaw::RetiresEarly, 900);
}

/// All files of a disk.
fn image(disk: &Memory) -> Vec<(String, Option<Vec<u8>>)> {
    let mut names: Vec<String> = disk
        .list()
        .expect("the disk lists")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), disk.contents(&name)))
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let lived = |call: Option<u64>| {
        let disk = Memory::new(SEED);
        if let Some(call) = call {
            disk.crash_at(call);
        }
        let ledger = format!("{:?}", story::tell(&disk).ledger);
        disk.crash();
        let images = Outcome::ALL.map(|outcome| image(&disk.restart(outcome, SEED)));
        (disk.calls(), ledger, images)
    };
    let whole = Memory::new(SEED);
    story::tell(&whole);
    let some = whole.crash_points().into_iter().step_by(40).map(Some);
    for call in some.chain([None]) {
        assert!(
            lived(call) == lived(call),
            "two lives that end at call {call:?} differ"
        );
    }
}
