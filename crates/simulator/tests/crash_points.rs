//! The power goes at every call that the story makes to the disk, with every outcome for what was not synced; the node recovers; the
//! power goes again at every call of the recovery; the node recovers once more. Nothing that a client saw confirmed may be lost,
//! torn, damaged or doubled, and nothing durably settled may come back. With a disk that lies about syncs, loss is found.

use everack_simulator::node::Node;
use everack_simulator::oracle::{Broken, Ledger};
use everack_simulator::story::{self, drain};
use everack_storage::disk::{Memory, Outcome};

const SEED: u64 = 42;

/// Tells the story on a disk that crashes at `call`, and returns what clients know.
fn crashed_story(call: u64, lying: bool) -> (Memory, Ledger) {
    let disk = Memory::new(SEED);
    disk.set_lying(lying);
    disk.crash_at(call);
    let told = story::tell(&disk);
    disk.crash();
    (disk, told.ledger)
}

fn judge(disk: &Memory, ledger: &Ledger) -> Vec<Broken> {
    match Node::start(disk) {
        Ok(node) => ledger.judge(&drain(&node)),
        Err(error) => panic!("the node does not start again: {error}"),
    }
}

fn story_calls(lying: bool) -> Vec<u64> {
    let disk = Memory::new(SEED);
    disk.set_lying(lying);
    story::tell(&disk);
    disk.crash_points()
}

#[test]
fn the_story_ends_well_without_a_crash() {
    let disk = Memory::new(SEED);
    let ledger = story::tell(&disk).ledger;
    assert!(
        disk.crash_points().len() > 200,
        "the story makes {} calls worth a crash",
        disk.crash_points().len()
    );
    let unknown = ledger.queues.values().flat_map(|queue| queue.values());
    assert!(
        unknown
            .filter(|fate| **fate == everack_simulator::oracle::Fate::Unknown)
            .count()
            == 0,
        "{ledger:?}"
    );
    assert_eq!(judge(&disk.kill(), &ledger), [], "after kill -9");
}

#[test]
fn a_crash_at_every_call_loses_nothing() {
    for call in story_calls(false) {
        let (disk, ledger) = crashed_story(call, false);
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            let again = disk.restart(outcome, SEED + call * 7 + index as u64);
            assert_eq!(judge(&again, &ledger), [], "call {call}, {outcome:?}");
        }
    }
}

#[test]
fn a_second_crash_during_recovery_loses_nothing() {
    for call in story_calls(false).into_iter().step_by(5) {
        let (disk, ledger) = crashed_story(call, false);
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            let seed = SEED + call * 7 + index as u64;
            let trial = disk.restart(outcome, seed);
            drop(Node::start(&trial));
            for second in trial.crash_points() {
                let recovering = disk.restart(outcome, seed);
                recovering.crash_at(second);
                drop(Node::start(&recovering));
                recovering.crash();
                let last = Outcome::ALL[(second as usize + index) % 4];
                let again = recovering.restart(last, seed + second);
                assert_eq!(
                    judge(&again, &ledger),
                    [],
                    "call {call}, {outcome:?}, then call {second}, {last:?}"
                );
            }
        }
    }
}

#[test]
fn loss_is_found_on_a_disk_that_lies() {
    let mut lost = 0;
    for call in story_calls(true).into_iter().step_by(10) {
        let (disk, ledger) = crashed_story(call, true);
        let again = disk.restart(Outcome::Nothing, SEED);
        let broken = Node::start(&again).map(|node| ledger.judge(&drain(&node)));
        lost += usize::from(!broken.is_ok_and(|broken| broken.is_empty()));
    }
    assert!(
        lost > 0,
        "syncs do nothing, and yet nothing is missing: the oracle sees nothing"
    );
}
