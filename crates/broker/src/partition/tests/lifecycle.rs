//! Small cases about messages that do not stay for ever: expiry, limits, the dead, and queues that nobody uses.

use crate::ids::{Location, Millis, QueueId, Seq};
use crate::partition::{Command, ParkedFate, Rules, SettleOutcome, SettleReason, Store};
use crate::terms::{Overflow, Retention, Terms};

use super::harness::{Bench, QUEUE, TICKET, check_with, run};

const PLAIN: Terms = Terms {
    message_ttl_millis: None,
    expires_millis: None,
    messages_max: None,
    bytes_max: None,
    overflow: Overflow::DropHead,
    dead_letters: false,
    scheduled: false,
    counts_all_bytes: false,
    retention: None,
};

fn at_most(messages: u64) -> Bench {
    Bench::on(Terms {
        messages_max: Some(messages),
        ..PLAIN
    })
}

fn dead_letters() -> Bench {
    Bench::on(Terms {
        dead_letters: true,
        ..PLAIN
    })
}

fn amend(bench: &mut Bench, terms: Terms) {
    let rules = Rules {
        terms,
        ..Rules::default()
    };
    bench.apply(Command::Amend {
        queue: QUEUE,
        rules: Box::new(rules),
    });
}

fn answer(bench: &mut Bench, first: u64, count: u32, arrived: bool) {
    let (queue, first, reason) = (QUEUE, Seq(first), SettleReason::DeadLettered);
    bench.apply(if arrived {
        Command::Bury {
            queue,
            first,
            count,
            reason,
        }
    } else {
        Command::Keep { queue, first, count }
    });
}

#[test]
fn the_head_makes_room() {
    check_with(
        at_most(3),
        |bench| bench.enqueue(run(1, 5, 7)),
        "q1 1..3 20b @1:7 overflowed",
    );
    check_with(at_most(5), |bench| bench.enqueue(run(1, 5, 7)), "");
    check_with(
        at_most(3),
        |bench| {
            (0..5).for_each(|at| bench.enqueue(run(at * 2 + 1, 2, at + 1)));
        },
        "q1 1..8 70b @1:1 overflowed",
    );
    let refuses = Bench::on(Terms {
        messages_max: Some(3),
        overflow: Overflow::RejectPublish,
        ..PLAIN
    });
    check_with(refuses, |bench| bench.enqueue(run(1, 5, 7)), "");
}

#[test]
fn what_is_delivered_at_once_takes_no_room() {
    check_with(
        at_most(0),
        |bench| {
            bench.consume(1, 2);
            bench.enqueue(run(1, 5, 7));
        },
        "1: consuming
         c1 <- 1..3 #0 @1:7[0]
         q1 3..6 30b @1:7 overflowed",
    );
    check_with(
        at_most(1),
        |bench| {
            bench.consume(1, 2);
            bench.enqueue(run(1, 3, 7));
            bench.round();
            bench.nack(1, 0, 2);
            bench.apply(Command::ReturnAll {
                consumer: crate::ids::ConsumerId(1),
            });
        },
        "q1 1..3 back
         q1 1..3 20b @1:7 overflowed",
    );
}

#[test]
fn bytes_of_bodies_count() {
    let at_most = |bytes| {
        Bench::on(Terms {
            bytes_max: Some(bytes),
            ..PLAIN
        })
    };
    check_with(
        at_most(25),
        |bench| bench.enqueue(run(1, 5, 7)),
        "q1 1..4 30b @1:7 overflowed",
    );
    check_with(at_most(50), |bench| bench.enqueue(run(1, 5, 7)), "");
    check_with(
        at_most(0),
        |bench| bench.enqueue(run(1, 2, 7)),
        "q1 1..3 20b @1:7 overflowed",
    );
}

#[test]
fn a_limit_may_come_later() {
    check_with(
        Bench::new(),
        |bench| {
            bench.enqueue(run(1, 5, 7));
            bench.round();
            let terms = Terms {
                bytes_max: Some(30),
                messages_max: Some(4),
                ..PLAIN
            };
            amend(bench, terms);
        },
        "q1 1..3 20b @1:7 overflowed",
    );
}

