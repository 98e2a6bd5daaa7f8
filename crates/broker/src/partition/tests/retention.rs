//! Small cases about messages that are set aside: what is retained after it was handed over without acknowledgement, and how what is
//! parked or retained comes back.

use crate::ids::{Millis, Seq};
use crate::partition::{Aside, Command, Death, Depth, ParkedFate, Rules, Store};
use crate::terms::{Overflow, Retention, Terms};

use super::harness::{Bench, QUEUE, TICKET, Wish, check_with, run};

/// Ten seconds, four messages, 100 bytes.
const RETENTION: Retention = Retention {
    millis: 10_000,
    messages_max: 4,
    bytes_max: 100,
};

fn retaining() -> Bench {
    Bench::on(Terms {
        retention: Some(RETENTION),
        ..Terms::default()
    })
}

fn amend(bench: &mut Bench, terms: Terms) {
    let rules = Box::new(Rules {
        terms,
        ..Rules::default()
    });
    bench.apply(Command::Amend { queue: QUEUE, rules });
}

fn unpark(bench: &mut Bench, store: Store, (first, end): (u64, u64), fate: ParkedFate) {
    bench.apply(Command::Unpark {
        queue: QUEUE,
        store,
        first: Seq(first),
        end: Seq(end),
        fate,
    });
}

const ALL: (u64, u64) = (0, u64::MAX);

fn depth(bench: &Bench) -> Depth {
    bench.partition.depth(QUEUE).expect("it is there")
}

fn consume_no_ack(bench: &mut Bench) {
    let wish = Wish {
        no_ack: true,
        ..Wish::default()
    };
    bench.consume_as(1, wish);
}

#[test]
fn what_is_handed_over_is_retained_for_its_time() {
    let consumed = |bench: &mut Bench| {
        consume_no_ack(bench);
        bench.enqueue(run(1, 2, 7));
    };
    check_with(
        retaining(),
        consumed,
        "1: consuming
         c1 <- 1..3 #0 @1:7[0]
         q1 1..3 retained until 10000",
    );
    let gotten = |bench: &mut Bench| {
        bench.enqueue(run(1, 2, 7));
        bench.round();
        bench.get(1, true);
    };
    check_with(
        retaining(),
        gotten,
        "7: got c1 <- 1 #0 @1:7[0], 1 left
         q1 1 retained until 10000",
    );
    let in_time = |bench: &mut Bench| {
        consumed(bench);
        bench.round();
        bench.pass(9_999);
    };
    check_with(retaining(), in_time, "");
    let over = |bench: &mut Bench| {
        consumed(bench);
        bench.round();
        assert_eq!(bench.partition.next_due(), Some(Millis(10_000)));
        bench.pass(10_000);
    };
    check_with(retaining(), over, "q1 1..3 20b @1:7 noack");
    // What would not be there after a restart anyway is not retained.
    let transient = |bench: &mut Bench| {
        consume_no_ack(bench);
        bench.round();
        bench.enqueue(run(1, 1, 0));
    };
    check_with(
        retaining(),
        transient,
        "c1 <- 1 #0
         q1 1 10b @- noack",
    );
}

#[test]
fn the_first_make_room() {
    let mut bench = retaining();
    consume_no_ack(&mut bench);
    bench.enqueue(run(1, 3, 7));
    bench.round();
    bench.pass(5);
    bench.enqueue(run(4, 3, 9));
    let told = bench.round();
    assert!(told.ends_with("q1 1..3 20b @1:7 noack"), "{told}");
    let counted = depth(&bench);
    assert_eq!((counted.retained, counted.retained_bytes), (4, 40));
    let counters = counted.counters;
    assert_eq!(
        (counters.retained, counters.displaced, counters.settled()),
        (6, 2, 2)
    );
    // One that is larger than all the room displaces nobody.
    let mut large = run(7, 1, 20);
    large.bytes = 101;
    bench.enqueue(large);
    bench.round();
    assert_eq!((depth(&bench).retained, depth(&bench).counters.displaced), (4, 3));
    // Where the bounds are bytes, as many go as are needed.
    let mut large = run(8, 1, 30);
    large.bytes = 81;
    bench.enqueue(large);
    bench.round();
    let counted = depth(&bench);
    assert_eq!((counted.retained, counted.retained_bytes), (2, 91));
}

