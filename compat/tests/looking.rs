//! Looking into queues without touching them, one case each: `management/looking.py`. All of it is Everack's own.

use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::script;
use libtest_mimic::Arguments;
use std::sync::Arc;

fn main() {
    let arguments = Arguments::from_args();
    if is_rabbitmq() {
        return;
    }
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    }));
    let environment = vec![("MANAGEMENT", broker.management().to_string())];
    let trials = script::trials_with("management/looking.py", &broker, environment);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}