#[test]
fn what_reaches_its_deadline_goes() {
    check_with(
        Bench::new(),
        |bench| {
            bench.expire(1, 3, 100);
            bench.enqueue(run(1, 5, 7));
            bench.round();
            assert_eq!(bench.partition.next_due(), Some(Millis(100)));
            bench.pass(99);
            assert_eq!(bench.round(), "");
            bench.pass(100);
        },
        "q1 1..4 30b @1:7 expired",
    );
    let mut bench = Bench::new();
    bench.expire(1, 1, 100);
    bench.enqueue(run(1, 1, 7));
    bench.round();
    bench.pass(100);
    bench.round();
    assert_eq!(bench.partition.next_due(), None, "it is a plain queue again");
}

#[test]
fn nothing_to_live_means_now_or_never() {
    check_with(
        Bench::new(),
        |bench| {
            bench.expire(1, 3, 0);
            bench.enqueue(run(1, 3, 7));
        },
        "q1 1..4 30b @1:7 expired",
    );
    // The way through the log took its time; that does not count.
    check_with(
        Bench::new(),
        |bench| {
            bench.consume(1, 2);
            bench.round();
            bench.pass(50);
            bench.expire(1, 3, 10);
            bench.enqueue(run(1, 3, 7));
        },
        "c1 <- 1..3 #0 @1:7[0]
         q1 3 10b @1:7 expired",
    );
}

#[test]
fn only_the_head_expires() {
    check_with(
        Bench::new(),
        |bench| {
            bench.expire(2, 1, 50);
            bench.enqueue(run(1, 3, 7));
            bench.round();
            bench.pass(60);
            assert_eq!(bench.round(), "");
            bench.consume(1, 0);
        },
        "1: consuming
         c1 <- 1 #0 @1:7[0]
         q1 2 10b @1:7 expired
         c1 <- 3 #1 @1:7[2]",
    );
    check_with(
        Bench::new(),
        |bench| {
            bench.expire(1, 2, 50);
            bench.enqueue(run(1, 3, 7));
            bench.round();
            bench.pass(60);
            bench.get(5, false);
        },
        "q1 1..3 20b @1:7 expired
         7: got c5 <- 3 #0 @1:7[2], 0 left",
    );
}

#[test]
fn what_is_held_does_not_expire_until_it_comes_back() {
    check_with(
        Bench::new(),
        |bench| {
            bench.expire(1, 3, 50);
            bench.consume(1, 2);
            bench.enqueue(run(1, 3, 7));
            bench.round();
            bench.pass(60);
            assert_eq!(bench.round(), "q1 3 10b @1:7 expired");
            bench.ack(1, 0, 1);
            bench.nack(1, 1, 1);
        },
        "q1 1 10b @1:7 done
         q1 2 back
         q1 2 10b @1:7 expired",
    );
}

#[test]
fn a_queue_that_nobody_uses_goes() {
    let leased = || {
        Bench::on(Terms {
            expires_millis: Some(100),
            ..PLAIN
        })
    };
    check_with(leased(), |bench| bench.pass(99), "");
    check_with(leased(), |bench| bench.pass(100), "q1 unused");
    let told_once = |bench: &mut Bench| {
        bench.pass(100);
        bench.round();
        bench.pass(500);
    };
    check_with(leased(), told_once, "");
    let asked = |bench: &mut Bench| {
        bench.pass(60);
        bench.apply(Command::Status {
            queue: QUEUE,
            ticket: TICKET,
        });
        bench.round();
        bench.pass(159);
        assert_eq!(bench.round(), "");
        bench.pass(160);
    };
    check_with(leased(), asked, "q1 unused");
    let gotten = |bench: &mut Bench| {
        bench.pass(60);
        bench.get(5, true);
        bench.round();
        bench.pass(120);
    };
    check_with(leased(), gotten, "");
    let consumed = |bench: &mut Bench| {
        bench.consume(1, 0);
        bench.round();
        bench.pass(1000);
        assert_eq!(bench.round(), "");
        bench.apply(Command::ReturnAll {
            consumer: crate::ids::ConsumerId(1),
        });
        bench.round();
        bench.pass(1099);
        assert_eq!(bench.round(), "");
        bench.pass(1100);
    };
    check_with(leased(), consumed, "q1 unused");
}

