//! Tools of others on the management API, one case each: `management/tools.py`.

use everack_compat::broker::{Broker, Settings};
use everack_compat::{script, tools};
use libtest_mimic::Arguments;
use std::sync::Arc;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    }));
    let admin = tools().join("rabbitmqadmin/rabbitmqadmin");
    let environment = vec![
        ("MANAGEMENT", broker.management().to_string()),
        ("RABBITMQADMIN", admin.display().to_string()),
    ];
    let trials = script::trials_with("management/tools.py", &broker, environment);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}
