//! Small cases about messages: delivered, settled, returned, in order.

use crate::ids::{ConsumerId, Location};
use crate::partition::{Command, SettleOutcome};

use super::harness::{Bench, check, run};

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
fn settlements_are_told_by_segment() {
    check(
        |bench| {
            let mut other_segment = run(3, 2, 9);
            other_segment.location = Location(5 << 32 | 9);
            bench.enqueue(run(1, 1, 7));
            bench.enqueue(run(2, 1, 8));
            bench.enqueue(other_segment);
            bench.consume(1, 0);
            bench.round();
            bench.ack(1, 0, 4);
            bench.ack(1, 0, 4);
        },
        "q1 1..3 20b @1:7 done
         q1 3..5 20b @5:9 done",
    );
}

#[test]
fn acks_out_of_order_settle_what_they_name() {
    check(
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 10, 7));
            bench.round();
            bench.ack(1, 4, 2);
            bench.ack(1, 8, 1);
            bench.ack(1, 3, 4);
            bench.settle(1, 0, 1, SettleOutcome::Discard);
            bench.settle(1, 99, 1, SettleOutcome::Done);
            bench.settle(77, 0, 1, SettleOutcome::Done);
        },
        "q1 5..7 20b @1:7 done
         q1 9 10b @1:7 done
         q1 4 10b @1:7 done
         q1 7 10b @1:7 done
         q1 1 10b @1:7 rejected",
    );
}

#[test]
fn bytes_of_parts_add_up_to_the_run() {
    let mut bench = Bench::new();
    let mut uneven = run(1, 7, 7);
    uneven.bytes = 100;
    bench.enqueue(uneven);
    bench.consume(1, 0);
    bench.round();
    let mut told = String::new();
    for at in [3, 0, 6, 2, 5, 1, 4] {
        bench.ack(1, at, 1);
        told += &bench.round();
    }
    let bytes = told
        .split(' ')
        .filter_map(|word| word.strip_suffix('b')?.parse::<u64>().ok());
    assert_eq!(bytes.sum::<u64>(), 100, "{told}");
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
fn a_requeue_storm_does_not_spin() {
    check(
        |bench| {
            bench.consume(1, 1);
            bench.enqueue(run(1, 2, 7));
            bench.round();
            bench.nack(1, 0, 1);
            bench.round();
            bench.nack(1, 1, 1);
        },
        "q1 1 back
         c1 <- 1 #2 @1:7[0] lean again 2",
    );
}

#[test]
fn single_nacks_of_a_batch_grow_together_again() {
    check(
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 5, 7));
            bench.round();
            [2, 3, 0, 1, 4].into_iter().for_each(|at| bench.nack(1, at, 1));
        },
        "q1 3..5 back
         q1 1..3 back
         q1 5 back
         c1 <- 1..3 #5 @1:7[0] lean again 1
         c1 <- 3..6 #7 @1:7[2] lean again 1",
    );
}

#[test]
fn what_a_dead_consumer_held_goes_to_another() {
    check(
        |bench| {
            bench.consume(1, 4);
            bench.enqueue(run(1, 6, 7));
            bench.round();
            bench.consume(2, 0);
            bench.ack(1, 0, 1);
            bench.apply(Command::ReturnAll {
                consumer: ConsumerId(1),
            });
            bench.ack(1, 1, 1);
        },
        "2: consuming
         q1 1 10b @1:7 done
         q1 2..5 back
         c2 <- 2..5 #0 @1:7[1] lean again 1
         c2 <- 5..7 #3 @1:7[4]",
    );
}

#[test]
fn recover_returns_all_and_the_consumer_goes_on() {
    check(
        |bench| {
            bench.consume(1, 2);
            bench.enqueue(run(1, 3, 0));
            bench.round();
            bench.apply(Command::Recover {
                consumer: ConsumerId(1),
            });
        },
        "q1 1..3 back transient
         c1 <- 1..3 #2 again 1",
    );
}

#[test]
fn get_takes_one() {
    check(
        |bench| {
            bench.enqueue(run(1, 3, 7));
            bench.get(9, false);
            bench.get(9, true);
            bench.ack(9, 0, 1);
            bench.get(9, false);
            bench.get(9, false);
            bench.apply(Command::ReturnAll {
                consumer: ConsumerId(9),
            });
        },
        "7: got c9 <- 1 #0 @1:7[0], 2 left
         7: got c9 <- 2 #1 @1:7[1], 1 left
         q1 2 10b @1:7 noack
         q1 1 10b @1:7 done
         7: got c9 <- 3 #2 @1:7[2], 0 left
         7: empty
         q1 3 back",
    );
}

#[test]
fn runs_may_come_out_of_order() {
    check(
        |bench| {
            bench.enqueue(run(5, 2, 0));
            bench.enqueue(run(1, 2, 0));
            bench.enqueue(run(7, 1, 0));
            bench.enqueue(run(3, 2, 0));
            bench.consume(1, 0);
        },
        "1: consuming
         c1 <- 1..3 #0
         c1 <- 3..5 #2
         c1 <- 5..7 #4
         c1 <- 7 #6",
    );
}

#[test]
#[should_panic(expected = "is in the list already")]
fn a_number_that_comes_twice_stops_the_partition() {
    let mut bench = Bench::new();
    [5, 1, 1]
        .into_iter()
        .for_each(|first| bench.enqueue(run(first, 2, 0)));
}

#[test]
fn a_transaction_asks_what_it_would_settle() {
    let mut bench = Bench::new();
    bench.enqueue(run(1, 4, 7));
    bench.enqueue(run(5, 2, 8));
    bench.consume(1, 0);
    bench.round();
    bench.ack(1, 2, 1);
    let ranges = bench
        .partition
        .settled_by([(ConsumerId(1), 1, 4), (ConsumerId(2), 0, 1)]);
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| (range.first.0, range.count, range.durable))
        .collect();
    assert_eq!(ranges, [(2, 1, true), (4, 2, true)]);
}
