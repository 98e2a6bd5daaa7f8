//! Who gets which message when: single active consumers, delivery limits, priorities, timeouts, one feature a case, with pika.

use everack_compat::{broker::Broker, script};
use std::sync::Arc;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let conclusion = libtest_mimic::run(&arguments, script::trials("pika/dispatch.py", &broker));
    drop(broker);
    conclusion.exit();
}
