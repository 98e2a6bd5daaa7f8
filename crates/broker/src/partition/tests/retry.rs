//! Small cases about messages that wait before they are delivered again.

use crate::ids::Ticket;
use crate::partition::{Command, Retry, RetryKind, Rules};

use super::harness::{Bench, QUEUE, TICKET, check_with, run};

fn linear(kind: RetryKind) -> Retry {
    Retry {
        kind,
        min_millis: 100,
        max_millis: 250,
        multiplier: None,
    }
}

fn check(retry: Retry, script: impl FnOnce(&mut Bench), expected: &str) {
    let mut bench = Bench::ruled(Rules {
        counts_failures: true,
        retry: Some(retry),
        ..Rules::default()
    });
    bench.consume(1, 0);
    bench.enqueue(run(1, 2, 7));
    bench.round();
    check_with(bench, script, expected);
}

#[test]
fn delays_grow_with_failures_up_to_a_bound() {
    let check = |multiplier, expected: [u64; 5]| {
        let retry = Retry {
            multiplier,
            ..linear(RetryKind::All)
        };
        assert_eq!(
            [0, 1, 2, 3, u16::MAX].map(|failures| retry.delay_millis(failures)),
            expected
        );
    };
    check(None, [100, 100, 200, 250, 250]);
    check(Some(1), [100, 100, 100, 100, 100]);
    check(Some(2), [100, 100, 200, 250, 250]);
    check(Some(4), [100, 100, 250, 250, 250]);
    check(Some(u32::MAX), [100, 100, 250, 250, 250]);
}

#[test]
fn what_failed_waits_and_goes_to_its_old_place() {
    let rejected = |until: u64| {
        move |bench: &mut Bench| {
            bench.reject(1, 0, 1);
            assert_eq!(bench.round(), "q1 1 back failed");
            bench.pass(until);
        }
    };
    check(linear(RetryKind::Failed), rejected(99), "");
    check(
        linear(RetryKind::Failed),
        rejected(100),
        "c1 <- 1 #2 @1:7[0] lean again 1 failed 1",
    );
    let again = |until: u64| {
        move |bench: &mut Bench| {
            rejected(100)(bench);
            bench.round();
            bench.reject(1, 2, 1);
            bench.nack(1, 1, 1);
            bench.round();
            bench.pass(until);
        }
    };
    check(linear(RetryKind::Failed), again(299), "");
    check(
        linear(RetryKind::Failed),
        again(300),
        "c1 <- 1 #4 @1:7[0] lean again 2 failed 2",
    );
}

#[test]
fn the_kind_says_what_waits() {
    let both = |bench: &mut Bench| {
        bench.reject(1, 0, 1);
        bench.nack(1, 1, 1);
    };
    check(
        linear(RetryKind::All),
        both,
        "q1 1 back failed
         q1 2 back",
    );
    check(
        linear(RetryKind::Failed),
        both,
        "q1 1 back failed
         q1 2 back
         c1 <- 2 #2 @1:7[1] lean again 1",
    );
    check(
        linear(RetryKind::Returned),
        both,
        "q1 1 back failed
         q1 2 back
         c1 <- 1 #2 @1:7[0] lean again 1 failed 1",
    );
}

#[test]
fn what_waits_is_part_of_its_queue() {
    let waiting = |bench: &mut Bench| {
        bench.nack(1, 0, 2);
        bench.round();
        assert_eq!(bench.partition.next_due().map(|at| at.0), Some(100));
    };
    check(
        linear(RetryKind::All),
        |bench| {
            waiting(bench);
            bench.check_empty(TICKET);
            bench.purge(Ticket(8));
            bench.pass(1000);
        },
        "7: NotEmpty
         q1 1..3 20b @1:7 purged
         8: purged 2",
    );
    check(
        linear(RetryKind::All),
        |bench| {
            waiting(bench);
            bench.relocate(&[(2, 1, 5, 0)]);
            bench.round();
            bench.pass(100);
        },
        "c1 <- 1 #2 @1:7[0] lean again 1
         c1 <- 2 #3 @2:5[0] lean again 1",
    );
    check(
        linear(RetryKind::All),
        |bench| {
            waiting(bench);
            bench.apply(Command::DeleteQueue { queue: QUEUE });
            bench.pass(100);
        },
        "q1 1..3 20b @1:7 deleted
         c1 gone",
    );
}

#[test]
fn what_waits_by_a_rule_that_is_no_more_is_ready() {
    let amended = |retry: Option<Retry>| {
        move |bench: &mut Bench| {
            bench.reject(1, 0, 1);
            bench.round();
            let rules = Rules {
                counts_failures: true,
                retry,
                ..Rules::default()
            };
            bench.apply(Command::Amend {
                queue: QUEUE,
                rules: Box::new(rules),
            });
        }
    };
    check(
        linear(RetryKind::All),
        amended(None),
        "c1 <- 1 #2 @1:7[0] lean again 1 failed 1",
    );
    check(
        linear(RetryKind::All),
        amended(Some(linear(RetryKind::Returned))),
        "",
    );
}