#[test]
fn what_was_retained_comes_back_flagged_and_lives_anew() {
    let mut bench = Bench::on(Terms {
        retention: Some(RETENTION),
        message_ttl_millis: Some(1_000),
        ..Terms::default()
    });
    bench.enqueue(run(1, 3, 7));
    (0..3).for_each(|_| bench.get(1, true));
    bench.round();
    bench.pass(5_000);
    unpark(&mut bench, Store::Retained, (2, 3), ParkedFate::Redrive);
    let told = bench.round();
    assert_eq!(told, "q1 2 back\nq1 2 unparked until 6000");
    bench.get(1, true);
    let told = bench.round();
    assert!(told.contains("c1 <- 2 #3 @1:7[1] lean again 1"), "{told}");
    // It is retained anew, for all of its time; the others go with theirs.
    bench.pass(10_000);
    assert_eq!(bench.round(), "q1 1 10b @1:7 noack\nq1 3 10b @1:7 noack");
    assert_eq!(bench.partition.deadline(QUEUE, Seq(2)), Some(Millis(15_000)));
    bench.pass(15_000);
    assert_eq!(bench.round(), "q1 2 10b @1:7 noack");
    assert_eq!(depth(&bench).counters.live(), 0);
}

#[test]
fn what_is_redelivered_to_one_who_does_not_acknowledge_is_retained_again() {
    let mut bench = retaining();
    consume_no_ack(&mut bench);
    bench.enqueue(run(1, 2, 7));
    bench.round();
    bench.pass(1);
    unpark(&mut bench, Store::Retained, ALL, ParkedFate::Redrive);
    let expected = "q1 1..3 back
        q1 1..3 unparked
        c1 <- 1..3 #2 @1:7[0] lean again 1
        q1 1..3 retained until 10001";
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(bench.round().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_retained_leaves_in_all_ways() {
    let scene = || {
        let mut bench = retaining();
        bench.enqueue(run(1, 2, 7));
        bench.get(1, true);
        bench.round();
        bench
    };
    let mut bench = scene();
    unpark(&mut bench, Store::Retained, ALL, ParkedFate::Discard);
    assert_eq!(bench.round(), "q1 1 10b @1:7 noack");
    // A purge is about what is ready.
    let mut bench = scene();
    bench.purge(TICKET);
    assert_eq!(bench.round(), "q1 2 10b @1:7 purged\n7: purged 1");
    assert_eq!(depth(&bench).retained, 1);
    let mut bench = scene();
    bench.apply(Command::DeleteQueue { queue: QUEUE });
    let told = bench.round();
    assert!(told.contains("q1 1 10b @1:7 deleted"), "{told}");
    // Without the policy no more are retained; what is stays for its time.
    let mut bench = scene();
    amend(&mut bench, Terms::default());
    bench.get(1, true);
    let told = bench.round();
    assert!(told.ends_with("q1 2 10b @1:7 noack"), "{told}");
    bench.pass(9_999);
    assert_eq!((bench.round().as_str(), depth(&bench).retained), ("", 1));
    bench.pass(10_000);
    assert_eq!(bench.round(), "q1 1 10b @1:7 noack");
}

#[test]
fn a_checkpoint_and_a_rewritten_segment_know_what_is_retained() {
    let mut bench = retaining();
    bench.enqueue(run(1, 2, 7));
    bench.get(1, true);
    bench.round();
    let mut live = Vec::new();
    let rest = bench.partition.live(QUEUE, Seq(0), Seq(9), 10, &mut live);
    let asides: Vec<_> = live.iter().map(|run| (run.first.0, run.aside)).collect();
    assert_eq!(
        (asides, rest),
        (vec![(1, Some(Aside::Retained)), (2, None)], None)
    );
    bench.relocate(&[(1, 2, 40, 0)]);
    let told = bench.round();
    assert!(told.contains("2:40"), "{told}");
}

/// One message is parked in a queue with these terms, where so many others are ready.
fn parked(terms: Terms, ready: u16) -> Bench {
    let mut bench = Bench::ruled(Rules {
        counts_failures: true,
        delivery_limit: Some(0),
        terms,
        ..Rules::default()
    });
    bench.enqueue(run(1, 1, 7));
    bench.get(1, false);
    bench.reject(1, 0, 1);
    bench.round();
    if ready > 0 {
        bench.enqueue(run(2, ready, 9));
    }
    bench.round();
    bench
}

#[test]
fn nothing_goes_back_that_has_no_room() {
    for overflow in [
        Overflow::DropHead,
        Overflow::RejectPublish,
        Overflow::RejectPublishDlx,
    ] {
        let check = |messages_max, bytes_max, ready, comes_back: bool| {
            let mut bench = parked(
                Terms {
                    messages_max,
                    bytes_max,
                    overflow,
                    ..Terms::default()
                },
                ready,
            );
            let weighed = bench.partition.weigh(
                QUEUE,
                Store::Parked,
                Seq(0),
                Seq(u64::MAX),
                ParkedFate::Redrive,
                9,
            );
            let expected = if comes_back { (1, 0) } else { (0, 1) };
            assert_eq!((weighed.messages, weighed.no_room), expected, "{overflow:?}");
            unpark(&mut bench, Store::Parked, ALL, ParkedFate::Redrive);
            bench.round();
            let counted = depth(&bench);
            let ready = u64::from(ready) + u64::from(comes_back);
            assert_eq!(
                (counted.ready, counted.parked),
                (ready, u64::from(!comes_back)),
                "{overflow:?}"
            );
            assert_eq!(counted.counters.discarded(), 0);
        };
        check(Some(3), None, 2, true);
        check(Some(3), None, 3, false);
        check(None, Some(30), 2, true);
        check(None, Some(30), 3, false);
        check(None, None, 3, true);
    }
}

#[test]
fn what_is_parked_does_not_expire() {
    let mut bench = parked(
        Terms {
            message_ttl_millis: Some(100),
            ..Terms::default()
        },
        0,
    );
    bench.expire(1, 1, 100);
    bench.pass(1_000);
    unpark(&mut bench, Store::Parked, ALL, ParkedFate::Redrive);
    assert_eq!(bench.round(), "q1 1 unparked until 1100");
    bench.pass(1_099);
    assert_eq!(bench.round(), "");
    bench.pass(1_100);
    assert_eq!(bench.round(), "q1 1 10b @1:7 expired");
}

#[test]
fn what_is_listed_says_why_it_is_there() {
    let bench = parked(Terms::default(), 2);
    let (listed, next) = bench.partition.set_aside(QUEUE, Store::Parked, Seq(0), 10);
    let whys: Vec<_> = listed
        .iter()
        .map(|parked| (parked.run.first.0, parked.why))
        .collect();
    assert_eq!(
        (whys, next),
        (vec![(1, Aside::Parked(Death::DeliveryLimit))], None)
    );
    let ready = |first, most| {
        let (runs, next) = bench.partition.ready_from(QUEUE, Seq(first), most);
        let spans: Vec<_> = runs.iter().map(|(run, _)| (run.first.0, run.end().0)).collect();
        (spans, next)
    };
    assert_eq!(ready(0, 10), (vec![(2, 4)], None));
    assert_eq!(ready(3, 10), (vec![(3, 4)], None));
    assert_eq!(ready(4, 10), (vec![], None));
}
