//! Small cases about upkeep: removal, relocation, memory, restart.

use crate::ids::{ConsumerId, Location, QueueId, Seq};
use crate::partition::{
    Command, Kept, Limits, LiveRun, Marks, Partition, Restored, Rules, Run, SettleReason,
};
use crate::terms::Terms;

use super::harness::{Batch, Bench, QUEUE, TICKET, check, check_with, run};

#[test]
fn questions_about_a_missing_queue_are_refused() {
    check(
        |bench| {
            bench.apply(Command::DeleteQueue { queue: QUEUE });
            bench.consume(1, 0);
            bench.get(9, false);
            bench.purge(TICKET);
            bench.apply(Command::Status {
                queue: QUEUE,
                ticket: TICKET,
            });
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
            bench.apply(Command::Cancel {
                consumer: ConsumerId(1),
                ticket: TICKET,
            });
            bench.nack(1, 1, 1);
            bench.purge(TICKET);
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
            bench.apply(Command::ReturnAll {
                consumer: ConsumerId(9),
            });
            bench.apply(Command::CreateQueue {
                queue: QueueId(2),
                durable: true,
                auto_delete: false,
                rules: Box::default(),
            });
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
        bench.apply(Command::CheckDelete {
            queue: QUEUE,
            if_unused,
            if_empty,
            ticket: TICKET,
        });
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
fn relocated_messages_are_found_at_their_new_place() {
    check(
        |bench| {
            bench.consume(1, 4);
            bench.enqueue(run(1, 8, 7));
            bench.round();
            bench.ack(1, 1, 1);
            bench.nack(1, 3, 1);
            bench.apply(Command::Cancel {
                consumer: ConsumerId(1),
                ticket: TICKET,
            });
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
            bench.apply(Command::Quarantine {
                queue: QUEUE,
                first: Seq(1),
                count: 6,
            });
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
fn what_does_not_fit_into_memory_is_delivered_lean() {
    check_with(
        Bench::with(
            Limits {
                resident_bytes_max: 15,
            },
            1 << 40,
        ),
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
    // Of a batch of 100 messages this queue gets some: a transient run is copied out, a durable one is thinned, or read later where that saves little.
    let whole = Batch::even(100, 100);
    let part = |first: u64, location: u64, count: u16| {
        let mut part = run(first, 100, location);
        part.content = Some(whole.clone());
        (part.from, part.to, part.bytes) = (50, 50 + count, u32::from(count) * 10);
        part
    };
    let mut bench = Bench::new();
    bench.enqueue(part(1, 0, 3));
    bench.enqueue(part(4, 7, 3));
    bench.enqueue(part(7, 8, 20));
    bench.round();
    assert_eq!(whole.owners(), 1, "nobody holds on to it");
    assert_eq!(bench.partition.resident_bytes(), 30);
    bench.consume(1, 0);
    assert_eq!(
        bench.round(),
        "1: consuming\nc1 <- 1..4 #0\nc1 <- 4..7 #3 @1:7[50]\nc1 <- 7..27 #6 @1:8[50] lean"
    );
}

#[test]
fn every_message_of_a_run_keeps_bytes_of_its_own() {
    // What a run is charged may be more or less than its batch measures: queues share it, and the log keeps less than came over the wire.
    let charged = |bytes| Run {
        bytes,
        ..run(1, 3, 7)
    };
    let settled_one_by_one = |bench: &mut Bench| {
        bench.consume(1, 0);
        bench.round();
        bench.ack(1, 0, 1);
        bench.round()
    };
    for (bytes, first) in [(3, 1), (4, 1), (10, 3), (30, 10), (300, 100)] {
        let mut bench = Bench::new();
        bench.enqueue(charged(bytes));
        assert_eq!(
            settled_one_by_one(&mut bench),
            format!("q1 1 {first}b @1:7 done"),
            "of {bytes} bytes"
        );
        bench.ack(1, 1, 1);
        assert!(!bench.round().contains(" 0b "), "of {bytes} bytes");
        bench.ack(1, 2, 1);
        assert!(!bench.round().contains(" 0b "), "of {bytes} bytes");
    }
}

#[test]
fn a_message_that_is_kept_for_long_is_copied_out_on_demand() {
    let batch = Batch::even(100, 10);
    let mut part = run(1, 5, 0);
    part.content = Some(batch.clone());
    let mut bench = Bench::new();
    bench.consume(1, 0);
    bench.enqueue(part);
    bench.round();
    assert_eq!(batch.owners(), 2);
    bench.partition.compact();
    assert_eq!(batch.owners(), 1);
    bench.nack(1, 1, 1);
    assert_eq!(bench.round(), "q1 2 back transient\nc1 <- 2 #5 again 1");
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
    before.apply(Command::Cancel {
        consumer: ConsumerId(1),
        ticket: TICKET,
    });
    before.round();
    let mut live = Vec::new();
    assert_eq!(
        before.partition.live(QUEUE, Seq(0), Seq(u64::MAX), 1, &mut live),
        Some(Seq(4))
    );
    assert_eq!(
        before
            .partition
            .live(QUEUE, Seq(4), Seq(u64::MAX), 100, &mut live),
        None
    );
    let listed: Vec<_> = live
        .iter()
        .map(|run| (run.first.0, run.to - run.from, run.from, run.marks.deliveries))
        .collect();
    assert_eq!(listed, [(1, 1, 0, 1), (3, 1, 2, 0), (4, 1, 3, 0), (7, 3, 0, 0)]);

    let mut after = Bench::new();
    after.partition = Partition::new(Limits::default());
    let restored = Restored {
        queue: QUEUE,
        durable: true,
        auto_delete: false,
        rules: Box::default(),
        next_seq: Seq(10),
    };
    after.partition.restore_queue(restored, Kept::default(), live);
    after.enqueue(run(10, 2, 20));
    after.apply(Command::ReplaySettled {
        queue: QUEUE,
        first: Seq(3),
        count: 2,
        reason: SettleReason::Done,
    });
    after.apply(Command::ReplayReturned {
        queue: QUEUE,
        first: Seq(8),
        count: 1,
    });
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

/// Found by the simulator (its seed 303 of the first runs with delivery limits): a message that had failed too often and still waited for its
/// dead-letter queue was handed out again after a restart.
#[test]
fn what_has_failed_too_often_is_not_ready_after_a_restart() {
    let live = |first, failures| LiveRun {
        first: Seq(first),
        location: Location(1 << 32 | first),
        bytes: 10,
        from: 0,
        to: 1,
        marks: Marks {
            deliveries: 2,
            failures,
            rank: 0,
        },
        aside: None,
        rejected: false,
    };
    for dead_letters in [true, false] {
        let mut bench = Bench::new();
        bench.partition = Partition::new(Limits::default());
        let restored = Restored {
            queue: QUEUE,
            durable: true,
            auto_delete: false,
            rules: Box::new(Rules {
                counts_failures: true,
                delivery_limit: Some(1),
                terms: Terms {
                    dead_letters,
                    ..Terms::default()
                },
                ..Rules::default()
            }),
            next_seq: Seq(10),
        };
        bench
            .partition
            .restore_queue(restored, Kept::default(), [live(1, 2), live(2, 1)]);
        bench.partition.recovered();
        bench.round();
        let depth = bench.partition.depth(QUEUE).expect("it is there");
        let (dead, parked) = (u64::from(dead_letters), u64::from(!dead_letters));
        assert_eq!((depth.ready, depth.dead, depth.parked), (1, dead, parked));
        assert_eq!(depth.counters.live(), 2);
    }
}
