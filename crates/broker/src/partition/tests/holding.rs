//! Small cases about who holds what since when, and deliveries that are handed on.

use std::sync::Arc;

use crate::ids::{ConsumerId, QueueId, Seq};
use crate::partition::{
    Command, Holder, HolderKind, Retry, RetryKind, Rules, SettleOutcome, SharedLimit, Takeover,
};

use super::harness::{Bench, Wish, check, check_with, run};

const QUEUE: QueueId = QueueId(1);

fn hand_on(bench: &mut Bench, consumer: u64, delivery: u64) {
    bench.apply(Command::HandOn {
        consumer: ConsumerId(consumer),
        delivery,
    });
}

/// Consumer 1 holds messages 1 and 2, and consumer 2 nothing.
fn scene(bench: &mut Bench) {
    bench.consume(1, 2);
    bench.enqueue(run(1, 2, 7));
    bench.round();
    bench.consume(2, 1);
    bench.round();
}

/// Message 1 was taken from consumer 1, and has gone on to consumer 2, if the queue's rules let it.
fn released(bench: &mut Bench) {
    scene(bench);
    hand_on(bench, 1, 0);
    bench.round();
}

fn holder(bench: &Bench, consumer: u64) -> Holder {
    let mut holders = bench.partition.holders(QUEUE);
    let found = holders.find(|holder| holder.consumer == ConsumerId(consumer));
    found.expect("it is there")
}

/// Delivered, acknowledged, held, taken away.
fn figures(bench: &Bench, consumer: u64) -> (u64, u64, u64, u64) {
    let holder = holder(bench, consumer);
    (
        holder.delivered,
        holder.acknowledged,
        holder.unsettled,
        holder.released,
    )
}

#[test]
fn a_delivery_goes_on_to_another_consumer() {
    check(
        |bench| {
            scene(bench);
            hand_on(bench, 1, 0);
        },
        "q1 1 back
         c2 <- 1 #0 @1:7[0] lean again 1",
    );
    // Not the one in front: its place is behind the other, which nobody takes back.
    check(
        |bench| {
            scene(bench);
            hand_on(bench, 1, 1);
        },
        "q1 2 back
         c2 <- 2 #0 @1:7[1] lean again 1",
    );
}

#[test]
fn what_the_old_holder_says_of_it_settles_nothing() {
    for outcome in [
        SettleOutcome::Done,
        SettleOutcome::Discard,
        SettleOutcome::Requeue,
        SettleOutcome::RequeueFailed,
    ] {
        check(
            |bench| {
                released(bench);
                bench.settle(1, 0, 1, outcome);
                assert_eq!(figures(bench, 1), (2, 0, 1, 0));
                assert_eq!(figures(bench, 2), (1, 0, 1, 0));
            },
            "",
        );
    }
    // Several at once: the others are settled, and it is not.
    check(
        |bench| {
            released(bench);
            bench.ack(1, 0, 2);
        },
        "q1 2 10b @1:7 done",
    );
    // The new holder settles it, once, before or after that.
    check(
        |bench| {
            released(bench);
            bench.ack(2, 0, 1);
            bench.ack(1, 0, 1);
            bench.ack(1, 0, 1);
        },
        "q1 1 10b @1:7 done",
    );
}

#[test]
fn it_counts_for_the_old_holder_until_its_client_settles_it() {
    check(
        |bench| {
            released(bench);
            // Consumer 1 may hold two, and its client has two in its hands.
            bench.enqueue(run(3, 2, 8));
        },
        "",
    );
    check(
        |bench| {
            scene(bench);
            hand_on(bench, 1, 0);
            bench.enqueue(run(3, 2, 8));
            bench.round();
            bench.ack(1, 0, 1);
        },
        "c1 <- 3 #2 @1:8[0]",
    );
    let limit = Arc::new(SharedLimit::new(1));
    let mut bench = Bench::new();
    bench.consume_as(
        1,
        Wish {
            limit: Some(limit.clone()),
            ..Wish::default()
        },
    );
    bench.enqueue(run(1, 1, 7));
    bench.round();
    bench.consume(2, 1);
    hand_on(&mut bench, 1, 0);
    bench.round();
    assert_eq!(limit.unsettled(), 1);
    bench.die(1);
    bench.round();
    assert_eq!(limit.unsettled(), 0);
}

