//! The short form of the crash points: every call of every story's operation with every outcome, some of them with a second crash. The whole is
//! `simulator crash-points`.

use everack_simulator::crash_points::{Extent, Tried, calls, judge, try_call};
use everack_simulator::flaw::Flaw;
use everack_simulator::node::Node;
use everack_simulator::oracle::Fate;
use everack_simulator::story::{self, drain};
use everack_simulator::tales::{LIFE, TALES, Tale};
use everack_storage::disk::{Memory, Outcome};

fn tried(tale: &Tale, extent: Extent) -> Tried {
    let mut tried = Tried::default();
    for call in calls(tale, Flaw::None).into_iter().step_by(extent.step) {
        tried.merge(try_call(tale, call, Flaw::None, extent));
    }
    tried
}

#[test]
fn stories_end_well_without_a_crash() {
    for tale in TALES.iter().chain([&LIFE]) {
        let disk = Memory::new(42);
        let told = story::tell(&disk, tale);
        let fates = told.ledger.queues.values().flat_map(|queue| queue.values());
        let unknown = fates.filter(|fate| **fate == Fate::Unknown).count();
        assert_eq!(unknown, 0, "{}: {:?}", tale.name, told.ledger);
        assert_eq!(
            judge(&disk.kill(), &told.ledger),
            Ok(()),
            "{} after kill -9",
            tale.name
        );
        let calls = calls(tale, Flaw::None).len();
        assert!(calls >= 8, "{} makes {calls} calls worth a crash", tale.name);
    }
}

#[test]
fn a_crash_at_every_call_loses_nothing() {
    let extent = Extent {
        step: 1,
        second_step: 0,
        second_outcomes: false,
    };
    let mut all = Tried::default();
    TALES
        .iter()
        .chain([&LIFE])
        .for_each(|tale| all.merge(tried(tale, extent)));
    println!("{} crash points at {} calls", all.points, all.calls);
    assert_eq!(all.violations, 0, "{:#?}", all.broken);
    assert!(all.points >= 2_000, "{} points", all.points);
}

#[test]
fn a_second_crash_during_recovery_loses_nothing() {
    let extent = Extent {
        step: 9,
        second_step: 2,
        second_outcomes: false,
    };
    let mut all = Tried::default();
    TALES
        .iter()
        .chain([&LIFE])
        .for_each(|tale| all.merge(tried(tale, extent)));
    println!("{} second crash points", all.second_points);
    assert_eq!(all.violations, 0, "{:#?}", all.broken);
    assert!(all.second_points >= 2_000, "{} second points", all.second_points);
}

#[test]
fn loss_is_found_on_a_disk_that_lies() {
    let lived = |call: Option<u64>| {
        let disk = Memory::new(42);
        disk.set_lying(true);
        call.into_iter().for_each(|call| disk.crash_at(call));
        let ledger = story::tell(&disk, &LIFE).ledger;
        (disk, ledger)
    };
    let mut lost = 0;
    for call in lived(None).0.crash_points().into_iter().step_by(10) {
        let (disk, ledger) = lived(Some(call));
        disk.crash();
        let again = disk.restart(Outcome::Nothing, 42);
        let broken = Node::start(&again).map(|node| ledger.judge(&drain(&node)));
        lost += usize::from(!broken.is_ok_and(|broken| broken.is_empty()));
    }
    assert!(
        lost > 0,
        "syncs do nothing, and yet nothing is missing: the oracle sees nothing"
    );
}