#[test]
fn the_dead_are_sent_on_and_stay_until_they_have_arrived() {
    let mut bench = dead_letters();
    bench.consume(1, 0);
    bench.enqueue(run(1, 4, 7));
    bench.round();
    bench.settle(1, 1, 2, SettleOutcome::Discard);
    assert_eq!(bench.round(), "q1 2..4 rejected\nq1 2..4 died: rejected");
    let depth = bench.partition.depth(QUEUE).unwrap();
    assert_eq!((depth.dead, depth.counters.live(), depth.unsettled), (2, 4, 2));
    assert!(bench.partition.is_dying(QUEUE, Seq(2), 2));
    assert!(!bench.partition.is_dying(QUEUE, Seq(2), 3));
    answer(&mut bench, 2, 2, true);
    assert_eq!(bench.round(), "q1 2..4 20b @1:7 deadlettered");
    let depth = bench.partition.depth(QUEUE).unwrap();
    assert_eq!((depth.dead, depth.counters.dead_lettered), (0, 2));
}

/// A run of thousands of messages is not moved at once only because it is the first.
#[test]
fn a_large_run_of_the_dead_goes_in_parts() {
    let mut bench = dead_letters();
    bench.consume(1, 0);
    bench.enqueue(run(1, 4096, 7));
    bench.round();
    bench.settle(1, 0, 4096, SettleOutcome::Discard);
    assert_eq!(bench.round(), "q1 1..4097 rejected\nq1 1..257 died: rejected");
    answer(&mut bench, 1, 256, true);
    assert_eq!(
        bench.round(),
        "q1 1..257 2560b @1:7 deadlettered\nq1 257..513 died: rejected"
    );
}

fn commit(bench: &mut Bench, first: u64, count: u32) {
    bench.apply(Command::Commit {
        consumer: crate::ids::ConsumerId(1),
        first,
        count,
    });
}

/// What a transaction on its way settles is settled once, by the transaction, whatever its consumer does.
#[test]
fn what_is_being_committed_stays_with_its_consumer() {
    for outcome in [SettleOutcome::Done, SettleOutcome::Discard] {
        let settled = |bench: &mut Bench| {
            let told = bench.round();
            match outcome {
                SettleOutcome::Done => assert_eq!(told, "q1 2..4 20b @1:7 done"),
                _ => assert_eq!(told, "q1 2..4 rejected\nq1 2..4 died: rejected"),
            }
        };
        let committing = || {
            let mut bench = dead_letters();
            bench.expire(1, 4, 10);
            bench.consume(1, 0);
            bench.enqueue(run(1, 4, 7));
            bench.round();
            commit(&mut bench, 1, 2);
            bench
        };
        let mut bench = committing();
        bench.die(1);
        assert_eq!(bench.round(), "q1 1 back\nq1 4 back");
        bench.die(1);
        bench.pass(20);
        assert_eq!(bench.round(), "q1 1 died: expired\nq1 4 died: expired");
        assert_eq!(bench.partition.depth(QUEUE).unwrap().unsettled, 2);
        bench.settle(1, 1, 2, outcome);
        settled(&mut bench);
        assert!(
            !bench.partition.knows(crate::ids::ConsumerId(1)),
            "it holds nothing more"
        );

        let mut bench = committing();
        bench.apply(Command::Recover {
            consumer: crate::ids::ConsumerId(1),
        });
        bench.settle(1, 1, 2, outcome);
        assert!(
            bench.round().contains("q1 1 back\nq1 4 back\nq1 2..4"),
            "{outcome:?}"
        );
        bench.die(1);
        assert_eq!(
            bench.round(),
            "q1 1 back\nq1 4 back",
            "and no more is held for it"
        );
    }
}

#[test]
fn death_has_its_reasons() {
    let mut bench = Bench::on(Terms {
        dead_letters: true,
        messages_max: Some(2),
        ..PLAIN
    });
    bench.expire(2, 1, 10);
    bench.enqueue(run(1, 3, 7));
    assert_eq!(bench.round(), "q1 1 died: overflow");
    bench.pass(10);
    assert_eq!(bench.round(), "q1 2 died: expired");
}

