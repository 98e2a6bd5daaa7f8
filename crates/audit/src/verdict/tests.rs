//! Small journals, written by hand, and what the judge must say of them.

use super::{Flaw, Judge, Promises, SettleBound, Verdict};
use crate::Id;
use crate::faults::Fault;
use crate::journal::{Entry, Range, Route};
use crate::workload::Kind;
use std::time::Duration;

/// Time between two entries: far less than the bound.
const STEP_MICROS: u64 = 10;
/// An ack that is received this long before a crash must be kept.
const LONG_MICROS: u64 = 50_000;

const EVERACK: Promises = Promises {
    settle: SettleBound::After(Duration::from_millis(10)),
    atomic_over_queues: true,
};
const NOTHING: Promises = Promises {
    settle: SettleBound::None,
    atomic_over_queues: false,
};

const fn id(number: u64) -> Id {
    Id { publisher: 1, number }
}

const fn range(first: u64, count: u32) -> Range {
    Range {
        publisher: 1,
        first,
        count,
    }
}

/// Words for a journal of publisher 1 and its consumers.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Consumer, number: a first delivery.
    Got(u32, u64),
    /// Consumer, number: flagged as redelivered.
    Again(u32, u64),
    Ack(u32, u64),
    Return(u32, u64),
    Withdraw(u32, u64),
    Damaged(u32, u64),
    /// A question behind everything that this consumer sent, and its answer.
    Proof(u32),
    Asked(u32),
    Close(u32),
    /// The broker is killed, and life goes on with the next one.
    Crash,
    /// A long time passes.
    Wait,
    Refused(u64),
    Gone,
}

use Step::*;

/// A run: three messages of publisher 1, confirmed; consumers 1 and 2 in life 0, 11 and 12 in life 1; then the steps.
struct Case {
    workload: Kind,
    route: Route,
    queues: Vec<u16>,
    /// Queues of the consumers 1, 2, 11, 12.
    places: [u16; 4],
    transactional: bool,
    transaction: Option<Vec<Entry>>,
    promises: Promises,
    drained: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            workload: Kind::Compete,
            route: Route::Every,
            queues: vec![0],
            places: [0; 4],
            transactional: false,
            transaction: None,
            promises: EVERACK,
            drained: true,
        }
    }
}

impl Case {
    fn judge(&self, steps: &[Step]) -> Verdict {
        let mut judge = Judge::new(self.promises);
        let mut now = 0;
        let mut see = |entry: Entry| {
            now += STEP_MICROS;
            judge.see(now, &entry);
        };
        see(Entry::Publisher {
            publisher: 1,
            workload: self.workload,
            route: self.route,
            queues: self.queues.clone(),
        });
        see(Entry::Started { life: 0 });
        for (consumer, queue) in [1, 2, 11, 12].into_iter().zip(self.places) {
            see(Entry::Opened {
                consumer,
                queue,
                life: u32::from(consumer > 10),
                transactional: self.transactional,
            });
        }
        match &self.transaction {
            Some(entries) => entries.iter().cloned().for_each(&mut see),
            None => [Entry::Intended(range(1, 3)), Entry::Confirmed(range(1, 3))]
                .into_iter()
                .for_each(&mut see),
        }
        let mut waited = 0;
        for step in steps {
            match *step {
                Wait => waited += LONG_MICROS,
                Crash => {
                    now += std::mem::take(&mut waited);
                    let crash = [
                        Entry::Fault(Fault::Kill),
                        Entry::Ending { life: 0 },
                        Entry::Ended { life: 0 },
                        Entry::Started { life: 1 },
                    ];
                    for entry in crash {
                        now += STEP_MICROS;
                        judge.see(now, &entry);
                    }
                }
                Proof(consumer) => {
                    for entry in [Entry::Asked { consumer }, Entry::Answered { consumer }] {
                        now += STEP_MICROS;
                        judge.see(now, &entry);
                    }
                }
                step => {
                    now += STEP_MICROS + std::mem::take(&mut waited);
                    judge.see(now, &entry(step));
                }
            }
        }
        if self.drained {
            judge.see(now, &Entry::Draining);
            judge.see(now, &Entry::Drained { left: 0 });
        }
        judge.sum_up()
    }

    /// Each case names the one flaw that it has once; `None` is a clean verdict.
    fn check(&self, flaw: Option<Flaw>, steps: &[Step]) -> Verdict {
        let verdict = self.judge(steps);
        for other in Flaw::ALL {
            let expected = u64::from(flaw == Some(other));
            assert_eq!(
                verdict.count(other),
                expected,
                "{} in {steps:?}: {verdict}",
                other.name()
            );
        }
        assert_eq!(verdict.is_clean(), flaw.is_none(), "{verdict}");
        verdict
    }
}

