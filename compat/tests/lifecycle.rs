//! How long messages and queues live, and where they go when they die, with pika: headers and answers as RabbitMQ gives them.

use everack_compat::{broker::Broker, script};
use std::sync::Arc;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let conclusion = libtest_mimic::run(&arguments, script::trials("pika/lifecycle.py", &broker));
    drop(broker);
    conclusion.exit();
}
