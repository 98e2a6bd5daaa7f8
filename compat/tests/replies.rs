//! RabbitMQ's answers to a client's mistakes: every code and every text, with pika.

use everack_compat::{broker::Broker, script};
use std::sync::Arc;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let conclusion = libtest_mimic::run(&arguments, script::trials("pika/replies.py", &broker));
    drop(broker);
    conclusion.exit();
}