fn entry(step: Step) -> Entry {
    match step {
        Got(consumer, number) => Entry::Delivered {
            consumer,
            id: id(number),
            redelivered: false,
        },
        Again(consumer, number) => Entry::Delivered {
            consumer,
            id: id(number),
            redelivered: true,
        },
        Ack(consumer, number) => Entry::Acked {
            consumer,
            id: id(number),
        },
        Return(consumer, number) => Entry::Returned {
            consumer,
            id: id(number),
        },
        Withdraw(consumer, number) => Entry::Withdrawn {
            consumer,
            id: id(number),
        },
        Damaged(consumer, number) => Entry::Damaged {
            consumer,
            id: Some(id(number)),
        },
        Asked(consumer) => Entry::Asked { consumer },
        Close(consumer) => Entry::Closed { consumer },
        Refused(number) => Entry::Refused(range(number, 1)),
        Gone => Entry::QueueGone { queue: 0 },
        Crash | Wait | Proof(_) => unreachable!("these are more than one entry"),
    }
}

fn check(flaw: Option<Flaw>, steps: &[Step]) -> Verdict {
    Case::default().check(flaw, steps)
}

/// All three messages, delivered to consumer 1, acked and proven.
const ALL: [Step; 7] = [
    Got(1, 1),
    Ack(1, 1),
    Got(1, 2),
    Ack(1, 2),
    Got(1, 3),
    Ack(1, 3),
    Proof(1),
];

fn all_and(rest: &[Step]) -> Vec<Step> {
    [&ALL, rest].concat()
}

#[test]
fn a_clean_run() {
    let verdict = check(None, &ALL);
    assert_eq!((verdict.confirmed, verdict.delivered, verdict.unknown), (3, 3, 0));
    check(
        None,
        &[Got(1, 1), Got(2, 2), Got(1, 3), Ack(1, 3), Ack(2, 2), Ack(1, 1)],
    );
}

#[test]
fn what_is_confirmed_and_never_comes_is_lost() {
    check(Some(Flaw::Lost), &[Got(1, 1), Ack(1, 1), Got(1, 3), Ack(1, 3)]);
    let undrained = Case {
        drained: false,
        ..Case::default()
    };
    undrained.check(None, &[Got(1, 1), Ack(1, 1)]);
}

#[test]
fn what_was_held_at_a_crash_and_never_comes_again_is_lost() {
    let before = [Got(1, 1), Got(1, 2), Got(1, 3), Ack(1, 1), Ack(1, 2), Crash];
    check(Some(Flaw::Lost), &before);
    check(None, &[&before[..], &[Again(11, 3), Ack(11, 3)]].concat());
}

#[test]
fn an_ack_after_the_broker_is_dead_settles_nothing() {
    let before = [
        Got(1, 1),
        Got(1, 2),
        Got(1, 3),
        Ack(1, 1),
        Ack(1, 2),
        Crash,
        Ack(1, 3),
    ];
    check(Some(Flaw::Lost), &before);
}

#[test]
fn a_rolled_back_ack_settles_nothing() {
    let before = [Got(1, 1), Ack(1, 1), Got(1, 2), Ack(1, 2), Got(1, 3), Ack(1, 3)];
    check(Some(Flaw::Lost), &[&before[..], &[Withdraw(1, 3)]].concat());
    check(None, &[&before[..], &[Withdraw(1, 3), Ack(1, 3)]].concat());
}

#[test]
fn what_nobody_published_is_a_phantom() {
    check(Some(Flaw::Phantom), &all_and(&[Got(1, 9)]));
    check(Some(Flaw::Damaged), &all_and(&[Damaged(1, 9)]));
    let elsewhere = Case {
        places: [0, 5, 0, 0],
        ..Case::default()
    };
    elsewhere.check(Some(Flaw::Phantom), &all_and(&[Got(2, 1)]));
}

#[test]
fn a_refused_message_is_owed_to_nobody() {
    let case = Case {
        transaction: Some(vec![Entry::Intended(range(1, 3)), Entry::Confirmed(range(1, 2))]),
        ..Case::default()
    };
    let two = [Got(1, 1), Ack(1, 1), Got(1, 2), Ack(1, 2)];
    let verdict = case.check(None, &[&two[..], &[Refused(3)]].concat());
    assert_eq!((verdict.refused, verdict.unknown), (1, 0));
    let verdict = case.check(None, &[&two[..], &[Refused(3), Got(1, 3), Ack(1, 3)]].concat());
    assert_eq!(verdict.refused_delivered, 1);
    let verdict = case.check(None, &[&two[..], &[Got(1, 3), Ack(1, 3)]].concat());
    assert_eq!((verdict.unknown, verdict.unconfirmed_delivered), (1, 1));
}

