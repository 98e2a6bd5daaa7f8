//! Who gets which message when: single active consumers, delivery limits, priorities, timeouts, one feature a case, with pika.

use everack_compat::{
    broker::{Broker, Settings},
    script,
};
use std::sync::Arc;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    }));
    let environment = vec![("MANAGEMENT", broker.management().to_string())];
    let trials = script::trials_with("pika/dispatch.py", &broker, environment);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}