#[test]
fn what_finds_no_target_is_tried_again_one_by_one() {
    let mut bench = dead_letters();
    bench.expire(1, 3, 10);
    bench.enqueue(run(1, 3, 7));
    bench.round();
    bench.pass(10);
    assert_eq!(bench.round(), "q1 1..4 died: expired");
    answer(&mut bench, 1, 3, false);
    assert_eq!(bench.round(), "");
    assert_eq!(bench.partition.next_due(), Some(Millis(1010)));
    bench.pass(1010);
    assert_eq!(
        bench.round(),
        "q1 1 died: expired\nq1 2 died: expired\nq1 3 died: expired"
    );
    answer(&mut bench, 1, 1, false);
    answer(&mut bench, 2, 1, true);
    assert_eq!(bench.round(), "q1 2 10b @1:7 deadlettered");
    answer(&mut bench, 3, 1, false);
    // One got through, so the others are tried again at once.
    assert_eq!(bench.round(), "q1 1 died: expired\nq1 3 died: expired");
    answer(&mut bench, 1, 1, false);
    answer(&mut bench, 3, 1, false);
    assert_eq!(bench.round(), "");
    assert_eq!(bench.partition.next_due(), Some(Millis(2010)));
}

#[test]
fn the_stuck_take_turns() {
    let mut bench = dead_letters();
    bench.consume(1, 0);
    bench.enqueue(run(1, 100, 7));
    bench.round();
    bench.settle(1, 0, 100, SettleOutcome::Discard);
    bench.round();
    answer(&mut bench, 1, 100, false);
    bench.round();
    for (now, first, last) in [(1000, 1, 64), (2000, 65, 100), (3000, 1, 64)] {
        bench.pass(now);
        let told = bench.round();
        let lines: Vec<_> = told.lines().collect();
        let ends = (
            format!("q1 {first} died: rejected"),
            format!("q1 {last} died: rejected"),
        );
        assert_eq!(
            (lines.first().copied(), lines.last().copied()),
            (Some(&*ends.0), Some(&*ends.1))
        );
        (first..=last).for_each(|seq| answer(&mut bench, seq, 1, false));
        assert_eq!(bench.round(), "");
    }
}

#[test]
fn only_so_many_are_on_their_way() {
    let mut bench = dead_letters();
    bench.consume(1, 0);
    for part in 0..4 {
        bench.enqueue(run(part * 200 + 1, 200, part + 1));
    }
    bench.round();
    bench.settle(1, 0, 800, SettleOutcome::Discard);
    assert_eq!(
        bench.round(),
        "q1 1..801 rejected\nq1 1..201 died: rejected\nq1 201..257 died: rejected"
    );
    answer(&mut bench, 1, 200, true);
    assert_eq!(
        bench.round(),
        "q1 1..201 2000b @1:1 deadlettered\nq1 257..401 died: rejected\nq1 401..457 died: rejected"
    );
}

#[test]
fn the_dead_are_owned_like_all_others() {
    let dead = |bench: &mut Bench| {
        bench.consume(1, 0);
        bench.enqueue(run(1, 3, 7));
        bench.round();
        bench.settle(1, 0, 3, SettleOutcome::Discard);
        bench.round();
    };
    let moved = |bench: &mut Bench| {
        dead(bench);
        bench.relocate(&[(1, 3, 9, 5)]);
    };
    check_with(dead_letters(), moved, "q1 1..4 30b 1:7 to 2:9");
    let listed = |bench: &mut Bench| {
        dead(bench);
        let mut live = Vec::new();
        bench.partition.live(QUEUE, Seq(0), Seq(9), 100, &mut live);
        let found: Vec<_> = live.iter().map(|run| (run.first, run.location)).collect();
        assert_eq!(found, [(Seq(1), Location(1 << 32 | 7))]);
    };
    check_with(dead_letters(), listed, "");
    let damaged = |bench: &mut Bench| {
        dead(bench);
        let (queue, first) = (QUEUE, Seq(2));
        bench.apply(Command::Quarantine {
            queue,
            first,
            count: 1,
        });
    };
    check_with(dead_letters(), damaged, "q1 2 10b @1:7 quarantined");
    let purged = |bench: &mut Bench| {
        dead(bench);
        bench.purge(TICKET);
        bench.check_empty(TICKET);
    };
    check_with(dead_letters(), purged, "7: purged 0\n7: NotEmpty");
    let deleted = |bench: &mut Bench| {
        dead(bench);
        bench.apply(Command::DeleteQueue { queue: QUEUE });
        answer(bench, 1, 3, true);
    };
    check_with(dead_letters(), deleted, "q1 1..4 30b @1:7 deleted\nc1 gone");
}

/// Everything at random: whatever happens, all invariants hold and every message is accounted for.
#[test]
fn nothing_gets_lost_among_the_terms() {
    for seed in 1..=200 {
        wander(seed);
    }
}

