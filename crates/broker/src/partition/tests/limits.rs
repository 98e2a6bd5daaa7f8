//! Small cases about delivery limits and what is parked.

use crate::ids::{Seq, Ticket};
use crate::partition::{Command, ParkedFate, Rules, Store};

use super::harness::{Bench, QUEUE, TICKET, check_with, run};

/// Queue 1 allows one failed delivery, and consumer 1 holds messages 1 to 4.
fn check(script: impl FnOnce(&mut Bench), expected: &str) {
    let mut bench = Bench::ruled(Rules {
        counts_failures: true,
        delivery_limit: Some(1),
        ..Rules::default()
    });
    bench.consume(1, 4);
    bench.enqueue(run(1, 4, 7));
    bench.round();
    check_with(bench, script, expected);
}

/// Consumer 1 has rejected message 2 as often as it may, and once more.
fn park(bench: &mut Bench) {
    bench.reject(1, 1, 1);
    bench.round();
    bench.reject(1, 4, 1);
    bench.round();
}

fn unpark(bench: &mut Bench, first: u64, end: u64, fate: ParkedFate) {
    bench.apply(Command::Unpark {
        queue: QUEUE,
        store: Store::Parked,
        first: Seq(first),
        end: Seq(end),
        fate,
    });
}

#[test]
fn a_reject_counts_and_a_nack_does_not() {
    check(
        |bench| bench.nack(1, 1, 1),
        "q1 2 back
         c1 <- 2 #4 @1:7[1] lean again 1",
    );
    check(
        |bench| bench.reject(1, 1, 1),
        "q1 2 back failed
         c1 <- 2 #4 @1:7[1] lean again 1 failed 1",
    );
    let forever = |bench: &mut Bench| {
        bench.reject(1, 1, 1);
        bench.round();
        for delivery in 4..24 {
            bench.nack(1, delivery, 1);
            bench.round();
        }
        bench.nack(1, 24, 1);
    };
    check(
        forever,
        "q1 2 back
         c1 <- 2 #25 @1:7[1] lean again 22 failed 1",
    );
}

#[test]
fn one_failure_too_many_parks() {
    check(
        |bench| {
            bench.reject(1, 1, 1);
            bench.round();
            bench.reject(1, 4, 1);
        },
        "q1 2 back failed
         q1 2 parked",
    );
    check(
        |bench| {
            park(bench);
            bench.check_empty(TICKET);
            bench.purge(Ticket(8));
        },
        "7: NotEmpty
         8: purged 0",
    );
    check(
        |bench| {
            park(bench);
            bench.apply(Command::DeleteQueue { queue: QUEUE });
        },
        "q1 2 10b @1:7 deleted
         q1 1 10b @1:7 deleted
         q1 3..5 20b @1:7 deleted
         c1 gone",
    );
}

#[test]
fn a_death_is_charged_to_what_was_in_work() {
    check(
        |bench| {
            bench.ack(1, 0, 1);
            bench.round();
            bench.die(1);
        },
        "q1 2 back failed
         q1 3..5 back",
    );
    let got_one_by_one = |bench: &mut Bench| {
        bench.die(1);
        bench.get(2, false);
        bench.get(2, false);
        bench.round();
        bench.die(2);
    };
    check(
        got_one_by_one,
        "q1 1 back failed
         q1 2 back failed
         q1 1 parked",
    );
    check(
        |bench| {
            bench.apply(Command::Recover {
                consumer: crate::ids::ConsumerId(1),
            });
        },
        "q1 1..5 back
         c1 <- 1..5 #4 @1:7[0] lean again 1",
    );
}

#[test]
fn what_is_parked_goes_back_or_away() {
    check(
        |bench| {
            park(bench);
            unpark(bench, 0, 2, ParkedFate::Redrive);
            unpark(bench, 2, 3, ParkedFate::Redrive);
        },
        "q1 2 unparked
         c1 <- 2 #5 @1:7[1] lean again 2",
    );
    check(
        |bench| {
            park(bench);
            unpark(bench, 0, u64::MAX, ParkedFate::Discard);
        },
        "q1 2 10b @1:7 parkeddiscarded",
    );
    check(
        |bench| {
            park(bench);
            bench.relocate(&[(1, 4, 3, 0)]);
            bench.round();
            unpark(bench, 0, u64::MAX, ParkedFate::Redrive);
        },
        "q1 2 unparked
         c1 <- 2 #5 @2:3[1] lean again 2",
    );
}

#[test]
fn without_a_limit_nothing_is_parked() {
    let script = |bench: &mut Bench| {
        bench.consume(1, 1);
        bench.enqueue(run(1, 1, 7));
        bench.round();
        for delivery in 0..70_000 {
            bench.reject(1, delivery, 1);
            bench.partition.finish(&mut bench.effects);
            bench.effects.clear();
        }
        bench.reject(1, 70_000, 1);
    };
    let rules = Rules {
        counts_failures: true,
        ..Rules::default()
    };
    check_with(
        Bench::ruled(rules),
        script,
        "q1 1 back failed
         c1 <- 1 #70001 @1:7[0] lean again 70001 failed 65535",
    );
}
