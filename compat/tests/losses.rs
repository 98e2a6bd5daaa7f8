//! The ways by which RabbitMQ loses what it has accepted, and what happens here, with pika: one way a case, with a SIGKILL where it matters.
//!
//! Cases whose names begin with "ours" fail against RabbitMQ: that is what they are about.

use everack_compat::broker::{Broker, Settings};
use everack_compat::{control, script};
use std::sync::{Arc, Mutex};

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Broker::with(Settings {
        management: true,
        ..Settings::default()
    });
    let (url, management) = (broker.url(), broker.management().to_string());
    let broker = Arc::new(Mutex::new(broker));
    let control = control::serve(&broker).expect("the loopback has ports");
    let environment = vec![("MANAGEMENT", management), ("CONTROL", control.to_string())];
    let trials = script::trials_at("pika/losses.py", url, environment);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}
