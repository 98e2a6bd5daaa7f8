//! Large bodies, with pika, and the memory that they may take.

use anyhow::ensure;
use everack_compat::{broker::Broker, script};
use std::sync::Arc;

/// Four bodies of 100 MiB come at once, and each is there twice while it is received, logged and sent.
const RESIDENT_MAX: u64 = 1536 << 20;

fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Memory is looked at last, when everything else has happened.
    arguments.test_threads = Some(1);
    let broker = Arc::new(Broker::start());
    let mut trials = script::trials("pika/large.py", &broker);
    let bounded = Arc::clone(&broker);
    trials.push(everack_compat::trial("memory stayed bounded", move || {
        memory(&bounded)
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}

fn memory(broker: &Broker) -> anyhow::Result<()> {
    ensure!(broker.is_alive(), "the broker is gone: {}", broker.log());
    if let Some(most) = broker.resident_bytes_max() {
        ensure!(
            most < RESIDENT_MAX,
            "{} MiB were resident at one time",
            most >> 20
        );
    }
    Ok(())
}