fn wander(seed: u64) {
    let mut state = seed;
    let mut below = |end: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % end
    };
    let mut bench = Bench::new();
    bench.consume(1, 7);
    bench.consume(2, 30);
    let (mut next, mut now, mut dying) = (1, 0, Vec::new());
    for _ in 0..300 {
        match below(14) {
            0 => {
                let terms = Terms {
                    messages_max: Some(below(30)).filter(|max| *max > 10),
                    bytes_max: Some(below(300)).filter(|max| *max > 100),
                    overflow: Overflow::DropHead,
                    dead_letters: below(3) > 0,
                    retention: (below(2) > 0).then_some(Retention {
                        millis: 60,
                        messages_max: 20,
                        bytes_max: 150,
                    }),
                    ..PLAIN
                };
                amend(&mut bench, terms);
            }
            1..=4 => {
                let count = 1 + below(12) as u16;
                if below(2) == 0 {
                    bench.expire(next, u32::from(count), now + below(40));
                }
                bench.enqueue(run(next, count, below(3) * 10));
                next += u64::from(count);
            }
            5 | 6 => {
                let outcome = [
                    SettleOutcome::Done,
                    SettleOutcome::Requeue,
                    SettleOutcome::Discard,
                ];
                bench.settle(
                    1 + below(2),
                    below(next),
                    1 + below(9) as u32,
                    outcome[below(3) as usize],
                );
            }
            7 => {
                now += below(50);
                bench.pass(now);
            }
            8 => bench.relocate(&[(1 + below(next), 1 + below(5) as u16, 500 + below(50), 0)]),
            12 => bench.get(3, true),
            13 => {
                let first = below(next);
                bench.apply(Command::Unpark {
                    queue: QUEUE,
                    store: [Store::Parked, Store::Retained][below(2) as usize],
                    first: Seq(first),
                    end: Seq(first + below(20)),
                    fate: [ParkedFate::Redrive, ParkedFate::Discard][usize::from(below(4) == 0)],
                });
            }
            9 => {
                let consumer = crate::ids::ConsumerId(1 + below(2));
                bench.apply(Command::Recover { consumer });
            }
            _ => {
                for (first, count) in std::mem::take(&mut dying) {
                    answer(&mut bench, first, count, below(2) == 0);
                }
            }
        }
        dying.extend(deaths(&bench.round()));
    }
    let depth = bench.partition.depth(QueueId(1)).unwrap();
    assert_eq!(depth.counters.accepted, next - 1, "seed {seed}");
    assert_eq!(
        depth.counters.live(),
        depth.ready + depth.unsettled + depth.dead + depth.parked + depth.retained,
        "seed {seed}"
    );
}

fn deaths(told: &str) -> Vec<(u64, u32)> {
    let dead = told.lines().filter(|line| line.contains(" died: "));
    dead.map(|line| {
        let span = line.split(' ').nth(1).expect("the messages");
        let (first, end) = span.split_once("..").unwrap_or((span, ""));
        let first: u64 = first.parse().expect("a number");
        let end = end.parse().unwrap_or(first + 1);
        (first, (end - first) as u32)
    })
    .collect()
}

/// The dead of a queue that has no dead-letter exchange any more do not wait for one: they are parked.
#[test]
fn the_dead_are_parked_when_their_exchange_is_taken_away() {
    let mut bench = dead_letters();
    // Two are stuck, as nobody wanted them; one more is on its way.
    bench.enqueue(run(1, 3, 7));
    bench.get(1, false);
    bench.get(1, false);
    bench.get(1, false);
    bench.settle(1, 0, 2, SettleOutcome::Discard);
    bench.round();
    answer(&mut bench, 1, 2, false);
    bench.settle(1, 2, 1, SettleOutcome::Discard);
    bench.round();
    amend(&mut bench, PLAIN);
    bench.round();
    let depth = bench.partition.depth(QUEUE).expect("it is there");
    assert_eq!((depth.dead, depth.parked), (1, 2));
    // What is on its way may still arrive; if not, it is parked as well.
    answer(&mut bench, 3, 1, false);
    bench.round();
    let depth = bench.partition.depth(QUEUE).expect("it is there");
    assert_eq!((depth.dead, depth.parked, depth.counters.live()), (0, 3, 3));
}
