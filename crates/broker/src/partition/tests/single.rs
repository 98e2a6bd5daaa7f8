//! Small cases about the single active consumer.

use crate::ids::ConsumerId;
use crate::partition::{Command, Rules, Takeover};

use super::harness::{Bench, TICKET, Wish, check_with, run};

fn check(takeover: Takeover, script: impl FnOnce(&mut Bench), expected: &str) {
    let rules = Rules {
        single_active: Some(takeover),
        ..Rules::default()
    };
    check_with(Bench::ruled(rules), script, expected);
}

fn ranked(bench: &mut Bench, consumer: u64, priority: i32) {
    let wish = Wish {
        priority,
        ..Wish::default()
    };
    bench.consume_as(consumer, wish);
}

fn cancel(bench: &mut Bench, consumer: u64) {
    bench.apply(Command::Cancel {
        consumer: ConsumerId(consumer),
        ticket: TICKET,
    });
}

#[test]
fn the_first_gets_everything() {
    let script = |bench: &mut Bench| {
        bench.consume(1, 2);
        bench.consume(2, 0);
        bench.enqueue(run(1, 4, 0));
    };
    let all = "1: consuming
         2: consuming
         c1 <- 1..3 #0";
    check(Takeover::WhenGone, script, all);
    check(Takeover::WhenOutranked, script, all);
}

#[test]
fn it_passes_on_with_a_cancel_even_if_it_holds_messages() {
    check(
        Takeover::WhenGone,
        |bench| {
            bench.consume(1, 2);
            bench.consume(2, 0);
            bench.enqueue(run(1, 4, 0));
            bench.round();
            cancel(bench, 1);
            bench.ack(1, 0, 1);
        },
        "7: cancelled
         q1 1 10b @- done
         c2 <- 3..5 #0",
    );
}

#[test]
fn what_the_dead_held_comes_first() {
    check(
        Takeover::WhenGone,
        |bench| {
            bench.consume(1, 2);
            bench.consume(2, 0);
            bench.enqueue(run(1, 4, 0));
            bench.round();
            bench.die(1);
        },
        "q1 1..3 back transient
         c2 <- 1..3 #0 again 1
         c2 <- 3..5 #2",
    );
}

#[test]
fn the_highest_then_the_longest_waiting_is_next() {
    let next_after = |leaving: &'static [u64]| {
        move |bench: &mut Bench| {
            bench.consume(1, 0);
            ranked(bench, 2, 1);
            ranked(bench, 3, 5);
            ranked(bench, 4, 5);
            bench.round();
            leaving.iter().for_each(|&consumer| bench.die(consumer));
            bench.enqueue(run(1, 1, 0));
        }
    };
    check(Takeover::WhenGone, next_after(&[1]), "c3 <- 1 #0");
    check(Takeover::WhenGone, next_after(&[1, 3]), "c4 <- 1 #0");
    check(Takeover::WhenGone, next_after(&[3, 1]), "c4 <- 1 #0");
    check(Takeover::WhenGone, next_after(&[1, 3, 4]), "c2 <- 1 #0");
    check(Takeover::WhenGone, next_after(&[]), "c1 <- 1 #0");
    check(Takeover::WhenOutranked, next_after(&[]), "c3 <- 1 #0");
}

#[test]
fn who_is_outranked_makes_room_once_it_holds_nothing() {
    let outranked = |bench: &mut Bench| {
        bench.consume(1, 0);
        bench.enqueue(run(1, 2, 0));
        bench.round();
        ranked(bench, 2, 1);
        bench.enqueue(run(3, 1, 0));
    };
    check(Takeover::WhenOutranked, outranked, "2: consuming");
    check(
        Takeover::WhenOutranked,
        |bench| {
            outranked(bench);
            bench.round();
            bench.ack(1, 0, 2);
        },
        "q1 1..3 20b @- done
         c2 <- 3 #0",
    );
    check(
        Takeover::WhenOutranked,
        |bench| {
            outranked(bench);
            bench.round();
            bench.die(2);
        },
        "c1 <- 3 #2",
    );
    check(
        Takeover::WhenOutranked,
        |bench| {
            outranked(bench);
            bench.ack(1, 0, 2);
            bench.round();
            bench.die(2);
        },
        "q1 3 back transient
         c1 <- 3 #2 again 1",
    );
}

#[test]
fn nobody_has_the_queue_to_itself() {
    check(
        Takeover::WhenGone,
        |bench| {
            let wish = Wish {
                exclusive: true,
                ..Wish::default()
            };
            bench.consume_as(1, wish);
        },
        "1: ExclusiveUse",
    );
}
