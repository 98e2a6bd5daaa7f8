//! Small cases about queues on a schedule: what waits for its time, in which order it goes, and what is asked of it meanwhile.

use crate::ids::{Millis, QueueId, Seq};
use crate::partition::{Command, Kept, Limits, Partition, Restored, Rules, SettleReason};
use crate::terms::Terms;

use super::harness::{Batch, Bench, QUEUE, TICKET, check_with, run};

const SCHEDULE: Terms = Terms {
    message_ttl_millis: None,
    expires_millis: Some(60_000),
    messages_max: None,
    bytes_max: None,
    overflow: crate::terms::Overflow::RejectPublish,
    dead_letters: true,
    scheduled: true,
    counts_all_bytes: false,
    retention: None,
};

fn bench() -> Bench {
    Bench::on(SCHEDULE)
}

/// One message after the other, due at these times.
fn due(bench: &mut Bench, times: &[u64]) {
    for (seq, at) in (1..).zip(times) {
        bench.expire(seq, 1, *at);
        bench.enqueue(run(seq, 1, seq));
    }
}

fn check(times: &[u64], now: u64, expected: &str) {
    let script = |bench: &mut Bench| {
        due(bench, times);
        bench.round();
        bench.pass(now);
    };
    check_with(bench(), script, expected);
}

fn arrived(bench: &mut Bench, first: u64, count: u32) {
    bench.apply(Command::Bury {
        queue: QUEUE,
        first: Seq(first),
        count,
        reason: SettleReason::DeadLettered,
    });
}

fn unschedule(bench: &mut Bench, first: u64, end: u64) {
    bench.apply(Command::Unschedule {
        queue: QUEUE,
        first: Seq(first),
        end: Seq(end),
    });
}

#[test]
fn messages_go_when_they_are_due_and_not_before() {
    check(&[100], 99, "");
    check(&[100], 100, "q1 1 died: due");
    check(&[300, 100, 200], 250, "q1 2 died: due\nq1 3 died: due");
    check(
        &[300, 100, 100, 200],
        1000,
        "q1 2 died: due\nq1 3 died: due\nq1 4 died: due\nq1 1 died: due",
    );
}

#[test]
fn what_came_in_one_batch_may_be_due_at_different_times() {
    let script = |bench: &mut Bench| {
        bench.expire(2, 2, 100);
        bench.expire(4, 1, 50);
        bench.enqueue(run(1, 5, 7));
        assert_eq!(bench.round(), "q1 1 died: due\nq1 5 died: due", "without a time");
        bench.pass(100);
    };
    check_with(bench(), script, "q1 4 died: due\nq1 2..4 died: due");
}

#[test]
fn the_next_time_is_told() {
    let mut bench = bench();
    due(&mut bench, &[300, 100]);
    bench.round();
    assert_eq!(bench.partition.next_due(), Some(Millis(100)));
    bench.pass(100);
    bench.round();
    assert_eq!(bench.partition.next_due(), Some(Millis(300)));
}

#[test]
fn nothing_is_ever_ready() {
    let mut bench = bench();
    bench.consume(1, 0);
    due(&mut bench, &[100]);
    assert_eq!(bench.round(), "1: consuming");
    let depth = bench.partition.depth(QUEUE).unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.delayed_bytes), (0, 1, 10));
    assert_eq!(bench.partition.taken(QUEUE), (1, 10));
    bench.pass(100);
    bench.round();
    assert_eq!(bench.partition.taken(QUEUE), (1, 10), "it is on its way");
    arrived(&mut bench, 1, 1);
    assert_eq!(bench.round(), "q1 1 10b @1:1 deadlettered");
    assert_eq!(bench.partition.taken(QUEUE), (0, 0));
}

#[test]
fn only_so_many_are_on_their_way_and_the_others_keep_their_order() {
    let mut bench = bench();
    // The later ones are due first.
    for part in 0..4 {
        bench.expire(part * 200 + 1, 200, 100 - part);
        bench.enqueue(run(part * 200 + 1, 200, part + 1));
    }
    bench.round();
    bench.pass(100);
    assert_eq!(bench.round(), "q1 601..801 died: due\nq1 401..457 died: due");
    bench.pass(200);
    assert_eq!(bench.round(), "");
    arrived(&mut bench, 601, 200);
    assert_eq!(
        bench.round(),
        "q1 601..801 2000b @1:4 deadlettered\nq1 457..601 died: due\nq1 201..257 died: due"
    );
    arrived(&mut bench, 401, 200);
    assert_eq!(
        bench.round(),
        "q1 401..601 2000b @1:3 deadlettered\nq1 257..401 died: due\nq1 1..57 died: due"
    );
}

#[test]
fn what_is_damaged_on_its_way_makes_room_for_the_next() {
    let mut bench = bench();
    for part in 0..3 {
        bench.expire(part * 200 + 1, 200, 100);
        bench.enqueue(run(part * 200 + 1, 200, part + 1));
    }
    bench.round();
    bench.pass(100);
    assert_eq!(bench.round(), "q1 1..201 died: due\nq1 201..257 died: due");
    bench.apply(Command::Quarantine {
        queue: QUEUE,
        first: Seq(1),
        count: 200,
    });
    assert_eq!(
        bench.round(),
        "q1 1..201 2000b @1:1 quarantined\nq1 257..401 died: due\nq1 401..457 died: due"
    );
}