#[test]
fn who_goes_takes_nothing_back_of_it() {
    for gone in [
        Command::ReturnAll {
            consumer: ConsumerId(1),
        },
        Command::Recover {
            consumer: ConsumerId(1),
        },
    ] {
        let mut bench = Bench::new();
        released(&mut bench);
        bench.apply(gone);
        let told = bench.round();
        assert!(told.starts_with("q1 2 back"), "{told}");
        assert_eq!(
            bench.partition.holding(QUEUE, Seq(1)).map(|held| held.consumer.0),
            Some(2)
        );
    }
    let mut bench = Bench::new();
    scene(&mut bench);
    hand_on(&mut bench, 1, 0);
    bench.apply(Command::DeleteQueue { queue: QUEUE });
    bench.round();
    bench.ack(1, 0, 2);
    assert_eq!(bench.round(), "");
}

#[test]
fn where_nobody_else_can_take_it_it_is_ready() {
    // Consumer 2 is busy, and takes it as soon as it can.
    check(
        |bench| {
            scene(bench);
            bench.enqueue(run(3, 1, 8));
            bench.round();
            hand_on(bench, 1, 0);
            bench.round();
            assert_eq!(bench.partition.holding(QUEUE, Seq(1)), None);
            bench.ack(2, 0, 1);
        },
        "q1 3 10b @1:8 done
         c2 <- 1 #1 @1:7[0] lean again 1",
    );
    // There is nobody else: it comes once more if there is room.
    let alone = |prefetch| {
        move |bench: &mut Bench| {
            bench.consume(1, prefetch);
            bench.enqueue(run(1, 1, 7));
            bench.round();
            hand_on(bench, 1, 0);
        }
    };
    check(alone(1), "q1 1 back");
    check(
        alone(0),
        "q1 1 back
         c1 <- 1 #1 @1:7[0] lean again 1",
    );
    check(
        |bench| {
            alone(1)(bench);
            bench.round();
            bench.ack(1, 0, 1);
        },
        "c1 <- 1 #1 @1:7[0] lean again 1",
    );
}

#[test]
fn others_come_first_whatever_their_priority() {
    check(
        |bench| {
            let urgent = Wish {
                priority: 5,
                ..Wish::default()
            };
            bench.consume_as(1, urgent);
            bench.enqueue(run(1, 1, 7));
            bench.consume(2, 0);
            bench.round();
            hand_on(bench, 1, 0);
        },
        "q1 1 back
         c2 <- 1 #0 @1:7[0] lean again 1",
    );
}

#[test]
fn what_is_not_held_stays_where_it_is() {
    for (consumer, delivery) in [(1, 2), (1, u64::MAX), (2, 0), (3, 0)] {
        check(
            |bench| {
                scene(bench);
                hand_on(bench, consumer, delivery);
            },
            "",
        );
    }
    check(
        |bench| {
            released(bench);
            hand_on(bench, 1, 0);
        },
        "",
    );
}

#[test]
fn what_a_transaction_settles_stays_until_it_does() {
    check(
        |bench| {
            scene(bench);
            let commit = Command::Commit {
                consumer: ConsumerId(1),
                first: 0,
                count: 1,
            };
            bench.apply(commit);
            assert!(
                bench
                    .partition
                    .holding(QUEUE, Seq(1))
                    .is_some_and(|held| held.committing)
            );
            hand_on(bench, 1, 0);
            hand_on(bench, 1, 1);
            bench.ack(1, 0, 1);
        },
        "q1 2 back
         c2 <- 2 #0 @1:7[1] lean again 1
         q1 1 10b @1:7 done",
    );
    // It comes too late for what was handed on before; the rest of it happens.
    check(
        |bench| {
            released(bench);
            let commit = Command::Commit {
                consumer: ConsumerId(1),
                first: 0,
                count: 2,
            };
            bench.apply(commit);
            bench.ack(1, 0, 2);
            assert_eq!(figures(bench, 1), (2, 1, 0, 0));
        },
        "q1 2 10b @1:7 done",
    );
}

