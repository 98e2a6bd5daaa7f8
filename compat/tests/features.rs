//! What frameworks build on a broker's features, one case each: `frameworks/features.py`.

use everack_compat::broker::Broker;
use everack_compat::script;
use libtest_mimic::Arguments;
use std::sync::Arc;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let trials = script::trials_with("frameworks/features.py", &broker, Vec::new());
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}
