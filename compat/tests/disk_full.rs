//! The real binary on a file system that is too small, with pika. Needs root, to mount one.

use everack_compat::{
    broker::{Broker, Settings},
    script,
    small_disk::SmallDisk,
};
use libtest_mimic::Trial;
use std::sync::Arc;

/// Small segments, so that the log fills the file system to its end; and no alarm before that end is reached.
const CONFIG: &str = "[data]\nsegment = \"4 MiB\"\nfree_min = \"0 B\"\n";

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let small = SmallDisk::mount();
    let settings = Settings {
        data: Some(small.path().join("data")),
        config: CONFIG.to_owned(),
        ..Settings::default()
    };
    let broker = Arc::new(Broker::with(settings));
    let mut trials = script::trials("pika/full.py", &broker);
    let alive = Arc::clone(&broker);
    trials.push(Trial::test("the broker lives on", move || {
        if alive.is_alive() {
            Ok(())
        } else {
            Err(format!("it is gone: {}", alive.log()).into())
        }
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    drop(small);
    conclusion.exit();
}