#[test]
fn every_queue_of_a_fanout_must_give_it() {
    let case = Case {
        workload: Kind::Fanout,
        queues: vec![0, 1],
        places: [0, 1, 0, 1],
        ..Case::default()
    };
    let other = [Got(2, 1), Ack(2, 1), Got(2, 2), Ack(2, 2)];
    case.check(Some(Flaw::Lost), &all_and(&other));
    case.check(None, &all_and(&[&other[..], &[Got(2, 3), Ack(2, 3)]].concat()));
}

#[test]
fn a_chain_may_settle_anywhere() {
    let case = Case {
        workload: Kind::Dlx,
        route: Route::Chain,
        queues: vec![0, 1],
        places: [0, 1, 0, 1],
        ..Case::default()
    };
    let two = [Got(1, 3), Ack(1, 3), Got(1, 1), Ack(1, 1), Got(1, 2)];
    case.check(Some(Flaw::Lost), &two);
    let verdict = case.check(None, &[&two[..], &[Return(1, 2), Got(2, 2), Ack(2, 2)]].concat());
    assert_eq!(verdict.unflagged, 0, "a dead letter is a new message");
}

#[test]
fn a_settlement_may_be_forgotten_by_a_crash_while_it_is_young() {
    let verdict = check(None, &all_and(&[Crash, Again(11, 3), Ack(11, 3)]));
    assert_eq!(verdict.resurrected, 1);
    assert!(verdict.resurrected_oldest < Duration::from_millis(1));
    let verdict = check(
        Some(Flaw::Resurrected),
        &all_and(&[Wait, Crash, Again(11, 3), Ack(11, 3)]),
    );
    assert_eq!(verdict.resurrected, 1);
    assert!(verdict.resurrected_oldest >= Duration::from_micros(LONG_MICROS));
}

#[test]
fn a_settlement_whose_arrival_nobody_proved_may_be_forgotten() {
    let unproven = [
        Got(1, 1),
        Got(1, 2),
        Got(1, 3),
        Ack(1, 1),
        Ack(1, 2),
        Proof(1),
        Ack(1, 3),
    ];
    let back = [Wait, Crash, Again(11, 3), Ack(11, 3)];
    let verdict = check(None, &[&unproven[..], &back[..]].concat());
    assert_eq!((verdict.resurrected, verdict.in_flight), (0, 1));
    let asked = [&unproven[..], &[Asked(1)], &back[..]].concat();
    assert_eq!(check(None, &asked).in_flight, 1);
}

#[test]
fn a_longer_sync_makes_the_bound_longer() {
    let mut judge = Judge::new(EVERACK);
    judge.see(1, &Entry::Synced { micros: 70_000 });
    judge.see(2, &Entry::Synced { micros: 60_000 });
    assert_eq!(judge.sum_up().settle_bound, Some(Duration::from_millis(80)));
    let mut judge = Judge::new(EVERACK);
    judge.see(1, &Entry::Synced { micros: 70_000 });
    judge.see(2, &Entry::Durable { micros: 90_000 });
    assert_eq!(judge.sum_up().settle_bound, Some(Duration::from_millis(100)));
}

#[test]
fn without_a_bound_a_settlement_may_come_back_after_any_time() {
    let case = Case {
        promises: NOTHING,
        ..Case::default()
    };
    let verdict = case.check(None, &all_and(&[Wait, Crash, Again(11, 3), Ack(11, 3)]));
    assert_eq!(verdict.resurrected, 1);
}

#[test]
fn a_committed_settlement_never_comes_back() {
    let case = Case {
        transactional: true,
        ..Case::default()
    };
    case.check(
        Some(Flaw::Resurrected),
        &all_and(&[Crash, Again(11, 3), Ack(11, 3)]),
    );
}

#[test]
fn without_a_crash_a_received_settlement_is_final() {
    check(
        Some(Flaw::Duplicated),
        &all_and(&[Again(2, 3), Ack(2, 3), Proof(2)]),
    );
    // The second one's channel was dead already when it looked at this: it proves nothing.
    check(None, &all_and(&[Again(2, 3), Close(2)]));
    // The ack went down with its connection.
    let lost = [
        Got(1, 1),
        Ack(1, 1),
        Got(1, 2),
        Ack(1, 2),
        Proof(1),
        Got(1, 3),
        Ack(1, 3),
        Close(1),
    ];
    let verdict = check(None, &[&lost[..], &[Again(2, 3), Ack(2, 3), Proof(2)]].concat());
    assert_eq!(verdict.in_flight, 1);
}

