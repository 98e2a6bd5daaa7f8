//! What an application does with a broker, one feature a case, with pika.

use everack_compat::{broker::Broker, script};
use std::sync::Arc;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let conclusion = libtest_mimic::run(&arguments, script::trials("pika/surface.py", &broker));
    drop(broker);
    conclusion.exit();
}
