//! Small cases about consumers: who gets what, and when nobody does.

use std::sync::Arc;

use crate::ids::{ConsumerId, QueueId};
use crate::partition::{Command, Gate, Limits, SharedLimit};

use super::harness::{Batch, Bench, QUEUE, TICKET, Wish, check, run};

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
fn consumers_take_turns() {
    check(
        |bench| {
            bench.consume_as(
                1,
                Wish {
                    no_ack: true,
                    ..Wish::default()
                },
            );
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
            bench.consume_as(
                1,
                Wish {
                    priority: 1,
                    prefetch: 2,
                    ..Wish::default()
                },
            );
            bench.consume_as(
                2,
                Wish {
                    priority: 5,
                    prefetch: 3,
                    ..Wish::default()
                },
            );
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
            bench.consume_as(
                1,
                Wish {
                    priority: -1,
                    ..Wish::default()
                },
            );
            bench.consume_as(
                2,
                Wish {
                    prefetch: 1,
                    ..Wish::default()
                },
            );
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
    let exclusive = || Wish {
        exclusive: true,
        ..Wish::default()
    };
    check(
        |bench| {
            bench.consume_as(1, exclusive());
            bench.consume(2, 0);
            bench.apply(Command::Cancel {
                consumer: ConsumerId(1),
                ticket: TICKET,
            });
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
        bench.apply(Command::Cancel {
            consumer: ConsumerId(1),
            ticket: TICKET,
        });
        bench.apply(Command::Status {
            queue: QUEUE,
            ticket: TICKET,
        });
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
            bench.apply(Command::ReturnAll {
                consumer: ConsumerId(1),
            });
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
            bench.apply(Command::CreateQueue {
                queue: QueueId(2),
                durable: false,
                auto_delete: true,
                rules: Box::default(),
            });
            bench.consume_as(
                1,
                Wish {
                    queue: 2,
                    ..Wish::default()
                },
            );
            bench.consume_as(
                2,
                Wish {
                    queue: 2,
                    ..Wish::default()
                },
            );
            bench.apply(Command::Cancel {
                consumer: ConsumerId(1),
                ticket: TICKET,
            });
            bench.round();
            bench.apply(Command::ReturnAll {
                consumer: ConsumerId(2),
            });
        },
        "q2 unused",
    );
}

#[test]
fn a_shared_limit_counts_all_consumers_of_a_channel() {
    let limit = Arc::new(SharedLimit::new(3));
    let wish = || Wish {
        connection: Some(1),
        limit: Some(limit.clone()),
        ..Wish::default()
    };
    check(
        |bench| {
            bench.consume_as(1, wish());
            bench.consume_as(2, wish());
            bench.enqueue(run(1, 10, 0));
            assert_eq!(bench.round(), "1: consuming\n2: consuming\nc1 <- 1..4 #0");
            bench.ack(1, 0, 1);
            assert_eq!(bench.round(), "q1 1 10b @- done\nc1 limit freed\nc1 <- 4 #3");
            bench.ack(1, 1, 2);
            bench.apply(Command::ReturnAll {
                consumer: ConsumerId(1),
            });
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
            bench.apply(Command::Limit {
                consumer: ConsumerId(1),
                limit: Some(limit.clone()),
            });
            bench.enqueue(run(3, 3, 0));
            assert_eq!(bench.round(), "");
            limit.set(4);
            bench.apply(Command::Resume {
                consumer: ConsumerId(1),
            });
        },
        "c1 <- 3..5 #2",
    );
}

#[test]
fn a_limit_reaches_over_partitions() {
    let limit = Arc::new(SharedLimit::new(1));
    let wish = || Wish {
        connection: Some(1),
        limit: Some(limit.clone()),
        ..Wish::default()
    };
    let (mut here, mut there) = (Bench::new(), Bench::new());
    here.consume_as(1, wish());
    there.consume_as(2, wish());
    here.enqueue(run(1, 1, 0));
    there.enqueue(run(1, 1, 0));
    assert_eq!(here.round(), "1: consuming\nc1 <- 1 #0");
    assert_eq!(there.round(), "2: consuming");
    here.ack(1, 0, 1);
    assert_eq!(here.round(), "q1 1 10b @- done\nc1 limit freed");
    there.apply(Command::Resume {
        consumer: ConsumerId(2),
    });
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
    bench.apply(Command::Resume {
        consumer: ConsumerId(1),
    });
    assert_eq!(bench.round(), "c1 <- 4 #3\nc1 <- 5 #4");
    assert_eq!(bench.gate(1).unsent(), 3 * 74);
}

#[test]
fn a_resume_for_a_consumer_that_is_gone_is_not_lost() {
    let mut bench = Bench::with(Limits::default(), 100);
    bench.consume(1, 0);
    bench.consume_as(
        2,
        Wish {
            connection: Some(1),
            prefetch: 1,
            ..Wish::default()
        },
    );
    (1..=4).for_each(|first| bench.enqueue(run(first, 1, 0)));
    bench.round();
    let unsent = bench.gate(1).unsent();
    assert!(bench.gate(1).sent(unsent));
    // Its connection did not know yet that it is gone.
    bench.apply(Command::ReturnAll {
        consumer: ConsumerId(2),
    });
    bench.apply(Command::Resume {
        consumer: ConsumerId(2),
    });
    assert_eq!(bench.round(), "c1 <- 3 #2\nc1 <- 4 #3");
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
        bench.apply(Command::CreateQueue {
            queue: QueueId(queue),
            durable: true,
            auto_delete: false,
            rules: Box::default(),
        });
        bench.consume_as(
            queue,
            Wish {
                queue,
                connection: Some(1),
                ..Wish::default()
            },
        );
        for first in 1..=5 {
            bench.apply(Command::Enqueue {
                queue: QueueId(queue),
                run: run(first, 1, 0),
            });
        }
    }
    bench.round();
    let mut told = Vec::new();
    for _ in 0..5 {
        let unsent = bench.gate(1).unsent();
        assert!(bench.gate(1).sent(unsent));
        bench.apply(Command::Resume {
            consumer: ConsumerId(2),
        });
        told.extend(bench.round().lines().map(|line| line[..2].to_string()));
    }
    // Two messages pass at a time.
    assert_eq!(told, ["c2", "c2", "c3", "c3", "c4", "c4", "c2", "c3", "c4", "c4"]);
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
