//! What frameworks build on a broker's features, one case each: `frameworks/features.py`.
//!
//! A case that waits for a feature of ours is listed in [`AWAITING`] and does not run yet. Against RabbitMQ all of them run.

use everack_compat::broker::{self, Broker};
use everack_compat::script;
use libtest_mimic::{Arguments, Trial};
use std::sync::Arc;

/// Cases that cannot pass yet, and what they wait for.
const AWAITING: &[(&str, &str)] = &[
    ("Celery's priorities let the urgent task pass", "x-max-priority"),
    (
        "Celery's rejected task goes to the dead letters",
        "x-dead-letter-exchange",
    ),
    (
        "Celery's native delays work through expiring quorum queues",
        "x-message-ttl and x-dead-letter-exchange",
    ),
    (
        "Dramatiq's priorities let the urgent message pass",
        "x-max-priority",
    ),
    (
        "Dramatiq's hopeless message goes to its dead letters",
        "x-dead-letter-exchange",
    ),
    (
        "aio-pika's RPC tells the caller when its call expires",
        "expiration and x-dead-letter-exchange",
    ),
];

fn main() {
    let arguments = Arguments::from_args();
    let awaiting = awaiting();
    let waits = |trial: &Trial| awaiting.iter().any(|(case, _)| *case == trial.name());
    let skipped = awaiting
        .iter()
        .map(|(case, _)| *case)
        .collect::<Vec<_>>()
        .join("\n");
    let broker = Arc::new(Broker::start());
    let trials = script::trials_with(
        "frameworks/features.py",
        &broker,
        vec![("CASES_SKIPPED", skipped)],
    );
    for (case, feature) in awaiting {
        assert!(
            trials.iter().any(|trial| trial.name() == *case),
            "no case is called {case:?}"
        );
        println!("waits for {feature}: {case}");
    }
    let now = trials.into_iter().filter(|trial| !waits(trial)).collect();
    let conclusion = libtest_mimic::run(&arguments, now);
    drop(broker);
    conclusion.exit();
}

/// RabbitMQ has everything.
fn awaiting() -> &'static [(&'static str, &'static str)] {
    if broker::is_rabbitmq() { &[] } else { AWAITING }
}
