//! Against a real broker that is not ours: the bench must find nothing wrong with Debian's RabbitMQ, see its cost, and
//! leave nothing of it behind. Where `rabbitmq-server` is not installed there is nothing to test, and the test says so.

use std::net::TcpStream;
use std::time::Duration;

use everack_bench::measure::{Plan, measure};
use everack_bench::peer::Peer;
use everack_bench::report::Ending;
use everack_bench::setup::Options;
use everack_bench::workload::Workload;

fn check(peer: &Peer, workload: &Workload) {
    let plan = Plan {
        url: peer.url().clone(),
        broker_pid: Some(peer.pid()),
        warm_up: Duration::from_millis(100),
        duration: Duration::from_millis(500),
        drain: Duration::from_secs(60),
        threads: 2,
        check: true,
        options: Options {
            heartbeat_seconds: 60,
            frame_max: 0,
        },
        keep: false,
    };
    let report = measure(workload, &plan).unwrap_or_else(|error| panic!("{}: {error:#}", workload.name));
    println!("{report}");
    assert!(report.problems.is_empty(), "{report}");
    assert_eq!(report.balance.ending, Ending::Drained, "{report}");
    assert!(report.balance.received > 0, "{report}");
    assert!(report.broker.starts_with("RabbitMQ "), "{report}");
    assert!(
        report
            .broker_process
            .expect("its process is known")
            .resident_bytes
            > 50 << 20,
        "{report}"
    );
}

#[test]
fn rabbitmq_is_measured_and_ended() {
    if !Peer::rabbitmq_is_installed() {
        eprintln!("rabbitmq-server is not installed: nothing is tested");
        return;
    }
    let peer = Peer::rabbitmq(&std::env::temp_dir()).expect("RabbitMQ starts");
    let named = |name| Workload::named(name).expect("a known workload");
    check(
        &peer,
        &Workload {
            backlog_max: 5_000,
            ..named("w1a")
        },
    );
    check(&peer, &named("w2"));
    check(
        &peer,
        &Workload {
            producers: 3,
            consumers: 4,
            queues: 5,
            ..named("w5d")
        },
    );
    check(
        &peer,
        &Workload {
            queues: 3,
            consumers: 3,
            window: 50,
            ..named("w8")
        },
    );
    check(
        &peer,
        &Workload {
            sizes: vec![0, 7, 300_000],
            window: 20,
            ..named("w1c")
        },
    );
    check(
        &peer,
        &Workload {
            backlog: 2_000,
            ..named("w6")
        },
    );
    let address = (peer.url().host.clone(), peer.url().port);
    drop(peer);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
