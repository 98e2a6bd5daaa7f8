//! What the bench says of a broker that misbehaves. A load generator that would not notice a lost message could praise
//! a broker for losing them, so each kind of fault is put into a fake broker and must show in the verdict.

use std::time::Duration;

use everack_bench::echo::{Echo, Fault};
use everack_bench::measure::{Plan, measure};
use everack_bench::report::{Ending, Report};
use everack_bench::setup::Options;
use everack_bench::workload::{Ack, Workload};

fn run(fault: Fault, workload: &Workload) -> anyhow::Result<Report> {
    let echo = Echo::start(0, fault)?;
    let plan = Plan {
        url: format!("amqp://{}", echo.address()).parse()?,
        broker_pid: Some(std::process::id()),
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(250),
        drain: Duration::from_secs(2),
        threads: 2,
        check: true,
        options: Options {
            heartbeat_seconds: 10,
            frame_max: 0,
        },
        keep: false,
    };
    measure(workload, &plan)
}

/// A run against the fault whose verdict must hold the text `expected`; no text: no problem at all.
fn check(fault: Fault, workload: &Workload, expected: Option<&str>) {
    let report = run(fault, workload).unwrap_or_else(|error| panic!("{fault:?}: {error:#}"));
    match expected {
        None => assert!(report.problems.is_empty(), "{fault:?}: {report}"),
        Some(text) => {
            assert!(
                report.problems.iter().any(|problem| problem.contains(text)),
                "{fault:?}: {report}"
            );
        }
    }
}

/// A run that cannot be carried through, and the reason it gives.
fn check_failure(fault: Fault, expected: &str) {
    match run(fault, &small()) {
        Ok(report) => panic!("{fault:?} went unnoticed: {report}"),
        Err(error) => assert!(format!("{error:#}").contains(expected), "{fault:?}: {error:#}"),
    }
}

fn small() -> Workload {
    Workload {
        window: 100,
        ..Workload::default()
    }
}

#[test]
fn a_sound_broker_has_no_problems() {
    check(Fault::None, &small(), None);
    check(Fault::None, &Workload::default(), None);
    check(
        Fault::None,
        &Workload {
            sizes: vec![0, 5, 8, 16, 1000, 300_000],
            ..small()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            ack: Ack::Each,
            prefetch: 10,
            ..small()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            producers: 5,
            consumers: 5,
            queues: 5,
            ..small()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            producers: 2,
            consumers: 3,
            queues: 7,
            ..small()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            producers: 7,
            consumers: 2,
            queues: 3,
            ..small()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            consumers: 4,
            queues: 4,
            fanout: true,
            ..small()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            backlog_max: 50,
            ..Workload::default()
        },
        None,
    );
    check(
        Fault::None,
        &Workload {
            consumers: 0,
            ..small()
        },
        None,
    );
}

#[test]
fn all_is_counted_and_timed() {
    let report = run(Fault::None, &small()).expect("a sound run");
    let balance = report.balance;
    assert_eq!((balance.ending, balance.checked), (Ending::Drained, true));
    assert!(balance.published > 1_000, "{report}");
    assert_eq!(balance.published, balance.confirmed);
    assert_eq!(balance.published, balance.received);
    let confirm = report.confirm_us.expect("confirms are timed");
    let end_to_end = report.end_to_end_us.expect("deliveries are timed");
    for latency in [confirm, end_to_end] {
        assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99, "{report}");
        assert!(
            latency.p99 <= latency.p999 && latency.p999 <= latency.max,
            "{report}"
        );
    }
    assert!(
        report
            .broker_process
            .expect("the process is known")
            .cpu_us_per_message
            > 0.0
    );
    assert!(report.generator_cpu_us_per_message > 0.0);
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("the report is JSON");
    assert_eq!(json["balance"]["received"], balance.received);
}

#[test]
fn a_bound_on_the_backlog_holds_producers_back_and_lets_them_go_on() {
    let workload = Workload {
        backlog_max: 50,
        producers: 2,
        ..Workload::default()
    };
    let report = run(Fault::None, &workload).expect("a sound run");
    assert!(report.problems.is_empty(), "{report}");
    assert!(report.backlog <= 50 + 1, "{report}");
    assert!(report.balance.published > 500, "{report}");
}

#[test]
fn a_backlog_is_piled_up_and_drained() {
    let workload = Workload {
        backlog: 5_000,
        producers: 3,
        consumers: 2,
        ..small()
    };
    let report = run(Fault::Hold, &workload).expect("a sound run");
    assert!(report.problems.is_empty(), "{report}");
    assert_eq!(report.balance.received, 5_000, "{report}");
    let pile = report.pile.expect("both halves are told");
    assert!(
        pile.published_per_second > 5_000.0,
        "nobody waits for a timer: {report}"
    );
}

#[test]
fn a_rate_is_kept() {
    let workload = Workload {
        rate: 2_000.0,
        producers: 4,
        consumers: 4,
        queues: 4,
        ..small()
    };
    let report = run(Fault::None, &workload).expect("a sound run");
    assert!(report.problems.is_empty(), "{report}");
    let published = report.published_per_second;
    assert!(
        (1_800.0..2_200.0).contains(&published),
        "2,000/s were asked for: {report}"
    );
}

#[test]
fn faults_show_in_the_verdict() {
    check(Fault::Double(1000), &small(), Some("duplicates or out of order"));
    check(Fault::Swap(1000), &small(), Some("duplicates or out of order"));
    check(Fault::Nack(1000), &small(), Some("nacked"));
    check(Fault::Return(1000), &small(), Some("312 NO_ROUTE"));
}

#[test]
fn a_lost_message_shows_in_the_verdict() {
    check(Fault::Lose(1000), &small(), Some("never came"));
    check(Fault::Lose(1000), &Workload::default(), Some("never came"));
}

#[test]
fn a_broker_that_never_confirms_shows_in_the_verdict() {
    check(Fault::Silent, &small(), Some("never confirmed"));
}

#[test]
fn closes_fail_the_run_with_the_brokers_text() {
    check_failure(
        Fault::CloseChannel(50),
        "closed the channel: 404 NOT_FOUND - no exchange 'x' in vhost '/'",
    );
    check_failure(
        Fault::CloseConnection(50),
        "closed the connection: 320 CONNECTION_FORCED",
    );
    check_failure(Fault::HangUp(50), "the broker ended the connection");
}

#[test]
fn a_blocked_publisher_waits_and_says_so() {
    let report = run(Fault::Block(500), &small()).expect("a sound run");
    assert!(report.problems.is_empty(), "{report}");
    assert!(
        report.balance.blocked_seconds > 0.05,
        "the block lasts 0.1 s: {report}"
    );
    assert!(
        report.balance.published > 500,
        "publishing goes on after the block: {report}"
    );
}

#[test]
fn nobody_at_home_is_told_with_the_address() {
    let plan = Plan {
        url: "amqp://127.0.0.1:1".parse().expect("an address"),
        broker_pid: None,
        warm_up: Duration::ZERO,
        duration: Duration::ZERO,
        drain: Duration::ZERO,
        threads: 2,
        check: true,
        options: Options {
            heartbeat_seconds: 0,
            frame_max: 0,
        },
        keep: false,
    };
    let error = measure(&small(), &plan).expect_err("nobody listens on port 1");
    assert!(
        format!("{error:#}").contains("cannot connect to amqp://guest@127.0.0.1:1"),
        "{error:#}"
    );
}