#[test]
fn a_single_active_consumer_gets_it_again_or_makes_room() {
    let single = |takeover| Rules {
        single_active: Some(takeover),
        ..Rules::default()
    };
    check_with(
        Bench::ruled(single(Takeover::WhenGone)),
        |bench| {
            released(bench);
            bench.ack(1, 0, 1);
        },
        "c1 <- 1 #2 @1:7[0] lean again 1",
    );
    check_with(
        Bench::ruled(single(Takeover::WhenOutranked)),
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 1, 7));
            bench.round();
            let urgent = Wish {
                priority: 5,
                ..Wish::default()
            };
            bench.consume_as(2, urgent);
            bench.round();
            hand_on(bench, 1, 0);
        },
        "q1 1 back
         c2 <- 1 #0 @1:7[0] lean again 1",
    );
}

#[test]
fn a_rule_that_lets_it_wait_holds() {
    let rules = Rules {
        retry: Some(Retry {
            kind: RetryKind::All,
            min_millis: 100,
            max_millis: 100,
            multiplier: None,
        }),
        ..Rules::default()
    };
    check_with(
        Bench::ruled(rules),
        |bench| {
            released(bench);
            bench.pass(100);
        },
        "c2 <- 1 #0 @1:7[0] lean again 1",
    );
}

#[test]
fn ages_and_progress_are_known() {
    let mut bench = Bench::new();
    bench.pass(10_000);
    scene(&mut bench);
    bench.get(9, false);
    bench.round();
    let oldest = |bench: &Bench| {
        bench
            .partition
            .depth(QUEUE)
            .expect("it is there")
            .oldest_unsettled
    };
    assert_eq!(oldest(&bench).map(|at| at.0), Some(10_000));
    bench.pass(15_000);
    bench.enqueue(run(3, 2, 8));
    bench.round();
    bench.pass(18_000);
    bench.ack(1, 0, 1);
    bench.nack(1, 1, 1);
    bench.round();
    let shown = |consumer| holder(&bench, consumer).oldest.map(|at| at.0);
    // Consumer 2 got message 3 at 15 seconds, and 1 the rest at 18.
    assert_eq!((shown(1), shown(2)), (Some(18_000), Some(15_000)));
    assert_eq!(oldest(&bench).map(|at| at.0), Some(15_000));
    assert_eq!(figures(&bench, 1), (4, 1, 2, 0));
    assert_eq!(holder(&bench, 1).kind, HolderKind::Consumer);
    bench.apply(Command::Cancel {
        consumer: ConsumerId(1),
        ticket: super::harness::TICKET,
    });
    bench.round();
    assert_eq!(holder(&bench, 1).kind, HolderKind::Cancelled);
    bench.ack(1, 0, 9);
    bench.ack(2, 0, 9);
    bench.round();
    assert_eq!(oldest(&bench), None);
}

#[test]
fn who_does_not_acknowledge_has_acknowledged_nothing() {
    let mut bench = Bench::new();
    let no_ack = Wish {
        no_ack: true,
        ..Wish::default()
    };
    bench.consume_as(1, no_ack);
    bench.enqueue(run(1, 2, 7));
    bench.round();
    assert_eq!(figures(&bench, 1), (2, 0, 0, 0));
}

#[test]
fn what_is_gotten_can_be_handed_on() {
    check(
        |bench| {
            bench.enqueue(run(1, 1, 7));
            bench.pass(3_000);
            bench.get(9, false);
            bench.round();
            assert_eq!(holder(bench, 9).oldest.map(|at| at.0), Some(3_000));
            assert_eq!(holder(bench, 9).kind, HolderKind::Getter);
            bench.consume(1, 0);
            hand_on(bench, 9, 0);
            bench.round();
            bench.ack(9, 0, 1);
        },
        "",
    );
}
