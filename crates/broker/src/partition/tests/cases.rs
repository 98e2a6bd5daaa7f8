//! Small cases: what is done, and what comes out of the last round.

use std::sync::Arc;

use crate::ids::{ConsumerId, Location, QueueId, Seq, Ticket};
use crate::partition::{Command, Gate, Limits, Partition, Restored, SettleOutcome, SettleReason, SharedLimit};

use super::harness::{Batch, Bench, Wish, run};

const QUEUE: QueueId = QueueId(1);
const TICKET: Ticket = Ticket(7);

/// Runs `script` on a fresh partition and compares what its last round tells.
fn check(script: impl FnOnce(&mut Bench), expected: &str) {
    check_with(Bench::new(), script, expected);
}

fn check_with(mut bench: Bench, script: impl FnOnce(&mut Bench), expected: &str) {
    script(&mut bench);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
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
    let bytes = told.split(' ').filter_map(|word| word.strip_suffix('b')?.parse::<u64>().ok());
    assert_eq!(bytes.sum::<u64>(), 100, "{told}");
}

#[test]
fn prefetch_holds_back_and_acks_let_through() {
    check(
        |bench| {
            bench.consume(1, 3);
            bench.enqueue(run(1, 10, 0));
        },
        "1: consuming
         c1 <- 1..4 #0",
    );
    check(
        |bench| {
            bench.consume(1, 3);
            bench.enqueue(run(1, 10, 0));
            bench.round();
            bench.ack(1, 1, 2);
        },
        "q1 2..4 20b @- done
         c1 <- 4..6 #3",
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
            bench.apply(Command::ReturnAll { consumer: ConsumerId(1) });
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
            bench.apply(Command::Recover { consumer: ConsumerId(1) });
        },
        "q1 1..3 back transient
         c1 <- 1..3 #2 again 1",
    );
}

#[test]
fn consumers_take_turns() {
    check(
        |bench| {
            bench.consume_as(1, Wish { no_ack: true, ..Wish::default() });
            bench.consume(2, 0);
            bench.round();
            bench.enqueue(run(1, 10, 0));
        },
        "c1 <- 1..6 #0
         q1 1..6 50b @- noack
         c2 <- 6..11 #0",
    );
    check(
        |bench| {
            bench.consume(1, 0);
            bench.consume(2, 0);
            bench.enqueue(run(1, 1, 0));
            bench.round();
            bench.enqueue(run(2, 1, 0));
        },
        "c2 <- 2 #0",
    );
    check(
        |bench| {
            bench.consume(1, 0);
            bench.consume(2, 0);
            bench.round();
            bench.enqueue(run(1, 40, 0));
        },
        "c1 <- 1..17 #0
         c2 <- 17..33 #0
         c1 <- 33..41 #16",
    );
}

#[test]
fn higher_priorities_go_first_while_they_can() {
    check(
        |bench| {
            bench.consume_as(1, Wish { priority: 1, prefetch: 2, ..Wish::default() });
            bench.consume_as(2, Wish { priority: 5, prefetch: 3, ..Wish::default() });
            bench.consume(3, 0);
            bench.round();
            bench.enqueue(run(1, 8, 0));
        },
        "c2 <- 1..4 #0
         c1 <- 4..6 #0
         c3 <- 6..9 #0",
    );
    check(
        |bench| {
            bench.consume_as(1, Wish { priority: -1, ..Wish::default() });
            bench.consume_as(2, Wish { prefetch: 1, ..Wish::default() });
            bench.enqueue(run(1, 1, 0));
            bench.round();
            bench.ack(2, 0, 1);
            bench.enqueue(run(2, 2, 0));
        },
        "q1 1 10b @- done
         c2 <- 2 #1
         c1 <- 3 #0",
    );
}

#[test]
fn exclusive_consumers_are_alone() {
    let exclusive = || Wish { exclusive: true, ..Wish::default() };
    check(
        |bench| {
            bench.consume_as(1, exclusive());
            bench.consume(2, 0);
            bench.apply(Command::Cancel { consumer: ConsumerId(1), ticket: TICKET });
            bench.consume(3, 0);
            bench.consume_as(4, exclusive());
        },
        "1: consuming
         2: ExclusiveUse
         7: cancelled
         3: consuming
         4: ExclusiveUse",
    );
}

