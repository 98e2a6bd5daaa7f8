//! Alarms, back-pressure, and what one client may do to the others, with pika. Needs root, for a disk that is full soon.

use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::{script, small_disk::SmallDisk};
use std::sync::Arc;

/// So little is kept in memory that a hoard would show.
const PLAIN: &str = "[memory]\ndurable_max = \"8 MiB\"\n";
/// An alarm at 200 MiB.
const SCARCE: &str = "[memory]\nprocess_max = \"200 MiB\"\n";
/// 24 of 64 MiB have to stay free.
const WATERMARK: &str = "[data]\nsegment = \"4 MiB\"\nfree_min = \"24 MiB\"\n";

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let small = SmallDisk::mount();
    let broker = |config: &str, data| {
        Arc::new(Broker::with(Settings {
            config: config.to_owned(),
            data,
            // The allocator gives free memory back at once, so that what is free is not taken for what is used.
            environment: vec![("MIMALLOC_PURGE_DELAY", "0")],
            ..Settings::default()
        }))
    };
    let (plain, scarce) = (broker(PLAIN, None), broker(SCARCE, None));
    let watermark = broker(WATERMARK, Some(small.path().join("data")));
    let mut environment = vec![
        ("SCARCE", scarce.url()),
        ("WATERMARK", watermark.url()),
        ("DISK", small.path().display().to_string()),
    ];
    // How much memory another broker takes is not ours to judge.
    if let Some(id) = plain.process_id().filter(|_| !is_rabbitmq()) {
        environment.push(("BROKER_PID", id.to_string()));
    }
    let conclusion = libtest_mimic::run(
        &arguments,
        script::trials_with("pika/flow.py", &plain, environment),
    );
    drop((plain, scarce, watermark));
    drop(small);
    conclusion.exit();
}
