//! Small cases about consumers that hold a message for too long.

use crate::ids::ConsumerId;
use crate::partition::{Command, Rules, Takeover};

use super::harness::{Bench, TICKET, Wish, check, check_with, run};

/// Consumer 1 may hold a message for 640 ms, which is noted in groups of 10 ms, and holds messages 1 and 2.
fn scene(bench: &mut Bench) {
    let wish = Wish {
        patience_millis: Some(640),
        prefetch: 2,
        ..Wish::default()
    };
    bench.consume_as(1, wish);
    bench.enqueue(run(1, 5, 7));
    bench.round();
}

#[test]
fn whoever_takes_too_long_is_cancelled_and_what_it_held_goes_on() {
    check(
        |bench| {
            scene(bench);
            bench.pass(649);
        },
        "",
    );
    check(
        |bench| {
            scene(bench);
            bench.consume(2, 1);
            bench.round();
            assert_eq!(bench.partition.next_due().map(|at| at.0), Some(650));
            bench.pass(650);
        },
        "c1 timed out
         q1 1..3 back",
    );
    check(
        |bench| {
            scene(bench);
            bench.pass(650);
            bench.round();
            // What it says afterwards means nothing any more.
            bench.ack(1, 0, 2);
            bench.consume(2, 0);
        },
        "2: consuming
         c2 <- 1..3 #0 @1:7[0] lean again 1
         c2 <- 3..6 #2 @1:7[2]",
    );
}

#[test]
fn the_oldest_delivery_counts() {
    let settled_late = |now: u64| {
        move |bench: &mut Bench| {
            scene(bench);
            bench.pass(400);
            bench.ack(1, 0, 1);
            bench.round();
            // Message 2 is held since the beginning, 3 since then.
            bench.pass(600);
            bench.ack(1, 1, 1);
            bench.round();
            bench.pass(now);
        }
    };
    check(settled_late(1049), "");
    check(
        settled_late(1050),
        "c1 timed out
         q1 3..5 back",
    );
    let idle = |bench: &mut Bench| {
        scene(bench);
        bench.ack(1, 0, 2);
        bench.round();
        bench.ack(1, 2, 2);
        bench.round();
        bench.ack(1, 4, 1);
        bench.round();
        bench.pass(100_000);
    };
    check(idle, "");
}

#[test]
fn a_cancelled_consumer_gives_back_without_being_told() {
    check(
        |bench| {
            scene(bench);
            bench.apply(Command::Cancel {
                consumer: ConsumerId(1),
                ticket: TICKET,
            });
            bench.round();
            bench.pass(650);
        },
        "q1 1..3 back",
    );
}

#[test]
fn a_single_active_consumer_that_takes_too_long_passes_on() {
    let rules = Rules {
        single_active: Some(Takeover::WhenGone),
        counts_failures: true,
        ..Rules::default()
    };
    check_with(
        Bench::ruled(rules),
        |bench| {
            scene(bench);
            bench.consume(2, 0);
            bench.round();
            bench.pass(650);
        },
        "c1 timed out
         q1 1..3 back
         c2 <- 1..3 #0 @1:7[0] lean again 1
         c2 <- 3..6 #2 @1:7[2]",
    );
}
