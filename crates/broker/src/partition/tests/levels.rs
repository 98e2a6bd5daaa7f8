//! Small cases about messages that are more or less urgent than others.

use crate::ids::Ticket;

use super::harness::{Bench, check, run};

/// Messages 1 to 5, of the ranks 0, 2, 0, -1 and 2.
fn mixed(bench: &mut Bench) {
    for (seq, rank) in [(1, 0), (2, 2), (3, 0), (4, -1), (5, 2)] {
        bench.enqueue_ranked(rank, run(seq, 1, 7));
    }
    bench.round();
}

#[test]
fn the_urgent_go_first_and_keep_their_order() {
    check(
        |bench| {
            mixed(bench);
            bench.consume(1, 0);
        },
        "1: consuming
         c1 <- 2 #0 @1:7[0]
         c1 <- 5 #1 @1:7[0]
         c1 <- 1 #2 @1:7[0]
         c1 <- 3 #3 @1:7[0]
         c1 <- 4 #4 @1:7[0]",
    );
    check(
        |bench| {
            mixed(bench);
            bench.get(9, true);
            bench.enqueue_ranked(7, run(6, 1, 8));
            bench.get(9, true);
        },
        "7: got c9 <- 2 #0 @1:7[0], 4 left
         q1 2 10b @1:7 noack
         7: got c9 <- 6 #1 @1:8[0], 4 left
         q1 6 10b @1:8 noack",
    );
}

#[test]
fn what_comes_back_goes_to_its_place_among_its_equals() {
    check(
        |bench| {
            mixed(bench);
            bench.consume(1, 3);
            bench.round();
            // Messages 2, 5 and 1 are out. The last two come back, then the first; the consumer takes what is most urgent.
            bench.nack(1, 1, 2);
            bench.nack(1, 0, 1);
        },
        "q1 5 back
         q1 1..3 back
         c1 <- 2 #3 @1:7[0] lean again 1
         c1 <- 5 #4 @1:7[0] lean again 1
         c1 <- 1 #5 @1:7[0] lean again 1",
    );
}

#[test]
fn all_ranks_are_purged_and_moved() {
    check(
        |bench| {
            mixed(bench);
            bench.purge(Ticket(3));
        },
        "q1 1 10b @1:7 purged
         q1 3 10b @1:7 purged
         q1 2 10b @1:7 purged
         q1 5 10b @1:7 purged
         q1 4 10b @1:7 purged
         3: purged 5",
    );
    check(
        |bench| {
            mixed(bench);
            bench.relocate(&[(2, 1, 40, 9), (4, 1, 40, 11)]);
            bench.get(9, false);
        },
        "q1 2 10b 1:7 to 2:40
         q1 4 10b 1:7 to 2:40
         7: got c9 <- 2 #0 @2:40[9] lean, 4 left",
    );
}
