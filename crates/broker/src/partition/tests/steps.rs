//! The steps of the walk, chosen at random.

use proptest::prelude::*;

use super::walk::Walk;

/// One step. Numbers choose among what is there, so that a step stays meaningful while a failure is shrunk; each kind
/// reads those that it needs.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) which: u8,
    pub(super) other: u8,
    pub(super) at: u8,
    pub(super) count: u8,
    pub(super) flag: bool,
    pub(super) rarely: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Enqueue,
    EnqueueLate,
    Consume,
    Cancel,
    Get,
    Settle,
    HandOn,
    Recover,
    ReturnAll,
    Sent,
    Limit,
    SetLimit,
    Purge,
    CheckDelete,
    Replace,
    Status,
    Relocate,
    Remove,
    ReplayReturned,
    Restart,
    Unpark,
    Pass,
    Amend,
    Compact,
    Round,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        12 => Just(Kind::Enqueue),
        3 => Just(Kind::EnqueueLate),
        6 => Just(Kind::Consume),
        2 => Just(Kind::Cancel),
        4 => Just(Kind::Get),
        20 => Just(Kind::Settle),
        3 => Just(Kind::HandOn),
        2 => Just(Kind::Recover),
        2 => Just(Kind::ReturnAll),
        8 => Just(Kind::Sent),
        2 => Just(Kind::Limit),
        2 => Just(Kind::SetLimit),
        1 => Just(Kind::Purge),
        1 => Just(Kind::CheckDelete),
        1 => Just(Kind::Replace),
        1 => Just(Kind::Status),
        6 => Just(Kind::Relocate),
        2 => Just(Kind::Remove),
        1 => Just(Kind::ReplayReturned),
        1 => Just(Kind::Restart),
        3 => Just(Kind::Unpark),
        6 => Just(Kind::Pass),
        2 => Just(Kind::Amend),
        1 => Just(Kind::Compact),
        12 => Just(Kind::Round),
    ];
    let count = prop_oneof![3 => Just(1u8), 2 => 0..5u8, 3 => 0..60u8];
    let step = (
        kind,
        0..8u8,
        0..8u8,
        0..40u8,
        count,
        any::<bool>(),
        prop::bool::weighted(0.15),
    );
    let step = step.prop_map(|(kind, which, other, at, count, flag, rarely)| Step {
        kind,
        which,
        other,
        at,
        count,
        flag,
        rarely,
    });
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_the_model(steps in steps()) {
        let mut walk = Walk::new();
        for step in steps {
            walk.take(step);
        }
        walk.round();
    }
}