#[test]
fn what_waits_can_be_called_off() {
    let mut bench = bench();
    due(&mut bench, &[100, 200, 300]);
    bench.round();
    unschedule(&mut bench, 2, 4);
    assert_eq!(bench.round(), "q1 2..4 20b @1:2 purged");
    assert_eq!(bench.partition.scheduled_count(QUEUE), 1);
    bench.pass(300);
    assert_eq!(bench.round(), "q1 1 died: due");
    unschedule(&mut bench, 1, 2);
    assert_eq!(bench.round(), "", "it is on its way");
    bench.apply(Command::Keep {
        queue: QUEUE,
        first: Seq(1),
        count: 1,
    });
    unschedule(&mut bench, 1, 2);
    assert_eq!(bench.round(), "q1 1 10b @1:1 purged", "it has found no target");
}

#[test]
fn part_of_what_is_due_together_can_be_called_off() {
    let mut bench = bench();
    bench.expire(1, 5, 100);
    bench.enqueue(run(1, 5, 7));
    bench.round();
    unschedule(&mut bench, 2, 4);
    bench.round();
    bench.pass(100);
    assert_eq!(bench.round(), "q1 1 died: due\nq1 4..6 died: due");
}

#[test]
fn other_queues_have_no_schedule() {
    let script = |bench: &mut Bench| {
        bench.enqueue(run(1, 2, 7));
        bench.round();
        unschedule(bench, 1, 3);
    };
    check_with(Bench::new(), script, "");
    let listed = Bench::new().partition.scheduled(QUEUE, (Millis(0), Seq(0)), 10);
    assert!(listed.0.is_empty());
}

/// What is listed, as `time: numbers`, and where it goes on.
fn listed(bench: &Bench, from: (u64, u64), most: usize) -> (Vec<String>, Option<(u64, u64)>) {
    let from = (Millis(from.0), Seq(from.1));
    let (runs, next) = bench.partition.scheduled(QUEUE, from, most);
    let runs = runs.iter().map(|listed| {
        let (first, end) = (listed.run.first, listed.run.end());
        format!("{}: {first}..{end}", listed.at.0)
    });
    (runs.collect(), next.map(|(at, seq)| (at.0, seq.0)))
}

#[test]
fn what_waits_is_listed_in_the_order_of_its_times() {
    let mut bench = bench();
    due(&mut bench, &[300, 100, 200]);
    bench.expire(4, 5, 200);
    bench.enqueue(run(4, 5, 9));
    bench.round();
    let all = ["100: 2..3", "200: 3..4", "200: 4..9", "300: 1..2"].map(str::to_owned);
    assert_eq!(listed(&bench, (0, 0), 10), (all.to_vec(), None));
    assert_eq!(listed(&bench, (0, 0), 2), (all[..2].to_vec(), Some((200, 4))));
    assert_eq!(listed(&bench, (200, 4), 1), (all[2..3].to_vec(), Some((300, 1))));
    assert_eq!(listed(&bench, (200, 6), 1).0, ["200: 6..9"]);
    unschedule(&mut bench, 5, 7);
    bench.round();
    assert_eq!(listed(&bench, (200, 4), 1).0, ["200: 4..5", "200: 7..9"]);
    unschedule(&mut bench, 3, 9);
    bench.round();
    assert_eq!(listed(&bench, (0, 0), 10).0, ["100: 2..3", "300: 1..2"]);
}

#[test]
fn an_empty_queue_says_so_now_and_then() {
    let mut bench = bench();
    due(&mut bench, &[100_000]);
    bench.round();
    bench.pass(60_000);
    assert_eq!(bench.round(), "", "somebody waits");
    bench.pass(100_000);
    assert_eq!(bench.round(), "q1 1 died: due");
    arrived(&mut bench, 1, 1);
    assert_eq!(bench.round(), "q1 1 10b @1:1 deadlettered");
    for minute in 1..3 {
        bench.pass(100_000 + minute * 60_000 - 1);
        assert_eq!(bench.round(), "");
        bench.pass(100_000 + minute * 60_000);
        assert_eq!(bench.round(), "q1 unused");
    }
}

#[test]
fn the_schedule_comes_back_after_a_restart() {
    let mut before = bench();
    due(&mut before, &[300, 100]);
    before.expire(3, 3, 200);
    before.enqueue(run(3, 3, 9));
    before.round();
    let mut runs = Vec::new();
    let (first, end) = (Seq(0), Seq(100));
    let next = before.partition.live(QUEUE, first, end, 2, &mut runs);
    assert_eq!((runs.len(), next), (2, Some(Seq(3))), "in slices");
    before
        .partition
        .live(QUEUE, next.unwrap_or_default(), end, 2, &mut runs);
    let kept: Kept = before.partition.kept(QUEUE, first, end);

    let mut after = bench();
    after.partition = Partition::<Batch>::new(Limits::default());
    let restored = Restored {
        queue: QueueId(1),
        durable: true,
        auto_delete: false,
        rules: Box::new(Rules {
            terms: SCHEDULE,
            ..Rules::default()
        }),
        next_seq: Seq(50),
    };
    after.partition.restore_queue(restored, kept, runs);
    after.partition.recovered();
    assert_eq!(after.round(), "");
    assert_eq!(after.partition.next_due(), Some(Millis(100)));
    after.pass(250);
    assert_eq!(after.round(), "q1 2 died: due\nq1 3..6 died: due");
    after.purge(TICKET);
    assert_eq!(after.round(), "q1 1 10b @1:1 purged\n7: purged 1");
}
