//! The generator must be cheap enough not to be what is measured: at most 0.15 us of CPU for a 16 B message published and
//! received. CPU time hardly depends on who else is busy, so this holds on a loaded machine too.

use std::time::Duration;

use everack_bench::echo::{Echo, Fault};
use everack_bench::measure::{Plan, measure};
use everack_bench::setup::Options;
use everack_bench::workload::Workload;

/// Unoptimised code is some 20 times as dear; it only shows here that something is measured at all.
const LIMIT_US: f64 = if cfg!(debug_assertions) { 20.0 } else { 0.15 };

fn check(workload: &str) {
    let echo = Echo::start(0, Fault::None).expect("the fake broker starts");
    let plan = Plan {
        url: format!("amqp://{}", echo.address()).parse().expect("an address"),
        broker_pid: None,
        warm_up: Duration::from_millis(200),
        duration: Duration::from_secs(1),
        drain: Duration::from_secs(10),
        threads: 2,
        check: true,
        options: Options {
            heartbeat_seconds: 60,
            frame_max: 0,
        },
        keep: false,
    };
    let workload = Workload::named(workload).expect("a known workload");
    let report = measure(&workload, &plan).expect("a sound run");
    println!("{report}");
    assert!(report.problems.is_empty(), "{report}");
    let cost = report.generator_cpu_us_per_message;
    assert!(
        cost > 0.0 && cost <= LIMIT_US,
        "the generator costs {cost} us a message: {report}"
    );
}

#[test]
fn a_small_message_is_cheap() {
    check("w1a");
    check("w1c");
    check("w8");
}