#[test]
fn two_must_not_hold_the_same_message() {
    let rest = [Got(1, 2), Ack(1, 2), Got(1, 3), Ack(1, 3)];
    let both = [Got(1, 1), Again(2, 1), Proof(1), Proof(2), Ack(2, 1)];
    check(Some(Flaw::Duplicated), &[&both[..], &rest].concat());
    let dropped = [Got(1, 1), Close(1), Again(2, 1), Proof(2), Ack(2, 1)];
    let rest_of_two = [Got(2, 2), Ack(2, 2), Got(2, 3), Ack(2, 3)];
    check(None, &[&dropped[..], &rest_of_two].concat());
    let returned = [
        Got(1, 1),
        Return(1, 1),
        Again(2, 1),
        Proof(1),
        Proof(2),
        Ack(2, 1),
    ];
    check(None, &[&returned[..], &rest].concat());
    let twice = [Got(1, 1), Again(1, 1), Proof(1), Ack(1, 1)];
    check(Some(Flaw::Duplicated), &[&twice[..], &rest].concat());
}

#[test]
fn what_comes_again_says_so() {
    let rest = [Got(1, 2), Ack(1, 2), Got(1, 3), Ack(1, 3)];
    let verdict = check(
        None,
        &[&[Got(1, 1), Return(1, 1), Got(2, 1), Ack(2, 1)], &rest[..]].concat(),
    );
    assert_eq!(verdict.unflagged, 1);
}

#[test]
fn later_messages_do_not_overtake() {
    let acks = [Ack(1, 1), Ack(1, 2), Ack(1, 3), Ack(2, 2)];
    let check = |flaw, deliveries: &[Step]| Case::default().check(flaw, &[deliveries, &acks].concat());
    check(Some(Flaw::Reordered), &[Got(1, 1), Got(1, 3), Got(1, 2)]);
    check(None, &[Got(1, 1), Got(1, 3), Got(2, 2)]);
    check(
        None,
        &[Got(1, 1), Got(1, 2), Return(1, 1), Again(1, 1), Got(1, 3)],
    );
    check(None, &[Got(1, 1), Got(1, 3), Again(1, 2)]);
    let priorities = Case {
        workload: Kind::Priority,
        ..Case::default()
    };
    priorities.check(None, &[&[Got(1, 3), Got(1, 2), Got(1, 1)], &acks[..]].concat());
}

/// Consumer 1 takes queue 0, consumer 2 queue 1; even numbers are in queue 0.
fn transaction(answer: Option<Entry>) -> Case {
    let begun = [Entry::Intended(range(1, 3)), Entry::Transaction(range(1, 3))];
    Case {
        workload: Kind::Tx,
        route: Route::Turns,
        queues: vec![0, 1],
        places: [0, 1, 0, 1],
        transaction: Some(begun.into_iter().chain(answer).collect()),
        ..Case::default()
    }
}

#[test]
fn a_transaction_comes_whole_or_not_at_all() {
    let whole = [Got(1, 2), Ack(1, 2), Got(2, 1), Ack(2, 1), Got(2, 3), Ack(2, 3)];
    let confirmed = || transaction(Some(Entry::Confirmed(range(1, 3))));
    confirmed().check(None, &whole);
    confirmed().check(Some(Flaw::Lost), &whole[..4]);
    transaction(None).check(None, &whole);
    transaction(None).check(None, &[]);
    transaction(None).check(Some(Flaw::Torn), &whole[..2]);
    let over_queues = Case {
        promises: NOTHING,
        ..transaction(None)
    };
    let verdict = over_queues.check(None, &whole[..2]);
    assert_eq!(verdict.torn_over_queues, 1);
    over_queues.check(Some(Flaw::Torn), &whole[..4]);
    transaction(Some(Entry::RolledBack(range(1, 3)))).check(None, &[]);
    transaction(Some(Entry::RolledBack(range(1, 3)))).check(Some(Flaw::Phantom), &whole[..2]);
}

#[test]
fn a_durable_queue_that_is_gone_is_a_broken_promise() {
    let verdict = Case::default().judge(&all_and(&[Gone]));
    assert_eq!(verdict.queues_gone, 1);
    assert!(!verdict.is_clean());
}

#[test]
fn deaths_are_told_from_faults() {
    let mut judge = Judge::new(NOTHING);
    let entries = [
        Entry::Fault(Fault::Kill),
        Entry::Ending { life: 0 },
        Entry::Ended { life: 0 },
        Entry::Ending { life: 1 },
        Entry::Fault(Fault::Pause(Duration::from_secs(1))),
    ];
    entries.iter().for_each(|entry| judge.see(1, entry));
    let verdict = judge.sum_up();
    assert_eq!((verdict.crashes, verdict.deaths, verdict.pauses), (2, 1, 1));
}
