//! Small cases: what is done, and what comes out.

use super::harness::{Bench, Wish, run};

/// Runs `script` on a fresh partition and compares what its last round tells.
fn check(script: impl FnOnce(&mut Bench), expected: &str) {
    let mut bench = Bench::new();
    script(&mut bench);
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(bench.round().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_run_goes_through_as_one() {
    check(
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 100, 7));
        },
        "1: consuming
         c1 <- 1..101 #0 @1:7[0]",
    );
    check(
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 100, 7));
            bench.round();
            bench.ack(1, 0, 40);
            bench.ack(1, 40, 60);
        },
        "q1 1..101 1000b @1:7 done",
    );
}

#[test]
fn returned_messages_come_first_and_flagged() {
    check(
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 10, 0));
            bench.round();
            bench.nack(1, 2, 3);
            bench.enqueue(run(11, 1, 0));
        },
        "q1 3..6 back transient
         c1 <- 3..6 #10 again 1
         c1 <- 11 #13",
    );
}

#[test]
fn consumers_take_turns() {
    check(
        |bench| {
            bench.consume_as(
                1,
                Wish {
                    no_ack: true,
                    ..Wish::default()
                },
            );
            bench.consume(2, 0);
            bench.round();
            bench.enqueue(run(1, 10, 0));
        },
        "c1 <- 1..6 #0
         q1 1..6 50b @- noack
         c2 <- 6..11 #0",
    );
}