#[test]
fn a_cancelled_consumer_keeps_what_it_holds() {
    let cancel = |bench: &mut Bench| {
        bench.consume(1, 3);
        bench.enqueue(run(1, 5, 0));
        bench.round();
        bench.apply(Command::Cancel { consumer: ConsumerId(1), ticket: TICKET });
        bench.apply(Command::Status { queue: QUEUE, ticket: TICKET });
        bench.ack(1, 0, 1);
    };
    check(
        cancel,
        "7: cancelled
         7: 2 messages, 0 consumers
         q1 1 10b @- done",
    );
    check(
        |bench| {
            cancel(bench);
            bench.round();
            bench.apply(Command::ReturnAll { consumer: ConsumerId(1) });
            bench.get(9, true);
        },
        "q1 2..4 back transient
         7: got c9 <- 2 #0 again 1, 3 left
         q1 2 10b @- noack",
    );
}

#[test]
fn the_last_consumer_of_an_auto_delete_queue_is_missed() {
    check(
        |bench| {
            bench.apply(Command::CreateQueue { queue: QueueId(2), durable: false, auto_delete: true });
            bench.consume_as(1, Wish { queue: 2, ..Wish::default() });
            bench.consume_as(2, Wish { queue: 2, ..Wish::default() });
            bench.apply(Command::Cancel { consumer: ConsumerId(1), ticket: TICKET });
            bench.round();
            bench.apply(Command::ReturnAll { consumer: ConsumerId(2) });
        },
        "q2 unused",
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
            bench.apply(Command::ReturnAll { consumer: ConsumerId(9) });
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
fn questions_about_a_missing_queue_are_refused() {
    check(
        |bench| {
            bench.apply(Command::DeleteQueue { queue: QUEUE });
            bench.consume(1, 0);
            bench.get(9, false);
            bench.apply(Command::Purge { queue: QUEUE, ticket: TICKET });
            bench.apply(Command::Status { queue: QUEUE, ticket: TICKET });
            bench.enqueue(run(1, 2, 7));
        },
        "1: NoQueue
         7: NoQueue
         7: NoQueue
         7: NoQueue
         q1 orphaned 1..3",
    );
}

#[test]
fn purge_takes_what_is_ready_only() {
    check(
        |bench| {
            bench.consume(1, 4);
            bench.enqueue(run(1, 8, 7));
            bench.round();
            bench.apply(Command::Cancel { consumer: ConsumerId(1), ticket: TICKET });
            bench.nack(1, 1, 1);
            bench.apply(Command::Purge { queue: QUEUE, ticket: TICKET });
            bench.ack(1, 0, 4);
        },
        "7: cancelled
         q1 2 back
         q1 2 10b @1:7 purged
         q1 5..9 40b @1:7 purged
         7: purged 5
         q1 1 10b @1:7 done
         q1 3..5 20b @1:7 done",
    );
}

#[test]
fn deleting_a_queue_tells_consumers_and_counts_messages() {
    check(
        |bench| {
            bench.consume(1, 2);
            bench.enqueue(run(1, 5, 7));
            bench.round();
            bench.get(9, false);
            bench.round();
            bench.apply(Command::DeleteQueue { queue: QUEUE });
            bench.ack(1, 0, 2);
            bench.apply(Command::ReturnAll { consumer: ConsumerId(9) });
            bench.apply(Command::CreateQueue { queue: QueueId(2), durable: true, auto_delete: false });
            assert_eq!(bench.partition.counters().deleted, 5);
        },
        "q1 4..6 20b @1:7 deleted
         q1 1..3 20b @1:7 deleted
         c1 gone
         q1 3 10b @1:7 deleted",
    );
}

#[test]
fn conditions_of_a_delete() {
    let ask = |bench: &mut Bench, if_unused, if_empty| {
        bench.apply(Command::CheckDelete { queue: QUEUE, if_unused, if_empty, ticket: TICKET });
    };
    check(
        |bench| {
            ask(bench, true, true);
            bench.enqueue(run(1, 2, 0));
            ask(bench, true, false);
            ask(bench, false, true);
            bench.consume(1, 1);
            bench.round();
            ask(bench, true, false);
            ask(bench, false, false);
        },
        "7: InUse
         7: delete with 1",
    );
    check(
        |bench| {
            bench.enqueue(run(1, 2, 0));
            ask(bench, false, true);
        },
        "7: NotEmpty",
    );
}

#[test]
fn a_shared_limit_counts_all_consumers_of_a_channel() {
    let limit = Arc::new(SharedLimit::new(3));
    let wish = || Wish { connection: Some(1), limit: Some(limit.clone()), ..Wish::default() };
    check(
        |bench| {
            bench.consume_as(1, wish());
            bench.consume_as(2, wish());
            bench.enqueue(run(1, 10, 0));
            assert_eq!(bench.round(), "1: consuming\n2: consuming\nc1 <- 1..4 #0");
            bench.ack(1, 0, 1);
            assert_eq!(bench.round(), "q1 1 10b @- done\nc1 limit freed\nc1 <- 4 #3");
            bench.ack(1, 1, 2);
            bench.apply(Command::ReturnAll { consumer: ConsumerId(1) });
            assert_eq!(limit.unsettled(), 0);
        },
        "q1 2..4 20b @- done
         c1 limit freed
         q1 4 back transient
         c2 <- 4 #0 again 1
         c2 <- 5..7 #1",
    );
}

#[test]
fn a_limit_set_later_counts_what_is_held() {
    let limit = Arc::new(SharedLimit::new(2));
    check(
        |bench| {
            bench.consume(1, 0);
            bench.enqueue(run(1, 2, 0));
            bench.round();
            bench.apply(Command::Limit { consumer: ConsumerId(1), limit: Some(limit.clone()) });
            bench.enqueue(run(3, 3, 0));
            assert_eq!(bench.round(), "");
            limit.set(4);
            bench.apply(Command::Resume { consumer: ConsumerId(1) });
        },
        "c1 <- 3..5 #2",
    );
}

#[test]
fn a_limit_reaches_over_partitions() {
    let limit = Arc::new(SharedLimit::new(1));
    let wish = || Wish { connection: Some(1), limit: Some(limit.clone()), ..Wish::default() };
    let (mut here, mut there) = (Bench::new(), Bench::new());
    here.consume_as(1, wish());
    there.consume_as(2, wish());
    here.enqueue(run(1, 1, 0));
    there.enqueue(run(1, 1, 0));
    assert_eq!(here.round(), "1: consuming\nc1 <- 1 #0");
    assert_eq!(there.round(), "2: consuming");
    here.ack(1, 0, 1);
    assert_eq!(here.round(), "q1 1 10b @- done\nc1 limit freed");
    there.apply(Command::Resume { consumer: ConsumerId(2) });
    assert_eq!(there.round(), "c2 <- 1 #0");
}

#[test]
fn a_gate_that_is_shut_holds_back() {
    // A message of 10 bytes weighs 74.
    let mut bench = Bench::with(Limits::default(), 200);
    bench.consume(1, 0);
    (1..=5).for_each(|first| bench.enqueue(run(first, 1, 0)));
    assert_eq!(bench.round(), "1: consuming\nc1 <- 1 #0\nc1 <- 2 #1\nc1 <- 3 #2");
    bench.enqueue(run(6, 1, 0));
    assert_eq!(bench.round(), "");
    assert!(!bench.gate(1).sent(74), "the gate opens at half its limit");
    assert!(bench.gate(1).sent(74));
    bench.apply(Command::Resume { consumer: ConsumerId(1) });
    assert_eq!(bench.round(), "c1 <- 4 #3\nc1 <- 5 #4");
    assert_eq!(bench.gate(1).unsent(), 3 * 74);
}

#[test]
fn a_heavy_run_is_split_at_the_gate() {
    let mut bench = Bench::with(Limits::default(), 100_000);
    let mut heavy = run(1, 10, 0);
    heavy.content = Some(Batch::even(10, 50_000));
    heavy.bytes = 500_000;
    bench.consume(1, 0);
    bench.enqueue(heavy);
    assert_eq!(bench.round(), "1: consuming\nc1 <- 1 #0\nc1 <- 2 #1");
}

#[test]
fn queues_behind_one_gate_are_served_in_turn() {
    let mut bench = Bench::with(Limits::default(), 100);
    for queue in 2..=4 {
        bench.apply(Command::CreateQueue { queue: QueueId(queue), durable: true, auto_delete: false });
        bench.consume_as(queue, Wish { queue, connection: Some(1), ..Wish::default() });
        for first in 1..=5 {
            bench.apply(Command::Enqueue { queue: QueueId(queue), run: run(first, 1, 0) });
        }
    }
    bench.round();
    let mut told = Vec::new();
    for _ in 0..5 {
        let unsent = bench.gate(1).unsent();
        assert!(bench.gate(1).sent(unsent));
        bench.apply(Command::Resume { consumer: ConsumerId(2) });
        told.extend(bench.round().lines().map(|line| line[..2].to_string()));
    }
    // Two messages pass at a time.
    assert_eq!(told, ["c2", "c2", "c3", "c3", "c4", "c4", "c2", "c3", "c4", "c4"]);
}

#[test]
fn relocated_messages_are_found_at_their_new_place() {
    check(
        |bench| {
            bench.consume(1, 4);
            bench.enqueue(run(1, 8, 7));
            bench.round();
            bench.ack(1, 1, 1);
            bench.nack(1, 3, 1);
            bench.apply(Command::Cancel { consumer: ConsumerId(1), ticket: TICKET });
            bench.round();
            // 1 and 3 are unsettled, 2 is settled, 4 is returned, 5..9 are ready.
            bench.relocate(&[(5, 4, 80, 4), (1, 4, 80, 0)]);
        },
        "q1 4..9 50b 1:7 to 2:80
         q1 1 10b 1:7 to 2:80
         q1 3 10b 1:7 to 2:80",
    );
    check(
        |bench| {
            bench.enqueue(run(1, 6, 7));
            bench.relocate(&[(2, 2, 80, 1), (5, 1, 90, 0)]);
            bench.relocate(&[(2, 2, 80, 1)]);
            bench.round();
            bench.consume(1, 0);
        },
        "1: consuming
         c1 <- 1 #0 @1:7[0]
         c1 <- 2..4 #1 @2:80[1]
         c1 <- 4 #3 @1:7[3]
         c1 <- 5 #4 @2:90[0] lean
         c1 <- 6 #5 @1:7[5]",
    );
}

#[test]
fn damaged_messages_are_set_aside_wherever_they_are() {
    check(
        |bench| {
            bench.consume(1, 4);
            bench.enqueue(run(1, 8, 7));
            bench.round();
            bench.nack(1, 0, 1);
            bench.apply(Command::Quarantine { queue: QUEUE, first: Seq(1), count: 6 });
            assert_eq!(bench.partition.counters().quarantined, 6);
        },
        "q1 1 back
         q1 1 10b @1:7 quarantined
         q1 5..7 20b @1:7 quarantined
         q1 2..5 30b @1:7 quarantined
         c1 <- 7..9 #4 @1:7[6]",
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
fn what_does_not_fit_into_memory_is_delivered_lean() {
    check_with(
        Bench::with(Limits { resident_bytes_max: 15 }, 1 << 40),
        |bench| {
            (1..=3).for_each(|first| bench.enqueue(run(first, 1, first)));
            bench.enqueue(run(4, 1, 0));
            assert_eq!(bench.partition.resident_bytes(), 20);
            bench.consume(1, 0);
        },
        "1: consuming
         c1 <- 1 #0 @1:1[0]
         c1 <- 2 #1 @1:2[0]
         c1 <- 3 #2 @1:3[0] lean
         c1 <- 4 #3",
    );
}

#[test]
fn little_does_not_pin_much() {
    // Of a batch of 100 messages this queue gets three: a transient run is copied out, a durable one is read later.
    let part = |first: u64, location: u64| {
        let mut part = run(first, 100, location);
        part.content = Some(Batch::even(100, 100));
        (part.from, part.to, part.bytes) = (50, 53, 300);
        part
    };
    let mut bench = Bench::new();
    bench.enqueue(part(1, 0));
    bench.enqueue(part(4, 7));
    bench.round();
    assert_eq!(bench.partition.resident_bytes(), 0);
    bench.consume(1, 0);
    assert_eq!(bench.round(), "1: consuming\nc1 <- 1..4 #0\nc1 <- 4..7 #3 @1:7[50] lean");
}

#[test]
fn a_restart_brings_back_what_is_durable_and_live() {
    let mut before = Bench::new();
    before.enqueue(run(1, 4, 7));
    before.enqueue(run(5, 2, 0));
    before.enqueue(run(7, 3, 9));
    before.consume(1, 3);
    before.round();
    before.ack(1, 1, 1);
    before.nack(1, 0, 1);
    before.apply(Command::Cancel { consumer: ConsumerId(1), ticket: TICKET });
    before.round();
    let mut live = Vec::new();
    assert_eq!(before.partition.live(QUEUE, Seq(0), Seq(u64::MAX), 1, &mut live), Some(Seq(4)));
    assert_eq!(before.partition.live(QUEUE, Seq(4), Seq(u64::MAX), 100, &mut live), None);
    let listed: Vec<_> = live.iter().map(|run| (run.first.0, run.to - run.from, run.from, run.deliveries)).collect();
    assert_eq!(listed, [(1, 1, 0, 1), (3, 1, 2, 0), (4, 1, 3, 0), (7, 3, 0, 0)]);

    let mut after = Bench::new();
    after.partition = Partition::new(Limits::default());
    let restored = Restored { queue: QUEUE, durable: true, auto_delete: false, next_seq: Seq(10) };
    after.partition.restore_queue(restored, live);
    after.enqueue(run(10, 2, 20));
    after.apply(Command::ReplaySettled { queue: QUEUE, first: Seq(3), count: 2, reason: SettleReason::Done });
    after.apply(Command::ReplayReturned { queue: QUEUE, first: Seq(8), count: 1 });
    after.partition.recovered();
    after.enqueue(run(12, 1, 21));
    assert_eq!(after.round(), "q1 3..5 20b @1:7 done\nq1 8 back");
    after.consume(1, 0);
    assert_eq!(
        after.round().lines().collect::<Vec<_>>(),
        [
            "1: consuming",
            "c1 <- 1 #0 @1:7[0] lean again 1",
            "c1 <- 7 #1 @1:9[0] lean again 0",
            "c1 <- 8 #2 @1:9[1] lean again 1",
            "c1 <- 9 #3 @1:9[2] lean again 0",
            "c1 <- 10..12 #4 @1:20[0] again 0",
            "c1 <- 12 #6 @1:21[0]",
        ]
    );
}

#[test]
fn a_transaction_asks_what_it_would_settle() {
    let mut bench = Bench::new();
    bench.enqueue(run(1, 4, 7));
    bench.enqueue(run(5, 2, 8));
    bench.consume(1, 0);
    bench.round();
    bench.ack(1, 2, 1);
    let ranges = bench.partition.settled_by([(ConsumerId(1), 1, 4), (ConsumerId(2), 0, 1)]);
    let ranges: Vec<_> = ranges.iter().map(|range| (range.first.0, range.count, range.durable)).collect();
    assert_eq!(ranges, [(2, 1, true), (4, 2, true)]);
}

#[test]
fn gates_and_limits_tell_whether_somebody_waits() {
    let gate = Gate::new(100);
    gate.charge(150);
    assert!(!gate.sent(100), "nobody has asked");
    gate.charge(50);
    assert_eq!(gate.room(), 0);
    assert!(gate.sent(50));
    assert!(!gate.sent(0), "it is told once");
    let limit = SharedLimit::new(5);
    assert_eq!((limit.acquire(3), limit.acquire(3), limit.acquire(1)), (3, 2, 0));
    assert!(limit.release(1));
    assert!(!limit.release(1));
    limit.set(0);
    assert_eq!(limit.acquire(1000), 1000);
}
